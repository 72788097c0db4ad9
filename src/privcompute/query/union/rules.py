"""The owners' rules for a union: each node checks the plan against them before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

from privcompute.errors import PrivacyError, UsageError
from privcompute.grades.words import Technique
from privcompute.query.rules import check_floors, check_uses, shell
from privcompute.query.union.plan import UnionPlan
from privcompute.tables.catalogue import DatasetEntry

_WORDS = {
    "aggregate": "in COUNT, SUM, AVG, VAR, STDDEV or another statistic of one column",
    "filter": "in WHERE or a CASE condition",
    "product": "in a statistic of several columns (COVAR, CORR, REGR_*, OLS)",
    "group": "in GROUP BY, or as the levels or bins of a statistic",
}


def check_union_rules(plan: UnionPlan, entries: Mapping[str, DatasetEntry]) -> None:
    """Check that each owner's rules allow what the plan does.

    Args:
        plan: The plan.
        entries: The datasets by "party.dataset".

    Raises:
        PrivacyError: `not_allowed` or `grade`, naming rule, column and the smallest change; `too_few` or
            `too_few_holders` if the plan's minimums are below an owner's.
        UsageError: `unknown_dataset`.
    """
    for member in plan.members:
        name = f"{member.party}.{member.dataset}"
        entry = entries.get(name)
        if entry is None or entry.version != member.version:
            raise UsageError(f"the plan is not about the known {name}", code="unknown_dataset", stage="plan")
        check_uses(entry, member.uses, _WORDS)
        check_floors(entry, member.uses, Technique.SUM)
        if plan.minimum < entry.min_cell:
            raise PrivacyError(
                f"the owner of {name} wants at least {entry.min_cell} contributors",
                code="too_few",
                party=member.party,
                stage="plan",
            )
        if min(plan.min_holders, plan.quorum) < entry.min_holders:
            raise PrivacyError(
                f"the owner of {name} wants at least {entry.min_holders} holders in every total",
                code="too_few_holders",
                party=member.party,
                stage="plan",
                remedy=f"ask more holders, or {member.party} runs `privcompute dataset edit {shell(member.dataset)} "
                f"--min-holders {min(plan.min_holders, plan.quorum)}`",
            )
