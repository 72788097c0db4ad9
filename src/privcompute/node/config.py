"""node.toml: what a node's operator may set, each field with its check, its default and its own message.

The file is written by `init` with every field and a comment, so that it documents itself.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from privcompute.errors import UsageError
from privcompute.grades.words import PROFILES
from privcompute.node.home import write_private
from privcompute.transport.address import Address

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
LEVELS = ("debug", "info", "warning", "error")


def _whole(default: int, low: int, high: int, about: str) -> Any:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        return None if low <= value <= high else f"must lie between {low} and {high}"

    return field(default=default, metadata={"check": check, "about": about})


def _seconds(default: float, low: float, high: float, about: str) -> Any:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number of seconds"
        return None if low <= value <= high else f"must lie between {low:g} and {high:g} seconds"

    return field(default=default, metadata={"check": check, "about": about})


def _choice(default: str, choices: tuple[str, ...], about: str) -> Any:
    def check(value: object) -> str | None:
        return None if value in choices else "must be one of " + ", ".join(f'"{one}"' for one in choices)

    return field(default=default, metadata={"check": check, "about": about})


def _flag(default: bool, about: str) -> Any:
    def check(value: object) -> str | None:
        return None if isinstance(value, bool) else "must be true or false"

    return field(default=default, metadata={"check": check, "about": about})


def _file(about: str) -> Any:
    def check(value: object) -> str | None:
        return None if isinstance(value, str) and value.isprintable() else "must be a file's path, or empty"

    return field(default="", metadata={"check": check, "about": about})


def _parties(about: str) -> Any:
    def check(value: object) -> str | None:
        right = isinstance(value, list | tuple) and all(check_name(one) is None for one in value)
        return None if right else "must be a list of parties' names"

    return field(default=(), metadata={"check": check, "about": about})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may cost this node. Declared here, checked by the parts that spend it.

    The size of a message has no number of its own: each one is bounded by the shape that its receiver states.
    """

    memory_mib: int = _whole(1024, 128, 1 << 20, "memory for reading one's own tables, MiB")
    credit_mib: int = _whole(64, 1, 4096, "frames of one session that may wait before they are asked for, MiB")
    step_seconds: float = _seconds(120.0, 0.1, 86_400, "silence of a peer after which a run is given up")
    run_seconds: float = _seconds(14_400.0, 1, 604_800, "longest run of one query, and longest link of a delivery")
    holder_seconds: float = _seconds(30.0, 0.1, 3600, "how long each stage of a union waits for its slowest holder")
    sessions: int = _whole(8, 1, 256, "queries answered at the same time, half of them at most for one peer")
    keys: int = _whole(20_000_000, 1, 1 << 31, "largest number of distinct keys accepted from a peer")
    key_ratio: int = _whole(1000, 1, 1 << 31, "largest ratio between the two numbers of keys")
    queries_per_peer: int = _whole(1000, 1, 1_000_000, "queries answered for one peer on one version of a dataset")
    table_seconds: float = _seconds(3600.0, 1, 604_800, "longest pass over one's own table for one query")
    approval_seconds: float = _seconds(86_400.0, 60, 31_536_000, "how long an approval waits for its one run")
    failures_kept: int = _whole(1000, 10, 1_000_000, "refused and failed runs of one peer that the audit trail keeps")
    delivery_mib: int = _whole(1024, 1, 1 << 20, "largest table taken from a peer, and all that wait of one peer, MiB")
    releases_kept: int = _whole(1000, 10, 1_000_000, "results of one peer's questions that are kept, the newest")


@dataclass(frozen=True, slots=True)
class Log:
    """The rotating log in the home."""

    level: str = _choice("info", LEVELS, "least serious line that is written")
    file_mib: int = _whole(10, 1, 1024, "size at which the log rotates, MiB")
    files: int = _whole(5, 1, 100, "rotated logs that are kept")


@dataclass(frozen=True, slots=True)
class Grades:
    """Which rules bind what may be done with a column of a grade (docs/grades.md)."""

    profile: str = _choice("gbt43697", PROFILES, "grades and rules: of GB/T 43697 or of JR/T 0197")
    rules: str = _file("TOML file of own rules, beside this file, that extend or replace the profile's")
    required: bool = _flag(False, "whether a column without a grade may go nowhere")
    own: tuple[str, ...] = _parties("peers that are of this node's own organisation")
    abroad: tuple[str, ...] = _parties("peers abroad: the rules of cross-border hold")


