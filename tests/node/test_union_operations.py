"""Questions over a union as the commands ask them: many nodes in one process, everything real but the network."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import pytest_asyncio
from support.union_nodes import UnionNodes, paired_homes

from privcompute.errors import ConsentNeeded, PeerError, PrivacyError, PrivcomputeError, TransportError, UsageError
from privcompute.node import negotiation
from privcompute.node.context import NodeContext
from privcompute.node.datasets import Declaration
from privcompute.node.jobs.union import UnionJob
from privcompute.node.negotiation import Party
from privcompute.node.rules import parse_allow
from privcompute.node.union_rows import UnionRows, prepare_union
from privcompute.query.union import Member, UnionPlan
from privcompute.query.union.suppress import Rule, shown_units
from privcompute.session import Channel
from privcompute.session.channel import Buffer
from privcompute.tables.synthetic import HOSPITALS, WARDS, union_tables
from privcompute.testing.wrapper import ChannelWrapper

ROWS = 300
ASKER = HOSPITALS[-1]
SQL = "SELECT COUNT(*) AS n, SUM(cost) AS cost, AVG(bmi) AS bmi FROM UNION(patients) WHERE age >= 18"
GROUPED = "SELECT ward, COUNT(*) AS n, SUM(visits) AS visits FROM UNION(patients) GROUP BY ward"


def declaration(**changes: Any) -> Declaration:
    ranges = {
        "age": (Fraction(0), Fraction(127)),
        "bmi": (Fraction(0), Fraction(64)),
        "visits": (Fraction(0), Fraction(100)),
        "systolic": (Fraction(0), Fraction(300)),
        "cost": (Fraction(0), Fraction(20_000)),
    }
    allow = parse_allow(["*=aggregate,group,filter,product"])
    return Declaration(allow, ranges, domains={"ward": tuple(WARDS)}, **changes)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("homes")
    tables: dict[str, pa.Table | None] = {**union_tables(ROWS), "board": None}
    paired_homes(place, tables, declaration(), key="patient_id")
    return place


@pytest_asyncio.fixture
async def world(homes: Path, tmp_path: Path) -> AsyncIterator[UnionNodes]:
    place = tmp_path / "homes"
    shutil.copytree(homes, place)
    made = UnionNodes(place, [*HOSPITALS, "board"], holder_seconds=30.0)
    yield made
    await made.close()


def same(body: dict[str, Any], rows: Sequence[Sequence[Any]]) -> None:
    assert len(body["rows"]) == len(rows)
    bounds = [Fraction(body["error_bound"].get(name) or 0) for name in body["columns"]]
    for ours, theirs in zip(body["rows"], rows, strict=True):
        for one, other, bound in zip(ours, theirs, bounds, strict=True):
            assert one == other or abs(Fraction(one) - Fraction(other)) <= bound


async def test_five_hospitals(world: UnionNodes) -> None:
    body = await world.call("query", SQL, asker=ASKER)
    assert body["status"] == "done"
    assert body["holders"] == sorted(HOSPITALS)
    assert body["scheme"] == "masks"
    # The party without data is paired, too: it was asked, has no such dataset, and takes no part.
    assert body["dropped"] == {}
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled")))
    assert set(body["learned"]) >= set(HOSPITALS)


async def test_groups_are_shown_if_enough_people_are_in_them(world: UnionNodes) -> None:
    body = await world.call("query", GROUPED, asker=ASKER)
    rows = world.pooled(GROUPED.replace("UNION(patients)", "pooled") + " ORDER BY ward")
    shown = [row[0] for row in body["rows"]]
    assert "rare" not in shown
    assert len(shown) >= 2
    same(body, [row for row in rows if row[0] in shown])
    assert body["suppressed_cells"] == len(WARDS) + 1 - len(shown)  # NULL is a group, too


async def test_a_party_without_data_asks_and_others_receive(world: UnionNodes) -> None:
    body = await world.call("query", SQL, asker="board", to=("board", "coast"))
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled")))
    kept = world.nodes["coast"].store.releases.all()
    assert [one.body["rows"] for one in kept] == [body["rows"]]
    assert world.nodes["delta"].store.releases.all() == []


async def test_named_parties(world: UnionNodes) -> None:
    sql = SQL.replace("UNION(patients)", "UNION(coast.patients, delta.patients, hills.patients)")
    body = await world.call("query", sql, asker="board")
    assert body["holders"] == ["coast", "delta", "hills"]
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), ["coast", "delta", "hills"]))


@pytest.mark.parametrize("scheme", ["masks", "paillier"])
async def test_explain_says_what_will_be_learned_and_costs(world: UnionNodes, scheme: str) -> None:
    plan = await world.call("explain", SQL, asker=ASKER, scheme=scheme)
    assert plan["quorum"] == 4
    assert {one["party"] for one in plan["members"]} == set(HOSPITALS)
    body = await world.call("query", SQL, asker=ASKER, scheme=scheme)
    for name in ("bytes_sent", "bytes_received"):
        assert abs(body[name] - plan["cost"][name]) <= 0.05 * body[name], name
    assert body["plan_digest"] == plan["plan_digest"]


async def test_not_agreed(world: UnionNodes) -> None:
    with pytest.raises(ConsentNeeded, match="not agreed"):
        await world.call("query", SQL, asker=ASKER, agree=False)
    version = world.nodes["coast"].store.datasets.get("patients").entry.version
    assert world.nodes["coast"].store.ledger.queries(version, ASKER) == 0


# -- who is missing --------------------------------------------------------------------------------------------------


async def test_who_cannot_be_reached_is_left_out(world: UnionNodes) -> None:
    world.away = {"delta"}
    body = await world.call("query", SQL, asker=ASKER)
    assert body["dropped"] == {"delta": "unreachable"}
    present = [h for h in HOSPITALS if h != "delta"]
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), present))


async def test_a_named_party_that_cannot_be_reached_ends_the_question(world: UnionNodes) -> None:
    world.away = {"delta"}
    sql = SQL.replace("UNION(patients)", "UNION(coast.patients, delta.patients, hills.patients)")
    with pytest.raises(TransportError) as caught:
        await world.call("query", sql, asker=ASKER)
    assert caught.value.party == "delta"


class Silent(ChannelWrapper):
    """A holder's link that breaks before it sends a message whose label holds a word."""

    def __init__(self, inner: Channel, word: str) -> None:
        super().__init__(inner)
        self._word = word

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        if self._word in label:
            await super().abort(TransportError("the power is gone", code="unreachable"))
            raise TransportError("the power is gone", code="unreachable")
        await super().send(label, parts)


