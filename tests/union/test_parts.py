"""The parts of a masked sum by themselves: shares, keys, mask streams, sets and lists."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.errors import IntegrityError, PeerError
from privcompute.randomness import Stream, public_stream
from privcompute.union import SumShape
from privcompute.union import messages as m
from privcompute.union.job import Words, from_limbs, to_limbs
from privcompute.union.keys import KeyPair, Secrets, derived, packed, seal, unseal
from privcompute.union.shamir import NO_SHARE, PRIME, SHARE_BYTES, Recovery, split, weights
from privcompute.union.streams import PIECE, SMALL, UnitMasks, add, apply, apply_pair, subtract

secrets = st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), b"\xff" * 32])


def _stream(seed: int = 0) -> Stream:
    return public_stream(seed.to_bytes(8, "little"), "test")


# -- shares --


def test_the_prime_is_the_first_above_the_secrets() -> None:
    import gmpy2

    assert gmpy2.next_prime(2**256) == PRIME


@given(secrets, st.integers(1, 8), st.integers(0, 4), st.randoms(use_true_random=False))
def test_any_threshold_of_shares_gives_the_secret_back(secret: bytes, t: int, more: int, random: object) -> None:
    points = sorted(random.sample(range(1, 500), t + more))  # type: ignore[attr-defined]  # Hypothesis's
    shares = dict(zip(points, split(secret, t, points, _stream()), strict=True))
    chosen = random.sample(points, t)  # type: ignore[attr-defined]  # as above
    assert Recovery(t).recover({p: shares[p] for p in chosen}, lambda s: s == secret) == secret
    assert all(len(share) == SHARE_BYTES for share in shares.values())
    if t > 1:
        with pytest.raises(IntegrityError):
            Recovery(t).recover({p: shares[p] for p in chosen[1:]}, lambda s: s == secret)


def test_fewer_shares_fit_any_secret() -> None:
    """For t - 1 shares and every secret there is one polynomial: they say nothing."""
    points = [1, 2, 3]
    shares = split(b"\x05" * 32, 3, points, _stream())
    for other in (bytes(32), b"\xff" * 32, b"\x06" * 32):
        # The third share that goes with the first two and the other secret.
        w = [int(x) for x in weights(points)]
        known = sum(w[i] * int.from_bytes(shares[i], "little") for i in (0, 1))
        third = (int.from_bytes(other, "little") - known) * pow(w[2], -1, PRIME) % PRIME
        fitting = {1: shares[0], 2: shares[1], 3: third.to_bytes(SHARE_BYTES, "little")}
        assert Recovery(3).recover(fitting, lambda s: s == other) == other  # noqa: B023 - used at once


@pytest.mark.parametrize("liar", range(1, 7))
@pytest.mark.parametrize("lie", [bytes(SHARE_BYTES), b"\x01" * 32 + b"\0", (PRIME - 1).to_bytes(33, "little")])
def test_one_lie_is_found_by_leaving_one_out(liar: int, lie: bytes) -> None:
    secret, points = bytes(range(32)), range(1, 7)
    shares = dict(zip(points, split(secret, 5, points, _stream()), strict=True)) | {liar: lie}
    recovery = Recovery(5)
    assert recovery.recover(shares, lambda s: s == secret) == secret
    # The last point is not looked at, and so not found.
    assert recovery.liars == ({liar} if liar < 6 else set())
    second = bytes(32)
    again = dict(zip(points, split(second, 5, points, _stream(1)), strict=True)) | {liar: lie}
    assert recovery.recover(again, lambda s: s == second) == second


def test_no_share_is_no_number() -> None:
    secret, points = bytes(range(32)), range(1, 6)
    shares = dict(zip(points, split(secret, 3, points, _stream()), strict=True))
    assert Recovery(3).recover(shares | {1: NO_SHARE, 2: NO_SHARE}, lambda s: s == secret) == secret
    with pytest.raises(IntegrityError) as caught:
        Recovery(3).recover(shares | {1: NO_SHARE, 2: NO_SHARE, 3: NO_SHARE}, lambda s: s == secret)
    assert caught.value.code == "bad_shares"


# -- keys --


def test_two_holders_agree_and_a_third_does_not() -> None:
    a, b, c = (KeyPair.draw(_stream(i)) for i in range(3))
    assert a.agree(b.public) == b.agree(a.public)
    assert a.agree(b.public) != a.agree(c.public)


def test_derived_keys_differ_by_everything_they_are_bound_to() -> None:
    made = {
        derived(shared, job, m.pair_info(view, word, first, second))
        for shared in (bytes(32), b"1" * 32)
        for job in (bytes(32), b"1" * 32)
        for view in (b"v", b"w")
        for word in ("deal", "mask")
        for first, second in ((1, 2), (2, 1), (1, 3))
    }
    assert len(made) == 2 * 2 * 2 * 2 * 3


def test_packing_is_unambiguous() -> None:
    texts = [("a",), ("a", b""), ("a", b"", b""), ("ab",), ("a", b"b"), ("a", b"bc"), ("a", b"b", b"c"), ("", b"a")]
    assert len({packed(word, *parts) for word, *parts in texts}) == len(texts)  # type: ignore[arg-type]  # bytes follow


def test_a_sealed_message_opens_only_as_it_was() -> None:
    sealed = seal(b"k" * 32, b"view", b"text")
    assert unseal(b"k" * 32, b"view", sealed) == b"text"
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for key, view, what in (
        (b"l" * 32, b"view", sealed), (b"k" * 32, b"wiew", sealed), (b"k" * 32, b"view", flipped),
        (b"k" * 32, b"view", sealed[:-1]), (b"k" * 32, b"view", b""),
    ):  # fmt: skip
        with pytest.raises(IntegrityError):
            unseal(key, view, what)


def test_secrets_show_nothing_and_are_not_copied() -> None:
    import copy

    own = Secrets.draw(_stream())
    for secret in (own.channel.secret, own.masking.secret, own.counts, own.values):
        assert secret.hex() not in repr(own) + repr(own.channel) + str(own)
        assert repr(secret)[2:-1] not in repr(own) + repr(own.channel)
    with pytest.raises(TypeError):
        copy.copy(own.channel)


# -- streams --


@given(
    st.sampled_from([1, 2, 3, 4]),
    st.lists(st.tuples(st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1)), min_size=1, max_size=8),
)
def test_wide_numbers_add_and_subtract(limbs: int, pairs: list[tuple[int, int]]) -> None:
    edges = [0, 1, 2**64 - 1, 2**64, 2**128 - 1, 2**192 - 1, 2**256 - 1]
    pairs = pairs + list(itertools.product(edges, edges))
    modulus = 1 << 64 * limbs

    def array(values: list[int]) -> Words:
        raw = b"".join((value % modulus).to_bytes(8 * limbs, "little") for value in values)
        return np.frombuffer(raw, "<u8").reshape(-1, limbs).copy()

    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    total, rest = array(a), array(a)
    add(total, array(b))
    subtract(rest, array(b))
    assert total.tobytes() == array([x + y for x, y in pairs]).tobytes()
    assert rest.tobytes() == array([x - y for x, y in pairs]).tobytes()


@given(st.lists(st.integers(-(2**127), 2**127 - 1), max_size=20))
def test_limbs_hold_signed_numbers(values: list[int]) -> None:
    assert from_limbs(to_limbs(values, 2)) == values
    assert from_limbs(to_limbs(values, 4)) == values
    narrow = [value % 2**63 - 2**62 for value in values]
    assert from_limbs(to_limbs(np.array(narrow, np.int64), 3)) == narrow
    assert from_limbs(to_limbs(narrow, 1)) == narrow


@pytest.mark.parametrize("limbs", [1, 2, 3, 4])
def test_a_mask_in_pieces_is_one_key_stream(limbs: int) -> None:
    n = PIECE + 1234
    total = np.zeros((n, limbs), np.uint64)
    apply(total, b"k" * 16, plus=True)
    assert total.tobytes() == Stream(b"k" * 16).bytes(8 * n * limbs)
    apply(total, b"k" * 16, plus=False)
    assert not total.any()


def test_counts_and_values_have_masks_of_their_own() -> None:
    counts, values = np.zeros(50, np.uint64), np.zeros((50, 1), np.uint64)
    apply_pair(counts, values, bytes(range(32)), plus=True)
    assert not set(counts.tolist()) & set(values[:, 0].tolist())


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=12).map(tuple),
    st.sampled_from([64, 128, 192, 256]),
    st.data(),
)
def test_own_masks_open_by_units(units: tuple[int, ...], bits: int, data: st.DataObject) -> None:
    shape = SumShape(0, units, bits)
    shown = sorted(data.draw(st.sets(st.integers(0, len(units) - 1)), label="shown"))
    seeds = [bytes([i]) * 16 for i in range(3)]
    whole, some = UnitMasks(shape), UnitMasks(shape, shown)
    values = np.zeros((shape.values, shape.limbs), np.uint64)
    whole.change(values, [whole.items(seed) for seed in seeds], plus=True)
    masked = values.copy()
    some.change(values, [some.items(seed) for seed in seeds], plus=False)
    for unit in range(len(units)):
        rows = slice(shape.starts[unit], shape.starts[unit + 1])
        if unit in shown:
            assert not values[rows].any()
        else:
            assert values[rows].tobytes() == masked[rows].tobytes()
            assert values[rows].any()
    # A unit's item is short: its mask, or a key.
    for unit in range(len(units)):
        words = units[unit] * shape.limbs
        assert UnitMasks(shape, [unit]).words == (words if words <= SMALL else 2)


# -- sets and lists --


@given(st.integers(1, 70), st.data())
def test_sets_go_there_and_back(size: int, data: st.DataObject) -> None:
    members = data.draw(st.sets(st.integers(0, size - 1)))
    raw = m.write_set(members, size)
    assert m.read_set(raw, size) == tuple(sorted(members))
    for wrong in (raw + b"\0", raw[:-1]):
        with pytest.raises(PeerError):
            m.read_set(wrong, size)
    if size % 8:
        with pytest.raises(PeerError):
            m.read_set(raw[:-1] + bytes([raw[-1] | 0x80]), size)


@given(st.dictionaries(st.integers(0, 9), st.binary(min_size=1, max_size=255)), st.binary(max_size=40))
def test_lists_of_signatures_go_there_and_back(signatures: dict[int, bytes], junk: bytes) -> None:
    raw = m.write_signatures(signatures)
    assert {k: v for k, (v, _) in m.read_signatures(raw, 10).items()} == signatures
    texts = {k: bytes([k]) * 5 for k in signatures}
    both = m.read_signatures(m.write_signatures(signatures, texts), 10, 5)
    assert both == {k: (signatures[k], texts[k]) for k in signatures}
    try:
        read = m.read_signatures(raw + junk, 10)
    except PeerError:
        return
    # What is accepted is written the same way: no list has two forms.
    assert m.write_signatures({k: v for k, (v, _) in read.items()}) == raw + junk
