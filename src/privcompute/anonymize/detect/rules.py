"""Small tables that the kernels hold as constants: confidences, contexts, provinces, issuers, alphabets, countries.

They stand here and not in `Tables` because every array that is passed on is counted, in and out, at every call.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from privcompute.anonymize.detect.kinds import KINDS, SCORES, WANTED
from privcompute.anonymize.identifiers.bank_card import NETWORKS
from privcompute.anonymize.identifiers.checksums import USCC_ALPHABET
from privcompute.anonymize.identifiers.divisions import PROVINCES
from privcompute.anonymize.identifiers.iban import LENGTHS
from privcompute.anonymize.identifiers.phone import COUNTRY_CODES

SCORE: Final = np.array(SCORES, dtype=np.int64)
"""Confidence by rule and by what the words nearby say."""

WANT: Final = np.array([WANTED[kind] for kind in range(len(KINDS))], dtype=np.int64)
"""By kind, the contexts that speak for it."""

PROVINCE: Final = np.zeros(100, dtype=np.bool_)
PROVINCE[[int(code) for code in PROVINCES]] = True

ISSUERS: Final = np.array(
    [(int(a), int(b), len(a), short, long, name != "domestic") for name, a, b, short, long in NETWORKS], dtype=np.int64
)
"""By rule: first and last prefix, digits of a prefix, shortest and longest number, whether a network of its own."""

USCC_VALUES: Final = np.full(128, -1, dtype=np.int8)
USCC_VALUES[[ord(char) for char in USCC_ALPHABET]] = np.arange(len(USCC_ALPHABET))

IBAN_LENGTHS: Final = np.zeros(26 * 26, dtype=np.int8)
for _country, _length in LENGTHS.items():
    IBAN_LENGTHS[(ord(_country[0]) - 65) * 26 + ord(_country[1]) - 65] = _length

COUNTRY: Final = np.zeros(1000, dtype=np.bool_)
COUNTRY[[int(code) for code in COUNTRY_CODES]] = True
