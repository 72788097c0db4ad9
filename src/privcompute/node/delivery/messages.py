"""The messages of a delivery: words as in `negotiation`, pieces as bare bytes whose size the manifest states."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from privcompute.errors import TransportError
from privcompute.node import negotiation
from privcompute.node.delivery.manifest import Manifest
from privcompute.session import Channel

_HEX64: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{2,400}")


@asynccontextmanager
async def in_time(seconds: float, peer: str) -> AsyncIterator[None]:
    """Ends a link whose other end lives, as it says again and again, and never gets done.

    Raises:
        TransportError: `run_timeout`.
    """
    try:
        async with asyncio.timeout(seconds) as clock:
            yield
    except TimeoutError:
        if not clock.expired():
            raise
        raise TransportError(
            "one link of a delivery took longer than a run may",
            code="run_timeout",
            party=peer,
            stage="delivery",
            remedy="release the same again: what arrived is kept; limits.run_seconds in node.toml says how long",
        ) from None


def piece_label(piece: int) -> str:
    """The label of one piece, the first being 0."""
    return f"delivery/piece.{piece + 1}"


async def say_delivery(channel: Channel, manifest: Manifest, signature: str) -> None:
    """What is coming."""
    await negotiation.say(channel, "delivery", {"manifest": manifest.to_object(), "signature": signature})


async def hear_delivery(channel: Channel, timeout: float) -> tuple[Manifest, str]:
    """What is coming, and the sender's signature, which is not checked yet.

    Raises:
        PeerError: `bad_negotiation`, `bad_manifest`.
    """
    body = await negotiation.hear(channel, "delivery", ("manifest", "signature"), timeout)
    manifest = Manifest.from_object(body["manifest"], party=channel.peer)
    return manifest, _text(body["signature"], _SIGNATURE, channel, "delivery")


async def say_held(channel: Channel, pieces: int, digest: str) -> None:
    """What an earlier attempt left."""
    await negotiation.say(channel, "held", {"pieces": pieces, "digest": digest})


async def hear_held(channel: Channel, manifest: Manifest, timeout: float) -> tuple[int, str]:
    """How many pieces the receiver has, and the digest of them.

    Raises:
        PeerError: `bad_negotiation`.
    """
    body = await negotiation.hear(channel, "held", ("pieces", "digest"), timeout)
    digest = _text(body["digest"], _HEX64, channel, "held")
    return _number(body["pieces"], manifest.pieces, channel, "held"), digest


async def say_from(channel: Channel, piece: int) -> None:
    """The piece that comes first."""
    await negotiation.say(channel, "from", {"piece": piece})


async def hear_from(channel: Channel, held: int, timeout: float) -> int:
    """The piece that comes first: the next one, or the first of all.

    Raises:
        PeerError: `bad_negotiation`.
    """
    body = await negotiation.hear(channel, "from", ("piece",), timeout)
    piece = _number(body["piece"], held, channel, "from")
    if piece not in (0, held):
        raise negotiation.malformed(channel.peer, "from")
    return piece


async def say_receipt(channel: Channel, signature: str) -> None:
    """It is here, whole."""
    await negotiation.say(channel, "receipt", {"signature": signature})


async def hear_receipt(channel: Channel, timeout: float) -> str:
    """The receiver's signature, which is not checked yet.

    Raises:
        PeerError: `bad_negotiation`.
    """
    body = await negotiation.hear(channel, "receipt", ("signature",), timeout)
    return _text(body["signature"], _SIGNATURE, channel, "receipt")


def _number(value: Any, most: int, channel: Channel, stage: str) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise negotiation.malformed(channel.peer, stage)
    return value


def _text(value: Any, form: re.Pattern[str], channel: Channel, stage: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise negotiation.malformed(channel.peer, stage)
    return value
