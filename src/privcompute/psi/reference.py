"""Curve25519 in plain Python integers: the text the fast engines are checked against, and their fallback.

Slow (some 100 µs an item) and not constant-time; the fast engines are both.
Sources: RFC 7748 section 5 (X25519), RFC 9380 sections 5.2, 5.3.1 and 6.7.1 (hash to field, expand_message_xmd,
Elligator 2 for curve25519).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

P = 2**255 - 19
A = 486662
A24 = 121665


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """RFC 9380 5.3.1 with SHA-512: ``length`` uniform bytes, at most 255 * 64."""
    blocks = -(-length // 64)
    if not 0 < blocks <= 255:
        raise ValueError("between 1 and 16320 bytes")
    if len(dst) > 255:
        dst = hashlib.sha512(b"H2C-OVERSIZE-DST-" + dst).digest()
    dst_prime = dst + bytes([len(dst)])
    first = hashlib.sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + dst_prime).digest()
    block, out = bytes(64), b""
    for index in range(1, blocks + 1):
        mixed = bytes(a ^ b for a, b in zip(first, block, strict=True))
        block = hashlib.sha512(mixed + bytes([index]) + dst_prime).digest()
        out += block
    return out[:length]


def hash_to_field(message: bytes, dst: bytes) -> int:
    """RFC 9380 5.2 for one element of GF(2^255 - 19): 48 uniform bytes, big-endian, mod p."""
    return int.from_bytes(expand_message_xmd(message, dst, 48), "big") % P


def elligator2(u: int) -> int:
    """x-coordinate of RFC 9380 6.7.1 map_to_curve for curve25519 (Z = 2), before the cofactor is cleared."""
    x1 = -A * pow(1 + 2 * u * u, -1, P) % P  # 1 + 2u^2 is never 0: -1/2 is no square mod p
    g = x1 * (x1 * (x1 + A) + 1) % P
    return x1 if pow(g, (P - 1) // 2, P) != P - 1 else (-x1 - A) % P


def on_curve(x: int) -> bool:
    """True if x belongs to a point of the curve itself, False if to one of its twist."""
    return pow(x * (x * (x + A) + 1), (P - 1) // 2, P) != P - 1


def clamp(scalar: bytes) -> int:
    """RFC 7748 5: the integer a 32-byte X25519 scalar stands for."""
    value = int.from_bytes(scalar, "little")
    return (value & ~7 & (2**254 - 1)) | 2**254


def x25519(scalar: bytes, point: int) -> int:
    """RFC 7748 5: the x-coordinate of [clamped scalar] times the point with this x; 0 for small order."""
    k = clamp(scalar)
    x1, x2, z2, x3, z3 = point, 1, 0, point, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = pow(da + cb, 2, P), x1 * pow(da - cb, 2, P) % P
        x2, z2 = aa * bb % P, e * (aa + A24 * e) % P
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return x2 * pow(z2, P - 2, P) % P


def hash_to_curve(message: bytes, dst: bytes) -> bytes:
    """32 bytes, little-endian: the x-coordinate of the hashed point before the cofactor is cleared."""
    return elligator2(hash_to_field(message, dst)).to_bytes(32, "little")


def hash_many(messages: Sequence[bytes], dst: bytes) -> bytes:
    """`hash_to_curve` of each, joined."""
    return b"".join(hash_to_curve(message, dst) for message in messages)
