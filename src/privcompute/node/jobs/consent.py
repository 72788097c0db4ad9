"""What an owner has to say before his rows take part in a peer's question: to whom they may be shown, and consent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from privcompute.errors import ConsentNeeded, UsageError

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.query import Plan
    from privcompute.query.union import UnionPlan
    from privcompute.tables import DatasetEntry

Agree = Callable[["Plan | UnionPlan"], "bool | Awaitable[bool]"]
"""Whether whoever asks agrees to a plan."""

CONSENT_SECONDS: Final = 900.0
"""How long the answering side waits for the person who asks to read the plan."""


def check_shared(node: NodeContext, name: str, parties: Iterable[str]) -> DatasetEntry:
    """The entry of a dataset of this node.

    Raises:
        UsageError: ``not_shared``: one of the other parties may not see it.
    """
    dataset = node.store.datasets.get(name)
    for party in sorted(parties):
        if not dataset.open_to(party):
            raise UsageError(
                f"the owner of {dataset.name} does not share it with {party}",
                code="not_shared",
                party=node.name,
                remedy=f"{node.name} may run `privcompute dataset edit {dataset.name} --with {party}`",
            )
    return dataset.entry


async def person_agrees(consent: Agree, plan: Plan | UnionPlan, party: str) -> None:
    """Shows the plan to whoever asks at this party; ConsentNeeded (``declined``) unless they agree."""
    answer = consent(plan)
    if not (await answer if inspect.isawaitable(answer) else answer):
        raise ConsentNeeded("the plan was not agreed to", code="declined", party=party)


async def manual_consent(node: NodeContext, peer: str, plan: Plan | UnionPlan, digest: str) -> None:
    """Returns if an unused approval of this plan is here, else leaves a request.

    Raises:
        ConsentNeeded: ``awaiting_consent`` or ``refused``.
    """
    from privcompute.node import payload  # deferred: payload needs Outcome

    node.store.requests.expire(node.config.limits.approval_seconds)
    if node.store.requests.approved(peer, digest):
        return
    body = payload.plan_to_json(plan, node)
    request = await asyncio.to_thread(node.store.requests.submit, peer, digest, plan.sql, body)
    refused = request.state == "refused"
    raise ConsentNeeded(
        f"the owner of {node.name} {'refused this query' if refused else 'has not approved this query yet'}",
        code="refused" if refused else "awaiting_consent",
        party=node.name,
        remedy=f"ask the owner, who can still run `privcompute approve {request.id}`"
        if refused
        else f"{node.name} runs `privcompute approve {request.id}`; then ask the same query again",
    )


def spend_approval(node: NodeContext, asker: str, name: str, digest: str) -> None:
    """One approval, one run: of several runs that found it at the same time, one gets here first.

    Args:
        node: This node.
        asker: Who asks; this node's own questions need no approval.
        name: The dataset.
        digest: Of the plan.

    Raises:
        ConsentNeeded: ``awaiting_consent``: it is used up.
    """
    if asker == node.name or node.store.datasets.get(name).entry.consent == "auto":
        return
    if not node.store.requests.use(asker, digest):
        raise ConsentNeeded(
            f"the owner of {node.name} has approved one run of this query, and it is used up",
            code="awaiting_consent",
            party=node.name,
            remedy="ask the same query again, for the owner to approve another run",
        )
