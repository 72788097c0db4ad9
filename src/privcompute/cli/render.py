"""A plan and a release as text for people, from the same objects that `--json` prints."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from privcompute.cli.output import printable, table


def plan_text(body: Mapping[str, Any]) -> str:
    """The plan, its cost and its disclosure report."""
    lines = [sql_text(body["sql"]), ""]
    for side in body.get("sides") or body.get("members", ()):
        uses = ", ".join(f"{column} ({use})" for column, use in side["uses"])
        lines.append(
            f"  {side['party']}.{side['dataset']}: {side['distinct_keys']:,} keys"
            f" ({', '.join(side['keys'])}); uses {uses or 'its keys only'}"
        )
    lines += _union_lines(body) if body.get("scheme") else _join_lines(body)
    lines += [
        f"  plan {body['plan_digest'][:16]}",
        "",
        *learned_lines(body["disclosure"], "will learn"),
        "",
        cost_line(body["cost"]),
    ]
    if body.get("limits"):
        limits = body["limits"]
        lines.append(
            f"limits: {limits['memory_mib']} MiB for tables, {limits['credit_mib']} MiB of early messages,"
            f" {limits['keys']:,} keys, {limits['step_seconds']:g} s a step, {limits['run_seconds']:g} s a run"
        )
    return _clean(lines)


def _join_lines(body: Mapping[str, Any]) -> list[str]:
    return [
        f"  reveal: {body['reveal']} ({_REVEAL[body['reveal']]})",
        f"  result goes to: {', '.join(body['receivers'])}",
        f"  a cell needs at least {_people(body['minimum'])} on each side",
    ]


def _union_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    for group in body["groups"]:
        values = ["NULL" if value is None else str(value) for value in group["values"]]
        more = f", … ({len(values)} in all)" if len(values) > _SHOWN_VALUES else ""
        lines += _wrapped(f"  groups of {group['sql']}: {', '.join(values[:_SHOWN_VALUES])}{more}")
    keyed = f"; {body['key_holder']} holds the key" if body["key_holder"] else ""
    return [
        *lines,
        f"  scheme: {body['scheme']} ({_SCHEME[body['scheme']]}{keyed})",
        f"  collector: {body['asker']}; result goes to: {', '.join(body['receivers'])}",
        f"  a cell needs at least {_people(body['minimum'])}, and at least {body['min_holders']} holders",
        f"  finishes with {body['quorum']} of {len(body['members'])} holders or more",
    ]


_SHOWN_VALUES = 12
_SCHEME = {
    "masks": "double masks: nobody sees one holder's numbers",
    "paillier": "who collects cannot decrypt, who can decrypt sees masked sums only",
}
_REVEAL = {
    "nothing": "not even the number of matches is learned",
    "size": "the number of matches is learned",
    "matches": "both learn which of their own rows matched",
}


def learned_lines(learned: Mapping[str, Sequence[Mapping[str, Any]]], verb: str) -> list[str]:
    """What each party learns, one paragraph a fact; equal facts (the two sums of an average) once, with a count."""
    lines = []
    for party, facts in learned.items():
        lines.append(f"{party} {verb}" + (":" if facts else " nothing"))
        times = Counter(_fact(fact) for fact in facts)
        for text, count in times.items():
            lines += _wrapped(f"  - {text}" + (f" ({count} of them)" if count > 1 else ""))
    return lines


def _fact(fact: Mapping[str, Any]) -> str:
    size = f" [{fact['size']} bits]" if fact.get("size") is not None else ""
    return f"{fact['what']}{size}" + (f": {fact['why']}" if fact["why"] else "")


def _wrapped(text: str) -> list[str]:
    width = max(60, min(120, shutil.get_terminal_size((110, 24)).columns))
    return textwrap.wrap(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def cost_line(cost: Mapping[str, Any]) -> str:
    """The estimate in one line."""
    return (
        f"estimate: {bytes_text(cost['bytes_sent'])} sent, {bytes_text(cost['bytes_received'])} received,"
        f" {cost['rounds']} rounds, {cost['seconds']:.1f} s"
    )


def release_text(body: Mapping[str, Any]) -> str:
    """The result with its bounds, what everybody learned, and what it cost."""
    lines = []
    hidden = body["suppressed_cells"]
    if body.get("holders"):
        lines.append(f"over the rows of {', '.join(body['holders'])}")
    lines += [f"without {party} ({reason})" for party, reason in (body.get("dropped") or {}).items()]
    if body["columns"] and (body["rows"] or not hidden):
        lines += table(body["columns"], body["rows"]).splitlines()
    elif not body["columns"]:
        lines.append(f"The result went to {', '.join(body['receivers'])}; this node is no receiver.")
    if hidden:
        cells = "1 cell is" if hidden == 1 else f"{hidden} cells are"
        lines.append(f"{cells} not shown: too few people, or none.")
    bounds = {name: bound for name, bound in body["error_bound"].items() if bound}
    if bounds:
        lines.append("at most off by: " + ", ".join(f"{name} {bound:.2g}" for name, bound in bounds.items()))
    elif body["rows"]:
        lines.append("exact")
    lines += ["", *learned_lines(body["learned"], "learned"), "", spent_line(body)]
    if body.get("release"):
        lines.append(f"kept as release {body['release']}")
    return _clean(lines)


def spent_line(body: Mapping[str, Any]) -> str:
    """What a run took, in one line."""
    return (
        f"{bytes_text(body['bytes_sent'])} sent, {bytes_text(body['bytes_received'])} received,"
        f" {body['rounds']} rounds, {body['seconds']:.1f} s ({_mode(body)})"
    )


def _mode(body: Mapping[str, Any]) -> str:
    return f"scheme: {body['scheme']}" if body.get("scheme") else f"reveal: {body['reveal']}"


def bytes_text(number: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.2f} GB"


def sql_text(sql: str) -> str:
    """The SQL with a new line before FROM, JOIN and WHERE; texts in quotes stay as they are."""
    parts = _QUOTED.split(" ".join(sql.split()) if "'" not in sql and '"' not in sql else sql.strip())
    broken = "".join(part if i % 2 else _CLAUSE.sub(r"\n\1", part) for i, part in enumerate(parts))
    return "\n".join("  " + line.strip() for line in broken.splitlines() if line.strip())


_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")
_CLAUSE = re.compile(r"\s+(FROM|JOIN|WHERE|GROUP BY|ORDER BY)\b")


def _clean(lines: Iterable[str]) -> str:
    """Names and texts may come from a peer: no control characters reach the terminal."""
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def _people(count: int) -> str:
    return "1 contributing person" if count == 1 else f"{count} contributing people"
