"""Where machine code is kept: only where nobody else may write, and never code of older sources."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from numba.core import caching

from privcompute.kernels import compiled

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from sample.outer import outer
assert outer(1) == int(sys.argv[2]), outer(1)
print(sum(outer.stats.cache_hits.values()), outer.stats.cache_path)
"""
INNER = "from privcompute.kernels.compiled import kernel\n\n@kernel\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from privcompute.kernels.compiled import kernel\nfrom sample.inner import inner\n\n"
    "@kernel\ndef outer(x):\n    return inner(x) * 2\n"
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "inner.py").write_text(INNER.format(1))
    (folder / "outer.py").write_text(OUTER)
    return folder


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled.folder_for.cache_clear()
    yield
    compiled.folder_for.cache_clear()


def run(package: Path, result: int) -> tuple[int, str]:
    """Uses of stored code, and its place, in a new process."""
    words = [sys.executable, "-c", PROGRAM, str(package.parent), str(result)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    hits, place = done.stdout.split()
    return int(hits), place


def test_code_is_stored_and_used_until_a_function_it_calls_changes(package: Path) -> None:
    assert run(package, 4)[0] == 0
    hits, place = run(package, 4)
    assert hits == 1
    assert Path(place).parent == package / "__pycache__"
    assert Path(place).stat().st_mode & 0o077 == 0
    (package / "inner.py").write_text(INNER.format(2))  # what numba itself would not notice
    assert run(package, 6) != (1, place)


def test_a_named_folder_goes_first(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    folder = compiled.folder_for(package)
    assert folder is not None
    assert folder.parent == tmp_path / "named"


def test_a_folder_that_others_may_write_to_is_not_used(package: Path, tmp_path: Path) -> None:
    beside = compiled.folder_for(package)
    assert beside is not None
    beside.chmod(0o770)
    compiled.folder_for.cache_clear()
    elsewhere = compiled.folder_for(package)
    assert elsewhere is not None
    assert elsewhere.parent == tmp_path / "cache" / "privcompute"


def test_a_link_is_not_followed(package: Path, tmp_path: Path) -> None:
    beside = compiled.folder_for(package)
    assert beside is not None
    beside.rmdir()
    beside.symlink_to(tmp_path)
    compiled.folder_for.cache_clear()
    assert compiled.folder_for(package) != beside


def test_folders_below_one_that_anybody_may_change(package: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert compiled._private_folder(shared, "kernels") is None
    shared.chmod(0o1777)  # as /tmp: others cannot rename what is ours
    assert compiled._private_folder(shared, "kernels") == shared / "kernels"


def test_without_any_folder_kernels_still_work(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A file stands where each folder would be made: neither root nor anybody else can make one there.
    (package / "__pycache__").write_text("")
    (tmp_path / "cache").write_text("")
    assert compiled.folder_for(package) is None
    assert "NUMBA_CACHE_DIR" in caplog.text
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert run(package, 4) == (0, "None")


def saved_at_once(kind: Any, folder: Path) -> dict[str, Any]:
    """What is loaded after two processes compiled two signatures: both looked before either wrote, and the files of
    one come between the index and the file of the other."""
    folder.mkdir()
    one, other, later = (kind(str(folder), "kernel", "stamp") for _ in range(3))
    write = other._save_data

    def late(*args: Any) -> None:
        one.save("one", "code of one")
        write(*args)

    with mock.patch.object(other, "_save_data", late), mock.patch.object(one, "_load_index", dict):
        other.save("other", "code of other")
    return {key: later.load(key) for key in ("one", "other")}


def test_two_processes_that_compile_at_once_do_not_mix_their_code(tmp_path: Path) -> None:
    assert saved_at_once(compiled._Files, tmp_path / "ours") == {"one": "code of one", "other": "code of other"}
    # numba's own files fail here: one signature is given the code of the other.
    assert saved_at_once(caching.IndexDataCacheFile, tmp_path / "numba")["one"] == "code of other"


def test_code_under_another_signatures_name_is_not_run(tmp_path: Path) -> None:
    files = compiled._Files(str(tmp_path), "kernel", "stamp")  # type: ignore[no-untyped-call]  # numba is typed in part
    files.save("one", "code of one")
    (only,) = tmp_path.iterdir()
    only.rename(tmp_path / files._named("other"))
    assert files.load("other") is None
    assert files.load("one") is None
