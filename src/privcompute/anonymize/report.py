"""What a release says of itself: deterministic JSON, and Markdown in Chinese or English.

Sizes, figures and levels, never a value of the table. No time stamp: the same table, policy and version make the same
report (but for a search that ran out of time, which says so).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from privcompute.anonymize.classes import Classes, classes_by
from privcompute.anonymize.fingerprint import Fingerprint
from privcompute.anonymize.markdown import render
from privcompute.anonymize.models import Model
from privcompute.anonymize.picture import Point, picture
from privcompute.anonymize.policy import Policy
from privcompute.anonymize.prepare import Prepared
from privcompute.anonymize.recheck import Recheck
from privcompute.anonymize.risk import risk
from privcompute.anonymize.search.outcome import Outcome
from privcompute.anonymize.shown import Shown, ncp, shown_numbers

if TYPE_CHECKING:
    from privcompute.anonymize.search.tables import Tables


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        body: everything, as plain JSON data.
        locale: of the Markdown.
        points: risk and utility against k; empty until `sweep` was asked for.
    """

    body: Mapping[str, Any]
    locale: str = "en"
    points: tuple[Point, ...] = field(default=())

    def to_json(self) -> str:
        """Sorted keys, two blanks of indent."""
        return json.dumps(self.body, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self, locale: str | None = None) -> str:
        """For people, in `en` or `zh-CN`."""
        return render(self.body, locale or self.locale)

    def to_svg(self, locale: str | None = None) -> str:
        """Risk and loss against k."""
        return picture(self.points, locale or self.locale)


@dataclass(frozen=True)
class Found:
    """What a release knows when it is done.

    Attributes:
        prepared: the table that came in.
        before: its classes, as it came in.
        after: the second look at what leaves.
        outcome: of the search over the lattice, if there was one.
        shown: what is shown.
        tables: the search's.
        limit: rows that may be suppressed.
        fingerprint: of the table that came in.
    """

    prepared: Prepared
    before: Classes
    after: Recheck
    outcome: Outcome | None
    shown: Shown
    tables: Tables
    limit: int
    fingerprint: Fingerprint


def report(policy: Policy, found: Found) -> Report:
    """Write everything down."""
    from privcompute import __version__

    after = released_classes(found)
    suppressed = found.prepared.excluded + int(found.shown.suppressed.sum())
    body = {
        "tool": f"privcompute {__version__}",
        "policy": policy.digest,
        "input": found.fingerprint.to_json(),
        "rows": len(found.prepared.taking_part),
        "columns": {name: rule.role for name, rule in policy.columns.items()},
        "nulls": {"policy": policy.nulls, "by_column": found.prepared.nulls},
        "suppressed": {
            "rows": suppressed,
            "limit": found.limit,
            "by_nulls": found.prepared.excluded,
            "cells": int(sum(one.sum() for one in found.shown.hidden)),
            "shown_as": policy.output.suppressed,
        },
        "order": policy.output.order,
        "search": _searched(policy, found),
        "levels": _levels(found),
        "models": [
            {
                "type": model.kind,
                "asked": asked(model),
                "before": model.measure(found.before),
                "after": model.measure(after),
                "second_look": "holds",
            }
            for model in policy.models
        ],
        "risk": {"before": _plain(asdict(risk(found.before))), "after": _plain(asdict(risk(after)))},
        "utility": {"ncp_percent": ncp(found.shown), "by_column": _by_column(found)},
    }
    return Report(rounded(body), policy.locale)


def released_classes(found: Found) -> Classes:
    """The classes of what leaves, numbered by what is shown."""
    shown = found.shown
    kept = np.flatnonzero(~shown.suppressed)
    number = shown_numbers(shown)
    sensitive = found.prepared.sensitive
    classes = replace(classes_by(number, sensitive, found.tables.totals, kept), table_rows=len(shown.suppressed))
    there = found.after.population_sizes
    if there is None:
        return classes
    # The second look numbers classes in its own order: sizes are matched class by class through their rows.
    if found.outcome is None or found.outcome.node is None:
        return classes
    checked = found.tables.check(found.outcome.node, of_rows=True)
    mine = checked.slot[found.tables.tuple_of_row[: len(shown.suppressed)]][kept]
    population = np.zeros(len(classes), np.int64)
    population[number] = np.concatenate([checked.classes.population, checked.classes.outside])[mine]
    return replace(classes, population=population, outside=checked.classes.outside, sampled=True)


def _searched(policy: Policy, found: Found) -> dict[str, Any]:
    about: dict[str, Any] = {"algorithm": policy.search.algorithm}
    outcome = found.outcome
    if outcome is not None:
        about |= {
            "metric": policy.search.metric,
            "cost": outcome.cost,
            "bound": outcome.bound,
            "state": outcome.state,
            "checks": outcome.checks,
            "nodes": str(outcome.nodes),
        }
    return about


def _levels(found: Found) -> dict[str, Any]:
    if found.outcome is None or found.outcome.node is None:
        return {}
    return {
        column.name: {"level": level, "of": column.height}
        for column, level in zip(found.prepared.columns, found.outcome.node, strict=True)
    }


def _by_column(found: Found) -> dict[str, float]:
    return {
        column.name: ncp(Shown((shown,), found.shown.suppressed, found.shown.hidden[i : i + 1]))
        for i, (column, shown) in enumerate(zip(found.prepared.columns, found.shown.columns, strict=True))
    }


def asked(model: Model) -> dict[str, Any]:
    """The parameters of a model, by name."""
    return {name: value for name, value in vars(model).items() if not name.startswith("_")}


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in figures.items()}


def rounded(value: Any) -> Any:
    """Doubles to 12 significant digits: the last ones depend on the order of additions."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return value
