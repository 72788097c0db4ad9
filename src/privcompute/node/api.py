"""The node for programs: `Node` in asyncio, `connect` for scripts and notebooks.

Both use the home's running node where there is one, as the commands do, and otherwise are the node while they are open.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from privcompute.errors import UsageError
from privcompute.node import local_socket
from privcompute.node.home import Home
from privcompute.node.result import Explanation, QueryRelease
from privcompute.session import Progress

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext

P = ParamSpec("P")
T = TypeVar("T")

Ask = Callable[[Explanation], bool | Awaitable[bool]]


class Node:
    """A data holder's node, for asking questions. Open it with `async with Node.open(home) as node`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._context: NodeContext | None = None
        self._stack = AsyncExitStack()
        self._entered = False

    @classmethod
    def open(cls, home: str | os.PathLike[str] | None = None) -> Node:
        """The node whose home that is (default: $PRIVCOMPUTE_HOME, else `.privcompute`)."""
        return cls(Home.resolve(home))

    async def __aenter__(self) -> Node:
        """Find the running node, or open it here.

        Raises:
            UsageError: no node in that home, or a field of its configuration is wrong.
        """
        self._home.require()
        async with local_socket.connected(self._home.socket) as link:
            running = link is not None
        if not running:
            from privcompute.node.opened import opened

            self._context = await self._stack.enter_async_context(opened(self._home))
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened here; a running node runs on."""
        self._entered = False
        await self._stack.aclose()

    @property
    def running(self) -> bool:
        """Whether another process runs this node and does the work."""
        return self._entered and self._context is None

    async def explain(
        self,
        sql: str,
        *,
        reveal: str | None = None,
        to: Iterable[str] = (),
        scheme: str | None = None,
        key_holder: str | None = None,
        quorum: int | None = None,
    ) -> Explanation:
        """Plan, cost and disclosure of a query; asks the peer for its catalogue and computes nothing.

        Args:
            sql: The query.
            reveal: "nothing", "size" or "matches"; default: the most private that is built and that both owners allow.
            to: The parties that receive the result; default: this one.
            scheme: Of a union: "masks" or "paillier"; default: the planner's choice.
            key_holder: Of a union by Paillier: who holds the key.
            quorum: Of a union: the fewest holders with which it may finish; default: two thirds of them and one more.

        Raises:
            UsageError: the SQL is outside the subset, or a number may overflow.
            PrivacyError: an owner's rule forbids it.
            TransportError: the peer cannot be reached.
        """
        body = await self._perform(
            _call("explain", sql, reveal, to, scheme, key_holder, quorum), _agree, _watcher(None)
        )
        return Explanation.from_json(body)

    async def query(
        self,
        sql: str,
        *,
        reveal: str | None = None,
        to: Iterable[str] = (),
        scheme: str | None = None,
        key_holder: str | None = None,
        quorum: int | None = None,
        consent: Ask | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> QueryRelease:
        """Run a query. Calling it is this side's consent to the plan; `consent` looks at the plan first.

        Args:
            sql: The query.
            reveal: As for `explain`.
            to: As for `explain`.
            scheme: As for `explain`.
            key_holder: As for `explain`.
            quorum: As for `explain`.
            consent: Shown the plan before anything is computed; False ends the query.
            progress: Told of the progress of both parties; must return at once.

        Raises:
            ConsentNeeded: `consent` said no, or the peer's owner has to approve first.
            PrivcomputeError: as `explain`, and whatever ends a run.
        """

        async def agree(plan: dict[str, Any]) -> bool:
            if consent is None:
                return True
            answer = consent(Explanation.from_json(plan))
            return answer if isinstance(answer, bool) else await answer

        body = await self._perform(
            _call("query", sql, reveal, to, scheme, key_holder, quorum), agree, _watcher(progress)
        )
        return QueryRelease.from_json(body)

    async def release(
        self,
        dataset: str,
        *,
        to: str,
        policy: str | os.PathLike[str],
        purpose: str = "research",
        keys: str | os.PathLike[str] | None = None,
        despite_earlier: bool = False,
        consent: Callable[[dict[str, Any]], bool | Awaitable[bool]] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> dict[str, Any]:
        """Deliver a table of this node, made fit to leave by a policy, to a paired peer.

        Args:
            dataset: Its name.
            to: The peer.
            policy: File of the policy, as of `privcompute anonymize` or `privcompute desensitize`.
            purpose: "joint-statistics", "research", "operations" or "development".
            keys: File of keys that the policy names; default: the home's.
            despite_earlier: Whether an earlier release of the same rows is no hindrance.
            consent: Shown what would leave; False ends it. Default: calling this is consent.
            progress: Told of progress; must return at once.

        Returns:
            What left, why it might, the policy's whole report, and the peer's receipt.

        Raises:
            ConsentNeeded: `consent` said no, or the peer's owner has to accept the table first.
            PrivacyError: a grade, or an earlier release, forbids it.
            PrivcomputeError: whatever else ends it.
        """
        call = {
            "op": "release",
            "dataset": dataset,
            "to": to,
            "policy": _place(policy),
            "purpose": purpose,
            "keys": None if keys is None else _place(keys),
            "despite_earlier": despite_earlier,
        }

        return await self._perform(call, consent or _agree, _watcher(progress))

    async def _perform(
        self, call: dict[str, Any], consent: local_socket.Consent, watch: local_socket.Watcher
    ) -> dict[str, Any]:
        if not self._entered:
            raise UsageError(
                "the node is not open", code="not_open", remedy="write: async with Node.open(home) as node"
            )
        if self._context is None:
            found = await local_socket.call(self._home.socket, call, consent=consent, watch=watch)
        else:
            from privcompute.node import operations

            found = await operations.perform(self._context, call, consent, watch)
        return dict(found)


def _call(
    op: str,
    sql: str,
    reveal: str | None,
    to: Iterable[str],
    scheme: str | None,
    key_holder: str | None,
    quorum: int | None,
) -> dict[str, Any]:
    if reveal not in (None, "nothing", "size", "matches"):
        raise UsageError(
            f"reveal={reveal!r} is no mode", code="bad_reveal", remedy="one of 'nothing', 'size' and 'matches', or None"
        )
    union = {"scheme": scheme, "key_holder": key_holder, "quorum": quorum}
    return {
        "op": op,
        "sql": sql,
        "reveal": reveal,
        "to": [to] if isinstance(to, str) else list(to),
        "union": union if any(wish is not None for wish in union.values()) else None,
    }


def _place(path: str | os.PathLike[str]) -> str:
    """A path as a node finds it that runs elsewhere."""
    return str(Path(path).expanduser().absolute())


def _agree(_: dict[str, Any]) -> bool:
    return True


def _watcher(progress: Callable[[Progress], None] | None) -> local_socket.Watcher:
    """What the socket tells, as `Progress`."""

    def watch(news: Mapping[str, Any]) -> None:
        if progress is not None:
            progress(Progress(news["party"], news["stage"], news["done"], news["total"]))

    return watch


def _waiting(asked: Callable[Concatenate[Node, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Connection, P], T]:
    """A method of `Node` as one of `Connection`, with its arguments, text and result, that waits for it."""

    @functools.wraps(asked)
    def wait(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(asked(self._node, *args, **kwargs))

    return wait


class Connection:
    """The synchronous face of a node. It has a loop of its own, so it works where one runs already (a notebook).

    `explain`, `query` and `release` are those of `Node`. Ctrl-C ends them on both sides; the same `release` later
    continues. What they call, `consent` and `progress`, is called in another thread.
    """

    def __init__(self, home: str | os.PathLike[str] | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="privcompute", daemon=True)
        self._thread.start()
        self._node = Node.open(home)
        try:
            self._wait(self._node.__aenter__())
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Connection:
        """This connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    explain = _waiting(Node.explain)
    query = _waiting(Node.query)
    release = _waiting(Node.release)

    def close(self) -> None:
        """Close the node if it was opened here. Closing twice does nothing."""
        if self._loop.is_closed():
            return
        try:
            self._wait(self._node.__aexit__(None, None, None))
        finally:
            self._stop()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise UsageError("this connection is closed", code="not_open", remedy="connect again")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def _stop(self) -> None:
        async def drain() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(drain(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect(home: str | Path | None = None) -> Connection:
    """Open a node for a script or a notebook: `privcompute.connect("insurer/").query(sql)`."""
    return Connection(home)
