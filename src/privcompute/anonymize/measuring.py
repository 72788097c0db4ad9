"""Measuring a table as it is: every model's figures and every risk, without a policy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize import frame as frames
from privcompute.anonymize.classes import Classes, Sensitive, Tree
from privcompute.anonymize.columns import quasi_identifier
from privcompute.anonymize.encode import encode, tidy
from privcompute.anonymize.hierarchy.tree import Hierarchy
from privcompute.anonymize.markdown import RISKS, table, text
from privcompute.anonymize.models import (
    AlphaKAnonymity,
    BetaLikeness,
    DeltaDisclosure,
    DeltaPresence,
    DistinctLDiversity,
    EntropyLDiversity,
    Figures,
    KAnonymity,
    KMap,
    Model,
    RecursiveCLDiversity,
    TCloseness,
)
from privcompute.anonymize.policy import MARKER
from privcompute.anonymize.report import rounded
from privcompute.anonymize.risk import Risk, risk, uniques_in_population
from privcompute.anonymize.search.tables import Tables
from privcompute.anonymize.uniqueness import Estimator
from privcompute.anonymize.words import word
from privcompute.errors import UsageError

_L = range(2, 7)


@dataclass(frozen=True)
class Measured:
    """What a table reaches.

    Attributes:
        rows: of the table.
        suppressed: of them, rows that show nothing but the marker; they are no class.
        nulls: NULLs in each quasi-identifier; a NULL is a label of its own.
        models: figures by model; those of a sensitive column are under `model(column)`.
        risk: of the classes.
        population_uniqueness: by estimator, where the population's size is known.
    """

    rows: int = field(repr=False)
    suppressed: int
    nulls: Mapping[str, int]
    models: Mapping[str, Figures]
    risk: Risk
    population_uniqueness: Mapping[Estimator, float | None]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data; doubles to 12 significant digits."""
        found: dict[str, Any] = rounded(asdict(self))
        return found

    def to_json(self) -> str:
        """Sorted keys, two blanks of indent."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self, locale: str = "en") -> str:
        """For people, in `en` or `zh-CN`."""
        body = self.to_dict()
        lines = [(name, ", ".join(f"{k} = {text(v)}" for k, v in one.items())) for name, one in body["models"].items()]
        risks = [(word(name, locale), text(body["risk"][name])) for name in RISKS]
        risks += [(f"{word('uniqueness', locale)} ({n})", text(v)) for n, v in body["population_uniqueness"].items()]
        parts = [
            f"# {word('measure_title', locale)}",
            f"{word('rows', locale)}: {self.rows}; {word('suppressed', locale)}: {self.suppressed}",
            f"## {word('models', locale)}",
            table((word("model", locale), ""), lines),
            f"## {word('risk', locale)}",
            table((word("risk", locale), ""), risks),
        ]
        return "\n\n".join(parts) + "\n"


def measure(
    frame: Any,
    *,
    qi: Sequence[str],
    sensitive: Sequence[str] = (),
    hierarchies: Mapping[str, Hierarchy] | None = None,
    population: Any = None,
    population_rows: int | None = None,
    marker: str = MARKER,
) -> Measured:
    """Measure a table.

    Args:
        frame: whatever `frame.load` reads; it is not changed.
        qi: its quasi-identifiers, as they are.
        sensitive: its sensitive columns.
        hierarchies: of sensitive columns, for t-closeness with the hierarchical distance.
        population: a table of which `frame` is a part, with the same quasi-identifiers.
        population_rows: how many rows the population has, where only that is known.
        marker: what a suppressed row shows in all quasi-identifiers.

    Raises:
        UsageError: `no_such_column`, `bad_column`, `population_lacks_rows`.
    """
    data = frames.load(frame).table
    if not qi:
        raise UsageError("no quasi-identifier is named", code="no_such_column", remedy="name some with --qi")
    for name in (*qi, *sensitive):
        if name not in data.column_names:
            raise UsageError(
                f"the table has no column {name!r}", code="no_such_column", remedy=", ".join(data.column_names[:20])
            )
    rows = data.num_rows
    columns: dict[str, Any] = {name: tidy(data.column(name)) for name in (*qi, *sensitive)}
    shown = pa.table(columns).filter(_shown([columns[name] for name in qi], marker))
    others = None if population is None else frames.load(population).table
    classes = _classes(shown, others, qi, sensitive, hierarchies or {})
    found = measured(classes, sensitive, hierarchies or {})
    size = population_rows if others is None else others.num_rows
    return Measured(
        rows,
        rows - shown.num_rows,
        {name: columns[name].null_count for name in qi},
        found,
        risk(classes),
        {} if size is None or not len(classes) else uniques_in_population(classes, size),
    )


def measured(classes: Classes, sensitive: Sequence[str], hierarchies: Mapping[str, Hierarchy]) -> dict[str, Figures]:
    """The figures of all models."""
    models: dict[str, Model] = {"k-anonymity": KAnonymity(1)}
    if classes.sampled:
        models |= {"k-map": KMap(1), "delta-presence": DeltaPresence(0, 1)}
    for name in sensitive:
        models |= {
            f"alpha-k-anonymity({name})": AlphaKAnonymity(name, 1.0, 1),
            f"distinct-l-diversity({name})": DistinctLDiversity(name, 1),
            f"entropy-l-diversity({name})": EntropyLDiversity(name, 1),
            **{f"recursive-c{n}-diversity({name})": RecursiveCLDiversity(name, 1, n) for n in _L},
            f"t-closeness-equal({name})": TCloseness(name, 1),
            f"t-closeness-ordered({name})": TCloseness(name, 1, "ordered"),
            f"beta-likeness({name})": BetaLikeness(name, 1),
            f"enhanced-beta-likeness({name})": BetaLikeness(name, 1, enhanced=True),
            f"delta-disclosure({name})": DeltaDisclosure(name, 1, "2"),
        }
        if name in hierarchies:
            models[f"t-closeness-hierarchical({name})"] = TCloseness(name, 1, "hierarchical")
    return {name: model.measure(classes) for name, model in models.items()}


def _shown(columns: Sequence[pa.ChunkedArray[Any]], marker: str) -> pa.ChunkedArray[Any] | pa.Array[Any]:
    """Which rows show more than the marker."""
    rows = len(columns[0])
    hidden: Any = pa.array(np.ones(rows, np.bool_))
    for column in columns:
        if not pa.types.is_large_string(column.type):
            return pa.array(np.ones(rows, np.bool_))
        same: Any = pc.equal(column, pa.scalar(marker, pa.large_string()))
        hidden = pc.and_(hidden, pc.fill_null(same, False))
    out: pa.ChunkedArray[Any] = pc.invert(hidden)
    return out


def _classes(
    shown: pa.Table,
    others: pa.Table | None,
    qi: Sequence[str],
    sensitive: Sequence[str],
    hierarchies: Mapping[str, Hierarchy],
) -> Classes:
    coded = []
    for name in qi:
        column = shown.column(name)
        if others is not None:
            if name not in others.column_names:
                raise UsageError(f"the population has no column {name!r}", code="no_such_column")
            more = tidy(others.column(name)).cast(column.type)
            column = pa.chunked_array([*column.chunks, *more.chunks], type=column.type)
        found = encode(name, column)
        coded.append(quasi_identifier(name, found.codes, found.texts, Hierarchy((found.texts,))))
    mine = None if others is None else np.arange(shown.num_rows + others.num_rows) < shown.num_rows
    protected = {}
    for name in sensitive:
        found = encode(name, shown.column(name))
        codes = np.concatenate([found.codes.astype(np.int64), np.zeros(0 if others is None else others.num_rows, int)])
        tree = None
        if name in hierarchies:
            fitted = quasi_identifier(name, found.codes, found.texts, hierarchies[name])
            tree = Tree(np.array(fitted.maps, np.int64), tuple(len(labels) for labels in fitted.labels))
        protected[name] = Sensitive(codes, max(1, len(found.values)), tree)
    tables = Tables(coded, protected, mine, None if mine is None else ~mine)
    return tables.check((0,) * len(coded)).classes
