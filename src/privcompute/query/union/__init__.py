"""SQL over the union of many holders' rows: read, plan, disclose, check, decide what is shown, finish."""

from __future__ import annotations

from privcompute.query.union.decision import Decision
from privcompute.query.union.finish import finish_union
from privcompute.query.union.plan import Member, UnionPlan
from privcompute.query.union.planner import plan_union
from privcompute.query.union.rules import check_union_rules

__all__ = ["Decision", "Member", "UnionPlan", "check_union_rules", "finish_union", "plan_union"]
