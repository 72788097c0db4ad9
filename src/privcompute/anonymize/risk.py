"""Re-identification risk of classes: three attackers, uniques, and the individual risk of weighted samples.

- Prosecutor: knows that a person is in the table; at worst 1 / the smallest class.
- Journalist: knows the population; at worst 1 / the smallest class of the population that the table has a row of.
- Marketer: wants many; on average classes / rows.

Source: El Emam, Guide to the De-Identification of Personal Health Information (2013); Benedetti and Franconi (1998) in
the form of Polettini and Seri (2004) for the individual risk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.classes import Classes
from privcompute.anonymize.uniqueness import Estimator, population_uniqueness

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

AT_RISK = 0.2
"""Rows with a higher risk than this (classes below five) are counted as being at risk."""


@dataclass(frozen=True)
class Risk:
    """The risks of a table; without a row all are 0.

    Attributes:
        rows: that are released.
        classes: of them.
        prosecutor: the highest risk of a row.
        marketer: the average.
        journalist: the highest against the population; as `prosecutor` without one.
        journalist_average: the average over rows.
        at_risk: rows with a risk above `AT_RISK`.
        uniques: rows alone in their class.
        uniqueness: their part.
        smallest: the ten smallest class sizes.
    """

    rows: int = field(repr=False)
    classes: int
    prosecutor: float
    marketer: float
    journalist: float
    journalist_average: float
    at_risk: int
    uniques: int
    uniqueness: float
    smallest: tuple[int, ...]


def risk(classes: Classes) -> Risk:
    """The risks of all classes together."""
    size, there, rows = classes.size, classes.population, classes.rows
    if not rows:
        return Risk(0, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, ())
    uniques = int((size == 1).sum())
    return Risk(
        rows,
        len(size),
        1 / int(size.min()),
        len(size) / rows,
        1 / int(there.min()),
        float((size / there).sum()) / rows,
        int(size[size < 1 / AT_RISK].sum()),
        uniques,
        uniques / rows,
        _smallest(size),
    )


def _smallest(size: Ints) -> tuple[int, ...]:
    """The ten smallest sizes; counted, for nearly all of them are small where there are many."""
    few = np.bincount(np.minimum(size, 1 << 10))[: 1 << 10]
    found = np.repeat(np.arange(len(few)), np.minimum(few, 10))[:10]
    return tuple(found.tolist() if len(found) == 10 else np.sort(size)[:10].tolist())


def uniques_in_population(classes: Classes, population: int) -> dict[Estimator, float | None]:
    """The estimated part of a population of so many rows that is unique, by each estimator; None: no solution."""
    from privcompute.errors import UsageError

    names: tuple[Estimator, ...] = ("dankar", "pitman", "zayatz", "snb")
    found: dict[Estimator, float | None] = {}
    for name in names:
        try:
            found[name] = population_uniqueness(classes.size, max(population, classes.rows), name)
        except UsageError:
            found[name] = None
    return found


def individual_risk(size: Ints, weight: Doubles) -> Doubles:
    """The risk of Benedetti and Franconi for rows of a weighted sample.

    Args:
        size: (rows,), rows of each row's class in the sample, f.
        weight: (rows,), the sum of sampling weights in its class, F >= f: an estimate of the class in the population.

    Returns:
        (rows,), with p = f / F: p/(1-p) ln(1/p) for f = 1; p/(1-p) - (p/(1-p))^2 ln(1/p) for f = 2; p / (f - (1-p))
        above.
    """
    p = np.minimum(size / weight, 1.0)
    rest = 1 - p
    certain = rest < 1e-9
    odds = p / np.where(certain, 1.0, rest)
    log = -np.log(p)
    one = np.where(certain, 1.0, odds * log)
    two = np.where(certain, 0.5, odds - odds**2 * log)
    out: Doubles = np.where(size == 1, one, np.where(size == 2, two, p / (size - rest)))
    return out
