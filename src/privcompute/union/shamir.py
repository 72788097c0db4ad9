"""Shamir's secret sharing of 32-byte secrets, and their recovery when one share is a lie.

Over the prime 2**256 + 297, the first above 2**256, so that every 32-byte secret is a number below it. A share is the
value of a random polynomial at its holder's point; the point is public and not part of the share. Fewer than
``threshold`` shares say nothing at all. Nothing here shows that shares belong to one polynomial: whoever recovers a
secret holds a commitment to it, or its public key, and checks the result. gmpy2 is not constant-time: the times of
`split` are of the holder's own process and no step waits on a single share.

Source: Shamir, CACM 22(11), 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gmpy2 import invert, mpz

from privcompute.errors import IntegrityError
from privcompute.randomness import Stream

PRIME: Final = 2**256 + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
NO_SHARE: Final = b"\xff" * SHARE_BYTES
"""In the place of a share that its holder does not have; as a number it is no field element."""

_P: Final = mpz(PRIME)


def split(secret: bytes, threshold: int, points: Sequence[int], stream: Stream) -> list[bytes]:
    """One share for each point; any ``threshold`` of them give the secret back.

    Args:
        secret: 32 bytes.
        threshold: At least 1, at most the number of points.
        points: Distinct, 1 … 2**16.
        stream: Private randomness for the coefficients.
    """
    coefficients = [mpz(int.from_bytes(secret, "little")), *(mpz(stream.below(PRIME)) for _ in range(threshold - 1))]
    shares = []
    for point in points:
        value = mpz(0)
        for coefficient in reversed(coefficients):
            value = (value * point + coefficient) % _P
        shares.append(int(value).to_bytes(SHARE_BYTES, "little"))
    return shares


def weights(points: Sequence[int]) -> list[mpz]:
    """Lagrange's coefficients of the value at 0."""
    found = []
    for point in points:
        above, below = mpz(1), mpz(1)
        for other in points:
            if other != point:
                above = above * other % _P
                below = below * (other - point) % _P
        found.append(above * invert(below % _P, _P) % _P)
    return found


class Recovery:
    """Recovers secrets from what a group of holders sent, and remembers who sent a wrong share.

    Args:
        threshold: The shares that are needed.

    Attributes:
        liars: Points whose share of some secret was found wrong: their holder lied, or the secret's dealer had given
            it another. They are not asked again.
    """

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.liars: set[int] = set()
        self._weights: dict[tuple[int, ...], list[mpz]] = {}

    def recover(self, shares: Mapping[int, bytes], valid: Callable[[bytes], bool]) -> bytes:
        """The secret whose shares these are.

        Tries the first ``threshold`` points; if the result is not valid, once without each of them. So one wrong share
        among ``threshold`` + 1 is found, several are not.

        Args:
            shares: By point.
            valid: Compares with the public commitment or key.

        Raises:
            IntegrityError: ``bad_shares``: no valid secret was found; which share is wrong is not known.
        """
        numbers = {
            point: value
            for point in sorted(shares)
            if point not in self.liars and (value := int.from_bytes(shares[point], "little")) < PRIME
        }
        points = tuple(numbers)
        if len(points) >= self.threshold:
            secret = self._combine(points[: self.threshold], numbers)
            if secret is not None and valid(secret):
                return secret
        if len(points) > self.threshold:
            for suspect in points[: self.threshold]:
                rest = tuple(point for point in points[: self.threshold + 1] if point != suspect)
                secret = self._combine(rest, numbers)
                if secret is not None and valid(secret):
                    self.liars.add(suspect)
                    return secret
        raise IntegrityError(
            "a holder's secret cannot be recovered from the shares that came",
            code="bad_shares",
            remedy="no total was opened; ask again without the holder that is named",
        )

    def _combine(self, points: tuple[int, ...], numbers: Mapping[int, int]) -> bytes | None:
        if points not in self._weights:
            self._weights[points] = weights(points)
        total = mpz(0)
        for point, weight in zip(points, self._weights[points], strict=True):
            total += weight * numbers[point]
        value = int(total % _P)
        return value.to_bytes(SECRET_BYTES, "little") if value < 1 << 8 * SECRET_BYTES else None
