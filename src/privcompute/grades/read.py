"""Rule tables from TOML: every field is checked, nothing is left out, a stricter grade never asks for less."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import pairwise, product
from types import MappingProxyType
from typing import Any, Final

from privcompute.errors import UsageError
from privcompute.grades.table import Grade, Listed, Rule, RuleTable, parse_grade
from privcompute.grades.words import PROFILES, PURPOSES, RECIPIENTS, Technique

VERSION: Final = 1
_TOP: Final = {"version", "name", "standard", "least_k", "grades", "negative", "extends", "replaces", "rules"}
_TECHNIQUES: Final = {one.value: one for one in Technique}


def shipped(profile: str, *, required: bool = False) -> RuleTable:
    """A table of this package.

    Args:
        profile: one of `PROFILES`.
        required: whether a column without a grade may go nowhere.

    Raises:
        UsageError: `bad_profile`.
    """
    return whole_table(document_of(profile), profile, required=required)


def document_of(profile: str) -> dict[str, Any]:
    """A shipped table as parsed TOML.

    Raises:
        UsageError: `bad_profile`.
    """
    if profile not in PROFILES:
        raise UsageError(
            f"there is no profile {profile[:40]!r}", code="bad_profile", remedy=f"one of {', '.join(PROFILES)}"
        )
    text = resources.files("privcompute.grades").joinpath(f"{profile}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def whole_table(document: Mapping[str, Any], origin: str, *, required: bool) -> RuleTable:
    """A complete table.

    Args:
        document: parsed TOML.
        origin: names the file in messages.
        required: whether a column without a grade may go nowhere.

    Raises:
        UsageError: `grade_rules`, naming the field.
    """
    check_top(document, origin)
    if "rules" in document:
        raise fault(origin, "rules", "belongs to a table that extends another")
    listed = document.get("grades")
    if not isinstance(listed, list) or not 1 <= len(listed) <= 32:
        raise fault(origin, "grades", "must be 1 to 32 [[grades]], from the lowest to the strictest")
    grades = tuple(_grade(one, f"grades[{i}]", origin) for i, one in enumerate(listed))
    if len({one.name for one in grades}) != len(grades):
        raise fault(origin, "grades", "names a grade twice")
    floors = {
        (grade.name, purpose, recipient): _floor(about, recipient, purpose, grade.name, origin)
        for grade, about in zip(grades, listed, strict=True)
        for recipient, purpose in product(RECIPIENTS, PURPOSES)
    }
    least_k = document.get("least_k")
    if type(least_k) is not int or not 2 <= least_k <= 10_000:
        raise fault(origin, "least_k", "must be a whole number from 2 on")
    return made(
        document,
        origin,
        grades=grades,
        floors=floors,
        negative=negative_list(document, origin),
        least_k=least_k,
        required=required,
    )


def made(
    document: Mapping[str, Any],
    origin: str,
    *,
    grades: tuple[Grade, ...],
    floors: Mapping[Rule, Technique],
    negative: tuple[Listed, ...],
    least_k: int,
    required: bool,
) -> RuleTable:
    """The table, once it is known to be monotone.

    Raises:
        UsageError: `grade_rules`.
    """
    for purpose, recipient in product(PURPOSES, RECIPIENTS):
        for lower, higher in pairwise(grades):
            if floors[higher.name, purpose, recipient] < floors[lower.name, purpose, recipient]:
                raise fault(
                    origin, f"{higher.name}.{recipient}.{purpose}", f"asks for less than {lower.name}, a lower grade"
                )
        for grade in grades:
            nearest = floors[grade.name, purpose, "own"]
            if any(floors[grade.name, purpose, other] < nearest for other in RECIPIENTS):
                raise fault(origin, f"{grade.name}.own.{purpose}", "asks for more than the rule of another recipient")
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return RuleTable(
        name=document["name"],
        standard=document["standard"],
        grades=grades,
        floors=MappingProxyType(dict(floors)),
        negative=negative,
        least_k=least_k,
        required=required,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def check_top(document: Mapping[str, Any], origin: str) -> None:
    """The fields that every table has.

    Raises:
        UsageError: `grade_rules`.
    """
    if type(document.get("version")) is not int or document["version"] != VERSION:
        raise fault(origin, "version", f"must be {VERSION}, which is what this release reads")
    only(document, _TOP, "", origin)
    for name in ("name", "standard"):
        if not isinstance(document.get(name), str) or not document[name].isprintable() or len(document[name]) > 80:
            raise fault(origin, name, "must be a short text")


def negative_list(document: Mapping[str, Any], origin: str) -> tuple[Listed, ...]:
    """`[[negative]]`: category, texts, clause.

    Raises:
        UsageError: `grade_rules`.
    """
    listed = document.get("negative", [])
    if not isinstance(listed, list) or len(listed) > 1000:
        raise fault(origin, "negative", "must be at most 1000 [[negative]]")
    found = []
    for i, about in enumerate(listed):
        where = f"negative[{i}]"
        texts = _texts(about, ("category", "en", "zh", "clause"), (), where, origin)
        _word(texts["category"], f"{where}.category", origin)
        found.append(Listed(**texts, checked=_checked(about, where, origin)))
    return tuple(found)


def technique(value: object, where: str, origin: str) -> Technique:
    """A technique by its word.

    Raises:
        UsageError: `grade_rules`.
    """
    if not isinstance(value, str) or value not in _TECHNIQUES:
        raise fault(origin, where, f"must be one of {', '.join(_TECHNIQUES)}")
    return _TECHNIQUES[value]


def only(about: object, known: set[str], where: str, origin: str) -> None:
    """Refuse unknown fields.

    Raises:
        UsageError: `grade_rules`.
    """
    if not isinstance(about, Mapping):
        raise fault(origin, where, "must be a table")
    for name in about:
        if name not in known:
            raise fault(origin, f"{where}.{name}".lstrip("."), f"is not a field; there is {', '.join(sorted(known))}")


def fault(origin: str, where: str, what: str) -> UsageError:
    """The error of a table that cannot be used."""
    return UsageError(
        f"{origin}: {where} {what}", code="grade_rules", remedy="docs/grades.md shows the form of a rule table"
    )


def _grade(about: object, where: str, origin: str) -> Grade:
    texts = _texts(about, ("name", "en", "zh", "clause"), RECIPIENTS, where, origin)
    _word(texts["name"], f"{where}.name", origin)
    return Grade(**texts, checked=_checked(about, where, origin))


def _texts(about: object, names: Sequence[str], tables: Sequence[str], where: str, origin: str) -> dict[str, str]:
    only(about, {*names, *tables, "checked"}, where, origin)
    found = {}
    for name in names:
        value = about.get(name) if isinstance(about, Mapping) else None
        if not isinstance(value, str) or not value.isprintable() or len(value) > 300:
            raise fault(origin, f"{where}.{name}", "must be a text of one line")
        found[name] = value
    return found


def _checked(about: Any, where: str, origin: str) -> bool:
    value = about.get("checked", False)
    if not isinstance(value, bool):
        raise fault(origin, f"{where}.checked", "must be true or false")
    return value


def _word(text: str, where: str, origin: str) -> None:
    try:
        plain = parse_grade(text).category is None
    except UsageError:
        plain = False
    if not plain:
        raise fault(origin, where, "must be a word of small letters, digits and hyphens")


def _floor(about: Mapping[str, Any], recipient: str, purpose: str, grade: str, origin: str) -> Technique:
    rules = about.get(recipient)
    only(rules if rules is not None else {}, set(PURPOSES), f"{grade}.{recipient}", origin)
    value = (rules or {}).get(purpose)
    if value is None:
        raise fault(origin, f"{grade}.{recipient}.{purpose}", "is missing")
    return technique(value, f"{grade}.{recipient}.{purpose}", origin)
