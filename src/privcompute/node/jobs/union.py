"""One question over the union of many holders' rows, at one party: what asking and answering share."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from privcompute.errors import IntegrityError, UsageError
from privcompute.node import negotiation
from privcompute.node.jobs.consent import spend_approval
from privcompute.node.jobs.job import Links, Outcome, part
from privcompute.node.jobs.reading import while_all_are_there
from privcompute.node.negotiation import Party
from privcompute.node.signing import UnionIdentity
from privcompute.node.union_rows import (
    UnionRows,
    check_union,
    prepare_union,
    record_holders,
    record_opening,
    record_union,
)
from privcompute.query.union import check_union_rules, finish_union, plan_union
from privcompute.session import Channel, Limits, Progress, Session
from privcompute.union.job import Contribution, Decide, Receipt, Roster, SumJob, Totals
from privcompute.union.masks import masked_sum_collector, masked_sum_holder
from privcompute.union.stages import collector_name

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.query.union import Member, UnionPlan


_CODE = re.compile(r"[a-z0-9_]{1,64}")
"""An error's code, as a peer may name it."""


@dataclass(repr=False)
class UnionJob(Links):
    """One question over a union, at one party."""

    async def plan(self, sql: str, parties: Sequence[Party]) -> UnionPlan:
        """The plan that everybody derives, checked against the rules of every entry; in a thread."""
        return await asyncio.to_thread(self._plan, sql, parties)

    def _plan(self, sql: str, parties: Sequence[Party]) -> UnionPlan:
        wish = self.proposal.union or negotiation.UnionWish()
        entries = {f"{e.party}.{e.name}": e for p in parties for e in p.entries}
        made = plan_union(
            sql,
            entries,
            asker=self.proposal.asker,
            receivers=self.proposal.receivers,
            scheme=wish.scheme,
            key_holder=wish.key_holder,
            quorum=wish.quorum,
        )
        check_union_rules(made, entries)
        return made

    def member(self, plan: UnionPlan) -> Member | None:
        """This node's part of the plan, if it is a holder."""
        return next((one for one in plan.members if one.party == self.node.name), None)

    async def rows(self, plan: UnionPlan) -> UnionRows | None:
        """This holder's sums for the plan, and the ledger's word; None for a party without data."""
        member = self.member(plan)
        if member is None:
            return None
        self.tell("reading the table", 0, 1)
        seconds = self.node.config.limits.table_seconds
        # A holder reads in vain without the collector; the collector goes on without a holder.
        needed = () if plan.collector == self.node.name else self.channels.values()
        found = await while_all_are_there(needed, seconds, lambda: prepare_union(self.node, plan, member))
        await asyncio.to_thread(check_union, self.node, plan, member, found)
        self.tell("reading the table", 1, 1)
        return found

    def contribution(self, plan: UnionPlan, rows: UnionRows) -> Contribution:
        """What this holder adds."""
        counts, values = plan.contribution(rows.cells)
        return Contribution.of(plan.shape, counts, values)

    async def contribute(
        self, s: Session, plan: UnionPlan, sum_job: SumJob, identity: UnionIdentity, rows: UnionRows | None
    ) -> Receipt:
        """Brings this holder's part into the sums, or opens them as the key holder, or both.

        The ledger is written before anything of the rows leaves.
        """
        own: Contribution | None = None
        if rows is not None:
            await self.commit(plan, rows)
            own = self.contribution(plan, rows)

        async def admit(survivors: tuple[str, ...]) -> None:
            if plan.key_holder is not None:  # only the key holder is asked
                await asyncio.to_thread(record_opening, self.node, plan, survivors)
            elif rows is not None:
                await self.admit(plan, rows, survivors)

        if plan.key_holder is not None:
            from privcompute.union.paillier import paillier_sum_holder  # deferred: loads the compiler

            if rows is not None and plan.key_holder != self.node.name:
                # Who leaves after submitting cannot be asked later: the ledger notes the holders that were planned.
                await self.admit(plan, rows, sum_job.roster.holders)
            return await paillier_sum_holder(s, sum_job, plan.key_holder, identity, own, admit, _any_units)
        if own is None:
            raise UsageError("only holders bring rows", code="bad_holding")
        return await masked_sum_holder(s, sum_job, identity, own, admit, _any_units)

    async def collect(
        self, s: Session, plan: UnionPlan, sum_job: SumJob, identity: UnionIdentity, decide: Decide
    ) -> Totals:
        """Collects the sums; what opens is compared with what the plan declares and what was decided."""
        if plan.key_holder is not None:
            from privcompute.union.paillier import paillier_sum_collector  # deferred: loads the compiler

            totals = await paillier_sum_collector(s, sum_job, plan.key_holder, identity, decide)
        else:
            totals = await masked_sum_collector(s, sum_job, identity, decide)
        await asyncio.to_thread(check_totals, plan, totals, decide)
        return totals

    async def commit(self, plan: UnionPlan, rows: UnionRows) -> None:
        """Spends the approval and writes the ledger, before anything that depends on the rows leaves."""
        member = self.member(plan)
        if member is None:
            return
        node = self.node
        spend_approval(node, plan.asker, member.dataset, plan.digest())
        await asyncio.to_thread(record_union, node, plan, member, rows)

    async def admit(self, plan: UnionPlan, rows: UnionRows, survivors: tuple[str, ...]) -> None:
        """The ledger's word on whose rows the sum holds; raises PrivacyError before anything is signed."""
        member = self.member(plan)
        if member is not None:
            await asyncio.to_thread(record_holders, self.node, plan, member, rows, survivors)

    def sum_job(self, sql: str, plan: UnionPlan, parties: Sequence[Party]) -> SumJob:
        """The sum, bound to all that was agreed: every party derives the same."""
        return SumJob(
            id=negotiation.session_digest(self.common_proposal(), sql, parties, plan.digest()),
            roster=Roster(tuple(one.party for one in plan.members), plan.quorum),
            shape=plan.shape,
            patience=self.node.config.limits.holder_seconds,
        )

    def common_proposal(self) -> negotiation.Proposal:
        """The proposal without what differs from holder to holder: which of its datasets is asked for."""
        p = self.proposal
        return negotiation.Proposal(p.job, p.asker, (), None, p.receivers, p.party, p.union)

    def identity(self, parties: Sequence[Party]) -> UnionIdentity:
        """Signatures under the certificates that the parties named and that are pinned here."""
        certificates = {}
        for party in parties:
            peer = self.node.store.peers.get(party.name)
            if peer is not None and party.fingerprint in peer.fingerprints:
                certificates[party.name] = peer.certificates[peer.fingerprints.index(party.fingerprint)]
        return UnionIdentity(self.node.identity, certificates)

    def session(self, me: str, channels: Mapping[str, Channel], job: SumJob) -> Session:
        """The session of a role."""
        limits, name = self.node.config.limits, self.node.name

        def observe(news: Progress) -> None:
            # What this node does as the collector is told once, in its own name, not also to its holder's session.
            if news.party == me or news.party != collector_name(name):
                self.observer(replace(news, party=name) if news.party == me else news)

        return Session(
            me, channels, id=job.id, limits=Limits(limits.step_seconds, limits.run_seconds), observer=observe
        )

    def tell(self, stage: str, done: int, total: int) -> None:
        """Progress of this party."""
        self.observer(Progress(self.node.name, stage, done, total))

    def outcome(
        self, plan: UnionPlan, totals: Totals | None, decide: Decide, sessions: Sequence[Session], status: str
    ) -> Outcome:
        """How the question ended here; with the result if this party is a receiver."""
        received = totals is not None and self.node.name in plan.receivers
        finished = finish_union(plan, totals, decide) if received else None
        if finished is not None:
            status = "done" if finished.rows or not finished.suppressed_cells else "suppressed"
        meters = [s.meter for s in sessions]
        return Outcome(
            plan,
            finished,
            dict(plan.disclosure.parties),
            plan.digest(),
            status,
            rounds=max((m.rounds for m in meters), default=0),
            bytes_sent=sum(m.bytes_sent for m in meters),
            bytes_received=sum(m.bytes_received for m in meters),
            seconds=time.perf_counter() - self.started,
            holders=totals.survivors if totals is not None else (),
            dropped=dict(totals.dropped) if totals is not None else {},
        )


