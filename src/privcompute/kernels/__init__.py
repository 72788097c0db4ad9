"""Compiled inner loops: modular arithmetic in doubles, number-theoretic transform, sampling, bit packing.

Nothing here knows about parties, sessions or randomness sources: kernels take arrays and fill arrays. They hold
no branch and no array index that depends on a value, unless their docstring says that the value is public, and
they release the interpreter lock.
"""
