"""Population uniqueness for the second look: the estimators of `uniqueness.py` by other ways of computing them.

Nothing is shared with that module. Zayatz's chances are products of fractions, not quotients of factorials. Pitman's
likelihood is climbed by Newton's steps over plain sums, where the other finds roots of differences of digammas one
inside of the other. The two moment equations of the slide negative binomial are reduced by hand to one unknown, the
mean size of a class in the population. What does not converge here is None, and the rule of Dankar et al. takes
Zayatz's then, as there.

Sources: as in `uniqueness.py`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_STEPS = 200
_LEAST_LOG_THETA = -12.0
"""Below this the likelihood climbs to negative theta, where the estimator is not used."""
_NO_VARIANCE = 3e-7
"""1 - p below which a negative binomial cannot be told from a Poisson by doubles: solutions there are rounding."""
_FLAT = 1e-11
"""A gradient this small, relative to its terms, is a summit."""


def uniqueness_again(size: Ints, population: int, estimator: str) -> float | None:
    """The estimated part of the population that is alone in its class; None if the estimator has no solution.

    Args:
        size: (classes,), rows of each class of the sample.
        population: rows of the population, at least those of the sample.
        estimator: `zayatz`, `pitman`, `snb`, or `dankar`, which chooses among them.
    """
    rows, alone = int(size.sum()), int(np.count_nonzero(size == 1))
    if alone == 0:
        return 0.0
    if rows == population:
        return alone / rows
    if estimator == "zayatz":
        return _zayatz(size, population)
    if estimator == "pitman":
        return _pitman(size, population)
    if estimator == "snb":
        return _snb(size, population)
    fallback = _zayatz(size, population)
    if 10 * rows <= population:
        found = _pitman(size, population)
        return fallback if found is None else found
    found = _snb(size, population)
    return fallback if found is None else min(found, fallback)


def _zayatz(size: Ints, population: int) -> float:
    rows = int(size.sum())
    largest = int(size.max())
    # P(one row of a class of s rows is in the sample) = s n/N (N-n)/(N-1) (N-n-1)/(N-2) ... , s - 1 factors.
    places = np.arange(largest - 1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.maximum(population - rows - places, 0) / np.maximum(population - 1 - places, 1)
    chance = np.concatenate([[1.0], np.cumprod(factors)]) * np.arange(1, largest + 1) * (rows / population)
    weighed = chance[size - 1]
    return float(weighed[size == 1].sum() / weighed.sum()) * int(np.count_nonzero(size == 1)) / rows


def _pitman(size: Ints, population: int) -> float | None:
    rows, classes = int(size.sum()), len(size)
    if classes in (1, rows):
        return None
    summit = _summit(size)
    if summit is None:
        return None
    theta, alpha = summit
    logarithm = math.lgamma(theta + 1) - math.lgamma(theta + alpha) - (1 - alpha) * math.log(population)
    return min(1.0, math.exp(logarithm))


def _summit(size: Ints) -> tuple[float, float] | None:
    """theta > 0 and 0 < alpha < 1 of the greatest likelihood, in log theta and logit alpha; None if there is none."""
    rows, classes, largest = int(size.sum()), len(size), int(size.max())
    among = np.arange(1, classes, dtype=np.float64)
    drawn = np.arange(1, rows, dtype=np.float64)
    inner = np.arange(1, largest, dtype=np.float64)
    # How many classes have more than j rows, j = 1, 2, ...
    larger = classes - np.cumsum(np.bincount(size, minlength=largest + 1))[1:largest].astype(np.float64)

    def slopes(at: Doubles) -> tuple[float, Doubles, Doubles, float]:
        """Log likelihood, its gradient and curvature by (log theta, logit alpha), and the gradient's largest term."""
        theta, alpha = math.exp(at[0]), 1 / (1 + math.exp(-at[1]))
        a, b, c = 1 / (theta + alpha * among), 1 / (theta + drawn), 1 / (inner - alpha)
        value = -np.log(a).sum() + np.log(b).sum() - float(larger @ np.log(c))
        up, back, off = a.sum(), b.sum(), float(larger @ c)
        by = np.array([up - back, float(among @ a) - off])
        cross = -float(among @ (a * a))
        second = np.array(
            [
                [-(a * a).sum() + (b * b).sum(), cross],
                [cross, -float((among * among) @ (a * a)) - float(larger @ (c * c))],
            ]
        )
        # To the variables that know no border.
        scale = np.array([theta, alpha * (1 - alpha)])
        bent = np.diag([theta * by[0], alpha * (1 - alpha) * (1 - 2 * alpha) * by[1]])
        return float(value), by * scale, second * np.outer(scale, scale) + bent, max(up * scale[0], off * scale[1])

    at = np.array([math.log(max(1.0, classes / 2)), 0.0])
    value, by, curve, term = slopes(at)
    damping = 0.0
    for _ in range(_STEPS):
        if np.abs(by).max() <= _FLAT * term:
            theta, alpha = math.exp(at[0]), 1 / (1 + math.exp(-at[1]))
            # Climbing along a border never ends on a summit.
            return (theta, alpha) if 1e-6 < alpha < 1 - 1e-6 and np.linalg.eigvalsh(curve).max() < 0 else None
        height = float(np.linalg.eigvalsh(curve).max())
        lowered = curve - max(0.0, height + 1e-3 * abs(np.trace(curve)) if height >= 0 else 0.0) * np.eye(2)
        step = np.linalg.solve(lowered - damping * np.eye(2), -by)
        step *= min(1.0, 2.0 / float(np.abs(step).max()))
        if not (np.abs(at + step) < 40).all() or at[0] < _LEAST_LOG_THETA:
            return None
        then = slopes(at + step)
        if then[0] < value - 1e-12 * abs(value):
            damping = max(2 * damping, 1e-3 * abs(float(np.trace(curve))))
            continue
        at, damping = at + step, damping / 8 if damping > 1e-9 * abs(float(np.trace(curve))) else 0.0
        value, by, curve, term = then
    return None