@pytest.mark.parametrize("word", ["advert", "deal", "ready", "values", "survivors-signature", "shares", "items"])
async def test_one_drops_out_midway(world: UnionNodes, word: str) -> None:
    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        return Silent(channel, f"/{word}" if word != "ready" else "masked_sum.1/ready") if party == "delta" else channel

    world.wrap = wrap
    body = await world.call("query", SQL, asker=ASKER)
    assert "delta" in body["dropped"]
    assert ("delta" in body["holders"]) == (word in ("survivors-signature", "shares", "items"))
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), body["holders"]))


class LeavesReady(ChannelWrapper):
    """A holder's link that breaks once it has said that it is ready."""

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        await super().send(label, parts)
        if label.startswith("negotiate/ready"):
            await super().abort(TransportError("the power is gone", code="unreachable"))


@pytest.mark.parametrize("quorum", [4, 5])
async def test_one_leaves_between_ready_and_go(world: UnionNodes, quorum: int) -> None:
    """It is gone like one that leaves at any other time: the question goes on if enough are left."""
    world.wrap = lambda party, asker, channel: LeavesReady(channel) if party == "delta" else channel
    if quorum == 5:
        with pytest.raises(PeerError) as caught:
            await world.call("query", SQL, asker=ASKER, quorum=quorum)
        assert caught.value.code == "quorum_lost"
        return
    body = await world.call("query", SQL, asker=ASKER, quorum=quorum)
    assert body["dropped"] == {"delta": "unreachable"}
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), body["holders"]))


async def test_too_few_are_left_and_those_begin_anew(world: UnionNodes) -> None:
    lost = {"delta", "hills"}
    first: set[str] = set()

    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        if party in lost and party not in first:
            first.add(party)
            return Silent(channel, "/values")
        return channel

    world.wrap = wrap
    body = await world.call("query", SQL, asker=ASKER, quorum=3)
    assert body["holders"] == sorted(set(HOSPITALS) - lost)
    assert set(body["dropped"]) == lost
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), body["holders"]))


async def test_the_quorum_holds(world: UnionNodes) -> None:
    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        return Silent(channel, "/values") if party == "delta" else channel

    world.wrap = wrap
    with pytest.raises(PeerError) as caught:
        await world.call("query", SQL, asker=ASKER, quorum=5)
    assert caught.value.code == "quorum_lost"


