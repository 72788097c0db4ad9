"""From a policy and a table to a release: prepare, search, assemble, look again, report."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from privcompute.anonymize import frame as frames
from privcompute.anonymize.assemble import assemble
from privcompute.anonymize.cells import suppress_cells
from privcompute.anonymize.classes import Ints, Mask, numbered
from privcompute.anonymize.encode import encode
from privcompute.anonymize.fingerprint import Fingerprint, fingerprint_of
from privcompute.anonymize.metrics import cost
from privcompute.anonymize.models import kept_by
from privcompute.anonymize.models.phrase import phrase
from privcompute.anonymize.mondrian import mondrian
from privcompute.anonymize.policy import Policy
from privcompute.anonymize.prepare import Prepared, group_size, prepare
from privcompute.anonymize.recheck import Recheck
from privcompute.anonymize.report import Found, Report, asked, report
from privcompute.anonymize.search.find import search
from privcompute.anonymize.search.outcome import Outcome, Task, product
from privcompute.anonymize.search.tables import Node, Tables
from privcompute.anonymize.shown import Shown, at_node, ncp
from privcompute.errors import IntegrityError, PrivacyError, UsageError

if TYPE_CHECKING:
    from privcompute.anonymize.mask import Keys


@dataclass(frozen=True)
class Released:
    """A release.

    Attributes:
        frame: the table that may leave, of the kind that came in.
        report: what was done, what holds, what it cost.
    """

    frame: Any = field(repr=False)
    report: Report


@dataclass(frozen=True)
class Explained:
    """What a policy would do with a table.

    Attributes:
        rows: of the table.
        columns: name, role, and for quasi-identifiers distinct values and levels.
        nodes: of the lattice.
        models: in words, parameters in them.
        algorithm: how it would be searched.
        metric: what would be made small.
        limit: rows that may be suppressed.
        fingerprint: of the table, to compare with that of a report.
    """

    rows: int = field(repr=False)
    columns: tuple[dict[str, Any], ...]
    nodes: int
    models: tuple[str, ...]
    algorithm: str
    metric: str
    limit: int
    fingerprint: Fingerprint

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "rows": self.rows,
            "columns": list(self.columns),
            "nodes": str(self.nodes),
            "models": list(self.models),
            "algorithm": self.algorithm,
            "metric": self.metric,
            "rows_that_may_be_suppressed": self.limit,
            "input": self.fingerprint.to_json(),
        }


def explain(policy: Policy, frame: Any, keys: Keys | None = None) -> Explained:
    """Read table and policy together, and search nothing."""
    loaded = frames.load(frame)
    prepared = prepare(policy, loaded.table)
    by_name = {column.name: column for column in prepared.columns}
    listed = []
    for name, rule in policy.columns.items():
        about: dict[str, Any] = {"name": name, "role": rule.role}
        if name in by_name:
            column = by_name[name]
            about |= {
                "distinct": len(column.values),
                "levels": column.height + 1,
                "nulls": prepared.nulls[name],
                "hierarchy": rule.hierarchy.type if rule.hierarchy else "suppress",
            }
        listed.append(about)
    return Explained(
        loaded.table.num_rows,
        tuple(listed),
        product([column.height + 1 for column in prepared.columns]),
        tuple(phrase(model.kind, asked(model)) for model in policy.models),
        policy.search.algorithm,
        policy.search.metric,
        _limit(policy, loaded.table.num_rows),
        fingerprint_of(loaded.table, policy.fingerprint_key, keys),
    )


def release(policy: Policy, frame: Any, keys: Keys | None = None) -> Released:
    """Release a table; see `Policy.apply`."""
    loaded = frames.load(frame)
    prepared = prepare(policy, _transformed(policy, loaded.table, keys))
    rows = len(prepared.taking_part)
    tables = prepared.tables()
    before = tables.check((0,) * len(prepared.columns)).classes
    shown, outcome = found_by_search(policy, prepared, tables)
    lost = ncp(shown) / 100
    if rows and (bool(shown.suppressed.all()) or lost > policy.search.max_loss):
        raise PrivacyError(
            "the models hold only if nearly everything is taken away, which is no release",
            code="nothing_left",
            remedy="ask less of the models, suppress more rows, or give finer hierarchies (search.max_loss)",
        )
    table = assemble(policy, prepared, shown)
    after = _look_again(policy, prepared, table, rows, shown)
    named = fingerprint_of(loaded.table, policy.fingerprint_key, keys)
    found = Found(prepared, before, after, outcome, shown, tables, _limit(policy, rows), named)
    return Released(frames.unload(table, loaded.kind), report(policy, found))


def _transformed(policy: Policy, table: pa.Table, keys: Keys | None) -> pa.Table:
    """Columns with a `transform`, transformed by the desensitization part."""
    wanted = [name for name, rule in policy.columns.items() if rule.transform is not None]
    if not wanted:
        return table
    from privcompute.anonymize.mask import Keys, MaskPolicy, desensitize, transforms

    found = transforms({"columns": {name: policy.document["columns"][name] for name in wanted}})
    mask = MaskPolicy(found, "keep", tuple(wanted), policy.digest)
    return desensitize(table, mask, Keys({}) if keys is None else keys)


def _limit(policy: Policy, rows: int) -> int:
    """Rows that may be suppressed; a share that is a whole number of rows but for rounding counts as that number."""
    return math.floor(policy.search.suppression_limit * rows + 1e-9)


def found_by_search(policy: Policy, prepared: Prepared, tables: Tables) -> tuple[Shown, Outcome | None]:
    """What the policy's search shows.

    Raises:
        PrivacyError: `infeasible`.
    """
    limit = _limit(policy, len(prepared.taking_part)) - prepared.excluded
    if limit < 0:
        raise PrivacyError(
            f"{prepared.excluded} rows hold NULLs and would be suppressed, more than the policy allows",
            code="infeasible",
            remedy="raise search.suppression_limit, or choose another nulls.quasi_identifier",
        )
    rows = int(prepared.taking_part.sum())
    if policy.search.algorithm in ("mondrian-strict", "mondrian-relaxed"):
        strict = policy.search.algorithm == "mondrian-strict"
        k, tie = group_size(policy), None if strict else _ties(policy, prepared)
        return mondrian(prepared.columns, prepared.sensitive, policy.models, k, strict=strict, tie=tie), None
    if policy.search.algorithm == "cells":
        return suppress_cells(
            prepared.columns, prepared.sensitive, policy.models, policy.search.suppression_limit
        ), None
    stop = None if policy.search.time_limit is None else time.monotonic() + policy.search.time_limit
    task = Task(tables, policy.models, cost(policy.search.metric, tables), limit, stop)
    outcome = search(task)
    if outcome.node is None:
        raise _infeasible(outcome, limit)
    suppressed = suppressed_rows(task, outcome.node, rows)
    return at_node(prepared.columns, outcome.node, rows, suppressed), outcome


def _ties(policy: Policy, prepared: Prepared) -> Ints:
    """(rows that take part,), the rank of each by all columns that are no quasi-identifiers."""
    present = prepared.table.filter(pa.array(prepared.taking_part))
    others = [name for name in present.column_names if name not in policy.names("qi")]
    codes = [
        encode(name, present.column(name)).codes for name in others if not pa.types.is_nested(present.column(name).type)
    ]
    return numbered(codes, present.num_rows)


def suppressed_rows(task: Task, node: Node, rows: int) -> Mask:
    """(rows,), which rows stand in classes that may not be released."""
    checked = task.tables.check(node, of_rows=True)
    kept = kept_by(task.models, checked.classes)
    released = np.concatenate([kept, np.ones(len(checked.classes.outside), np.bool_)])
    out: Mask = ~released[checked.slot[task.tables.tuple_of_row[:rows]]]
    return out


def _infeasible(outcome: Outcome, limit: int) -> PrivacyError:
    if outcome.state == "gap":
        return PrivacyError(
            "no release was found in time",
            code="infeasible",
            remedy="raise search.time_limit_s, or use the algorithm mondrian-strict",
        )
    return PrivacyError(
        f"no level of generalization holds the models with at most {limit} suppressed rows",
        code="infeasible",
        remedy="add levels to hierarchies, allow suppression, or ask less of the models",
    )


def _look_again(policy: Policy, prepared: Prepared, table: pa.Table, rows: int, shown: Shown) -> Recheck:
    """Measure the finished table by other code; what does not hold is not given out."""
    qi = policy.names("qi")
    trees = {}
    for model in policy.models:
        for name in model.columns:
            if policy.columns[name].hierarchy is not None:
                trees[name] = _levels(policy, name, prepared.table)
    present = prepared.table.filter(pa.array(prepared.taking_part))
    again = Recheck(table, qi, policy.output.marker, present, trees, _shown_population(policy, prepared, shown))
    again.require(policy.models)
    suppressed = prepared.excluded + int(shown.suppressed.sum())
    whole = policy.output.suppressed != "drop"
    if table.num_rows != rows - (0 if whole else suppressed) or (whole and again.suppressed != suppressed):
        raise IntegrityError("the finished release has lost or gained rows: it is not given out", code="recheck")
    if suppressed > _limit(policy, rows) and policy.search.algorithm == "exact":
        raise IntegrityError("the finished release suppresses more than it may: it is not given out", code="recheck")
    forbidden = [name for name in policy.names("direct") if policy.columns[name].transform is None]
    if set(forbidden) & set(table.column_names):
        raise IntegrityError("the finished release holds a direct identifier: it is not given out", code="recheck")
    return again


def _levels(policy: Policy, name: str, table: pa.Table) -> list[dict[str | None, str | None]]:
    from privcompute.anonymize.hierarchy.spec import default_spec

    found = encode(name, table.column(name))
    texts = [text for text in found.texts if text is not None]
    spec = policy.columns[name].hierarchy or default_spec()
    hierarchy = spec.build([value for value in found.values if value is not None], texts, f"the hierarchy of {name!r}")
    if None in found.texts:
        hierarchy = hierarchy.with_null(wildcard=policy.nulls == "wildcard")
    return [dict(zip(hierarchy.leaves, level, strict=True)) for level in hierarchy.levels]


def _shown_population(policy: Policy, prepared: Prepared, shown: Shown) -> pa.Table | None:
    """The population's quasi-identifiers under the labels that the release gives to the same values."""
    if prepared.population is None:
        return None
    found: dict[str, Any] = {}
    for column, name, visible in zip(prepared.columns, policy.names("qi"), shown.columns, strict=True):
        level = next((i for i, labels in enumerate(column.labels) if labels == visible.labels), None)
        if level is None:
            raise UsageError("a population needs full-domain generalization", code="no_population")
        codes = column.maps[level][column.codes[len(column.codes) - prepared.population.num_rows :]]
        if visible.as_is and not shown.suppressed.any():
            found[name] = prepared.population.column(name)
        else:
            found[name] = pa.array(visible.labels, pa.string()).take(codes)
    return pa.table(found)
