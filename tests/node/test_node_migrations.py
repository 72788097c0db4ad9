"""A state file of an earlier version is brought up to date, with what it holds."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from privcompute.node import database
from privcompute.node.store import Store
from privcompute.tables import Column, DatasetEntry, Kind

_BEFORE_UNIONS = 2


def test_entries_of_before_there_were_unions_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = DatasetEntry(
        party="hospital",
        name="patients",
        version="0f" * 32,
        keys=("id",),
        key_types=("VARCHAR",),
        distinct_keys=20,
        rows_per_key=1,
        columns=(
            Column("id", Kind.TEXT, "VARCHAR", None, None, None, "type", False),
            Column("bmi", Kind.REAL, "DOUBLE", 1, Fraction(-1, 3), Fraction(2**70), "declared", True),
            Column("ü'\"", Kind.BOOLEAN, "BOOLEAN", None, Fraction(0), Fraction(1), "type", True),
        ),
        allow={"bmi": frozenset({"aggregate"})},
        reveal="matches",
        min_cell=10,
        consent="manual",
    )
    old = entry.to_object()
    del old["min_holders"], old["floors"]
    for column in old["columns"]:
        del column["domain"]
    monkeypatch.setattr(database, "MIGRATIONS", database.MIGRATIONS[:_BEFORE_UNIONS])
    store = Store(tmp_path / "state.db")
    store.database.run(
        "INSERT INTO datasets (name, source, partners, entry, fingerprint, added, changed)"
        " VALUES ('patients', '/t.csv', '[]', ?, 'f', 0, 0)",
        (json.dumps(old),),
    )
    store.close()
    monkeypatch.undo()
    store = Store(tmp_path / "state.db")
    found = store.datasets.get("patients")
    assert (found.entry, found.grades) == (entry, {})
    store.close()
