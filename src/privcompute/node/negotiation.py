"""What two nodes say before a run: a question, an offer, an agreement. Every message is hostile until read.

    asker  -> other   Proposal    names of the datasets, wishes, the asker's own catalogue entries, a nonce
    other  -> asker   Offer       the other's catalogue entries for them, a nonce, its fingerprint
    asker  -> other   Agreement   the SQL and all offers, so that everybody derives the same plan
    other  -> asker   Ready       the plan's digest, after rules, consent and local checks
    asker  -> other   Go          where more than two take part: all are ready, or given up

A question over a union differs in what the proposal wishes for (`UnionWish`) and in how many take part.

The SQL leaves the asker only once it was planned, found within all rules and agreed to: what is refused or only
explained is not sent. Nothing here is taken over: the other derives plan and disclosure from the SQL and the entries
itself, and both sides hash all of it into the session digest (`session_digest`), which `session.hello` compares before
the first share.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from privcompute.errors import IntegrityError, PeerError, TransportError, UsageError
from privcompute.session import Channel
from privcompute.tables.catalogue import DatasetEntry

PROTOCOL_VERSION: Final = 1
MESSAGE_LIMIT: Final = 8 << 20
MAX_SQL: Final = 64 << 10
MAX_NAME: Final = 128
MAX_RECEIVERS: Final = 16
MAX_HOLDERS: Final = 128
"""Most holders of a union."""
MAX_ENTRIES: Final = 8
NONCE_BYTES: Final = 32

Job = Literal["explain", "query"]
Scheme = Literal["masks", "paillier"]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_REVEAL = (None, "nothing", "size", "matches")


@dataclass(frozen=True)
class UnionWish:
    """What the asker of a question over a union wishes for; None leaves the choice to the planner.

    Attributes:
        scheme: How the sums are computed.
        key_holder: Who holds the Paillier key.
        quorum: The fewest holders with which the run may finish.
    """

    scheme: Scheme | None = None
    key_holder: str | None = None
    quorum: int | None = None


@dataclass(frozen=True)
class Proposal:
    """What the asker wants, and its own part of the catalogue; `union` is None for a question over a join."""

    job: Job
    asker: str
    datasets: tuple[str, ...]
    reveal: str | None
    receivers: tuple[str, ...]
    party: Party
    union: UnionWish | None = None


@dataclass(frozen=True)
class Party:
    """What one party brings: entries, the state of its ledger, its certificate's fingerprint, its nonce."""

    name: str
    entries: tuple[DatasetEntry, ...]
    epochs: tuple[int, ...]
    fingerprint: str
    nonce: str

    def to_object(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "entries": [entry.to_object() for entry in self.entries],
            "epochs": list(self.epochs),
            "fingerprint": self.fingerprint,
            "nonce": self.nonce,
        }


