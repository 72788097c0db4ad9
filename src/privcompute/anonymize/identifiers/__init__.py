"""Identifiers of persons, organisations and vehicles: parse, validate with reasons, bring to one canonical form.

`parse("cn_id", text)` for a stated type; `detect/` finds them where no type is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from privcompute.anonymize.identifiers import (
    bank_card,
    cn_address,
    cn_id,
    cn_mobile,
    cn_name,
    cn_org_code,
    cn_passport,
    cn_permit,
    cn_plate,
    cn_uscc,
    email,
    iban,
    ip,
    phone,
)
from privcompute.anonymize.identifiers.normal import Normal, compact, normalise, normalise_with_places
from privcompute.anonymize.identifiers.parsed import Parsed
from privcompute.errors import UsageError

PARSERS: Final[Mapping[str, Callable[[str], Parsed]]] = MappingProxyType(
    {
        cn_id.KIND: cn_id.parse,
        cn_id.SHORT: cn_id.parse,
        cn_id.RESIDENCE: cn_id.parse,
        cn_id.FOREIGN: cn_id.parse,
        cn_mobile.KIND: cn_mobile.parse,
        bank_card.KIND: bank_card.parse,
        cn_uscc.KIND: cn_uscc.parse,
        cn_org_code.KIND: cn_org_code.parse,
        cn_plate.KIND: cn_plate.parse,
        cn_plate.NEW_ENERGY: cn_plate.parse,
        cn_passport.KIND: cn_passport.parse,
        cn_permit.HK_MO: cn_permit.parse_hk_mo,
        cn_permit.TAIWAN: cn_permit.parse_taiwan,
        cn_permit.MAINLAND: cn_permit.parse_mainland,
        cn_name.KIND: cn_name.parse,
        cn_address.KIND: cn_address.parse,
        email.KIND: email.parse,
        ip.KIND: ip.parse,
        iban.KIND: iban.parse,
        phone.KIND: phone.parse,
    }
)
"""By kind. Kinds that share a form share a parser, whose result says which of them it was."""

KINDS: Final = tuple(PARSERS)


def parser(kind: str) -> Callable[[str], Parsed]:
    """The parser of one kind.

    Raises:
        UsageError: `no_such_kind`, with the nearest one.
    """
    if kind not in PARSERS:
        import difflib

        near = difflib.get_close_matches(kind, KINDS, n=1)
        raise UsageError(
            f"there is no kind of identifier {kind[:40]!r}",
            code="no_such_kind",
            remedy=f"did you mean {near[0]!r}?" if near else f"one of {', '.join(KINDS)}",
        )
    return PARSERS[kind]


def parse(kind: str, text: str) -> Parsed:
    """Read `text` as an identifier of one kind.

    Raises:
        UsageError: `no_such_kind`.
    """
    return parser(kind)(text)


__all__ = [
    "KINDS",
    "PARSERS",
    "Normal",
    "Parsed",
    "compact",
    "normalise",
    "normalise_with_places",
    "parse",
    "parser",
]
