"""Ask a question across two private tables; learn the answer and nothing else.

Names are imported when they are first used: `import privcompute` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privcompute.errors import (
        ConsentNeeded,
        IntegrityError,
        PeerError,
        PrivacyError,
        PrivcomputeError,
        TransportError,
        UsageError,
    )
    from privcompute.mpc import Shared, deal, reveal, reveal_to
    from privcompute.node.api import Connection, Node, connect
    from privcompute.node.result import Explanation, QueryRelease
    from privcompute.session import Progress, Session, protocol
    from privcompute.stats.release import Release
    from privcompute.testing import simulate

_FROM = {
    "privcompute.errors": (
        "PrivcomputeError",
        "UsageError",
        "PeerError",
        "TransportError",
        "PrivacyError",
        "IntegrityError",
        "ConsentNeeded",
    ),
    "privcompute.mpc": ("Shared", "deal", "reveal", "reveal_to"),
    "privcompute.node.api": ("Node", "Connection", "connect"),
    "privcompute.node.result": ("Explanation", "QueryRelease"),
    "privcompute.session": ("Session", "Progress", "protocol"),
    "privcompute.stats.release": ("Release",),
    "privcompute.testing": ("simulate",),
}
_WHERE = {name: module for module, names in _FROM.items() for name in names}

__version__ = "0.1.0"

__all__ = [
    "ConsentNeeded",
    "Connection",
    "Explanation",
    "IntegrityError",
    "Node",
    "PeerError",
    "PrivacyError",
    "PrivcomputeError",
    "Progress",
    "QueryRelease",
    "Release",
    "Session",
    "Shared",
    "TransportError",
    "UsageError",
    "__version__",
    "connect",
    "deal",
    "protocol",
    "reveal",
    "reveal_to",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _WHERE:
        raise AttributeError(f"module 'privcompute' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
