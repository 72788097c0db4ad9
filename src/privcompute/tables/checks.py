"""How a row's value becomes an integer, in SQL, and what is wrong with a row whose value does not.

A check is a condition that is true of a row that breaks a public promise. Checks become bits of a mask that is
OR-ed over all rows; only which check failed comes out, never a value or a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from privcompute.errors import UsageError
from privcompute.tables.engine import identifier, literal
from privcompute.tables.expressions import ExpressionType, wrapped
from privcompute.tables.features import WIDE, Feature
from privcompute.tables.profiling import exact_decimal
from privcompute.tables.schema import Column, Kind

MASK_BITS = 62
"""Checks that one BIGINT mask carries."""

_HUGE = (1 << 127) - 1
_MOST_DIGITS = 38
_DOUBLE_DIGITS = 15
"""Powers of ten up to here, and the decimals of so many digits, are exact in a double."""


@dataclass(frozen=True)
class Check:
    """A promise about rows.

    Attributes:
        broken: SQL, true of a row that breaks it; NULL counts as false.
        code: the error's code.
        message: the error's text, without data.
        remedy: what to do.
    """

    broken: str
    code: str
    message: str
    remedy: str

    def error(self) -> UsageError:
        """The error to raise."""
        return UsageError(self.message, code=self.code, remedy=self.remedy)


@dataclass(frozen=True)
class Encoded:
    """A value as an integer.

    Attributes:
        value: SQL of a BIGINT or HUGEINT, never NULL, 0 for rows that break a check.
        bound: the largest |value| there can be; a BIGINT if it is less than `WIDE`.
        checks: what must hold of every row.
    """

    value: str
    bound: int
    checks: tuple[Check, ...]


def limbs(wide: str, low: str, high: str) -> list[str]:
    """The select list that cuts a HUGEINT into 64-bit limbs of two's complement, the lower one UBIGINT."""
    return [
        f"CAST({wide} & CAST('{(1 << 64) - 1}' AS HUGEINT) AS UBIGINT) AS {low}",
        f"CAST({wide} >> 64 AS BIGINT) AS {high}",
    ]


def mask_columns(checks: Sequence[Check]) -> list[str]:
    """SQL of the masks of a row; bit i of mask j stands for check 62 j + i."""
    masks = []
    for start in range(0, len(checks), MASK_BITS):
        bits = (
            f"CASE WHEN {check.broken} THEN CAST({1 << place} AS BIGINT) ELSE CAST(0 AS BIGINT) END"
            for place, check in enumerate(checks[start : start + MASK_BITS])
        )
        masks.append("(" + " | ".join(bits) + ")")
    return masks


def column_checks(columns: Sequence[Column]) -> list[Check]:
    """What the owner promised about columns: their range, their decimal digits, the absence of NULLs."""
    checks = []
    for column in columns:
        x = identifier(column.name)
        if column.lo is not None and column.hi is not None:
            checks.append(
                Check(
                    _outside(column, x, column.lo, column.hi),
                    "range_exceeded",
                    f"column {column.name!r} holds values outside its public range",
                    f"declare a wider range: dataset edit … --range {column.name}=LO:HI",
                )
            )
        if column.kind is Kind.REAL and column.scale is not None:
            checks.append(
                Check(
                    f"NOT {exact_decimal(f'CAST({x} AS DOUBLE)', column.scale)}",
                    "not_decimal",
                    f"column {column.name!r} holds values of more than {column.scale} decimal digits",
                    "profile the dataset anew: its content has changed",
                )
            )
        if column.domain is not None:
            checks.append(
                Check(
                    f"NOT coalesce({_among(column.domain, x)}, true)",
                    "outside_domain",
                    f"column {column.name!r} holds values outside its public domain",
                    f"declare all of them: dataset edit … --domain {column.name}=V1,V2,…; or correct the rows",
                )
            )
        if not column.nullable:
            checks.append(
                Check(
                    f"{x} IS NULL",
                    "null_found",
                    f"column {column.name!r} holds NULLs, which its entry excludes",
                    "profile the dataset anew: its content has changed",
                )
            )
    return checks


def _among(domain: Sequence[str] | Sequence[int], x: str) -> str:
    """SQL: is the value among these? NULL for NULL."""
    if isinstance(domain[0], str):
        return f"{x} IN ({', '.join(literal(str(value)) for value in domain)})"
    return f"CAST({x} AS HUGEINT) IN ({', '.join(_huge(int(value)) for value in domain)})"


def _outside(column: Column, x: str, lo: Fraction, hi: Fraction) -> str:
    """SQL: is the value outside? NaN is above everything in DuckDB, so it is."""
    if column.kind is Kind.REAL:
        x = f"CAST({x} AS DOUBLE)"
        return f"({x} < {_double(_nearest(lo, up=True))} OR {x} > {_double(_nearest(hi, up=False))})"
    scale = column.scale or 0
    # Both sides as integers of the column's last digit: exact whatever the type.
    digits = Encoder(ExpressionType(column.kind, column.type, scale), x).unscaled()
    least, most = math.ceil(lo * 10**scale), math.floor(hi * 10**scale)
    return f"NOT ({digits} BETWEEN {_huge(max(least, -_HUGE))} AND {_huge(min(most, _HUGE))})"


