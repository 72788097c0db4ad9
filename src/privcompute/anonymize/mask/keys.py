"""Secret keys by id: from a file that only its owner can read, or from the environment; never from a policy.

The file is TOML, one line a key: `k1 = "64 hexadecimal digits"`. A key k1 can also stand in $PRIVCOMPUTE_KEY_K1, which
comes first. What an operator uses is derived from the key and the operator's purpose: no two purposes share a key.
Who has a key can undo `fpe` and `date_shift`, and can test guesses against tokens: keep it where the data may not go.

Source: derivation as HKDF-Expand (RFC 5869) with HMAC-SHA-256, one block.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from privcompute.errors import UsageError
from privcompute.randomness import token_bytes

KEY_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,15}")
VARIABLE: Final = "PRIVCOMPUTE_KEY_"
_BYTES: Final = 32
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){16,64}")


class Keys:
    """The keys at hand. They are in no repr and no error, and are not pickled.

    Args:
        secrets: key id to 16 to 64 bytes.
        place: where they come from, for messages.
    """

    __slots__ = ("_place", "_secrets")

    def __init__(self, secrets: Mapping[str, bytes], place: str = "memory") -> None:
        for name, secret in secrets.items():
            check_id(name)
            if not 16 <= len(secret) <= 64:
                raise UsageError(f"key {name!r} has not 16 to 64 bytes", code="bad_key")
        self._secrets = dict(secrets)
        self._place = place

    def __repr__(self) -> str:
        return f"Keys({', '.join(sorted(self._secrets))}: <hidden>)"

    def __reduce__(self) -> Any:
        raise TypeError("keys are not pickled")

    def __contains__(self, name: str) -> bool:
        return name in self._secrets

    def derive(self, name: str, purpose: str) -> bytes:
        """32 bytes that belong to this key and purpose alone.

        Raises:
            UsageError: `no_key`.
        """
        secret = self._secrets.get(name)
        if secret is None:
            raise UsageError(
                f"there is no key {name!r} in {self._place}",
                code="no_key",
                remedy=f"`--make-keys` makes it; or set {VARIABLE}{name.upper()} to 64 hexadecimal digits",
            )
        return hmac.digest(secret, b"privcompute desensitize v1|" + purpose.encode() + b"\x01", "sha256")


def check_id(name: str) -> str:
    """`name`, if it can name a key: it is shown inside of tokens.

    Raises:
        UsageError: `bad_key_id`.
    """
    if not KEY_ID.fullmatch(name):
        raise UsageError(
            "a key's id starts with a small letter and has at most 16 small letters, digits and _", code="bad_key_id"
        )
    return name


def load(path: Path | None, wanted: Iterable[str], environment: Mapping[str, str] | None = None) -> Keys:
    """The wanted keys that there are, from the environment or else from the file.

    Args:
        path: the key file; None, or a file that is not there: the environment alone.
        wanted: key ids.
        environment: None: the process's.

    Raises:
        UsageError: `exposed_keys` if others than its owner may read the file, `bad_key_file`, `bad_key`.
    """
    env = os.environ if environment is None else environment
    found = _read(path) if path is not None and path.exists() else {}
    for name in wanted:
        text = env.get(VARIABLE + check_id(name).upper())
        if text is not None:
            found[name] = _secret(name, text, "the environment")
    return Keys(found, str(path) if path is not None else "the environment")


def make(path: Path, wanted: Iterable[str]) -> list[str]:
    """Add fresh keys for the ids that the file lacks; the file is made owner-only and replaced in one step.

    Returns:
        The ids that were added.

    Raises:
        UsageError: as `load`; `bad_key_file` if it cannot be written.
    """
    found = _read(path) if path.exists() else {}
    added = [name for name in dict.fromkeys(wanted) if check_id(name) not in found]
    if not added:
        return []
    found |= {name: token_bytes(_BYTES) for name in added}
    lines = ["# Keys of `privcompute desensitize`. Who has them can undo what they hide.\n"]
    lines += [f'{name} = "{secret.hex()}"\n' for name, secret in found.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # 0600 from the first byte
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", code="bad_key_file") from None
    return added


def _read(path: Path) -> dict[str, bytes]:
    try:
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077 or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
            raise UsageError(
                f"others than you can read {path}",
                code="exposed_keys",
                remedy=f"chmod 600 {path}; and if it was so for long, use new keys",
            )
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # Without the parser's text: it may quote the line.
        raise UsageError(f"{path} is not a readable TOML file of keys", code="bad_key_file") from None
    return {check_id(name): _secret(name, value, str(path)) for name, value in document.items()}


def _secret(name: str, value: object, place: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise UsageError(
            f"key {name!r} of {place} is not 32 to 128 hexadecimal digits", code="bad_key", remedy="64 of them are best"
        )
    return bytes.fromhex(value)