def is_name(value: object) -> bool:
    """Whether this is a party's name."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def malformed(peer: str, stage: str) -> PeerError:
    """The one error of a negotiation message that is not what the step expects."""
    return PeerError(
        "the peer sent a message that this step of the negotiation does not have",
        code="bad_negotiation",
        party=peer,
        stage=stage,
        remedy="check that both nodes run the same version, then ask again",
    )


def mismatch(party: str) -> IntegrityError:
    """The one error of a party that is ready for another plan."""
    return IntegrityError(
        "the parties derived different plans",
        code="plan_mismatch",
        party=party,
        remedy="bring all nodes to the same release of privcompute, then ask again",
    )


def _label(stage: str) -> str:
    return f"negotiate/{stage}.1"


async def say(channel: Channel, stage: str, body: Mapping[str, Any]) -> None:
    """Sends one negotiation message."""
    text = json.dumps({"version": PROTOCOL_VERSION, **body}, sort_keys=True, separators=(",", ":"))
    await channel.send(_label(stage), [text.encode()])


async def hear(
    channel: Channel,
    stage: str,
    fields: Sequence[str],
    timeout: float,
    silence: float | None = None,
    *,
    most: int = MESSAGE_LIMIT,
) -> dict[str, Any]:
    """Waits for one negotiation message with exactly these fields.

    Args:
        channel: The link to who says it.
        stage: Which message.
        fields: Its fields.
        timeout: The most seconds it may take, whatever signs of life the peer gives meanwhile.
        silence: Seconds without any sign of life after which the peer is given up earlier; default: ``timeout``.
        most: Bytes that it may have.

    Raises:
        PeerError: ``bad_negotiation``, or ``version`` when the peer speaks another protocol version.
        TransportError: ``deadline``, with the peer and the stage, or what the link failed with.
    """
    patience = timeout if silence is None else min(timeout, silence)
    try:
        async with asyncio.timeout(timeout):
            raw = await channel.recv(_label(stage), most, patience)
    except TimeoutError:
        raise TransportError(
            f"the peer did not say {stage!r} within {timeout:g} s",
            code="deadline",
            party=channel.peer,
            stage=_label(stage),
            remedy="ask the peer what its node waits for (its log says), then ask again",
        ) from None
    try:
        text = bytes(raw)
        body = json.loads(text, parse_float=_refuse, parse_constant=_refuse)
        if b"\\u" in text:
            json.dumps(body, ensure_ascii=False).encode()  # half a character would break whoever stores or prints it
    except (ValueError, RecursionError):
        raise malformed(channel.peer, stage) from None
    if not isinstance(body, dict):
        raise malformed(channel.peer, stage)
    version = body.pop("version", None)
    if version != PROTOCOL_VERSION:
        raise PeerError(
            "the peer speaks another version of the protocol",
            code="version",
            party=channel.peer,
            stage=stage,
            remedy="bring both nodes to the same release of privcompute",
        )
    if set(body) != set(fields):
        raise malformed(channel.peer, stage)
    return body


def _refuse(text: str) -> Any:
    raise ValueError("no such number here")


def read_party(body: object, name: str, peer: str, stage: str) -> Party:
    """A `Party` from what ``peer`` says of ``name``; every entry must belong to that party."""
    if not isinstance(body, dict) or set(body) != {"name", "entries", "epochs", "fingerprint", "nonce"}:
        raise malformed(peer, stage)
    entries, epochs = body["entries"], body["epochs"]
    right = (
        body["name"] == name
        and isinstance(entries, list)
        and len(entries) <= MAX_ENTRIES
        and isinstance(epochs, list)
        and len(epochs) == len(entries)
        and all(type(e) is int and 0 <= e < 1 << 53 for e in epochs)
        and isinstance(body["fingerprint"], str)
        and _HEX64.fullmatch(body["fingerprint"])
        and isinstance(body["nonce"], str)
        and _HEX64.fullmatch(body["nonce"])
    )
    if not right:
        raise malformed(peer, stage)
    read = tuple(DatasetEntry.from_object(one, party=name) for one in entries)
    return Party(name, read, tuple(epochs), body["fingerprint"], body["nonce"])


def proposal_body(p: Proposal) -> dict[str, Any]:
    """The proposal as JSON."""
    return {
        "job": p.job,
        "asker": p.asker,
        "datasets": list(p.datasets),
        "reveal": p.reveal,
        "receivers": list(p.receivers),
        "party": p.party.to_object(),
        "union": None if p.union is None else asdict(p.union),
    }


async def hear_proposal(channel: Channel, timeout: float) -> Proposal:
    """Waits for a proposal; its asker must be the peer at the other end of this link."""
    stage = "proposal"
    body = await hear(channel, stage, ("job", "asker", "datasets", "reveal", "receivers", "party", "union"), timeout)
    receivers, datasets = body["receivers"], body["datasets"]
    right = (
        body["job"] in ("explain", "query")
        and body["asker"] == channel.peer
        and isinstance(datasets, list)
        and len(datasets) <= MAX_ENTRIES
        and all(isinstance(d, str) and 0 < len(d) <= MAX_NAME for d in datasets)
        and body["reveal"] in _REVEAL
        and isinstance(receivers, list)
        and 0 < len(receivers) <= MAX_RECEIVERS
        and all(isinstance(r, str) and _NAME.fullmatch(r) for r in receivers)
        and len(set(receivers)) == len(receivers)
    )
    if not right:
        raise malformed(channel.peer, stage)
    party = read_party(body["party"], channel.peer, channel.peer, stage)
    try:
        wish = None if body["union"] is None else read_wish(body["union"])
    except UsageError:
        raise malformed(channel.peer, stage) from None
    return Proposal(body["job"], body["asker"], tuple(datasets), body["reveal"], tuple(receivers), party, wish)


def read_wish(body: object) -> UnionWish:
    """A wish from JSON.

    Raises:
        UsageError: ``bad_wish``.
    """
    if not isinstance(body, dict) or set(body) != {"scheme", "key_holder", "quorum"}:
        raise _bad_wish()
    scheme, key_holder, quorum = body["scheme"], body["key_holder"], body["quorum"]
    right = (
        scheme in (None, *get_args(Scheme))
        and (key_holder is None or (isinstance(key_holder, str) and _NAME.fullmatch(key_holder)))
        and (quorum is None or (type(quorum) is int and 0 < quorum <= MAX_HOLDERS))
    )
    if not right:
        raise _bad_wish()
    return UnionWish(scheme, key_holder, quorum)


def _bad_wish() -> UsageError:
    return UsageError(
        "a wish for a union is not one that can be granted",
        code="bad_wish",
        remedy=f"scheme is masks or paillier, key holder a party's name, quorum a number from 1 to {MAX_HOLDERS}",
    )


async def hear_offer(channel: Channel, timeout: float) -> Party:
    """Waits for the other's part of the catalogue."""
    body = await hear(channel, "offer", ("party",), timeout)
    return read_party(body["party"], channel.peer, channel.peer, "offer")


