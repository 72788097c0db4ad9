"""Grades at a node: which rule table binds it, what a peer is to it, what a column's grade asks for in a query.

A grade stays with its owner. A peer is shown floors only, the weakest technique that may carry a column to it, and of
these only the ones that a query could fall short of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
        UsageError: the rules will not do, or a stored grade is none of theirs.
    """
    entry = dataset.entry
    table = rule_table(config)
    kinds = {recipient(config, one) for one in others if one != config.name} or {"own"}
    floors = {}
    for column in entry.columns:
        text = dataset.grades.get(column.name)
        grade = parse_grade(text) if text else None
        least = max(table.floor(grade, QUERY_PURPOSE, kind) for kind in kinds)
        # Every query is at least as strong as a k-anonymous release: it shows sums, and groups of enough people.
        if least > Technique.K_ANONYMOUS:
            floors[column.name] = least.value
    return replace(entry, floors=floors)


def expand(grades: Mapping[str, str], columns: Sequence[Column], config: Config) -> dict[str, str]:
    """The grade of each column that has one: '*' is for all that no other rule names, "" takes a grade back.

    Raises:
        UsageError: a rule names no column, or a grade that the node's table does not have.
    """
    table = rule_table(config)
    for text in grades.values():
        if text:
            table.check_grade(parse_grade(text))
    found = {one.name: grades["*"] for one in columns if grades.get("*")}
    for named, text in grades.items():
        if named != "*":
            found[rules.named_column(named, columns, "--grade").name] = text
    return {name: text for name, text in found.items() if text}


def notes(grades: Mapping[str, str], entry: DatasetEntry, config: Config) -> tuple[str, ...]:
    """What an owner should know of the grades as they are."""
    bare = [one.name for one in entry.columns if one.name not in grades]
    if not bare or not config.grades.required:
        return ()
    shown = ", ".join(bare[:5]) + (", …" if len(bare) > 5 else "")
    return (f"without a grade, and grades.required is set: no query and no release may use {shown}",)
