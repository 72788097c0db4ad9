"""What programs get: the explanation of a query, and its release with the rows as Arrow, pandas or polars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from privcompute.node import values
from privcompute.stats.release import Release

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True)
class Fact:
    """One thing that a party learns.

    Attributes:
        what: The value or size.
        why: What it is needed for.
        size: How much it is, in bits, where that is known.
    """

    what: str
    why: str
    size: int | None = None


@dataclass(frozen=True)
class Explanation:
    """A query's plan before it runs.

    Attributes:
        sql: The query in canonical form.
        reveal: What the join itself tells.
        receivers: Who gets the result.
        minimum: Least number of contributors of a cell.
        plan_digest: Names this plan; both nodes derive it.
        disclosure: By party, what it will learn.
        cost: Estimates: bytes each way, rounds, seconds.
        body: All of it, as `explain --json` prints it.
    """

    sql: str
    reveal: str
    receivers: tuple[str, ...]
    minimum: int
    plan_digest: str
    disclosure: Mapping[str, tuple[Fact, ...]]
    cost: Mapping[str, float]
    body: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Explanation:
        """Read what `payload.plan_to_json` wrote."""
        return cls(
            sql=body["sql"],
            reveal=body["reveal"],
            receivers=tuple(body["receivers"]),
            minimum=body["minimum"],
            plan_digest=body["plan_digest"],
            disclosure=_facts(body["disclosure"]),
            cost=dict(body["cost"]),
            body=dict(body),
        )


@dataclass(frozen=True)
class Rows:
    """A small table: the cells that a query released.

    Attributes:
        columns: Their names.
        types: Their DuckDB types.
        rows: Python values: int, Decimal, float, str, bool, date, datetime or None.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class QueryRelease(Release[Rows]):
    """The release of a query: its cells, what everybody learned, how exact it is, what it cost.

    Attributes:
        sql: The query in canonical form.
        plan_digest: Names the plan that ran.
        reveal: What the join itself told.
        facts: By party, what it learned and why.
        suppressed_cells: Cells that are not shown.
        rounds: Rounds of messages.
        bytes_sent: By this node.
        bytes_received: By this node.
        seconds: Of the whole run.
        id: Under which the home keeps it (`privcompute releases show`); empty if this node is no receiver.
        body: All of it, as `query --json` prints it.
    """

    sql: str
    plan_digest: str
    reveal: str
    facts: Mapping[str, tuple[Fact, ...]] = field(repr=False)
    suppressed_cells: int
    rounds: int
    bytes_sent: int
    bytes_received: int
    seconds: float
    id: str
    body: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> QueryRelease:
        """Read what `payload.outcome_to_json` wrote."""
        types = tuple(body["types"])
        facts = _facts(body["learned"])
        return cls(
            value=Rows(
                tuple(body["columns"]),
                types,
                tuple(
                    tuple(values.from_json(value, kind) for value, kind in zip(row, types, strict=True))
                    for row in body["rows"]
                ),
            ),
            receivers=tuple(body["receivers"]),
            learned={party: tuple(f"{one.what}: {one.why}" for one in known) for party, known in facts.items()},
            error_bound=dict(body["error_bound"]),
            parameters={"reveal": body["reveal"], "plan_digest": body["plan_digest"]},
            sql=body["sql"],
            plan_digest=body["plan_digest"],
            reveal=body["reveal"],
            facts=facts,
            suppressed_cells=body["suppressed_cells"],
            rounds=body["rounds"],
            bytes_sent=body["bytes_sent"],
            bytes_received=body["bytes_received"],
            seconds=body["seconds"],
            id=body.get("release") or "",
            body=dict(body),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.value.columns

    @property
    def rows(self) -> tuple[tuple[Any, ...], ...]:
        """The cells as Python values."""
        return self.value.rows

    def to_arrow(self) -> pa.Table:
        """The cells as an Arrow table with DuckDB's types."""
        return values.to_arrow(self.value.columns, self.value.types, self.value.rows)

    def to_pandas(self) -> pd.DataFrame:
        """The cells as a pandas data frame (needs pandas)."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """The cells as a polars data frame (needs polars)."""
        import polars as pl

        found = pl.from_arrow(self.to_arrow())
        if not isinstance(found, pl.DataFrame):
            raise TypeError("polars made no data frame of an Arrow table")
        return found


def _facts(body: Mapping[str, Any]) -> dict[str, tuple[Fact, ...]]:
    return {
        party: tuple(Fact(one["what"], one["why"], one.get("size")) for one in known) for party, known in body.items()
    }
