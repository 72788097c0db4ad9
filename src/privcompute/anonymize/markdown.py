"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from privcompute.anonymize.models.phrase import phrase
from privcompute.anonymize.words import word


def render(body: Mapping[str, Any], locale: str) -> str:
    """The whole report of a release.

    Args:
        body: `Report.body`.
        locale: `en` or `zh-CN`.
    """

    def w(name: str) -> str:
        return word(name, locale)

    parts = [
        f"# {w('title')}",
        _meaning(body, locale),
        *_facts(body, locale),
        f"## {w('roles')}",
        _columns(body, locale),
    ]
    search = body["search"]
    names = ("algorithm", "metric", "cost", "bound", "state", "checks", "nodes")
    parts += [
        f"## {w('search')}",
        table(
            (w("search"), ""),
            ((w(n), w(text(search[n])) if n == "state" else text(search[n])) for n in names if n in search),
        ),
    ]
    parts += [f"## {w('models')}", _models(body["models"], locale), f"## {w('risk')}"]
    before, after = body["risk"]["before"], body["risk"]["after"]
    parts.append(table((w("risk"), w("before"), w("after")), ((w(n), text(before[n]), text(after[n])) for n in RISKS)))
    return "\n\n".join(part for part in parts if part) + "\n"


RISKS = (
    "rows",
    "classes",
    "prosecutor",
    "journalist",
    "journalist_average",
    "marketer",
    "at_risk",
    "uniques",
    "uniqueness",
    "smallest",
)
"""The figures of a risk, in the order of a report."""


def _meaning(body: Mapping[str, Any], locale: str) -> str:
    after = body["risk"]["after"]
    if not after["smallest"]:
        return ""
    return word("meaning", locale).format(others=after["smallest"][0] - 1, risk=f"{100 * after['prosecutor']:.3g} %")


def _facts(body: Mapping[str, Any], locale: str) -> list[str]:
    gone = body["suppressed"]
    rows = [
        ("rows", body["rows"]),
        ("suppressed", f"{gone['rows']} ({word('limit', locale)}: {gone['limit']}; {gone['shown_as']})"),
        ("cells", gone["cells"]),
        ("loss", f"{body['utility']['ncp_percent']:.4g} %"),
        ("order", body["order"]),
        ("policy", body["policy"][:16]),
        ("input", input_text(body["input"], locale)),
    ]
    return [table(("", ""), ((word(name, locale), text(value)) for name, value in rows))]


def input_text(about: Mapping[str, Any], locale: str) -> str:
    """The fingerprint of what came in, or why there is none."""
    if about["absent"]:
        return word(about["absent"], locale)
    return f"{about['key']}:{about['fingerprint']}"


def _columns(body: Mapping[str, Any], locale: str) -> str:
    lines = []
    for name, role in body["columns"].items():
        level = body["levels"].get(name)
        lost = body["utility"]["by_column"].get(name)
        lines.append(
            (
                name,
                word(role, locale),
                f"{level['level']} / {level['of']}" if level else "",
                text(body["nulls"]["by_column"].get(name, "")),
                f"{lost:.4g} %" if lost is not None else "",
            )
        )
    return table([word(name, locale) for name in ("column", "role", "level", "nulls", "lost")], lines)


def _models(models: Iterable[Mapping[str, Any]], locale: str) -> str:
    header = [word(name, locale) for name in ("model", "asked", "before", "after", "second_look")]
    return table(
        header,
        (
            (
                phrase(one["type"], one["asked"], locale),
                _figures(one["asked"]),
                _figures(one["before"]),
                _figures(one["after"]),
                word(one["second_look"], locale),
            )
            for one in models
        ),
    )


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {text(value)}" for name, value in figures.items())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def text(value: Any) -> str:
    """A figure in a cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(text(one) for one in value)
    return str(value)
