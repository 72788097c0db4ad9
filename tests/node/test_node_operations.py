"""Explain and query as a person's commands call them: two nodes in one process, everything real but the network."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as parquet
import pytest
import pytest_asyncio
from support.local_nodes import LocalNodes, paired_homes

from privcompute.errors import ConsentNeeded, PrivacyError, PrivcomputeError, TransportError, UsageError
from privcompute.node import operations
from privcompute.node.datasets import Declaration
from privcompute.node.result import Explanation, QueryRelease
from privcompute.node.rules import parse_allow
from privcompute.session import Channel
from privcompute.tables.synthetic import demo_tables
from privcompute.testing import loopback_pair

ROWS = 600
JOIN = "FROM hospital.patients h JOIN insurer.members i ON h.national_id = i.national_id"
QUERY = f"SELECT COUNT(*) AS n, SUM(i.claim) AS total, AVG(h.bmi) AS bmi {JOIN} WHERE h.age >= 18"
DATASETS = {"hospital": "patients", "insurer": "members", "bank": ""}


class World(LocalNodes):
    """Three nodes that reach each other through loopback links: two holders and one party without data."""

    def __init__(self, place: Path) -> None:
        self.links: dict[tuple[str, str, bytes], Channel] = {}
        super().__init__(place, DATASETS, lambda party: Loopback(party, self))

    async def call(
        self, op: str, sql: str, *, asker: str = "insurer", agree: bool = True, to: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        return await self.perform(op, sql, asker=asker, agree=agree, to=to)

    def oracle(self, sql: str) -> tuple[Any, ...]:
        with duckdb.connect() as connection:
            for party, name in DATASETS.items():
                if name:
                    connection.execute(f"CREATE SCHEMA {party}")
                    file = self.place / f"{party}.parquet"
                    connection.execute(f"CREATE VIEW {party}.{name} AS FROM read_parquet('{file}')")
            row = connection.execute(sql).fetchone()
        assert row is not None
        return row


class Loopback:
    """Stands for `transport.Endpoint`."""

    addresses = ("[::1]:1",)

    def __init__(self, name: str, world: World) -> None:
        self._name, self._world = name, world

    async def open_link(self, peer: str, session_id: bytes) -> Channel:
        mine, theirs = loopback_pair(self._name, peer)
        waiting = self._world.links.pop((peer, self._name, session_id), None)
        assert waiting is None
        if any(key[2] == session_id for key in self._world.links) or session_id in self._seen(peer):
            self._world.links[(peer, self._name, session_id)] = theirs
            return mine
        self._seen(peer).add(session_id)
        task = asyncio.create_task(self._world.answers[peer].take(self._name, session_id, theirs))
        self._world.tasks.add(task)
        return mine

    def _seen(self, peer: str) -> set[bytes]:
        seen: set[bytes] = self._world.__dict__.setdefault("seen", {}).setdefault(peer, set())
        return seen

    async def accept_link(self, peer: str, session_id: bytes, timeout: float) -> Channel:
        for _ in range(1000):
            link = self._world.links.pop((self._name, peer, session_id), None)
            if link is not None:
                return link
            await asyncio.sleep(0.01)
        raise AssertionError("nobody came")


def make_homes(place: Path) -> None:
    tables = demo_tables(ROWS)
    owned = {party: (name, tables[party]) if name else None for party, name in DATASETS.items()}
    declare = Declaration(parse_allow(["*=aggregate,group,filter,product"]), {}, reveal="matches")
    paired_homes(place, owned, declare, key="national_id")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("homes")
    make_homes(place)
    return place


@pytest_asyncio.fixture
async def world(homes: Path, tmp_path: Path) -> AsyncIterator[World]:
    shutil.copytree(homes, tmp_path, dirs_exist_ok=True)
    made = World(tmp_path)
    yield made
    await made.close()


async def test_status_and_unknown_calls(world: World) -> None:
    found = await operations.perform(world.nodes["hospital"], {"op": "status"}, lambda plan: True, lambda news: None)
    assert found == {"name": "hospital", "addresses": ["[::1]:1"]}
    for body in ({}, {"op": "shutdown"}, {"op": "query"}, {"op": "query", "sql": 1, "reveal": None, "to": []}):
        with pytest.raises(UsageError) as error:
            await operations.perform(world.nodes["hospital"], body, lambda plan: True, lambda news: None)
        assert error.value.code == "bad_call"


async def test_explain_tells_all_and_computes_nothing(world: World) -> None:
    body = await world.call("explain", QUERY)
    plan = Explanation.from_json(body)
    assert world.plans == []
    assert plan.reveal == "matches"
    assert plan.receivers == ("insurer",)
    assert plan.minimum == 10
    assert set(plan.disclosure) == {"hospital", "insurer"}
    assert all(plan.disclosure.values())
    assert plan.cost["bytes_sent"] > 0
    assert body["limits"]["run_seconds"] > 0
    for node in world.nodes.values():
        assert node.store.ledger.entries() == []
        assert node.store.releases.all() == []


async def test_a_query_equals_duckdb_and_is_kept_and_recorded(world: World) -> None:
    body = await world.call("query", QUERY)
    release = QueryRelease.from_json(body)
    n, total, bmi = world.oracle(QUERY)
    assert release.rows[0][0] == n
    assert release.rows[0][1] == total
    assert isinstance(release.rows[0][1], Decimal)
    assert abs(Fraction(release.rows[0][2]) - Fraction(bmi)) <= Fraction(release.error_bound["bmi"])
    assert [plan["plan_digest"] for plan in world.plans] == [release.plan_digest]
    assert {news["party"] for news in world.news} == {"hospital", "insurer"}
    asker, other = world.nodes["insurer"], world.nodes["hospital"]
    assert asker.store.releases.get(release.id).body["rows"] == body["rows"]
    assert other.store.releases.all() == []
    for node in (asker, other):
        assert [entry.plan_digest for entry in node.store.ledger.entries()] == [release.plan_digest]
    assert "asked" in [entry.event for entry in asker.store.audit.entries()]
    assert "answered" in [entry.event for entry in other.store.audit.entries()]


async def test_the_estimate_of_bytes_is_close(world: World) -> None:
    plan = await world.call("explain", QUERY)
    ran = await world.call("query", QUERY)
    for direction in ("bytes_sent", "bytes_received"):
        assert abs(plan["cost"][direction] - ran[direction]) <= 0.05 * ran[direction]


async def test_without_consent_nothing_runs(world: World) -> None:
    with pytest.raises(ConsentNeeded) as error:
        await world.call("query", QUERY, agree=False)
    assert error.value.exit_status == 7
    assert world.nodes["hospital"].store.ledger.entries() == []
    assert world.nodes["insurer"].store.ledger.entries() == []


async def test_manual_consent_is_for_one_plan_and_one_run(world: World) -> None:
    world.edit("hospital", consent="manual")
    with pytest.raises(ConsentNeeded) as error:
        await world.call("query", QUERY)
    requests = world.nodes["hospital"].store.requests
    waiting = requests.all(state="waiting")
    assert len(waiting) == 1
    assert waiting[0].id in error.value.remedy
    assert waiting[0].plan["disclosure"]["insurer"]
    with pytest.raises(ConsentNeeded):  # asking again makes no second request
        await world.call("query", QUERY)
    assert len(requests.all()) == 1
    requests.decide(waiting[0].id, approve=True)
    with pytest.raises(ConsentNeeded):  # another plan is not approved
        await world.call("query", QUERY.replace("18", "40"))
    assert (await world.call("query", QUERY))["rows"]
    assert requests.get(waiting[0].id).state == "used"
    with pytest.raises(ConsentNeeded):
        await world.call("query", QUERY)


async def test_an_approval_is_for_one_of_two_runs_at_the_same_time(world: World) -> None:
    world.edit("hospital", consent="manual")
    with pytest.raises(ConsentNeeded):
        await world.call("query", QUERY)
    requests = world.nodes["hospital"].store.requests
    requests.decide(requests.all()[0].id, approve=True)
    both = await asyncio.gather(*(world.call("query", QUERY) for _ in range(2)), return_exceptions=True)
    assert sorted(isinstance(one, ConsentNeeded) for one in both) == [False, True]
    assert len(world.nodes["hospital"].store.ledger.entries()) == 1


async def test_a_run_that_ends_after_the_matches_were_learned_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> list[int]:
        raise TransportError("the peer went away", code="closed")

    world.edit("hospital", consent="manual")
    with pytest.raises(ConsentNeeded):
        await world.call("query", QUERY)
    store = world.nodes["hospital"].store
    store.requests.decide(store.requests.all()[0].id, approve=True)
    monkeypatch.setattr("privcompute.query.run._shares", gone)
    with pytest.raises(TransportError):
        await world.call("query", QUERY)
    assert [one.peer for one in store.ledger.entries()] == ["insurer"]
    assert store.requests.all()[0].state == "used"


async def test_a_refusal_of_the_owner_reaches_the_asker(world: World) -> None:
    world.edit("hospital", consent="manual")
    with pytest.raises(ConsentNeeded):
        await world.call("query", QUERY)
    requests = world.nodes["hospital"].store.requests
    requests.decide(requests.all()[0].id, approve=False)
    with pytest.raises(ConsentNeeded) as error:
        await world.call("query", QUERY)
    assert error.value.code == "refused"


async def test_a_rule_of_the_other_owner_refuses_by_name(world: World) -> None:
    world.edit("hospital", allow=parse_allow(["age=filter"]))
    with pytest.raises(PrivacyError) as error:
        await world.call("query", QUERY)
    assert "bmi" in str(error.value)
    assert world.nodes["hospital"].store.ledger.entries() == []


@pytest.mark.parametrize("party", ["hospital", "insurer"])
async def test_the_ledger_of_either_side_refuses_a_near_question(world: World, party: str) -> None:
    column = {"hospital": "h.age", "insurer": "i.unit_cost"}[party]  # neither holds a NULL
    table = {"hospital": "hospital.patients h", "insurer": "insurer.members i"}[party]
    largest = world.oracle(f"SELECT MAX({column}) FROM {table}")[0]
    everybody = f"SELECT COUNT(*) AS n {JOIN} WHERE {column} >= 0"
    assert (await world.call("query", everybody))["rows"]
    near = f"{everybody} AND {column} < {largest}"
    with pytest.raises(PrivacyError) as error:
        await world.call("query", near)
    assert error.value.code == "differencing"


async def test_a_refusal_of_the_ledger_counts_among_the_peers_queries(world: World) -> None:
    largest = world.oracle("SELECT MAX(h.age) FROM hospital.patients h")[0]
    await world.call("query", f"SELECT COUNT(*) AS n {JOIN} WHERE h.age >= 0")
    node = world.nodes["hospital"]
    world.nodes["hospital"] = world.answers["hospital"].context = replace(
        node, config=replace(node.config, limits=replace(node.config.limits, queries_per_peer=3))
    )
    codes = []
    for bound in (largest, largest, largest):
        with pytest.raises(PrivacyError) as error:
            await world.call("query", f"SELECT COUNT(*) AS n {JOIN} WHERE h.age >= 0 AND h.age < {bound}")
        codes.append(error.value.code)
    assert codes == ["differencing", "differencing", "queries_spent"]


async def test_a_result_goes_to_the_named_receiver_only(world: World) -> None:
    body = await world.call("query", QUERY, to=("bank",))
    assert body["rows"] == []
    assert body["receivers"] == ["bank"]
    assert "release" not in body
    kept = world.nodes["bank"].store.releases.all()
    assert len(kept) == 1
    assert QueryRelease.from_json(kept[0].body).rows[0][0] == world.oracle(QUERY)[0]
    assert world.nodes["insurer"].store.releases.all() == []
    assert world.nodes["hospital"].store.releases.all() == []


async def test_changed_data_are_refused_until_read_anew(tmp_path: Path) -> None:
    make_homes(tmp_path)  # files of its own
    world = World(tmp_path)
    file = world.place / "hospital.parquet"
    parquet.write_table(parquet.read_table(file).slice(1), file)
    with pytest.raises(PrivcomputeError) as error:
        await world.call("query", QUERY)
    assert error.value.code == "stale_entry"
    world.edit("hospital")
    assert (await world.call("query", QUERY))["rows"][0][0] == world.oracle(QUERY)[0]
    await world.close()


async def test_a_dataset_closed_to_a_peer_is_not_there_for_it(world: World) -> None:
    world.edit("hospital", partners=("bank",))
    with pytest.raises(UsageError):
        await world.call("explain", QUERY)


async def test_too_many_answers_at_once_are_refused_by_name(world: World) -> None:
    world.answers["hospital"]._most = 0
    with pytest.raises(PrivcomputeError) as error:
        await world.call("query", QUERY)
    assert error.value.code == "busy"