def _any_units(shown: Sequence[int]) -> None:
    """Which units show follows from counts that only the collector sees: any may."""


def offered_to_union(node: NodeContext, name: str, peers: Sequence[str], to: Sequence[str] = ()) -> Party:
    """This node's entry of that name, if it has one that all ``peers`` may see; else a part without entries.

    ``to`` are the receivers of the result.
    """
    wanted = name.casefold()
    found = [d for d in node.store.datasets.all() if d.name.casefold() == wanted and all(d.open_to(p) for p in peers)]
    return part(node, found, (*peers, *to))


def check_totals(plan: UnionPlan, totals: Totals, decide: Decide) -> None:
    """Raises IntegrityError unless exactly what the plan declares has opened: all counts, and the units they permit.

    Args:
        plan: The plan.
        totals: What opened, or what a collector says that did.
        decide: The run's `Decision`; of many cells it takes long, so not on the event loop.
    """
    right = (
        len(totals.counts) == plan.shape.counts
        and tuple(totals.shown) == tuple(decide(totals.counts))
        and set(totals.values) == set(totals.shown)
        and all(len(totals.values[unit]) == plan.shape.units[unit] for unit in totals.shown)
        and list(totals.survivors) == sorted({*totals.survivors} & {one.party for one in plan.members})
        and len(totals.survivors) >= plan.quorum
        and set(totals.dropped) <= {*(one.party for one in plan.members), plan.key_holder}
    )
    if not right:
        raise IntegrityError(
            "what opened is not what the plan declares",
            code="undeclared",
            stage="union",
            remedy="check that all nodes run the same version, then ask again",
        )


