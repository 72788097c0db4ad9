"""Random questions over the sample tables, and their exact answers: DuckDB joins and filters, Fractions do the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, get_args

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from privcompute.node import values

LEFT, RIGHT = "hospital.patients", "insurer.members"
FROM = f"FROM {LEFT} h JOIN {RIGHT} i ON h.id = i.id"

NUMBERS = {"h": ("h.age", "h.visits", "h.bmi", "h.dose"), "i": ("i.cost", "i.claim", "i.score")}
ANYTHING = {"h": (*NUMBERS["h"], "h.smoker", "h.region", "h.born"), "i": (*NUMBERS["i"], "i.active", "i.plan")}
CONDITIONS = {
    "h": (
        "h.age >= 18", "h.age BETWEEN 30 AND 65", "h.smoker", "NOT h.smoker", "h.region = 'north'", "h.visits > 0",
        "h.region IN ('south', 'it''s west')", "h.bmi IS NULL", "h.bmi < 30.5", "h.born < DATE '1980-01-01'",
        "(h.smoker OR h.age > 50)", "h.region <> 'east'", "h.dose >= 2.5", "h.smoker IS NOT NULL",
    ),
    "i": (
        "i.active", "NOT i.active", "i.claim IS NOT NULL", "i.plan = 'Plus'", "i.plan LIKE 'p%'", "i.cost > 2000",
        "(i.active OR i.cost < 0)", "i.score <= 0.75", "i.plan IN ('basic', '')", "i.claim >= 1234.5",
    ),
}  # fmt: skip

Op = Literal["COUNT(*)", "COUNT(DISTINCT h.id)", "COUNT", "SUM", "AVG"]


@dataclass(frozen=True)
class Aggregate:
    """One output column.

    Args:
        op: The aggregate.
        factors: No, one or two columns (of different sides) whose product is aggregated; none: the literal 1.
        conditions: All must hold for a row to count.
        otherwise: ELSE 0 instead of NULL.
    """

    op: Op
    factors: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    otherwise: bool = False

    @property
    def sql(self) -> str:
        """As SQL."""
        if not self.factors and not self.conditions:
            return self.op
        value = " * ".join(self.factors) or "1"
        if self.conditions:
            other = " ELSE 0" if self.otherwise else ""
            value = f"CASE WHEN {' AND '.join(self.conditions)} THEN {value}{other} END"
        return f"{self.op}({value})"

    def of(self, rows: list[Mapping[str, Any]]) -> Fraction | None:
        """The exact value over joined rows."""
        if self.op == "COUNT(*)":
            return Fraction(len(rows))
        if self.op == "COUNT(DISTINCT h.id)":
            return Fraction(len({row["h.id"] for row in rows}))
        found = [value for row in rows if (value := self._value(row)) is not None]
        if self.op == "COUNT":
            return Fraction(len(found))
        total = sum(found, Fraction(0))
        return None if not found else total if self.op == "SUM" else total / len(found)

    def _value(self, row: Mapping[str, Any]) -> Fraction | None:
        if not all(row[c] is True for c in self.conditions):
            return Fraction(0) if self.otherwise else None
        product = Fraction(1)
        for factor in self.factors:
            if row[factor] is None:
                return None
            if self.op != "COUNT":
                product *= Fraction(row[factor])
        return product

    def contributors(self, rows: list[Mapping[str, Any]], *, strict: bool) -> int:
        """Distinct keys whose rows on each side pass and bring a factor; ``strict``: one that is not 0."""
        bring: dict[str, set[str]] = {"h": set(), "i": set()}
        for row in rows:
            for side, keys in bring.items():
                passes = all(row[c] is True for c in self.conditions if _side(c) == side)
                mine = [row[f] for f in self.factors if _side(f) == side]
                if passes and all(v is not None and (not strict or self.op == "COUNT" or v != 0) for v in mine):
                    keys.add(row["h.id"])
        return len(bring["h"] & bring["i"])


def _side(text: str) -> str:
    return "h" if "h." in text else "i"


@dataclass(frozen=True)
class Question:
    """A query of one row."""

    aggregates: tuple[Aggregate, ...]
    where: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """As SQL."""
        columns = ", ".join(f"{one.sql} AS c{n}" for n, one in enumerate(self.aggregates))
        where = f" WHERE {' AND '.join(self.where)}" if self.where else ""
        return f"SELECT {columns} {FROM}{where}"


@st.composite
def aggregates(draw: st.DrawFn) -> Aggregate:
    """Any aggregate of the subset."""
    op: Op = draw(st.sampled_from(get_args(Op)))
    if op in ("COUNT(*)", "COUNT(DISTINCT h.id)"):
        return Aggregate(op)
    conditions = tuple(
        draw(st.sampled_from(CONDITIONS[side])) for side in draw(st.sampled_from(("", "", "h", "i", "hi")))
    )
    if op == "COUNT":
        if conditions:
            return Aggregate("COUNT", (), conditions)
        return Aggregate("COUNT", (draw(st.sampled_from(ANYTHING[draw(st.sampled_from("hi"))])),))
    factors = tuple(draw(st.sampled_from(NUMBERS[side])) for side in draw(st.sampled_from(("h", "i", "hi"))))
    otherwise = bool(conditions) and op == "SUM" and draw(st.booleans())
    return Aggregate(op, factors, conditions, otherwise)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """A query of one to four aggregates with filters on no, one or both sides."""
    where = tuple(draw(st.sampled_from(CONDITIONS[side])) for side in draw(st.sampled_from(("", "h", "i", "hi"))))
    return Question(tuple(draw(st.lists(aggregates(), min_size=1, max_size=4))), where)


class Oracle:
    """DuckDB with both tables."""

    def __init__(self, left: pa.Table, right: pa.Table) -> None:
        self._connection = duckdb.connect()
        for name, table in ((LEFT, left), (RIGHT, right)):
            party, _, dataset = name.partition(".")
            self._connection.register("incoming", table)
            self._connection.execute(f"CREATE SCHEMA {party}")
            self._connection.execute(f"CREATE TABLE {party}.{dataset} AS SELECT * FROM incoming")
            self._connection.unregister("incoming")

    def close(self) -> None:
        """Frees the tables."""
        self._connection.close()

    def duckdb(self, sql: str) -> list[tuple[Any, ...]]:
        """What DuckDB answers."""
        return self._connection.execute(sql).fetchall()

    def joined(self, question: Question) -> list[Mapping[str, Any]]:
        """The joined and filtered rows: columns and the conditions that the aggregates use."""
        used = dict.fromkeys(text for one in question.aggregates for text in (*one.factors, *one.conditions))
        where = f" WHERE {' AND '.join(question.where)}" if question.where else ""
        names = ["h.id", *used]
        found = self._connection.execute(f"SELECT {', '.join(f'({n})' for n in names)} {FROM}{where}").fetchall()
        return [dict(zip(names, row, strict=True)) for row in found]

    def check(self, question: Question, answer: Mapping[str, Any], minimum: int) -> str:
        """Compares one answer in every respect; "equal" or "suppressed".

        Raises:
            AssertionError: it differs from DuckDB or from the exact value by more than its bound.
        """
        rows = self.joined(question)
        fewest = [min(one.contributors(rows, strict=strict) for one in question.aggregates) for strict in (True, False)]
        if answer["suppressed_cells"]:
            assert fewest[0] < minimum, "a cell with enough contributors is not shown"
            assert answer["rows"] == []
            return "suppressed"
        assert fewest[1] >= minimum, "a cell with too few contributors is shown"
        ((*theirs,),) = self.duckdb(question.sql)
        (ours,) = answer["rows"]
        for n, one in enumerate(question.aggregates):
            compare(f"c{n} = {one.sql}", ours[n], theirs[n], one.of(rows), answer["error_bound"][f"c{n}"])
        return "equal"


def exact(value: Any) -> Fraction:
    """The number that a JSON value or a DuckDB value is."""
    return Fraction(Decimal(value)) if isinstance(value, str) else Fraction(value)


def compare(what: str, ours: Any, theirs: Any, truth: Fraction | None, bound: Any) -> None:
    """One number: identical where it is exact, within its bound of truth and of DuckDB where it is not."""
    if truth is None:
        assert ours is None, what
        assert theirs is None, what
        return
    assert ours is not None, what
    if not isinstance(theirs, float):
        assert exact(bound) == 0, what
        assert ours == values.to_json(theirs), what
        assert exact(ours) == truth, what
        return
    assert isinstance(ours, float), what
    assert abs(exact(ours) - truth) <= exact(bound), f"{what}: {ours!r}, exactly {float(truth)!r}, bound {bound!r}"
    assert abs(exact(ours) - exact(theirs)) <= exact(bound), f"{what}: {ours!r}, DuckDB {theirs!r}, bound {bound!r}"
    scale = max(abs(truth), Fraction(1))
    assert exact(bound) <= scale * Fraction(1, 1000), f"{what}: the bound {bound!r} says nothing about {ours!r}"
