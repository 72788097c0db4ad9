"""A query from question to result: the side that asks, and the side that answers.

ask                                         answer
open links
proposal  ------------------------------>   offer: entries of the datasets that the SQL names
plan, own rules, consent, own rows
agreement ------------------------------>   the same plan, own rules, consent, own rows
          <------------------------------   ready
go        ------------------------------>   (links among the others, if there are more than two)
run_plan  <----------------------------->   run_plan
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from privcompute import query
from privcompute.errors import ConsentNeeded, IntegrityError, PrivcomputeError, TransportError, UsageError
from privcompute.node import negotiation
from privcompute.node.holding import Prepared, check_ledger, prepare, record_in_ledger
from privcompute.node.negotiation import Party, Proposal
from privcompute.psi import PsiLimits
from privcompute.query.named import named_datasets
from privcompute.query.run import Opened, run_plan
from privcompute.randomness import token_bytes
from privcompute.session import Channel, Limits, Progress, Session

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext, Observer
    from privcompute.query import Finished, Plan
    from privcompute.query.disclosure import Learned
    from privcompute.tables import DatasetEntry

SESSION_ID_BYTES = 16
CONSENT_SECONDS = 900.0
"""How long the answering side waits for the person who asks to read the plan."""

Agree = Callable[["Plan"], "bool | Awaitable[bool]"]


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
    """

    plan: Plan
    finished: Finished | None
    learned: Mapping[str, Sequence[Learned]]
    plan_digest: str
    status: str
    rounds: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


@dataclass
class _Job:
    """One query at one party."""

    node: NodeContext
    proposal: Proposal
    channels: dict[str, Channel]
    session_id: bytes
    observer: Observer
    started: float = field(default_factory=time.perf_counter)

    @property
    def timeout(self) -> float:
        return self.node.config.limits.step_seconds

    def plan(self, parties: Sequence[Party]) -> Plan:
        """The plan that everybody derives; checked against the rules of every entry, one's own among them."""
        entries = {f"{e.party}.{e.name}": e for p in parties for e in p.entries}
        made = query.plan(
            self.proposal.sql,
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
        found = await asyncio.to_thread(prepare, self.node, mine)
        await asyncio.to_thread(check_ledger, self.node, plan, mine, found)
        self.observer(Progress(self.node.name, "reading the table", 1, 1))
        return found

    async def run(self, plan: Plan, parties: Sequence[Party], prepared: Prepared | None) -> Outcome:
        """The protocol itself; every party calls it with the same plan."""
        node, digest = self.node, plan.digest()
        limits = node.config.limits
        agreed = negotiation.session_digest(self.proposal, parties, digest)
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
                await asyncio.to_thread(record_in_ledger, node, plan, plan.sides[side], prepared, digest)
                node.store.requests.use(plan.asker, digest)

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
            learned=_learned(plan),
            plan_digest=digest,
            status="suppressed" if opened.suppressed else "done" if receives else "answered",
            rounds=s.meter.rounds,
            bytes_sent=s.meter.bytes_sent,
            bytes_received=s.meter.bytes_received,
            seconds=time.perf_counter() - self.started,
        )

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
        for channel in self.channels.values():
            await channel.abort(told)


def _learned(plan: Plan) -> dict[str, Sequence[Learned]]:
    return dict(plan.disclosure.parties)


def _mine(node: NodeContext, entries: Sequence[DatasetEntry]) -> Party:
    return Party(
        node.name,
        tuple(entries),
        tuple(node.store.ledger.epoch(entry.version) for entry in entries),
        node.identity.fingerprint,
        token_bytes(negotiation.NONCE_BYTES).hex(),
    )


def _offered(node: NodeContext, sql: str, peers: Sequence[str]) -> Party:
    """Entries of own datasets that the SQL names and all ``peers`` may see; none: all of these, for the error."""
    visible = [d for d in node.store.datasets.all() if all(d.open_to(p) for p in peers)]
    named = {name.casefold() for party, name in named_datasets(sql) if party.casefold() == node.name}
    chosen = [d for d in visible if d.name.casefold() in named] or visible
    return _mine(node, [d.entry for d in chosen[: negotiation.MAX_ENTRIES]])


# -- the side that asks -------------------------------------------------------------------------------------------