# -- rules, ledger, consent ------------------------------------------------------------------------------------------


async def test_an_owners_rules_bind_the_union(world: UnionNodes) -> None:
    world.edit("hills", allow=parse_allow(["*=filter"]))
    with pytest.raises(PrivacyError) as caught:
        await world.call("query", SQL, asker=ASKER)
    assert caught.value.party == "hills"
    assert "dataset edit" in caught.value.remedy


async def test_two_holders_need_both_owners_leave(world: UnionNodes) -> None:
    sql = SQL.replace("UNION(patients)", "UNION(coast.patients, delta.patients)")
    with pytest.raises((PrivacyError, UsageError)) as caught:
        await world.call("query", sql, asker="board")
    assert "--min-holders" in caught.value.remedy
    world.edit("coast", min_holders=2)
    with pytest.raises((PrivacyError, UsageError)):
        await world.call("query", sql, asker="board")
    world.edit("delta", min_holders=2)
    body = await world.call("query", sql, asker="board")
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), ["coast", "delta"]))


async def test_the_difference_of_two_unions_is_no_single_holder(world: UnionNodes) -> None:
    world.away = {"delta"}
    await world.call("query", SQL, asker=ASKER)
    world.away = set()
    with pytest.raises(PrivacyError) as caught:
        await world.call("query", SQL, asker=ASKER)
    assert caught.value.code == "differencing_holders"
    # The same holders may be asked again.
    world.away = {"delta"}
    await world.call("query", SQL, asker=ASKER)


async def test_the_difference_of_two_questions_is_no_single_person(world: UnionNodes) -> None:
    await world.call("query", "SELECT COUNT(*) AS n FROM UNION(patients) WHERE ward <> 'none'", asker=ASKER)
    with pytest.raises(PrivacyError) as caught:
        await world.call("query", "SELECT COUNT(*) AS n FROM UNION(patients) WHERE ward <> 'rare'", asker=ASKER)
    assert caught.value.code == "differencing"


async def test_an_owner_who_wants_to_be_asked_is_asked(world: UnionNodes) -> None:
    world.edit("coast", consent="manual")
    with pytest.raises(ConsentNeeded) as caught:
        await world.call("query", SQL, asker=ASKER)
    assert caught.value.party == "coast"
    store = world.nodes["coast"].store
    (request,) = store.requests.all(state="waiting")
    store.requests.decide(request.id, approve=True)
    await world.call("query", SQL, asker=ASKER)
    with pytest.raises(ConsentNeeded):
        await world.call("query", SQL, asker=ASKER)


# -- Paillier ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_holder", [None, "hills"])
async def test_by_paillier(world: UnionNodes, key_holder: str | None) -> None:
    body = await world.call("query", SQL, asker=ASKER, scheme="paillier", key_holder=key_holder)
    assert body["scheme"] == "paillier"
    assert body["holders"] == sorted(HOSPITALS)
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled")))
    learned = {party: " ".join(one["what"] for one in facts) for party, facts in body["learned"].items()}
    assert (key_holder or "coast") in learned


async def test_groups_by_paillier(world: UnionNodes) -> None:
    body = await world.call("query", GROUPED, asker="board", scheme="paillier", to=("board", "north"))
    rows = world.pooled(GROUPED.replace("UNION(patients)", "pooled") + " ORDER BY ward")
    shown = [row[0] for row in body["rows"]]
    assert "rare" not in shown
    same(body, [row for row in rows if row[0] in shown])
    assert [one.body["rows"] for one in world.nodes["north"].store.releases.all()] == [body["rows"]]


async def test_one_drops_out_of_paillier(world: UnionNodes) -> None:
    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        return Silent(channel, "/values") if party == "delta" else channel

    world.wrap = wrap
    body = await world.call("query", SQL, asker=ASKER, scheme="paillier", quorum=4)
    assert "delta" not in body["holders"]
    same(body, world.pooled(SQL.replace("UNION(patients)", "pooled"), body["holders"]))


async def test_who_brings_no_rows_is_no_key_holder(world: UnionNodes) -> None:
    with pytest.raises(UsageError) as caught:
        await world.call("query", SQL, asker=ASKER, scheme="paillier", key_holder="board")
    assert caught.value.code == "key_holder"
    assert "coast" in caught.value.remedy


async def test_a_mere_holders_ledger_ends_the_question(world: UnionNodes) -> None:
    world.away = {"delta"}
    await world.call("query", SQL, asker=ASKER)
    world.away = set()
    with pytest.raises(PrivacyError) as caught:
        await world.call("query", SQL, asker=ASKER, scheme="paillier")
    assert caught.value.code == "differencing_holders"


