"""SQL over a join of two parties' tables: parse, plan, disclose, check, run, finish."""

from __future__ import annotations

from privcompute.query.disclosure import Disclosure, Learned
from privcompute.query.finish import Finished, finish
from privcompute.query.plan import Kernel, Local, Opening, Outer, Output, Plan, Side, Term
from privcompute.query.planner import plan
from privcompute.query.rules import check_rules

__all__ = [
    "Disclosure",
    "Finished",
    "Kernel",
    "Learned",
    "Local",
    "Opening",
    "Outer",
    "Output",
    "Plan",
    "Side",
    "Term",
    "check_rules",
    "finish",
    "plan",
]
