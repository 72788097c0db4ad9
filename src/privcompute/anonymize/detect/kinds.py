"""The numbers by which the kernels call kinds of identifiers, reasons and contexts, and their words.

Confidence is in percent: how likely a candidate is what it seems, by what its form leaves to chance.
"""

from __future__ import annotations

from typing import Final

KINDS: Final = (
    "cn_id",
    "cn_id15",
    "hk_mo_tw_residence",
    "foreign_permanent",
    "cn_mobile",
    "bank_card",
    "cn_uscc",
    "cn_org_code",
    "cn_plate",
    "cn_plate_nev",
    "cn_passport",
    "hk_mo_permit",
    "tw_permit",
    "mainland_permit",
    "cn_name",
    "cn_address",
    "email",
    "ip",
    "iban",
    "phone",
)
(
    CN_ID,
    CN_ID15,
    RESIDENCE,
    FOREIGN,
    MOBILE,
    CARD,
    USCC,
    ORG_CODE,
    PLATE,
    PLATE_NEV,
    PASSPORT,
    HK_MO,
    TAIWAN,
    MAINLAND,
    NAME,
    ADDRESS,
    EMAIL,
    IP,
    IBAN,
    PHONE,
) = range(len(KINDS))

REASONS: Final = (
    "form",
    "check_digit",
    "birth_date",
    "known_region",
    "known_issuer",
    "inner_check",
    "context",
    "contrary_context",
    "country_prefix",
    "grouped",
    "folded",
    "known_surname",
    "street_and_number",
)
(
    R_FORM,
    R_CHECK,
    R_BIRTH,
    R_REGION,
    R_ISSUER,
    R_INNER,
    R_CONTEXT,
    R_CONTRARY,
    R_PREFIX,
    R_GROUPED,
    R_FOLDED,
    R_SURNAME,
    R_STREET,
) = (1 << place for place in range(len(REASONS)))

CONTEXTS: Final = (
    "id",
    "phone",
    "card",
    "organisation",
    "plate",
    "passport",
    "permit",
    "taiwan",
    "lead",
    "address",
    "email",
    "ip",
    "iban",
    "contrary",
)
(
    C_ID,
    C_PHONE,
    C_CARD,
    C_ORG,
    C_PLATE,
    C_PASSPORT,
    C_PERMIT,
    C_TAIWAN,
    C_LEAD,
    C_ADDRESS,
    C_EMAIL,
    C_IP,
    C_IBAN,
    C_CONTRARY,
) = (1 << place for place in range(len(CONTEXTS)))

WANTED: Final = {
    CN_ID: C_ID | C_PERMIT,
    CN_ID15: C_ID,
    RESIDENCE: C_ID | C_PERMIT,
    FOREIGN: C_ID | C_PERMIT,
    MOBILE: C_PHONE,
    CARD: C_CARD,
    USCC: C_ORG,
    ORG_CODE: C_ORG,
    PLATE: C_PLATE,
    PLATE_NEV: C_PLATE,
    PASSPORT: C_PASSPORT | C_PERMIT | C_ID,
    HK_MO: C_PERMIT | C_ID,
    TAIWAN: C_TAIWAN,
    MAINLAND: C_PERMIT | C_ID,
    NAME: C_LEAD,
    ADDRESS: C_ADDRESS,
    EMAIL: C_EMAIL,
    IP: C_IP,
    IBAN: C_IBAN,
    PHONE: C_PHONE,
}
"""The contexts that speak for a kind."""

_SCORES: Final = {
    "S_ID_KNOWN": (97, 99, 75),  # 18 signs by chance: 1 in 60,000
    "S_ID_UNKNOWN": (90, 97, 60),
    "S_RESIDENCE": (95, 99, 70),
    "S_FOREIGN": (80, 95, 40),
    "S_ID15_KNOWN": (40, 92, 10),  # 15 digits by chance: 1 in 80
    "S_ID15_UNKNOWN": (20, 80, 10),
    "S_CARD_SURE": (80, 96, 30),  # digits behind an issuer's by chance: 1 in 10
    "S_CARD_RARE": (55, 96, 30),
    "S_CARD_SHORT": (30, 96, 20),
    "S_CARD_UNKNOWN": (15, 65, 5),
    "S_USCC_BEST": (95, 99, 65),  # both checks and a region
    "S_USCC_PLAIN": (75, 98, 45),
    "S_USCC_DIGITS": (50, 97, 20),
    "S_USCC_REGION": (45, 80, 15),
    "S_MOBILE": (60, 96, 25),  # 11 digits by chance: 1 in 14
    "S_MOBILE_GROUPED": (75, 97, 30),
    "S_MOBILE_PREFIX": (80, 97, 40),
    "S_THING": (40, 80, 10),
    "S_PASSPORT": (35, 96, 10),
    "S_PASSPORT_RARE": (25, 96, 5),
    "S_HK_MO": (25, 95, 5),
    "S_MAINLAND": (15, 90, 5),
    "S_TAIWAN": (1, 85, 1),
    "S_ORG_HYPHEN": (55, 92, 15),
    "S_ORG": (20, 92, 10),
    "S_FIXED_GROUPED": (70, 92, 15),
    "S_FIXED": (30, 92, 15),
    "S_INTERNATIONAL": (75, 95, 40),
    "S_IBAN": (93, 99, 70),
    "S_IP4": (65, 97, 20),
    "S_IP6": (85, 98, 60),
    "S_PLATE": (85, 97, 55),
    "S_PLATE_NEV": (90, 98, 60),
    "S_PLATE_LETTERS": (40, 97, 10),
    "S_EMAIL": (95, 99, 95),
}
SCORES: Final = tuple(_SCORES.values())
"""Confidence by rule: with nothing nearby, with a word that speaks for it, with one against it."""

(
    S_ID_KNOWN,
    S_ID_UNKNOWN,
    S_RESIDENCE,
    S_FOREIGN,
    S_ID15_KNOWN,
    S_ID15_UNKNOWN,
    S_CARD_SURE,
    S_CARD_RARE,
    S_CARD_SHORT,
    S_CARD_UNKNOWN,
    S_USCC_BEST,
    S_USCC_PLAIN,
    S_USCC_DIGITS,
    S_USCC_REGION,
    S_MOBILE,
    S_MOBILE_GROUPED,
    S_MOBILE_PREFIX,
    S_THING,
    S_PASSPORT,
    S_PASSPORT_RARE,
    S_HK_MO,
    S_MAINLAND,
    S_TAIWAN,
    S_ORG_HYPHEN,
    S_ORG,
    S_FIXED_GROUPED,
    S_FIXED,
    S_INTERNATIONAL,
    S_IBAN,
    S_IP4,
    S_IP6,
    S_PLATE,
    S_PLATE_NEV,
    S_PLATE_LETTERS,
    S_EMAIL,
) = range(len(SCORES))

NEUTRAL, FOR, AGAINST = range(3)
"""What the words nearby say: the columns of `SCORES`."""

DEFAULT_THRESHOLD: Final = 50


def reason_words(bits: int) -> tuple[str, ...]:
    """The words of a set of reasons."""
    return tuple(word for place, word in enumerate(REASONS) if bits >> place & 1)