def _nearest(value: Fraction, *, up: bool) -> float:
    """The double nearest to `value` on its inner side, an infinity if it lies beyond all doubles."""
    try:
        near = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    if up and Fraction(near) < value:
        return math.nextafter(near, math.inf)
    if not up and Fraction(near) > value:
        return math.nextafter(near, -math.inf)
    return near


def _double(value: float) -> str:
    """`value` as SQL; Python's shortest text reads back as the same double."""
    return f"CAST('{value!r}' AS DOUBLE)"


def _huge(value: int) -> str:
    return f"CAST('{value}' AS HUGEINT)"


@dataclass(frozen=True)
class Encoder:
    """Builds the SQL that encodes one expression.

    Attributes:
        type: what DuckDB makes of the expression.
        x: the expression, in brackets.
    """

    type: ExpressionType
    x: str

    def unscaled(self) -> str:
        """The digits of an integer, boolean or DECIMAL as a HUGEINT: value * 10^scale, with no float on the way."""
        scale = self.type.scale or 0
        if not scale:
            return f"CAST({self.x} AS HUGEINT)"
        width = int(self.type.type.removeprefix("DECIMAL(").split(",")[0])
        wide = width + scale + 1
        if wide <= _MOST_DIGITS:
            # Widened first: DuckDB keeps a product of two DECIMALs of up to 18 digits within 18.
            widened = f"CAST({self.x} AS DECIMAL({wide},{scale}))"
            return f"CAST({widened} * CAST({10**scale} AS DECIMAL({scale + 1},0)) AS HUGEINT)"
        # The product would not fit a DECIMAL; the text has all digits of the scale, always.
        return f"CAST(replace(CAST({self.x} AS VARCHAR), '.', '') AS HUGEINT)"

    def whole(self, feature: Feature) -> Encoded:
        """`indicator` and `integer`."""
        fits = self.type.kind in (Kind.INTEGER, Kind.BOOLEAN) or (
            self.type.kind is Kind.DECIMAL and not self.type.scale
        )
        if not fits:
            raise self._mismatch(feature)
        least = 0 if feature.encoding == "indicator" else -feature.bound
        return self._bounded(self.unscaled(), least, feature.bound, 1, ())

    def decimal(self, feature: Feature) -> Encoded:
        """`decimal`: of an exact type by its digits, of a double that is an exact decimal by rounding."""
        digits = feature.exponent or 0
        scale = self.type.scale or 0
        if self.type.kind is Kind.REAL and digits <= _DOUBLE_DIGITS:
            double = f"CAST({self.x} AS DOUBLE)"
            check = Check(
                f"NOT {exact_decimal(double, digits)}",
                "not_decimal",
                f"a feature holds values of more than {digits} decimal digits",
                "profile the dataset anew: its content has changed",
            )
            return self._bounded(_rounded(f"{double} * 1e{digits}"), -feature.bound, feature.bound, 1, (check,))
        if self.type.kind not in (Kind.INTEGER, Kind.BOOLEAN, Kind.DECIMAL) or scale > digits:
            raise self._mismatch(feature)
        factor = 10 ** (digits - scale)
        # The bound is checked on the digits there are: appending zeros cannot overflow after that.
        return self._bounded(self.unscaled(), -(feature.bound // factor), feature.bound // factor, factor, ())

    def real(self, feature: Feature) -> Encoded:
        """`real`: rounded once, to the nearest multiple of the step; scaling by a power of two is exact."""
        if self.type.kind is not Kind.REAL:
            raise self._mismatch(feature)
        scale = _double(2.0 ** (feature.exponent or 0))
        rounded = _rounded(f"CAST({self.x} AS DOUBLE) * {scale}")
        return self._bounded(rounded, -feature.bound, feature.bound, 1, ())

    def _bounded(self, digits: str, least: int, most: int, factor: int, also: tuple[Check, ...]) -> Encoded:
        inside = f"coalesce({digits} BETWEEN {_huge(least)} AND {_huge(most)}, false)"
        check = Check(
            f"({self.x} IS NOT NULL AND NOT {inside})",
            "range_exceeded",
            "a feature exceeds the bound that the public ranges give",
            "check the public ranges of the columns it uses",
        )
        bound = max(abs(least), most) * factor
        product = digits if factor == 1 else f"{digits} * {_huge(factor)}"
        value = f"CASE WHEN {inside} THEN {product} ELSE 0 END"
        return Encoded(f"CAST({value} AS {'BIGINT' if bound < WIDE else 'HUGEINT'})", bound, (check, *also))

    def _mismatch(self, feature: Feature) -> UsageError:
        return UsageError(
            f"an expression of type {self.type.type} cannot be encoded as {feature.encoding}",
            code="encoding_mismatch",
            remedy="cast it in the query to the type that is meant",
        )


def _rounded(x: str) -> str:
    """The nearest integer as a HUGEINT, halves away from zero; NULL for what is not finite or beyond 126 bits."""
    return f"CASE WHEN abs({x}) < {_double(2.0**126)} THEN CAST(round({x}) AS HUGEINT) END"


def encode(feature: Feature, found: ExpressionType) -> Encoded:
    """The encoding of a feature whose expression has the type `found`.

    Raises:
        UsageError: `encoding_mismatch`.
    """
    encoder = Encoder(found, wrapped(feature.sql))
    if feature.encoding in ("indicator", "integer"):
        return encoder.whole(feature)
    return encoder.decimal(feature) if feature.encoding == "decimal" else encoder.real(feature)
