"""A policy that names a column otherwise than the table does: refused, or held to the grade of what leaves."""

from __future__ import annotations

import contextlib
import json

import pytest
from support.deliveries import ANONYMOUS, MASK, Deliveries

from privcompute.errors import PrivcomputeError

DISGUISES = ["ID", "id ", " id", "ｉｄ", "\u200bid", "ıd", '"id"', "main.id"]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("others", ["drop", "keep"])
async def test_a_column_under_another_spelling(world: Deliveries, disguise: str, others: str) -> None:
    """`id` asks for tokens. Nothing that is written in the policy under another name makes it leave as it is."""
    world.nodes["hospital"].store.database.run("UPDATE datasets SET grades = ?", (json.dumps({"id": "general-3"}),))
    named = json.dumps(disguise)
    masked = MASK.replace("id = {", f"{named} = {{").replace('"drop"', f'"{others}"')
    hidden = ANONYMOUS.replace("id = {", f"{named} = {{").replace('"drop"', f'"{others}"')
    kept = masked.replace('{ role = "direct", transform = { op = "token", key = "k1", domain = "person" } }', "{}")
    for policy in (masked, hidden, kept):
        with contextlib.suppress(PrivcomputeError):  # whatever refuses it: what counts is what arrives
            await world.release(policy, purpose="operations")
    for one in world.nodes["insurer"].store.received.all():
        assert "id" not in [name.strip().casefold() for name, _ in one.manifest.columns]
