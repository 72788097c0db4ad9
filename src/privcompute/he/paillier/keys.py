"""Paillier keys: made here, or received and not trusted before a proof.

There are three kinds, because they may do different things:

* `PrivateKey` - its two primes; decrypts; gives its `PublicKey` and the proof for others;
* `PublicKey` - may encrypt: it comes from a private key in this process, or from a received key that was verified;
* `ReceivedKey` - numbers from outside; can do nothing but be verified.

Source: Paillier, EUROCRYPT 1999; Damgård, Jurik, Nielsen, "A generalization of Paillier's public-key system with
applications to electronic voting", Int. J. Inf. Secur. 2010 (primes that are 3 modulo 4, gcd(p-1, q-1) = 2).
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Final, NoReturn

import gmpy2

from privcompute.errors import PeerError, UsageError
from privcompute.he.paillier import proof as proofs
from privcompute.he.paillier.primes import prime_pair, small_factor
from privcompute.he.paillier.squares import Square, square_of

if TYPE_CHECKING:
    from privcompute.he.paillier.batch import Batch
    from privcompute.he.paillier.masks import Blinded
    from privcompute.he.paillier.values import Values

MIN_BITS: Final = 2048
MAX_BITS: Final = 4096
STEP_BITS: Final = 256
DEFAULT_BITS: Final = 3072
_DOMAIN: Final = b"privcompute paillier key v1"
_ROUNDS: Final = 40
"""Rounds of Miller and Rabin; a composite passes with a chance below 4^-40, whoever chose it."""


def is_size(bits: int) -> bool:
    """Whether keys of so many bits are offered: 2048 to 4096 in steps of 256."""
    return MIN_BITS <= bits <= MAX_BITS and bits % STEP_BITS == 0


def key_id(n: int) -> bytes:
    """32 bytes that name a modulus: SHA-256 of a domain, its length in bits and its little-endian bytes."""
    bits = n.bit_length()
    return hashlib.sha256(_DOMAIN + bits.to_bytes(4, "little") + n.to_bytes((bits + 7) // 8, "little")).digest()


class PublicKey:
    """A modulus that may be encrypted under; from `PrivateKey.public` or `ReceivedKey.verify`."""

    __slots__ = ("_square", "bits", "id", "n")

    bits: int
    """Length of the modulus."""
    id: bytes
    """32 bytes that name it."""
    n: int
    """The modulus."""

    def __init__(self) -> None:
        raise TypeError("a public key comes from PrivateKey.public or from ReceivedKey.verify")

    def __repr__(self) -> str:
        return f"PublicKey({self.bits} bits, id {self.id.hex()[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.n == other.n

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled: send to_bytes() and let the other side verify")

    @property
    def square(self) -> Square:
        """Arithmetic modulo n^2; prepared at the first use."""
        if self._square is None:
            self._square = square_of(self.n)
        return self._square

    _square: Square | None

    def to_bytes(self) -> bytes:
        """The key as it travels; see docs/paillier.md for the format."""
        from privcompute.he.paillier.serialisation import key_to_bytes

        return key_to_bytes(self.n)


def trusted(n: int) -> PublicKey:
    """A public key of a modulus that this process made or verified; for this package alone."""
    key = object.__new__(PublicKey)
    key.n, key.bits, key.id, key._square = n, n.bit_length(), key_id(n), None
    return key


class ReceivedKey:
    """A modulus from outside: checked for what can be seen, trusted with nothing before `verify`.

    Args:
        n: The modulus.

    Raises:
        PeerError: ``bad_key``: the wrong length, even, prime, a power, or with a small factor.
    """

    __slots__ = ("id", "n")

    def __init__(self, n: int) -> None:
        problem = None
        if not is_size(n.bit_length()):
            problem = f"a modulus has {MIN_BITS} to {MAX_BITS} bits in steps of {STEP_BITS}"
        elif small_factor(n) is not None:
            problem = "the modulus has a small factor"
        elif gmpy2.is_power(n):
            problem = "the modulus is a power"
        elif gmpy2.is_prime(n, _ROUNDS):
            problem = "the modulus is a prime"
        if problem:
            raise PeerError(f"the received Paillier key is none: {problem}", code="bad_key")
        self.n = n
        self.id = key_id(n)

    def __repr__(self) -> str:
        return f"ReceivedKey({self.n.bit_length()} bits, id {self.id.hex()[:12]}, not verified)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled: send to_bytes() and let the other side verify")

    @classmethod
    def from_bytes(cls, data: bytes) -> ReceivedKey:
        """Reads a key.

        Raises:
            PeerError: ``bad_key``: not the format, or see the class.
        """
        from privcompute.he.paillier.serialisation import key_from_bytes

        return cls(key_from_bytes(data))

    def verify(self, proof: bytes, context: bytes) -> PublicKey:
        """The key, now fit to encrypt under.

        Args:
            proof: From the owner's `PrivateKey.prove`.
            context: What the proof has to be bound to, such as the session's digest; the same bytes as the owner's.

        Raises:
            PeerError: ``bad_key_proof``: the proof does not show that gcd(n, phi(n)) = 1, or not in this context.
        """
        proofs.verify(self.n, proof, context)
        return trusted(self.n)

    def assume_well_formed(self) -> PublicKey:
        """The key without a proof: only for one that you made yourself elsewhere, such as with `phe`."""
        return trusted(self.n)


class PrivateKey:
    """The two primes. Not shown, not pickled; keep it in the process that decrypts.

    Made by `generate` or `from_primes`.
    """

    __slots__ = ("__dict__", "_p", "_q", "public")

    def __init__(self, p: int, q: int) -> None:
        self._p, self._q = max(p, q), min(p, q)
        self.public = trusted(p * q)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.bits} bits, id {self.public.id.hex()[:12]}, <hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("private keys are not pickled or copied")

    @classmethod
    def generate(cls, bits: int = DEFAULT_BITS) -> PrivateKey:
        """A fresh key; seconds of one core, more for longer ones.

        Args:
            bits: 2048 to 4096 in steps of 256.

        Raises:
            UsageError: ``bad_key_size``.
        """
        if not is_size(bits):
            raise UsageError(
                f"a Paillier key has {MIN_BITS} to {MAX_BITS} bits in steps of {STEP_BITS}",
                code="bad_key_size",
                remedy=f"take {DEFAULT_BITS}",
            )
        return cls.from_primes(*prime_pair(bits))

    @classmethod
    def from_primes(cls, p: int, q: int, *, elsewhere: bool = False) -> PrivateKey:
        """The key of two primes that you keep, all conditions checked.

        Args:
            p: A prime.
            q: Another one.
            elsewhere: The key was made by another library: the primes need not be 3 modulo 4, nor gcd(p-1, q-1) = 2.

        Raises:
            UsageError: ``bad_key``: a condition fails; the text says which.
        """
        n = p * q
        half = p.bit_length()
        conditions = {
            "the modulus has 2048 to 4096 bits in steps of 256": is_size(n.bit_length()),
            "the primes have the same length": half == q.bit_length(),
            "the primes are far apart": abs(p - q).bit_length() > half - 100,
            "both are primes": all(gmpy2.is_prime(x, _ROUNDS) for x in (p, q)),
            "the modulus shares no factor with phi of it": gmpy2.gcd(n, (p - 1) * (q - 1)) == 1,
            "both primes are 3 modulo 4": elsewhere or p % 4 == q % 4 == 3,
            "p - 1 and q - 1 share only the factor 2": elsewhere or gmpy2.gcd(p - 1, q - 1) == 2,
        }
        failed = next((text for text, holds in conditions.items() if not holds), None)
        if failed:
            raise UsageError(f"these primes make no Paillier key: it must be that {failed}", code="bad_key")
        return cls(p, q)

    def prove(self, context: bytes) -> bytes:
        """The proof that this key is well formed, for those who encrypt under it; see `proof`.

        Args:
            context: What the proof is bound to, such as the session's digest.
        """
        return proofs.prove(self._p, self._q, context)

    def decrypt(self, batch: Batch) -> Values:
        """The values of a batch under this key, fresh or computed.

        Raises:
            UsageError: ``mismatch``: a batch under another key.
            IntegrityError: ``slot_out_of_bounds``: somebody encrypted what was not agreed.
        """
        from privcompute.he.paillier.decryption import decrypt

        return decrypt(self, batch)

    def open_blinded(self, blinded: Blinded) -> bytes:
        """The masked plaintexts, for who holds the mask: uniform to everybody else.

        Raises:
            UsageError: ``mismatch``: blinded under another key.
        """
        from privcompute.he.paillier.decryption import open_blinded

        return open_blinded(self, blinded)

    @functools.cached_property
    def halves(self) -> tuple[Half, Half]:
        """Arithmetic modulo p^2 and q^2, prepared at the first use; for this package alone."""
        n = self.public.n
        return Half(self._p, n), Half(self._q, n)


class Half:
    """One prime's part in decryption: m modulo p is quotient(c^(p-1)) * factor, quotient(x) = (x - 1) / p."""

    def __init__(self, p: int, n: int) -> None:
        self.prime = p
        self.square = square_of(p, 2 * n.bit_length())
        # (1 + n)^(p-1) = 1 + (p-1) n modulo p^2, so the quotient is (p-1) n / p = -n/p modulo p.
        self.factor = int(gmpy2.invert(-(n // p) % p, p))

    def __repr__(self) -> str:
        return "Half(<hidden>)"

    def __reduce__(self) -> Any:
        raise TypeError("private keys are not pickled or copied")