async def ask(
    node: NodeContext,
    sql: str,
    *,
    reveal: str | None = None,
    to: Sequence[str] = (),
    consent: Agree,
    progress: Observer | None = None,
    explain_only: bool = False,
) -> Outcome:
    """Asks a query.

    Args:
        node: This node.
        sql: The query.
        reveal: The mode, or None for the most private that is built and allowed.
        to: The receivers; default: this node.
        consent: Shown the plan; False ends the query before anything but catalogues was exchanged.
        progress: Told of both parties' progress.
        explain_only: Stop at the plan.

    Raises:
        ConsentNeeded: `consent` said no, or the other owner has not approved yet.
        PrivcomputeError: whatever ends the run, named.
    """
    receivers = tuple(dict.fromkeys(to)) or (node.name,)
    owners = list(dict.fromkeys(party.casefold() for party, _ in named_datasets(sql)))
    if node.name not in owners:
        raise UsageError(
            f"this node is {node.name}, and the query names no dataset of {node.name}",
            code="not_a_holder",
            remedy=f"one of the two tables is {node.name}.DATASET; see `privcompute dataset list`",
        )
    others = [p for p in owners if p != node.name]
    if not explain_only:
        others += [p for p in receivers if p not in owners]
    for party in others:
        if node.store.peers.get(party) is None:
            raise UsageError(
                f"{party} is not a paired peer",
                code="no_peer",
                remedy="`privcompute peers list` lists the peers; pair with `invite` and `join`",
            )
    mine = _offered(node, sql, others)
    proposal = Proposal("explain" if explain_only else "query", node.name, sql, reveal, receivers, mine)
    session_id = token_bytes(SESSION_ID_BYTES)
    job = _Job(node, proposal, {}, session_id, progress or node.observer)
    try:
        for party in others:
            job.channels[party] = await node.endpoint.open_link(party, session_id)
        outcome = await _ask(job, mine, others, consent, explain_only)
    except BaseException as error:
        await job.abort(error)
        raise
    node.store.audit.append("asked", plan_digest=outcome.plan_digest, status=outcome.status, parties=others)
    return outcome


async def _ask(job: _Job, mine: Party, others: Sequence[str], consent: Agree, explain_only: bool) -> Outcome:
    offers = [mine]
    for party in others:
        await negotiation.say(job.channels[party], "proposal", negotiation.proposal_body(job.proposal))
    for party in others:
        offer = await negotiation.hear_offer(job.channels[party], job.timeout)
        _check_fingerprint(job.node, offer)
        offers.append(offer)
    plan = job.plan(offers)
    if explain_only:
        for channel in job.channels.values():
            await channel.close()
        return Outcome(plan, None, _learned(plan), plan.digest(), "explained")
    answer = consent(plan)
    if not (await answer if inspect.isawaitable(answer) else answer):
        raise ConsentNeeded("the plan was not agreed to", code="declined", party=job.node.name)
    digest = plan.digest()
    for party in others:
        await negotiation.say(job.channels[party], "agreement", {"parties": [o.to_object() for o in offers]})
    prepared = await job.prepared(plan)  # while the others do the same
    for party in others:
        theirs = await negotiation.hear_ready(job.channels[party], job.node.config.limits.run_seconds)
        if theirs != digest:
            raise _mismatch(party)
    if len(others) > 1:
        for party in others:
            await negotiation.say(job.channels[party], "go", {})
    return await job.run(plan, offers, prepared)


def _mismatch(party: str) -> IntegrityError:
    return IntegrityError(
        "the parties derived different plans",
        code="plan_mismatch",
        party=party,
        remedy="bring both nodes to the same release of privcompute, then ask again",
    )


def _check_fingerprint(node: NodeContext, party: Party) -> None:
    """The certificate a party says it uses is one that is pinned for it here."""
    peer = node.store.peers.get(party.name)
    if peer is None or party.fingerprint not in peer.fingerprints:
        raise IntegrityError(
            "a party names another certificate than the one pinned for it here",
            code="fingerprint",
            party=party.name,
            remedy="compare fingerprints (`privcompute peers list` on both sides); pair again if one was renewed",
        )


# -- the side that answers ----------------------------------------------------------------------------------------


async def answer(node: NodeContext, peer: str, session_id: bytes, channel: Channel) -> None:
    """Answers one link that a peer opened; ends when the run has ended.

    Raises:
        PrivcomputeError: whatever ended the run; the peer has been told.
    """
    try:
        proposal = await negotiation.hear_proposal(channel, node.config.limits.step_seconds)
    except PrivcomputeError as error:
        await channel.abort(error)
        raise
    job = _Job(node, proposal, {peer: channel}, session_id, node.observer)
    try:
        outcome = await _answer(job, peer)
    except BaseException as error:
        await job.abort(error)
        raise
    if outcome is None:
        return
    node.store.audit.append("answered", peer=peer, plan_digest=outcome.plan_digest, status=outcome.status)
    if outcome.finished is not None:
        from privcompute.node import payload  # deferred: payload needs Outcome

        body = payload.outcome_to_json(outcome)
        node.store.releases.add(peer, outcome.plan.sql, outcome.plan_digest, body)


