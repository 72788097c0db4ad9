"""Exact inner products between two parties' columns, on ring-LWE of our own.

`CrossShape`, `cross_cost` and `choose_parameters` are plain arithmetic; the protocol's two roles load compiled kernels,
so they are imported when they are first used. `paillier` is a library of its own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from privcompute.he.layout import Cost, choose_parameters, cross_cost
from privcompute.he.parameters import CrossShape, Parameters

if TYPE_CHECKING:
    from privcompute.he import paillier
    from privcompute.he.cross_product import cross_product_evaluator, cross_product_key_owner
    from privcompute.he.warm import warm_up

_LAZY = {
    "cross_product_evaluator": "privcompute.he.cross_product",
    "cross_product_key_owner": "privcompute.he.cross_product",
    "warm_up": "privcompute.he.warm",
}

__all__ = [
    "Cost",
    "CrossShape",
    "Parameters",
    "choose_parameters",
    "cross_cost",
    "cross_product_evaluator",
    "cross_product_key_owner",
    "paillier",
    "warm_up",
]


def __getattr__(name: str) -> Any:
    if name == "paillier":
        return importlib.import_module("privcompute.he.paillier")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
