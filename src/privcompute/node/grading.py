"""Grades at a node: which rule table binds it, what a peer is to it, what a column's grade asks for in a query.

A grade stays with its owner. A peer is shown floors only, the weakest technique that may carry a column to it, and of
these only the ones that a query could fall short of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from privcompute.errors import UsageError
from privcompute.grades import RuleTable, Technique, load, parse_grade
from privcompute.node import rules

if TYPE_CHECKING:
    from privcompute.node.catalogue import Dataset
    from privcompute.node.config import Config
    from privcompute.tables.catalogue import DatasetEntry
    from privcompute.tables.schema import Column

QUERY_PURPOSE: Final = "joint-statistics"


def rule_table(config: Config) -> RuleTable:
    """The rules that bind this node.

    Raises:
        UsageError: the owner's file will not do.
    """
    own = Path(config.grades.rules) if config.grades.rules else None
    return load(config.grades.profile, own, required=config.grades.required)


def recipient(config: Config, party: str) -> str:
    """What a party is in the words of the rules."""
    if party in config.grades.abroad:
        return "cross-border"
    return "own" if party == config.name or party in config.grades.own else "peer"


def published(config: Config, dataset: Dataset, others: Iterable[str]) -> DatasetEntry:
    """The entry as these parties see it: with the floors that hold if all of them take part in a query.

    Raises:
        UsageError: `grade_rules`, without a word on what is wrong: a peer may hear it.
    """
    entry = dataset.entry
    try:
        table = rule_table(config)
    except UsageError:
        raise UsageError(
            "this node cannot read its rules for grades",
            code="grade_rules",
            party=config.name,
            remedy=f"the owner of {config.name} runs `privcompute doctor`",
        ) from None
    lost = unknown_grades(dataset.grades, table)
    kinds = {recipient(config, one) for one in others if one != config.name} or {"own"}
    floors = {}
    for column in entry.columns:
        text = dataset.grades.get(column.name)
        grade = parse_grade(text) if text else None
        # Of a grade that the rules do not have nobody can say what it permits.
        bound = (table.floor(grade, QUERY_PURPOSE, kind) for kind in kinds) if column.name not in lost else ()
        least = max(bound, default=Technique.FORBIDDEN)
        # A query is at least as strong as a k-anonymous release: it shows sums, and groups of enough people. Groups of
        # fewer people than the rules' k are shown as plain values; then such a column may be in sums and in no group.
        if least > _groups(entry, table):
            floors[column.name] = max(least, Technique.SUM).value
    return replace(entry, floors=floors)


def _groups(entry: DatasetEntry, table: RuleTable) -> Technique:
    """What carries the values of GROUP BY: a cell has at least so many people as the owner's minimum says."""
    return Technique.K_ANONYMOUS if entry.min_cell >= table.least_k else Technique.PLAIN


def expand(grades: Mapping[str, str], columns: Sequence[Column], config: Config) -> dict[str, str]:
    """The grade of each column that has one: '*' is for all that no other rule names, "" takes a grade back.

    Raises:
        UsageError: a rule names no column, or a grade or category that the node's table does not have.
    """
    table = rule_table(config)
    for text in grades.values():
        if text:
            table.check_grade(grade := parse_grade(text))
            table.check_category(grade)
    found = {one.name: grades["*"] for one in columns if grades.get("*")}
    for named, text in grades.items():
        # A grade may be taken back of a column that has gone.
        if text and named != "*":
            found[rules.named_column(named, columns, "--grade").name] = text
        elif not text:
            found = {name: kept for name, kept in found.items() if name.casefold() != named.casefold()}
    return found


def unknown_grades(grades: Mapping[str, str], table: RuleTable) -> list[str]:
    """The columns whose grade a table does not have: it was given under another one."""
    known = set(table.names())
    return sorted(name for name, text in grades.items() if parse_grade(text).grade not in known)


def unknown_categories(grades: Mapping[str, str], table: RuleTable) -> list[str]:
    """The categories that a table's negative list does not have."""
    given = {parse_grade(text).category for text in grades.values()}
    return sorted(one for one in given if one is not None and one not in table.categories())


def notes(grades: Mapping[str, str], entry: DatasetEntry, config: Config) -> tuple[str, ...]:
    """What an owner should know of the grades as they are."""
    found = []
    bare = [one.name for one in entry.columns if one.name not in grades]
    if bare and config.grades.required:
        found.append(f"without a grade, and grades.required is set: no query and no release may use {_some(bare)}")
    table = rule_table(config)
    floors = {name: table.floor(parse_grade(text), QUERY_PURPOSE, "peer") for name, text in grades.items()}
    groups = _groups(entry, table)
    if small := [name for name, least in floors.items() if groups < least <= Technique.K_ANONYMOUS]:
        found.append(
            f"cells of {entry.min_cell} people are smaller than the rules' k of {table.least_k}: "
            f"a peer may not group by {_some(small)}"
        )
    return tuple(found)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
