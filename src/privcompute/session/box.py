"""The box at the top of a protocol's file, read as data: headings and numbered steps."""

from __future__ import annotations

import re
from dataclasses import dataclass

from privcompute.errors import UsageError

HEADINGS = ("Inputs", "Needs", "Output", "Learned", "Source", "Steps")


@dataclass(frozen=True)
class Box:
    """A protocol's text: a title, a paragraph per heading, and the steps in order."""

    title: str
    parts: dict[str, str]
    steps: tuple[str, ...]


def read_box(docstring: str) -> Box:
    """Reads the box of a module docstring.

    Raises:
        UsageError: a heading is missing or out of order, or the steps are not numbered 1, 2, 3 …
    """
    title = docstring.strip().splitlines()[0]
    found = list(re.finditer(rf"^({'|'.join(HEADINGS)}):[ \t]*", docstring, re.MULTILINE))
    names = [m.group(1) for m in found]
    if names != list(HEADINGS):
        raise UsageError(f"a box has the headings {', '.join(HEADINGS)}, in this order; found {names}", code="bad_box")
    ends = [m.start() for m in found[1:]] + [len(docstring)]
    parts = {m.group(1): " ".join(docstring[m.end() : end].split()) for m, end in zip(found, ends, strict=True)}
    body = docstring[found[-1].end() :]
    steps = [" ".join(s.split()) for s in re.split(r"^\s*\d+\.\s", body, flags=re.MULTILINE)[1:]]
    numbers = [int(n) for n in re.findall(r"^\s*(\d+)\.\s", body, flags=re.MULTILINE)]
    if not steps or numbers != list(range(1, len(numbers) + 1)):
        raise UsageError("the steps of a box are numbered 1, 2, 3 …", code="bad_box")
    return Box(title, parts, tuple(steps))


def steps_in_code(source: str) -> set[int]:
    """The step numbers that comments of the form ``# 1.``, or ``# 1. 2.``, repeat in a file's code."""
    comments = re.findall(r"^\s*#((?:\s*\d+\.)+)(?:\s|$)", source, flags=re.MULTILINE)
    return {int(n) for comment in comments for n in re.findall(r"\d+", comment)}
