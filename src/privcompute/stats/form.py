"""Bilinear forms: what a joint statistic of two tables is, before anybody has computed anything.

Let A and B be two tables joined on a key. A *factor* is a number of one row of one table: a product of that table's
expressions, and 0 unless the row satisfies a conjunction of that table's conditions. A *form* is

    sum over terms of  coefficient * factor(row of A) * factor(row of B),

a number of one joined row. Forms are closed under +, - and *, so every sum of sums, products and CASE branches whose
pieces belong to one table each is again one. The sum of a form over the join is

    sum over keys, over terms of  coefficient * (sum of A's factor in the key) * (sum of B's factor in the key),

an inner product of two columns, each computed where its table lies. That identity is exact for duplicate keys: SQL
joins every row of a key with every row of the same key of the other side.

Factors are generic in what an expression (V) and a condition (P) are; only equality and hashing are used.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar

V = TypeVar("V", bound=Hashable)
P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True)
class Factor(Generic[V, P]):
    """A number of one row of one side: the product of `values`, and 0 unless all of `where` hold.

    Attributes:
        values: The expressions that are multiplied; none of them means 1. NULL counts as 0.
        where: The conditions, without repetition; none of them means every row. NULL counts as false.
    """

    values: tuple[V, ...] = field(default=(), repr=False)
    where: tuple[P, ...] = ()

    def __mul__(self, other: Factor[V, P]) -> Factor[V, P]:
        extra = tuple(p for p in other.where if p not in self.where)
        return Factor(self.values + other.values, self.where + extra)

    @property
    def is_one(self) -> bool:
        """Whether this factor is 1 in every row."""
        return not self.values and not self.where


Pair = tuple[Factor[V, P], Factor[V, P]]


class Form(Generic[V, P]):
    """A sum of coefficient * (factor of side 0) * (factor of side 1); immutable.

    Args:
        terms: Coefficient by pair of factors; zero coefficients are dropped.
    """

    __slots__ = ("_terms",)

    def __init__(self, terms: Mapping[Pair[V, P], Fraction | int] | None = None) -> None:
        self._terms: dict[Pair[V, P], Fraction] = {k: Fraction(c) for k, c in (terms or {}).items() if c}

    @classmethod
    def constant(cls, value: Fraction | int) -> Form[V, P]:
        """The form that is `value` in every joined row."""
        return cls({(Factor(), Factor()): Fraction(value)})

    @classmethod
    def of(cls, side: int, factor: Factor[V, P]) -> Form[V, P]:
        """The form that is `factor` of side 0 or 1."""
        one: Factor[V, P] = Factor()
        return cls({(factor, one) if side == 0 else (one, factor): Fraction(1)})

    @classmethod
    def total(cls, forms: Iterable[Form[V, P]]) -> Form[V, P]:
        """The sum of the forms."""
        terms: dict[Pair[V, P], Fraction] = {}
        for form in forms:
            for pair, coefficient in form:
                terms[pair] = terms.get(pair, Fraction(0)) + coefficient
        return cls(terms)

    def __iter__(self) -> Iterator[tuple[Pair[V, P], Fraction]]:
        return iter(self._terms.items())

    def __len__(self) -> int:
        return len(self._terms)

    def __eq__(self, other: object) -> bool:
        return self._terms == other._terms if isinstance(other, Form) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._terms.items()))

    def __repr__(self) -> str:
        return f"Form({len(self)} terms)"

    def __add__(self, other: Form[V, P]) -> Form[V, P]:
        return Form.total((self, other))

    def __neg__(self) -> Form[V, P]:
        return self.scaled(-1)

    def __sub__(self, other: Form[V, P]) -> Form[V, P]:
        return self + (-other)

    def __mul__(self, other: Form[V, P]) -> Form[V, P]:
        terms: dict[Pair[V, P], Fraction] = {}
        for (a, b), c in self:
            for (x, y), d in other:
                pair = (a * x, b * y)
                terms[pair] = terms.get(pair, Fraction(0)) + c * d
        return Form(terms)

    def scaled(self, by: Fraction | int) -> Form[V, P]:
        """The form times a public number."""
        return Form({pair: c * by for pair, c in self})

    @property
    def is_one(self) -> bool:
        """Whether this form is 1 in every joined row, by its shape."""
        return self == Form.constant(1)
