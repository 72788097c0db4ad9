"""Every protocol file opens with a box, and its code repeats the box's step numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from privcompute.session.box import read_box, steps_in_code

SOURCE = Path(__file__).parents[2] / "src" / "privcompute"


def declares_protocol(node: ast.AST) -> bool:
    """Whether a function carries a card."""
    return isinstance(node, ast.AsyncFunctionDef) and any(
        isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == "protocol"
        for d in node.decorator_list
    )


def protocol_files() -> list[Path]:
    """The files of the package in which some coroutine carries a card."""
    return [
        path
        for path in sorted(SOURCE.rglob("*.py"))
        if any(map(declares_protocol, ast.walk(ast.parse(path.read_text()))))
    ]


FILES = protocol_files()


def test_the_protocols_are_found() -> None:
    names = {str(path.relative_to(SOURCE)) for path in FILES}
    assert {"session/hello.py", "mpc/reveal.py", "psi/dh.py", "query/run.py"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_protocol_file_has_a_box_whose_steps_its_code_repeats(path: Path) -> None:
    text = path.read_text()
    box = read_box(ast.get_docstring(ast.parse(text), clean=True) or "")
    assert all(box.parts[heading] for heading in box.parts), "a heading without text"
    assert steps_in_code(text) == set(range(1, len(box.steps) + 1))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_roles_of_one_protocol_stand_side_by_side(path: Path) -> None:
    """Two coroutines with one card name are adjacent: nothing but comments and blank lines between them."""
    body = ast.parse(path.read_text()).body
    carded = [i for i, node in enumerate(body) if declares_protocol(node)]
    names = [ast.unparse(d.args[0]) for i in carded for d in body[i].decorator_list if isinstance(d, ast.Call)]  # type: ignore[attr-defined]  # filtered above
    for first, second, name, other in zip(carded, carded[1:], names, names[1:], strict=False):
        assert name != other or second == first + 1, f"another definition stands between the two roles of {name}"