def totals_bytes(plan: UnionPlan) -> int:
    """The most bytes that `totals_to_json` takes as text: every number as wide as it can be, every name as long."""
    digits = plan.shape.bits // 3 + 2  # a third of a digit a bit is more than it takes; a sign and a comma
    counts, values = 22 * plan.shape.counts, (digits + 2) * plan.shape.values
    names = (len(plan.members) + 1) * 256
    return 1024 + counts + values + 12 * len(plan.shape.units) + names


def totals_to_json(totals: Totals) -> dict[str, Any]:
    """What a receiver that is not the collector is told."""
    return {
        "counts": list(totals.counts),
        "shown": list(totals.shown),
        "values": [list(totals.values[unit]) for unit in totals.shown],
        "survivors": list(totals.survivors),
        "dropped": dict(totals.dropped),
    }


def totals_from_json(body: Mapping[str, Any], peer: str) -> Totals:
    """Reads `totals_to_json` back, trusting nothing; `check_totals` compares it with the plan.

    Raises:
        PeerError: ``bad_negotiation``.
    """

    def integers(value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or not all(type(one) is int for one in value):
            raise negotiation.malformed(peer, "totals")
        return tuple(value)

    def names(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(negotiation.is_name(one) for one in value):
            raise negotiation.malformed(peer, "totals")
        return tuple(value)

    shown, values, dropped = integers(body["shown"]), body["values"], body["dropped"]
    right = (
        isinstance(values, list)
        and len(values) == len(shown)
        and isinstance(dropped, dict)
        and all(negotiation.is_name(k) and isinstance(v, str) and _CODE.fullmatch(v) for k, v in dropped.items())
    )
    if not right:
        raise negotiation.malformed(peer, "totals")
    units = {unit: integers(row) for unit, row in zip(shown, values, strict=True)}
    return Totals(integers(body["counts"]), shown, units, names(body["survivors"]), dict(dropped))
