"""Random questions to two real node processes; DuckDB on the pooled tables, and Fractions, as the oracle."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support.oracle import Aggregate, Question, questions
from support.pairs import Pair

import privcompute

EVERY_KIND = Question(
    (
        Aggregate("COUNT(*)"),
        Aggregate("COUNT(DISTINCT h.id)"),
        Aggregate("COUNT", ("h.bmi",)),
        Aggregate("SUM", ("h.visits",)),
        Aggregate("SUM", ("i.claim",)),
        Aggregate("AVG", ("h.dose",)),
        Aggregate("SUM", ("h.visits", "i.cost")),
        Aggregate("AVG", ("h.bmi", "i.claim")),
        Aggregate("SUM", ("i.cost",), ("h.smoker", "i.plan = 'Plus'"), otherwise=True),
        Aggregate("COUNT", (), ("h.age >= 18",)),
    ),
    ("h.visits > 0", "(i.active OR i.cost < 0)"),
)


def test_every_kind_of_aggregate_at_once(two_nodes: Pair) -> None:
    answer = two_nodes.insurer.query(EVERY_KIND.sql)
    assert two_nodes.oracle.check(EVERY_KIND, answer, 1) == "equal"
    assert answer["reveal"] == "matches"
    assert answer["rounds"] > 3
    assert answer["bytes_sent"] > 10_000
    assert answer["seconds"] > 0
    assert set(answer["learned"]) == {"hospital", "insurer"}
    assert len(answer["plan_digest"]) == 64


def test_either_side_may_ask(two_nodes: Pair) -> None:
    question = Question((Aggregate("SUM", ("h.age", "i.cost")), Aggregate("AVG", ("i.score",))))
    assert two_nodes.oracle.check(question, two_nodes.hospital.query(question.sql), 1) == "equal"


def _ask(pair: Pair, examples: int, *, same: bool) -> None:
    seen: Counter[str] = Counter()
    with privcompute.connect(pair.insurer.home) as node:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=same,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(questions())
        def check(question: Question) -> None:
            release = node.query(question.sql)
            seen[pair.oracle.check(question, dict(release.body), 1)] += 1

        check()
    assert seen["equal"] >= examples // 2


def test_random_questions(two_nodes: Pair) -> None:
    _ask(two_nodes, 40, same=True)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_random_questions(two_nodes: Pair) -> None:
    _ask(two_nodes, 500, same=False)


def test_the_asynchronous_face_runs_questions_side_by_side(two_nodes: Pair) -> None:
    asked = [Question((Aggregate("SUM", (column,)),)) for column in ("h.visits", "i.cost", "h.bmi")]

    async def ask() -> list[privcompute.QueryRelease]:
        async with privcompute.Node.open(two_nodes.insurer.home) as node:
            assert node.running
            return list(await asyncio.gather(*(node.query(one.sql) for one in asked)))

    for question, release in zip(asked, asyncio.run(ask()), strict=True):
        assert two_nodes.oracle.check(question, dict(release.body), 1) == "equal"
        assert release.to_arrow().num_rows == 1
        assert list(release.to_pandas().columns) == ["c0"]
        assert release.to_polars().shape == (1, 1)
