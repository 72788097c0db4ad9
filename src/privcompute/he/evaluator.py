"""The evaluator's side, without messages: multiplies, accumulates, hides.

What keeps its columns from the key owner are three things, each a method of its own, each of them necessary; the
tests hold attacks that recover the column when one is left out:

    _add_zero   a fresh public-key encryption of zero on every reply. Without it the second half of a reply is
                the sum of a_b * y_b with all a_b known.
    _floods     on every coefficient that is returned. Without it the noise is read, which is linear in y.
    _masks      uniform modulo 2**k, so that the message itself says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.errors import PeerError
from privcompute.he.columns import limbs_of
from privcompute.he.layout import Layout
from privcompute.he.modulus import modulus
from privcompute.he.owner import Streams, noise_rows, recombine, ternary_rows
from privcompute.he.threads import each
from privcompute.kernels import limbs, packing, polynomials

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]


class Evaluator:
    """Holds the accumulators of one run.

    Args:
        layout: the arrangement.
        columns: the columns of shape.y_bounds, already checked against them.
        private: streams of this party by label.
        common: streams that both parties compute alike, by label.
    """

    def __init__(self, layout: Layout, columns: Sequence[npt.NDArray[Any]], private: Streams, common: Streams) -> None:
        self._layout = layout
        self._parameters = parameters = layout.parameters
        self._modulus = modulus(parameters)
        self._columns = [columns[j] for j in layout.y_columns]
        self._uniform = [common(f"uniform {number}") for number in range(len(self._modulus.primes))]
        self._zero_streams = private("zero: u"), private("zero: errors"), private("zero: first errors")
        self._flood_stream, self._mask_stream = private("floods"), private("masks")
        self._pairs = np.array([(reply.group, reply.plain) for reply in layout.replies], np.int64)
        self._sums = [np.zeros((len(layout.replies), 2, parameters.n)) for _ in self._modulus.primes]
        self._key: list[tuple[Doubles, Doubles]] = []
        self._useful: list[Doubles] = []

    def __repr__(self) -> str:
        return "Evaluator(<hidden>)"

    def absorb_key(self, words: Words) -> None:
        """Takes the public key, (words,).

        Raises:
            PeerError: a residue is not below its prime.
        """
        for prime, stream in zip(self._modulus.primes, self._uniform, strict=True):
            uniform = prime.uniform(stream, 1)
            self._key.append((self._unpack(words.reshape(1, -1), prime)[0], uniform[0]))

    def absorb(self, first: int, ciphertexts: Words) -> None:
        """Multiplies the blocks first ... first + count with this side's values, adds them up.

        Args:
            first: number of the first block; blocks come in order, each once.
            ciphertexts: (count, groups, words).

        Raises:
            PeerError: a residue is not below its prime.
        """
        count, groups, _ = ciphertexts.shape
        plain = self._plain(first, count)
        rows = plain.reshape(-1, self._parameters.n)

        def absorb_modulo(number: int) -> None:
            prime = self._modulus.primes[number]
            uniform = prime.uniform(self._uniform[number], count * groups).reshape(count, groups, -1)
            received = self._unpack(ciphertexts.reshape(count * groups, -1), prime).reshape(count, groups, -1)
            values = np.empty(rows.shape)
            polynomials.integers_to_residues(rows, prime.p, prime.inverse, prime.step, values)
            prime.forward(values)
            polynomials.accumulate_products(
                self._sums[number],
                received,
                uniform,
                values.reshape(plain.shape),
                self._pairs,
                prime.p,
                prime.inverse,
            )

        each(absorb_modulo, range(len(self._modulus.primes)))

    def _unpack(self, rows: Words, prime: Any) -> Doubles:
        out = np.empty((len(rows), self._parameters.n))
        part = rows[:, prime.offset : prime.offset + prime.words]
        if packing.unpack_residues(part, prime.width, prime.table.p, out):
            raise PeerError(
                "the peer sent a ciphertext that is not reduced",
                code="bad_ciphertext",
                remedy="check that both nodes run the same version, then ask again",
            )
        return out

    def _plain(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """(count, digit columns, n) digits, reversed with signs."""
        layout, span, n = self._layout, self._parameters.span, self._parameters.n
        out = np.zeros((count, sum(layout.digits), n), np.int64)
        place = 0
        for column, many in zip(self._columns, layout.digits, strict=True):
            low, high = limbs_of(column, first * span, count * span)
            digits = np.empty((many, count * span), np.int64)
            limbs.balanced_digits(low, high, self._parameters.digit, digits)
            blocks = digits.reshape(many, count, span).transpose(1, 0, 2)
            out[:, place : place + many, 0] = blocks[:, :, 0]
            np.negative(blocks[:, :, :0:-1], out=out[:, place : place + many, n - span + 1 :])
            place += many
        return out

    def replies(self, first: int, count: int) -> Words:
        """(count, words) second halves of the replies first ... first + count, hidden, modulo 2**w, packed."""
        n, parameters = self._parameters.n, self._parameters
        out = np.empty((count, self._layout.reply_words), np.uint64)
        mains = (parameters.limbs - 1) * n
        for row, number in enumerate(range(first, first + count)):
            places = [coefficient for _, _, coefficient in self._layout.replies[number].outputs]
            pairs = [sums[number] for sums in self._sums]
            self._add_zero(pairs, places)
            self._useful.append(np.stack([pair[0, places] for pair in pairs]))
            planes = self._modulus.switch(np.stack([pair[1] for pair in pairs]))
            out[row, :mains] = planes[:-1].reshape(-1)
            packing.pack_words(planes[-1], self._modulus.top, out[row, mains:])
        return out

    def _add_zero(self, pairs: list[Doubles], places: list[int]) -> None:
        """Adds a fresh encryption of zero to one reply and takes it back to coefficients, in place.

        Args:
            pairs: per prime (2, n), both halves, transformed; become canonical coefficients.
            places: the coefficients of the first half that are returned.
        """
        ephemeral = ternary_rows(self._zero_streams[0], 1, self._parameters.n).astype(np.float64)
        errors = noise_rows(self._zero_streams[1], 1, self._parameters.n)[0]
        first_errors = np.zeros(self._parameters.n)
        first_errors[places] = noise_rows(self._zero_streams[2], 1, len(places))[0]
        for prime, pair, key in zip(self._modulus.primes, pairs, self._key, strict=True):
            u = ephemeral.copy()
            prime.forward(u)
            for half in (0, 1):
                polynomials.add_product(pair[half], key[half], u[0], prime.p, prime.inverse)
            prime.backward(pair)
            polynomials.add_canonical(pair[0], first_errors, prime.p, prime.inverse)
            polynomials.add_canonical(pair[1], errors, prime.p, prime.inverse)

    def _floods(self, count: int) -> Words:
        """(limbs, count) uniform bits; read as signed numbers of flood_bits + 1 bits they are the floods."""
        return self._flood_stream.uint64((-(-(self._parameters.flood_bits + 1) // 64), count))

    def _masks(self, count: int) -> Words:
        """(limbs, count) uniform bits; modulo 2**k they are the masks."""
        return self._mask_stream.uint64((-(-self._parameters.k // 64), count))

    def _encode_masks(self, masks: Words) -> Doubles:
        """(primes, count) residues of round(q*r/t), never floor(q/t) * r: wrapping r modulo t must cost no noise."""
        m = self._modulus
        return self._residues(m.split(m.scaled(masks), self._parameters.k), [prime.encode for prime in m.primes])

    def _encode_floods(self, floods: Words) -> Doubles:
        """(primes, count) residues of the floods."""
        m = self._modulus
        return self._residues(m.split(floods, self._parameters.flood_bits + 1), [prime.flood for prime in m.primes])

    def _residues(self, pieces: Doubles, factors: Sequence[Doubles]) -> Doubles:
        out = np.empty((len(factors), pieces.shape[1]))
        for prime, row, factor in zip(self._modulus.primes, out, factors, strict=True):
            limbs.residues(pieces, factor, prime.p, prime.inverse, row)
        return out

    def constants(self) -> tuple[Words, list[int]]:
        """The returned coefficients of the first halves, after all replies; and this side's shares.

        Returns:
            (outputs, limbs) coefficients modulo 2**w, masked and flooded; and per entry minus the mask modulo 2**k.
        """
        parameters, m = self._parameters, self._modulus
        useful = np.concatenate(self._useful, axis=1)
        count = useful.shape[1]
        masks = self._masks(count)
        for addends in (self._encode_masks(masks), self._encode_floods(self._floods(count))):
            for prime, row, addend in zip(m.primes, useful, addends, strict=True):
                polynomials.add_canonical(row, addend, prime.p, prime.inverse)
        modulo = 1 << parameters.k
        values = [sum(int(limb) << (64 * j) for j, limb in enumerate(mask)) % modulo for mask in masks.T]
        return np.ascontiguousarray(m.switch(useful).T), recombine(self._layout, [-value for value in values])
