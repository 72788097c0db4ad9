"""No value, share, key or secret shows in a repr: not of what holds them now, not by the default of a new class."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import privcompute
from privcompute.mpc import Shared
from privcompute.node.holding import Prepared
from privcompute.query.run import Holding, Opened
from privcompute.randomness import Rng, Stream
from privcompute.ring import Ring
from privcompute.stats.release import Release
from privcompute.tables.features import LevelValues, LocalFeatures
from privcompute.testing import simulate
from privcompute.transport.identity import Identity
from privcompute.transport.invitation import Invitation
from privcompute.union import Contribution, Totals
from privcompute.union.keys import KeyPair, Secrets

# What may hold a secret, by the text of a field's annotation, or by its name.
TYPES = re.compile(
    r"NDArray|ndarray|\bArray\b|\bpa\.|\bbytes\b|bytearray|memoryview|\bStream\b|\bRng\b|\bShared\b|Points|Tags|Matches"
)
NAMES = re.compile(r"secret|password|private|proof|share|masks?$|^values?$|^rows$|scalar")

PUBLIC = {
    "privcompute.he.parameters.Parameters": "a row of the public parameter table",
    "privcompute.he.parameters.CrossShape": "declared sizes and bounds",
    "privcompute.tables.checks.Encoded": "the text of an expression",
    "privcompute.tables.cells.Grouping": "the groups that the plan states",
    "privcompute.anonymize.detect.tables.Tables": "what the source and public lists state",
    "privcompute.anonymize.mask.flow.Report": "how many rows there were",
    "privcompute.node.delivery.manifest.Manifest": "what the receiver is told of a table, and how many rows it has",
    "privcompute.union.paillier_messages.Layout": "how numbers lie in ciphertexts",
    "privcompute.node.setup.NewNode": "a fingerprint and a calibration",
}
"""Classes whose fields look secret and are public, with the reason."""


def _classes() -> Iterator[type[Any]]:
    seen = set()
    for module in pkgutil.walk_packages(privcompute.__path__, "privcompute."):
        if module.name.startswith("privcompute.wire") or module.name.endswith("__main__"):
            continue
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__.startswith("privcompute.") and found not in seen:
                seen.add(found)
                yield found


def _shown(cls: type[Any]) -> list[str]:
    """The fields that the class's automatic repr prints and that may be secret."""
    if hasattr(cls, "_fields") and cls.__repr__.__module__ != cls.__module__:  # a named tuple prints everything
        fields = {name: str(cls.__annotations__.get(name, "")) for name in cls._fields}
    elif dataclasses.is_dataclass(cls) and hasattr(cls.__repr__, "__wrapped__"):
        fields = {f.name: str(f.type) for f in dataclasses.fields(cls) if f.repr}
    else:
        return []
    return [name for name, kind in fields.items() if TYPES.search(kind) or NAMES.search(name)]


def test_no_automatic_repr_prints_what_may_be_secret() -> None:
    found = {f"{cls.__module__}.{cls.__qualname__}": shown for cls in _classes() if (shown := _shown(cls))}
    assert {name: shown for name, shown in found.items() if name not in PUBLIC} == {}


def test_the_scan_would_see_it() -> None:
    @dataclasses.dataclass
    class Careless:
        key: bytes
        name: str

    assert _shown(Careless) == ["key"]
    assert len(list(_classes())) > 80


CANARY = 6_172_839_455_055_511  # shows as decimal, hexadecimal or bytes if anything shows
_SIGNS = (
    str(CANARY),
    f"{CANARY:x}",
    f"{CANARY:_}",
    repr(CANARY.to_bytes(8, "little"))[2:-1],
    CANARY.to_bytes(8, "little").hex(),
    "canary",
)
_SECRET = CANARY.to_bytes(8, "little") * 2


def _objects() -> Iterator[Any]:
    column = np.full(3, CANARY, np.int64)
    keys = pa.array([b"canary-1", b"canary-2"], pa.large_binary())
    holding = Holding(keys, (column,))
    yield holding
    yield Prepared(holding, (np.ones(1, np.bool_),), 10)
    yield Opened({"n": CANARY}, suppressed=False, matches=3)
    for bits in (64, 96):
        ring = Ring(bits)
        yield Shared(ring, ring.array([CANARY]))
        yield [Shared(ring, ring.array([CANARY]))]
    yield Contribution(np.full(3, CANARY, np.uint64), np.full((3, 1), CANARY, np.uint64))
    yield Totals((CANARY,), (0,), {0: (CANARY,)}, ("a",), {})
    yield KeyPair(_SECRET * 2)
    yield Secrets(KeyPair(_SECRET * 2), KeyPair(_SECRET * 2), _SECRET * 2, _SECRET * 2)
    yield Contribution(np.full(3, CANARY, np.uint64), np.full((3, 1), CANARY, np.uint64))
    yield Totals((CANARY,), (0,), {0: (CANARY,)}, ("a",), {})
    yield KeyPair(_SECRET * 2)
    yield Secrets(KeyPair(_SECRET * 2), KeyPair(_SECRET * 2), _SECRET * 2, _SECRET * 2)
    yield Contribution(np.full(3, CANARY, np.uint64), np.full((3, 1), CANARY, np.uint64))
    yield Totals((CANARY,), (0,), {0: (CANARY,)}, ("a",), {})
    yield KeyPair(_SECRET * 2)
    yield Secrets(KeyPair(_SECRET * 2), KeyPair(_SECRET * 2), _SECRET * 2, _SECRET * 2)
    yield Stream(_SECRET)
    yield Rng(_SECRET, master=lambda: _SECRET)
    end = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
    yield Invitation("alice", "bob", ("127.0.0.1:1",), end, "00" * 32, _SECRET)
    yield Release(CANARY, ("alice",), {}, {})
    table = pa.table({"k": ["canary"]})
    level = LevelValues(column.view(np.uint64), column.view(np.uint64), np.ones(3, np.bool_))
    yield level
    yield LocalFeatures(table, (column,), (np.ones(1, np.bool_),), (level,))


@pytest.mark.parametrize("one", list(_objects()), ids=lambda one: type(one).__name__)
def test_an_object_that_holds_a_secret_does_not_show_it(one: Any) -> None:
    for text in (repr(one), str(one), f"{one}", repr([one]), repr({"x": one})):
        assert not any(sign in text for sign in _SIGNS), text


def test_a_session_shows_neither_its_randomness_nor_its_messages() -> None:
    async def program(s: privcompute.Session, mine: np.ndarray[Any, Any]) -> str:
        await s.send(s.peer, "x", mine)
        await s.recv(s.peer, "x", np.int64, (1,))
        return repr(s) + repr(s.rng) + repr(s.rng.private("canary free")) + repr(s.meter)

    run = simulate(program, inputs={"alice": np.array([CANARY]), "bob": np.array([CANARY])})
    for text in run.results.values():
        assert not any(sign in text for sign in _SIGNS if sign != "canary")


def test_an_identity_does_not_show_its_key() -> None:
    one = Identity.create("alice")
    lines = [line for line in one.key.decode().splitlines() if not line.startswith("-----")]
    assert lines
    assert not any(line in text for line in lines for text in (repr(one), str(one), repr({"x": one})))
