"""Bank and credit cards: 13 to 19 digits, an issuer's number at the front, Luhn's check digit at the end.

Source: ISO/IEC 7812-1; the networks' published ranges of issuer identification numbers.
"""

from __future__ import annotations

from typing import Final

from privcompute.anonymize.identifiers.checksums import luhn_holds
from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "bank_card"

# network, first and last issuer prefix (of equal length), shortest and longest number; the first that fits counts
NETWORKS: Final = (
    ("unionpay", "62", "62", 16, 19),
    ("unionpay", "81", "81", 16, 19),
    ("visa", "4", "4", 13, 19),
    ("mastercard", "51", "55", 16, 16),
    ("mastercard", "2221", "2720", 16, 16),
    ("american_express", "34", "34", 15, 15),
    ("american_express", "37", "37", 15, 15),
    ("jcb", "3528", "3589", 16, 19),
    ("discover", "6011", "6011", 16, 19),
    ("discover", "644", "659", 16, 19),
    ("diners", "300", "305", 14, 19),
    ("diners", "36", "36", 14, 19),
    ("diners", "38", "39", 16, 19),
    ("maestro", "5018", "5020", 13, 19),
    ("maestro", "56", "58", 13, 19),
    ("maestro", "67", "67", 13, 19),
    ("mir", "2200", "2204", 16, 19),
    ("rupay", "6521", "6522", 16, 16),
    # Debit cards of Chinese banks from before UnionPay.
    ("domestic", "9558", "9559", 16, 19),
    ("domestic", "9400", "9400", 16, 19),
    ("domestic", "6858", "6858", 16, 19),
    ("domestic", "9111", "9111", 16, 19),
    ("domestic", "60", "60", 16, 19),
    ("domestic", "690755", "690755", 15, 19),
    ("domestic", "966666", "966666", 16, 19),
    ("domestic", "984301", "984303", 16, 19),
    ("domestic", "998801", "998802", 16, 16),
)


def network(number: str) -> str | None:
    """The card network whose range and length fit; None if there is none."""
    for name, first, last, shortest, longest in NETWORKS:
        if shortest <= len(number) <= longest and first <= number[: len(first)] <= last:
            return name
    return None


def parse(text: str) -> Parsed:
    """A card number, grouped or not.

    Returns:
        With `value` of digits alone. Reasons: `characters`, `length`, `luhn`. Warnings: `unknown_issuer`.
    """
    number = compact(text)
    if not (number.isascii() and number.isdigit()):
        return Parsed(KIND, number, ("characters",))
    if not 13 <= len(number) <= 19:
        return Parsed(KIND, number, ("length",))
    name = network(number)
    return Parsed(
        KIND,
        number,
        () if luhn_holds(number) else ("luhn",),
        () if name else ("unknown_issuer",),
        {"issuer": number[:6], "network": name or ""},
    )
