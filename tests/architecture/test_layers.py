"""The layers of docs/architecture.md, checked over all imports."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contracts_cover_what_they_promise() -> None:
    """The protocols' packages know no network, and every package stands in a layer or beside the stack."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    blind = next(c for c in contracts if c["name"] == "protocols know no network")
    protocols = {f"privcompute.{name}" for name in ("mpc", "he", "psi", "union", "stats")}
    assert protocols <= set(blind["source_modules"])
    assert {"grpc", "google", "privcompute.transport", "privcompute.wire"} <= set(blind["forbidden_modules"])
    layers = {n.strip() for c in contracts if c["type"] == "layers" for row in c["layers"] for n in row.split(":")}
    beside = {"transport", "wire", "tables", "testing", "anonymize"}
    packages = {p.parent.name for p in (ROOT / "src" / "privcompute").glob("*/__init__.py")}
    assert packages - beside <= layers