async def _answer(job: _Job, peer: str) -> Outcome | None:
    node, channel = job.node, job.channels[peer]
    _check_fingerprint(node, job.proposal.party)
    mine = _offered(node, job.proposal.sql, [peer])
    await negotiation.say(channel, "offer", {"party": mine.to_object()})
    try:
        parties = await negotiation.hear_agreement(channel, max(job.timeout, CONSENT_SECONDS))
    except TransportError as error:
        if error.code == "closed":
            return None  # an explanation ends here, and so does a question that was thought better of
        raise
    _check_own_part(job, peer, parties, mine)
    plan = job.plan(parties)
    digest = plan.digest()
    _check_roles(node, plan, parties)
    side = plan.side_of(node.name)
    if side is not None:
        dataset = node.store.datasets.get(plan.sides[side].dataset)
        if dataset.entry.consent == "manual":
            await _manual_consent(node, peer, plan, digest)
    prepared = await job.prepared(plan)
    async with _links_among_others(job, peer, parties) as connect:
        await negotiation.say(channel, "ready", {"plan_digest": digest})
        if len(parties) > 2:
            await negotiation.hear(channel, "go", (), node.config.limits.run_seconds)
            await connect()
    return await job.run(plan, parties, prepared)


def _check_own_part(job: _Job, peer: str, parties: Sequence[Party], mine: Party) -> None:
    """What the asker says everybody brought holds what this node brought, and what the asker brought at first."""
    by_name = {p.name: p for p in parties}
    if by_name.get(job.node.name) != mine or by_name.get(peer) != job.proposal.party:
        raise negotiation.malformed(peer, "agreement")
    for party in parties:
        if party.name not in (peer, job.node.name):
            _check_fingerprint(job.node, party)


def _check_roles(node: NodeContext, plan: Plan, parties: Sequence[Party]) -> None:
    """Exactly the holders and the receivers take part, and a third party may see this node's entry."""
    expected = {side.party for side in plan.sides} | set(plan.receivers) | {plan.asker}
    if {p.name for p in parties} != expected:
        raise negotiation.malformed(plan.asker, "agreement")
    side = plan.side_of(node.name)
    if side is None:
        return
    dataset = node.store.datasets.get(plan.sides[side].dataset)
    for party in expected - {node.name}:
        if not dataset.open_to(party):
            raise UsageError(
                f"the owner of {dataset.name} does not share it with {party}",
                code="not_shared",
                party=node.name,
                remedy=f"{node.name} may run `privcompute dataset edit {dataset.name} --with {party}`",
            )


async def _manual_consent(node: NodeContext, peer: str, plan: Plan, digest: str) -> None:
    from privcompute.node import payload  # deferred: payload needs Outcome

    if node.store.requests.approved(peer, digest):
        return
    body = payload.plan_to_json(plan, node)
    request = await asyncio.to_thread(node.store.requests.submit, peer, digest, plan.sql, body)
    refused = request.state == "refused"
    raise ConsentNeeded(
        f"the owner of {node.name} {'refused this query' if refused else 'has not approved this query yet'}",
        code="refused" if refused else "awaiting_consent",
        party=node.name,
        remedy="ask the owner"
        if refused
        else f"{node.name} runs `privcompute approve {request.id}`; then ask the same query again",
    )


@asynccontextmanager
async def _links_among_others(
    job: _Job, asker: str, parties: Sequence[Party]
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Links among the parties that did not ask: the one earlier in the alphabet opens.

    Those that will come are expected from the beginning, so that none is taken for a new question; the links are made
    when the yielded function is called, once the asker has said that all are ready.
    """
    me, endpoint = job.node.name, job.node.endpoint
    others = sorted(p.name for p in parties if p.name not in (me, asker))
    seconds = job.node.config.limits.run_seconds
    coming = {
        name: asyncio.create_task(endpoint.accept_link(name, job.session_id, seconds)) for name in others if name < me
    }
    await asyncio.sleep(0)  # the tasks begin, and with that expect their links

    async def connect() -> None:
        for name in others:
            if name > me:
                job.channels[name] = await endpoint.open_link(name, job.session_id)
        for name, link in coming.items():
            done, _ = await asyncio.wait({link}, timeout=job.timeout)
            if not done:
                raise TransportError(
                    f"{name} did not open its link in time",
                    code="unreachable",
                    party=name,
                    remedy=f"check the network from {name} to {me} (privcompute doctor there)",
                )
            job.channels[name] = link.result()

    try:
        yield connect
    finally:
        for link in coming.values():
            link.cancel()
