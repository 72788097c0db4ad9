"""The `[[models]]` of a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from privcompute.anonymize.models.alpha_k import AlphaKAnonymity
from privcompute.anonymize.models.average_risk import AverageRisk
from privcompute.anonymize.models.beta_likeness import BetaLikeness
from privcompute.anonymize.models.delta_disclosure import Base, DeltaDisclosure
from privcompute.anonymize.models.delta_presence import DeltaPresence
from privcompute.anonymize.models.distinct_l import DistinctLDiversity
from privcompute.anonymize.models.entropy_l import EntropyLDiversity
from privcompute.anonymize.models.estimated_k_map import CellSize, EstimatedKMap
from privcompute.anonymize.models.k_anonymity import KAnonymity
from privcompute.anonymize.models.k_map import KMap
from privcompute.anonymize.models.model import Model
from privcompute.anonymize.models.population_uniqueness import PopulationUniqueness
from privcompute.anonymize.models.recursive_cl import RecursiveCLDiversity
from privcompute.anonymize.models.t_closeness import Distance, TCloseness
from privcompute.anonymize.schema import Fields, fault
from privcompute.errors import UsageError


def read_models(listed: object, sensitive: Sequence[str], population: int | None) -> tuple[Model, ...]:
    """The models of a policy.

    Args:
        listed: the value of `models`.
        sensitive: the sensitive columns.
        population: rows of the population, where the policy says only that.

    Raises:
        UsageError: `policy`, naming the field.
    """
    if not isinstance(listed, list) or not listed:
        raise fault("models", "is missing or empty: say what has to hold")
    found = []
    for place, one in enumerate(listed):
        about = Fields(one, f"models[{place}]")
        kind = about.text("type", None, tuple(_READERS))
        try:
            found.append(_READERS[kind](about, sensitive, population))
        except UsageError as error:
            if error.code == "bad_parameter":
                raise fault(f"models[{place}]", f"is not right: {error.message}") from None
            raise
        about.end()
    return tuple(found)


def _column(about: Fields, sensitive: Sequence[str]) -> str:
    """The sensitive column a model is about: named, or the only one."""
    if not about.has("column") and len(sensitive) == 1:
        about.raw("column")
        return sensitive[0]
    name = about.text("column")
    if name not in sensitive:
        raise fault(about.name("column"), 'names no column of role = "sensitive"')
    return name


def _population(about: Fields, population: int | None) -> int:
    if about.has("population") or population is None:
        return about.whole("population", low=1)
    about.raw("population")
    return population


_Reader = Callable[[Fields, Sequence[str], int | None], Model]

_READERS: dict[str, _Reader] = {
    "k-anonymity": lambda a, s, p: KAnonymity(a.whole("k")),
    "k-map": lambda a, s, p: KMap(a.whole("k")),
    "estimated-k-map": lambda a, s, p: EstimatedKMap(
        a.whole("k"),
        _population(a, p),
        a.number("significance", 0.01),
        cast(CellSize, a.text("estimator", "zero-truncated-poisson")),
    ),
    "alpha-k-anonymity": lambda a, s, p: AlphaKAnonymity(_column(a, s), a.number("alpha"), a.whole("k")),
    "distinct-l-diversity": lambda a, s, p: DistinctLDiversity(_column(a, s), a.whole("l")),
    "entropy-l-diversity": lambda a, s, p: EntropyLDiversity(_column(a, s), a.number("l")),
    "recursive-cl-diversity": lambda a, s, p: RecursiveCLDiversity(_column(a, s), a.number("c"), a.whole("l")),
    "t-closeness": lambda a, s, p: TCloseness(
        _column(a, s), a.number("t"), cast(Distance, a.text("distance", "equal"))
    ),
    "delta-presence": lambda a, s, p: DeltaPresence(a.number("low", 0.0), a.number("high")),
    "beta-likeness": lambda a, s, p: BetaLikeness(_column(a, s), a.number("beta"), a.flag("enhanced", False)),
    "delta-disclosure": lambda a, s, p: DeltaDisclosure(_column(a, s), a.number("delta"), cast(Base, a.text("log"))),
    "average-risk": lambda a, s, p: AverageRisk(a.number("threshold")),
    "population-uniqueness": lambda a, s, p: PopulationUniqueness(
        a.number("threshold"), _population(a, p), cast(Any, a.text("estimator", "dankar"))
    ),
}
