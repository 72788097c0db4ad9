"""The socket between the running node and the commands of the same user."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from privcompute.errors import PrivacyError, TransportError
from privcompute.node.local_socket import Consent, SocketServer, Watcher, call, connected


class Node:
    """An operation that does what the call says, and remembers how it ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, body: dict[str, Any], consent: Consent, watch: Watcher) -> Any:
        self.started.set()
        try:
            match body["op"]:
                case "echo":
                    return body["value"]
                case "refuse":
                    raise PrivacyError(
                        "no", code="differencing", remedy="ask otherwise", party="hospital", stage="agree"
                    )
                case "ask":
                    watch({"party": "a", "stage": "align", "done": 1, "total": 2})
                    agreed = consent({"plan_digest": "d"})
                    return {"agreed": agreed if isinstance(agreed, bool) else await agreed}
                case "wait":
                    await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.sock"


async def test_a_result_crosses_whatever_its_size(path: Path) -> None:
    server = SocketServer(path, Node())
    await server.start()
    value = {"rows": [["x" * 1000, 1, None]] * 1000}
    assert await call(path, {"op": "echo", "value": value}) == value
    await server.stop()
    assert path.name not in os.listdir(path.parent)


async def test_the_socket_is_owner_only(path: Path) -> None:
    server = SocketServer(path, Node())
    await server.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    await server.stop()


async def test_an_error_keeps_its_class_and_fields(path: Path) -> None:
    server = SocketServer(path, Node())
    await server.start()
    with pytest.raises(PrivacyError) as error:
        await call(path, {"op": "refuse"})
    assert error.value.to_json() == {
        "code": "differencing",
        "message": "no",
        "party": "hospital",
        "stage": "agree",
        "remedy": "ask otherwise",
    }
    assert error.value.exit_status == 5
    await server.stop()


@pytest.mark.parametrize("answer", [True, False])
async def test_consent_and_progress_reach_the_caller(path: Path, answer: bool) -> None:
    server = SocketServer(path, Node())
    await server.start()
    plans: list[dict[str, Any]] = []
    news: list[dict[str, Any]] = []

    async def consent(plan: dict[str, Any]) -> bool:
        plans.append(plan)
        return answer

    result = await call(path, {"op": "ask"}, consent=consent, watch=news.append)
    assert result == {"agreed": answer}
    assert plans == [{"plan_digest": "d"}]
    assert news == [{"party": "a", "stage": "align", "done": 1, "total": 2}]
    await server.stop()


async def test_without_a_consent_function_nothing_is_agreed(path: Path) -> None:
    server = SocketServer(path, Node())
    await server.start()
    assert await call(path, {"op": "ask"}) == {"agreed": False}
    await server.stop()


async def test_a_caller_that_hangs_up_cancels_its_operation(path: Path) -> None:
    node = Node()
    server = SocketServer(path, node)
    await server.start()
    task = asyncio.create_task(call(path, {"op": "wait"}))
    await asyncio.wait_for(node.started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(node.cancelled.wait(), 5)
    await server.stop()


async def test_stopping_the_node_ends_a_waiting_call_by_name(path: Path) -> None:
    node = Node()
    server = SocketServer(path, node)
    await server.start()
    task = asyncio.create_task(call(path, {"op": "wait"}))
    await asyncio.wait_for(node.started.wait(), 5)
    await server.stop()
    with pytest.raises(TransportError) as error:
        await asyncio.wait_for(task, 5)
    assert error.value.code == "node_gone"


async def test_no_node_and_a_dead_nodes_socket_are_alike(path: Path) -> None:
    for dead in (False, True):
        if dead:
            left = socket.socket(socket.AF_UNIX)
            left.bind(str(path))
            left.close()  # bound, never unlinked: what kill -9 leaves
            assert path.name in os.listdir(path.parent)
        async with connected(path) as link:
            assert link is None
        with pytest.raises(TransportError) as error:
            await call(path, {"op": "status"})
        assert error.value.code == "not_running"
    server = SocketServer(path, Node())
    await server.start()
    assert await call(path, {"op": "echo", "value": 1}) == 1
    await server.stop()


@pytest.mark.parametrize("garbage", [b"\n", b"no json\n", b"[1]\n", b"\xff\xfe\n", b'{"op"'])
async def test_garbage_ends_that_connection_only(path: Path, garbage: bytes) -> None:
    server = SocketServer(path, Node())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(garbage)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()
    assert await call(path, {"op": "echo", "value": 1}) == 1
    await server.stop()


async def test_a_result_is_one_json_line(path: Path) -> None:
    server = SocketServer(path, Node())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"op": "echo", "value": "a\\nb"}\n')
    line = await asyncio.wait_for(reader.readline(), 5)
    assert json.loads(line) == {"event": "done", "result": "a\nb"}
    writer.close()
    await writer.wait_closed()
    await server.stop()
