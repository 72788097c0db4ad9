"""The sum of many holders' numbers under double masks: counts first, then only the units that these allow to show.

Inputs: each holder x = (counts, values), integers modulo 2**64 and 2**bits; the values fall into public units. The
    collector none (a node that is both runs both roles).
Needs: a job id unique to this attempt, agreed by all; every holder's long-term key, pinned by every other; for each
    holder one link, to the collector. Roster, quorum, shape and patience are public.
Output: the collector: the sums of the counts, and of the values in the units shown, over the survivors, whose names it
    tells all. A holder: who survived and which units were shown.
Learned: the collector alone, or with fewer than t = floor(2n/3) + 1 of the n holders while it keeps to the protocol:
    the output and, of the others, only the sum. A collector that cheats, together with at most 2t - n - 1 holders
    (about a third of n): the same; it can claim that no more than the quorum came, so n counts as the quorum then.
    Beyond that, everything. A holder learns nothing of another's numbers. That numbers are true, or in range, nobody
    checks.
Source: Bonawitz et al., CCS 2017, section 4.3 (figure 4, against an active server); the masks opened by units are ours.
Steps:
    1. Each holder draws fresh keys for this attempt (X25519, for messages and for masks) and two seeds (counts,
       values), and sends the public keys and commitments to the seeds, signed. The collector relays the list of those
       who came, n of them. Each holder checks signatures, keys and its own place; the list's digest, the view, enters
       all that follows.
    2. Each holder shares its masking key and both seeds among the n, t to recover (Shamir), one sealed message to each
       other, which the collector relays from those who dealt.
    3. Each holder adds to x its own masks (from the seeds; of the values one for each unit) and, for each other
       dealer, a mask that the two have in common and that one adds and the other subtracts. When granted, it sends the
       result, y. The collector adds the y that arrive whole and in time.
    4. The collector names the survivors, whose y are in the sums; at least max(quorum, t). Each asks its owner's rules
       (admit), signs one such set, and goes on when t of them signed the same.
    5. Each survivor gives out one share for each dealer, ever: of the seed of counts if that one survived, else of its
       masking key. The collector recovers both kinds, checks them against commitments and public keys, and takes the
       masks off the counts.
    6. From the counts the collector decides which units may show, and names them, and the survivors that have gone
       missing since. Each holder signs: always the same units, and missing ones that only grow, at least t left.
    7. When t signed the same, each gives out what opens its own masks of these units and, for each missing one, its
       share of that one's seed of values. If more go missing meanwhile, back to 6. The collector takes the masks off
       these units; the others stay masked by those who are left. It says that it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privcompute.session import Session, protocol
from privcompute.union.collector import Collector
from privcompute.union.holder import Holder
from privcompute.union.job import Admit, Contribution, Decide, Identity, Receipt, SumJob, Totals
from privcompute.union.messages import ADVERT_BYTES, MOST_SIGNATURE, SHOW, SIGNED, signatures_bytes

_SOURCE = "Bonawitz et al., CCS 2017, section 4.3"
ROUNDS = 16
_LEARNED = "who took part, whose numbers are in the sums and which units were shown"


@protocol("masked_sum", source=_SOURCE, rounds=ROUNDS, learned=_LEARNED)
async def masked_sum_collector(s: Session, job: SumJob, identity: Identity, decide: Decide) -> Totals:
    """The collector's role.

    Args:
        s: One channel for each holder that came, by its name on the roster; the collector's own name is none of them.
        job: What was agreed.
        identity: Verifies the holders' signatures; signs nothing.
        decide: From the opened counts the units that may show.

    Raises:
        PeerError: ``quorum_lost``: too few are left, nothing was released, and a new attempt is safe;
            ``quorum_lost_after_admission``: likewise, but owners' ledgers know of these survivors, and refuse a sum
            over a few less; ``quorum_lost_after_release``: no total was opened, but shares were given out.
        IntegrityError: ``bad_shares``: the holder named dealt shares that do not fit together.
        PrivacyError: an owner refuses these survivors, or these units.
    """
    me = Collector(s, job, identity)
    # 1.
    listed = await me.collect_adverts()
    # 2.
    await me.collect_deals(listed)
    # 3.
    await me.collect_submissions()
    # 4.
    certificate = await me.certify_survivors()
    # 5.
    counts = await me.open_counts(certificate)
    # 6. 7.
    shown = await me.decide(decide, counts)
    values = await me.open_values(shown) if shown else {}
    await me.finish()
    return Totals(counts, shown, values, me.survivors(), me.stages.dropped)


@protocol("masked_sum", source=_SOURCE, rounds=ROUNDS, learned=_LEARNED)
async def masked_sum_holder(
    s: Session,
    job: SumJob,
    identity: Identity,
    contribution: Contribution,
    admit: Admit,
    check_shown: Callable[[Sequence[int]], None],
) -> Receipt:
    """A holder's role.

    Args:
        s: One channel, to the collector; this session's own name is the holder's on the roster.
        job: What was agreed.
        identity: Signs for this holder, verifies the others.
        contribution: What this holder adds; it is not changed.
        admit: Asks the owner's rules whether the sum over these survivors may open; before anything is signed.
        check_shown: Likewise whether these units may show.

    Raises:
        IntegrityError: the collector cheats, or the numbers of a relayed message do not add up.
        PrivacyError: from ``admit`` or ``check_shown``.
        PeerError: the collector sent what is not acceptable, or ended the run; as it names it.
        TransportError: the link is gone or silent.
    """
    contribution.check(job.shape)
    me, n = Holder(s, job, identity), len(job.roster.holders)
    # 1.
    await s.send_bytes(s.peer, "advert", me.advert())
    listed = await s.recv_bytes(s.peer, "adverts", signatures_bytes(n, MOST_SIGNATURE, ADVERT_BYTES))
    await s.off_loop(me.take_adverts, listed)
    # 2.
    await s.send(s.peer, "deal", await s.off_loop(me.deal))
    await s.off_loop(me.take_deals, await s.recv_bytes(s.peer, "deals", me.deals_limit))
    # 3.
    counts, values = await s.off_loop(me.mask, contribution)
    await s.send_bytes(s.peer, "ready", b"")
    await s.recv_bytes(s.peer, "grant", 0)
    await s.send(s.peer, "counts", counts)
    await s.send(s.peer, "values", values)
    # 4.
    await admit(me.take_survivors(await s.recv_bytes(s.peer, "survivors", me.set_limit)))
    await s.send_bytes(s.peer, "survivors-signature", me.sign())
    certificate = await s.recv_bytes(s.peer, "certificate", signatures_bytes(n, MOST_SIGNATURE))
    await s.off_loop(me.check_certificate, certificate)
    # 5.
    await s.send(s.peer, "shares", me.shares())
    turn = 0
    while True:
        turn += 1
        said = await s.recv_bytes(s.peer, f"turn-{turn}", me.turn_limit)
        if said[:1] == SHOW:
            # 6.
            check_shown(me.take_shown(said))
            await s.send_bytes(s.peer, f"turn-{turn}-signature", me.sign())
        elif said[:1] == SIGNED:
            # 7.
            await s.off_loop(me.take_signed, said)
            if (items := await s.off_loop(me.items)) is not None:
                await s.send(s.peer, "items", items)
            await s.send(s.peer, "late-shares", me.late_shares())
        else:
            return me.receipt(said)
