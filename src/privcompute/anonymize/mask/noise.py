"""noise: a random amount is added to every number, in whole steps, exactly, from the operating system's randomness.

Two-sided geometric ("discrete Laplace"): P(k steps) ∝ e^(-|k| / scale); or uniform over -scale … scale. Fresh for every
cell and run, so it is the one operator whose result two runs do not share; and two releases of a table average it away.
By itself it proves nothing: differential privacy needs bounds on what one person contributes.

Source: Canonne, Kamath, Steinke, The Discrete Gaussian for Differential Privacy, NeurIPS 2020, algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privcompute.anonymize.identifiers import normalise
from privcompute.anonymize.mask.bucket import _number, _positive, number
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator, settle
from privcompute.anonymize.mask.parameters import choice, optional, parameter, whole
from privcompute.anonymize.mask.texts import TEXT, Cells, as_text
from privcompute.randomness import Stream, system_stream

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Noise(Operator):
    """Adds noise to numbers.

    Attributes:
        scale: in steps: of "laplace" the mean size of the noise, nearly; of "uniform" its bound.
        step: what noise is a multiple of.
        distribution: "laplace" or "uniform".
        low: results below it become it.
        high: results above it become it.
        invalid: what becomes of cells that are no number: "error" or "null".
    """

    op: ClassVar[str] = "noise"

    scale: int = parameter(whole(1, 1 << 30))
    step: int | float | str = parameter(_positive, 1)
    distribution: str = parameter(choice("laplace", "uniform"), "laplace")
    low: int | float | str | None = parameter(optional(_number), None)
    high: int | float | str | None = parameter(optional(_number), None)
    invalid: str = parameter(choice("error", "null"), "error")

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        stream = system_stream("desensitize noise")
        draw = discrete_laplace if self.distribution == "laplace" else uniform
        step = number(self.step) or Decimal(1)
        low, high = number(self.low), number(self.high)

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            floating = pa.types.is_floating(cells.type)
            # A double's shortest text is a decimal: the sum is exact and rounded once.
            texts = cells.to_pylist() if floating else as_text(cells, column).to_pylist()
            amounts = draw(stream, self.scale, len(texts))
            wrong = np.zeros(len(texts), dtype=np.bool_)
            result: list[Decimal | None] = []
            with localcontext(prec=100):
                for place, (cell, amount) in enumerate(zip(texts, amounts.tolist(), strict=True)):
                    value = None if cell is None else number(normalise(cell).strip() if isinstance(cell, str) else cell)
                    wrong[place] = cell is not None and value is None
                    if value is not None:
                        value += amount * step
                        value = value if low is None else max(value, low)
                        value = value if high is None else min(value, high)
                    result.append(value)
            return settle(_typed(result, cells.type), wrong, self.invalid, column, "number")

        return apply


def _typed(values: list[Decimal | None], kind: pa.DataType) -> Cells:
    """Doubles for doubles, whole numbers for whole ones where they still are, else text."""
    if pa.types.is_floating(kind):
        return pa.array([None if one is None else float(one) for one in values], type=pa.float64())
    if pa.types.is_integer(kind) and all(
        one is None or (one == one.to_integral_value() and abs(one) < 2**63) for one in values
    ):
        return pa.array([None if one is None else int(one) for one in values], type=pa.int64())
    return pa.array([None if one is None else f"{one:f}" for one in values], type=TEXT)


def below(stream: Stream, bounds: Whole | int, count: int) -> Whole:
    """(count,) uniform integers in [0, bound), exactly, by rejection; bounds below 2**62."""
    limits = np.broadcast_to(np.asarray(bounds, dtype=np.uint64), (count,))
    result = np.zeros(count, dtype=np.int64)
    open_places = np.arange(count)
    while len(open_places):
        some = limits[open_places]
        words = stream.uint64(len(open_places))
        # The largest multiple of the bound that 64 bits hold; words beyond would favour small results.
        whole_part = np.uint64(2**64 - 1) - (np.uint64(2**64 - 1) % some + np.uint64(1)) % some
        good = words <= whole_part
        result[open_places[good]] = (words[good] % some[good]).astype(np.int64)
        open_places = open_places[~good]
    return result


def uniform(stream: Stream, scale: int, count: int) -> Whole:
    """(count,) uniform integers from -scale to scale."""
    return below(stream, 2 * scale + 1, count) - scale


def bernoulli_exp(stream: Stream, numerators: Whole, denominator: int) -> npt.NDArray[np.bool_]:
    """(n,) true with probability e^(-numerator/denominator), numerators in [0, denominator], exactly."""
    count = len(numerators)
    result = np.zeros(count, dtype=np.bool_)
    open_places = np.arange(count)
    k = 1
    while len(open_places):
        going = below(stream, denominator * k, len(open_places)) < numerators[open_places]
        result[open_places[~going]] = k % 2 == 1
        open_places = open_places[going]
        k += 1
    return result


def discrete_laplace(stream: Stream, scale: int, count: int) -> Whole:
    """(count,) integers with P(x) ∝ e^(-|x|/scale), exactly."""
    result = np.zeros(count, dtype=np.int64)
    open_places = np.arange(count)
    while len(open_places):
        n = len(open_places)
        rest = below(stream, scale, n)
        kept = bernoulli_exp(stream, rest, scale)
        wholes = np.zeros(n, dtype=np.int64)
        counting = np.flatnonzero(kept)
        while len(counting):
            more = bernoulli_exp(stream, np.ones(len(counting), dtype=np.int64), 1)
            counting = counting[more]
            wholes[counting] += 1
        size = rest + scale * wholes
        negative = below(stream, 2, n) == 1
        good = kept & ~(negative & (size == 0))  # zero would come twice, once with each sign
        result[open_places[good]] = np.where(negative, -size, size)[good]
        open_places = open_places[~good]
    return result
