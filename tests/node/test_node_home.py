"""The home: where it is, who may read it, what a killed `init` leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from privcompute.errors import UsageError
from privcompute.node.home import Home, write_private
from privcompute.node.setup import create_node


def test_option_beats_environment_beats_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRIVCOMPUTE_HOME", raising=False)
    assert Home.resolve().path == tmp_path / ".privcompute"
    monkeypatch.setenv("PRIVCOMPUTE_HOME", str(tmp_path / "env"))
    assert Home.resolve().path == tmp_path / "env"
    assert Home.resolve("given").path == tmp_path / "given"
    # The directory in which the walk-through's commands ran stands for the home inside it, as `pc.connect("insurer/")`.
    create_node(Home(tmp_path / "insurer" / ".privcompute"), "insurer", None)
    assert Home.resolve("insurer/").path == tmp_path / "insurer" / ".privcompute"
    assert Home.resolve("insurer/.privcompute").path == tmp_path / "insurer" / ".privcompute"


def test_init_makes_everything_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    create_node(home, "hospital", "[::]:7443")
    for path in [home.path, *home.path.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    home.require()


def test_second_init_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    first = create_node(home, "hospital", None)
    with pytest.raises(UsageError) as error:
        create_node(home, "hospital", None)
    assert error.value.code == "home_exists"
    from privcompute.transport.identity import Identity

    assert Identity.load(home.identity).fingerprint == first.fingerprint


def test_a_killed_init_can_be_repeated(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    create_node(home, "hospital", None)
    home.config_file.unlink()  # what a kill before the last step leaves
    create_node(home, "clinic", None)
    assert home.exists


@pytest.mark.parametrize("name", ["", "Hospital", "1st", "a-b", "a" * 64, "a b", "ä"])
def test_bad_names_make_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        create_node(Home(tmp_path / "h"), name, None)
    assert error.value.code == "bad_name"
    assert not (tmp_path / "h").exists()


def test_missing_home_names_init(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        Home(tmp_path / "nowhere").require()
    assert error.value.code == "no_home"
    assert "privcompute init" in error.value.remedy


@pytest.mark.parametrize("victim", ["", "state.db", "identity/identity.key"])
def test_home_open_to_others_is_refused(tmp_path: Path, victim: str) -> None:
    home = Home(tmp_path / "h")
    create_node(home, "hospital", None)
    (home.path / victim).chmod(0o750 if not victim else 0o640)
    with pytest.raises(UsageError) as error:
        home.require()
    assert error.value.code == "home_exposed"
    assert "chmod go-rwx" in error.value.remedy


def test_a_long_home_gets_a_socket_that_can_be_bound(tmp_path: Path) -> None:
    assert Home(tmp_path / "short").socket == tmp_path / "short" / "node.sock"
    long = Home(tmp_path / ("x" * 100))
    assert len(os.fsencode(long.socket)) < 100
    assert long.socket == Home(tmp_path / ("x" * 100)).socket
    assert long.socket != Home(tmp_path / ("y" * 100)).socket


def test_write_private_replaces_whole_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "f"
    write_private(target, "one")
    write_private(target, "two")
    assert target.read_text() == "two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(UnicodeEncodeError):
        write_private(target, "\ud800")
    assert target.read_text() == "two"
    assert list(tmp_path.iterdir()) == [target]
