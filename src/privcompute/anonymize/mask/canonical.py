"""A column of identifiers in canonical form, and which of its cells are none.

What is canonical already, as nearly all cells of a clean column are, is checked for the whole column at once; the rest
goes through the parser, each distinct value once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize.identifiers import bank_card, cn_id, cn_mobile, parser
from privcompute.anonymize.identifiers.checksums import ID_CHECKS, ID_WEIGHTS
from privcompute.anonymize.identifiers.divisions import PROVINCES, RESIDENCE_REGIONS
from privcompute.anonymize.mask.texts import TEXT, Bytes, Cells, Rows, by_length

Bools = npt.NDArray[np.bool_]

_ZERO, _NINE, _X = ord("0"), ord("9"), ord("X")


def canonical(column: Cells, kind: str) -> tuple[Cells, Bools]:
    """Every cell's canonical form.

    Args:
        column: a `large_string` array.
        kind: the kind of identifier.

    Returns:
        A `large_string` array of the same length, NULL where a cell is NULL or no such identifier; and (n,) which
        cells were not NULL and yet are none.

    Raises:
        UsageError: `no_such_kind`.
    """
    parse = parser(kind)
    sure = _sure(column, kind)
    if sure.all():
        return column, np.zeros(len(column), dtype=np.bool_)
    present = np.asarray(column.is_valid())
    rest = np.flatnonzero(present & ~sure)

    def read(text: Any) -> str | None:
        found = parse(text)
        return found.value if found.valid else None

    codes = column.take(rest).dictionary_encode()
    values = pa.array([read(text) for text in codes.dictionary.to_pylist()], type=TEXT)
    parsed = pc.take(values, codes.indices)
    wrong = np.zeros(len(column), dtype=np.bool_)
    wrong[rest] = np.asarray(parsed.is_null())
    mask = np.zeros(len(column), dtype=np.bool_)
    mask[rest] = True
    return pc.replace_with_mask(column, pa.array(mask), parsed), wrong


def _sure(column: Cells, kind: str) -> Bools:
    """(n,) the cells that are valid and canonical beyond doubt."""
    result = np.zeros(len(column), dtype=np.bool_)
    check = _CHECKS.get(kind)
    if check is not None:
        for rows in by_length(column):
            result[rows.places] = check(rows)
    return result


def digits_only(signs: Bytes) -> Bools:
    """(n,) the rows that consist of ASCII digits."""
    return np.asarray(((signs >= _ZERO) & (signs <= _NINE)).all(axis=1))


def _mobile(rows: Rows) -> Bools:
    if rows.signs.shape[1] != 11:
        return np.zeros(len(rows.places), dtype=np.bool_)
    fits: Bools = digits_only(rows.signs) & (rows.signs[:, 0] == ord("1")) & (rows.signs[:, 1] >= ord("3"))
    return fits


def luhn_sum(digits: Bytes) -> npt.NDArray[np.int64]:
    """(n,) Luhn's sum of rows of digits, the last one being the check digit; it holds if the sum ends in 0."""
    doubled = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint8)
    total = np.zeros(digits.shape[0], dtype=np.int64)
    for place in range(digits.shape[1]):
        one = digits[:, digits.shape[1] - 1 - place]
        total += doubled[one] if place % 2 else one
    return total


def _card(rows: Rows) -> Bools:
    if not 13 <= rows.signs.shape[1] <= 19:
        return np.zeros(len(rows.places), dtype=np.bool_)
    fits = digits_only(rows.signs)
    digits = np.where(fits[:, None], rows.signs - np.uint8(_ZERO), 0).astype(np.uint8)
    return np.asarray(fits & (luhn_sum(digits) % 10 == 0))


def id_check_signs(digits: Bytes) -> Bytes:
    """(n,) the check signs, as bytes, of rows of 17 digits."""
    weights = np.array(ID_WEIGHTS, dtype=np.int64)
    table = np.frombuffer(ID_CHECKS.encode(), dtype=np.uint8)
    checks: Bytes = table[(digits.astype(np.int64) @ weights) % 11]
    return checks


def birth_days(digits: Bytes) -> tuple[npt.NDArray[np.int64], Bools]:
    """(n,) days since 1970-01-01 of the dates at places 6 to 13 of identity numbers; (n,) whether they exist."""
    part = digits[:, 6:14].astype(np.int64)
    year = part[:, :4] @ np.array([1000, 100, 10, 1])
    month = part[:, 4] * 10 + part[:, 5]
    day = part[:, 6] * 10 + part[:, 7]
    fits = (month >= 1) & (month <= 12) & (day >= 1)
    first = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    start = first.astype("datetime64[D]").astype(np.int64)
    following = (first + 1).astype("datetime64[D]").astype(np.int64)
    return start + day - 1, fits & (day <= following - start)


def _identity(rows: Rows) -> Bools:
    signs = rows.signs
    if signs.shape[1] != 18:
        return np.zeros(len(rows.places), dtype=np.bool_)
    fits = digits_only(signs[:, :17])
    digits = np.where(fits[:, None], signs[:, :17] - np.uint8(_ZERO), 0)
    days, real = birth_days(digits)
    earliest = (cn_id.EARLIEST - dt.date(1970, 1, 1)).days
    # A day's slack on both sides of today: the parser decides about those.
    latest = (dt.datetime.now(dt.UTC).date() - dt.date(1970, 1, 1)).days - 1
    province = digits[:, 0].astype(np.int64) * 10 + digits[:, 1]
    foreign = digits[:, 0] == 9
    province = np.where(foreign, digits[:, 1].astype(np.int64) * 10 + digits[:, 2], province)
    known = np.isin(province, [int(code) for code in PROVINCES])
    region = digits[:, :6].astype(np.int64) @ np.array([100000, 10000, 1000, 100, 10, 1])
    known |= np.isin(region, [int(code) for code in RESIDENCE_REGIONS])
    check = id_check_signs(digits) == signs[:, 17]
    result: Bools = fits & real & (days >= earliest) & (days <= latest) & known & check
    return result


_CHECKS: Final[Mapping[str, Callable[[Rows], Bools]]] = MappingProxyType(
    {
        cn_mobile.KIND: _mobile,
        bank_card.KIND: _card,
        cn_id.KIND: _identity,
        cn_id.SHORT: _identity,
        cn_id.RESIDENCE: _identity,
        cn_id.FOREIGN: _identity,
    }
)
