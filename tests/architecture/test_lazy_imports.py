"""`import privcompute` and `--help` load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("grpc", "numba", "duckdb", "numpy", "pyarrow", "pandas", "polars", "sqlglot", "cryptography", "rich", "nacl")
HELP = """
import privcompute.cli
sys.argv = ['privcompute', *{}, '--help']
try:
    privcompute.cli.main()
except SystemExit as end:
    assert not end.code
"""


def _loaded_by(program: str) -> set[str]:
    text = f"import sys\n{program}\nprint(); print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "program",
    [
        "import privcompute; dir(privcompute); privcompute.__version__; privcompute.PeerError",
        "from privcompute.cli import main",
        HELP.format([]),
        HELP.format(["query"]),
        HELP.format(["dataset", "add"]),
    ],
    ids=["package", "cli", "--help", "query --help", "dataset add --help"],
)
def test_nothing_heavy_is_imported(program: str) -> None:
    assert not _loaded_by(program) & set(HEAVY)


def test_the_check_would_see_it() -> None:
    assert "numpy" in _loaded_by("import numpy")
