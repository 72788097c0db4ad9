"""The examples of docs/paillier.md run, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from privcompute.he.paillier import Encryptor, FixedPoint, Packing
from privcompute.he.paillier.vector_square import TABLE_WINDOW, VectorSquare

TEXT = (Path(__file__).parents[3] / "docs" / "paillier.md").read_text()


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("phe")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)  # noqa: S102  # our own document
    assert capsys.readouterr().out.split() == ["[", "13.5", "982.", "3.25]"]
    assert len(blocks[0].strip().splitlines()) <= 22


def test_the_sizes_of_the_text() -> None:
    slots = {bits: Packing(FixedPoint(-(2**31), 2**31 - 1), bits, terms=1000) for bits in (2048, 3072)}
    assert {p.width for p in slots.values()} == {42}
    assert f"{slots[2048].per_ciphertext} in a ciphertext of a 2048-bit key, {slots[3072].per_ciphertext} of" in TEXT


@pytest.mark.parametrize(("bits", "megabytes"), [(2048, 7), (3072, 16), (4096, 28)])
def test_the_size_of_a_table(bits: int, megabytes: int) -> None:
    square = VectorSquare(2**bits - 1)
    positions = -(-(bits // 2) // TABLE_WINDOW)
    assert round(positions * 2**TABLE_WINDOW * 2 * square.k * 8 / 1e6) == megabytes
    assert f"{megabytes} MB at {bits}" in TEXT


def test_the_format_in_the_text(encryptor: Encryptor) -> None:
    table = TEXT.split("## The bytes", 1)[1].split("\n\n")[2]
    lengths = [row.strip("| ").split(" |")[0] for row in table.splitlines()[2:]]
    packing = Packing(FixedPoint(0, 9), 2048, terms=1)
    data = encryptor.encrypt([1], packing).to_bytes()
    assert sum(map(int, lengths[:-1])) + 2048 // 4 == len(data)
    assert lengths[-1] == "bits/4 each"
