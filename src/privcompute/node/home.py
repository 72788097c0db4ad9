"""A node's home: one owner-only directory that holds the configuration, the keys and the state.

node.toml       configuration, written by `init`; its presence marks a complete home
identity/       private key (0600) and certificates, written by `privcompute.transport.identity`
state.db        SQLite: peers, datasets, requests, releases, ledger, audit
logs/           rotating log files
spool/          tables on their way to peers and from them
node.sock       Unix socket of the running node
serve.lock      held (flock) by the running node, so that a killed one leaves nothing to clean up
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from privcompute.errors import UsageError

_HOME = ".privcompute"
_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes on Linux, 104 elsewhere


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one node's home."""

    path: Path

    @classmethod
    def resolve(cls, option: str | os.PathLike[str] | None = None) -> Home:
        """The home named by `option`, else by $PRIVCOMPUTE_HOME, else `.privcompute` in the working directory.

        A directory that holds no node itself but one in its `.privcompute` stands for that node.
        """
        chosen = Path(option or os.environ.get("PRIVCOMPUTE_HOME") or _HOME).expanduser().absolute()
        inside = cls(chosen / _HOME)
        return inside if inside.exists and not cls(chosen).exists else cls(chosen)

    @property
    def config_file(self) -> Path:
        """node.toml."""
        return self.path / "node.toml"

    @property
    def identity(self) -> Path:
        """Directory of the private key and the certificates."""
        return self.path / "identity"

    @property
    def database(self) -> Path:
        """The SQLite file with all state."""
        return self.path / "state.db"

    @property
    def logs(self) -> Path:
        """Directory of the rotating logs."""
        return self.path / "logs"

    @property
    def spool(self) -> Path:
        """Directory of tables on their way to peers (`out`) and from them (`in`)."""
        return self.path / "spool"

    @property
    def lock_file(self) -> Path:
        """Locked by the running node for as long as it lives."""
        return self.path / "serve.lock"

    @property
    def socket(self) -> Path:
        """Path of the running node's Unix socket; outside the home only where the home's path is too long for one."""
        inside = self.path / "node.sock"
        if len(os.fsencode(inside)) <= _SOCKET_PATH_LIMIT:
            return inside
        tag = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"privcompute-{os.getuid()}-{tag}" / "node.sock"

    @property
    def exists(self) -> bool:
        """Whether `init` has completed here."""
        return self.config_file.is_file()

    def create(self) -> None:
        """Make the directory and its sub-directories, owner-only.

        Raises:
            UsageError: the path is taken by something else, or a node lives there already.
        """
        if self.exists:
            raise UsageError(
                f"a node already lives in {self.path}",
                code="home_exists",
                remedy="choose another directory with --home, or keep using this node",
            )
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for directory in (self.identity, self.logs):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot create the home {self.path}: {error.strerror}",
                code="home_unwritable",
                remedy="choose a writable directory with --home",
            ) from None

    def require(self) -> None:
        """Check that a complete home with owner-only permissions is here.

        Raises:
            UsageError: no node here, or other users may read the home.
        """
        if not self.exists:
            raise UsageError(
                f"no node in {self.path}",
                code="no_home",
                remedy="run `privcompute init --name NAME --listen HOST:PORT`, or name its directory with --home",
            )
        open_to_others = self.exposed()
        if open_to_others:
            raise UsageError(
                f"other users may reach {open_to_others[0]}",
                code="home_exposed",
                remedy=f"run `chmod go-rwx {open_to_others[0]}`",
            )

    def exposed(self) -> list[Path]:
        """The private files and directories of this home that other users may read or write."""
        private = [self.path, self.identity, self.database]
        if self.identity.is_dir():
            private += sorted(self.identity.glob("*key*"))
        return [path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a kill leaves the old or the new file, never half of one. Mode 0600."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold the home's lock; the system gives it back when this process dies, however it dies.

    Raises:
        UsageError: code `already_running`.
    """
    handle = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"a node runs in {home.path} already",
                code="already_running",
                remedy="use it, or stop that process first",
            ) from None
        yield
    finally:
        os.close(handle)
