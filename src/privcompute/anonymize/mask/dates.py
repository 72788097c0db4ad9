"""Dates in columns: of date and timestamp types, and as text in the spellings that people use.

A date is taken as the day that is written: no time zone moves it. A text's spelling stays: what is behind the day
(a time, a zone) is not touched.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from privcompute.errors import UsageError

EPOCH: Final = dt.date(1970, 1, 1)
_FORMS: Final = (
    (re.compile(r"(\d{4})-(\d{2})-(\d{2})(?=$|[T ]\d)", re.ASCII), "{:04d}-{:02d}-{:02d}"),
    (re.compile(r"(\d{4})/(\d{2})/(\d{2})(?=$|[T ]\d)", re.ASCII), "{:04d}/{:02d}/{:02d}"),
    (re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?=$|[T ]\d)", re.ASCII), "{:d}/{:d}/{:d}"),
    (re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?=$|[T ]\d)", re.ASCII), "{:d}-{:d}-{:d}"),
    (re.compile(r"(\d{4})\.(\d{1,2})\.(\d{1,2})(?=$)", re.ASCII), "{:d}.{:d}.{:d}"),
    (re.compile(r"(\d{4})(\d{2})(\d{2})(?=$)", re.ASCII), "{:04d}{:02d}{:02d}"),
    (re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日", re.ASCII), "{:d}年{:d}月{:d}日"),
)


def read_day(text: str) -> tuple[dt.date, Callable[[dt.date], str]] | None:
    """The day that a text begins with, and how another day is spelt in the same way.

    Returns:
        None if it begins with none that exists: also for two-digit years and serial numbers, which are ambiguous.
    """
    stripped = text.strip()
    for form, spelling in _FORMS:
        found = form.match(stripped)
        if found is None:
            continue
        try:
            day = dt.date(int(found[1]), int(found[2]), int(found[3]))
        except ValueError:
            return None
        rest = stripped[found.end() :]
        return day, functools.partial(_spelt, spelling, rest)
    return None


def _spelt(spelling: str, rest: str, day: dt.date) -> str:
    return spelling.format(day.year, day.month, day.day) + rest


def is_dated(kind: pa.DataType) -> bool:
    """Whether a type is one of dates or timestamps."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def moved(cell: dt.date | dt.datetime, days: int, column: str) -> dt.date | dt.datetime:
    """A date, or an instant, some whole days later.

    Raises:
        UsageError: `date_range`: there is no such year.
    """
    try:
        return cell + dt.timedelta(days=days)
    except OverflowError:
        raise UsageError(f"a shifted date of column {column!r} leaves the calendar", code="date_range") from None
