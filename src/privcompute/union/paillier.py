"""The sum of many holders' numbers under Paillier's encryption: one collects, another holds the key.

Inputs: each holder x = (counts, values), integers; the values fall into public units. The key holder and the collector
    none (either node may be a holder too).
Needs: a job id unique to this attempt, agreed by all; the long-term keys of all, pinned by all; for each holder, and
    for the key holder, one link, to the collector. Roster, quorum, shape, patience and key holder are public.
Output: the collector: the sums of the counts, and of the values in the units shown, over the survivors. The key holder:
    who survived and which units were shown. A holder: that its part was taken.
Learned: the collector alone: the output. The key holder alone: who took part. Both together: every holder's numbers;
    and a collector that cheats can have a single holder's part opened in place of the sum. That numbers are true
    nobody checks; those that leave their slot are found. A key holder that answers wrongly makes the answer wrong,
    unless a number leaves its slot.
Source: Paillier, EUROCRYPT 1999; Damgård, Jurik and Nielsen, IJIS 2010, section 4; proof of the key: Goldberg et al.
    (2019), section 3.2; two roles: folklore, compare Erkin and Tsudik (ACNS 2012).
Steps:
    1. The key holder draws a fresh key for this attempt, proves to this job that it is well formed, and signs it. The
       collector relays it.
    2. Each holder checks signature and proof, encrypts x, the values of each unit in ciphertexts of their own, and,
       when granted, sends the result with its signature. The collector adds what is valid, whole and in time, and says
       so; a holder that hears it may leave.
    3. The collector sends the key holder the survivors and their signatures; at least the quorum. The key holder
       checks them and asks its owner's rules (admit).
    4. The collector adds a uniform mask to every ciphertext of the counts; the key holder decrypts; the collector takes
       the masks off.
    5. From the counts the collector decides which units may show, and has their ciphertexts opened in the same way,
       once and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privcompute.he.paillier import Encryptor, PrivateKey
from privcompute.he.paillier.keys import DEFAULT_BITS
from privcompute.session import Session, protocol
from privcompute.union import messages as m
from privcompute.union.job import Admit, Contribution, Decide, Identity, Receipt, SumJob, Totals
from privcompute.union.paillier_collector import PaillierCollector
from privcompute.union.paillier_messages import (
    MOST_KEY,
    Layout,
    key_message,
    read_key,
    read_submissions,
    submission_digest,
    submission_text,
)

_SOURCE = "Paillier, EUROCRYPT 1999; two roles"
ROUNDS = 11
_LEARNED = "who took part and, at the key holder, which units were shown"
GO = b"\x01"


@protocol("paillier_sum", source=_SOURCE, rounds=ROUNDS, learned=_LEARNED)
async def paillier_sum_collector(
    s: Session, job: SumJob, key_holder: str, identity: Identity, decide: Decide, *, bits: int = DEFAULT_BITS
) -> Totals:
    """The collector's role.

    Args:
        s: One channel for each holder that came and one for the key holder; the collector's own name is none of them.
        job: What was agreed.
        key_holder: Who holds the key.
        identity: Verifies signatures; signs nothing.
        decide: From the opened counts the units that may show.
        bits: Length of the key.

    Raises:
        PeerError: ``quorum_lost_after_admission``: too few are left, nothing was opened, but holders' ledgers know
            who was planned; ``key_holder_gone``.
        IntegrityError: what was decrypted is no sum of what may have been encrypted.
        PrivacyError: an owner refuses.
    """
    me = PaillierCollector(s, job, key_holder, identity, bits)
    # 1.
    await me.take_key()
    # 2.
    await me.collect_submissions()
    # 3.
    await me.name_survivors()
    # 4.
    counts = await me.open_counts()
    # 5.
    shown = await me.decide(decide, counts)
    values = await me.open_values(shown)
    return Totals(counts, shown, values, me.survivors(), me.dropped())


@protocol("paillier_sum", source=_SOURCE, rounds=ROUNDS, learned=_LEARNED)
async def paillier_sum_holder(
    s: Session,
    job: SumJob,
    key_holder: str,
    identity: Identity,
    contribution: Contribution | None,
    admit: Admit,
    check_shown: Callable[[Sequence[int]], None],
    *,
    bits: int = DEFAULT_BITS,
) -> Receipt:
    """A holder's role, the key holder's, or both.

    Args:
        s: One channel, to the collector; this session's own name is the holder's on the roster, or the key holder's.
        job: What was agreed.
        key_holder: Who holds the key.
        identity: Signs for this party, verifies the others.
        contribution: What this holder adds; None: a key holder without rows.
        admit: At the key holder: asks the owner's rules whether the sum over these survivors may open.
        check_shown: Likewise whether these units may show.
        bits: Length of the key.

    Returns:
        At the key holder who survived and what was shown; a mere holder leaves before either is known.

    Raises:
        IntegrityError: a signature or a proof is wrong, or the collector wants what it may not have.
        PeerError: the collector or the key holder sent what is not acceptable.
        PrivacyError: from ``admit`` or ``check_shown``.
    """
    own: PrivateKey | None = None
    if s.me == key_holder:
        # 1.
        own = await s.off_loop(PrivateKey.generate, bits)
        await s.send_bytes(s.peer, "key", await s.off_loop(key_message, own, job, key_holder, identity))
    if contribution is not None:
        # 2.
        await _submit(s, job, key_holder, identity, contribution, own, bits)
    if own is None:
        return Receipt((), ())
    return await _open(s, job, identity, own, admit, check_shown)


async def _submit(
    s: Session,
    job: SumJob,
    key_holder: str,
    identity: Identity,
    contribution: Contribution,
    own: PrivateKey | None,
    bits: int,
) -> None:
    contribution.check(job.shape)
    raw = await s.recv_bytes(s.peer, "key-relay", MOST_KEY)
    key = await s.off_loop(read_key, raw, job, key_holder, identity, bits)
    layout = Layout.of(job.shape, len(job.roster.holders), bits)
    encryptor = await s.off_loop(Encryptor, own if own is not None and own.public == key else key)
    counts, values = await s.off_loop(layout.encrypt, encryptor, contribution)
    await s.send_bytes(s.peer, "ready", b"")
    await s.recv_bytes(s.peer, "grant", 0)
    await s.send_bytes(s.peer, "counts", counts)
    await s.send_bytes(s.peer, "values", values)
    digest = await s.off_loop(submission_digest, job, s.me, key.id, counts, values)
    await s.send_bytes(s.peer, "signature", identity.sign(submission_text(job, s.me, digest)))
    await s.recv_bytes(s.peer, "receipt", 0)


async def _open(
    s: Session,
    job: SumJob,
    identity: Identity,
    own: PrivateKey,
    admit: Admit,
    check_shown: Callable[[Sequence[int]], None],
) -> Receipt:
    layout, units = Layout.of(job.shape, len(job.roster.holders), own.public.bits), len(job.shape.units)
    # 3.
    limit = m.signatures_bytes(len(job.roster.holders), m.MOST_SIGNATURE, 32)
    listed = await s.recv_bytes(s.peer, "submissions", limit)
    survivors = await s.off_loop(read_submissions, listed, job, identity)
    await admit(survivors)
    await s.send_bytes(s.peer, "go", GO)
    # 4.
    if job.shape.counts:
        await _decrypt(s, layout, own, "blinded-counts", "opened-counts", layout.count_ciphertexts)
    # 5.
    shown = m.read_set(await s.recv_bytes(s.peer, "shown", m.set_bytes(units)), units)
    check_shown(shown)
    if shown:
        await _decrypt(s, layout, own, "blinded-values", "opened-values", len(layout.ciphertexts_of(shown)))
    return Receipt(survivors, shown)


async def _decrypt(s: Session, layout: Layout, own: PrivateKey, asked: str, answer: str, ciphertexts: int) -> None:
    raw = await s.recv_bytes(s.peer, asked, layout.blinded_bytes(ciphertexts))
    await s.send_bytes(s.peer, answer, await s.off_loop(layout.open_blinded, own, raw, ciphertexts))
