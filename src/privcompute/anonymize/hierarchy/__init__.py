"""Generalization hierarchies, one way of making them a file: what each value becomes, level by level.

Source: the builders follow the kinds of the data-protection literature: Samarati, IEEE TKDE 13 (2001), for the lattice
of full-domain generalization; Sweeney, IJUFKS 10 (2002), for prefix redaction.
"""

from privcompute.anonymize.hierarchy.dates import dates
from privcompute.anonymize.hierarchy.divisions import divisions
from privcompute.anonymize.hierarchy.function import functions
from privcompute.anonymize.hierarchy.intervals import intervals
from privcompute.anonymize.hierarchy.order import ordering
from privcompute.anonymize.hierarchy.redaction import redaction
from privcompute.anonymize.hierarchy.table import from_file, from_rows
from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label, flat

__all__ = [
    "ROOT",
    "Hierarchy",
    "Label",
    "dates",
    "divisions",
    "flat",
    "from_file",
    "from_rows",
    "functions",
    "intervals",
    "ordering",
    "redaction",
]