_Section = TypeVar("_Section", Limits, Log, Grades)


@dataclass(frozen=True, slots=True)
class Config:
    """A node's configuration."""

    name: str
    listen: str | None = None
    limits: Limits = Limits()
    log: Log = Log()
    grades: Grades = Grades()


def check_name(name: object) -> str | None:
    """What is wrong with a party or dataset name, or None. Names stand in SQL as `party.dataset` without quotes."""
    if not isinstance(name, str):
        return "must be a text in quotes"
    if not NAME_PATTERN.match(name):
        return "must start with a lower-case letter and hold only lower-case letters, digits and _ (at most 63)"
    return None


def _check_listen(value: object) -> str | None:
    if not isinstance(value, str):
        return 'must be a text in quotes, for example "[::]:7443"'
    try:
        Address.parse(value)
    except UsageError as error:
        return f"must be HOST:PORT; {error.remedy}"
    return None


def load(path: Path) -> Config:
    """Read node.toml.

    Raises:
        UsageError: code `config`, with one line per field that is wrong, unknown or missing.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8"
        raise UsageError(f"{path} is not TOML: {reason}", code="config", remedy="mend that line") from None
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", code="config", remedy="restore the file or its permissions"
        ) from None
    config = parse(document, str(path))
    if not config.grades.rules:
        return config
    return replace(config, grades=replace(config.grades, rules=str(path.parent / config.grades.rules)))


def parse(document: Mapping[str, Any], origin: str) -> Config:
    """A checked Config from a parsed TOML document; `origin` names the file in messages.

    Raises:
        UsageError: code `config`, with one line per field that is wrong, unknown or missing.
    """
    wrong: list[str] = []
    known = {"name", "listen", "limits", "log", "grades"}
    wrong += _unknown("", document, known)
    if "name" not in document:
        wrong.append("name: is missing")
    elif reason := check_name(document["name"]):
        wrong.append(f"name: {reason}")
    if "listen" in document and (reason := _check_listen(document["listen"])):
        wrong.append(f"listen: {reason}")
    limits = _section("limits", document.get("limits", {}), Limits, wrong)
    log = _section("log", document.get("log", {}), Log, wrong)
    grades = _section("grades", document.get("grades", {}), Grades, wrong)
    if both := sorted(set(grades.own) & set(grades.abroad)):
        wrong.append(f"grades.abroad: names {both[0]}, which grades.own names, too")
    if wrong:
        raise UsageError(
            f"{origin}: " + "; ".join(wrong), code="config", remedy="mend these fields, or remove them for the default"
        )
    return Config(name=document["name"], listen=document.get("listen"), limits=limits, log=log, grades=grades)


def _unknown(prefix: str, document: Mapping[str, Any], known: set[str]) -> list[str]:
    found = []
    for name in sorted(set(document) - known):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {prefix}{near[0]}?" if near else ""
        found.append(f"{prefix}{name}: is not a field{hint}")
    return found


def _section(name: str, document: object, kind: type[_Section], wrong: list[str]) -> _Section:
    if not isinstance(document, dict):
        wrong.append(f"{name}: must be a table, [{name}]")
        return kind()
    known: dict[str, Field[Any]] = {one.name: one for one in fields(kind)}
    wrong += _unknown(f"{name}.", document, set(known))
    good: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            continue
        check: Callable[[object], str | None] = known[key].metadata["check"]
        reason = check(value)
        if reason:
            wrong.append(f"{name}.{key}: {reason}")
        else:
            good[key] = tuple(value) if isinstance(value, list) else value
    return kind(**good)


def render(config: Config) -> str:
    """The text of node.toml, with every field and what it means."""
    lines = [
        "# Configuration of this privcompute node. Every field is checked; a missing one takes its default.",
        "",
        f'name = "{config.name}"  # this party in SQL: {config.name}.DATASET',
    ]
    if config.listen is not None:
        lines.append(f'listen = "{config.listen}"')
    for title, section in (("limits", config.limits), ("log", config.log), ("grades", config.grades)):
        lines += ["", f"[{title}]"]
        for one in fields(section):
            lines.append(f"{one.name} = {_toml(getattr(section, one.name))}  # {one.metadata['about']}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def save(path: Path, config: Config) -> None:
    """Write node.toml in one step, owner-only."""
    write_private(path, render(config))
