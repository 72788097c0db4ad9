"""The table of parameters and the noise budget behind it; docs/ring-lwe.md derives what is asserted here."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import UsageError
from privcompute.he import CrossShape, Parameters, choose_parameters, cross_cost
from privcompute.he.layout import choose_layout
from privcompute.he.parameters import MODULUS_LIMITS, candidates, digits_of, split_widths
from privcompute.he.primes import PRIMES


def full(p: int, q: int) -> tuple[tuple[int, int], ...]:
    return tuple((i, j) for i in range(p) for j in range(q))


def assert_budget(parameters: Parameters) -> None:
    """Everything the security and the exactness rest on, with exact numbers."""
    p = parameters
    assert p.bits <= MODULUS_LIMITS[p.n]
    assert p.q.bit_length() <= MODULUS_LIMITS[p.n]
    assert len(set(p.primes)) == len(p.primes)
    noise = Fraction(p.rows * 43 * p.digit_bound, 2) + 21 * (2 * p.n + 1)
    assert p.noise >= noise
    assert 2**p.flood_bits >= 2**39 * p.returned * noise
    # Statistical distance: each returned coefficient shifts a uniform range of 2 * 2**f by at most E.
    assert Fraction(p.returned * p.noise, 2 * 2**p.flood_bits) <= Fraction(1, 2**40)
    # The worst case before the switch, then after it, is less than half a step of the plaintext.
    worst = 2**p.flood_bits + noise + 1
    rounding = (p.n + 1) * (Fraction(1, 2) + Fraction(1, 2**11))
    assert worst * Fraction(2**p.reply_bits, p.q) + rounding < 2 ** (p.reply_bits - p.k - 1)


def test_the_primes_are_the_nine_largest_of_each_width() -> None:
    for width, primes in PRIMES.items():
        found: list[int] = []
        candidate = (1 << width) + 1 - (1 << 15)
        while len(found) < 9:
            if gmpy2.is_prime(candidate, 40):
                found.append(candidate)
            candidate -= 1 << 15
        assert list(primes) == found
        assert all(p.bit_length() == width for p in primes)


# security.md's table of needs: log2 q >= k + 40 + log2 M + log2 E + 0.1, at 10**6 rows. Our floods are powers of two,
# which may take one bit more.
@pytest.mark.parametrize(
    ("k", "digit", "returned", "bound", "log_q", "n"),
    [
        (83, 16, 50, 2**15, 168.1, 8192),
        (96, 32, 4096, 2**31, 203.4, 8192),
        (96, 16, 4096, 2**15, 187.4, 8192),
        (112, 16, 4096, 2**15, 203.4, 8192),
        (128, 32, 4096, 2**31, 235.4, 16384),
        (128, 64, 4096, 2**63, 267.4, 16384),
        (192, 64, 4096, 2**63, 331.4, 16384),
    ],
)
def test_the_rows_of_the_table(k: int, digit: int, returned: int, bound: int, log_q: float, n: int) -> None:
    rows = -(-(10**6) // n) * n
    need = Parameters(n, (), k, digit, 1, rows, bound, returned).least_q
    assert log_q - 0.1 <= math.log2(need) <= log_q + 1.1
    bits = need.bit_length()
    assert_budget(Parameters(n, split_widths(bits), k, digit, 1, rows, bound, returned))
    if bits > 212:
        assert n == 16384


def test_the_issue_s_sizes() -> None:
    big = choose_parameters(CrossShape(10**6, (2**31,) * 5, (2**31,) * 5, full(5, 5)))
    assert (big.n, big.k, big.digit) == (8192, 84, 16)
    assert cross_cost(CrossShape(10**6, (2**31,) * 5, (2**31,) * 5, full(5, 5))).total_bytes < 115e6
    assert cross_cost(CrossShape(10**5, (2**31,) * 10, (2**31,) * 10, full(10, 10))).total_bytes < 27e6


bounds = st.one_of(st.integers(0, 4), st.integers(0, 64).map(lambda b: 2**b), st.integers(0, 2**90))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 10**7),
    x=st.lists(bounds, min_size=1, max_size=6),
    y=st.lists(bounds, min_size=1, max_size=6),
    data=st.data(),
)
def test_every_admissible_row_keeps_the_budget(rows: int, x: list[int], y: list[int], data: st.DataObject) -> None:
    every = full(len(x), len(y))
    entries = tuple(data.draw(st.permutations(every))[: data.draw(st.integers(1, len(every)))])
    shape = CrossShape(rows, tuple(x), tuple(y), entries)
    largest = rows * max(x[i] * y[j] for i, j in entries)
    assert 2**shape.k >= 4 * largest
    for parameters in candidates(shape):
        assert_budget(parameters)
        assert parameters.rows >= rows
        assert parameters.k == shape.k
    if candidates(shape):
        layout = choose_layout(shape)
        seen = sorted((e, d) for e, d, _ in layout.outputs)
        wanted = [
            (e, d) for e, (_, j) in enumerate(entries) for d in range(digits_of(y[j], layout.parameters.digit)[0])
        ]
        assert seen == wanted
        assert layout.parameters.returned == len(seen)
        assert {c % layout.parameters.span for _, _, c in layout.outputs} == {0}


@settings(max_examples=200, deadline=None)
@given(bound=st.integers(0, 2**126), width=st.sampled_from([16, 32, 64]))
def test_digits_hold_their_bound(bound: int, width: int) -> None:
    count, largest = digits_of(bound, width)
    assert largest <= 2 ** (width - 1)
    for value in (bound, -bound):
        left = value
        for _ in range(count - 1):
            low = (left + 2 ** (width - 1)) % 2**width - 2 ** (width - 1)
            assert abs(low) <= largest
            left = (left - low) >> width
        assert abs(left) <= largest or value == 0
        assert -(2**63) <= left < 2**63


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (lambda: choose_parameters(CrossShape(2**70, (2**126,), (2**126,), ((0, 0),))), "too_wide"),
        (lambda: choose_parameters(CrossShape(10, (1,), (1,), ((0, 0),), 400)), "too_wide"),
        (lambda: CrossShape(10, (2**127,), (1,), ((0, 0),)), "too_wide"),
        (lambda: CrossShape(10**6, (2**31,), (2**31,), ((0, 0),), 83), "too_wide"),
        (lambda: CrossShape(10, (1,), (1,), ((0, 1),)), "bad_shape"),
        (lambda: CrossShape(10, (1,), (1,), ((0, 0), (0, 0))), "bad_shape"),
        (lambda: CrossShape(10, (1,), (1,), ()), "bad_shape"),
        (lambda: CrossShape(-1, (1,), (1,), ((0, 0),)), "bad_shape"),
        (lambda: choose_parameters(CrossShape(10**6, (1,), (2**31,) * 5000, full(1, 5000))), "too_many_products"),
    ],
)
def test_what_fits_no_row_is_refused(shape: object, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        shape()  # type: ignore[operator]  # the parameters are calls
    assert caught.value.code == code


def test_either_side_may_own_the_key() -> None:
    """Two columns against eight: encrypting the two is cheaper, and the cost says so."""
    shape = CrossShape(10**5, (2**20,) * 2, (2**20,) * 8, full(2, 8))
    assert shape.swapped().swapped() == shape
    assert cross_cost(shape).total_bytes < cross_cost(shape.swapped()).total_bytes / 2


def test_planning_loads_no_compiler() -> None:
    code = (
        "import sys; from privcompute.he import CrossShape, cross_cost;"
        "cross_cost(CrossShape(10, (1,), (1,), ((0, 0),)));"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
