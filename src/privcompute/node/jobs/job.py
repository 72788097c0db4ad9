"""One query at one party: what asking and answering share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from privcompute import query
from privcompute.errors import IntegrityError, PeerError, PrivcomputeError, TransportError
from privcompute.node import negotiation
from privcompute.node.grading import published
from privcompute.node.holding import Prepared, check_ledger, prepare, record_in_ledger
from privcompute.node.jobs.consent import spend_approval
from privcompute.node.jobs.reading import while_all_are_there
from privcompute.node.negotiation import Party, Proposal
from privcompute.psi import PsiLimits
from privcompute.query.run import Opened, run_plan
from privcompute.randomness import token_bytes
from privcompute.session import Channel, Limits, Progress, Session

if TYPE_CHECKING:
    from privcompute.node.catalogue import Dataset
    from privcompute.node.context import NodeContext, Observer
    from privcompute.query import Finished, Plan
    from privcompute.query.disclosure import Learned
    from privcompute.query.union import UnionPlan


@dataclass(frozen=True)
class Outcome:
    """How a query ended at this party.

    Attributes:
        plan: What ran, or would run.
        finished: The result, if this party is a receiver and the query ran.
        learned: By party, what the plan declares.
        rounds: The longest chain of dependent messages.
        bytes_sent: By this party, in messages of the run.
        bytes_received: Likewise.
        seconds: From the question to the result, consent included.
        plan_digest: Of the plan, hexadecimal.
        status: "explained", "done", "suppressed", or "answered" (this party receives nothing).
        holders: Of a union: whose rows are in the result.
        dropped: Of a union: who was asked and is not in it, or left before the end, with the reason's code.
    """

    plan: Plan | UnionPlan
    finished: Finished | None
    learned: Mapping[str, Sequence[Learned]]
    plan_digest: str
    status: str
    rounds: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    holders: Sequence[str] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)


@dataclass(repr=False)
class Links:
    """One question at one party: whose it is, and the links to the others."""

    node: NodeContext
    proposal: Proposal
    channels: dict[str, Channel]
    session_id: bytes
    observer: Observer
    started: float = field(default_factory=time.perf_counter)

    @property
    def timeout(self) -> float:
        """Seconds that a step may take."""
        return self.node.config.limits.step_seconds

    async def leave(self) -> None:
        """Ends the links without a word on why: the question was explained, refused or thought better of."""
        for channel in self.channels.values():
            await channel.close()

    async def abort(self, error: BaseException) -> None:
        """Tells every other party that this run is over."""
        told = (
            error
            if isinstance(error, PrivcomputeError)
            else TransportError("the run was cancelled", code="cancelled", party=self.node.name)
            if isinstance(error, asyncio.CancelledError)
            else TransportError(
                "the party failed", code="internal", party=self.node.name, remedy="see that party's log"
            )
        )
        if told.party is None:
            told.party = self.node.name
        for party, channel in self.channels.items():
            await channel.abort(_as_told_to(party, told, self.node.name))


@dataclass(repr=False)
class Job(Links):
    """One question over a join, at one party."""

    async def plan(self, sql: str, parties: Sequence[Party]) -> Plan:
        """The plan that everybody derives; checked against the rules of every entry, one's own among them.

        In a thread: a question as long as allowed takes a second, in which other runs go on.
        """
        return await asyncio.to_thread(self._plan, sql, parties)

    def _plan(self, sql: str, parties: Sequence[Party]) -> Plan:
        entries = {f"{e.party}.{e.name}": e for p in parties for e in p.entries}
        made = query.plan(
            sql,
            entries,
            asker=self.proposal.asker,
            receivers=self.proposal.receivers,
            reveal=self.proposal.reveal,
        )
        query.check_rules(made, entries)
        return made

    async def prepared(self, plan: Plan) -> Prepared | None:
        """This holder's rows for the plan, and the ledger's word; None for a party without data."""
        side = plan.side_of(self.node.name)
        if side is None:
            return None
        mine = plan.sides[side]
        self.observer(Progress(self.node.name, "reading the table", 0, 1))
        seconds = self.node.config.limits.table_seconds
        found = await while_all_are_there(self.channels.values(), seconds, lambda: prepare(self.node, mine))
        await asyncio.to_thread(check_ledger, self.node, plan, mine, found, plan.digest())
        self.observer(Progress(self.node.name, "reading the table", 1, 1))
        return found

    async def run(self, sql: str, plan: Plan, parties: Sequence[Party], prepared: Prepared | None) -> Outcome:
        """The protocol itself; every party calls it with the same plan."""
        node, digest = self.node, plan.digest()
        limits = node.config.limits
        agreed = negotiation.session_digest(self.proposal, sql, parties, digest)
        s = Session(
            node.name,
            self.channels,
            id=agreed,
            parties=sorted(p.name for p in parties),
            limits=Limits(limits.step_seconds, limits.run_seconds),
            observer=self.observer,
        )

        async def commit() -> None:
            side = plan.side_of(node.name)
            if side is not None and prepared is not None:
                spend_approval(node, plan.asker, plan.sides[side].dataset, digest)
                await asyncio.to_thread(record_in_ledger, node, plan, plan.sides[side], prepared, digest)

        opened = await run_plan(
            s,
            plan,
            agreed,
            prepared.holding if prepared is not None else None,
            commit=commit,
            limits=PsiLimits(max_items=limits.keys, max_ratio=limits.key_ratio),
        )
        await s.close()
        return self._outcome(plan, digest, opened, s)

    def _outcome(self, plan: Plan, digest: str, opened: Opened, s: Session) -> Outcome:
        receives = self.node.name in plan.receivers
        finished = query.finish(plan, None if opened.suppressed else opened.values) if receives else None
        return Outcome(
            plan=plan,
            finished=finished,
            learned=learned_of(plan),
            plan_digest=digest,
            status="suppressed" if opened.suppressed else "done" if receives else "answered",
            rounds=s.meter.rounds,
            bytes_sent=s.meter.bytes_sent,
            bytes_received=s.meter.bytes_received,
            seconds=time.perf_counter() - self.started,
        )


def _as_told_to(party: str, error: PrivcomputeError, me: str) -> PrivcomputeError:
    """The error as a party hears it: if it is about that party's silence or messages, it comes from here."""
    if error.party != party or not isinstance(error, PeerError | TransportError):
        return error
    text = f"{me} says of {party}: {error.message}"
    return type(error)(text, code=error.code, remedy=error.remedy, party=me, stage=error.stage)


