"""Holders of a masked sum without a network: a test plays the collector and hands them what it likes, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privcompute.randomness import Rng
from privcompute.session import Session, local_pair
from privcompute.union import SumJob, SumShape
from privcompute.union import messages as m
from privcompute.union.holder import Holder, Rows
from privcompute.union.job import Words
from privcompute.union.keys import KeyPair, commitment, derived, own_key
from privcompute.union.shamir import Recovery
from privcompute.union.streams import apply, apply_pair
from support.union import KeyedIdentity, Sum


@dataclass
class World:
    """All holders of one sum, and what a collector has seen of them.

    Args:
        about: The sum.
        kind: The class of the holders: the real one, or a mutant.
    """

    about: Sum
    kind: type[Holder] = Holder

    def __post_init__(self) -> None:
        self.job: SumJob = self.about.job
        self.shape: SumShape = self.about.shape
        self.names = self.about.holders
        self.all = range(len(self.names))
        self.holders = [
            self.kind(_session(name, self.job.id), self.job, KeyedIdentity(name)) for name in self.names
        ]  # fmt: skip
        self.adverts: dict[int, m.Advert] = {}
        self.signed: dict[int, tuple[bytes, bytes]] = {}
        self.sealed: dict[tuple[int, int], bytes] = {}
        self.submitted: dict[int, tuple[Words, Words]] = {}

    def advertise(self) -> bytes:
        """Step 1, to the list that an honest collector relays."""
        for i, holder in enumerate(self.holders):
            raw = holder.advert()
            self.signed[i] = raw[m.ADVERT_BYTES :], raw[: m.ADVERT_BYTES]
            self.adverts[i] = m.Advert.read(raw[: m.ADVERT_BYTES])
        listed = self.listed()
        self.view = m.view_digest(self.job, listed)
        return listed

    def listed(self, changed: Mapping[int, tuple[bytes, bytes]] | None = None) -> bytes:
        """The list of adverts, with changed signatures and bodies."""
        entries = self.signed | dict(changed or {})
        return m.write_signatures({i: s for i, (s, _) in entries.items()}, {i: b for i, (_, b) in entries.items()})

    def deal(self) -> None:
        """Steps 1 and 2."""
        listed = self.advertise()
        for i, holder in enumerate(self.holders):
            holder.take_adverts(listed)
            others = [j for j in self.all if j != i]
            for j, row in zip(others, holder.deal(), strict=True):
                self.sealed[i, j] = row.tobytes()

    def deals_for(self, receiver: int, dealers: Sequence[int] | None = None) -> bytes:
        """What an honest collector relays in step 3."""
        dealers = self.all if dealers is None else dealers
        return m.write_set(dealers, len(self.names)) + b"".join(
            self.sealed[j, receiver] for j in dealers if j != receiver
        )

    def submit(self) -> None:
        """Steps 1 to 3."""
        self.deal()
        for i, holder in enumerate(self.holders):
            holder.take_deals(self.deals_for(i))
            self.submitted[i] = holder.mask(self.about.contribution(self.names[i]))

    def set_of(self, members: Sequence[int]) -> bytes:
        """A set of holders."""
        return m.write_set(members, len(self.names))

    def certify(self, survivors: Sequence[int], *, signers: Sequence[int] | None = None) -> bytes:
        """Step 4 with these survivors: the signatures of the signers, all survivors by default."""
        signatures = {}
        for i in survivors if signers is None else signers:
            self.holders[i].take_survivors(self.set_of(survivors))
            signatures[i] = self.holders[i].sign()
        return m.write_signatures(signatures)

    def announce(self, shown: Sequence[int], gone: Sequence[int] = ()) -> bytes:
        """What an honest collector says in step 6."""
        return m.SHOW + m.write_set(shown, len(self.shape.units)) + self.set_of(gone)

    # -- what a collector can compute ---------------------------------------------------------------------------------

    def recover(self, dealer: int, rows: Mapping[int, Rows], threshold: int) -> bytes:
        """A dealer's secret, of whichever kind the shares are that these holders gave in step 5."""
        advert, job, name = self.adverts[dealer], self.job.id, self.names[dealer]
        return Recovery(threshold).recover(
            {i + 1: row[dealer].tobytes() for i, row in rows.items()},
            lambda s: KeyPair(s).public == advert.masking or commitment(job, name, "counts", s) == advert.counts,
        )

    def without_pairs(self, victim: int, secrets: Mapping[int, bytes]) -> tuple[Words, Words]:
        """The victim's submission without its pairwise masks: from its own masking key, or from all others'."""
        counts, values = (array.copy() for array in self.submitted[victim])
        for other in self.all:
            if other == victim:
                continue
            mine, theirs = (victim, other) if victim in secrets else (other, victim)
            shared = KeyPair(secrets[mine]).agree(self.adverts[theirs].masking)
            key = derived(shared, self.job.id, m.pair_info(self.view, "mask", *sorted((victim, other))))
            apply_pair(counts, values, key, plus=victim > other)
        return counts, values

    def without_own(self, counts: Words, seed: bytes) -> list[int]:
        """Counts without the own mask of that seed."""
        apply(counts, own_key(seed, self.job.id, "counts"), plus=False)
        return [int(c) for c in counts]


def _session(name: str, about: bytes) -> Session:
    here, _ = local_pair(name, "collector")
    return Session(name, {"collector": here}, id=about, rng=Rng(about))
