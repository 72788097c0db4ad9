"""The acts of `demo --release`: a hospital looks at its table, makes it fit to leave, and delivers it to a researcher.

Everything is done by the commands that everybody uses. The people are made up; their identity numbers are of the right
form, check digits included, so that there is something to find.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from privcompute.cli.app import settings
from privcompute.cli.output import note, table
from privcompute.errors import PrivacyError

if TYPE_CHECKING:
    import pyarrow as pa

    from privcompute.cli.stage import Stage

RELEASE: Final = """version = 1

[columns]
national_id = { role = "direct" }
name        = { role = "direct" }
mobile      = { role = "direct" }
age         = { role = "qi", hierarchy = { type = "interval", widths = [5, 10, 20], range = [0, 100] } }
sex         = { role = "qi" }
district    = { role = "qi", hierarchy = { type = "division", levels = ["county", "city", "province"] } }
disease     = { role = "sensitive" }

[[models]]
type = "k-anonymity"
k = 10

[[models]]
type = "distinct-l-diversity"
l = 3

[search]
metric = "loss"
suppression_limit = 0.02
"""
MASK: Final = """version = 1

[columns]
national_id = { role = "direct", transform = { op = "token", key = "k1", domain = "person", type = "cn_id" } }
name        = { role = "direct", transform = { op = "mask", keep = 1 } }
mobile      = { role = "direct", transform = { op = "fpe", key = "k2", type = "cn_mobile", keep_prefix = 3 } }
age         = { transform = { op = "bucket", width = 10 } }

