"""Sums over many holders whose parts nobody sees: double-masked sums, over a star of links around a collector."""

from privcompute.union.cost import SumCost, masked_sum_cost
from privcompute.union.job import (
    Admit,
    Contribution,
    Decide,
    Identity,
    Receipt,
    Roster,
    SumJob,
    SumShape,
    Totals,
)
from privcompute.union.masks import masked_sum_collector, masked_sum_holder
from privcompute.union.stages import collector_name

__all__ = [
    "Admit",
    "Contribution",
    "Decide",
    "Identity",
    "Receipt",
    "Roster",
    "SumCost",
    "SumJob",
    "SumShape",
    "Totals",
    "collector_name",
    "masked_sum_collector",
    "masked_sum_cost",
    "masked_sum_holder",
]
