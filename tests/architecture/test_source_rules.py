"""Rules that hold for each file of the package: randomness, names, sizes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "privcompute"
FILES = {str(p.relative_to(SOURCE)): p.read_text() for p in sorted(SOURCE.rglob("*.py")) if p.parent.name != "wire"}
BANNED = {"random", "secrets", "pickle", "cPickle", "dill", "marshal", "shelve", "numpy.random"}
BANNED_ATTRIBUTES = {"os.urandom", "os.getrandom", "np.random", "numpy.random", "uuid.uuid4", "ssl.RAND_bytes"}
RANDOMNESS = "randomness.py"


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _banned(text: str) -> set[str]:
    tree = ast.parse(text)
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return (_imported(tree) & (BANNED | BANNED_ATTRIBUTES)) | (attributes & BANNED_ATTRIBUTES)


def test_randomness_and_unpickling_live_nowhere_else() -> None:
    found = {name: used for name, text in FILES.items() if (used := _banned(text))}
    assert set(found) == {RANDOMNESS}, found
    assert found[RANDOMNESS] <= {"secrets", "os.urandom"}


def test_the_scan_sees_what_it_looks_for() -> None:
    text = "import os\nimport numpy as np\nfrom os import urandom\nnp.random.default_rng()\nimport pickle"
    assert _banned(text) == {"pickle", "os.urandom", "np.random"}


def test_no_drawer_for_everything() -> None:
    names = {p.stem for p in SOURCE.rglob("*.py")} | {p.name for p in SOURCE.rglob("*") if p.is_dir()}
    assert not names & {"utils", "util", "common", "core", "helpers", "misc"}


def test_one_idea_a_file() -> None:
    assert not {name: lines for name, text in FILES.items() if (lines := len(text.splitlines())) >= 400}


def test_each_file_says_what_it_is_for() -> None:
    assert not [name for name, text in FILES.items() if not ast.get_docstring(ast.parse(text))]


def test_nothing_is_left_to_be_done() -> None:
    marked = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    assert not [name for name, text in FILES.items() if marked.search(text)]


def test_input_is_not_checked_by_assert() -> None:
    """`python -O` removes asserts. One that stays tells mypy what is certain, and says why."""
    bare = []
    for name, text in FILES.items():
        lines = text.splitlines()
        asserts = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
        bare += [f"{name}:{a.lineno}" for a in asserts if not re.search(r"# noqa: S101 +(-|#) ", lines[a.lineno - 1])]
    assert not bare
