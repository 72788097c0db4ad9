"""Desensitization: one operator a file, a policy that names one for each column, a stream of chunks through them.

    policy = load_policy(Path("mask.toml"))
    masked = desensitize(table, policy, load_keys(Path("keys.toml"), policy.keys))

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privcompute.anonymize.mask.ff1 import FF1
    from privcompute.anonymize.mask.flow import Desensitizer, desensitize, desensitize_file
    from privcompute.anonymize.mask.keys import Keys
    from privcompute.anonymize.mask.keys import load as load_keys
    from privcompute.anonymize.mask.operator import Operator
    from privcompute.anonymize.mask.policy import MaskPolicy, transforms
    from privcompute.anonymize.mask.policy import load as load_policy

_FROM = {
    "FF1": ("ff1", "FF1"),
    "Desensitizer": ("flow", "Desensitizer"),
    "desensitize": ("flow", "desensitize"),
    "desensitize_file": ("flow", "desensitize_file"),
    "Keys": ("keys", "Keys"),
    "load_keys": ("keys", "load"),
    "Operator": ("operator", "Operator"),
    "MaskPolicy": ("policy", "MaskPolicy"),
    "transforms": ("policy", "transforms"),
    "load_policy": ("policy", "load"),
}

__all__ = [
    "FF1",
    "Desensitizer",
    "Keys",
    "MaskPolicy",
    "Operator",
    "desensitize",
    "desensitize_file",
    "load_keys",
    "load_policy",
    "transforms",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _FROM:
        raise AttributeError(f"module 'privcompute.anonymize.mask' has no attribute {name!r}")
    module, attribute = _FROM[name]
    value = getattr(importlib.import_module(f"privcompute.anonymize.mask.{module}"), attribute)
    globals()[name] = value
    return value
