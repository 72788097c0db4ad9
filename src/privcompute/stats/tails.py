"""Tails of Student's t, Fisher's F and the chi-square distribution, between two fractions that are certain.

Both reduce to series of positive terms:

    I_x(a, b) = x^a (1-x)^b Gamma(a+b) / (Gamma(a+1) Gamma(b)) * (1 + sum_k prod_{j<k} x (a+b+j) / (a+1+j))
    Q(m, y)   = e^-y sum_{k<m} y^k / k!                          for whole m, and with erfc(sqrt y) for m + 1/2

(DLMF 8.17.8 and 8.4.9-10, 8.4.14). The first is cut where a geometric series bounds the rest to a share 2^-c of the
sum. All is added in MPFR with c + 146 bits; each of its operations is off by at most that share of its result. No term
is subtracted; with fewer than 2^24 terms and logarithms below 2^46 the rounding is below 2^-c as well. We claim
2^(4-c). Where 1 - I is taken, c grows by as many bits as cancel.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import gmpy2

from privcompute.stats.interval import Interval

_CUT = 110
_MORE = 146
_NOTHING = Fraction(1, 2**1100)
"""Below every positive double."""
_MOST_CUT = 1200
_MOST_TERMS = 1 << 23
_MOST_SIZE = 1 << 40

Real = Any  # gmpy2 has no types


def _fraction(x: Real) -> Fraction:
    top, bottom = x.as_integer_ratio()
    return Fraction(int(top), int(bottom))


def _claim(cut: int) -> Fraction:
    return Fraction(1, 2 ** (cut - 4))


def _held(x: Real) -> Interval:
    value = _fraction(x)
    return Interval(value * (1 - _claim(_CUT)), min(value * (1 + _claim(_CUT)), Fraction(1)))


class _Series:
    """I_x(a, b) by its series, off by at most `_claim(cut)` of itself."""

    def __init__(self, x: Fraction, a: Fraction, b: Fraction, cut: int = _CUT) -> None:
        self._bits, self._cut = cut + _MORE, cut
        with gmpy2.context(precision=self._bits):
            self.x = gmpy2.mpfr(gmpy2.mpq(x))
            self.rest = gmpy2.mpfr(gmpy2.mpq(1 - x))
            self.a = gmpy2.mpfr(gmpy2.mpq(a))
            self.b = gmpy2.mpfr(gmpy2.mpq(b))
            gammas = gmpy2.lgamma(self.a + self.b)[0] - gmpy2.lgamma(self.a + 1)[0] - gmpy2.lgamma(self.b)[0]
            self.first = gmpy2.exp(gammas + self.a * gmpy2.log(self.x) + self.b * gmpy2.log(self.rest))

    def total(self) -> Real:
        """The whole."""
        with gmpy2.context(precision=self._bits):
            term = total = gmpy2.mpfr(1)
            small = gmpy2.exp2(-self._cut)
            top, bottom = self.a + self.b, self.a + 1
            for _ in range(_MOST_TERMS):
                term = term * self.x * top / bottom
                total += term
                top, bottom = top + 1, bottom + 1
                ratio = max(self.x * top / bottom, self.x)  # the ratios go to x, from one side
                if ratio < 1 and term * ratio < small * total * (1 - ratio):
                    return self.first * total
        raise ZeroDivisionError


def _length(x: Fraction, a: Fraction, b: Fraction) -> int:
    """About how many terms the series needs."""
    fx, fa, fb = float(x), float(a), float(b)
    if fx == 0 or fx >= 1:
        return 1 if fx == 0 else _MOST_TERMS
    start = math.lgamma(fa + fb) - math.lgamma(fa + 1)
    k = 8
    while k < _MOST_TERMS:
        size = math.lgamma(fa + fb + k) - math.lgamma(fa + 1 + k) - start + k * math.log(fx)
        if size < -80 and fx * (fa + fb + k) < fa + 1 + k:
            break
        k *= 2
    return k


def beta_tail(x: Fraction, a: Fraction, b: Fraction) -> Interval:
    """I_x(a, b), the regularised incomplete beta function.

    Raises:
        ZeroDivisionError: If it takes too many terms.
    """
    if x <= 0 or x >= 1:
        return Interval.point(0 if x <= 0 else 1)
    if max(a, b) > _MOST_SIZE:
        raise ZeroDivisionError
    ratio = max(x * (a + b) / (a + 1), x)
    if ratio < 1:
        # All of it is below the first term's geometric series; too small for a double is small enough.
        most = _fraction(_Series(x, a, b).first) * (1 + _claim(_CUT)) / (1 - ratio)
        if most < _NOTHING:
            return Interval(Fraction(0), most)
    if _length(x, a, b) <= _length(1 - x, b, a):
        return _held(_Series(x, a, b).total())
    cut = _CUT
    while True:
        other = _fraction(_Series(1 - x, b, a, cut).total())
        value, lost = 1 - other, _claim(cut)
        if value > lost * 2**60 or cut > _MOST_CUT:
            return Interval(max(Fraction(0), value - lost), min(Fraction(1), value + lost))
        cut *= 2


def student(t: Fraction, freedom: Fraction) -> Interval:
    """The probability that |T| >= |t|, with `freedom` degrees of freedom, which need not be whole."""
    square = t * t
    return beta_tail(freedom / (freedom + square), freedom / 2, Fraction(1, 2))


def fisher(f: Fraction, above: Fraction, below: Fraction) -> Interval:
    """The probability that F >= f, with `above` and `below` degrees of freedom."""
    if f <= 0:
        return Interval.point(1)
    return beta_tail(below / (below + above * f), below / 2, above / 2)


def chi_square(x: Fraction, freedom: int) -> Interval:
    """The probability that chi-square >= x, with whole degrees of freedom."""
    if x <= 0:
        return Interval.point(1)
    if freedom > 2 * _MOST_TERMS:
        raise ZeroDivisionError
    if x > 4 * freedom + 10_000:
        # Chernoff: (r e^(1-r))^(freedom/2) with r = x/freedom > 4, where 1 + ln r - r < -r/3: below e^(-x/6).
        return Interval(Fraction(0), _NOTHING)
    with gmpy2.context(precision=_CUT + _MORE):
        y = gmpy2.mpfr(gmpy2.mpq(x / 2))
        whole = freedom % 2 == 0
        power = gmpy2.mpfr(0 if whole else Fraction(1, 2))
        total = gmpy2.mpfr(0) if whole else gmpy2.erfc(gmpy2.sqrt(y))
        # y^k e^-y / Gamma(k + 1) for k = 0, 1, ... or 1/2, 3/2, ...
        term = gmpy2.exp(-y) if whole else gmpy2.exp(-y) * gmpy2.sqrt(y) / gmpy2.gamma(gmpy2.mpfr(3) / 2)
        for _ in range(freedom // 2):
            total += term
            power += 1
            term = term * y / power
        return _held(total)
