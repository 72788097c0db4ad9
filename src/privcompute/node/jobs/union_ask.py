"""The side that asks a question over a union: it collects, and may be a holder too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from privcompute.errors import (
    PeerError,
    PrivcomputeError,
    TransportError,
    UsageError,
)
from privcompute.node import negotiation
from privcompute.node.jobs.alive import signs_of_life
from privcompute.node.jobs.consent import Agree, person_agrees
from privcompute.node.jobs.job import Outcome, check_fingerprint
from privcompute.node.jobs.union import UnionJob, offered_to_union, totals_to_json
from privcompute.node.negotiation import Job, Party, Proposal, UnionWish
from privcompute.query.named import NamedUnion
from privcompute.query.union import Decision
from privcompute.randomness import token_bytes
from privcompute.session import Session, local_pair
from privcompute.union.stages import collector_name

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext, Observer
    from privcompute.node.signing import UnionIdentity
    from privcompute.node.union_rows import UnionRows
    from privcompute.query import Plan
    from privcompute.query.union import UnionPlan
    from privcompute.union.job import Receipt, SumJob, Totals

SESSION_ID_BYTES: Final = 16
ATTEMPTS: Final = 3
"""How often the holders that are left begin anew when too few were left to finish."""
GONE: Final = (TransportError, PeerError)
"""Errors with which a holder is gone, and the question goes on with the others."""


async def ask_union(
    node: NodeContext,
    sql: str,
    named: NamedUnion,
    wish: UnionWish,
    *,
    to: Sequence[str] = (),
    consent: Agree,
    progress: Observer | None = None,
    explain_only: bool = False,
) -> Outcome:
    """Asks a question over a union.

    Args:
        node: This node; the collector of the sums.
        sql: The query.
        named: The datasets that it names.
        wish: Scheme, key holder and quorum.
        to: The receivers besides the collector, who learns the sums in any case; default: none.
        consent: Shown the plan; False ends the query before anything but catalogues was exchanged.
        progress: Told of everybody's progress.
        explain_only: Stop at the plan.

    Raises:
        ConsentNeeded: `consent` said no, or an owner has not approved yet.
        PrivcomputeError: whatever ends the run, named.
    """
    asked = _asked(node, named)
    question = _Question(sql, named, wish, tuple(dict.fromkeys(to)) or (node.name,), explain_only)
    for party in (*asked, *question.others(node, asked)):
        if node.store.peers.get(party) is None:
            raise UsageError(
                f"{party} is not a paired peer",
                code="no_peer",
                remedy="`privcompute peers list` lists the peers; pair with `invite` and `join`, or by cards",
            )
    asked_consent, dropped = consent, dict[str, str]()
    for attempt in range(ATTEMPTS):
        job = _job(node, question, asked, progress or node.observer)
        try:
            outcome = await _ask(job, question, asked, consent)
            break
        except _Again as again:
            # Nothing was released: those who are left begin anew, with fresh keys, as the agreed quorum permits.
            await job.abort(again.error)
            dropped |= again.dropped
            asked = {party: dataset for party, dataset in asked.items() if party not in again.dropped}
            question = replace(question, wish=replace(wish, quorum=again.plan.quorum))
            if attempt == ATTEMPTS - 1 or named.parties or not again.enough:
                raise again.error from None
            consent = _as_agreed(again.plan, asked_consent)
        except BaseException as error:
            await job.abort(error)
            raise
    node.store.audit.append(
        "asked", plan_digest=outcome.plan_digest, status=outcome.status, parties=sorted(job.channels)
    )
    return replace(outcome, dropped={**dropped, **outcome.dropped})


@dataclass(frozen=True)
class _Question:
    """What is asked, the same in every attempt."""

    sql: str
    named: NamedUnion
    wish: UnionWish
    receivers: tuple[str, ...]
    explain_only: bool

    def others(self, node: NodeContext, asked: Mapping[str, str]) -> tuple[str, ...]:
        """Receivers, and the key holder, that are asked for no dataset."""
        key_holder = (self.wish.key_holder,) if self.wish.key_holder else ()
        wanted = dict.fromkeys((*self.receivers, *key_holder))
        return tuple(p for p in wanted if p != node.name and (p not in asked or p in key_holder))


class _Again(Exception):
    """Too few holders are left, and a new attempt is safe."""

    def __init__(self, error: PrivcomputeError, plan: UnionPlan, dropped: Mapping[str, str]) -> None:
        super().__init__()
        self.error, self.plan, self.dropped = error, plan, dropped
        self.enough = len(plan.members) - len(dropped) >= plan.quorum


def _as_agreed(before: UnionPlan, consent: Agree) -> Agree:
    """A person who agreed to a plan with a quorum agreed to its run with any so many of these holders, and no more."""

    terms = (before.sql, before.receivers, before.scheme, before.key_holder, before.quorum)

    def agree(plan: Plan | UnionPlan) -> bool | Awaitable[bool]:
        if isinstance(plan, type(before)):
            same = terms == (plan.sql, plan.receivers, plan.scheme, plan.key_holder, plan.quorum)
            if same and set(plan.members) <= set(before.members):
                return True
        return consent(plan)

    return agree


def _job(node: NodeContext, question: _Question, asked: Mapping[str, str], observer: Observer) -> UnionJob:
    named, receivers = question.named, question.receivers
    mine = offered_to_union(
        node, _own_dataset(node, named), [*asked, *question.others(node, asked)], question.receivers
    )
    kind: Job = "explain" if question.explain_only else "query"
    proposal = Proposal(kind, node.name, (), None, receivers, mine, question.wish)
    return UnionJob(node, proposal, {}, token_bytes(SESSION_ID_BYTES), observer)


def _asked(node: NodeContext, named: NamedUnion) -> dict[str, str]:
    """By party but this one: the dataset that it is asked for."""
    if named.parties:
        return {party: dataset for party, dataset in named.parties if party != node.name}
    return {peer.name: named.dataset for peer in node.store.peers.all()}


def _own_dataset(node: NodeContext, named: NamedUnion) -> str:
    return next((dataset for party, dataset in named.parties if party == node.name), named.dataset)


async def _ask(job: UnionJob, question: _Question, asked: Mapping[str, str], consent: Agree) -> Outcome:
    extra = question.others(job.node, asked)
    offers, absent = await _offers(job, question.named, asked, extra)
    sql = question.sql
    try:
        plan = await job.plan(sql, offers)
        if question.explain_only:
            await job.leave()
            return Outcome(plan, None, dict(plan.disclosure.parties), plan.digest(), "explained", dropped=absent)
        await person_agrees(consent, plan, job.node.name)
    except PrivcomputeError:
        await job.leave()  # the others need not know what was refused here
        raise
    own_rows = asyncio.create_task(job.rows(plan))  # while the others read theirs
    try:
        # Who is ready waits for the slowest, and hears that this node still does, too.
        async with signs_of_life(job.channels.values(), "waiting for all to get ready"):
            gone = await _readied(job, sql, plan, offers, own_rows)
        rows = await own_rows
    finally:
        own_rows.cancel()
    decide = Decision(plan)
    totals, sessions = await _sum(job, sql, plan, offers, rows, decide)
    outcome = await asyncio.to_thread(job.outcome, plan, totals, decide, sessions, "answered")
    return replace(outcome, dropped={**absent, **outcome.dropped, **gone})


async def _offers(
    job: UnionJob, named: NamedUnion, asked: Mapping[str, str], extra: Sequence[str]
) -> tuple[list[Party], dict[str, str]]:
    """Everybody's part, and who could not be reached; a party that has no such dataset is left out."""
    proposal = job.proposal

    async def hear(party: str) -> Party:
        channel = await job.node.endpoint.open_link(party, job.session_id)
        job.channels[party] = channel
        datasets = (asked[party],) if party in asked else ()
        wanted = Proposal(
            proposal.job, proposal.asker, datasets, None, proposal.receivers, proposal.party, proposal.union
        )
        await negotiation.say(channel, "proposal", negotiation.proposal_body(wanted))
        offer = await negotiation.hear_offer(channel, job.timeout)
        check_fingerprint(job.node, offer)
        return offer

    parties = list(dict.fromkeys([*asked, *extra]))
    found = await asyncio.gather(*(hear(party) for party in parties), return_exceptions=True)
    offers = [job.proposal.party]
    absent: dict[str, str] = {}
    for party, one in zip(parties, found, strict=True):
        if isinstance(one, Party):
            if one.entries or party in extra:
                offers.append(one)
                continue
            if named.parties:
                raise UsageError(
                    f"{party} has no dataset {asked[party]} that this node may see",
                    code="unknown_dataset",
                    party=party,
                    remedy=f"ask {party}, or leave it out of UNION(…)",
                )
            await job.channels.pop(party).close()
        elif isinstance(one, GONE) and not named.parties and party not in extra:
            absent[party] = one.code
            await _end(job, party, one)
        else:
            raise one
    return offers, absent


