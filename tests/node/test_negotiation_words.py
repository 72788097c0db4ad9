"""What a peer says before a session: JSON objects of this version, whole characters, integers; or a named error."""

from __future__ import annotations

import pytest

from privcompute.errors import PeerError
from privcompute.node.negotiation import PROTOCOL_VERSION, hear, say
from privcompute.session import local_pair

STAGE = "agreement"


async def heard(said: bytes) -> dict[str, object]:
    here, there = local_pair("insurer", "hospital")
    await there.send(f"negotiate/{STAGE}.1", [said])
    return await hear(here, STAGE, ("sql",), 5.0)


@pytest.mark.parametrize(
    "value",
    [
        b'"SELECT \\ud800"',
        b'"\\uDFFF\\uD800"',
        b'{"\\udc00": 1}',
        b'["\\ud83d"]',
        b'"\xff"',
        b"1.5",
        b"1e3",
        b"NaN",
        b"Infinity",
        b"[" * 100_000,
        b'"a", "sql2": 1',
        b"",
    ],
)
async def test_what_is_not_said_that_way(value: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        await heard(b'{"version": %d, "sql": %s}' % (PROTOCOL_VERSION, value))
    assert caught.value.code == "bad_negotiation"
    assert caught.value.party == "hospital"


async def test_whole_characters_pass() -> None:
    here, there = local_pair("insurer", "hospital")
    sql = "SELECT '\U0001f600 \u00e4 \\u00'"
    await say(there, STAGE, {"sql": sql})
    assert (await hear(here, STAGE, ("sql",), 5.0))["sql"] == sql


async def test_another_version_is_named() -> None:
    with pytest.raises(PeerError) as caught:
        await heard(b'{"version": %d, "sql": ""}' % (PROTOCOL_VERSION + 1))
    assert caught.value.code == "version"
