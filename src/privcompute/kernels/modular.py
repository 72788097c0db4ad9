"""Exact arithmetic modulo primes below 2**49, carried by doubles.

A residue is a double with an integer value. Products of two residues have up to 98 bits; a fused multiply-add
gives the product exactly as a sum h + l of two doubles, the quotient by p is guessed to within a small error,
and h + l - q*p is again a double that holds an integer. The result is always *congruent*, because every step is
exact; only its size depends on the guess. Doubles, because vector units multiply them eight at a time,
where they multiply 64-bit integers one at a time.

Exactness needs: |a*b| < 2**104 so that nothing underflows or overflows (always true here), and
|h - q*p| < 2**53, which holds when |a*b/p| < 2**51. Sizes: with p < 2**49, |a| <= A*p and |b| <= p/2, the result is
at most (1/2 + A/16) * p in absolute value.

Source: the error-free product is Dekker's (1971); its use modulo primes follows the general idea of
van der Hoeven, Lecerf and Quintin, "Modular SIMD arithmetic in Mathemagix" (2016).
"""

from privcompute.kernels.compiled import kernel
from privcompute.kernels.intrinsics import fma, rint


@kernel
def multiply(a: float, b: float, p: float, inverse: float) -> float:
    """a*b mod p; `inverse` is the double nearest to 1/p."""
    h = a * b
    low = fma(a, b, -h)
    return fma(-rint(h * inverse), p, h) + low


@kernel
def multiply_known(a: float, b: float, quotient: float, p: float) -> float:
    """a*b mod p where `quotient`, the double nearest to b/p, was computed beforehand."""
    h = a * b
    low = fma(a, b, -h)
    return fma(-rint(a * quotient), p, h) + low


@kernel
def balance(a: float, p: float, inverse: float) -> float:
    """The residue of an integer |a| < 2**53, between about -p/2 and p/2 (at most 2 beyond)."""
    return fma(-rint(a * inverse), p, a)


@kernel
def canonical(a: float, p: float, inverse: float) -> float:
    """The residue of an integer |a| < 2**53 in [0, p)."""
    r = fma(-rint(a * inverse), p, a)
    return r + (r < 0.0) * p
