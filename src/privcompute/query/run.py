"""Runs a plan: two holders and, maybe, receivers without data.

Inputs: every party: the plan and the digest of all that was agreed. Each holder: its distinct keys, and its features
    summed per key, in the order of its keys.
Needs: hello, dh_psi, cross_product, reveal; refresh where a receiver has no data.
Output: receivers: the integers that the plan opens, by name, or the fact that a contributor count is too small.
Learned: what the plan's disclosure lists: each holder which of its keys match and the contributor counts; each receiver
    the opened integers. Nothing else opens if a count is below the plan's minimum.
Source: sums over a join as inner products of per-key sums; compare Mohassel and Zhang (IEEE S&P 2017), section 4.
Steps:
    1. All parties compare the digest.
    2. Each holder records the run in its ledger: from here on it counts as released, for the matches are a release too.
    3. The holders intersect their keys and put the features of the matches in the common order.
    4. The holders compute shares of the products that the plan needs.
    5. The contributor counts open to all parties. If one is below the minimum, the run ends here, suppressed.
    6. The values open to their receivers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from privcompute import he
from privcompute.errors import IntegrityError, UsageError
from privcompute.mpc import Shared, refresh, reveal_to
from privcompute.psi import PsiLimits, dh_psi
from privcompute.ring import Ring
from privcompute.session import Session, protocol
from privcompute.session.hello import hello

if TYPE_CHECKING:
    import pyarrow as pa

    from privcompute.query.plan import Plan

Column = npt.NDArray[np.int64] | npt.NDArray[np.uint64]
Matches = npt.NDArray[np.int64]


@dataclass(frozen=True, repr=False, eq=False)
class Holding:
    """What a holder brings to a run.

    Attributes:
        keys: The distinct keys, canonical bytes.
        columns: One per feature of its side of the plan: int64 (n,), or uint64 (n, 2) limbs of 128-bit integers.
    """

    keys: pa.LargeBinaryArray
    columns: tuple[Column, ...]

    def __repr__(self) -> str:
        return f"Holding(keys={len(self.keys)}, columns={len(self.columns)})"


@dataclass(frozen=True)
class Opened:
    """How a run ended at one party.

    Attributes:
        values: By name of the opening, the integers that opened here.
        suppressed: Whether a contributor count was below the minimum.
        matches: The number of common keys; None at a party that does not learn it.
    """

    values: dict[str, int] = field(repr=False)
    suppressed: bool
    matches: int | None


Commit = Callable[[], Awaitable[None]]


@protocol(
    "private_query",
    source="Mohassel and Zhang, IEEE S&P 2017, section 4",
    rounds=8,
    learned="what the plan's disclosure lists",
)
async def run_plan(
    s: Session,
    plan: Plan,
    digest: bytes,
    holding: Holding | None,
    *,
    commit: Commit,
    limits: PsiLimits | None = None,
) -> Opened:
    """Runs the plan.

    Args:
        s: A session of the holders and the receivers.
        plan: What all parties derived alike.
        digest: Over everything that was agreed; 32 bytes.
        holding: What this party brings, if it is a holder.
        commit: Called once by a holder before it sends anything that depends on its rows; writes the ledger.
        limits: What the intersection may be.

    Raises:
        IntegrityError: the parties do not agree, or a declared opening is missing.
        PeerError, TransportError: as the protocols it is made of.
    """
    side = next((i for i, one in enumerate(plan.sides) if one.party == s.me), None)
    if (side is None) != (holding is None):
        raise UsageError("a holder, and nobody else, brings rows", code="bad_holding")
    for party in s.parties:
        if {one.name for one in plan.openings if party in one.receivers} != plan.disclosure.opened(party):
            raise _undeclared(party, "plan")
    if side is not None and holding is not None:
        _check_sizes(plan, side, holding, limits or PsiLimits())
    # 1.
    await hello(s, digest)
    matches: Matches | None = None
    shares: list[int] | None = None
    ring = Ring(plan.modulus_bits)
    if side is not None and holding is not None:
        # 2.
        await commit()
        # 3.
        other = plan.sides[1 - side]
        matches = await dh_psi(s, other.party, holding.keys, peer_items=other.distinct_keys, limits=limits)
        # 4.
        shares = await _shares(s, plan, side, holding.columns, matches, ring)
        shares = await _hidden_from_others(s, plan, shares, ring)
    # 5.
    values = await _open(s, plan, "count", shares, ring)
    suppressed = any(count < plan.minimum for count in values.values())
    if not suppressed:
        # 6.
        values |= await _open(s, plan, "value", shares, ring)
    return Opened(values, suppressed, None if matches is None else len(matches))


def _holders(plan: Plan) -> tuple[str, str]:
    return plan.sides[0].party, plan.sides[1].party


def _check_sizes(plan: Plan, side: int, holding: Holding, limits: PsiLimits) -> None:
    """What would end the intersection at once ends the run before it counts as released."""
    if len(holding.keys) != plan.sides[side].distinct_keys:
        raise UsageError(
            "the dataset has another number of keys than its catalogue entry",
            code="stale_entry",
            remedy=f"run `privcompute dataset edit {plan.sides[side].dataset} --refresh`, then ask again",
        )
    limits.check(len(holding.keys), plan.sides[1 - side].distinct_keys)


async def _shares(
    s: Session, plan: Plan, side: int, columns: Sequence[Column], matches: Matches, ring: Ring
) -> list[int]:
    """This holder's share of every opening: its share of the products, and what it sums alone."""
    products = await _products(s, plan, side, columns, matches, ring)
    alone = [total(columns[one.feature][matches]) if one.side == side else 0 for one in plan.locals]
    known = {"product": products, "local": alone}
    return [
        sum(term.coef * known[term.kind][term.index] for term in opening.terms) % ring.modulus
        for opening in plan.openings
    ]


