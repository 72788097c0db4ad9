"""What a holder computes from its own table for a union, before anything of the run is sent; and its ledger's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from privcompute.node import datasets
from privcompute.node.holding import current, refusals_counted
from privcompute.node.level_cells import hidden_partitions
from privcompute.node.partitions import CellSets
from privcompute.tables.cell_pass import local_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from privcompute.node.context import NodeContext
    from privcompute.query.union import Member, UnionPlan
    from privcompute.tables.cells import LocalCells


@dataclass(frozen=True, repr=False, eq=False)
class UnionRows:
    """A holder's part of a union, and what its ledger has to look at.

    Attributes:
        cells: The sums.
        partitions: The families of sets of own keys that the plan selects in its cells, by conditions or by values.
        minimum: How many keys two of them have to differ by: this owner's own minimum.
        least: How many holders two unions have to differ by: likewise.
    """

    cells: LocalCells
    partitions: tuple[CellSets, ...]
    minimum: int
    least: int


def prepare_union(node: NodeContext, plan: UnionPlan, member: Member) -> UnionRows:
    """Reads the table once: whole columns against their ranges, domains and caps, sums per cell, selections. Blocks.

    Raises:
        UsageError: the data changed since the catalogue entry was made, or left a range, a domain or a cap.
    """
    dataset = current(node, member.dataset, member.version)
    entry = dataset.entry
    found = local_cells(
        datasets.opened(dataset),
        member.keys,
        plan.groupings,
        plan.features,
        plan.selections,
        plan.levels,
        columns=[c for c in entry.columns if c.name in member.columns],
        rows_per_key=member.rows_per_key,
        limits=datasets.limits_of(node.config),
    )
    keys = found.distinct_keys
    seen = [CellSets.of(one, keys) for one in found.partitions]
    hidden = hidden_partitions(plan.levels, found.levels, keys, entry.min_cell)
    return UnionRows(found, (*seen, *hidden), entry.min_cell, entry.min_holders)


def check_union(node: NodeContext, plan: UnionPlan, member: Member, rows: UnionRows) -> None:
    """Raises PrivacyError if this holder's ledger forbids the selections, or the planned holders."""
    with refusals_counted(node, plan.asker, member, plan.digest()):
        ledger = node.store.ledger
        ledger.check(member.version, (), rows.minimum, rows.partitions)
        if plan.key_holder not in (None, node.name):
            # A holder that leaves after submitting has its say now, about the holders that are planned.
            ledger.check_holders(member.version, [one.party for one in plan.members], rows.least)


def record_union(node: NodeContext, plan: UnionPlan, member: Member, rows: UnionRows) -> None:
    """Counts the query as released, in one durable transaction; called before anything of the rows leaves."""
    node.store.ledger.record(
        version=member.version,
        dataset=member.dataset,
        peer=plan.asker,
        plan_digest=plan.digest(),
        selections=(),
        minimum=rows.minimum,
        most_queries=node.config.limits.queries_per_peer,
        partitions=rows.partitions,
    )


def record_holders(
    node: NodeContext, plan: UnionPlan, member: Member, rows: UnionRows, survivors: Sequence[str]
) -> None:
    """The ledger's word on whose rows a sum holds, and the record of it; before this holder signs the set.

    Raises:
        PrivacyError: `differencing_holders`.
    """
    node.store.ledger.record_holders(
        member.version, peer=plan.asker, plan_digest=plan.digest(), holders=survivors, least=rows.least
    )


def record_opening(node: NodeContext, plan: UnionPlan, survivors: Sequence[str]) -> None:
    """The key holder's word on whose rows it opens, in the place of holders that have left and cannot be asked.

    It speaks for the rows of each of them, with or without rows of its own.

    Raises:
        PrivacyError: `differencing_holders`.
    """
    # A version that two of them claim goes with the larger wish, which comes last.
    asked = sorted((one for one in plan.members if one.party in survivors), key=lambda one: one.min_holders)
    wanted = {one.version: one.min_holders for one in asked}
    node.store.ledger.record_holders_for(wanted, peer=plan.asker, plan_digest=plan.digest(), holders=survivors)
