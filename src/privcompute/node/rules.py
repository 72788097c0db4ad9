"""What an owner writes about a dataset, `COL=aggregate,filter` and `COL=LO:HI`, and what it means for its columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from privcompute.errors import UsageError
from privcompute.grades.table import parse_grade
from privcompute.tables.catalogue import USES
from privcompute.tables.schema import MAX_DOMAIN, NUMERIC, Column, Kind

NUMBER_USES = frozenset({"aggregate", "product"})
"""Uses that need a column's public range, if it is a number."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,39}")


@dataclass(frozen=True)
class _Option:
    """An option of `dataset` that says something of a column, COL=WHAT, each column once.

    Attributes:
        name: As it is written.
        form: Its form, for people.
        code: The errors' code.
        remedy: An example.
        last: Whether the last = of a text counts, or the first: what follows the other one may hold such signs.
    """

    name: str
    form: str
    code: str
    remedy: str
    last: bool = True

    def parts(self, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Of each text the column and what is said of it; UsageError for another form, or a column named twice."""
        seen = set()
        for text in texts:
            column, equals, what = text.rpartition("=") if self.last else text.partition("=")
            if not equals or not column:
                raise self.fault(f"{text!r} is not {self.form}")
            if column in seen:
                raise self.fault(f"names {column!r} twice")
            seen.add(column)
            yield column, what

    def fault(self, fault: str) -> UsageError:
        """The error that says so."""
        return UsageError(f"{self.name} {fault}", code=self.code, remedy=self.remedy)


_ALLOW = _Option(
    "--allow",
    "COL=USE[,USE]",
    "bad_rule",
    "the uses are aggregate, group, filter, product; for example --allow 'claim=aggregate,filter'",
)
_GRADE = _Option("--grade", "COL=GRADE", "bad_grade", "for example --grade disease=general-4; COL= takes a grade back")
_KEY_TYPE = _Option("--key-type", "COL=TYPE", "bad_key_type", "for example --key id --key-type id=BIGINT")
_RANGE = _Option("--range", "COL=LO:HI", "bad_range", "write for example --range age=0:120, once for a column")
_DOMAIN = _Option(
    "--domain",
    "COL=V1,V2,…",
    "bad_domain",
    "put a value in double quotes that is empty or holds a comma, a quote or spaces around it; one domain a column",
    last=False,
)


def parse_allow(texts: Sequence[str]) -> dict[str, frozenset[str]]:
    """`['*=group,filter', 'claim=aggregate']` as column (or '*') to uses.

    Raises:
        UsageError: code `bad_rule`.
    """
    rules: dict[str, frozenset[str]] = {}
    for column, listed in _ALLOW.parts(texts):
        uses = frozenset(use.strip() for use in listed.split(",") if use.strip())
        if unknown := sorted(uses - USES):
            near = difflib.get_close_matches(unknown[0], USES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _ALLOW.fault(f"{f'{column}={listed}'!r}: {unknown[0]!r} is no use{hint}")
        rules[column] = uses
    return rules


def parse_grades(texts: Sequence[str]) -> dict[str, str]:
    """`['*=general-2', 'disease=important']` as column (or '*') to grade; "" for a grade that is taken back.

    Raises:
        UsageError: code `bad_grade`.
    """
    return {column: str(parse_grade(grade)) if grade.strip() else "" for column, grade in _GRADE.parts(texts)}


def parse_key_types(texts: Sequence[str]) -> dict[str, str] | None:
    """`['day=DATE']` as key column to type; None if there is none. The source checks what they say.

    Raises:
        UsageError: code `bad_key_type`.
    """
    return {column: kind.strip() for column, kind in _KEY_TYPE.parts(texts)} or None


def expand_allow(
    rules: Mapping[str, frozenset[str]], columns: Sequence[Column], keys: Sequence[str]
) -> dict[str, frozenset[str]]:
    """The uses of each column: '*' covers all but the keys, a rule that names a column replaces it.

    Raises:
        UsageError: a rule names a key or no column.
    """
    key_names = {key.casefold() for key in keys}
    uses: dict[str, frozenset[str]] = {}
    if "*" in rules:
        uses = {one.name: rules["*"] for one in columns if one.name.casefold() not in key_names}
    for named, allowed in rules.items():
        if named == "*":
            continue
        column = named_column(named, columns, "--allow")
        if column.name.casefold() in key_names:
            raise UsageError(
                f"{column.name} is a key: of keys only COUNT(DISTINCT key) exists",
                code="bad_rule",
                remedy=f"remove --allow {named}=…",
            )
        uses[column.name] = allowed
    return {name: allowed for name, allowed in uses.items() if allowed}


def parse_ranges(texts: Sequence[str]) -> dict[str, tuple[Fraction, Fraction]]:
    """`['age=0:120', 'bmi=10:80.5']` as column to bounds.

    Raises:
        UsageError: code `bad_range`.
    """
    ranges: dict[str, tuple[Fraction, Fraction]] = {}
    for column, bounds in _RANGE.parts(texts):
        low, _, high = bounds.partition(":")
        try:
            found = Fraction(low.strip()), Fraction(high.strip())
        except (ValueError, ZeroDivisionError):
            found = None
        if found is None or found[0] > found[1]:
            raise _RANGE.fault(f"{f'{column}={bounds}'!r} is not {_RANGE.form}")
        ranges[column] = found
    return ranges


def expand_ranges(
    ranges: Mapping[str, tuple[Fraction, Fraction]], columns: Sequence[Column]
) -> dict[str, tuple[Fraction, Fraction]]:
    """The declared bounds under the columns' own names.

    Raises:
        UsageError: a range names no column, or one that is no number.
    """
    found = {}
    for named, bounds in ranges.items():
        column = named_column(named, columns, "--range")
        if column.kind not in NUMERIC:
            raise UsageError(
                f"{column.name} is {column.type}, a range is for numbers",
                code="bad_range",
                remedy=f"remove --range {named}=…",
            )
        found[column.name] = bounds
    return found


_FIELD = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*(?:,|$)')


def parse_domains(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`['region=North,"South, old"', 'ward=']` as column to its values; none for a domain that is taken back.

    Raises:
        UsageError: code `bad_domain`.
    """
    domains: dict[str, tuple[str, ...]] = {}
    for column, listed in _DOMAIN.parts(texts):
        values = _fields(listed) if listed.strip() else ()
        if values is None:
            raise _DOMAIN.fault(f"{f'{column}={listed}'!r} is not {_DOMAIN.form}")
        domains[column] = values
    return domains


def _fields(text: str) -> tuple[str, ...] | None:
    """The values of a list with commas; None if it is not one. A value is empty only in quotes: `a,,b` is a slip."""
    values = []
    place = 0
    while place <= len(text):
        match = _FIELD.match(text, place)
        if match is None or match[2] == "":
            return None
        values.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        place = match.end() if text[match.end() - 1 : match.end()] == "," else len(text) + 1
    return tuple(values)


def expand_domains(
    domains: Mapping[str, Sequence[str]], columns: Sequence[Column]
) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
    """The declared domains under the columns' own names, in order and of their types.

    Raises:
        UsageError: a domain names no column or one of another kind, or has a value twice or not of its type.
    """
    found: dict[str, tuple[str, ...] | tuple[int, ...]] = {}
    for named, values in domains.items():
        column = named_column(named, columns, "--domain")
        if not values:
            continue
        fault = None
        if column.kind not in (Kind.TEXT, Kind.INTEGER):
            fault = f"is {column.type}, a domain is for text and whole numbers"
        elif column.kind is Kind.INTEGER and not all(_WHOLE.fullmatch(value) for value in values):
            fault = f"is {column.type}, and a value is no whole number"
        elif len(values) > MAX_DOMAIN:
            fault = f"has more than {MAX_DOMAIN} values"
        if fault is None:
            texts = tuple(sorted(set(values)))
            numbers = tuple(sorted({int(value) for value in values})) if column.kind is Kind.INTEGER else ()
            found[column.name] = numbers or texts
            if len(found[column.name]) < len(values):
                fault = "has a value twice"
        if fault is not None:
            raise UsageError(
                f"--domain: {column.name} {fault}", code="bad_domain", remedy=f"correct --domain {named}=…"
            )
    return found


def named_column(named: str, columns: Sequence[Column], option: str) -> Column:
    """The column that an option names, matched without regard to case.

    Raises:
        UsageError: code `no_such_column`.
    """
    found = next((one for one in columns if one.name.casefold() == named.casefold()), None)
    if found is None:
        near = difflib.get_close_matches(named, [one.name for one in columns], n=1)
        raise UsageError(
            f"{option}: there is no column {named!r}",
            code="no_such_column",
            remedy=f"did you mean {near[0]!r}?" if near else "see the columns of the source",
        )
    return found