async def _products(
    s: Session, plan: Plan, side: int, columns: Sequence[Column], matches: Matches, ring: Ring
) -> list[int]:
    kernel = plan.kernel
    if kernel is None:
        return []
    owner = kernel.owner
    shape = he.CrossShape(
        rows=kernel.rows,  # not the number of matches: cost and traffic are those that `explain` announced
        x_bounds=kernel.bounds[owner],
        y_bounds=kernel.bounds[1 - owner],
        entries=tuple((e[owner], e[1 - owner]) for e in kernel.entries),
        modulus_bits=kernel.modulus_bits,
    )
    mine = [columns[i][matches] for i in kernel.columns[side]]
    # Taken from the package here, not above: it loads the compiler, for which a node that starts need not wait.
    role = he.cross_product_key_owner if side == owner else he.cross_product_evaluator
    share = await role(s, plan.sides[1 - side].party, mine, shape)
    return [int(v) for v in ring.array(share.values)]


def total(column: Column) -> int:
    """The exact sum of int64 (n,), or of 128-bit integers in uint64 (n, 2) limbs.

    Sums of 32-bit halves cannot overflow 64 bits below 2**31 rows.
    """
    if column.ndim == 1:
        words = column.view(np.int64)
        return (int((words >> 32).sum()) << 32) + int((words & 0xFFFFFFFF).sum())
    low, high = np.ascontiguousarray(column[:, 0]), np.ascontiguousarray(column[:, 1])
    halves = int((low >> np.uint64(32)).sum()), int((low & np.uint64(0xFFFFFFFF)).sum())
    return (total(high.view(np.int64)) << 64) + (halves[0] << 32) + halves[1]


async def _hidden_from_others(s: Session, plan: Plan, shares: list[int], ring: Ring) -> list[int]:
    """A receiver without data sees both shares of what opens to it: they must tell nothing but their sum."""
    holders = _holders(plan)
    if set(plan.receivers) <= set(holders):
        return shares
    fresh = await refresh(s, Shared(ring, ring.array(shares)), holders)
    return [int(v) for v in fresh.values]


async def _open(s: Session, plan: Plan, phase: str, shares: Sequence[int] | None, ring: Ring) -> dict[str, int]:
    """Opens one phase, receivers by receivers; returns what opened here, as signed integers."""
    values: dict[str, int] = {}
    holders = _holders(plan)
    numbered = [(i, one) for i, one in enumerate(plan.openings) if one.phase == phase]
    for receivers in dict.fromkeys(one.receivers for _, one in numbered):
        group = [(i, one) for i, one in numbered if one.receivers == receivers]
        mine = None
        if shares is not None:
            mine = Shared(ring, ring.array([shares[i] for i, _ in group]))
        elif s.me not in receivers:
            continue
        opened = await reveal_to(s, mine, receivers, ring=ring, shape=(len(group),), holders=holders)
        if opened is not None:
            values |= {one.name: v for (_, one), v in zip(group, ring.signed(opened), strict=True)}
    _check_declared(s.me, plan, phase, values)
    return values


def _check_declared(me: str, plan: Plan, phase: str, values: dict[str, int]) -> None:
    """What opened here is exactly what the disclosure lists, and within its public bounds."""
    bounds = {one.name: one.bound for one in plan.openings if one.phase == phase}
    if set(values) != plan.disclosure.opened(me) & set(bounds):
        raise _undeclared(me, phase)
    if any(abs(value) > bounds[name] for name, value in values.items()):
        raise IntegrityError(
            "an opened value is outside its public bound",
            code="out_of_bound",
            stage=phase,
            remedy="a party did not follow the protocol, or its data changed during the run; ask again",
        )


def _undeclared(party: str, stage: str) -> IntegrityError:
    return IntegrityError(
        "the plan opens something else than it declares",
        code="undeclared",
        party=party,
        stage=stage,
        remedy="this is a fault of the program: report it with the plan's digest",
    )
