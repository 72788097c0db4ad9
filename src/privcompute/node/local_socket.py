"""The Unix socket between a home's running node and the commands of the same user: JSON lines, owner-only.

A call is one line `{"op": …, …}`. The node answers with lines that carry an `event`:

    plan      the plan, when the operation needs consent; the caller answers `{"consent": true | false}`
    progress  party, stage, done, total
    done      `result`, the last line
    failed    `error`, the last line

A caller that hangs up cancels its operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from privcompute.errors import IntegrityError, PrivcomputeError, TransportError, class_named

LINE_LIMIT = 64 << 20  # a result of many rows is one line

Consent: TypeAlias = Callable[[dict[str, Any]], bool | Awaitable[bool]]
Watcher: TypeAlias = Callable[[dict[str, Any]], None]
Operation: TypeAlias = Callable[[dict[str, Any], Consent, Watcher], Awaitable[Any]]
"""operation(call, consent, watcher) -> result; both callables reach the caller at the other end."""


def error_to_wire(error: PrivcomputeError) -> dict[str, Any]:
    """An error as JSON, with the name of its class."""
    return {**error.to_json(), "class": type(error).__name__}


def error_from_wire(body: Mapping[str, Any]) -> PrivcomputeError:
    """The error that `error_to_wire` described."""
    kind = class_named(str(body.get("class")))
    return kind(
        str(body.get("message")),
        code=str(body.get("code")),
        remedy=str(body.get("remedy") or ""),
        party=body.get("party"),
        stage=body.get("stage"),
    )


class SocketServer:
    """Serves operations on the home's socket for as long as the node runs."""

    def __init__(self, path: Path, operation: Operation) -> None:
        self._path = path
        self._operation = operation
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind the socket, owner-only. The caller holds the home's lock, so that an existing socket is a dead one's.

        Raises:
            TransportError: the socket cannot be made.
        """
        try:
            if not self._path.parent.exists():
                self._path.parent.mkdir(mode=0o700)
            _own_directory(self._path.parent)
            self._path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._serve, path=str(self._path), limit=LINE_LIMIT)
            finally:
                os.umask(before)
        except OSError as error:
            raise TransportError(
                f"cannot make the node's socket {self._path}: {error.strerror}",
                code="socket",
                remedy="choose a home on a local file system with --home",
            ) from None

    async def stop(self) -> None:
        """Cancel the running operations and remove the socket."""
        if self._server is not None:
            self._server.close()
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of start_unix_server runs in a task
        self._calls.add(task)
        try:
            if _same_user(writer.get_extra_info("socket")):
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._calls.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = await _read(reader)
        if call is None:
            return
        answers: asyncio.Queue[bool] = asyncio.Queue()

        async def consent(plan: dict[str, Any]) -> bool:
            _write(writer, {"event": "plan", "plan": plan})
            return await answers.get()

        def watch(progress: dict[str, Any]) -> None:
            # News are dropped rather than queued when the caller does not read.
            if writer.transport.get_write_buffer_size() < LINE_LIMIT // 64:
                _write(writer, {"event": "progress", **progress})

        work = asyncio.ensure_future(self._operation(call, consent, watch))
        listener = asyncio.ensure_future(_listen(reader, answers))
        try:
            await asyncio.wait((work, listener), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():  # the caller hung up
                return
            try:
                _write(writer, {"event": "done", "result": work.result()})
            except PrivcomputeError as error:
                _write(writer, {"event": "failed", "error": error_to_wire(error)})
            await writer.drain()
        finally:
            for task in (work, listener):
                task.cancel()
            await asyncio.gather(work, listener, return_exceptions=True)


async def _listen(reader: asyncio.StreamReader, answers: asyncio.Queue[bool]) -> None:
    while (line := await _read(reader)) is not None:
        answers.put_nowait(line.get("consent") is True)


async def _read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        line = await reader.readline()
        body = json.loads(line) if line else None
    except (ValueError, ConnectionError):
        return None
    return body if isinstance(body, dict) else None


def _write(writer: asyncio.StreamWriter, body: Mapping[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(body, allow_nan=False).encode() + b"\n")


def _own_directory(path: Path) -> None:
    """A socket outside the home lies in a directory that no other user may prepare."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise IntegrityError(
            f"{path} belongs to someone else", code="socket_directory", remedy="choose a shorter path with --home"
        )


def _same_user(link: socket.socket) -> bool:
    """Whether the process at the other end runs as this user (the mode of the socket says so too)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(user == os.getuid())


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
    """A connection to the node that runs in this home, or None when none does (a dead one's socket counts as none)."""
    try:
        link = await asyncio.open_unix_connection(str(path), limit=LINE_LIMIT)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        link = None
    except PermissionError:
        raise TransportError(
            f"the node behind {path} belongs to another user", code="socket", remedy="run the command as that user"
        ) from None
    try:
        yield link
    finally:
        if link is not None:
            link[1].close()
            with contextlib.suppress(ConnectionError):
                await link[1].wait_closed()


async def call(
    path: Path, body: Mapping[str, Any], *, consent: Consent | None = None, watch: Watcher | None = None
) -> Any:
    """Ask the running node to do an operation; cancelling this cancels the operation.

    Raises:
        PrivcomputeError: what the operation raised.
        TransportError: no node runs here (code `not_running`), or it went away.
    """
    async with connected(path) as link:
        if link is None:
            raise TransportError("no node runs in this home", code="not_running", remedy="run `privcompute serve`")
        reader, writer = link
        _write(writer, body)
        while (event := await _read(reader)) is not None:
            kind = event.get("event")
            if kind == "done":
                return event.get("result")
            if kind == "failed":
                raise error_from_wire(event.get("error") or {})
            if kind == "progress" and watch is not None:
                watch({key: value for key, value in event.items() if key != "event"})
            if kind == "plan":
                agreed = consent(event.get("plan") or {}) if consent is not None else False
                _write(writer, {"consent": agreed if isinstance(agreed, bool) else await agreed})
        raise TransportError(
            "the running node went away", code="node_gone", remedy="start it again with `privcompute serve`"
        )
