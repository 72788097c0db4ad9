"""The side that asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privcompute.errors import PrivcomputeError, UsageError
from privcompute.node import negotiation
from privcompute.node.jobs.alive import signs_of_life
from privcompute.node.jobs.consent import Agree, person_agrees
from privcompute.node.jobs.job import Job, Outcome, check_fingerprint, learned_of, offered
from privcompute.node.jobs.union_ask import ask_union
from privcompute.node.negotiation import Party, Proposal, UnionWish
from privcompute.query.named import named_datasets, named_union
from privcompute.randomness import token_bytes

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext, Observer

SESSION_ID_BYTES = 16


async def ask(
    node: NodeContext,
    sql: str,
    *,
    reveal: str | None = None,
    to: Sequence[str] = (),
    consent: Agree,
    progress: Observer | None = None,
    explain_only: bool = False,
    wish: UnionWish | None = None,
) -> Outcome:
    """Asks a query, over a join or over a union.

    Args:
        node: This node.
        sql: The query.
        reveal: The mode, or None for the most private that is built and allowed.
        to: The receivers; default: this node.
        consent: Shown the plan; False ends the query before anything but catalogues was exchanged.
        progress: Told of both parties' progress.
        explain_only: Stop at the plan.
        wish: Of a question over a union: scheme, key holder, quorum.

    Raises:
        ConsentNeeded: `consent` said no, or the other owner has not approved yet.
        PrivcomputeError: whatever ends the run, named.
    """
    union = named_union(sql)
    if union is not None:
        if reveal is not None:
            raise UsageError(
                "a union has no join whose matches could be revealed", code="bad_reveal", remedy="leave --reveal out"
            )
        return await ask_union(
            node, sql, union, wish or UnionWish(), to=to, consent=consent, progress=progress, explain_only=explain_only
        )
    if wish is not None:
        raise UsageError(
            "scheme, key holder and quorum are of questions over a union",
            code="bad_wish",
            remedy="leave --scheme, --key-holder and --quorum out, or ask FROM UNION(dataset)",
        )
    return await _ask_join(node, sql, reveal, to, consent, progress, explain_only)


async def _ask_join(
    node: NodeContext,
    sql: str,
    reveal: str | None,
    to: Sequence[str],
    consent: Agree,
    progress: Observer | None,
    explain_only: bool,
) -> Outcome:
    receivers = tuple(dict.fromkeys(to)) or (node.name,)
    named = named_datasets(sql)
    owners = list(dict.fromkeys(party.casefold() for party, _ in named))
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
    mine = offered(node, [name for party, name in named if party.casefold() == node.name], others, receivers)
    theirs = tuple(name for party, name in named if party.casefold() != node.name)
    proposal = Proposal("explain" if explain_only else "query", node.name, theirs, reveal, receivers, mine)
    session_id = token_bytes(SESSION_ID_BYTES)
    job = Job(node, proposal, {}, session_id, progress or node.observer)
    try:
        for party in others:
            job.channels[party] = await node.endpoint.open_link(party, session_id)
        outcome = await _ask(job, sql, mine, others, consent, explain_only)
    except BaseException as error:
        await job.abort(error)
        raise
    node.store.audit.append("asked", plan_digest=outcome.plan_digest, status=outcome.status, parties=others)
    return outcome


async def _ask(job: Job, sql: str, mine: Party, others: Sequence[str], consent: Agree, explain_only: bool) -> Outcome:
    offers = [mine]
    for party in others:
        await negotiation.say(job.channels[party], "proposal", negotiation.proposal_body(job.proposal))
    for party in others:
        offer = await negotiation.hear_offer(job.channels[party], job.timeout)
        check_fingerprint(job.node, offer)
        offers.append(offer)
    try:
        plan = await job.plan(sql, offers)
        if explain_only:
            await job.leave()
            return Outcome(plan, None, learned_of(plan), plan.digest(), "explained")
        await person_agrees(consent, plan, job.node.name)
    except PrivcomputeError:
        await job.leave()  # the others need not know what was refused here
        raise
    digest = plan.digest()
    for party in others:
        await negotiation.say(job.channels[party], "agreement", negotiation.agreement_body(sql, offers))
    async with signs_of_life(job.channels.values(), "waiting for all to get ready"):
        prepared = await job.prepared(plan)  # while the others do the same
        for party in others:
            seconds = job.node.config.limits.run_seconds
            if await negotiation.hear_ready(job.channels[party], seconds, job.timeout) != digest:
                raise negotiation.mismatch(party)
    if len(others) > 1:
        for party in others:
            await negotiation.say(job.channels[party], "go", {})
    return await job.run(sql, plan, offers, prepared)
