"""Release a table safely: hierarchies, privacy models, search, desensitization, detection of identifiers.

    policy = Policy.load("release.toml")
    released = policy.apply(frame)          # released.frame, of the same kind; released.report
    measured = measure(frame, qi=["age", "sex"], sensitive=["disease"])

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privcompute.anonymize.hierarchy.tree import Hierarchy
    from privcompute.anonymize.measuring import Measured, measure
    from privcompute.anonymize.policy import Policy
    from privcompute.anonymize.release import Explained, Released
    from privcompute.anonymize.report import Report

_FROM = {
    "hierarchy.tree": ("Hierarchy",),
    "measuring": ("Measured", "measure"),
    "policy": ("Policy",),
    "release": ("Explained", "Released"),
    "report": ("Report",),
}
_WHERE = {name: module for module, names in _FROM.items() for name in names}

__all__ = ["Explained", "Hierarchy", "Measured", "Policy", "Released", "Report", "measure"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'privcompute.anonymize' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"privcompute.anonymize.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
