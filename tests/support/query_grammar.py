"""Random queries: each expression comes as SQL text and as a Python function over one joined row.

The Python side is an oracle of its own: exact fractions of the doubles in the tables, SQL's three-valued logic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from support.query_tables import Row

Pair = tuple[Row, Row]
Number = Callable[[Pair], Fraction | None]
Truth = Callable[[Pair], bool | None]
ALIASES = ("h", "i")
JOIN = "FROM hospital.patients h JOIN insurer.members i ON h.k1 = i.k1 AND h.k2 = i.k2"


@dataclass(frozen=True)
class Expr:
    """A number: SQL, oracle, and whether DuckDB computes it in doubles."""

    sql: str
    value: Number
    real: bool


@dataclass(frozen=True)
class Cond:
    """A condition: SQL and oracle."""

    sql: str
    value: Truth


@dataclass(frozen=True)
class Aggregate:
    """An output: SQL, the oracle over all selected joined rows, and whether it is computed in doubles."""

    sql: str
    value: Callable[[list[Pair]], Fraction | None]
    real: bool


def _strict(f: Callable[[Fraction, Fraction], Fraction], x: Number, y: Number) -> Number:
    def value(pair: Pair) -> Fraction | None:
        a, b = x(pair), y(pair)
        return None if a is None or b is None else f(a, b)

    return value


class Grammar:
    """Draws queries from a seeded generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def pick(self, *options: str) -> str:
        """One of the options."""
        return options[int(self.rng.integers(0, len(options)))]

    def number(self, side: int | None, depth: int) -> Expr:
        """A number over one side's columns, or over both (None)."""
        if depth <= 0:
            return self.leaf(int(self.rng.integers(0, 2)) if side is None else side)
        kind = self.pick("leaf", "+", "-", "*", "case", "neg", "coalesce", "/") if depth > 0 else "leaf"
        if kind == "leaf":
            return self.leaf(int(self.rng.integers(0, 2)) if side is None else side)
        if kind == "neg":
            x = self.number(side, depth - 1)
            return Expr(f"(-{x.sql})", _strict(lambda a, b: a * b, x.value, lambda _: Fraction(-1)), x.real)
        if kind == "case":
            return self.case(side, depth)
        if kind == "coalesce":
            own = int(self.rng.integers(0, 2)) if side is None else side
            x, y = self.number(own, 0), self.number(own, 0)

            def first(pair: Pair) -> Fraction | None:
                a = x.value(pair)
                return y.value(pair) if a is None else a

            return Expr(f"COALESCE({x.sql}, {y.sql})", first, x.real or y.real)
        if kind == "/":
            x, own = self.number(side, depth - 1), int(self.rng.integers(0, 2)) if side is None else side
            name = f"{ALIASES[own]}.p"
            divided = _strict(lambda a, b: a / b, x.value, lambda pair: Fraction(pair[own]["p"]))
            return Expr(f"({x.sql} / {name})", divided, True)
        x, y = self.number(side, depth - 1), self.number(side, depth - 1)
        f = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}[kind]
        return Expr(f"({x.sql} {kind} {y.sql})", _strict(f, x.value, y.value), x.real or y.real)

    def leaf(self, side: int) -> Expr:
        """A column or a constant."""
        name = self.pick("n", "n", "d", "f", "g", "p", "big", "1", "3", "0.5", "abs", "greatest", "year")
        alias = ALIASES[side]
        if name in ("1", "3", "0.5"):
            constant = Fraction(name)
            return Expr(name, lambda _: constant, False)
        if name == "abs":
            return Expr(f"ABS({alias}.n)", lambda p: _abs(_fraction(p[side]["n"])), False)
        if name == "greatest":
            return Expr(f"GREATEST({alias}.n, {alias}.d)", lambda p: _greatest(p[side]), False)
        if name == "year":
            return Expr(f"EXTRACT(YEAR FROM {alias}.day)", lambda p: _year(p[side]["day"]), False)
        return Expr(f"{alias}.{name}", lambda p: _fraction(p[side][name]), name in "fgp")

    def case(self, side: int | None, depth: int) -> Expr:
        """CASE of one or two branches, with or without ELSE."""
        both = side is None
        branches = [
            (self.joint() if both else self.condition(side or 0, 1), self.number(side, depth - 1))
            for _ in range(int(self.rng.integers(1, 3)))
        ]
        default = self.number(side, depth - 1) if self.rng.random() < 0.5 else None

        def value(pair: Pair) -> Fraction | None:
            for cond, number in branches:
                if cond.value(pair):
                    return number.value(pair)
            return default.value(pair) if default is not None else None

        whens = " ".join(f"WHEN {c.sql} THEN {n.sql}" for c, n in branches)
        tail = f" ELSE {default.sql}" if default is not None else ""
        real = any(n.real for _, n in branches) or (default is not None and default.real)
        return Expr(f"CASE {whens}{tail} END", value, real)

    def joint(self) -> Cond:
        """A condition of one side, or an AND or OR of both sides'."""
        a, b = self.condition(0, 1), self.condition(1, 1)
        word = self.pick("one", "AND", "AND", "OR")
        if word == "one":
            return a if self.rng.random() < 0.5 else b
        join = _and if word == "AND" else _or
        return Cond(f"({a.sql} {word} {b.sql})", lambda p: join(a.value(p), b.value(p)))

    def condition(self, side: int, depth: int) -> Cond:
        """A condition over one side's columns."""
        alias, kind = (
            ALIASES[side],
            self.pick("cmp", "cmp", "flag", "null", "in", "like", "day", "not", "and", "or", "sum"),
        )
        if kind == "flag":
            return Cond(f"{alias}.flag", lambda p: p[side]["flag"])
        if kind == "null":
            return Cond(f"{alias}.n IS NOT NULL", lambda p: p[side]["n"] is not None)
        if kind == "in":
            return Cond(f"{alias}.region IN ('north', 'it''s')", lambda p: _in(p[side]["region"]))
        if kind == "like":
            return Cond(f"{alias}.region LIKE '%th'", lambda p: _ends(p[side]["region"]))
        if kind == "day":
            text = f"{alias}.day >= DATE '2015-06-01'"
            return Cond(text, lambda p: None if p[side]["day"] is None else p[side]["day"] >= "2015-06-01")
        if kind == "not" and depth > 0:
            x = self.condition(side, depth - 1)
            return Cond(f"(NOT {x.sql})", lambda p: None if x.value(p) is None else not x.value(p))
        if kind in ("and", "or") and depth > 0:
            x, y = self.condition(side, depth - 1), self.condition(side, depth - 1)
            join = _and if kind == "and" else _or
            return Cond(f"({x.sql} {kind.upper()} {y.sql})", lambda p: join(x.value(p), y.value(p)))
        if kind == "sum":
            limit = int(self.rng.integers(-20, 60))

            def above(pair: Pair) -> bool | None:
                n, d = _fraction(pair[side]["n"]), _fraction(pair[side]["d"])
                return None if n is None or d is None else n * 3 + d > limit

            return Cond(f"{alias}.n * 3 + {alias}.d > {limit}", above)
        limit = int(self.rng.integers(-20, 60))
        name = self.pick("n", "d", "f")
        return Cond(f"{alias}.{name} <= {limit}", lambda p: _at_most(_fraction(p[side][name]), limit))

    def aggregate(self) -> Aggregate:
        """COUNT, SUM or AVG of something."""
        kind = self.pick("count*", "distinct", "count", "sum", "sum", "sum", "sum", "avg", "avg")
        if kind == "count*":
            return Aggregate("COUNT(*)", lambda pairs: Fraction(len(pairs)), False)
        if kind == "distinct":
            return Aggregate("COUNT(DISTINCT (h.k1, h.k2))", _distinct, False)
        x = self.number((0, 1, None, None)[int(self.rng.integers(0, 4))], int(self.rng.integers(0, 3)))

        def known(pairs: list[Pair]) -> list[Fraction]:
            return [v for v in map(x.value, pairs) if v is not None]

        if kind == "count":
            return Aggregate(f"COUNT({x.sql})", lambda pairs: Fraction(len(known(pairs))), False)
        if kind == "sum":
            return Aggregate(
                f"SUM({x.sql})", lambda pairs: sum(k, Fraction(0)) if (k := known(pairs)) else None, x.real
            )
        return Aggregate(
            f"AVG({x.sql})", lambda pairs: sum(k, Fraction(0)) / len(k) if (k := known(pairs)) else None, True
        )


def _fraction(value: int | float | str | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def _abs(value: Fraction | None) -> Fraction | None:
    return None if value is None else abs(value)


def _greatest(row: Row) -> Fraction | None:
    known = [v for v in (_fraction(row["n"]), _fraction(row["d"])) if v is not None]
    return max(known, default=None)


def _year(day: str | None) -> Fraction | None:
    return None if day is None else Fraction(int(day[:4]))


def _at_most(value: Fraction | None, limit: int) -> bool | None:
    return None if value is None else value <= limit


def _in(value: str | None) -> bool | None:
    return None if value is None else value in ("north", "it's")


def _ends(value: str | None) -> bool | None:
    return None if value is None else value.endswith("th")


def _and(x: bool | None, y: bool | None) -> bool | None:
    return False if x is False or y is False else None if x is None or y is None else True


def _or(x: bool | None, y: bool | None) -> bool | None:
    return True if x or y else None if x is None or y is None else False


def _distinct(pairs: list[Pair]) -> Fraction:
    return Fraction(len({(a["k1"], a["k2"]) for a, _ in pairs}))
