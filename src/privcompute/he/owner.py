"""The key owner's side, without messages: encrypts its columns, decrypts the replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.he.columns import limbs_of
from privcompute.he.layout import Layout
from privcompute.he.modulus import modulus
from privcompute.he.threads import each
from privcompute.kernels import limbs, packing, polynomials, sampling
from privcompute.randomness import Stream

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]
Streams = Callable[[str], Stream]


def ternary_rows(stream: Stream, rows: int, n: int) -> npt.NDArray[np.int8]:
    """(rows, n) uniform values of -1, 0 and 1."""
    out = np.empty(rows * n, np.int8)
    done = 0
    while done < len(out):
        # One byte in 256 is skipped; a few more than needed make a second round rare.
        noise = stream.uint64((len(out) - done) // 8 + (len(out) - done) // 1024 + 8).view(np.uint8)
        done += int(sampling.ternary(noise, out[done:]))
    return out.reshape(rows, n)


def noise_rows(stream: Stream, rows: int, n: int) -> Doubles:
    """(rows, n) values of the centred binomial distribution."""
    out = np.empty(rows * n)
    sampling.centred_binomial(stream.uint64(rows * n), out)
    return out.reshape(rows, n)


class KeyOwner:
    """Holds the secret key of one run.

    Args:
        layout: the arrangement.
        columns: the columns of shape.x_bounds, already checked against them.
        private: streams of this party by label.
        common: streams that both parties compute alike, by label.
    """

    def __init__(self, layout: Layout, columns: Sequence[npt.NDArray[Any]], private: Streams, common: Streams) -> None:
        self._layout = layout
        self._parameters = layout.parameters
        self._modulus = modulus(layout.parameters)
        self._columns = [columns[i] for i in layout.x_columns]
        self._uniform = [common(f"uniform {number}") for number in range(len(self._modulus.primes))]
        self._errors = private("errors")
        self._secret = ternary_rows(private("secret"), 1, self._parameters.n)[0]
        self._transformed: list[Doubles] = []
        for prime in self._modulus.primes:
            row = self._secret.astype(np.float64).reshape(1, -1)
            prime.forward(row)
            self._transformed.append(row[0])

    def __repr__(self) -> str:
        return "KeyOwner(<hidden>)"

    def public_key(self) -> Words:
        """(words,) the first half of an encryption of zero; the second is the first of the uniform polynomials."""
        words: Words = self._encrypt(np.zeros((self._modulus.pieces, self._parameters.n)), 1)[0]
        return words

    def encrypt(self, first: int, count: int) -> Words:
        """(count, groups, words) packed ciphertexts of the blocks first ... first + count, in this order, once."""
        layout, span = self._layout, self._parameters.span
        shape = (count, layout.groups, self._parameters.n)
        low, high = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
        for place, column in enumerate(self._columns):
            group, slot = divmod(place, self._parameters.pack)
            here = slice(slot * span, (slot + 1) * span)
            part_low, part_high = limbs_of(column, first * span, count * span)
            low[:, group, here], high[:, group, here] = part_low.reshape(-1, span), part_high.reshape(-1, span)
        pieces = self._encode(low.reshape(-1), high.reshape(-1))
        return self._encrypt(pieces, count * layout.groups).reshape(count, layout.groups, -1)

    def _encode(self, low: Words, high: Words) -> Doubles:
        """Messages as pieces of what is divided by t: round(q*m/t), never floor(q/t) * m."""
        return self._modulus.encode_pieces(low, high)

    def _encrypt(self, pieces: Doubles, rows: int) -> Words:
        n = self._parameters.n
        errors = noise_rows(self._errors, rows, n)
        out = np.empty((rows, self._layout.ciphertext_words), np.uint64)

        def encrypt_modulo(number: int) -> None:
            prime = self._modulus.primes[number]
            message = np.empty((rows, n))
            limbs.residues(pieces, prime.encode, prime.p, prime.inverse, message.reshape(-1))
            message += errors
            prime.forward(message)
            uniform = prime.uniform(self._uniform[number], rows)
            polynomials.encrypt_rows(message, uniform, self._transformed[number], prime.p, prime.inverse)
            packing.pack_residues(message, prime.width, out[:, prime.offset : prime.offset + prime.words])

        each(encrypt_modulo, range(len(self._modulus.primes)))
        return out

    def decrypt(self, first: int, replies: Words, constants: Words) -> list[int]:
        """Shares of the useful coefficients of the replies first ... first + len(replies).

        Args:
            first: number of the first of these replies.
            replies: (count, words) packed second halves modulo 2**w.
            constants: (outputs of all replies, limbs) useful coefficients of the first halves modulo 2**w.

        Returns:
            One integer modulo 2**k per output of these replies, in order.
        """
        n, w, k, count = self._parameters.n, self._parameters.reply_bits, self._parameters.k, self._parameters.limbs
        mirrored = self._secret[::-1]
        turned = np.concatenate([mirrored, -mirrored])
        position = sum(len(reply.outputs) for reply in self._layout.replies[:first])
        shares, half = [], 1 << (w - k - 1)
        for reply, words in zip(self._layout.replies[first : first + len(replies)], replies, strict=True):
            planes = np.empty((count, n), np.uint64)
            planes[:-1] = words[: (count - 1) * n].reshape(count - 1, n)
            packing.unpack_words(words[(count - 1) * n :], self._modulus.top, planes[-1])
            for _, _, coefficient in reply.outputs:
                halves = np.empty(2 * count, np.int64)
                limbs.ternary_products(planes, turned[n - 1 - coefficient : 2 * n - 1 - coefficient], halves)
                value = sum(int(part) << (32 * h) for h, part in enumerate(halves))
                value += sum(int(limb) << (64 * j) for j, limb in enumerate(constants[position]))
                shares.append(((value + half) >> (w - k)) % (1 << k))
                position += 1
        return shares


def recombine(layout: Layout, digit_shares: Sequence[int]) -> list[int]:
    """For each entry the sum of its digits' shares, each times 2**(digit width * digit), modulo 2**k."""
    sums = [0] * len(layout.shape.entries)
    for (entry, digit, _), share in zip(layout.outputs, digit_shares, strict=True):
        sums[entry] += share << (layout.parameters.digit * digit)
    return [value % (1 << layout.parameters.k) for value in sums]