async def _readied(
    job: UnionJob, sql: str, plan: UnionPlan, offers: Sequence[Party], own_rows: asyncio.Task[UnionRows | None]
) -> dict[str, str]:
    """Has everybody derive the plan and prepare; who is gone meanwhile, with the reason's code.

    A refusal by a rule, by a ledger or by an owner ends the question: it is no absence.
    """
    digest, body = plan.digest(), negotiation.agreement_body(sql, offers)

    async def ready(party: str) -> None:
        channel = job.channels[party]
        await negotiation.say(channel, "agreement", body)
        if await negotiation.hear_ready(channel, job.node.config.limits.run_seconds, job.timeout) != digest:
            raise negotiation.mismatch(party)

    gone = await _told(job, ready)
    holders = {member.party for member in plan.members}
    left = len(holders - set(gone))
    if left < plan.quorum:
        lost = PeerError(
            f"{left} of {len(holders)} holders are there, and the plan's quorum is {plan.quorum}",
            code="quorum_lost",
            party=min(gone),
            stage="ready",
            remedy="ask again when they are back, or with a smaller --quorum",
        )
        raise lost
    await own_rows  # nobody goes on before this node's own ledger has spoken
    return gone | await _told(job, lambda party: negotiation.say(job.channels[party], "go", {}))