def agreement_body(sql: str, parties: Sequence[Party]) -> dict[str, Any]:
    """The agreement as JSON."""
    return {"sql": sql, "parties": [p.to_object() for p in parties]}


async def hear_agreement(
    channel: Channel, timeout: float, *, most: int = MAX_RECEIVERS + 2
) -> tuple[str, tuple[Party, ...]]:
    """Waits for the SQL and what all parties brought, as the asker says; the caller compares its own part.

    Args:
        channel: The link to the asker.
        timeout: Seconds.
        most: Most parties that take part.
    """
    body = await hear(channel, "agreement", ("sql", "parties"), timeout)
    sql, parties = body["sql"], body["parties"]
    if not isinstance(sql, str) or not 0 < len(sql) <= MAX_SQL:
        raise malformed(channel.peer, "agreement")
    if not isinstance(parties, list) or not 2 <= len(parties) <= most:
        raise malformed(channel.peer, "agreement")
    names = [p.get("name") if isinstance(p, dict) else None for p in parties]
    if not all(isinstance(n, str) and _NAME.fullmatch(n) for n in names) or len(set(names)) != len(names):
        raise malformed(channel.peer, "agreement")
    return sql, tuple(read_party(p, str(n), channel.peer, "agreement") for p, n in zip(parties, names, strict=True))


async def hear_ready(channel: Channel, timeout: float, silence: float) -> str:
    """Waits for the digest of the plan that the other derived, after its rules and local checks passed.

    Args:
        channel: The link to the other.
        timeout: Seconds for everything that the other does before.
        silence: Seconds without a sign of life: the other gives them while it reads (`signs_of_life`).
    """
    body = await hear(channel, "ready", ("plan_digest",), timeout, silence)
    digest = body["plan_digest"]
    if not isinstance(digest, str) or not _HEX64.fullmatch(digest):
        raise malformed(channel.peer, "ready")
    return digest


async def hear_go(channel: Channel, timeout: float, silence: float) -> None:
    """Waits for the asker's word that all are ready, or given up; what was read is kept in memory meanwhile.

    Args:
        channel: The link to the asker.
        timeout: Seconds for all others to get ready.
        silence: Seconds without a sign of life: the asker gives them while it waits (`signs_of_life`).
    """
    await hear(channel, "go", (), timeout, silence)


def session_digest(proposal: Proposal, sql: str, parties: Sequence[Party], plan_digest: str) -> bytes:
    """SHA-256 over all that was agreed: version, question, wishes, plan, and what every party brought.

    The plan's digest covers SQL, disclosure, parameters, the intersection's recipe, ranges, caps and dataset versions.
    """
    body = {
        "version": PROTOCOL_VERSION,
        "job": proposal.job,
        "asker": proposal.asker,
        "datasets": list(proposal.datasets),
        "sql": sql,
        "reveal": proposal.reveal,
        "receivers": list(proposal.receivers),
        "union": None if proposal.union is None else asdict(proposal.union),
        "parties": [p.to_object() for p in sorted(parties, key=lambda p: p.name)],
        "plan": plan_digest,
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(b"privcompute session v1|" + text.encode()).digest()
