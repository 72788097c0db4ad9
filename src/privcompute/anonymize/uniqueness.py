"""How much of a population is unique, estimated from the class sizes of a sample of it.

- Zayatz (1991): by Bayes' rule, with the sample's classes standing for the population's, the chance that a row that is
  unique in the sample is unique in the population.
- Pitman (Hoshino, J. Official Statistics 17, 2001): class sizes follow Pitman's sampling formula; maximum likelihood,
  then the expected number of classes of size one.
- SNB (Chen and Keller-McNulty, J. Official Statistics 14, 1998): class sizes less one are negative binomial (the slide
  negative binomial model); the two parameters by moments.
- Dankar (Dankar, El Emam, Neisa, Roffey, BMC Med. Inform. Decis. Mak. 12:66, 2012): Pitman up to a sampling fraction
  of 0.1, above it the smaller of SNB and Zayatz; Zayatz wherever another does not converge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from privcompute.errors import UsageError

Estimator = Literal["dankar", "pitman", "zayatz", "snb"]

Ints = npt.NDArray[np.int64]

_SMALL_FRACTION = 0.1


def population_uniqueness(size: Ints, population: int, estimator: Estimator = "dankar") -> float:
    """The part of the population that is alone in its class.

    Args:
        size: (classes,), rows of each class of the sample.
        population: rows of the population, at least those of the sample.
        estimator: which one; `dankar` chooses.

    Raises:
        UsageError: `bad_parameter`; `not_converged` if the named estimator has no solution for these classes.
    """
    if estimator not in get_args(Estimator):
        raise UsageError(f"an estimator is one of {', '.join(get_args(Estimator))}", code="bad_parameter")
    rows = int(size.sum())
    if population < rows:
        raise UsageError("a population has at least the rows of its sample", code="bad_parameter")
    uniques = int((size == 1).sum())
    if not uniques:
        return 0.0
    if population == rows:
        return uniques / rows
    if estimator == "dankar":
        return _dankar(size, population)
    found = _ESTIMATORS[estimator](size, population)
    if found is None:
        raise UsageError(
            f"the estimator {estimator} has no solution for these classes",
            code="not_converged",
            remedy='use the estimator "dankar", which falls back to "zayatz"',
        )
    return found


def _dankar(size: Ints, population: int) -> float:
    by_zayatz = zayatz(size, population)
    if size.sum() / population <= _SMALL_FRACTION:
        by_pitman = pitman(size, population)
        return by_zayatz if by_pitman is None else by_pitman
    by_snb = snb(size, population)
    return by_zayatz if by_snb is None else min(by_snb, by_zayatz)


def zayatz(size: Ints, population: int) -> float:
    """P(unique in the population | unique in the sample) times the sample's uniqueness."""
    rows = int(size.sum())
    sizes, classes = np.unique(size, return_counts=True)
    one = _chance_of_one(population, sizes, rows)
    weighed = one * classes
    alone = float(weighed[0]) if sizes[0] == 1 else 0.0
    return alone / float(weighed.sum()) * int(classes[0]) / rows


def _chance_of_one(population: int, sizes: Ints, rows: int) -> npt.NDArray[np.float64]:
    """P(exactly one of `size` marked rows of a population is in a sample of `rows`): hypergeometric."""
    out = np.zeros(len(sizes))
    for place, size in enumerate(sizes.tolist()):
        others = population - size
        if rows - 1 > others:
            continue
        log = math.log(size) + _log_choose(others, rows - 1) - _log_choose(population, rows)
        out[place] = math.exp(log)
    return out


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def pitman(size: Ints, population: int) -> float | None:
    """Pitman's sampling formula; None where the likelihood has no maximum inside 0 < alpha < 1, theta > -alpha."""
    rows, classes = int(size.sum()), len(size)
    if classes == rows or classes < 2:
        return None
    sizes, counts = np.unique(size, return_counts=True)
    large = sizes[sizes > 1].tolist()
    many = counts[sizes > 1]
    powers = _power_sums(classes)

    def by_theta(theta: float, alpha: float) -> float:
        return _of_quotients(powers, 0, theta, alpha) - _digamma_gap(theta + 1, rows - 1)

    def by_alpha(theta: float, alpha: float) -> float:
        gained = _of_quotients(powers, 1, theta, alpha)
        lost = [digamma(s - alpha) for s in large]
        return gained - float(np.dot(many, lost)) + float(many.sum()) * digamma(1 - alpha)

    def log_theta(alpha: float) -> float | None:
        return _root(lambda log: by_theta(math.exp(log), alpha), -12.0, 32.0)

    def along(alpha: float) -> float:
        log = log_theta(alpha)
        return math.nan if log is None else by_alpha(math.exp(log), alpha)

    alpha = _scan(along, 1e-6, 1 - 1e-6, 24)
    log = None if alpha is None else log_theta(alpha)
    if alpha is None or log is None:
        return None
    theta = math.exp(log)
    # Hoshino's approximation for a large population, which is what ARX computes.
    unique = math.lgamma(theta + 1) - math.lgamma(theta + alpha) + (alpha - 1) * math.log(population)
    return min(1.0, math.exp(unique))


_TERMS = 10


