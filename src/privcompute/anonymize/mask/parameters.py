"""How an operator's parameters are stated in a policy: the fields of its dataclass, each with a check and a message."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from privcompute.anonymize.identifiers import KINDS
from privcompute.anonymize.mask.keys import KEY_ID
from privcompute.errors import UsageError

T = TypeVar("T")
Check = Callable[[object], str | None]


def parameter(check: Check, default: Any = MISSING, *, name: str = "") -> Any:
    """A field of an operator.

    Args:
        check: what is wrong with a value, or None.
        default: its value when the policy does not state it; without one it must be stated.
        name: how the policy calls it, where that is no name in Python.
    """
    metadata = {"check": check, "name": name}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def whole(low: int, high: int) -> Check:
    """A whole number within bounds."""

    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        return None if low <= value <= high else f"must lie between {low} and {high}"

    return check


def choice(*choices: str) -> Check:
    """One of some words."""

    def check(value: object) -> str | None:
        return None if value in choices else "must be one of " + ", ".join(f'"{one}"' for one in choices)

    return check


def text(longest: int = 200) -> Check:
    """Any printable text."""

    def check(value: object) -> str | None:
        fits = isinstance(value, str) and len(value) <= longest and value.isprintable()
        return None if fits else f"must be a text in quotes of at most {longest} printable characters"

    return check


def flag(value: object) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "must be true or false"


def key_id(value: object) -> str | None:
    """A key's id."""
    if isinstance(value, str) and KEY_ID.fullmatch(value):
        return None
    return "must be a key's id: a small letter, then at most 15 small letters, digits and _; never the key itself"


def kind(value: object) -> str | None:
    """A kind of identifier."""
    return None if value in KINDS else "must be one of " + ", ".join(f'"{one}"' for one in KINDS)


def optional(check: Check) -> Check:
    """Not stated, or as `check` says."""
    return lambda value: None if value is None else check(value)


def read(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    """An operator from what a policy states.

    Args:
        cls: its dataclass.
        given: names and values.
        where: for messages.

    Raises:
        UsageError: `policy`, with one line a fault.
    """
    known = {one.metadata["name"] or one.name: one for one in fields(cls)}  # type: ignore[arg-type]  # a dataclass
    faults = []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            faults.append(f"unknown parameter {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    values = {}
    for name, one in known.items():
        if name in given:
            value = tuple(given[name]) if isinstance(given[name], list) else given[name]
            wrong = one.metadata["check"](value)
            if wrong:
                faults.append(f"{name} {wrong}")
            values[one.name] = value
        elif one.default is MISSING:
            faults.append(f"{name} is missing")
    if faults:
        raise UsageError(
            f"{where}: " + "; ".join(faults), code="policy", remedy="docs/desensitize.md lists every operator"
        )
    return cls(**values)
