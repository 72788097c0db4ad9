"""The side that answers a question over a union: a holder, or a receiver without data."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from privcompute.errors import TransportError
from privcompute.node import negotiation
from privcompute.node.jobs.alive import signs_of_life
from privcompute.node.jobs.consent import CONSENT_SECONDS, check_shared, manual_consent
from privcompute.node.jobs.job import Outcome, check_fingerprint
from privcompute.node.jobs.union import UnionJob, check_totals, offered_to_union, totals_bytes, totals_from_json
from privcompute.node.negotiation import MAX_HOLDERS, MAX_RECEIVERS, Party
from privcompute.query.union import Decision

if TYPE_CHECKING:
    from privcompute.node.union_rows import UnionRows
    from privcompute.query.union import UnionPlan
    from privcompute.union.job import Receipt, Totals


async def answer_union(job: UnionJob, peer: str) -> Outcome | None:
    """Takes part in a question over a union that a peer asks; None if it was only explained."""
    node, channel = job.node, job.channels[peer]
    mine = offered_to_union(node, next(iter(job.proposal.datasets), ""), [peer], job.proposal.receivers)
    await negotiation.say(channel, "offer", {"party": mine.to_object()})
    try:
        sql, parties = await negotiation.hear_agreement(
            channel, max(job.timeout, CONSENT_SECONDS), most=MAX_HOLDERS + MAX_RECEIVERS
        )
    except TransportError as error:
        if error.code == "closed":
            return None
        raise
    _check_parts(job, peer, parties, mine)
    async with signs_of_life([channel], "getting ready"):
        plan = await job.plan(sql, parties)
        _check_roles(job, plan, parties)
        member = job.member(plan)
        digest = plan.digest()
        if member is not None:
            entry = check_shared(node, member.dataset, {p.name for p in parties} - {node.name})
            if entry.consent == "manual":
                await manual_consent(node, peer, plan, digest)
        rows = await job.rows(plan)
    await negotiation.say(channel, "ready", {"plan_digest": digest})
    await negotiation.hear_go(channel, node.config.limits.run_seconds, job.timeout)
    return await _run(job, peer, sql, plan, parties, rows)


def _check_parts(job: UnionJob, peer: str, parties: Sequence[Party], mine: Party) -> None:
    """The agreement holds what this node and the asker brought, and names of the others what is pinned here."""
    by_name = {p.name: p for p in parties}
    if by_name.get(job.node.name) != mine or by_name.get(peer) != job.proposal.party:
        raise negotiation.malformed(peer, "agreement")
    for party in parties:
        if party.name != job.node.name:
            check_fingerprint(job.node, party)


def _check_roles(job: UnionJob, plan: UnionPlan, parties: Sequence[Party]) -> None:
    """Exactly the holders, the receivers and the asker take part."""
    expected = {one.party for one in plan.members} | set(plan.receivers) | {plan.collector}
    if plan.key_holder is not None:
        expected.add(plan.key_holder)
    if {p.name for p in parties} != expected or plan.collector != job.proposal.asker:
        raise negotiation.malformed(plan.collector, "agreement")


async def _run(
    job: UnionJob, peer: str, sql: str, plan: UnionPlan, parties: Sequence[Party], rows: UnionRows | None
) -> Outcome:
    channel = job.channels[peer]
    sum_job = job.sum_job(sql, plan, parties)
    s = job.session(job.node.name, {peer: channel}, sum_job)
    receipt: Receipt | None = None
    if rows is not None or plan.key_holder == job.node.name:
        receipt = await job.contribute(s, plan, sum_job, job.identity(parties), rows)
    totals: Totals | None = None
    decide = Decision(plan)
    if job.node.name in plan.receivers:
        fields = ("counts", "shown", "values", "survivors", "dropped")
        seconds = job.node.config.limits.run_seconds
        body = await negotiation.hear(channel, "totals", fields, seconds, most=totals_bytes(plan))
        totals = totals_from_json(body, peer)
        await asyncio.to_thread(check_totals, plan, totals, decide)
        if receipt and receipt.survivors and (totals.survivors, totals.shown) != (receipt.survivors, receipt.shown):
            raise negotiation.malformed(peer, "totals")
    await s.close()
    return await asyncio.to_thread(job.outcome, plan, totals, decide, [s], "answered")