[desensitize]
others = "keep"
"""
_FAMILIES: Final = "王李张刘陈杨赵黄周吴徐孙"
_GIVEN: Final = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平"
_DISTRICTS: Final = ("110101", "110105", "110108", "310101", "310104", "310115", "440103", "440106", "440304", "440305")
_DISEASES: Final = ("hypertension", "diabetes", "asthma", "gastritis", "migraine", "fracture", "none")


def people(rows: int) -> pa.Table:
    """Made-up patients; the same on every machine."""
    import numpy as np
    import pyarrow as pa

    from privcompute.anonymize.identifiers.checksums import id_check
    from privcompute.randomness import public_stream

    stream = public_stream(rows.to_bytes(8, "big"), "release demo")

    def drawn(choices: int) -> list[int]:
        return [int(one) for one in stream.uint64((rows,)) % np.uint64(choices)]

    age = [(a * b) // 97 for a, b in zip(drawn(98), drawn(98), strict=True)]
    sex, place, order = drawn(2), drawn(len(_DISTRICTS)), drawn(500)
    month, day = drawn(12), drawn(28)
    identities = []
    for i in range(rows):
        serial = 2 * order[i] + 1 - sex[i]
        first = f"{_DISTRICTS[place[i]]}{2024 - age[i]}{month[i] + 1:02d}{day[i] + 1:02d}{serial:03d}"
        identities.append(first + id_check(first))
    names = zip(drawn(len(_FAMILIES)), drawn(len(_GIVEN)), drawn(len(_GIVEN)), strict=True)
    return pa.table(
        {
            "national_id": identities,
            "name": [_FAMILIES[a] + _GIVEN[b] + _GIVEN[c] for a, b, c in names],
            "mobile": [f"13{a:09d}" for a in drawn(10**9)],
            "age": pa.array(age, pa.int32()),
            "sex": ["mf"[one] for one in sex],
            "district": [_DISTRICTS[one] for one in place],
            "disease": [_DISEASES[one] for one in drawn(len(_DISEASES))],
        }
    )


class ReleaseDemo:
    """The acts, on a stage with a hospital that has `patients` and a researcher."""

    def __init__(self, stage: Stage, place: Path) -> None:
        self._stage = stage
        self._place = place / "release"
        self._place.mkdir()
        self._source = str(stage.table_of("hospital"))
        self._rules = {name: self._place / f"{name}.toml" for name in ("release", "mask")}
        self._rules["release"].write_text(RELEASE, encoding="utf-8")
        self._rules["mask"].write_text(MASK, encoding="utf-8")

    def run(self) -> dict[str, Any]:
        """All acts; what `--json` prints."""
        grades = self._look()
        self._anonymize()
        self._desensitize()
        refusals = self._refused()
        sent = self._deliver()
        equal = self._written(sent)
        return {
            "grades": grades,
            "refused": refusals,
            "delivery": {name: sent["delivery"][name] for name in ("rows", "bytes", "sha256", "policy")},
            "risk": {when: sent["report"]["risk"][when] for when in ("before", "after")},
            "picture": str(self._place / "report.svg"),
            "equal": equal,
        }

    def _look(self) -> dict[str, str]:
        columns = self._say("hospital", "profile", self._source)["columns"]
        grades = {one["name"]: f"general-{one['grade']['GB/T 43697']['sub_level']}" for one in columns}
        grades["disease"] = "general-4"  # the owner knows better than the first guess
        found = [(c["name"], ", ".join(k["kind"] for k in c["found"]) or "-", grades[c["name"]]) for c in columns]
        _show(table(("column", "found", "grade, as the owner confirms it"), found))
        words = [word for name, grade in grades.items() for word in ("--grade", f"{name}={grade}")]
        self._say("hospital", "dataset", "edit", "patients", *words)
        _show(f"{len(grades)} columns have a grade")
        return grades

    def _anonymize(self) -> None:
        out, report = self._place / "released.parquet", self._place / "report.md"
        policy = str(self._rules["release"])
        plan = self._say("hospital", "anonymize", self._source, "--policy", policy, "--explain")
        _show(f"{plan['nodes']} ways to generalize; must hold: {'; '.join(plan['models'])}")
        words = ("anonymize", self._source, "--policy", policy, "-o", str(out), "--report", str(report))
        body = self._say("hospital", *words)
        before, after = body["risk"]["before"], body["risk"]["after"]
        named = [n for n in before if isinstance(before[n], int | float) and n in after]
        shown = [(n.replace("_", " "), _short(before[n]), _short(after[n])) for n in named]
        _show(table(("risk", "before", "after"), shown))
        _show(f"suppressed {body['suppressed']['rows']:,} rows; report with picture: {report}")

    def _desensitize(self) -> None:
        out = self._place / "masked.csv"
        words = ("--policy", str(self._rules["mask"]), "-o", str(out), "--make-keys")
        self._say("hospital", "desensitize", self._source, *words)
        lines = out.read_text(encoding="utf-8").splitlines()[:4]
        _show("\n".join(line.replace('"', "") for line in lines))

    def _refused(self) -> list[str]:
        """What the grades do not let leave: tokens of identity numbers, to another organisation, for research."""
        try:
            self._release("mask")
        except PrivacyError as error:
            _show(f"refused: {error.message}")
            return [error.code]
        return []

    def _deliver(self) -> dict[str, Any]:
        self._say("researcher", "releases", "accept", "hospital")
        _show("tables of hospital are taken as they come")
        sent = self._release("release")
        _show(f"delivered {sent['delivery']['rows']:,} rows, {sent['delivery']['bytes']:,} bytes, and signed for")
        return sent

    def _release(self, policy: str) -> dict[str, Any]:
        words = ("--to", "researcher", "--policy", str(self._rules[policy]), "--purpose", "research", "--yes")
        return self._say("hospital", "release", "patients", *words)

    def _written(self, sent: dict[str, Any]) -> bool:
        """The researcher's file holds what the hospital's `anonymize` wrote, and no table but that one came."""
        import pyarrow.parquet as parquet

        (one,) = self._say("researcher", "releases", "list")["tables"]
        names = ("id", "from", "dataset", "kind", "purpose", "rows", "state")
        _show(table(names, [tuple(one[name] for name in names)]))
        out = self._place / "received.parquet"
        self._say("researcher", "receive", one["id"], "-o", str(out))
        received = parquet.read_table(out)
        mine = parquet.read_table(self._place / "released.parquet")
        _show(table(received.column_names, [tuple(row.values()) for row in received.slice(0, 3).to_pylist()]))
        equal = received.to_pylist() == mine.to_pylist() and one["sha256"] == sent["delivery"]["sha256"]
        _show("what arrived is what was released" if equal else "NOT WHAT WAS RELEASED: please report this")
        return bool(equal)

    def _say(self, party: str, *words: str) -> dict[str, Any]:
        """Run a command, shown as its party types it."""
        if not settings().json:
            typed = " ".join(word.replace(str(self._place), ".").replace(self._source, "patients") for word in words)
            click.echo(f"\n{party}$ privcompute {typed}\n")
        return self._stage.command(party, *words)


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


def _show(text: str) -> None:
    if not settings().json:
        click.echo(text)


def hint(keep: Path | None) -> None:
    """Where the report stays, or how to keep it."""
    if keep is None:
        note("the report and its picture are gone with the demo's directory: --keep DIR keeps them")
