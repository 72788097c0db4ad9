"""Each model in words."""

from __future__ import annotations

import pytest

from privcompute.anonymize.models import (
    AlphaKAnonymity,
    AverageRisk,
    BetaLikeness,
    DeltaDisclosure,
    DeltaPresence,
    DistinctLDiversity,
    EntropyLDiversity,
    EstimatedKMap,
    KAnonymity,
    KMap,
    Model,
    PopulationUniqueness,
    RecursiveCLDiversity,
    TCloseness,
)
from privcompute.anonymize.models.phrase import phrase
from privcompute.anonymize.models.spec import _READERS
from privcompute.anonymize.report import asked

SAID: list[tuple[Model, str]] = [
    (KAnonymity(5), "5-anonymity"),
    (KMap(3), "3-map"),
    (
        EstimatedKMap(3, 1000),
        "3-map, estimated for a population of 1000 rows (zero-truncated-poisson, significance 0.01)",
    ),
    (AlphaKAnonymity("illness", 0.5, 4), "(0.5, 4)-anonymity of illness"),
    (DistinctLDiversity("illness", 3), "distinct 3-diversity of illness"),
    (EntropyLDiversity("illness", 2.5), "entropy 2.5-diversity of illness"),
    (RecursiveCLDiversity("illness", 4, 2), "recursive (4, 2)-diversity of illness"),
    (TCloseness("illness", 0.2, "ordered"), "0.2-closeness of illness (ordered distance)"),
    (DeltaPresence(0.05, 0.15), "(0.05, 0.15)-presence"),
    (BetaLikeness("illness", 1.0), "basic 1-likeness of illness"),
    (BetaLikeness("illness", 1.5, enhanced=True), "enhanced 1.5-likeness of illness"),
    (DeltaDisclosure("illness", 2, "e"), "2-disclosure privacy of illness (logarithm to base e)"),
    (AverageRisk(0.1), "average risk at most 0.1"),
    (
        PopulationUniqueness(0.01, 5000),
        "at most 0.01 of a population of 5000 rows unique (estimator dankar)",
    ),
]


@pytest.mark.parametrize(("model", "said"), SAID, ids=[said for _, said in SAID])
def test_a_model_in_words(model: Model, said: str) -> None:
    assert phrase(model.kind, asked(model)) == said
    chinese = phrase(model.kind, asked(model), "zh-CN")
    assert chinese != said
    numbers = [f"{value:g}" for value in asked(model).values() if not isinstance(value, bool | str)]
    assert all(number in chinese for number in numbers)


def test_all_models_of_a_policy_have_words() -> None:
    assert {model.kind for model, _ in SAID} == _READERS.keys()
