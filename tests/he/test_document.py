"""The tables of docs/ring-lwe.md are what the code computes."""

from __future__ import annotations

import math
from pathlib import Path

from privcompute.he import CrossShape, Parameters, cross_cost
from privcompute.he.layout import choose_layout
from privcompute.he.parameters import split_widths

DOCUMENT = Path(__file__).parents[2] / "docs" / "ring-lwe.md"
NEEDS = [
    (83, 16, 50, 8192),
    (96, 32, 4096, 8192),
    (96, 16, 4096, 8192),
    (112, 16, 4096, 8192),
    (128, 32, 4096, 16384),
    (128, 64, 4096, 16384),
    (192, 64, 4096, 16384),
]


def table_after(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, without its two head lines."""
    lines = DOCUMENT.read_text().split(f"## {heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def row(k: int, digit: int, returned: int, n: int) -> list[str]:
    rows = -(-(10**6) // n) * n
    bits = Parameters(n, (), k, digit, 1, rows, 2 ** (digit - 1), returned).least_q.bit_length()
    p = Parameters(n, split_widths(bits), k, digit, 1, rows, 2 ** (digit - 1), returned)
    assert p.q >= p.least_q
    figures = (k, digit, returned, n, f"{math.log2(p.noise):.1f}", p.flood_bits, f"{math.log2(p.least_q):.1f}")
    return [*map(str, figures), " + ".join(map(str, p.widths)), f"{p.bits / 8:g}", str(p.reply_bits)]


def size(rows: int, columns: int) -> list[str]:
    entries = tuple((i, j) for i in range(columns) for j in range(columns))
    shape = CrossShape(rows, (2**31,) * columns, (2**31,) * columns, entries)
    p, cost = choose_layout(shape).parameters, cross_cost(shape)
    megabytes = [f"{count / 1e6:.1f}" for count in (cost.key_owner_sends, cost.evaluator_sends)]
    counts = (p.k, p.digit, p.pack, len(p.widths), cost.ciphertexts, cost.products, cost.replies)
    return [f"{rows:,} x {columns} x {columns}", *map(str, counts), *megabytes]


def test_the_rows_of_the_table() -> None:
    assert table_after("Rows of the table") == [row(*need) for need in NEEDS]


def test_the_sizes_of_the_issue() -> None:
    assert table_after("Cost") == [size(10**6, 5), size(10**5, 10)]
