"""Words beside a candidate that speak for a kind of identifier, or against all: Chinese and English, in context.txt.

What stands nearest before a candidate counts most: a number behind 订单号 is an order, one behind 身份证 a person.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import resources

from privcompute.anonymize.detect.kinds import CONTEXTS


@functools.cache
def _lines() -> tuple[tuple[str, tuple[str, ...]], ...]:
    text = resources.files(__package__).joinpath("context.txt").read_text(encoding="utf-8")
    fields = (line.split(": ", 1) for line in text.splitlines() if not line.startswith("#"))
    return tuple((head, tuple(words.split())) for head, words in fields)


def listed(head: str) -> list[str]:
    """The words of a list that is no context: `stop` (what ends a name) or `no_name`."""
    return [word for one, words in _lines() if one == head for word in words]


def words() -> Iterator[tuple[str, int]]:
    """Context words in small letters, and the contexts that each stands for."""
    for head, some in _lines():
        names = head.split("+")
        if names[0] not in CONTEXTS:
            continue
        contexts = sum(1 << CONTEXTS.index(name) for name in names)
        for word in some:
            yield word, contexts
            if "_" in word:
                yield word.replace("_", " "), contexts
                yield word.replace("_", ""), contexts


def of_column(name: str) -> int:
    """The contexts that a column's name stands for."""
    folded = name.casefold()
    parts = "".join(char if char.isalnum() else " " for char in folded).split()
    found = 0
    for word, contexts in words():
        # Short latin words only as a part of their own: `tel` is not in `hotel`.
        inside = word in folded if not word.isascii() or len(word) > 4 else word in parts
        found |= contexts if inside else 0
    return found
