"""Writes docs/protocols.md from the boxes and cards in the code.

Run as ``python -m privcompute.testing.protocol_docs FILE``; with ``--check`` it compares instead.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from privcompute.session.box import Box, read_box
from privcompute.session.card import Card, cards

PACKAGES = ("session", "mpc", "he", "psi", "union", "query")


def all_cards() -> dict[str, Card]:
    """Imports every protocol module and returns all cards by name."""
    for package in PACKAGES:
        root = importlib.import_module(f"privcompute.{package}")
        for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
            importlib.import_module(module.name)
    return cards()


def box_of(card: Card) -> Box:
    """The box at the top of the card's module."""
    return read_box(importlib.import_module(card.module).__doc__ or "")


def render() -> str:
    """The whole document."""
    out = [
        "# Protocols",
        "",
        "Written by `make docs` from the boxes and cards in the code; `make check` keeps it current. What each",
        "statistic opens stands at the end.",
        "",
        "| protocol | rounds | source | module |",
        "|---|---|---|---|",
    ]
    found = sorted(all_cards().values(), key=lambda c: (c.module, c.name))
    out += [f"| [{c.name}](#{c.name}) | {c.rounds} | {c.source} | `{c.module}` |" for c in found]
    for card in found:
        box = box_of(card)
        out += ["", f"## {card.name}", "", box.title, ""]
        out += [f"- **{heading}**: {text}" for heading, text in box.parts.items() if heading != "Steps"]
        out += ["", *(f"{i}. {step}" for i, step in enumerate(box.steps, 1))]
        out += ["", f"Learned besides the output: {card.learned}."]
    out += ["", OPENINGS]
    return "\n".join(out)


OPENINGS = """## What opens

| statistic | opens to its receivers |
|---|---|
| COUNT(*), COUNT(x), COUNT(DISTINCT key) | n |
| SUM | S |
| AVG | S, n |

Before these, the number of contributors of each (distinct keys whose factors are not zero on both sides) opens to
both holders; if one is below the owners' minimum, nothing else opens. A run opens exactly the table above: the
runtime compares what it opens with what the plan declares.
"""


def main() -> int:
    """Writes or, with --check, compares the document."""
    check = "--check" in sys.argv
    path = Path(next(a for a in sys.argv[1:] if not a.startswith("--")))
    text = render()
    if check:
        if not path.exists() or path.read_text() != text:
            print(f"{path} is not current: run `make docs`", file=sys.stderr)  # noqa: T201 - a command's answer
            return 1
        return 0
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
