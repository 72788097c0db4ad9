"""What `explain` says a plan costs: bytes and rounds as the run has them; seconds that grow as they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import small_query
from support.small_query import SmallQuery

from privcompute.errors import IntegrityError
from privcompute.node.calibration import Calibration, measure
from privcompute.node.estimate import estimate, on_this_machine
from privcompute.query.run import Opened
from privcompute.session import Session
from privcompute.testing import simulate

SPEED = Calibration(cores=2, ladders=80_000.0)
JOIN = "FROM hospital.patients h JOIN insurer.members i ON h.id = i.id"
LOCAL = f"SELECT COUNT(DISTINCT h.id) AS people {JOIN}"
WIDE = (
    "SELECT SUM(h.visits * i.cost) AS a, AVG(h.visits) AS b, SUM(i.cost) AS c,"
    f" COUNT(CASE WHEN h.smoker AND h.visits > 3 THEN 1 END) AS d, COUNT(*) AS n {JOIN} WHERE i.active AND h.visits > 1"
)


def measured(query: SmallQuery) -> dict[str, tuple[int, int, int]]:
    """By party: bytes sent, bytes received, rounds of a real run."""
    parties = tuple(
        dict.fromkeys((*(side.party for side in query.plan.sides), *query.plan.receivers, query.plan.asker))
    )

    async def program(s: Session) -> tuple[Opened, tuple[int, int, int]]:
        opened = await query.program(s)
        await s.close()
        return opened, (s.meter.bytes_sent, s.meter.bytes_received, s.meter.rounds)

    results: dict[str, Any] = simulate(program, parties=parties).results
    assert not any(opened.suppressed for opened, _ in results.values())
    return {party: meter for party, (_, meter) in results.items()}


@pytest.mark.parametrize(
    ("sql", "left", "right", "receivers"),
    [
        (small_query.SQL, 120, 120, ("insurer",)),
        (small_query.SQL, 40, 3000, ("hospital", "insurer")),
        (WIDE, 3000, 500, ("hospital",)),
        (LOCAL, 1000, 120, ("insurer",)),
        (WIDE, 200, 200, ("auditor",)),
        (small_query.SQL, 70_000, 60, ("insurer", "auditor")),
    ],
)
def test_bytes_and_rounds_are_those_of_the_run(
    tmp_path: Path, sql: str, left: int, right: int, receivers: tuple[str, ...]
) -> None:
    tables = {"left": small_query.patients(left), "right": small_query.members(right)}
    query = small_query.prepare(tmp_path, sql=sql, receivers=receivers, minimum=1, **tables)
    found = measured(query)
    said = {party: estimate(query.plan, party, SPEED) for party in found}
    assert {p: (one.bytes_sent, one.bytes_received) for p, one in said.items()} == {p: m[:2] for p, m in found.items()}
    # A party without data believes no more than one round a message, so that its own meter may show fewer.
    assert all(said[p].rounds == found[p][2] for p in ("hospital", "insurer"))


def test_bytes_do_not_depend_on_the_matches(tmp_path: Path) -> None:
    strangers = small_query.members(300).set_column(0, "id", pa.array([f"x{n}" for n in range(302)]))
    for place, right in (("some", small_query.members(300)), ("few", strangers)):
        (tmp_path / place).mkdir()
        query = small_query.prepare(tmp_path / place, left=small_query.patients(300), right=right, minimum=1)
        said = estimate(query.plan, "insurer", SPEED)
        if place == "some":
            assert measured(query)["insurer"][:2] == (said.bytes_sent, said.bytes_received)
        else:  # nobody matches: the count is below the minimum, and all but the values was sent
            sizes = simulate(query.program, parties=("hospital", "insurer"))
            total = said.bytes_sent + said.bytes_received
            assert 0.99 * total < sizes.bytes_sent <= total


def test_seconds_follow_sizes_speed_and_place(tmp_path: Path) -> None:
    plan = small_query.prepare(tmp_path).plan

    def seconds(keys: int, *, speed: Calibration = SPEED, together: bool = False) -> float:
        grown = tuple(replace(side, distinct_keys=keys) for side in plan.sides)
        return estimate(replace(plan, sides=(grown[0], grown[1])), "insurer", speed, together=together).seconds

    assert seconds(10**7) == pytest.approx(10 * seconds(10**6), rel=0.1)
    assert seconds(10**7, together=True) == pytest.approx(2 * seconds(10**7), rel=0.1)
    faster = Calibration(cores=8, ladders=80_000.0)
    assert seconds(10**7, speed=faster) < 0.35 * seconds(10**7)
    assert 4e7 / 160_000 < seconds(10**7, together=True) < 1.3 * 4e7 / 160_000


@pytest.mark.parametrize(
    ("addresses", "here"),
    [
        (("127.0.0.1:7443", "[::1]:7443"), True),
        (("192.0.2.7:7443",), False),
        (("127.0.0.1:7443", "192.0.2.7:7443"), False),
        (("hospital.example:7443",), False),
        ((), False),
        (("nonsense",), False),
    ],
)
def test_which_peers_share_this_machine(addresses: tuple[str, ...], here: bool) -> None:
    assert on_this_machine(addresses) is here


def test_calibration_is_stored_as_it_was_measured() -> None:
    found = measure()
    assert found.cores >= 1
    assert found.ladders > 100
    assert Calibration.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"cores": 2},
        {"cores": 0, "ladders": 1.0},
        {"cores": 2, "ladders": "x"},
        {"cores": 2, "ladders": 0},
    ],
)
def test_a_damaged_calibration_is_named(body: Any) -> None:
    with pytest.raises(IntegrityError) as error:
        Calibration.from_json(body)
    assert error.value.code == "calibration"
