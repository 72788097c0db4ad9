"""Which datasets a query names, before any catalogue is known."""

from __future__ import annotations

from sqlglot import exp

from privcompute.query.source import Source


def named_datasets(sql: str) -> tuple[tuple[str, str], ...]:
    """The (party, dataset) pairs of the tables in ``sql``, in order, each once; tables without a party are left out.

    Raises:
        UsageError: ``unsupported_sql``: it is not SQL, or too long.
    """
    tables = Source(sql).tree.find_all(exp.Table)
    return tuple(dict.fromkeys((t.db, t.name) for t in tables if t.db and t.name))
