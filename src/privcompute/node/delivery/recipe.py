"""How a policy makes a table fit to leave: what carries each column, and the table itself."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from privcompute.errors import UsageError
from privcompute.grades import Carried, RuleTable, Technique, parse_grade
from privcompute.node import datasets
from privcompute.node.delivery.manifest import Kind

if TYPE_CHECKING:
    import pyarrow as pa

    from privcompute.anonymize import Policy
    from privcompute.anonymize.mask import MaskPolicy
    from privcompute.node.catalogue import Dataset
    from privcompute.node.config import Config

OPERATORS: Final[Mapping[str, Technique]] = {
    "keep": Technique.PLAIN,
    "mask": Technique.MASK,
    "redact": Technique.MASK,
    "bucket": Technique.MASK,
    "noise": Technique.MASK,
    "date_shift": Technique.MASK,
    "token": Technique.TOKEN,
    "fpe": Technique.TOKEN,
    "surrogate": Technique.TOKEN,
}
"""What an operator counts as. One that is not named here counts as plain."""
MOST_VISIBLE: Final = 10
"""Signs that a mask may leave: six and four of a bank card are the most that is customary."""


@dataclass(frozen=True)
class Recipe:
    """A checked policy, as a release uses it.

    Attributes:
        kind: "anonymized" if it states models, else "desensitized".
        policy: what `anonymize` reads, or what `desensitize` reads.
        digest: SHA-256 of the policy, hexadecimal.
        keys: ids of the keys that it needs.
    """

    kind: Kind
    policy: Policy | MaskPolicy
    digest: str
    keys: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a policy file.

        Raises:
            UsageError: `no_such_file`; `policy`, naming the field.
        """
        from privcompute.anonymize.mask import load_policy

        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read the policy {path}: {error.strerror}", code="no_such_file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise UsageError(f"{path} is not TOML", code="policy", remedy="docs/anonymize.md shows a policy") from None
        if "models" not in document:
            mask = load_policy(path)
            return cls("desensitized", mask, mask.digest, mask.keys)
        from privcompute.anonymize import Policy

        policy = Policy.load(path)
        return cls("anonymized", policy, policy.digest, policy.keys)

    def full_digest(self, purpose: str) -> str:
        """Of all that an unfinished delivery has to agree on to be continued."""
        return hashlib.sha256(json.dumps([self.kind, self.digest, purpose]).encode()).hexdigest()

    def carried(self, names: Sequence[str], grades: Mapping[str, str], table: RuleTable) -> list[Carried]:
        """How each of these columns would leave; those that stay are left out.

        Args:
            names: columns of the table.
            grades: that their owner confirmed.
            table: says which k counts.
        """
        by_name = {name: parse_grade(text) for name, text in grades.items()}
        ways = self._ways(names, table)
        return [
            Carried(name, how, by_name.get(name), tuple(by_name.get(other) for other in beside))
            for name, (how, beside) in ways.items()
            if name in names
        ]

    def _ways(self, names: Sequence[str], table: RuleTable) -> dict[str, tuple[Technique, tuple[str, ...]]]:
        from privcompute.anonymize import Policy
        from privcompute.anonymize.mask import transforms

        if not isinstance(self.policy, Policy):
            found = {name: (_technique(one), one.beside) for name, one in self.policy.transforms.items()}
            rest = {} if self.policy.others == "drop" else {n: (Technique.PLAIN, ()) for n in names if n not in found}
            return {**found, **rest}
        operators = transforms(self.policy.document)
        hidden = Technique.K_ANONYMOUS if _group_size(self.policy) >= table.least_k else Technique.PLAIN
        ways: dict[str, tuple[Technique, tuple[str, ...]]] = {}
        for name, rule in self.policy.columns.items():
            if name in operators:
                ways[name] = (_technique(operators[name]), operators[name].beside)
            elif rule.role != "direct":
                ways[name] = (hidden if rule.role in ("qi", "sensitive") else Technique.PLAIN, ())
        if self.policy.output.others == "keep":
            ways |= {name: (Technique.PLAIN, ()) for name in names if name not in self.policy.columns}
        return ways

    def tables(self, config: Config, dataset: Dataset, keys: Path | None) -> Made:
        """The table that may leave, made while it is read. Blocks.

        Raises:
            PrivcomputeError: what the policy's part says.
        """
        from privcompute.anonymize import Policy
        from privcompute.anonymize.mask import Keys, load_keys

        at_hand = load_keys(keys, self.keys) if self.keys else Keys({})
        if isinstance(self.policy, Policy):
            released = self.policy.apply(datasets.opened(dataset), keys=at_hand)
            return Made(iter((released.frame,)), lambda: dict(released.report.body))
        return _desensitized(self.policy, at_hand, config, dataset)


