"""Tables: reading sources, publishing what they are, and turning rows into exact integers per key."""

from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.features import Encoding, Feature, LocalFeatures
from privcompute.tables.schema import Column, Kind

__all__ = ["Column", "DatasetEntry", "Encoding", "Feature", "Kind", "LocalFeatures"]
