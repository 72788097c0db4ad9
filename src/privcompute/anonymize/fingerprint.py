"""A report names the table it is about, to those who hold a key: equal for equal content, and no help in guessing it.

HMAC-SHA-256 over the columns' names and the sorted digests of the rows. So neither the order of the rows nor the kind
of file or frame matters, as long as values are written alike. Without the key nothing can be tested against it: not
a guessed table, nor whether two reports are about the same one. The key is one of docs/desensitize.md, found by its id;
what is used is derived from it for this purpose alone.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from privcompute.tables.engine import connect, identifier, named_errors

if TYPE_CHECKING:
    from privcompute.anonymize.mask import Keys

PURPOSE = "fingerprint of a report's input"

Absent = Literal["no_key_named", "key_not_at_hand"]


@dataclass(frozen=True)
class Fingerprint:
    """The name of a table.

    Attributes:
        key: the key's id; None if the policy names none.
        digest: 64 hexadecimal digits; None without a key.
        absent: why there is none.
    """

    key: str | None
    digest: str | None
    absent: Absent | None

    def to_json(self) -> dict[str, str | None]:
        """For reports."""
        return {"key": self.key, "fingerprint": self.digest, "absent": self.absent}


def fingerprint_of(table: pa.Table, key: str | None, keys: Keys | None) -> Fingerprint:
    """The fingerprint of a table as it came in, if there is a key for it.

    Args:
        table: as `frame.load` gives it, before anything was done to it.
        key: a key's id.
        keys: those at hand.

    Raises:
        UsageError: `unreadable` if a column has a type that cannot be written as text.
    """
    if key is None:
        return Fingerprint(None, None, "no_key_named")
    if keys is None or key not in keys:
        return Fingerprint(key, None, "key_not_at_hand")
    digest = hmac.new(keys.derive(key, PURPOSE), digestmod="sha256")
    digest.update(len(table.column_names).to_bytes(8, "big"))
    for name in table.column_names:
        digest.update(len(name.encode()).to_bytes(8, "big") + name.encode())
    digest.update(table.num_rows.to_bytes(8, "big"))
    digest.update(_rows(table))
    return Fingerprint(key, digest.hexdigest(), None)


def _rows(table: pa.Table) -> bytes:
    """The sorted SHA-256 of each row. A field is told by its length; NULL is no text."""
    if not table.num_columns:
        return b""
    texts = [f"CAST({identifier(name)} AS VARCHAR)" for name in table.column_names]
    row = " || ".join(f"coalesce(strlen({text}) || ':' || {text}, 'N')" for text in texts)
    query = f"SELECT unhex(sha256({row})) AS h FROM input ORDER BY h"  # noqa: S608 - quoted names alone
    with named_errors("the table's fingerprint"), connect() as connection:
        connection.register("input", table)
        found: list[Any] = connection.sql(query).to_arrow_table().column("h").to_pylist()
    return b"".join(found)
