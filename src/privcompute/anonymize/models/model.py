"""What a privacy model is: a condition on classes, with the figures that a table reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from privcompute.anonymize.classes import Classes, Mask
from privcompute.errors import UsageError

Figures = dict[str, float | int | None]
"""What a table reaches, by name; None where the model has no finite figure for it."""

CLOSE = 1e-9
"""Slack of comparisons of computed shares, as ARX's: a share that equals the bound in exact arithmetic holds."""


class Model(Protocol):
    """A condition that each class has to meet, or, if `of_table`, the table as a whole."""

    kind: ClassVar[str]
    of_table: ClassVar[bool]

    @property
    def monotone(self) -> bool:
        """Whether a row that is in a good class is in a good class at every more general node."""

    @property
    def implied(self) -> tuple[Model, ...]:
        """Monotone models that hold wherever this one does: the search prunes with them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The sensitive columns it reads."""

    def forbids(self, classes: Classes) -> bool:
        """Whether nothing may be released at this level of generalization, whatever is suppressed."""

    def holds(self, classes: Classes) -> Mask:
        """(classes,): which classes may be released. A model of the table says which to keep so that it holds."""

    def measure(self, classes: Classes) -> Figures:
        """The figures that these classes reach; the strictest parameters with which `holds` is true of all."""


@dataclass(frozen=True)
class _Condition:
    """What most models are: of each class alone, reading no sensitive column, not monotone."""

    of_table: ClassVar[bool] = False

    @property
    def monotone(self) -> bool:
        """A good class may merge with a bad one."""
        return False

    @property
    def implied(self) -> tuple[Model, ...]:
        """Nothing that is monotone, or nothing but itself."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def forbids(self, classes: Classes) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class OfClasses(_Condition):
    """A model whose condition stands for each class alone and that reads no sensitive column."""

    @property
    def monotone(self) -> bool:
        """Sizes only grow."""
        return True


@dataclass(frozen=True)
class OfColumn(_Condition):
    """A model of the sensitive values in each class."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The one it is about."""
        return (self.column,)


@dataclass(frozen=True)
class OfTable(_Condition):
    """A model of the table as a whole, of class sizes alone: which small classes must go may change when they merge."""

    of_table: ClassVar[bool] = True


def in_range(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    """Refuse a parameter outside of its range.

    Raises:
        UsageError: `bad_parameter`.
    """
    if not (low < value if open_low else low <= value) or not value <= high:
        sign = "(" if open_low else "["
        raise UsageError(f"{name} lies in {sign}{low:g}, {high:g}]", code="bad_parameter")


def kept_by(models: Sequence[Model], classes: Classes) -> Mask:
    """(classes,): the classes that may be released under all models together.

    Models of classes decide first. Those of the table then drop further small classes from what is left, in the order
    in which they are given, until all hold together.
    """
    kept: Mask = np.ones(len(classes), np.bool_)
    for model in models:
        if not model.of_table:
            kept &= model.holds(classes)
    of_table = [model for model in models if model.of_table]
    while of_table:
        before = int(kept.sum())
        for model in of_table:
            left = Classes(
                classes.size[kept], classes.population[kept], classes.outside, {}, classes.sampled, classes.whole
            )
            kept[np.flatnonzero(kept)] = model.holds(left)
        if int(kept.sum()) == before:
            break
    return kept


MERGEABLE = frozenset(
    {
        "alpha-k-anonymity",
        "entropy-l-diversity",
        "recursive-cl-diversity",
        "t-closeness",
        "delta-presence",
        "beta-likeness",
        "average-risk",
    }
)
"""Models that hold in a union of classes if they hold in each part (the sensitive distribution of the table is fixed).

Not delta-disclosure: a value that one part lacks is rare in the union. Not population uniqueness: its estimators are
not monotone.
"""


def monotone_part(models: Sequence[Model], *, suppression: bool) -> tuple[Model, ...]:
    """Models that hold wherever all of these do, and that, once good at a node, are good at all more general ones.

    Without suppression many more models are monotone: what holds in each of two classes holds in their union.
    """
    if not suppression and all(model.monotone or model.kind in MERGEABLE for model in models):
        return tuple(models)
    return tuple(one for model in models for one in (model, *model.implied) if one.monotone)
