"""An owner's own rules: stricter than a shipped table rule by rule, or a whole table that replaces it by name.

version = 1                              version = 1
name = "ours"                            name = "ours"
standard = "house rule 7"                standard = "house rule 7"
extends = "gbt43697"                     replaces = "gbt43697"
least_k = 10                             least_k = 5

[rules.general-3.peer]                   [[grades]]      # all of them, all rules
research = "sum"                         …
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privcompute.errors import UsageError
from privcompute.grades.read import check_top, fault, made, negative_list, only, shipped, technique, whole_table
from privcompute.grades.table import RuleTable
from privcompute.grades.words import PURPOSES, RECIPIENTS


def load(profile: str, own: Path | None = None, *, required: bool = False) -> RuleTable:
    """The table that binds a node.

    Args:
        profile: a shipped one.
        own: the owner's file, if there is one; it names the profile that it extends or replaces.
        required: whether a column without a grade may go nowhere.

    Raises:
        UsageError: `bad_profile`; `grade_rules`, naming the field; `no_such_file`.
    """
    if own is None:
        return shipped(profile, required=required)
    try:
        document = tomllib.loads(own.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the rules {own}: {error.strerror}", code="no_such_file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8"
        raise fault(str(own), "the file", f"is not TOML: {reason}") from None
    return owned(document, profile, str(own), required=required)


def owned(document: Mapping[str, Any], profile: str, origin: str, *, required: bool = False) -> RuleTable:
    """An owner's table from parsed TOML.

    Raises:
        UsageError: `grade_rules`; a rule that is weaker than the extended table's among them.
    """
    check_top(document, origin)
    named = [document[word] for word in ("extends", "replaces") if word in document]
    if named != [profile]:
        raise fault(origin, "extends", f"or replaces, one of them, must name {profile}, the profile of this node")
    if "replaces" in document:
        return whole_table(document, origin, required=required)
    return _stricter(shipped(profile), document, origin, required)


def _stricter(base: RuleTable, document: Mapping[str, Any], origin: str, required: bool) -> RuleTable:
    if "grades" in document:
        raise fault(origin, "grades", "belongs to a table that replaces another; write [rules.GRADE.RECIPIENT]")
    floors = dict(base.floors)
    rules = document.get("rules", {})
    only(rules, set(base.names()), "rules", origin)
    for grade, by_recipient in rules.items():
        only(by_recipient, set(RECIPIENTS), f"rules.{grade}", origin)
        for recipient, by_purpose in by_recipient.items():
            only(by_purpose, set(PURPOSES), f"rules.{grade}.{recipient}", origin)
            for purpose, value in by_purpose.items():
                where = f"rules.{grade}.{recipient}.{purpose}"
                wanted, least = technique(value, where, origin), base.floors[grade, purpose, recipient]
                if wanted < least:
                    raise fault(origin, where, f"is weaker than {least.value}, the rule of {base.name}")
                floors[grade, purpose, recipient] = wanted
    least_k = document.get("least_k", base.least_k)
    if type(least_k) is not int or not base.least_k <= least_k <= 10_000:
        raise fault(origin, "least_k", f"must be a whole number from {base.least_k} on, the rule of {base.name}")
    negative = (*base.negative, *negative_list(document, origin))
    return made(
        document,
        origin,
        grades=base.grades,
        floors=floors,
        negative=negative,
        least_k=least_k,
        required=required,
    )
