"""Paillier encryption: add up what you may not read. A library of its own; see docs/paillier.md.

Ten lines::

    from privcompute.he import paillier

    owner = paillier.PrivateKey.generate(2048)
    packing = paillier.Packing(paillier.FixedPoint(0, 1000, 0.5), bits=2048, terms=10)
    key = paillier.ReceivedKey.from_bytes(owner.public.to_bytes()).verify(owner.prove(b"today"), b"today")
    encryptor = paillier.Encryptor(key)
    total = encryptor.encrypt([1.5, 2, 3], packing) + encryptor.encrypt([10, 20, 30.5], packing)
    sent = total.fresh(encryptor).to_bytes()
    values = owner.decrypt(total)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privcompute.he.paillier.batch import Batch, Computed, Encrypted, add_all
    from privcompute.he.paillier.encoding import FixedPoint
    from privcompute.he.paillier.encryptor import Encryptor
    from privcompute.he.paillier.keys import PrivateKey, PublicKey, ReceivedKey
    from privcompute.he.paillier.masks import Blinded, Mask
    from privcompute.he.paillier.packing import Interval, Packing
    from privcompute.he.paillier.serialisation import batch_bytes, blinded_bytes
    from privcompute.he.paillier.squares import fast
    from privcompute.he.paillier.values import Values

_HERE = "privcompute.he.paillier."
_LAZY = {
    "Batch": "batch",
    "Blinded": "masks",
    "Computed": "batch",
    "Encrypted": "batch",
    "Encryptor": "encryptor",
    "FixedPoint": "encoding",
    "Interval": "packing",
    "Mask": "masks",
    "Packing": "packing",
    "PrivateKey": "keys",
    "PublicKey": "keys",
    "ReceivedKey": "keys",
    "Values": "values",
    "add_all": "batch",
    "batch_bytes": "serialisation",
    "blinded_bytes": "serialisation",
    "fast": "squares",
}

__all__ = [
    "Batch",
    "Blinded",
    "Computed",
    "Encrypted",
    "Encryptor",
    "FixedPoint",
    "Interval",
    "Mask",
    "Packing",
    "PrivateKey",
    "PublicKey",
    "ReceivedKey",
    "Values",
    "add_all",
    "batch_bytes",
    "blinded_bytes",
    "fast",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_HERE + _LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
