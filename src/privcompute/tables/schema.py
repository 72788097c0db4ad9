"""What a column is: its kind, its type and the public range that makes it usable as a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import Literal, cast, get_args

from privcompute.errors import UsageError

RangeOrigin = Literal["declared", "data-derived", "type"]

MAX_NAME = 128
"""Longest column name, in characters."""

MAX_DOMAIN = 1000
"""Most values of a column's public domain."""

_TYPE_TEXT = re.compile(r"[A-Z][A-Z0-9 _]{0,39}(\([0-9]{1,2},[0-9]{1,2}\))?")
_MAX_SCALE = 38
_RANGE_BITS = 2048
_LARGEST = 1 << 127


class Kind(StrEnum):
    """The families of types that the planner tells apart."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    REAL = "real"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    OTHER = "other"


NUMERIC = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.REAL, Kind.BOOLEAN})
"""Kinds that may have a range."""


def check_name(name: object, what: str) -> str:
    """Return `name` if it can be shown and compared safely.

    A name crosses to the peer and is printed on its terminal: no control or invisible characters.

    Raises:
        UsageError: `bad_name`.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise UsageError(
            f"the {what} is empty, longer than {MAX_NAME} characters or holds unprintable characters",
            code="bad_name",
            remedy=f"rename the {what}",
        )
    return name


@dataclass(frozen=True)
class Column:
    """One column as its owner publishes it.

    Attributes:
        name: as the source spells it; matched without regard to case, as DuckDB does.
        kind: the family of the type.
        type: DuckDB's text of the type. Nested types and ENUM give the bare word: their text may hold data.
        scale: decimal digits of a DECIMAL, or of a REAL column whose values are all exact decimals; else None.
        lo: smallest value the public range admits; None together with `hi`: no range, not usable as a number.
        hi: largest value the public range admits.
        range_origin: who set the range: its owner ("declared"), the data ("data-derived") or nobody ("type").
        nullable: False only if the owner promises that there is no NULL; the promise is checked at every run.
        domain: all values there are, NULL aside, as their owner declares them for everybody to see: text for a TEXT
            column, whole numbers for an INTEGER one, ascending, distinct, at most `MAX_DOMAIN`. None: not declared.
    """

    name: str
    kind: Kind
    type: str
    scale: int | None
    lo: Fraction | None
    hi: Fraction | None
    range_origin: RangeOrigin
    nullable: bool
    domain: tuple[str, ...] | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the fields against each other.

        Raises:
            UsageError: `bad_name` or `bad_column`.
        """
        check_name(self.name, "column name")
        faults = (
            (not isinstance(self.kind, Kind), "has no known kind"),
            (not isinstance(self.type, str) or not _TYPE_TEXT.fullmatch(self.type), "has an unreadable type"),
            (type(self.nullable) is not bool, "does not say whether it may be NULL"),
            (self.range_origin not in get_args(RangeOrigin), "does not say where its range comes from"),
            (not self._scale_fits(), "has a scale that its kind does not admit"),
            (not self._range_fits(), "has a range that is one-sided, upside down or not for its kind"),
            (not self._domain_fits(), "has a domain that is empty, too long, not in order or not of its type"),
        )
        for wrong, fault in faults:
            if wrong:
                raise UsageError(f"column {self.name!r} {fault}", code="bad_column")

    def _scale_fits(self) -> bool:
        if self.scale is None:
            return self.kind is not Kind.DECIMAL
        whole = type(self.scale) is int and 0 <= self.scale <= _MAX_SCALE
        return whole and self.kind in (Kind.DECIMAL, Kind.REAL)

    def _range_fits(self) -> bool:
        if self.lo is None or self.hi is None:
            return self.lo is None and self.hi is None
        if type(self.lo) is not Fraction or type(self.hi) is not Fraction or self.lo > self.hi:
            return False
        parts = (self.lo.numerator, self.lo.denominator, self.hi.numerator, self.hi.denominator)
        # A range is public, is printed and enters every bound: keep it to what a double can span.
        return self.kind in NUMERIC and all(abs(part).bit_length() <= _RANGE_BITS for part in parts)

    def _domain_fits(self) -> bool:
        if self.domain is None:
            return True
        if type(self.domain) is not tuple or not 0 < len(self.domain) <= MAX_DOMAIN:
            return False
        # A value is shown on the peers' terminals, and is a group's name: plain text of the length of a name.
        if self.kind is Kind.TEXT:
            fits = all(type(v) is str and len(v) <= MAX_NAME and v.isprintable() for v in self.domain)
        else:
            fits = self.kind is Kind.INTEGER and all(type(v) is int and abs(v) < _LARGEST for v in self.domain)
        return fits and all(a < b for a, b in pairwise(cast("tuple[int, ...]", self.domain)))
