"""What both sides compute from the parameters alone: constants of every prime, and of the switch to 2**w."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from privcompute.he.parameters import Parameters
from privcompute.kernels import limbs, ntt, sampling
from privcompute.randomness import Stream

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]


def balanced(value: int, p: int) -> float:
    """The residue of `value` nearest to zero, as a double."""
    value %= p
    return float(value - p if value > p // 2 else value)


def to_limbs(value: int, count: int) -> Words:
    """Limbs of a non-negative integer, lowest first."""
    return np.array([(value >> (64 * j)) & (2**64 - 1) for j in range(count)], dtype=np.uint64)


@dataclass(frozen=True, eq=False, repr=False)
class Prime:
    """One prime of q with its transform and constants.

    Attributes:
        p: the prime as a double.
        inverse: 1/p.
        width: bits of a packed residue.
        offset: words of a packed polynomial before this prime's.
        words: words of this prime.
        table: its transform.
        step: 2**32 mod p.
        encode: for pieces of 48 bits of z = q*m mod 2**k, their factors -2**(48 j - k) mod p; see `Modulus.scale`.
        flood: for pieces of 48 bits of a flood, their factors 2**(48 j) mod p.
    """

    p: float
    inverse: float
    width: int
    offset: int
    words: int
    table: ntt.Transform
    step: float
    encode: Doubles
    flood: Doubles

    def forward(self, rows: Doubles) -> None:
        """Transform every row in place."""
        ntt.forward(rows, self.table.first, self.table.forward, self.p, self.inverse)

    def backward(self, rows: Doubles) -> None:
        """Undo `forward`; canonical coefficients."""
        ntt.backward(rows, self.table.last, self.table.backward, self.table.scale, self.p, self.inverse)

    def uniform(self, stream: Stream, rows: int) -> Doubles:
        """(rows, n) uniform residues, canonical, from the stream's next words."""
        n = self.table.n
        out = np.empty(rows * n)
        done = 0
        while done < len(out):
            done += int(sampling.uniform(stream.uint64(len(out) - done), self.width, self.table.p, out[done:]))
        return out.reshape(rows, n)


@dataclass(frozen=True, eq=False, repr=False)
class Modulus:
    """All primes, and what concerns q as a whole.

    Attributes:
        primes: per prime.
        scale: limbs of q mod 2**k. A message m is encoded as round(q*m / 2**k) = (q*m - z) / 2**k, where z is the
            representative of q*m mod 2**k nearest to zero; modulo p, which divides q, that is -z * 2**-k.
        pieces: pieces of 48 bits of z.
        values: primes as doubles, for the switch.
        cofactors: (q/p)**-1 mod p.
        steps: floor(2**(w + 64) / p) in limbs.
        top: bits of the highest limb of a switched coefficient.
    """

    parameters: Parameters
    primes: tuple[Prime, ...]
    scale: Words
    pieces: int
    values: Doubles
    cofactors: Doubles
    steps: Words
    top: int

    def encode_pieces(self, low: Words, high: Words) -> Doubles:
        """(pieces, n) pieces of z for the messages with these limbs."""
        values = np.empty((len(self.scale), len(low)), np.uint64)
        values[0] = low
        if len(values) > 1:
            values[1] = high
        if len(values) > 2:
            values[2:] = (high.view(np.int64) >> 63).view(np.uint64)  # the sign goes on
        return self.split(self.scaled(values), self.parameters.k)

    def scaled(self, values: Words) -> Words:
        """(limbs of k, n) values times q, modulo 2**(64 * limbs)."""
        out = np.empty(values.shape, np.uint64)
        limbs.scale_planes(values, self.scale, out)
        return out

    def split(self, planes: Words, width: int) -> Doubles:
        """Signed pieces of the low `width` bits."""
        out = np.empty((-(-width // limbs.PIECE_BITS), planes.shape[1]))
        limbs.split_signed(planes, width, out)
        return out

    def switch(self, coefficients: Doubles) -> Words:
        """(limbs, n) coefficients modulo 2**w, of coefficients (primes, n) modulo q."""
        out = np.empty((self.parameters.limbs, coefficients.shape[1]), np.uint64)
        limbs.round_to_power(coefficients, self.values, self.cofactors, self.steps, self.top, out)
        return out


@lru_cache(maxsize=16)
def modulus(parameters: Parameters) -> Modulus:
    """The constants of one row of the table; kept."""
    k, w, q = parameters.k, parameters.reply_bits, parameters.q
    pieces = -(-k // limbs.PIECE_BITS)
    flood_pieces = -(-(parameters.flood_bits + 1) // limbs.PIECE_BITS)
    primes, offset = [], 0
    for p, width in zip(parameters.primes, parameters.widths, strict=True):
        words = parameters.n * width // 64
        inverse_t = pow(1 << k, -1, p)
        encode = [balanced(-(inverse_t << (limbs.PIECE_BITS * j)), p) for j in range(pieces)]
        flood = [balanced(1 << (limbs.PIECE_BITS * j), p) for j in range(flood_pieces)]
        primes.append(
            Prime(
                float(p), 1.0 / p, width, offset, words, ntt.transform(p, parameters.n), balanced(1 << 32, p),
                np.array(encode), np.array(flood),
            )
        )  # fmt: skip
        offset += words
    return Modulus(
        parameters,
        tuple(primes),
        to_limbs(q % (1 << k), -(-k // 64)),
        pieces,
        np.array([float(p) for p in parameters.primes]),
        np.array([balanced(pow(q // p, -1, p), p) for p in parameters.primes]),
        np.stack([to_limbs((1 << (w + 64)) // p, parameters.limbs + 1) for p in parameters.primes]),
        w - 64 * (parameters.limbs - 1),
    )
