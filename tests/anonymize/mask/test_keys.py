"""Keys: where they come from, who may read them, and that they never show."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from privcompute.anonymize.mask import keys
from privcompute.anonymize.mask.keys import Keys
from privcompute.errors import UsageError

HEX = "ab" * 32


def test_made_once_kept_and_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.toml"
    assert keys.make(path, ["k1", "k2", "k1"]) == ["k1", "k2"]
    assert path.stat().st_mode & 0o777 == 0o600
    first = keys.load(path, ["k1"], {}).derive("k1", "x")
    assert keys.make(path, ["k1", "k3"]) == ["k3"]
    assert keys.load(path, ["k1"], {}).derive("k1", "x") == first
    assert [one.name for one in path.parent.iterdir()] == ["keys.toml"]


def test_the_environment_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    keys.make(path, ["k1"])
    of_file = keys.load(path, ["k1"], {}).derive("k1", "x")
    of_environment = keys.load(path, ["k1"], {"PRIVCOMPUTE_KEY_K1": HEX}).derive("k1", "x")
    assert of_file != of_environment == Keys({"k1": bytes.fromhex(HEX)}).derive("k1", "x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.toml"
    keys.make(path, ["k1"])
    path.chmod(mode)
    with pytest.raises(UsageError) as raised:
        keys.load(path, ["k1"], {})
    assert raised.value.code == "exposed_keys"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("k1 = 5", "bad_key"),
        ("k1 = 'abcd'", "bad_key"),
        ("k1 = 'secret-ish", "bad_key_file"),
        ("K1 = 'ab'", "bad_key_id"),
    ],
)
def test_faulty_files_are_named_without_their_text(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError) as raised:
        keys.load(path, ["k1"], {})
    assert raised.value.code == code
    assert "secret-ish" not in str(raised.value)
    assert "abcd" not in str(raised.value)


def test_purposes_and_keys_are_separate() -> None:
    some = Keys({"k1": bytes(32), "k2": bytes([1]) * 32})
    assert len({some.derive(key, purpose) for key in ("k1", "k2") for purpose in ("fpe", "token sha256")}) == 4
    with pytest.raises(UsageError) as raised:
        some.derive("k3", "fpe")
    assert raised.value.code == "no_key"


def test_keys_do_not_show_and_do_not_travel() -> None:
    some = Keys({"k1": b"very secret bytes of 32 or more!"})
    assert "secret" not in repr(some)
    with pytest.raises(TypeError):
        pickle.dumps(some)