def _power_sums(classes: int) -> list[float]:
    """The sums of i ** p for 0 < i < classes, p = 0, 1, ..."""
    i = np.arange(1, classes, dtype=np.float64)
    return [float((i**p).sum()) for p in range(_TERMS + 1)]


def _of_quotients(powers: list[float], power: int, theta: float, alpha: float) -> float:
    """The sum of i ** power / (theta + i alpha) for 0 < i < classes; power is 0 or 1.

    By digammas, unless alpha is so small beside theta that their difference keeps no digits: then as a power series.
    """
    ratio, classes = theta / alpha, int(powers[0]) + 1
    if ratio > 100 * classes:
        return sum(powers[power + n] * (-1 / ratio) ** n for n in range(_TERMS)) / theta
    gap = _digamma_gap(ratio + 1, classes - 1)
    return gap / alpha if power == 0 else (classes - 1) / alpha - ratio / alpha * gap


def _digamma_gap(x: float, n: int) -> float:
    """digamma(x + n) - digamma(x) without loss of digits where x is large."""
    if x < 100:
        return digamma(x + n) - digamma(x)
    a, b = 1 / x, 1 / (x + n)
    return math.log1p(n * a) + (a - b) / 2 + (a * a - b * b) / 12 - (a**4 - b**4) / 120


def _root(f: Callable[[float], float], low: float, high: float) -> float | None:
    """Where a function changes its sign, to about 14 digits; None if it does not.

    Regula falsi with the weights of Illinois, and a bisection whenever that gains too little.
    """
    at_low, at_high = f(low), f(high)
    if math.isnan(at_low) or math.isnan(at_high) or (at_low > 0) == (at_high > 0):
        return None
    side, weight_low, weight_high = 0, at_low, at_high
    for turn in range(200):
        if high - low <= 1e-14 * max(1.0, abs(low), abs(high)):
            break
        middle = (low * weight_high - high * weight_low) / (weight_high - weight_low)
        if turn % 4 == 3 or not low < middle < high:
            middle = (low + high) / 2
        value = f(middle)
        if math.isnan(value):
            return None
        if value == 0:
            return middle
        if (value > 0) == (at_low > 0):
            low, weight_low = middle, value
            weight_high = weight_high / 2 if side < 0 else weight_high
            side = -1
        else:
            high, weight_high = middle, value
            weight_low = weight_low / 2 if side > 0 else weight_low
            side = 1
    return (low + high) / 2


def snb(size: Ints, population: int) -> float | None:
    """The slide negative binomial model; None where the moments have no solution.

    With p in (0, 1) and a > 0, P(F = i) = C(a+i-2, i-1) (1-p)^(i-1) p^a, and the sample takes each row with chance s
    = rows / population. The observed classes and uniques are set equal to their expectations, the number of classes
    to population / E[F].
    """
    rows, classes, uniques = int(size.sum()), len(size), int((size == 1).sum())
    s = rows / population

    def figures(p: float, a: float) -> tuple[float, float]:
        """Expected classes and uniques in the sample, a row of the population."""
        q = 1 - p
        mean = 1 + a * q / p
        at = 1 - s
        base = a * (math.log(p) - math.log1p(-q * at))
        none = at * math.exp(base)
        one = s * math.exp(base) * (1 + at * a * q / (1 - q * at))
        return (1 - none) / mean, one / mean

    def fit(p: float) -> float | None:
        """log a with which the expected classes are those seen."""
        return _root(lambda log: figures(p, math.exp(log))[0] - classes / population, -40.0, 30.0)

    def miss(logit: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        log = fit(p)
        return math.nan if log is None else figures(p, math.exp(log))[1] - uniques / population

    logit = _scan(miss, -30.0, 15.0)
    if logit is None:
        return None
    p = 1 / (1 + math.exp(-logit))
    log = fit(p)
    if log is None:
        return None
    a = math.exp(log)
    return min(1.0, math.exp(a * math.log(p)) / (1 + a * (1 - p) / p))


def _scan(f: Callable[[float], float], low: float, high: float, steps: int = 90) -> float | None:
    """A root of a function that is not defined everywhere: the first change of sign between neighbouring points."""
    points = np.linspace(low, high, steps + 1).tolist()
    values = [f(point) for point in points]
    for left, right, a, b in zip(points, points[1:], values, values[1:], strict=False):
        if math.isnan(b) and not math.isnan(a):
            # The sign may change in what is left of the step before the function ends.
            right = _end(f, left, right)
            b = f(right)
        if not math.isnan(a) and not math.isnan(b) and (a > 0) != (b > 0):
            return _root(f, left, right)
    return None


def _end(f: Callable[[float], float], inside: float, outside: float) -> float:
    """The last point, nearly, at which a function that is defined inside is so."""
    for _ in range(50):
        middle = (inside + outside) / 2
        if math.isnan(f(middle)):
            outside = middle
        else:
            inside = middle
    return inside


def digamma(x: float) -> float:
    """The logarithmic derivative of the gamma function, x > 0, to about 14 digits.

    Source: Abramowitz and Stegun 6.3.5 (recurrence) and 6.3.18 (asymptotic series).
    """
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse / 132))))
    return shift + math.log(x) - 0.5 / x - series


_ESTIMATORS: dict[str, Callable[[Ints, int], float | None]] = {"pitman": pitman, "zayatz": zayatz, "snb": snb}