def _snb(size: Ints, population: int) -> float | None:
    """With m = E[F], r = p / (1 - q t), t = 1 - s: both expectations are linear in r^a and r, which leaves m alone."""
    rows, classes, alone = int(size.sum()), len(size), int(np.count_nonzero(size == 1))
    s = rows / population
    t = 1 - s
    seen, single = classes / population, alone / population

    def parts(m: float) -> tuple[float, float]:
        """r^a, by the expected classes, and r, by the expected uniques."""
        power = (1 - m * seen) / t
        return power, (m * single / (s * power) - 1) / (t * (m - 1)) if power > 0 else math.nan

    def miss(m: float) -> float:
        """log r^a less what r makes of it."""
        power, r = parts(m)
        if not 0 < power < 1 or not 0 < r < 1:
            return math.nan
        p = r * s / (1 - r * t)
        if 1 - p < _NO_VARIANCE:
            return math.nan
        return math.log(power) - (m - 1) * p / (1 - p) * math.log(r)

    # Where 0 < r^a < 1 and 0 < r < 1; the last is a quadratic in m, positive at 0 and negative far out.
    if not t:
        return None
    b = s * t - s * s * seen - single * t
    most = (b + math.sqrt(b * b + 4 * s**3 * t * seen)) / (2 * s * t * seen)
    low, high = max(1.0, s / seen, s / (single * t + s * seen)), min(1 / seen, most)
    found = []
    # Solutions crowd at both ends.
    grid = 1 / (1 + np.exp(-np.linspace(-34, 34, 3000)))
    points = (low + (high - low) * grid).tolist()
    values = [miss(m) if m > 1 else math.nan for m in points]
    for left, right, at_left, at_right in zip(points, points[1:], values, values[1:], strict=False):
        if math.isnan(at_left) or math.isnan(at_right) or (at_left > 0) == (at_right > 0):
            continue
        while (middle := (left + right) / 2) not in (left, right):
            if (miss(middle) > 0) == (at_left > 0):
                left = middle
            else:
                right = middle
        r = parts(middle)[1]
        p = r * s / (1 - r * t)
        found.append((p, math.exp((middle - 1) * p / (1 - p) * math.log(p)) / middle))
    return min(1.0, min(found)[1]) if found else None
