"""The faces for programs: Node in asyncio and connect() in scripts and notebooks, on a home whose node runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stub_node import Running, running, running_elsewhere

import privcompute as pc
from privcompute.node.home import Home


@pytest.fixture
def elsewhere(home: Home) -> Iterator[Running]:
    """A running node in another thread, for the synchronous face."""
    with running_elsewhere(home) as node:
        yield node


async def test_explain_and_query_through_the_running_node(home: Home) -> None:
    async with running(home) as node, pc.Node.open(home.path) as mine:
        assert mine.running
        plan = await mine.explain("SELECT …", to="bank")
        assert plan.disclosure["hospital"][0].size == 12
        assert plan.cost["seconds"] == 4.0
        news: list[pc.Progress] = []
        release = await mine.query("SELECT …", reveal="matches", progress=news.append)
        assert release.rows == ((7,),)
        assert release.learned == {"hospital": ("n: asked for",)}
        assert release.id == "r1"
        assert news == [pc.Progress("insurer", "align", 1, 2)]
        assert node.calls == [
            {"op": "explain", "sql": "SELECT …", "reveal": None, "to": ["bank"], "union": None},
            {"op": "query", "sql": "SELECT …", "reveal": "matches", "to": [], "union": None},
        ]


async def test_consent_is_asked_with_the_plan(home: Home) -> None:
    seen: list[pc.Explanation] = []

    async def refuse(plan: pc.Explanation) -> bool:
        seen.append(plan)
        return False

    async with running(home), pc.Node.open(home.path) as mine:
        with pytest.raises(pc.ConsentNeeded):
            await mine.query("SELECT …", consent=refuse)
        assert (await mine.query("SELECT …", consent=lambda plan: plan.minimum == 10)).rows == ((7,),)
    assert [plan.plan_digest for plan in seen] == ["d" * 64]


async def test_an_unknown_mode_is_the_callers_error(home: Home) -> None:
    async with running(home) as node, pc.Node.open(home.path) as mine:
        with pytest.raises(pc.UsageError) as error:
            await mine.query("SELECT …", reveal="everything")
        assert error.value.code == "bad_reveal"
        assert node.calls == []


async def test_a_node_that_is_not_open_says_so(home: Home) -> None:
    with pytest.raises(pc.UsageError) as error:
        await pc.Node.open(home.path).explain("SELECT …")
    assert error.value.code == "not_open"


def test_a_missing_home_says_so(tmp_path: Path) -> None:
    with pytest.raises(pc.UsageError) as error:
        pc.connect(tmp_path)
    assert error.value.code == "no_home"
    assert not [thread for thread in threading.enumerate() if thread.name == "privcompute"]


def test_the_synchronous_face(home: Home, elsewhere: Running) -> None:
    with pc.connect(home.path) as node:
        assert node.explain("SELECT …").reveal == "matches"
        assert node.query("SELECT …").to_arrow().to_pylist() == [{"n": 7}]
        with pytest.raises(pc.ConsentNeeded):
            node.query("SELECT …", consent=lambda plan: False)
    node.close()
    with pytest.raises(pc.UsageError) as error:
        node.query("SELECT …")
    assert error.value.code == "not_open"
    assert not [thread for thread in threading.enumerate() if thread.name == "privcompute"]


async def test_the_synchronous_face_inside_a_running_loop(home: Home, elsewhere: Running) -> None:
    """A notebook's cells run in a loop: asyncio.run would raise there."""
    with pc.connect(home.path) as node:
        assert node.query("SELECT …").rows == ((7,),)


def test_closing_the_face_cancels_what_runs(home: Home, elsewhere: Running) -> None:
    node = pc.connect(home.path)
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            node.query("slow")
        except BaseException as error:  # whatever ends it is what the test looks at
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert elsewhere.started.wait(10)
    node.close()
    thread.join(10)
    assert len(ended) == 1
    assert elsewhere.cancelled.wait(10)


def test_every_public_name_is_there() -> None:
    for name in pc.__all__:
        assert getattr(pc, name) is not None
    assert set(pc.__all__) <= set(dir(pc))
    with pytest.raises(AttributeError):
        _ = pc.nothing_of_that_name
