"""Tables: reading sources, publishing what they are, and turning rows into exact integers per key.

Names are imported when they are first used: who reads a peer's catalogue entry does not load DuckDB.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privcompute.tables.catalogue import DatasetEntry
    from privcompute.tables.cell_pass import local_cells
    from privcompute.tables.cells import Grouping, LocalCells, Partition
    from privcompute.tables.engine import Limits
    from privcompute.tables.expressions import ExpressionType, columns_of, expression_type
    from privcompute.tables.features import Encoding, Feature, LocalFeatures
    from privcompute.tables.keys import key_types
    from privcompute.tables.local import local_features, selected
    from privcompute.tables.open import open_source
    from privcompute.tables.profiling import Profile, profile
    from privcompute.tables.schema import Column, Kind
    from privcompute.tables.source import Source

_FROM = {
    "catalogue": ("DatasetEntry",),
    "cell_pass": ("local_cells",),
    "cells": ("Grouping", "LocalCells", "Partition"),
    "engine": ("Limits",),
    "expressions": ("ExpressionType", "columns_of", "expression_type"),
    "features": ("Encoding", "Feature", "LocalFeatures"),
    "keys": ("key_types",),
    "local": ("local_features", "selected"),
    "open": ("open_source",),
    "profiling": ("Profile", "profile"),
    "schema": ("Column", "Kind"),
    "source": ("Source",),
}
_WHERE = {name: module for module, names in _FROM.items() for name in names}

__all__ = [
    "Column",
    "DatasetEntry",
    "Encoding",
    "ExpressionType",
    "Feature",
    "Grouping",
    "Kind",
    "Limits",
    "LocalCells",
    "LocalFeatures",
    "Partition",
    "Profile",
    "Source",
    "columns_of",
    "expression_type",
    "key_types",
    "local_cells",
    "local_features",
    "open_source",
    "profile",
    "selected",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'privcompute.tables' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"privcompute.tables.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
