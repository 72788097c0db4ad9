"""Tables that were sent and received, for people and as JSON. What a peer wrote is shown without control characters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from privcompute.cli.output import printable, table

if TYPE_CHECKING:
    from privcompute.node.delivery.tables import ReceivedTable, SentTable


def delivery_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as its receiver, or its owner before it leaves, reads it."""
    columns = ", ".join(f"{printable(name)} ({printable(kind)})" for name, kind in manifest["columns"])
    what = f"{printable(manifest['sender'])}.{printable(manifest['dataset'])} for {printable(manifest['receiver'])}"
    lines = [
        f"{what}: {manifest['kind']}, for {manifest['purpose']}",
        f"  {manifest['rows']:,} rows, {manifest['bytes']:,} bytes, SHA-256 {manifest['sha256']}",
        f"  columns: {columns}",
        f"  policy {manifest['policy']}",
    ]
    report = manifest["report"]
    return "\n".join(lines + _report(json.loads(report) if isinstance(report, str) else report))


def _report(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for model in _list(report.get("models")):
        lines.append(
            f"  {_short(model.get('type'))}: asked {_short(model.get('asked'))}, reached {_short(model.get('after'))}"
        )
    if isinstance(suppressed := report.get("suppressed"), dict):
        lines.append(f"  suppressed rows: {_short(suppressed.get('rows'))}")
    if isinstance(risk := report.get("risk"), dict):
        lines.append(
            "  risk: " + ", ".join(f"{printable(name)} {_short(value)}" for name, value in sorted(risk.items()))
        )
    if isinstance(columns := report.get("columns"), dict):
        lines.append("  done: " + ", ".join(f"{printable(name)} {_short(how)}" for name, how in columns.items()))
    return lines


def rules_text(rules: list[dict[str, str]]) -> str:
    """Why each column may leave."""
    rows = [(one["column"], one["grade"] or "-", one["as"], one["least"]) for one in rules]
    return table(("column", "grade", "leaves as", "at least"), rows)


def table_json(one: ReceivedTable) -> dict[str, Any]:
    """A received table."""
    return {
        "id": one.id,
        "state": one.state,
        "since": _when(one.at),
        **_about(one.manifest),
        "from": one.manifest.sender,
    }


def table_row(one: ReceivedTable) -> tuple[Any, ...]:
    """The same as a row of a table for people."""
    return (one.id, one.manifest.sender, _when(one.at), *_row(one.manifest), one.state)


def sent_json(one: SentTable) -> dict[str, Any]:
    """A table that was sent."""
    return {"to": one.manifest.receiver, "state": one.state, "since": _when(one.at), **_about(one.manifest)}


def sent_row(one: SentTable) -> tuple[Any, ...]:
    """The same as a row of a table for people."""
    return (one.manifest.receiver, _when(one.at), *_row(one.manifest), one.state)


def _about(manifest: Any) -> dict[str, Any]:
    names = ("dataset", "kind", "purpose", "policy", "rows", "bytes", "sha256")
    return {name: getattr(manifest, name) for name in names}


def _row(manifest: Any) -> tuple[Any, ...]:
    return (manifest.dataset, manifest.kind, manifest.purpose, manifest.rows)


def _when(seconds: float) -> str:
    from privcompute.cli.consent import when

    return when(seconds)


def _list(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return printable(text if len(text) <= 120 else text[:119] + "…")
