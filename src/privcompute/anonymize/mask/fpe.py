"""fpe: format-preserving encryption with FF1. A number stays such a number, valid, and its key's owner can undo it.

Never the default: `token` says nothing about what it hides, this keeps the format, the kept prefix and equality.
Patents may be claimed on FF1; let a person check that before a product relies on it.

Source: see ff1.py and formats.py.
"""

# ruff: noqa: RUF009 - `parameter` makes a field

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.identifiers import bank_card, cn_id, cn_mobile
from privcompute.anonymize.mask.canonical import canonical
from privcompute.anonymize.mask.ff1 import FF1
from privcompute.anonymize.mask.formats import ALPHABETS, Alphabet, Card, Format, Identity, Mobile
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator, settle
from privcompute.anonymize.mask.parameters import choice, flag, key_id, optional, parameter, text, whole
from privcompute.anonymize.mask.texts import Cells, Rows, as_text, by_length, from_rows
from privcompute.errors import UsageError

TYPES = (cn_mobile.KIND, bank_card.KIND, cn_id.KIND)


def _date(value: object) -> str | None:
    wrong = 'must be a date in quotes such as "1900-01-01"'
    if isinstance(value, dt.date):
        return None
    try:
        return None if isinstance(value, str) and dt.date.fromisoformat(value) else wrong
    except ValueError:
        return wrong


@dataclass(frozen=True)
class Fpe(Operator):
    """Encrypts within a format.

    Attributes:
        key: the key's id.
        type: "cn_mobile", "bank_card" or "cn_id"; or none, and then an alphabet.
        alphabet: "digits", "lower", "upper", "mixed" for values of any length.
        keep_prefix: signs at the front that stay: of a mobile number 3, of a card 6 if not stated.
        keep_suffix: signs at the end that stay; for alphabets.
        bind_prefix: the same digits behind different prefixes encrypt differently; only of use to switch off for a
            mobile column that was encrypted otherwise before.
        keep_sex: of an identity number, the order stays odd or even.
        since: of an identity number, the first birth date of the format.
        until: the last one.
        domain: the label in the tweak; columns that shall join say the same one. If not stated, the type.
        invalid: what becomes of cells that are no such number: "error" ends the run, "null" empties them.
    """

    op: ClassVar[str] = "fpe"

    key: str = parameter(key_id)
    type: str | None = parameter(optional(choice(*TYPES)), None)
    alphabet: str | None = parameter(optional(choice(*ALPHABETS)), None)
    keep_prefix: int | None = parameter(optional(whole(0, 32)), None)
    keep_suffix: int = parameter(whole(0, 32), 0)
    bind_prefix: bool = parameter(flag, True)
    keep_sex: bool = parameter(flag, False)
    since: str | dt.date = parameter(_date, "1900-01-01")
    until: str | dt.date = parameter(_date, "2025-12-31")
    domain: str | None = parameter(optional(text(64)), None)
    invalid: str = parameter(choice("error", "null"), "error")

    @property
    def keys(self) -> tuple[str, ...]:
        """The one key."""
        return (self.key,)

    @property
    def label(self) -> bytes:
        """The beginning of every tweak."""
        return f"{self.domain or self.type or self.alphabet}|v1".encode()

    @property
    def format(self) -> Format:
        """What is encrypted.

        Raises:
            UsageError: `policy`, if the parameters do not go together.
        """
        if (self.type is None) == (self.alphabet is None):
            raise UsageError("fpe needs a type or an alphabet, not both", code="policy")
        if self.alphabet is not None:
            return Alphabet(self.alphabet, self.keep_prefix or 0, self.keep_suffix)
        if self.keep_suffix:
            raise UsageError("keep_suffix is for alphabets: a type has its own end", code="policy")
        if self.type == cn_id.KIND:
            if self.keep_prefix not in (None, 6):
                raise UsageError("of an identity number the six digits of the region stay", code="policy")
            since, until = (dt.date.fromisoformat(str(one)) for one in (self.since, self.until))
            return Identity(since, until, self.keep_sex)
        if self.type == cn_mobile.KIND:
            keep = 3 if self.keep_prefix is None else self.keep_prefix
            if keep < 2:
                raise UsageError("of a mobile number at least two digits stay", code="policy")
            return Mobile(keep, self.bind_prefix)
        return Card(6 if self.keep_prefix is None else self.keep_prefix)

    def bind(self, column: str, keys: Keys, *, forward: bool = True) -> Apply:
        """See Operator; `forward=False` decrypts."""
        form, label = self.format, self.label
        ff1 = FF1(keys.derive(self.key, "fpe"), len(form.alphabet))
        form.check(ff1)

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            texts = as_text(cells, column)
            wrong = np.zeros(len(texts), dtype=np.bool_)
            if self.type is not None:
                texts, wrong = canonical(texts, self.type)
            done = []
            for rows in by_length(texts):
                fits = form.fits(rows.signs)
                wrong[rows.places[~fits]] = True
                if fits.any():
                    done.append(Rows(rows.places[fits], form.permute(ff1, rows.signs[fits], label, forward=forward)))
            what = f"{self.type} within the format" if self.type else f"text of the alphabet {self.alphabet!r}"
            return settle(from_rows(len(texts), done), wrong, self.invalid, column, what)

        return apply