async def _told(job: UnionJob, tell: Callable[[str], Awaitable[None]]) -> dict[str, str]:
    """Has a word with all who are there; who is gone by then, with the reason's code."""
    parties = list(job.channels)
    found = await asyncio.gather(*(tell(party) for party in parties), return_exceptions=True)
    gone: dict[str, str] = {}
    for party, one in zip(parties, found, strict=True):
        if isinstance(one, GONE):
            gone[party] = one.code
            await _end(job, party, one)
        elif one is not None:
            raise one
    return gone


async def _end(job: UnionJob, party: str, error: PrivcomputeError) -> None:
    channel = job.channels.pop(party, None)
    if channel is not None:
        await channel.abort(error)


async def _own_part(
    job: UnionJob, s: Session, plan: UnionPlan, sum_job: SumJob, identity: UnionIdentity, rows: UnionRows
) -> Receipt:
    """This node's part as a holder; the collector beside it hears of a refusal as it hears of anybody's."""
    try:
        return await job.contribute(s, plan, sum_job, identity, rows)
    except BaseException as error:
        await s.abort(error)
        raise


async def _sum(
    job: UnionJob, sql: str, plan: UnionPlan, parties: Sequence[Party], rows: UnionRows | None, decide: Decision
) -> tuple[Totals, list[Session]]:
    """Collects the sums, as a holder too if this node brings rows, and hands them to the other receivers."""
    node = job.node
    sum_job, identity = job.sum_job(sql, plan, parties), job.identity(parties)
    holders = {member.party for member in plan.members}
    needed = holders if plan.key_holder is None else holders | {plan.key_holder}
    channels = {party: channel for party, channel in job.channels.items() if party in needed}
    sessions = []
    own: asyncio.Task[Receipt] | None = None
    if rows is not None:
        here, there = local_pair(node.name, collector_name(node.name))
        channels[node.name] = there
        s = job.session(node.name, {here.peer: here}, sum_job)
        sessions.append(s)
        own = asyncio.create_task(_own_part(job, s, plan, sum_job, identity, rows))
    s = job.session(collector_name(node.name) if rows is not None else node.name, channels, sum_job)
    sessions.append(s)
    try:
        totals = await job.collect(s, plan, sum_job, identity, decide)
        if own is not None:
            await own
    except PeerError as error:
        await s.abort(error)
        if error.code == "quorum_lost":
            missing = holders - {*s.others, node.name}
            raise _Again(error, plan, dict.fromkeys(missing, error.code)) from None
        raise
    except BaseException as error:
        if own is not None and own.done() and not own.cancelled() and own.exception() is not None:
            error = own.exception() or error  # what this node's own rules or ledger said comes first
        await s.abort(error)
        raise error from None
    finally:
        if own is not None:
            own.cancel()
    body, unheard = totals_to_json(totals), dict[str, str]()
    for party in plan.receivers:
        if party in job.channels:
            try:
                await negotiation.say(job.channels[party], "totals", body)
            except GONE as error:  # it has left; the others have their result
                unheard[party] = error.code
    for one in sessions:
        # The sums are complete: what a holder says after the last step is that holder's affair.
        with contextlib.suppress(PeerError):
            await one.close()
    await job.leave()
    return replace(totals, dropped={**unheard, **totals.dropped}), sessions
