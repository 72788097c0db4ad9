"""The decorator of every kernel, and where the machine code is kept between processes.

Loading a compiled kernel runs it: who can write the folder it lies in runs code as this user. So a folder is used only
if it belongs to this user and nobody else may write in it; it is made that way. The first that will do:

1. below $NUMBA_CACHE_DIR, for an operator who wants to say where;
2. in the `__pycache__` beside the source, if this user may write there;
3. below $XDG_CACHE_HOME, or ~/.cache.

Where none will do, kernels are compiled anew in every process, which the log says. The folder's name is a digest
of the sources a kernel may be made of, so that code made of older ones is never run: numba itself looks at the file of
the kernel alone, not at those of the functions it calls. See docs/decisions/0006-compiled-kernels.md.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import caching

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)
_HERE: Final = Path(__file__).parent


def kernel(function: F) -> F:
    """Compile `function` at its first call, keep the machine code on disk, run it without the interpreter lock.

    No `fastmath`: the arithmetic in doubles is exact only because every operation is the IEEE one.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if folder_for(Path(function.__code__.co_filename).parent) is not None:
        cache: Any = _Cache
        compiled._cache = cache(function)  # as numba's own `enable_caching` does, with our folder
    return cast(F, compiled)


class _Locator(caching._CacheLocator):
    """Says where the machine code of one function lies, and of which sources it has to be."""

    def __init__(self, function: Any, file: str, folder: Path) -> None:
        self._function = function
        self._py_file = file
        self._folder = folder

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator | None:
        folder = folder_for(Path(py_file).parent)
        return None if folder is None else cls(py_func, py_file, folder)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return f"{self._function.__module__.rpartition('.')[0]}-{self._function.__code__.co_firstlineno}"


class _Code(caching.CompileResultCacheImpl):
    def __init__(self, function: Any) -> None:
        self._locator_classes: Any = [_Locator]
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba is typed in part


class _Files(caching.IndexDataCacheFile):
    """One file for each signature of a kernel, named by a digest of it; the signature also stands inside.

    numba numbers these files and keeps an index. Two processes that compile at the same moment take the same number,
    and whoever loads one signature later may run the machine code of another: wrong answers, or a crash.
    """

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._named(key), (key, data))  # type: ignore[no-untyped-call]  # numba is typed in part

    def load(self, key: Any) -> Any:
        try:
            found, data = self._load_data(self._named(key))  # type: ignore[no-untyped-call]  # as above
        except OSError:
            return None
        return data if found == key else None

    def flush(self) -> None:
        """Nothing is ever out of date here: other sources have another folder."""

    def _named(self, key: Any) -> str:
        said = repr((self._version, self._source_stamp, key))
        return f"{self._index_name.removesuffix('.nbi')}.{hashlib.sha256(said.encode()).hexdigest()[:16]}.nbc"


class _Cache(caching.FunctionCache):
    _impl_class = _Code

    def __init__(self, function: Any) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba is typed in part
        of, stamp = self._impl.filename_base, self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self._cache_path, of, stamp)  # type: ignore[no-untyped-call]  # as above


@functools.cache
def folder_for(package: Path) -> Path | None:
    """The folder for the kernels of a source folder, made if need be; None: there is no safe one."""
    digest = _sources(package)
    if digest is None:
        return None
    for base in _bases(package):
        folder = _private_folder(base, f"kernels-{digest}")
        if folder is not None:
            return folder
    _log.warning(
        "no folder that only this user can write to is left for compiled kernels: each process compiles them anew,"
        " which takes half a minute; set NUMBA_CACHE_DIR to one"
    )
    return None


def _sources(package: Path) -> str | None:
    """A digest of all sources of this package and of the given one; None where there are none to read."""
    digest = hashlib.sha256()
    try:
        for folder in dict.fromkeys((_HERE, package)):
            for file in sorted(folder.glob("*.py")):
                text = file.read_bytes()
                digest.update(f"{file.name}:{len(text)}:".encode() + text)
    except OSError:
        return None
    return digest.hexdigest()[:16]


def _bases(package: Path) -> Iterator[Path]:
    if wanted := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(wanted)
    yield package / "__pycache__"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return
    yield cache / "privcompute"


def _private_folder(base: Path, name: str) -> Path | None:
    """`base`/`name`, if it is this user's own or can be made so."""
    folder = base / name
    try:
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        above = base.stat()
        if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
            return None  # whoever may rename the folder may put another in its place
        folder.mkdir(exist_ok=True, mode=0o700)
        found = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
