"""The plan of a query: everything both nodes have to agree on before anything is sent.

A plan is a pure function of the SQL, the two public catalogue entries and the parameters. Both nodes derive it and
compare `digest()`; nothing of it is taken from the peer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from fractions import Fraction
from typing import Any, Literal

from privcompute.query.disclosure import Disclosure
from privcompute.tables.features import Feature, Level

FORMAT = 2
"""Version of the plan's meaning; part of the digest."""


@dataclass(frozen=True)
class Side:
    """What one data holder does.

    Attributes:
        party: The holder.
        dataset: Its dataset's name.
        version: The dataset's version.
        keys: The key columns, in the order of side 0's catalogue entry on both sides.
        key_types: Their types.
        distinct_keys: The declared number of distinct keys.
        rows_per_key: The public cap.
        columns: The columns that are read, keys left out; whole columns are checked against their ranges.
        features: The per-row factors, each summed per key.
        selections: The distinct selections of own rows, DuckDB conditions, for the ledger.
        levels: The expressions that select rows by the values they take, for the ledger.
        uses: (column, use) pairs that the owner's rules have to allow.
    """

    party: str
    dataset: str
    version: str
    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    distinct_keys: int
    rows_per_key: int
    columns: tuple[str, ...]
    features: tuple[Feature, ...]
    selections: tuple[str, ...]
    levels: tuple[Level, ...]
    uses: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Local:
    """A feature that its own side sums over the matches, the other side's factor being 1."""

    side: int
    feature: int


@dataclass(frozen=True)
class Term:
    """coef * products[index] or coef * locals[index], in an opening."""

    coef: int
    kind: Literal["product", "local"]
    index: int


@dataclass(frozen=True)
class Opening:
    """One integer that is opened.

    Attributes:
        name: Its name, also in labels and in the disclosure.
        phase: "count" openings come first and all have to reach the minimum; only then the "value" openings follow.
        terms: The linear combination, taken on shares: only the total opens.
        receivers: Who learns it.
        bound: The public bound of its absolute value.
        what: For people.
    """

    name: str
    phase: Literal["count", "value"]
    terms: tuple[Term, ...]
    receivers: tuple[str, ...]
    bound: int
    what: str


@dataclass(frozen=True)
class Outer:
    """A statistic over opened integers, as a tree.

    Attributes:
        op: "count", "sum", "avg", "number", or the SQL operation on `args`.
        type: DuckDB's type of the result.
        args: The operands.
        opening: Index of the opened sum or count.
        second: Index of the opened number of rows, for "avg".
        factor: Value of one unit of the opened integer, or the literal of "number", or the digits of "round".
        row_factor: Value of one unit of the opened number of rows.
        rows: (opening, rows a key) pairs whose sum of products bounds the rows; empty means `Plan.max_rows`.
        doubles: Whether DuckDB adds doubles, so that its own sum rounds.
        row_error: Worst distance of what one row contributed to the mathematical value.
        row_drift: Worst error of DuckDB's doubles in one row.
        row_size: The largest absolute value of a row.
    """

    op: str
    type: str
    args: tuple[Outer, ...] = ()
    opening: int | None = None
    second: int | None = None
    factor: Fraction = Fraction(1)
    row_factor: Fraction = Fraction(1)
    rows: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    doubles: bool = False
    row_error: Fraction = Fraction(0)
    row_drift: Fraction = Fraction(0)
    row_size: Fraction = Fraction(0)


@dataclass(frozen=True)
class Output:
    """One column of the result."""

    name: str
    expression: Outer


@dataclass(frozen=True)
class Kernel:
    """The secure inner products, as the ring-LWE kernel wants them.

    Attributes:
        owner: The side that is the key owner (and sends encrypted columns); the other evaluates.
        columns: Per side, the indices of the features that enter.
        bounds: Per side, the public bound of |per-key sum| of each of these.
        entries: (position in `columns[0]`, position in `columns[1]`), one a product of the plan, in that order.
        rows: Public upper bound of the number of matched keys.
        modulus_bits: Shares are mod 2**modulus_bits.
    """

    owner: int
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    bounds: tuple[tuple[int, ...], tuple[int, ...]]
    entries: tuple[tuple[int, int], ...]
    rows: int = field(repr=False)
    modulus_bits: int


@dataclass(frozen=True)
class Plan:
    """A query as both nodes run it.

    Attributes:
        sql: The canonical text.
        sides: The two data holders; side 0 is the table after FROM.
        products: (feature of side 0, feature of side 1) pairs whose inner product the kernel computes.
        locals: Sums that one side computes alone.
        openings: All integers that open, the "count" phase first.
        outputs: The result's columns.
        minimum: Fewest contributors of every "count" opening.
        reveal: What the join tells: "matches".
        receivers: Who gets the result.
        asker: Who asks.
        max_rows: Public bound of the number of joined rows.
        modulus_bits: Bits of the ring of shares; holds every opening and every product.
        kernel: The shape of the kernel, None if no product is needed.
        disclosure: What each party will learn.
    """

    sql: str
    sides: tuple[Side, Side]
    products: tuple[tuple[int, int], ...]
    locals: tuple[Local, ...]
    openings: tuple[Opening, ...]
    outputs: tuple[Output, ...]
    minimum: int
    reveal: str
    receivers: tuple[str, ...]
    asker: str
    max_rows: int
    modulus_bits: int
    kernel: Kernel | None
    disclosure: Disclosure

    def to_object(self) -> dict[str, Any]:
        """The plan as plain JSON values; no floats, fractions as text."""
        return {"format": FORMAT, **plain(self)}

    def to_json(self) -> str:
        """Canonical JSON: equal plans give equal text."""
        return json.dumps(self.to_object(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()

    def side_of(self, party: str) -> int | None:
        """The side of a data holder; None for any other party."""
        return next((i for i, s in enumerate(self.sides) if s.party == party), None)


def plain(value: object) -> Any:
    """A plan or a part of it as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    if isinstance(value, Fraction):
        return str(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"no canonical form for {type(value).__name__}")
