"""Randomness as a session hands it out: by label, below the path of the protocol call that asks."""

from __future__ import annotations

from privcompute.randomness import Rng, Stream


class ScopedRng:
    """The run's randomness, its labels prefixed by the path of the session that asks."""

    __slots__ = ("_path", "_rng")

    def __init__(self, rng: Rng, path: str) -> None:
        self._rng, self._path = rng, path

    def __repr__(self) -> str:
        return f"<randomness of {self._path}>"

    def private(self, label: str) -> Stream:
        """This party's own stream; see `privcompute.randomness.Rng.private`."""
        return self._rng.private(f"{self._path}/{label}")

    def common(self, label: str) -> Stream:
        """The stream all parties share; see `privcompute.randomness.Rng.common`."""
        return self._rng.common(f"{self._path}/{label}")
