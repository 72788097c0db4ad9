"""The datasets of this node as stored: the private part (source, credentials, partners) and the public entry.

Read anew for every query, so that a running node sees what a command has just added.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from privcompute.errors import UsageError
from privcompute.node.database import Database

if TYPE_CHECKING:
    from privcompute.tables.catalogue import DatasetEntry


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of this node.

    Attributes:
        name: Its name in SQL, after the party's.
        source: Path or URL as given; private.
        credentials: Path of the file with the source's credentials, or None; private.
        partners: The peers that may ask; empty means every paired peer.
        fingerprint: Of the source's data when the entry was made; a change means a new version is due.
        entry_json: The public catalogue entry, as JSON text.
        grades: By column, the grade that the owner confirmed; private.
    """

    name: str
    source: str
    credentials: str | None
    partners: tuple[str, ...]
    fingerprint: str
    entry_json: str
    grades: Mapping[str, str] = field(default_factory=dict)

    @property
    def entry(self) -> DatasetEntry:
        """The public catalogue entry."""
        from privcompute.tables.catalogue import DatasetEntry  # deferred: brings in DuckDB

        return DatasetEntry.from_json(self.entry_json)

    def open_to(self, peer: str) -> bool:
        """Whether this peer may see and ask it."""
        return not self.partners or peer in self.partners


class Datasets:
    """The datasets in the state file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, dataset: Dataset) -> None:
        """Add a dataset.

        Raises:
            UsageError: code `dataset_exists`.
        """
        with self._database.transaction():
            if self.find(dataset.name) is not None:
                raise UsageError(
                    f"a dataset {dataset.name} is here already",
                    code="dataset_exists",
                    remedy=f"`privcompute dataset edit {dataset.name} …` changes it, `dataset remove` removes it",
                )
            now = time.time()
            self._database.run(
                "INSERT INTO datasets (name, source, credentials, partners, entry, fingerprint, grades, added, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*_values(dataset), now, now),
            )

    def replace(self, dataset: Dataset) -> None:
        """Replace the dataset of that name.

        Raises:
            UsageError: code `no_dataset`.
        """
        changed = self._database.run(
            "UPDATE datasets SET name = ?, source = ?, credentials = ?, partners = ?, entry = ?, fingerprint = ?,"
            " grades = ?, changed = ? WHERE name = ?",
            (*_values(dataset), time.time(), dataset.name),
        )
        if not changed:
            raise self._missing(dataset.name)

    def remove(self, name: str) -> None:
        """Remove a dataset; its ledger stays.

        Raises:
            UsageError: code `no_dataset`.
        """
        if not self._database.run("DELETE FROM datasets WHERE name = ?", (name,)):
            raise self._missing(name)

    def find(self, name: str) -> Dataset | None:
        """The dataset of that name, or None."""
        row = self._database.row("SELECT * FROM datasets WHERE name = ?", (name,))
        return _dataset(row) if row else None

    def get(self, name: str) -> Dataset:
        """The dataset of that name.

        Raises:
            UsageError: code `no_dataset`.
        """
        found = self.find(name)
        if found is None:
            raise self._missing(name)
        return found

    def all(self) -> list[Dataset]:
        """All datasets by name."""
        return [_dataset(row) for row in self._database.rows("SELECT * FROM datasets ORDER BY name")]

    def open_to(self, peer: str) -> list[Dataset]:
        """The datasets that this peer may see and ask."""
        return [one for one in self.all() if one.open_to(peer)]

    def _missing(self, name: str) -> UsageError:
        known = ", ".join(one.name for one in self.all())
        return UsageError(
            f"no dataset {name}" + (f"; there is {known}" if known else ""),
            code="no_dataset",
            remedy="`privcompute dataset list` lists them, `privcompute dataset add` adds one",
        )


def _values(dataset: Dataset) -> tuple[Any, ...]:
    return (
        dataset.name,
        dataset.source,
        dataset.credentials,
        json.dumps(dataset.partners),
        dataset.entry_json,
        dataset.fingerprint,
        json.dumps(dict(dataset.grades)),
    )


def _dataset(row: Any) -> Dataset:
    return Dataset(
        name=row["name"],
        source=row["source"],
        credentials=row["credentials"],
        partners=tuple(json.loads(row["partners"])),
        fingerprint=row["fingerprint"],
        entry_json=row["entry"],
        grades=json.loads(row["grades"]),
    )


def describe(dataset: Dataset) -> dict[str, Any]:
    """A dataset for its owner, as JSON: the public entry, and what stays private."""
    return {
        "name": dataset.name,
        "source": dataset.source,
        "with": list(dataset.partners),
        "grades": dict(dataset.grades),
        "entry": dataset.entry.to_object(),
    }