async def test_the_asker_is_no_key_holder(world: UnionNodes) -> None:
    with pytest.raises(UsageError) as caught:
        await world.call("query", SQL, asker=ASKER, scheme="paillier", key_holder=ASKER)
    assert "together" in caught.value.message


# -- found in a review -------------------------------------------------------------------------------------------------


async def test_a_retry_on_other_terms_is_agreed_to_anew(world: UnionNodes) -> None:
    """Between two attempts a holder changes its terms: whoever agreed to the first plan has not seen these."""
    links: dict[str, int] = {}

    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        links[party] = links.get(party, 0) + 1
        if party == "coast" and links[party] == 2:
            world.edit("coast", min_cell=11)
        return Silent(channel, "/values") if party in ("delta", "hills") and links[party] == 1 else channel

    world.wrap = wrap
    body = await world.call("query", SQL, asker=ASKER, quorum=3)
    assert set(body["dropped"]) == {"delta", "hills"}
    assert [len(plan["members"]) for plan in world.plans] == [5, 3]


async def test_the_key_holder_answers_for_holders_that_have_left(world: UnionNodes) -> None:
    """One holder dropped out after others had left: the next sum less this one would be that holder's."""

    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        return Silent(channel, "/values") if party == "delta" else channel

    async def ask() -> dict[str, Any]:
        return await world.call("query", SQL, asker=ASKER, scheme="paillier", key_holder="hills", quorum=4)

    world.wrap = wrap
    assert "delta" not in (await ask())["holders"]
    world.wrap = None
    with pytest.raises(PrivacyError) as caught:
        await ask()
    assert caught.value.code == "differencing_holders"
    world.wrap = wrap
    assert "delta" not in (await ask())["holders"]


async def test_a_receiver_that_left_keeps_the_result_from_nobody(world: UnionNodes) -> None:
    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        return Silent(channel, "/values") if party == "coast" else channel

    world.wrap = wrap
    body = await world.call("query", SQL, asker="board", to=("board", "coast", "north"))
    assert set(body["dropped"]) == {"coast"}
    assert [one.body["rows"] for one in world.nodes["north"].store.releases.all()] == [body["rows"]]


async def test_what_the_askers_own_ledger_refuses_opens_nowhere(world: UnionNodes) -> None:
    """Others' data changed since, so only the asker's own ledger still knows the earlier holders."""
    asker, opened = world.nodes[ASKER], set[str]()
    version = asker.store.datasets.get("patients").entry.version
    fewer = [holder for holder in HOSPITALS if holder != "delta"]
    asker.store.ledger.record_holders(version, peer=ASKER, plan_digest="0" * 64, holders=fewer, least=3)

    class Watched(ChannelWrapper):
        async def send(self, label: str, parts: Sequence[Buffer]) -> None:
            opened.add(label.rsplit("/", 1)[-1])
            await super().send(label, parts)

    world.wrap = lambda party, asker, channel: Watched(channel)
    with pytest.raises(PrivacyError) as caught:
        await world.call("query", SQL, asker=ASKER)
    assert caught.value.party == ASKER
    assert "values.1" in opened
    assert not opened & {"shares.1", "items.1"}


async def test_a_receiver_compares_the_totals_with_what_it_helped_to_open(world: UnionNodes) -> None:
    class Lies(ChannelWrapper):
        async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
            raw = await super().recv(label, limit, timeout)
            if not label.startswith("negotiate/totals"):
                return raw
            body = json.loads(bytes(raw))
            return memoryview(
                json.dumps({**body, "counts": [0] * len(body["counts"]), "shown": [], "values": []}).encode()
            )

    world.wrap = lambda party, asker, channel: Lies(channel) if party == "coast" else channel
    await world.call("query", SQL, asker="board", to=("board", "coast", "north"))
    assert len(world.nodes["north"].store.releases.all()) == 1
    assert world.nodes["coast"].store.releases.all() == []


# -- patience ----------------------------------------------------------------------------------------------------------


