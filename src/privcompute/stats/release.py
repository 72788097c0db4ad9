"""What a public operation returns: the value, who may see it, what everybody learned, how exact it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Release(Generic[T]):
    """A released value.

    Attributes:
        value: The result; its repr is left out of the release's own.
        receivers: The parties the value goes to.
        learned: By party, the sentences of its disclosure report.
        error_bound: By column, the worst-case absolute error; empty where no number was released.
        parameters: Public parameters of the run, by name.
    """

    value: T = field(repr=False)
    receivers: tuple[str, ...]
    learned: Mapping[str, tuple[str, ...]]
    error_bound: Mapping[str, float]
    parameters: Mapping[str, str] = field(default_factory=dict)
