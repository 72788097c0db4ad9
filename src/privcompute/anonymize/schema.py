"""Reading a policy's TOML: one message for each thing that is wrong, naming the field and what it may be."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from privcompute.errors import UsageError


def fault(field: str, what: str) -> UsageError:
    """The error for a field."""
    return UsageError(
        f"policy: {field} {what}", code="policy", remedy="docs/anonymize.md shows a policy and every field of it"
    )


class Fields:
    """A table of the policy, of which every field has to be read.

    Args:
        table: what TOML gave.
        place: where it stands, for messages.
    """

    def __init__(self, table: object, place: str) -> None:
        if not isinstance(table, Mapping):
            raise fault(place, "is not a table")
        self._table: Mapping[str, Any] = table
        self._place = place
        self._read: set[str] = set()

    def name(self, field: str) -> str:
        """A field's full name."""
        return f"{self._place}.{field}" if self._place else field

    def has(self, field: str) -> bool:
        """Whether the field is there."""
        return field in self._table

    def raw(self, field: str) -> Any:
        """A field as it stands, None if it is missing."""
        self._read.add(field)
        return self._table.get(field)

    def text(self, field: str, default: str | None = None, among: Sequence[str] = ()) -> str:
        """A text, one of `among` if that is given."""
        value = self._value(field, default)
        if not isinstance(value, str):
            raise fault(self.name(field), "is not a text")
        if among and value not in among:
            near = difflib.get_close_matches(value, among, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise fault(self.name(field), f"is none of {', '.join(among)}{hint}")
        return value

    def number(self, field: str, default: float | None = None, low: float = 0.0, high: float = 1e18) -> float:
        """A finite number within a range."""
        value = self._value(field, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise fault(self.name(field), f"is not a number from {low:g} to {high:g}")
        return value

    def whole(self, field: str, default: int | None = None, low: int = 0, high: int = 1 << 40) -> int:
        """A whole number within a range."""
        value = self._value(field, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise fault(self.name(field), f"is not a whole number from {low} to {high}")
        return value

    def flag(self, field: str, default: bool) -> bool:
        """true or false."""
        value = self._value(field, default)
        if not isinstance(value, bool):
            raise fault(self.name(field), "is neither true nor false")
        return value

    def texts(self, field: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(field, default)
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise fault(self.name(field), "is not a list of texts")
        return tuple(value)

    def numbers(self, field: str, default: Sequence[float] | None = None) -> tuple[float, ...]:
        """A list of numbers."""
        value = self._value(field, default)
        good = isinstance(value, list | tuple) and all(
            isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e18 for one in value
        )
        if not good:
            raise fault(self.name(field), "is not a list of numbers")
        return tuple(value)

    def wholes(self, field: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self.numbers(field)
        if not all(isinstance(one, int) for one in value):
            raise fault(self.name(field), "is not a list of whole numbers")
        return tuple(int(one) for one in value)

    def end(self) -> None:
        """Refuse fields that nobody read."""
        for field in self._table:
            if field not in self._read:
                near = difflib.get_close_matches(field, self._read, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f": known are {', '.join(sorted(self._read))}"
                raise fault(self.name(field), f"is not known{hint}")

    def _value(self, field: str, default: object) -> Any:
        self._read.add(field)
        if field in self._table:
            return self._table[field]
        if default is None:
            raise fault(self.name(field), "is missing")
        return default
