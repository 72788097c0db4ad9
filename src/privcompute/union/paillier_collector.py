"""The collector's side of a Paillier sum; the order of calls is the protocol's, in `privcompute.union.paillier`.

Memory: the running sums, and at most `GRANTS` submissions on their way, however many holders there are.
"""

from __future__ import annotations

import asyncio

from privcompute.errors import PeerError, PrivcomputeError, UsageError
from privcompute.he.paillier import Batch, Encryptor, Mask, PublicKey
from privcompute.session import Session
from privcompute.union import messages as m
from privcompute.union.collector import GRANTS
from privcompute.union.job import Decide, Identity, Roster, SumJob
from privcompute.union.paillier_messages import MOST_KEY, Layout, read_key, submission_digest, submission_text
from privcompute.union.stages import DECIDING, Stages, lost_after_admission


class PaillierCollector:
    """The collector's state in one attempt.

    Args:
        s: The session, a channel for each holder that came and for the key holder.
        job: What was agreed.
        key_holder: Who holds the key.
        identity: Verifies signatures.
        bits: Length of the key.

    Raises:
        PeerError: ``key_holder_gone``.
    """

    def __init__(self, s: Session, job: SumJob, key_holder: str, identity: Identity, bits: int) -> None:
        self._s, self._job, self._identity, self._bits = s, job, identity, bits
        self._key_holder = key_holder
        self._names = job.roster.holders
        everybody = Roster(tuple(sorted({*self._names, key_holder})), job.roster.quorum)
        self.stages = Stages(s, everybody, job.patience)
        self._layout = Layout.of(job.shape, len(self._names), bits)
        self._raw_key = b""
        self._key: PublicKey | None = None
        self._encryptor: Encryptor | None = None
        self._counts: Batch | None = None
        self._values: Batch | None = None
        self._signed: dict[int, tuple[bytes, bytes]] = {}  # signature and digest of each submission that was added

    def __repr__(self) -> str:
        return f"<Paillier collector of {len(self._names)} holders>"

    def _need(self) -> None:
        if self._key_holder not in self.stages.present:
            raise PeerError(
                "the key holder is gone",
                code="key_holder_gone",
                party=self._key_holder,
                stage=self._s.path,
                remedy="ask again when it is back, or with another --key-holder",
            )

    # -- steps 1 and 2 ----------------------------------------------------------------------------------------------

    async def take_key(self) -> None:
        """The key, checked as the holders will check it."""
        self._need()
        async with self._from_key_holder():
            asked = self._s.recv_bytes(self._key_holder, "key", MOST_KEY)
            self._raw_key = await self.stages.alive("making the key", asked)
        self._key = await self._s.off_loop(
            read_key, self._raw_key, self._job, self._key_holder, self._identity, self._bits
        )
        self._encryptor = await self._s.off_loop(Encryptor, self._key)

    def _from_key_holder(self) -> _InTime:
        return _InTime(self._job.patience, self._key_holder, self._s.path)

    async def collect_submissions(self) -> None:
        """Relays the key; grants submissions, a few at a time, to those who are ready; adds each that is valid."""
        s, layout = self._s, self._layout
        grants, adding = asyncio.Semaphore(GRANTS), asyncio.Lock()

        async def talk(party: str) -> None:
            if party not in self._names:
                return  # a key holder without rows
            async with self.stages.in_time():
                await s.send_bytes(party, "key-relay", self._raw_key)
                await s.recv_bytes(party, "ready", 0)
            async with grants:
                async with self.stages.in_time():
                    await s.send_bytes(party, "grant", b"")
                    counts = await s.recv_bytes(party, "counts", layout.counts_bytes)
                    values = await s.recv_bytes(party, "values", layout.values_bytes)
                    signature = await s.recv_bytes(party, "signature", m.MOST_SIGNATURE)
                self.stages.check_quiet(party)
                async with adding:
                    await s.off_loop(self._add, party, counts, values, signature)
            await s.send_bytes(party, "receipt", b"")

        await self.stages.each("submitting", talk, timed=False)
        self._need()
        if len(self._signed) < self._job.roster.quorum:
            # A holder may leave once it has submitted, so its ledger has its say before: it knows who was planned.
            left = f"{len(self._signed)} holders are left of at least {self._job.roster.quorum}"
            raise lost_after_admission(left, s.path)
        self.stages.binding = True

    def _add(self, party: str, counts: bytes, values: bytes, signature: bytes) -> None:
        if self._key is None:
            raise UsageError("there is no key yet", code="bad_order")
        named = submission_digest(self._job, party, self._key.id, counts, values)
        self._identity.verify(party, submission_text(self._job, party, named), signature)
        more_counts, more_values = self._layout.read(self._key, counts, values)
        if more_counts is not None:
            self._counts = more_counts if self._counts is None else self._counts + more_counts
        self._values = more_values if self._values is None else self._values + more_values
        self._signed[self._names.index(party)] = (signature, named)

    # -- steps 3 to 5 -----------------------------------------------------------------------------------------------

    async def name_survivors(self) -> None:
        """Shows the key holder whose submissions are in the sums."""
        signatures = {holder: signed for holder, (signed, _) in self._signed.items()}
        texts = {holder: named for holder, (_, named) in self._signed.items()}
        await self._s.send_bytes(self._key_holder, "submissions", m.write_signatures(signatures, texts))
        async with self._from_key_holder():
            if await self._s.recv_bytes(self._key_holder, "go", 1) != b"\x01":
                raise m.refused("an answer")

    async def open_counts(self) -> tuple[int, ...]:
        """The sums of the counts."""
        if self._counts is None:
            return ()
        return tuple(await self._opened(self._counts, "blinded-counts", "opened-counts"))

    async def decide(self, decide: Decide, counts: tuple[int, ...]) -> tuple[int, ...]:
        """The units to show, as they are announced; many cells take long, and the key holder waits."""
        return self._job.shape.checked(await self.stages.alive(DECIDING, self._s.off_loop(decide, counts)))

    async def open_values(self, shown: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
        """The sums of the values of these units, and no others."""
        units = self._job.shape.units
        await self._s.send_bytes(self._key_holder, "shown", m.write_set(shown, len(units)))
        if not shown or self._values is None:
            return {}
        chosen = self._values.select(self._layout.ciphertexts_of(shown))
        numbers = await self._opened(chosen, "blinded-values", "opened-values")
        found, at, size = {}, 0, self._layout.values.per_ciphertext
        for unit in shown:
            found[unit] = tuple(numbers[at : at + units[unit]])
            at += -(-units[unit] // size) * size
        return found

    async def _opened(self, batch: Batch, ask: str, answer: str) -> tuple[int, ...]:
        blinded, mask = await self.stages.alive("opening", self._s.off_loop(self._blind, batch))
        await self._s.send_bytes(self._key_holder, ask, blinded)
        async with self._from_key_holder():
            opened = await self._s.recv_bytes(self._key_holder, answer, len(blinded))
        return (await self._s.off_loop(mask.remove, opened)).integers

    def _blind(self, batch: Batch) -> tuple[bytes, Mask]:
        if self._encryptor is None:
            raise UsageError("there is no key yet", code="bad_order")
        blinded, mask = self._encryptor.blind(batch)
        return blinded.to_bytes(), mask

    def survivors(self) -> tuple[str, ...]:
        """Whose submissions are in the sums."""
        return tuple(self._names[holder] for holder in sorted(self._signed))

    def dropped(self) -> dict[str, str]:
        """Who is not in the sums, with the reason's code."""
        return {party: code for party, code in self.stages.dropped.items() if party not in self.survivors()}


class _InTime:
    """Waits for the key holder within the patience of a stage; everything that goes wrong then ends the run."""

    def __init__(self, patience: float, key_holder: str, stage: str) -> None:
        self._timeout = asyncio.timeout(patience)
        self._patience, self._key_holder, self._stage = patience, key_holder, stage

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            await self._timeout.__aexit__(kind, error, None)
        except TimeoutError:
            raise PeerError(
                f"the key holder did not answer within {self._patience:g} s",
                code="key_holder_gone",
                party=self._key_holder,
                stage=self._stage,
                remedy="check its node and network, then ask again, or with another --key-holder",
            ) from None
        if isinstance(error, PrivcomputeError):
            error.party = error.party or self._key_holder
