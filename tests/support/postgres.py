"""A PostgreSQL server of the test's own: a fresh cluster in a temporary directory, an unprivileged user, gone after."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = "tester"
PASSWORD = "not a secret"


def programs() -> Path | None:
    """Directory of the newest server programs installed; None if there are none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    newest = sorted(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    if newest:
        return newest[-1]
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def why_not() -> str | None:
    """Why no server can be started here; None if one can."""
    if programs() is None:
        return "PostgreSQL's server programs are NOT INSTALLED: its tests did not run"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "there is NO UNPRIVILEGED USER to run PostgreSQL as: its tests did not run"
    return None


def _unprivileged() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        password_file: a .pgpass file with its password, readable by this process's user only.
    """

    port: int
    password_file: Path

    def url(self, table: str) -> str:
        """The source URL of a table; the password is not in it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres?table={table}"

    @property
    def admin(self) -> str:
        """A URL of libpq with which tests create tables."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres?passfile={self.password_file}"


@contextmanager
def server() -> Iterator[Server]:
    """Start a server that asks for a password; stop it and remove everything at the end."""
    place = programs()
    assert place is not None, "call why_not() first"
    # Not below pytest's temporary directory: other users may not enter that.
    with tempfile.TemporaryDirectory(prefix="pc-pg-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        root = Path(directory)
        account = _unprivileged() if os.geteuid() == 0 else None
        if account is not None:
            os.chown(root, account.pw_uid, account.pw_gid)
        (root / "word").write_text(PASSWORD)
        (root / "word").chmod(0o644)
        data = root / "data"

        def run(*command: str) -> None:
            subprocess.run(
                command,
                check=True,
                cwd=root,
                capture_output=True,
                timeout=120,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )

        initdb = [str(place / "initdb"), "-D", str(data), "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        run(*initdb, "--locale=C", f"--pwfile={root / 'word'}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-k {root} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB"
        run(str(place / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(root / "log"), "-w", "start")
        passwords = Path(tempfile.mkdtemp(prefix="pc-pw-")) / "pgpass"
        passwords.touch(mode=0o600)
        passwords.write_text(f"127.0.0.1:{port}:*:{USER}:{PASSWORD}\n")
        try:
            yield Server(port, passwords)
        finally:
            run(str(place / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
            shutil.rmtree(passwords.parent)