@dataclass(frozen=True)
class Made:
    """A table in parts, and its report once the last part was taken."""

    parts: Iterator[pa.Table] = field(repr=False)
    report: Callable[[], dict[str, Any]] = field(repr=False)


def _desensitized(policy: MaskPolicy, keys: Any, config: Config, dataset: Dataset) -> Made:
    from privcompute.anonymize.mask import Desensitizer
    from privcompute.anonymize.mask.flow import csv_names
    from privcompute.tables.engine import Limits, streamed
    from privcompute.tables.open import is_csv, open_source

    # Of a CSV file every column is read as text: a guessed type would take leading zeros off.
    source = (
        open_source(dataset.source, keys=csv_names(dataset.source))
        if is_csv(dataset.source)
        else datasets.opened(dataset)
    )
    names = tuple(one.name for one in source.schema())
    worker = Desensitizer(policy, keys, names)

    def parts() -> Iterator[pa.Table]:
        import pyarrow as pa

        # One thread: then rows come in the order in which they lie in the source, every time.
        limits = Limits(memory=config.limits.memory_mib << 20, threads=1)
        with source.relation(names, limits=limits) as reader:
            schema, some = reader.schema, False
            for batch in streamed(reader, source.place):
                some = True
                yield worker.batch(batch)
            if not some:
                yield worker.batch(pa.Table.from_batches([], schema=schema))

    return Made(parts(), lambda: worker.report.to_json())


def _technique(operator: Any) -> Technique:
    shown = _SHOWS.get(operator.op)
    if shown is not None and shown(operator):
        return Technique.PLAIN
    return OPERATORS.get(operator.op, Technique.PLAIN)


def _fine_buckets(bucket: Any) -> bool:
    if bucket.width is not None:
        return Decimal(str(bucket.width)) <= 1
    edges = [Decimal(str(one)) for one in bucket.edges or ()]
    return bool(edges) and max(b - a for a, b in pairwise(edges)) <= 1


_SHOWS: Final[Mapping[str, Callable[[Any], bool]]] = {
    # A cell in which nothing is found leaves as it is.
    "redact": lambda one: bool(one.found),
    # Of whole numbers such an interval holds one.
    "bucket": _fine_buckets,
    # Whole numbers are read through it.
    "noise": lambda one: one.scale * Decimal(str(one.step)) < 1,
    # All but the check digit of an identity number, say; or a tail that may begin with the first sign.
    "mask": lambda one: (
        (one.keep or 0) + (one.keep_last or 0) > MOST_VISIBLE or any(sign.isalnum() for sign in one.keep_from)
    ),
}
"""With which parameters an operator leaves values, or enough of them, as they are: then it counts as plain."""


def _group_size(policy: Policy) -> int:
    from privcompute.anonymize.prepare import group_size

    try:
        return group_size(policy)
    except UsageError:  # no model says k
        return 1


def shown_report(kind: Kind, report: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """The part of a report that the receiver gets: what holds of the rows that leave, nothing of those they were.

    Args:
        kind: of the release.
        report: its owner's.
        columns: that leave.
    """
    if kind == "desensitized":
        return {"columns": {one["name"]: one["op"] for one in report["columns"] if one["name"] in columns}}
    models = [{name: one[name] for name in ("type", "asked", "after")} for one in report["models"]]
    return {
        "tool": report["tool"],
        "columns": {name: role for name, role in report["columns"].items() if name in columns},
        "levels": {name: level for name, level in report["levels"].items() if name in columns},
        "models": models,
        "suppressed": {name: report["suppressed"][name] for name in ("rows", "shown_as")},
        "risk": report["risk"]["after"],
        "utility": report["utility"],
    }
