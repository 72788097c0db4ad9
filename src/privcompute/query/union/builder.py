"""Scalar expressions over the one table that stands for all of a union's."""

from __future__ import annotations

from sqlglot import exp

from privcompute.errors import PrivacyError
from privcompute.query.build import Builder
from privcompute.query.refuse import Span
from privcompute.query.source import Source
from privcompute.query.union.members import Merged
from privcompute.tables.catalogue import DatasetEntry


class UnionBuilder(Builder):
    """Builds nodes over a union's columns; errors name the party whose column differs.

    Args:
        source: The SQL text.
        union: The tables.
    """

    def __init__(self, source: Source, union: Merged) -> None:
        super().__init__(source, (union.table,))
        self.union = union

    def resolve(self, tree: exp.Column) -> tuple[int, str]:
        """Side 0 and the column's name.

        Raises:
            UsageError: `unlike_columns` if not all holders have the column alike; `unknown_column`.
        """
        qualifier = ".".join(p for p in (tree.catalog, tree.db, tree.table) if p).casefold()
        why = self.union.unlike.get(tree.name.casefold())
        if why is not None and (not qualifier or qualifier in self.union.table.names):
            remedy = "a union needs columns of the same name and kind at every holder; rename or cast it at its source"
            raise self.refuse.error("unlike_columns", why, self.source.span(tree), remedy)
        return super().resolve(tree)

    def publisher(self, side: int, names: list[str]) -> DatasetEntry:
        """The first holder that publishes no range for one of the columns."""
        for entry in self.union.entries:
            for name in names:
                column = entry.column(name)
                if column is not None and column.lo is None:
                    return entry
        return self.union.entries[0]

    def no_key(self, side: int, name: str, span: Span) -> None:
        """Refuse what is a key at any holder."""
        for entry in self.union.entries:
            if name.casefold() in (key.casefold() for key in entry.keys):
                what = f"{entry.party}.{entry.name}: {name} is a key; it tells people apart and is no value"
                remedy = "count rows with COUNT(*); a union counts nobody across holders"
                raise self.refuse.error("key_use", what, span, remedy, PrivacyError)
