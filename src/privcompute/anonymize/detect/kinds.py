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

DEFAULT_THRESHOLD: Final = 50


def reason_words(bits: int) -> tuple[str, ...]:
    """The words of a set of reasons."""
    return tuple(word for place, word in enumerate(REASONS) if bits >> place & 1)
