"""A holder's side of a masked sum: what it keeps for one attempt, what it checks and what it gives out.

The order of calls is the protocol's, in `privcompute.union.masks`. The collector is not trusted with anything: what it
relays is signed by other holders, and what it announces is checked against what this holder saw and signed before. An
object serves one attempt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from privcompute.errors import IntegrityError, UsageError
from privcompute.session import Session
from privcompute.union import messages as m
from privcompute.union.job import Contribution, Identity, Receipt, SumJob, Words
from privcompute.union.keys import Secrets, commitment, derived, own_key, seal, unseal
from privcompute.union.shamir import NO_SHARE, SHARE_BYTES, split
from privcompute.union.streams import UnitMasks, apply, apply_pair

Rows = npt.NDArray[np.uint8]
MASKING, COUNTS, VALUES = 0, 1, 2
"""The three secrets that a holder deals."""


class Holder:
    """One holder's state in one attempt.

    Args:
        s: The session with the collector.
        job: What was agreed.
        identity: The long-term keys.

    Raises:
        UsageError: ``bad_roster``: this party is not on the roster.
    """

    def __init__(self, s: Session, job: SumJob, identity: Identity) -> None:
        if s.me not in job.roster.holders:
            raise UsageError("this party is not among the holders of the sum", code="bad_roster")
        self._s, self._job, self._identity = s, job, identity
        self._names = job.roster.holders
        self._me = self._names.index(s.me)
        self._secrets = Secrets.draw(s.rng.private("secrets"))
        self._adverts: dict[int, m.Advert] = {}
        self._view = b""
        self._text = b""  # what this holder signs next, or has signed
        self._threshold = self._least = 0
        self._agreed: dict[int, bytes] = {}  # with each other holder, for messages
        self._own_deal: tuple[bytes, ...] = ()
        self._deals: dict[int, tuple[bytes, ...]] = {}  # by dealer
        self._survivors: tuple[int, ...] = ()
        self._shown: tuple[int, ...] | None = None
        self._signed = self._opened = False
        self._gone: set[int] = set()  # announced so far
        self._helped: set[int] = set()  # whose seed of values this holder has given its share of

    def __repr__(self) -> str:
        return f"<Holder {self._s.me}>"

    def _cheated(self, what: str, code: str) -> IntegrityError:
        return IntegrityError(
            f"the collector {what}",
            code=code,
            party=self._s.peer,
            stage=self._s.path,
            remedy="nothing more was released; do not answer this collector before its owner has explained it",
        )

    # -- steps 1 and 2 ----------------------------------------------------------------------------------------------

    def advert(self) -> bytes:
        """The own public keys and commitments, signed."""
        body = self._own_advert().write()
        return body + self._identity.sign(m.advert_text(self._job, self._s.me, body))

    def _own_advert(self) -> m.Advert:
        own, job = self._secrets, self._job.id
        return m.Advert(
            own.channel.public,
            own.masking.public,
            commitment(job, self._s.me, "counts", own.counts),
            commitment(job, self._s.me, "values", own.values),
        )

    def take_adverts(self, raw: bytes) -> None:
        """Checks the list of those who came.

        Raises:
            IntegrityError: ``signature``: of somebody else; ``bad_adverts``: too few, or without this holder's own.
            PeerError: ``bad_message``: malformed, a key is not canonical, of small order or there twice.
        """
        listed = m.read_signatures(raw, len(self._names), m.ADVERT_BYTES)
        for holder, (signature, body) in listed.items():
            self._adverts[holder] = m.Advert.read(body)
            if holder != self._me:
                self._identity.verify(
                    self._names[holder], m.advert_text(self._job, self._names[holder], body), signature
                )
        if not m.distinct(self._adverts.values()):
            raise m.refused("a public key")
        n = len(listed)
        if n < self._job.roster.quorum or self._adverts.get(self._me) != self._own_advert():
            raise self._cheated("sent a list of holders that this holder does not take part in", "bad_adverts")
        self._view = m.view_digest(self._job, raw)
        self._threshold, self._least = self._job.roster.threshold(n), self._job.roster.least(n)

    def deal(self) -> Rows:
        """For each other holder, ascending, its three shares, sealed: (n - 1, DEAL_BYTES)."""
        own, job = self._secrets, self._job.id
        points = [holder + 1 for holder in sorted(self._adverts)]
        stream = self._s.rng.private("polynomials")
        shares = [
            split(secret, self._threshold, points, stream) for secret in (own.masking.secret, own.counts, own.values)
        ]
        triples = dict(zip(sorted(self._adverts), zip(*shares, strict=True), strict=True))
        self._own_deal = triples.pop(self._me)
        sealed = []
        for other, triple in triples.items():
            self._agreed[other] = own.channel.agree(self._adverts[other].channel)
            key = derived(self._agreed[other], job, m.pair_info(self._view, "deal", self._me, other))
            sealed.append(seal(key, self._view, b"".join(triple)))
        return np.frombuffer(b"".join(sealed), np.uint8).reshape(len(sealed), m.DEAL_BYTES)

    # -- step 3 -----------------------------------------------------------------------------------------------------

    @property
    def deals_limit(self) -> int:
        """The most bytes of the relayed deals."""
        return self.set_limit + (len(self._adverts) - 1) * m.DEAL_BYTES

    def take_deals(self, raw: bytes) -> None:
        """Opens what the others dealt. A deal that does not open is kept as missing: its dealer's loss.

        Raises:
            IntegrityError: ``bad_dealers``: too few, or not of the list of step 2.
            PeerError: ``bad_message``: malformed.
        """
        head = m.set_bytes(len(self._names))
        dealers = m.read_set(raw[:head], len(self._names))
        known = self._me in dealers and set(dealers) <= set(self._adverts)
        if not known or len(dealers) < self._least:
            raise self._cheated("sent a list of dealers that this holder cannot go on with", "bad_dealers")
        if len(raw) != head + (len(dealers) - 1) * m.DEAL_BYTES:
            raise m.refused("a list of deals")
        at = head
        for dealer in dealers:
            if dealer == self._me:
                self._deals[dealer] = self._own_deal
                continue
            self._deals[dealer] = self._unsealed(dealer, raw[at : at + m.DEAL_BYTES])
            at += m.DEAL_BYTES
        self._agreed.clear()

    def _unsealed(self, dealer: int, sealed: bytes) -> tuple[bytes, ...]:
        key = derived(self._agreed[dealer], self._job.id, m.pair_info(self._view, "deal", dealer, self._me))
        try:
            text = unseal(key, self._view, sealed)
        except IntegrityError:
            return (NO_SHARE,) * 3
        return tuple(text[at : at + SHARE_BYTES] for at in range(0, len(text), SHARE_BYTES))

    def mask(self, contribution: Contribution) -> tuple[Words, Words]:
        """The contribution under the own masks and one mask for each other dealer: counts and values."""
        job, own, shape = self._job.id, self._secrets, self._job.shape
        counts, values = contribution.counts.copy(), contribution.values.copy(order="C")
        apply(counts, own_key(own.counts, job, "counts"), plus=True)
        units = UnitMasks(shape)
        units.change(values, [units.items(own_key(own.values, job, "values"))], plus=True)
        for other in self._deals:
            if other != self._me:
                low, high = sorted((self._me, other))
                shared = own.masking.agree(self._adverts[other].masking)
                key = derived(shared, job, m.pair_info(self._view, "mask", low, high))
                apply_pair(counts, values, key, plus=self._me == low)
        return counts, values

    # -- steps 4 and 5 ----------------------------------------------------------------------------------------------

    @property
    def set_limit(self) -> int:
        """Bytes of a set of holders."""
        return m.set_bytes(len(self._names))

    def take_survivors(self, raw: bytes) -> tuple[str, ...]:
        """The names of those whose contributions are in the sums.

        Raises:
            IntegrityError: ``bad_survivors``: too few, not dealers, or without this holder; ``survivors_changed``: this
                holder took a set before.
        """
        if self._survivors:
            raise self._cheated("wants another set of survivors than before", "survivors_changed")
        survivors = m.read_set(raw, len(self._names))
        known = self._me in survivors and set(survivors) <= set(self._deals)
        if not known or len(survivors) < self._least:
            raise self._cheated("sent a list of survivors that this holder cannot agree to", "bad_survivors")
        self._survivors = survivors
        self._text = m.survivors_text(self._job, self._view, sorted(self._deals), survivors)
        return tuple(self._names[holder] for holder in survivors)

    def sign(self) -> bytes:
        """This holder's signature under what it took last: the one set of survivors, or the units to show."""
        return self._identity.sign(self._text)

    def check_certificate(self, raw: bytes) -> None:
        """Raises IntegrityError (``certificate``, ``signature``) unless enough survivors signed the same."""
        signatures = m.read_signatures(raw, len(self._names))
        if len(signatures) < self._threshold or not set(signatures) <= set(self._survivors) - self._gone:
            raise self._cheated("sent too few signatures of the others", "certificate")
        for holder, (signature, _) in signatures.items():
            self._identity.verify(self._names[holder], self._text, signature)

    def shares(self) -> Rows:
        """For each dealer, ascending, one share: of its seed of counts if it survived, else of its masking key."""
        kept = [self._deals[d][COUNTS if d in self._survivors else MASKING] for d in sorted(self._deals)]
        return np.frombuffer(b"".join(kept), np.uint8).reshape(len(kept), SHARE_BYTES)

    # -- steps 6 and 7 ----------------------------------------------------------------------------------------------

    @property
    def turn_limit(self) -> int:
        """The most bytes that the collector says in one turn."""
        n = len(self._names)
        return 1 + max(
            m.set_bytes(len(self._job.shape.units)) + self.set_limit, m.signatures_bytes(n, m.MOST_SIGNATURE)
        )

    def take_shown(self, raw: bytes) -> tuple[int, ...]:
        """The units to show, and beside them whom the collector lost.

        Raises:
            IntegrityError: ``shown_changed``: other units than announced before; ``bad_gone``: too many, this holder
                itself, one that is no survivor, or fewer than before.
        """
        head = 1 + m.set_bytes(len(self._job.shape.units))
        shown = m.read_set(raw[1:head], len(self._job.shape.units))
        gone = set(m.read_set(raw[head:], len(self._names)))
        if self._shown is not None and shown != self._shown:
            raise self._cheated("wants to show other units than before", "shown_changed")
        few = len(gone) <= len(self._survivors) - self._threshold
        if not few or self._me in gone or not self._gone <= gone <= set(self._survivors):
            raise self._cheated("sent a list of missing holders that this holder cannot agree to", "bad_gone")
        self._shown, self._gone, self._signed = shown, gone, True
        self._text = m.shown_text(self._job, self._view, self._survivors, raw[1:head], raw[head:])
        return shown

    def take_signed(self, raw: bytes) -> None:
        """Checks that enough survivors signed the same units, as `check_certificate` does.

        Raises:
            PeerError: ``bad_message``: this holder has signed nothing since the last ones.
        """
        if not self._signed:
            raise m.refused("a list of signatures")
        self._signed = False
        self.check_certificate(raw[1:])

    def items(self) -> Words | None:
        """What opens the own masks of the units that are shown, and of no others; None: this holder has sent it."""
        if self._opened or self._shown is None:
            return None
        self._opened = True
        units = UnitMasks(self._job.shape, self._shown)
        return units.items(own_key(self._secrets.values, self._job.id, "values"))

    def late_shares(self) -> Rows:
        """For each missing holder, ascending, not helped with yet, the share of its seed of values."""
        new = sorted(self._gone - self._helped)
        self._helped |= self._gone
        kept = [self._deals[holder][VALUES] for holder in new]
        return np.frombuffer(b"".join(kept), np.uint8).reshape(len(kept), SHARE_BYTES)

    def receipt(self, raw: bytes) -> Receipt:
        """What this holder knows of the end; PeerError (``bad_message``) if it is none."""
        if raw != m.OVER:
            raise m.refused("an announcement")
        return Receipt(tuple(self._names[holder] for holder in self._survivors), (self._shown or ()))