def learned_of(plan: Plan) -> dict[str, Sequence[Learned]]:
    return dict(plan.disclosure.parties)


def part(node: NodeContext, datasets: Sequence[Dataset], others: Iterable[str]) -> Party:
    """What this node brings: the entries of these datasets, with what their grades ask for if ``others`` take part."""
    entries = [published(node.config, one, others) for one in datasets]
    return Party(
        node.name,
        tuple(entries),
        tuple(node.store.ledger.epoch(entry.version) for entry in entries),
        node.identity.fingerprint,
        token_bytes(negotiation.NONCE_BYTES).hex(),
    )


def offered(node: NodeContext, names: Sequence[str], peers: Sequence[str], to: Sequence[str] = ()) -> Party:
    """Entries of the named own datasets that all ``peers`` may see; none: all of these, for the error.

    Args:
        node: This node.
        names: The datasets.
        peers: Who sees the entries.
        to: Who receives the result.
    """
    visible = [d for d in node.store.datasets.all() if all(d.open_to(p) for p in peers)]
    named = {name.casefold() for name in names}
    chosen = [d for d in visible if d.name.casefold() in named] or visible
    return part(node, chosen[: negotiation.MAX_ENTRIES], (*peers, *to))


def check_fingerprint(node: NodeContext, party: Party) -> None:
    """The certificate a party says it uses is one that is pinned for it here.

    Raises:
        PeerError: ``not_paired``.
        IntegrityError: ``fingerprint``.
    """
    peer = node.store.peers.get(party.name)
    if peer is None:
        raise PeerError(
            f"{party.name} is not paired with {node.name}",
            code="not_paired",
            party=node.name,
            remedy=f"pair {party.name} and {node.name} with `invite` and `join`: all parties of a query are paired",
        )
    if party.fingerprint not in peer.fingerprints:
        raise IntegrityError(
            "a party names another certificate than the one pinned for it here",
            code="fingerprint",
            party=party.name,
            remedy="compare fingerprints (`privcompute peers list` on both sides); pair again if one was renewed",
        )
