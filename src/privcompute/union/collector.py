"""The collector's side of a masked sum: it relays, adds, drops who does not keep up, and unmasks what opened.

The order of calls is the protocol's, in `privcompute.union.masks`. Memory: the running sums, the sealed shares that
are relayed (115 bytes for each pair of holders), and at most `GRANTS` submissions, or openings, on their way, each of
at most the size of the sums, however many holders there are. A submission is added when it is whole, and then it stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from privcompute.errors import IntegrityError, PeerError
from privcompute.randomness import equal
from privcompute.session import Session
from privcompute.union import messages as m
from privcompute.union.holder import Rows
from privcompute.union.job import Decide, Identity, SumJob, Words, from_limbs
from privcompute.union.keys import KeyPair, commitment, derived, own_key
from privcompute.union.shamir import SHARE_BYTES, Recovery
from privcompute.union.stages import DECIDING, Stages, lost_after_admission
from privcompute.union.streams import UnitMasks, add, apply, apply_pair

GRANTS: Final = 4
"""Submissions, or openings, on their way at the same time."""


class Collector:
    """The collector's state in one attempt.

    Args:
        s: The session, a channel for each holder that came.
        job: What was agreed.
        identity: Verifies the holders' signatures.
    """

    def __init__(self, s: Session, job: SumJob, identity: Identity) -> None:
        self.stages = Stages(s, job.roster, job.patience)
        self._s, self._job, self._identity = s, job, identity
        self._names = job.roster.holders
        self._number = {name: number for number, name in enumerate(self._names)}
        self._adverts: dict[int, m.Advert] = {}
        self._view = b""
        self._threshold = self._least = 0
        self._deals: dict[int, dict[int, bytes]] = {}  # by dealer and receiver
        self._counts: Words = np.zeros(job.shape.counts, np.uint64)
        self._values: Words = np.zeros((job.shape.values, job.shape.limbs), np.uint64)
        self._grants, self._adding = asyncio.Semaphore(GRANTS), asyncio.Lock()
        self._survivors: list[int] = []
        self._recovery = Recovery(0)
        self._announced = False  # the survivors, to holders that note them in their ledgers
        self._released = False
        self._turn = 0  # of steps 6 and 7
        self._given: set[int] = set()  # whose own masks of the units shown have been taken off
        self._late: dict[int, dict[int, bytes]] = {}  # shares of missing holders' seeds of values, by owner and point

    def __repr__(self) -> str:
        return f"<Collector of {len(self._names)} holders>"

    def _numbers(self) -> list[int]:
        return [self._number[name] for name in self.stages.present]

    def _need(self, least: int) -> None:
        if len(self.stages.present) >= least:
            return
        left = f"{len(self.stages.present)} holders are left of at least {least}"
        if self._released:
            raise PeerError(
                f"{left}, after shares of masks had been released",
                code="quorum_lost_after_release",
                stage=self._s.path,
                remedy="no total was opened; ask again when the same holders are there",
            )
        if self._announced:
            raise lost_after_admission(left, self._s.path)
        raise PeerError(
            left,
            code="quorum_lost",
            stage=self._s.path,
            remedy="nothing was opened; ask again with those that are there",
        )

    # -- steps 1 to 3 -----------------------------------------------------------------------------------------------

    async def collect_adverts(self) -> bytes:
        """Waits for those who come; the list of their signed adverts, as it is relayed."""
        signed: dict[int, bytes] = {}

        async def talk(party: str) -> m.Advert:
            raw = await self._s.recv_bytes(party, "advert", m.ADVERT_BYTES + m.MOST_SIGNATURE)
            body, signature = raw[: m.ADVERT_BYTES], raw[m.ADVERT_BYTES :]
            advert = m.Advert.read(body)
            if not signature:
                raise m.refused("a signature")
            self._identity.verify(party, m.advert_text(self._job, party, body), signature)
            signed[self._number[party]] = signature
            return advert

        for party, advert in (await self.stages.each("gathering", talk)).items():
            if m.distinct([*self._adverts.values(), advert]):
                self._adverts[self._number[party]] = advert
            else:
                self.stages.drop(party, m.refused("a public key"))
        n = len(self._adverts)
        self._need(self._job.roster.quorum)
        self._threshold, self._least = self._job.roster.threshold(n), self._job.roster.least(n)
        self._recovery = Recovery(self._threshold)
        bodies = {holder: advert.write() for holder, advert in self._adverts.items()}
        listed = m.write_signatures({holder: signed[holder] for holder in self._adverts}, bodies)
        self._view = m.view_digest(self._job, listed)
        return listed

    async def collect_deals(self, listed: bytes) -> None:
        """Relays the list and takes what each holder deals to the others."""
        holders = sorted(self._adverts)

        async def talk(party: str) -> Rows:
            await self._s.send_bytes(party, "adverts", listed)
            return await self._s.recv(party, "deal", np.uint8, (len(holders) - 1, m.DEAL_BYTES))

        for party, rows in (await self.stages.each("sharing keys", talk)).items():
            dealer = self._number[party]
            receivers = [holder for holder in holders if holder != dealer]
            self._deals[dealer] = {to: row.tobytes() for to, row in zip(receivers, rows, strict=True)}
        self._need(self._least)

    def _dealt_to(self, receiver: int) -> bytes:
        dealers = sorted(self._deals)
        deals = (self._deals[dealer][receiver] for dealer in dealers if dealer != receiver)
        return m.write_set(dealers, len(self._names)) + b"".join(deals)

    async def collect_submissions(self) -> None:
        """Relays the deals; grants submissions, a few at a time, to those who are ready; adds each that is whole."""
        s, shape = self._s, self._job.shape

        async def talk(party: str) -> None:
            async with self.stages.in_time():
                await s.send_bytes(party, "deals", self._dealt_to(self._number[party]))
                await s.recv_bytes(party, "ready", 0)
            async with self._grants:
                async with self.stages.in_time():
                    await s.send_bytes(party, "grant", b"")
                    counts = await s.recv(party, "counts", np.uint64, (shape.counts,))
                    values = await s.recv(party, "values", np.uint64, (shape.values, shape.limbs))
                self.stages.check_quiet(party)
                async with self._adding:
                    await s.off_loop(self._add, counts, values)
                self._survivors.append(self._number[party])

        await self.stages.each("submitting", talk, timed=False)
        self._survivors.sort()
        self.stages.binding = True
        self._need(self._least)

    def _add(self, counts: Words, values: Words) -> None:
        add(self._counts, counts)
        add(self._values, values)

    # -- steps 4 and 5 ----------------------------------------------------------------------------------------------

    async def certify(self, name: str, announced: bytes, text: bytes) -> bytes | None:
        """Announces something; the signatures of the fewest holders that make it binding, or None if too few came."""

        async def talk(party: str) -> bytes:
            await self._s.send_bytes(party, name, announced)
            signature = await self._s.recv_bytes(party, f"{name}-signature", m.MOST_SIGNATURE)
            self._identity.verify(party, text, signature)
            return signature

        signed = await self.stages.each("signing", talk)
        first = list(signed.items())[: self._threshold]
        if len(first) < self._threshold:
            return None
        return m.write_signatures({self._number[party]: signature for party, signature in first})

    async def certify_survivors(self) -> bytes:
        """Has the survivors sign whose contributions are in the sums."""
        raw = m.write_set(self._survivors, len(self._names))
        text = m.survivors_text(self._job, self._view, sorted(self._deals), self._survivors)
        self._announced = True
        signatures = await self.certify("survivors", raw, text)
        self._need(self._threshold)
        return signatures or b""

    async def open_counts(self, certificate: bytes) -> tuple[int, ...]:
        """Takes one share of each dealer's secret from each survivor, recovers these and unmasks the counts."""
        dealers = sorted(self._deals)
        self._released = True

        async def talk(party: str) -> Rows:
            await self._s.send_bytes(party, "certificate", certificate)
            return await self._s.recv(party, "shares", np.uint8, (len(dealers), SHARE_BYTES))

        rows = await self.stages.each("opening counts", talk)
        self._need(self._threshold)
        points = {self._number[party] + 1: row for party, row in rows.items()}
        await self.stages.alive("opening counts", self._s.off_loop(self._unmask_counts, points))
        self._drop_liars()
        return tuple(self._counts.tolist())

    def _drop_liars(self) -> None:
        liars = [self._names[point - 1] for point in self._recovery.liars]
        error = PeerError("the holder's share of a secret is wrong", code="bad_share", stage=self._s.path)
        self.stages.drop_all((liar for liar in liars if liar in self.stages.present), error)

    def _recovered(self, owner: int, shares: dict[int, bytes], valid: Callable[[bytes], bool]) -> bytes:
        try:
            return self._recovery.recover(shares, valid)
        except IntegrityError as error:
            error.party, error.stage = self._names[owner], self._s.path
            raise

    def _seed(self, owner: int, shares: dict[int, bytes], what: str, committed: bytes) -> bytes:
        job, name = self._job.id, self._names[owner]
        seed = self._recovered(owner, shares, lambda found: equal(commitment(job, name, what, found), committed))
        return own_key(seed, job, what)

    def _unmask_counts(self, rows: dict[int, Rows]) -> None:
        for at, dealer in enumerate(sorted(self._deals)):
            shares = {point: row[at].tobytes() for point, row in rows.items()}
            advert = self._adverts[dealer]
            if dealer in self._survivors:
                apply(self._counts, self._seed(dealer, shares, "counts", advert.counts), plus=False)
            else:
                self._unmask_pairs(dealer, shares, advert.masking)

    def _unmask_pairs(self, missing: int, shares: dict[int, bytes], public: bytes) -> None:
        """Takes the masks out of both sums that the survivors have in common with one who dealt and never submitted."""
        secret = self._recovered(missing, shares, lambda found: equal(KeyPair(found).public, public))
        pair = KeyPair(secret)
        for other in self._survivors:
            low, high = sorted((missing, other))
            shared = pair.agree(self._adverts[other].masking)
            key = derived(shared, self._job.id, m.pair_info(self._view, "mask", low, high))
            # The survivor with the lower number had added it.
            apply_pair(self._counts, self._values, key, plus=other != low)

    # -- steps 6 and 7 ----------------------------------------------------------------------------------------------

    async def decide(self, decide: Decide, counts: tuple[int, ...]) -> tuple[int, ...]:
        """The units to show, as they are announced; many cells take long, and the holders wait."""
        return self._job.shape.checked(await self.stages.alive(DECIDING, self._s.off_loop(decide, counts)))

    def _next_turn(self) -> str:
        self._turn += 1
        return f"turn-{self._turn}"

    def _missing(self) -> list[int]:
        """Survivors that are gone and have not opened their part."""
        there = {*self._numbers(), *self._given}
        return [holder for holder in self._survivors if holder not in there]

    async def open_values(self, shown: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
        """Opens the units to show, and no others; for those that go missing meanwhile the others' shares stand in."""
        units, helped = await self._s.off_loop(UnitMasks, self._job.shape, shown), set[int]()
        set_shown = m.write_set(shown, len(self._job.shape.units))
        while True:
            self._need(self._threshold)
            missing = self._missing()
            set_gone = m.write_set(missing, len(self._names))
            text = m.shown_text(self._job, self._view, self._survivors, set_shown, set_gone)
            certificate = await self.certify(self._next_turn(), m.SHOW + set_shown + set_gone, text)
            if certificate is None or self._missing() != missing:
                continue
            await self._take_items(certificate, units, [owner for owner in missing if owner not in helped])
            helped |= set(missing)
            if self._missing() == missing:
                break
        await self.stages.alive("opening values", self._s.off_loop(self._unmask_missing, units))
        self._drop_liars()
        return await self.stages.alive("opening values", self._s.off_loop(self._opened, shown))

    def _opened(self, shown: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
        starts, opened = self._job.shape.starts, from_limbs(self._values)
        return {unit: tuple(opened[starts[unit] : starts[unit + 1]]) for unit in shown}

    async def _take_items(self, certificate: bytes, units: UnitMasks, new: list[int]) -> None:
        """Takes what opens the units: from each its own items, once, and its shares of new missing ones' seeds."""
        s, turn = self._s, self._next_turn()

        async def talk(party: str) -> Rows:
            holder = self._number[party]
            async with self._grants:
                async with self.stages.in_time():
                    await s.send_bytes(party, turn, m.SIGNED + certificate)
                    first = holder not in self._given
                    items = await s.recv(party, "items", np.uint64, (units.words,)) if first else None
                    shares = await s.recv(party, "late-shares", np.uint8, (len(new), SHARE_BYTES))
                self.stages.check_quiet(party)
                if items is not None:
                    async with self._adding:
                        await s.off_loop(units.change, self._values, [items], plus=False)
                    self._given.add(holder)
            return shares

        for party, shares in (await self.stages.each("opening values", talk, timed=False)).items():
            for owner, share in zip(new, shares, strict=True):
                self._late.setdefault(owner, {})[self._number[party] + 1] = share.tobytes()

    def _unmask_missing(self, units: UnitMasks) -> None:
        for owner in self._missing():
            key = self._seed(owner, self._late[owner], "values", self._adverts[owner].values)
            units.change(self._values, [units.items(key)], plus=False)

    async def finish(self) -> None:
        """Tells those that are still there that it is over."""
        turn = self._next_turn()
        self.stages.binding = False  # all is open: an owner's refusal comes too late
        await self.stages.each("finishing", lambda party: self._s.send_bytes(party, turn, m.OVER))

    def survivors(self) -> tuple[str, ...]:
        """Whose contributions are in the sums."""
        return tuple(self._names[holder] for holder in self._survivors)