async def test_each_side_decides_once(world: UnionNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[int] = []

    def counted(counts: Sequence[int], rule: Rule) -> tuple[int, ...]:
        decided.append(len(counts))
        return shown_units(counts, rule)

    monkeypatch.setattr("privcompute.query.union.plan.shown_units", counted)
    await world.call("query", GROUPED, asker=ASKER, to=(ASKER, "coast"))
    assert len(decided) == 2  # the collector, and the other receiver, which compares


@pytest.fixture
def no_go(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An asker that has everybody get ready, and never says go; set once it should."""
    reached = asyncio.Event()

    async def say(channel: Channel, stage: str, body: Mapping[str, Any]) -> None:
        if stage == "go":
            reached.set()
            await asyncio.Event().wait()
        await honest(channel, stage, body)

    honest = negotiation.say
    monkeypatch.setattr("privcompute.node.negotiation.say", say)
    return reached


@pytest.mark.parametrize(
    ("limits", "beat"),
    [({"step_seconds": 3.0}, 1000.0), ({"step_seconds": 30.0, "run_seconds": 4.0}, 0.05)],
    ids=["silent", "with signs of life"],
)
async def test_a_holder_waits_for_go_no_longer_than_it_says(
    homes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_go: asyncio.Event,
    limits: dict[str, float],
    beat: float,
) -> None:
    monkeypatch.setattr("privcompute.node.jobs.alive.BEAT", beat)
    place = tmp_path / "homes"
    shutil.copytree(homes, place)
    world = UnionNodes(place, [*HOSPITALS, "board"], **limits)
    asking = asyncio.create_task(world.call("query", SQL, asker="board"))
    try:
        async with asyncio.timeout(60):
            await no_go.wait()
            await asyncio.gather(*world.tasks)
        for holder in HOSPITALS:
            (ended,) = [one for one in world.nodes[holder].store.audit.entries() if one.event == "ended"]
            assert ended.detail["code"] == "deadline"
            assert ended.peer == "board"
            assert ended.detail["stage"] == "negotiate/go.1"
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await world.close()


async def test_one_who_reads_for_long_keeps_nobody_from_waiting(
    homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder reads for longer than anybody bears silence: it and the asker show that they are there."""
    monkeypatch.setattr("privcompute.node.jobs.alive.BEAT", 0.1)

    def slowly(node: NodeContext, plan: UnionPlan, member: Member) -> UnionRows:
        if node.name == "delta":
            time.sleep(6)
        return prepare_union(node, plan, member)

    monkeypatch.setattr("privcompute.node.jobs.union.prepare_union", slowly)
    place = tmp_path / "homes"
    shutil.copytree(homes, place)
    world = UnionNodes(place, [*HOSPITALS, "board"], step_seconds=4.0)
    try:
        body = await world.call("query", SQL, asker="board")
        assert body["holders"] == sorted(HOSPITALS)
        assert body["dropped"] == {}
    finally:
        await world.close()


# -- what others may read ----------------------------------------------------------------------------------------------


async def test_the_log_of_a_holder_does_not_quote_the_question(
    world: UnionNodes, caplog: pytest.LogCaptureFixture
) -> None:
    """The asker's node is changed and does not look; the holders' refusals mark the text, which names a person."""
    sql = "SELECT COUNT(*) AS n FROM UNION(patients) WHERE ward = 'Maria Musterfrau' AND nothing = 'Erika Mustermann'"

    async def unchecked(job: UnionJob, text: str, parties: Sequence[Party]) -> UnionPlan:
        return await honest(job, SQL if job.node.name == ASKER else text, parties)

    honest = UnionJob.plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UnionJob, "plan", unchecked)
        with pytest.raises(PrivcomputeError):
            await world.call("query", sql, asker=ASKER)
    said = [record.getMessage() for record in caplog.records if record.name == "privcompute.node"]
    assert any("ended: unknown_column" in line for line in said)
    assert not any("Muster" in line or "nothing" in line for line in said)


@pytest.mark.parametrize(
    "dropped",
    [{"coast": "\x1b[2J"}, {"coast": "two words"}, {"coast": ""}, {"coast": 1}, {"nobody": "late"}, ["coast"]],
)
async def test_a_receiver_keeps_no_strange_words_of_a_collector(world: UnionNodes, dropped: object) -> None:
    class Lies(ChannelWrapper):
        async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
            raw = await super().recv(label, limit, timeout)
            if not label.startswith("negotiate/totals"):
                return raw
            return memoryview(json.dumps({**json.loads(bytes(raw)), "dropped": dropped}).encode())

    world.wrap = lambda party, asker, channel: Lies(channel) if party == "coast" else channel
    await world.call("query", SQL, asker="board", to=("board", "coast", "north"))
    assert len(world.nodes["north"].store.releases.all()) == 1
    assert world.nodes["coast"].store.releases.all() == []
