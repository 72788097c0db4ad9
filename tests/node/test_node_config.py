"""node.toml: every field has its check and its own message."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from privcompute.errors import UsageError
from privcompute.node.config import Config, Limits, Log, load, parse, render, save


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for config in (
        Config("hospital", "[::]:7443"),
        Config("a1", None, Limits(memory_mib=256, step_seconds=2.5), Log(level="debug")),
    ):
        save(tmp_path / "node.toml", config)
        assert load(tmp_path / "node.toml") == config


def test_every_field_is_written_with_its_meaning() -> None:
    text = render(Config("hospital", "[::]:7443"))
    for section in (Limits, Log):
        for field in fields(section):
            assert f"{field.name} = " in text
            assert field.metadata["about"] in text


def test_missing_fields_take_their_default() -> None:
    assert parse({"name": "a"}, "node.toml") == Config("a")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "name: is missing"),
        ({"name": 3}, "name: must be a text"),
        ({"name": "A"}, "name: must start with a lower-case letter"),
        ({"name": "a", "listen": 7443}, "listen: must be a text"),
        ({"name": "a", "listen": "7443"}, "listen: must be HOST:PORT"),
        ({"name": "a", "listen": "::1:99999"}, "listen: must be HOST:PORT"),
        ({"name": "a", "limits": 3}, "limits: must be a table"),
        ({"name": "a", "limits": {"keys": "many"}}, "limits.keys: must be a whole number"),
        ({"name": "a", "limits": {"keys": True}}, "limits.keys: must be a whole number"),
        ({"name": "a", "limits": {"keys": 0}}, "limits.keys: must lie between 1 and"),
        ({"name": "a", "limits": {"run_seconds": "1h"}}, "limits.run_seconds: must be a number of seconds"),
        ({"name": "a", "limits": {"run_seconds": 0}}, "limits.run_seconds: must lie between"),
        ({"name": "a", "limits": {"kays": 1}}, "limits.kays: is not a field, did you mean limits.keys?"),
        ({"name": "a", "log": {"level": "loud"}}, 'log.level: must be one of "debug", "info"'),
        ({"name": "a", "lsten": "x"}, "lsten: is not a field, did you mean listen?"),
        ({"name": "a", "zzz": "x"}, "zzz: is not a field"),
    ],
)
def test_each_wrong_field_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(document, "node.toml")
    assert error.value.code == "config"
    assert message in error.value.message


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(UsageError) as error:
        parse({"limits": {"keys": 0, "sessions": "x"}, "colour": 1}, "node.toml")
    for part in ("name:", "limits.keys:", "limits.sessions:", "colour:"):
        assert part in error.value.message


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"name = 'a'\nname = 'b'"])
def test_a_file_that_is_not_toml_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load(path)
    assert error.value.code == "config"
    assert str(path) in error.value.message


def test_defaults_pass_their_own_checks() -> None:
    document = tomllib.loads(render(Config("a", "localhost:1")))
    assert parse(document, "node.toml") == Config("a", "localhost:1")
