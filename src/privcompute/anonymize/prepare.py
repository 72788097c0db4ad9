"""From a table and a policy to what the search reads: tidied, capped and coded columns, hierarchies, a population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize import frame as frames
from privcompute.anonymize.classes import Mask, Sensitive, Tree, numbered
from privcompute.anonymize.columns import QuasiIdentifier, quasi_identifier
from privcompute.anonymize.encode import Encoded, encode, tidy
from privcompute.anonymize.hierarchy.spec import default_spec
from privcompute.anonymize.microaggregation import microaggregate
from privcompute.anonymize.models import AlphaKAnonymity, KAnonymity
from privcompute.anonymize.policy import ColumnRule, Policy
from privcompute.anonymize.search.tables import Tables
from privcompute.errors import PrivacyError, UsageError


@dataclass(frozen=True)
class Prepared:
    """A table that is ready to be searched.

    Attributes:
        table: (rows), the columns that may leave, tidied.
        columns: the quasi-identifiers, coded over the rows that take part and the population's behind them.
        sensitive: the sensitive columns that models read, coded alike.
        taking_part: (rows,), all but those that the null policy suppresses.
        in_table: (coded rows,), which are the table's; None: all.
        in_population: (coded rows,), which are the population's.
        nulls: NULLs in each quasi-identifier.
        population: the population's quasi-identifiers, tidied; None without one.
    """

    table: pa.Table = field(repr=False)
    columns: tuple[QuasiIdentifier, ...]
    sensitive: dict[str, Sensitive]
    taking_part: Mask = field(repr=False)
    in_table: Mask | None = field(repr=False)
    in_population: Mask | None = field(repr=False)
    nulls: dict[str, int]
    population: pa.Table | None = field(repr=False)

    @property
    def excluded(self) -> int:
        """Rows that the null policy suppresses."""
        return len(self.taking_part) - int(self.taking_part.sum())

    def tables(self) -> Tables:
        """The grouped tables of the search."""
        return Tables(self.columns, self.sensitive, self.in_table, self.in_population)


def prepare(policy: Policy, table: pa.Table) -> Prepared:
    """Read a table as the policy says.

    Raises:
        UsageError: table and policy do not fit.
        PrivacyError: `null` where the policy forbids NULLs.
    """
    table = selected(policy, table)
    qi = policy.names("qi")
    tidied: dict[str, Any] = {
        name: tidy(table.column(name), trim=policy.trim, null_markers=policy.null_markers)
        for name in table.column_names
    }
    for name, column in tidied.items():
        rule = policy.columns.get(name)
        if rule is not None and (rule.top is not None or rule.bottom is not None):
            tidied[name] = capped(name, column, rule)
    aggregated = [name for name in qi if policy.columns[name].microaggregate]
    if aggregated:
        held = [encode(name, one).codes for name, one in tidied.items() if not pa.types.is_nested(one.type)]
        tie = numbered(held, table.num_rows)
        tidied |= microaggregate({name: tidied[name] for name in aggregated}, group_size(policy), tie)
    table = pa.table(tidied)
    population = _population(policy, table, qi)
    taking_part, nulls = _null_policy(policy, table, qi)
    present = table.filter(pa.array(taking_part)) if not taking_part.all() else table
    columns = []
    for name in qi:
        column = present.column(name)
        if population is not None:
            column = pa.chunked_array([*column.chunks, *population.column(name).chunks], type=column.type)
        columns.append(_coded(policy, name, encode(name, column)))
    mine = others = None
    if population is not None:
        mine = np.arange(present.num_rows + population.num_rows) < present.num_rows
        others = ~mine
    sensitive = _sensitive(policy, present, 0 if population is None else population.num_rows)
    return Prepared(table, tuple(columns), sensitive, taking_part, mine, others, nulls, population)


def selected(policy: Policy, table: pa.Table) -> pa.Table:
    """The columns that may leave.

    Raises:
        UsageError: `no_such_column`; `no_role` for columns that the policy does not name, unless it says what to do.
    """
    there = set(table.column_names)
    missing = [name for name in policy.columns if name not in there]
    if missing:
        raise UsageError(
            f"the table has no column {missing[0]!r}",
            code="no_such_column",
            remedy=f"it has {', '.join(table.column_names[:20])}",
        )
    unnamed = [name for name in table.column_names if name not in policy.columns]
    if unnamed and policy.output.others == "refuse":
        raise UsageError(
            f"the policy does not say what column {unnamed[0]!r} is ({len(unnamed)} columns have no role)",
            code="no_role",
            remedy='give it a role, or say output.others = "drop"',
        )
    dropped = set(unnamed) if policy.output.others == "drop" else set()
    dropped |= {name for name, rule in policy.columns.items() if rule.role == "direct" and rule.transform is None}
    return table.select([name for name in table.column_names if name not in dropped])


def group_size(policy: Policy) -> int:
    """The k of the policy's models, for methods that build groups of that size.

    Raises:
        UsageError: `no_k`.
    """
    sizes = [model.k for model in policy.models if isinstance(model, KAnonymity | AlphaKAnonymity)]
    if not sizes:
        raise UsageError(
            "this method builds groups of k rows, and no model says k", code="no_k", remedy="add the model k-anonymity"
        )
    return max(sizes)


def capped(name: str, column: pa.ChunkedArray[Any], rule: ColumnRule) -> pa.ChunkedArray[Any]:
    """Top and bottom coding: what lies beyond a bound becomes the bound.

    Raises:
        UsageError: `bad_column` for a column that is not numeric, or whose type does not hold the bound.
    """
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise UsageError(
            f"top and bottom coding needs numbers, and column {name!r} has none",
            code="bad_column",
            remedy="cast the column",
        )
    for bound, choose in ((rule.top, pc.min_element_wise), (rule.bottom, pc.max_element_wise)):
        if bound is not None:
            try:
                limit = pa.scalar(int(bound) if pa.types.is_integer(kind) else float(bound), kind)
            except (pa.ArrowInvalid, OverflowError):
                # The bound is beyond the column's type. Without Arrow's text: all there is to say is said here.
                raise UsageError(f"column {name!r} cannot hold its bound", code="bad_column") from None
            column = choose(column, limit, skip_nulls=False)
    return column


def _population(policy: Policy, table: pa.Table, qi: Sequence[str]) -> pa.Table | None:
    if policy.population.source is None:
        return None
    whole = frames.load(policy.folder / policy.population.source).table
    found: dict[str, Any] = {}
    for name in qi:
        if name not in whole.column_names:
            raise UsageError(f"the population has no column {name!r}", code="no_such_column")
        column = tidy(whole.column(name), trim=policy.trim, null_markers=policy.null_markers)
        try:
            column = column.cast(table.column(name).type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # A value that does not fit, or types without a cast. Arrow's text quotes the value: it is left out.
            raise UsageError(
                f"column {name!r} has another type in the population than in the table", code="bad_column"
            ) from None
        rule = policy.columns[name]
        found[name] = capped(name, column, rule) if rule.top is not None or rule.bottom is not None else column
    return pa.table(found)


def _null_policy(policy: Policy, table: pa.Table, qi: Sequence[str]) -> tuple[Mask, dict[str, int]]:
    taking_part: Mask = np.ones(table.num_rows, np.bool_)
    nulls = {}
    for name in qi:
        column = table.column(name)
        nulls[name] = column.null_count
        if not column.null_count:
            continue
        if policy.nulls == "error":
            raise PrivacyError(
                f"column {name!r} holds {column.null_count} NULLs, which the policy forbids",
                code="null",
                remedy="fill them, or choose another nulls.quasi_identifier",
            )
        if policy.nulls == "suppress-row":
            taking_part &= column.is_valid().to_numpy()
    return taking_part, nulls


def _coded(policy: Policy, name: str, found: Encoded) -> QuasiIdentifier:
    has_null = bool(found.values) and found.values[-1] is None
    values = found.values[:-1] if has_null else found.values
    texts = [text for text in found.texts if text is not None]
    spec = policy.columns[name].hierarchy or default_spec()
    hierarchy = spec.build(values, texts, f"the hierarchy of column {name!r}")
    if has_null:
        hierarchy = hierarchy.with_null(wildcard=policy.nulls == "wildcard")
    return quasi_identifier(name, found.codes, found.texts, hierarchy)


def _sensitive(policy: Policy, table: pa.Table, others: int) -> dict[str, Sensitive]:
    """The sensitive columns that models read; rows of the population behind them have code 0 and are never counted."""
    wanted = dict.fromkeys(name for model in policy.models for name in model.columns)
    result = {}
    for name in wanted:
        found = encode(name, table.column(name))
        codes = np.concatenate([found.codes.astype(np.int64), np.zeros(others, np.int64)])
        result[name] = Sensitive(codes, max(1, len(found.values)), sensitive_tree(policy, name, found))
    return result


def sensitive_tree(policy: Policy, name: str, found: Encoded) -> Tree | None:
    """The hierarchy of a sensitive column, where the policy gives one."""
    if policy.columns[name].hierarchy is None:
        return None
    column = _coded(policy, name, found)
    return Tree(np.array(column.maps, np.int64), tuple(len(labels) for labels in column.labels))
