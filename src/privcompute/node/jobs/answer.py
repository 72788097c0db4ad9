"""The side that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from privcompute.errors import PrivcomputeError, TransportError
from privcompute.node import negotiation
from privcompute.node.jobs.alive import signs_of_life
from privcompute.node.jobs.consent import CONSENT_SECONDS, check_shared, manual_consent
from privcompute.node.jobs.job import Job, Outcome, check_fingerprint, offered
from privcompute.node.jobs.union import UnionJob
from privcompute.node.jobs.union_answer import answer_union
from privcompute.node.negotiation import Party
from privcompute.session import Channel

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.query import Plan


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
    links: Job | UnionJob
    if proposal.union is None:
        links = job = Job(node, proposal, {peer: channel}, session_id, node.observer)
        work = _answer(job, peer)
    else:
        links = union = UnionJob(node, proposal, {peer: channel}, session_id, node.observer)
        work = answer_union(union, peer)
    try:
        outcome = await work
    except BaseException as error:
        await links.abort(error)
        raise
    if outcome is None:
        return
    node.store.audit.append("answered", peer=peer, plan_digest=outcome.plan_digest, status=outcome.status)
    if outcome.finished is not None:
        from privcompute.node import payload  # deferred: payload needs Outcome

        body = payload.outcome_to_json(outcome)
        most = node.config.limits.releases_kept
        node.store.releases.add(peer, outcome.plan.sql, outcome.plan_digest, body, most=most)


async def _answer(job: Job, peer: str) -> Outcome | None:
    node, channel = job.node, job.channels[peer]
    check_fingerprint(node, job.proposal.party)
    mine = offered(node, job.proposal.datasets, [peer], job.proposal.receivers)
    await negotiation.say(channel, "offer", {"party": mine.to_object()})
    try:
        sql, parties = await negotiation.hear_agreement(channel, max(job.timeout, CONSENT_SECONDS))
    except TransportError as error:
        if error.code == "closed":
            return None  # an explanation ends here, and so does a question that was thought better of
        raise
    _check_own_part(job, peer, parties, mine)
    async with signs_of_life([channel], "getting ready"):
        plan = await job.plan(sql, parties)
        digest = plan.digest()
        _check_roles(node, plan, parties)
        side = plan.side_of(node.name)
        if side is not None:
            dataset = node.store.datasets.get(plan.sides[side].dataset)
            if dataset.entry.consent == "manual":
                await manual_consent(node, peer, plan, digest)
        prepared = await job.prepared(plan)
    async with _links_among_others(job, peer, parties) as connect:
        await negotiation.say(channel, "ready", {"plan_digest": digest})
        if len(parties) > 2:
            await negotiation.hear_go(channel, node.config.limits.run_seconds, job.timeout)
            await connect()
    return await job.run(sql, plan, parties, prepared)


def _check_own_part(job: Job, peer: str, parties: Sequence[Party], mine: Party) -> None:
    """What the asker says everybody brought holds what this node brought, and what the asker brought at first."""
    by_name = {p.name: p for p in parties}
    if by_name.get(job.node.name) != mine or by_name.get(peer) != job.proposal.party:
        raise negotiation.malformed(peer, "agreement")
    for party in parties:
        if party.name not in (peer, job.node.name):
            check_fingerprint(job.node, party)


def _check_roles(node: NodeContext, plan: Plan, parties: Sequence[Party]) -> None:
    """Exactly the holders and the receivers take part, and a third party may see this node's entry."""
    expected = {side.party for side in plan.sides} | set(plan.receivers) | {plan.asker}
    if {p.name for p in parties} != expected or plan.side_of(plan.asker) is None:
        raise negotiation.malformed(plan.asker, "agreement")
    side = plan.side_of(node.name)
    if side is None:
        return
    check_shared(node, plan.sides[side].dataset, expected - {node.name})


@asynccontextmanager
async def _links_among_others(
    job: Job, asker: str, parties: Sequence[Party]
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
