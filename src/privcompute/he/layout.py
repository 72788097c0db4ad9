"""Where every value of a run stands: blocks, packs, digits, replies; what it costs; and which row is the cheapest.

One ciphertext holds `pack` columns of the key owner ("a group") for `span` rows ("a block"): column c of the group
has its row r at coefficient c * span + r. The evaluator's digit column is reversed with signs, y_0 - y_1 X**(N-1) -
y_2 X**(N-2) ..., so that coefficient c * span of the product is the inner product over the block. Everything
accumulates over blocks; a reply is one accumulated ciphertext for a group and a digit column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from privcompute.errors import UsageError
from privcompute.he.parameters import CrossShape, Parameters, candidates, digits_of

_CHUNK: Final = 1 << 22
"""Bytes of ciphertext that travel in one message, about."""

_POLYNOMIALS: Final = 64
"""Polynomials of one prime in work at once, about."""

_MEMORY: Final = 300 << 20
"""Most bytes of polynomials and sums that the evaluator may hold."""

# Nanoseconds on one core of the machine of docs/ring-lwe.md, for N = 8192 and one prime; and for a byte at 1 Gbit a
# second. They decide between rows, nothing else depends on them.
_ENCRYPT, _ABSORB, _TRANSFORM, _MULTIPLY, _REPLY, _BYTE = 85_000, 45_000, 40_000, 5_000, 150_000, 8


@dataclass(frozen=True)
class Reply:
    """One accumulated ciphertext that is returned.

    Args:
        group: The key owner's group of columns.
        plain: Number of the evaluator's digit column, over all its columns.
        outputs: (entry, digit, coefficient) of each useful coefficient.
    """

    group: int
    plain: int
    outputs: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Layout:
    """The arrangement of one run, from public sizes only.

    Args:
        shape: The products.
        parameters: The row of the table.
    """

    shape: CrossShape
    parameters: Parameters

    @cached_property
    def x_columns(self) -> tuple[int, ...]:
        """The key owner's columns that take part."""
        return tuple(sorted({i for i, _ in self.shape.entries}))

    @cached_property
    def y_columns(self) -> tuple[int, ...]:
        """The evaluator's columns that take part."""
        return tuple(sorted({j for _, j in self.shape.entries}))

    @cached_property
    def digits(self) -> tuple[int, ...]:
        """Digits of each of `y_columns`."""
        return tuple(digits_of(self.shape.y_bounds[j], self.parameters.digit)[0] for j in self.y_columns)

    @property
    def groups(self) -> int:
        """Ciphertexts of a block."""
        return -(-len(self.x_columns) // self.parameters.pack)

    @property
    def blocks(self) -> int:
        """Blocks of `span` rows."""
        return self.parameters.rows // self.parameters.span

    @cached_property
    def replies(self) -> tuple[Reply, ...]:
        """What is returned, in order of group, column and digit."""
        p = self.parameters
        x_place = {i: divmod(place, p.pack) for place, i in enumerate(self.x_columns)}
        y_place = {j: place for place, j in enumerate(self.y_columns)}
        firsts = [sum(self.digits[:place]) for place in range(len(self.digits))]
        wanted: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for entry, (i, j) in enumerate(self.shape.entries):
            group, slot = x_place[i]
            wanted.setdefault((group, y_place[j]), []).append((slot, entry))
        return tuple(
            Reply(group, firsts[place] + d, tuple((entry, d, slot * p.span) for slot, entry in sorted(slots)))
            for (group, place), slots in sorted(wanted.items())
            for d in range(self.digits[place])
        )

    @cached_property
    def outputs(self) -> tuple[tuple[int, int, int], ...]:
        """(entry, digit, coefficient) of all useful coefficients, in the order of `replies`."""
        return tuple(output for reply in self.replies for output in reply.outputs)

    @property
    def ciphertext_words(self) -> int:
        """64-bit words of one packed polynomial modulo q."""
        return self.parameters.n * self.parameters.bits // 64

    @property
    def reply_words(self) -> int:
        """64-bit words of one packed polynomial modulo 2**w."""
        return self.parameters.n * self.parameters.reply_bits // 64

    @property
    def chunk(self) -> int:
        """Blocks in one message; few enough that sums stay exact (kernels/polynomials.py)."""
        most = _POLYNOMIALS // (self.groups + sum(self.digits))
        return max(1, min(8, _CHUNK // (8 * self.ciphertext_words * self.groups), most, self.blocks))

    @property
    def reply_chunk(self) -> int:
        """Replies in one message."""
        return max(1, min(16, _CHUNK // (8 * self.reply_words), len(self.replies)))

    def chunks(self) -> Iterator[tuple[int, int]]:
        """(first block, number of blocks) of every message of ciphertexts."""
        for first in range(0, self.blocks, self.chunk):
            yield first, min(self.chunk, self.blocks - first)

    def reply_chunks(self) -> Iterator[tuple[int, int]]:
        """(first reply, number of replies) of every message of replies."""
        for first in range(0, len(self.replies), self.reply_chunk):
            yield first, min(self.reply_chunk, len(self.replies) - first)

    @property
    def memory(self) -> int:
        """Bytes of the evaluator's sums, and of the polynomials of a chunk at all primes at once."""
        primes = len(self.parameters.widths)
        work = self.chunk * (2 * self.groups * primes + sum(self.digits) * (primes + 1))
        return (len(self.replies) * 2 * primes + work) * self.parameters.n * 8

    @cached_property
    def cost(self) -> Cost:
        """What the run costs."""
        p = self.parameters
        scale, primes = p.n // 8192, len(p.widths)
        ciphertexts, plains = self.blocks * self.groups, self.blocks * sum(self.digits)
        products = self.blocks * len(self.replies)
        per_prime = (
            ciphertexts * _ENCRYPT,
            ciphertexts * _ABSORB + plains * _TRANSFORM + products * _MULTIPLY + len(self.replies) * _REPLY,
        )
        return Cost(
            key_owner_sends=8 * self.ciphertext_words * (1 + ciphertexts),
            evaluator_sends=8 * (self.reply_words * len(self.replies) + p.limbs * len(self.outputs)),
            rounds=2,
            messages=(1 + len(list(self.chunks())), 1 + len(list(self.reply_chunks()))),
            ciphertexts=ciphertexts,
            plaintexts=plains,
            products=products,
            replies=len(self.replies),
            primes=primes,
            n=p.n,
            key_owner_ns=per_prime[0] * primes * scale,
            evaluator_ns=per_prime[1] * primes * scale,
        )


@dataclass(frozen=True)
class Cost:
    """What a run costs; bytes are payload, without the session's headers.

    Attributes:
        key_owner_sends: Bytes from key owner to evaluator.
        evaluator_sends: Bytes back.
        rounds: Dependent messages.
        messages: How many messages each way.
        ciphertexts: Encryptions of the key owner.
        plaintexts: Polynomials the evaluator transforms.
        products: Ciphertext by plaintext.
        replies: Ciphertexts hidden, switched and returned.
        primes: Residues each of them has.
        n: Coefficients each of them has.
        key_owner_ns: Computing time of the key owner on the reference machine, one core.
        evaluator_ns: The same of the evaluator.
    """

    key_owner_sends: int
    evaluator_sends: int
    rounds: int
    messages: tuple[int, int]
    ciphertexts: int
    plaintexts: int
    products: int
    replies: int
    primes: int
    n: int
    key_owner_ns: int
    evaluator_ns: int

    @property
    def total_bytes(self) -> int:
        """Bytes both ways."""
        return self.key_owner_sends + self.evaluator_sends

    @property
    def weight(self) -> int:
        """What rows are compared by: computing and sending overlap, so the slowest of them, plus an eighth of all."""
        parts = (self.key_owner_ns, self.evaluator_ns, _BYTE * self.total_bytes)
        return max(parts) + sum(parts) // 8


@lru_cache(maxsize=256)
def choose_layout(shape: CrossShape) -> Layout:
    """The cheapest admissible arrangement.

    Raises:
        UsageError: no row of the table carries the noise ("too_wide"), or the evaluator would need too much
            memory ("too_many_products").
    """
    fitting = [Layout(shape, parameters) for parameters in candidates(shape)]
    if not fitting:
        raise UsageError(
            f"sums of {shape.k} bits over {shape.rows} rows need a larger modulus than the parameter table has",
            code="too_wide",
            remedy="give the columns narrower ranges or fewer decimal digits, or ask for fewer products at once",
        )
    small = [layout for layout in fitting if layout.memory <= _MEMORY]
    if not small:
        raise UsageError(
            f"{len(shape.entries)} products at once need more than {_MEMORY >> 20} MiB of memory",
            code="too_many_products",
            remedy="ask for fewer products at once",
        )
    return min(small, key=lambda layout: (layout.cost.weight, layout.parameters.bits, layout.parameters.pack))


def choose_parameters(shape: CrossShape) -> Parameters:
    """The row of the table a run of this shape uses; raises as `choose_layout` does."""
    return choose_layout(shape).parameters


def cross_cost(shape: CrossShape) -> Cost:
    """What the kernel costs with the roles as the shape has them; compare with ``shape.swapped()``."""
    return choose_layout(shape).cost
