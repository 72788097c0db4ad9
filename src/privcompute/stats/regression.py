"""Least squares from moments: the normal equations solved exactly, and how far the errors of the rows can move them.

Let A x = b be the normal equations of the true table, A' x' = b' those of the table that opened, E = A - A' and
f = b - b' with |E| <= eps and |f| <= phi. With R the exact inverse of A' and K = |R| eps,

    |x - x'| <= |R| (phi + eps |x'|) + K |x - x'|,      |A^-1 - R| <= K |R| + K^2 |R| + ...,

which bounds both once the largest row sum of K is below 1. The root of the residual sum of squares is a distance, so
it moves by at most the norms of the errors: no cancellation there.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import gmpy2

from privcompute.stats import tails
from privcompute.stats.estimate import Estimate
from privcompute.stats.interval import Interval, outwards
from privcompute.stats.moments import ONE, ZERO, Moments, around_square, estimate, impossible
from privcompute.stats.roots import root, root_of

Matrix = list[list[Fraction]]


@dataclass(frozen=True)
class Term:
    """One coefficient; None is NULL: what is undefined."""

    estimate: Estimate | None
    std_error: Estimate | None
    t: Estimate | None
    p: Estimate | None


def least_squares(m: Moments) -> list[Term]:
    """The intercept and the coefficients of variable 0 on the others, with classical standard errors.

    Args:
        m: Moments of y, x1, …, xp over the rows where none of them is NULL.

    Returns:
        p + 1 terms, the intercept first; all undefined where the x are collinear.

    Raises:
        ZeroDivisionError: If the errors leave open whether the x are collinear, or whether the fit is perfect.
    """
    p = len(m.sums) - 1
    scale = [_scale(m.centred(i, i)) for i in range(p + 1)]
    inverse = _inverse([[m.centred(i, j) * scale[i] * scale[j] for j in range(1, p + 1)] for i in range(1, p + 1)])
    if inverse is None:
        if any(m.errors):
            raise ZeroDivisionError
        return [Term(None, None, None, None)] * (p + 1)
    fit = _Fit(m, scale, inverse)
    return [fit.term(*pair) for pair in (fit.intercept(), *(fit.coefficient(i) for i in range(p)))]


def _scale(square: Fraction) -> Fraction:
    """A power of two near 1 / root of the square; 1 for a variable that is constant."""
    if square <= 0:
        return ONE
    return Fraction(2) ** -((square.numerator.bit_length() - square.denominator.bit_length()) // 2)


def _inverse(matrix: Matrix) -> Matrix | None:
    """The exact inverse of a symmetric matrix that is positive definite; None if it is singular.

    Raises:
        IntegrityError: If it is neither: no rows have such moments.
    """
    n = len(matrix)
    rows: list[list[Any]] = [
        [*(gmpy2.mpq(x) for x in row), *(gmpy2.mpq(int(i == k)) for k in range(n))] for i, row in enumerate(matrix)
    ]
    for k in range(n):
        pivot = rows[k][k]
        if pivot < 0:
            raise impossible()
        if pivot == 0:
            return None
        rows[k] = [x / pivot for x in rows[k]]
        for i in range(n):
            if i != k and rows[i][k] != 0:
                factor = rows[i][k]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [[Fraction(int(x.numerator), int(x.denominator)) for x in row[n:]] for row in rows]


class _Fit:
    """The solution, its inverse matrix and the residual sum of squares, each with its error; all scaled."""

    def __init__(self, m: Moments, scale: list[Fraction], inverse: Matrix) -> None:
        self.m = m
        self.scale = scale
        self.size = len(inverse)
        self.inverse = inverse
        right = [m.centred(0, j + 1) * scale[0] * scale[j + 1] for j in range(self.size)]
        self.solution = [sum((r * b for r, b in zip(row, right, strict=True)), ZERO) for row in inverse]
        self._bound()
        self.freedom = m.rows - self.size - 1
        explained = sum((b * x for b, x in zip(right, self.solution, strict=True)), ZERO)
        left = m.centred(0, 0) * scale[0] ** 2 - explained
        if left < 0:
            raise impossible()
        self.residual = left
        moves = [m.move(i) * scale[i] for i in range(self.size + 1)]
        up = moves[0] + sum((abs(b) * d for b, d in zip(self.solution, moves[1:], strict=True)), ZERO)
        down = up + sum((e * d for e, d in zip(self.error, moves[1:], strict=True)), ZERO)
        self.residuals = around_square(left, outwards(down) if down else ZERO, outwards(up) if up else ZERO)

    def _bound(self) -> None:
        n, m = self.size, self.m
        self.error = [ZERO] * n
        self.inverse_error = [[ZERO] * n for _ in range(n)]
        if not any(m.errors):
            return
        span = range(1, n + 1)
        eps = [[m.cross_error(i, j) * self.scale[i] * self.scale[j] for j in range(n + 1)] for i in range(n + 1)]
        size = [[outwards(abs(x)) if x else ZERO for x in row] for row in self.inverse]
        k = [[sum((size[i][h] * eps[h + 1][j] for h in range(n)), ZERO) for j in span] for i in range(n)]
        rows = [sum(row, ZERO) for row in k]
        if max(rows) >= Fraction(1, 2):
            raise ZeroDivisionError
        spread = 1 / (1 - max(rows))
        moved = [eps[j][0] + sum((eps[j][h] * abs(self.solution[h - 1]) for h in span), ZERO) for j in span]
        first = [sum((s * d for s, d in zip(row, moved, strict=True)), ZERO) for row in size]
        self.error = [outwards(w + r * spread * max(first)) for w, r in zip(first, rows, strict=True)]
        once = [[sum((k[i][h] * size[h][j] for h in range(n)), ZERO) for j in range(n)] for i in range(n)]
        most = [max(row[j] for row in once) for j in range(n)]
        self.inverse_error = [[outwards(once[i][j] + rows[i] * spread * most[j]) for j in range(n)] for i in range(n)]

    def coefficient(self, i: int) -> tuple[Fraction, Interval, Fraction, Interval]:
        """Estimate, and the factor of its variance, of x_(i+1), in their true units."""
        unit = self.scale[i + 1] / self.scale[0]
        held = Interval.around(self.solution[i] * unit, self.error[i] * unit)
        square = self.scale[i + 1] ** 2
        diagonal = self.inverse[i][i] * square
        return self.solution[i] * unit, held, diagonal, Interval.around(diagonal, self.inverse_error[i][i] * square)

    def intercept(self) -> tuple[Fraction, Interval, Fraction, Interval]:
        """Likewise of the intercept."""
        m, n = self.m, self.size
        value, held = m.mean(0), m.mean_interval(0)
        factor = Fraction(1, m.rows)
        around = Interval.point(factor)
        for i in range(n):
            own, interval, _, _ = self.coefficient(i)
            value -= own * m.mean(i + 1)
            held -= interval * m.mean_interval(i + 1)
            for j in range(n):
                unit = self.scale[i + 1] * self.scale[j + 1]
                entry = self.inverse[i][j] * unit
                factor += m.mean(i + 1) * m.mean(j + 1) * entry
                ends = Interval.around(entry, self.inverse_error[i][j] * unit)
                around += m.mean_interval(i + 1) * m.mean_interval(j + 1) * ends
        return value, held, factor, around

    def term(self, value: Fraction, held: Interval, factor: Fraction, around: Interval) -> Term:
        """Estimate, standard error, t and p."""
        shown = estimate(value, held)
        if self.freedom <= 0:
            return Term(shown, None, None, None)
        unit = 1 / (self.scale[0] ** 2 * self.freedom)
        spread = self.residuals * Interval.point(unit)
        variance = spread * Interval(max(around.lo, ZERO), around.hi)
        error = root(self.residual * unit * factor).lo
        errors = root_of(variance)
        if errors.hi == 0:
            return Term(shown, estimate(error, errors), None, None)
        if errors.lo <= 0:
            raise ZeroDivisionError
        return Term(shown, estimate(error, errors), *t_and_p(value / error, held / errors, Fraction(self.freedom)))


def t_and_p(
    t: Fraction, held: Interval, freedom: Fraction, held_freedom: Interval | None = None
) -> tuple[Estimate, Estimate]:
    """A t statistic and its two-sided p value, which falls with |t| and with the degrees of freedom."""
    size, ends = abs(t), abs(held)
    freedoms = held_freedom or Interval.point(freedom)
    p = Interval(tails.student(ends.hi, freedoms.hi).lo, tails.student(ends.lo, freedoms.lo).hi)
    own = tails.student(size, freedom)
    return estimate(t, held), estimate((own.lo + own.hi) / 2, p)
