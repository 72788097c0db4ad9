"""What a person or a program asks of its own node: the same for an open node and, over the socket, for a running one.

A call is `{"op": "status"}`, `{"op": "renew"}`,
`{"op": "release", "dataset": …, "to": …, "policy": …, "purpose": …, "keys": … | null, "despite_earlier": …}`, or
`{"op": "explain" | "query", "sql": …, "reveal": … | null, "to": […], "union": … | null}`, where `union` is
`{"scheme": … | null, "key_holder": … | null, "quorum": … | null}`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privcompute.errors import UsageError
from privcompute.node import jobs, payload, renewal
from privcompute.node.context import NodeContext, Observer
from privcompute.node.local_socket import Consent, Watcher
from privcompute.node.negotiation import read_wish
from privcompute.query import Plan
from privcompute.session import Progress

if TYPE_CHECKING:
    from privcompute.query.union import UnionPlan


async def perform(context: NodeContext, call: dict[str, Any], consent: Consent, watch: Watcher) -> Any:
    """Do one call; the result is JSON.

    Raises:
        UsageError: the call is not of the form above.
        PrivcomputeError: whatever ends the operation.
    """
    match call:
        case {"op": "status"}:
            return {"name": context.name, "addresses": list(context.endpoint.addresses)}
        case {"op": "renew"}:
            return (await renewal.renew(context)).to_json()
        case {
            "op": "release",
            "dataset": str(dataset),
            "to": str(to),
            "policy": str(policy),
            "purpose": str(purpose),
            "keys": None | str() as keys,
            "despite_earlier": bool(despite),
        }:
            from privcompute.node.delivery import outgoing, send  # deferred: loads Arrow

            place = None if keys is None else Path(keys)
            table = outgoing.Wish(dataset, to, Path(policy), purpose, place, despite)
            return await send.release(context, table, consent, _observer(watch))
        case {
            "op": "explain" | "query" as op,
            "sql": str(sql),
            "reveal": None | str() as reveal,
            "to": list(to),
            "union": None | dict() as union,
        }:
            receivers = tuple(str(one) for one in to)
            wish = None if union is None else read_wish(union)
        case _:
            raise UsageError(
                "the running node does not know this call",
                code="bad_call",
                remedy="restart it: it may be of another version than this command",
            )

    async def agree(plan: Plan | UnionPlan) -> bool:
        answer = consent(payload.plan_to_json(plan, context))
        return bool(await answer) if inspect.isawaitable(answer) else bool(answer)

    outcome = await jobs.ask(
        context,
        sql,
        reveal=reveal,
        to=receivers,
        consent=agree,
        progress=_observer(watch),
        explain_only=op == "explain",
        wish=wish,
    )
    if op == "explain":
        return payload.plan_to_json(outcome.plan, context)
    body = payload.outcome_to_json(outcome)
    if outcome.finished is not None:
        body["release"] = context.store.releases.add(context.name, outcome.plan.sql, outcome.plan_digest, body)
    return body


def _observer(watch: Watcher) -> Observer:
    """News of progress as the caller of an operation hears them."""

    def observe(progress: Progress) -> None:
        watch(
            {
                "party": progress.party,
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
            }
        )

    return observe
