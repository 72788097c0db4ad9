"""Private set intersection: canonical keys, Curve25519, the Diffie-Hellman protocol, its exact cost."""

from privcompute.psi.cost import PsiCost, PsiLimits, psi_cost, tag_bytes
from privcompute.psi.curve import warm_up
from privcompute.psi.dh import dh_psi
from privcompute.psi.encoding import compatible, encode_keys, key_family, require_compatible

__all__ = [
    "PsiCost",
    "PsiLimits",
    "compatible",
    "dh_psi",
    "encode_keys",
    "key_family",
    "psi_cost",
    "require_compatible",
    "tag_bytes",
    "warm_up",
]
