"""docs/desensitize.md: its policy is one, its example runs, and it names every operator and kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from privcompute.anonymize.identifiers import KINDS
from privcompute.anonymize.mask import keys
from privcompute.anonymize.mask.policy import OPERATORS, from_document, load

PAGE = (Path(__file__).parents[3] / "docs" / "desensitize.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_policy_is_one(tmp_path: Path) -> None:
    (tmp_path / "mask.toml").write_text(block("toml"), encoding="utf-8")
    policy = load(tmp_path / "mask.toml")
    assert policy.keys == ("k1", "k2")
    assert len(policy.transforms) == 6


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'version = 1\n[columns]\nmobile = { transform = { op = "fpe", key = "k1", type = "cn_mobile" } }\n'
    Path("mask.toml").write_text(text)
    keys.make(Path("keys.toml"), ["k1"])
    names: dict[str, object] = {}
    exec(compile(block("python"), "docs/desensitize.md", "exec"), names)  # noqa: S102 - our own page
    assert "masked" in names


def test_it_names_everything() -> None:
    assert from_document({"version": 1}).others == "keep"
    for name in (*OPERATORS, *KINDS):
        assert f"`{name}`" in PAGE, name
