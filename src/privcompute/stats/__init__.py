"""Joint statistics of two tables as bilinear forms, and their finishing with certain bounds."""

from __future__ import annotations

from privcompute.stats.estimate import Estimate
from privcompute.stats.form import Factor, Form
from privcompute.stats.interval import Interval
from privcompute.stats.release import Release

__all__ = ["Estimate", "Factor", "Form", "Interval", "Release"]
