"""Tables: reading sources, publishing what they are, and turning rows into exact integers per key."""

from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.engine import Limits
from privcompute.tables.expressions import ExpressionType, columns_of, expression_type
from privcompute.tables.features import Encoding, Feature, LocalFeatures
from privcompute.tables.keys import key_types
from privcompute.tables.local import local_features, selected
from privcompute.tables.open import open_source
from privcompute.tables.profile import Profile, profile
from privcompute.tables.schema import Column, Kind
from privcompute.tables.source import Source

__all__ = [
    "Column",
    "DatasetEntry",
    "Encoding",
    "ExpressionType",
    "Feature",
    "Kind",
    "Limits",
    "LocalFeatures",
    "Profile",
    "Source",
    "columns_of",
    "expression_type",
    "key_types",
    "local_features",
    "open_source",
    "profile",
    "selected",
]
