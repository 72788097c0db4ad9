"""A release from end to end: kinds of frames, nulls, order, rows, and that nothing leaves that does not hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.anonymize import Policy, measure
from privcompute.anonymize.frame import load, write
from privcompute.anonymize.hierarchy import functions
from privcompute.anonymize.hierarchy.spec import HierarchySpec
from privcompute.anonymize.policy import MARKER, ColumnRule
from privcompute.anonymize.recheck import Recheck
from privcompute.anonymize.search.exact import Exact
from privcompute.errors import IntegrityError, PrivacyError, UsageError

POLICY = """
version = 1
[columns]
name = { role = "direct" }
age = { role = "qi", hierarchy = { type = "interval", widths = [5, 10, 20], range = [0, 99] } }
city = { role = "qi" }
illness = { role = "sensitive" }
visits = { role = "insensitive" }
[[models]]
type = "k-anonymity"
k = 2
[search]
suppression_limit = 0.2
"""

SMALL = """version = 1
[columns]
a = {{ role = "qi" }}
[[models]]
type = "k-anonymity"
k = {k}
"""


def people(rows: int = 60, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "name": [f"person {i}" for i in range(rows)],
        "age": rng.integers(18, 60, rows),
        "city": rng.choice(["Ōsaka", "深圳", "Köln"], rows).tolist(),
        "illness": rng.choice(["flu", "asthma", "none"], rows).tolist(),
        "visits": rng.integers(0, 9, rows),
    }
    return pa.table(columns)


def rows_of(table: Any) -> list[tuple[Any, ...]]:
    arrow = load(table).table
    return list(zip(*(arrow.column(name).to_pylist() for name in arrow.column_names), strict=True))


def groups(table: Any, *qi: str) -> Counter[tuple[Any, ...]]:
    arrow = load(table).table
    found = Counter(zip(*(arrow.column(name).to_pylist() for name in qi), strict=True))
    found.pop((MARKER,) * len(qi), None)
    return found


def test_a_release_holds_what_was_asked_and_tells_of_it() -> None:
    policy = Policy.from_text(POLICY)
    released = policy.apply(people())
    assert released.frame.column_names == ["age", "city", "illness", "visits"]
    assert released.frame.num_rows == 60
    assert min(groups(released.frame, "age", "city").values()) >= 2
    body = json.loads(released.report.to_json())
    assert body["search"]["state"] == "optimal"
    assert body["models"][0]["after"]["k"] >= 2 > body["models"][0]["before"]["k"]
    assert body["risk"]["after"]["prosecutor"] <= 0.5
    assert body["suppressed"]["rows"] <= 12


@pytest.mark.parametrize("kind", ["arrow", "batch", "reader", "pandas", "polars", "lazy", "duckdb", "csv", "parquet"])
def test_every_kind_of_frame_gives_the_same_release(kind: str, tmp_path: Path) -> None:
    table = people()
    path = tmp_path / f"t.{kind}"
    if kind in ("csv", "parquet"):
        write(table, path)
    made: dict[str, Any] = {
        "arrow": lambda: table,
        "batch": lambda: table.to_batches()[0],
        "reader": lambda: table.to_reader(),
        "pandas": lambda: table.to_pandas(),
        "polars": lambda: pl.from_arrow(table),
        "lazy": lambda: pl.from_arrow(table).lazy(),  # type: ignore[union-attr]  # a frame, for a table
        "duckdb": lambda: duckdb.connect().from_arrow(table),
        "csv": lambda: str(path),
        "parquet": lambda: path,
    }
    frame = made[kind]()
    released = Policy.from_text(POLICY).apply(frame).frame
    expected = Policy.from_text(POLICY).apply(table).frame
    assert rows_of(released) == rows_of(expected)
    wanted = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "lazy": pl.DataFrame}.get(kind, pa.Table)
    assert isinstance(released, wanted)


def test_the_callers_frame_stays_as_it_was() -> None:
    frame = people().to_pandas().iloc[::-1].query("age > 20")  # filtered, with a broken index
    before = frame.copy(deep=True)
    Policy.from_text(POLICY).apply(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("algorithm", ["exact", "mondrian-strict", "mondrian-relaxed", "cells"])
@settings(max_examples=25)
@given(data=st.data())
def test_the_order_of_rows_decides_nothing(algorithm: str, data: st.DataObject) -> None:
    table = people(data.draw(st.integers(2, 40)), data.draw(st.integers(0, 1000)))
    order = data.draw(st.permutations(range(table.num_rows)))
    text = POLICY.replace(
        "[search]\nsuppression_limit = 0.2",
        f'[search]\nalgorithm = "{algorithm}"\nsuppression_limit = 1.0\nmax_loss = 1.0',
    )
    released = []
    for one in (table, table.take(pa.array(order))):
        try:
            released.append(rows_of(Policy.from_text(text).apply(one).frame))
        except PrivacyError as error:
            released.append([(error.code,)])
    assert released[0] == released[1]


@pytest.mark.parametrize("algorithm", ["exact", "mondrian-strict", "mondrian-relaxed", "cells"])
@pytest.mark.parametrize("shown", ["blank", "mark", "drop"])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), rows=st.integers(4, 50), nulls=st.integers(0, 3))
def test_no_row_is_lost_or_invented(algorithm: str, shown: str, seed: int, rows: int, nulls: int) -> None:
    table = people(rows, seed)
    ages = [None if i < nulls else age for i, age in enumerate(table["age"].to_pylist())]
    table = table.set_column(1, "age", pa.array(ages, pa.int64()))
    text = POLICY.replace(
        "suppression_limit = 0.2", f'algorithm = "{algorithm}"\nsuppression_limit = 1.0\nmax_loss = 1.0'
    )
    policy = Policy.from_text(f'{text}\n[output]\nsuppressed = "{shown}"')
    try:
        released = policy.apply(table)
    except PrivacyError as error:
        assert error.code in ("nothing_left", "infeasible")  # noqa: PT017 - a refusal is one of two good ends
        return
    gone = released.report.body["suppressed"]["rows"]
    assert released.frame.num_rows == rows - (gone if shown == "drop" else 0)
    if shown == "mark":
        assert Counter(released.frame["visits"].to_pylist()) == Counter(table["visits"].to_pylist())
    else:
        left = Counter(v for v in released.frame["visits"].to_pylist() if v is not None)
        assert not left - Counter(table["visits"].to_pylist())
        assert left.total() == rows - gone
    assert all(size >= 2 for size in groups(released.frame, "age", "city").values())


def with_nulls() -> pa.Table:
    table = people(40)
    ages = [None if i % 10 == 0 else age for i, age in enumerate(table["age"].to_pylist())]
    return table.set_column(1, "age", pa.array(ages, pa.int64()))


@pytest.mark.parametrize("nulls", ["own-value", "wildcard", "suppress-row"])
def test_nulls_as_the_policy_says(nulls: str) -> None:
    policy = Policy.from_text(POLICY.replace("[columns]", f'[nulls]\nquasi_identifier = "{nulls}"\n[columns]'))
    released = policy.apply(with_nulls())
    body = released.report.body
    assert body["nulls"] == {"policy": nulls, "by_column": {"age": 4, "city": 0}}
    shown = released.frame["age"].to_pylist()
    assert len(shown) == 40
    if nulls == "suppress-row":
        assert body["suppressed"]["by_nulls"] == 4
        assert None not in shown
    if nulls == "own-value":
        assert body["models"][0]["after"]["k"] >= 2


def test_nulls_may_be_forbidden() -> None:
    policy = Policy.from_text(POLICY.replace("[columns]", '[nulls]\nquasi_identifier = "error"\n[columns]'))
    with pytest.raises(PrivacyError) as error:
        policy.apply(with_nulls())
    assert error.value.code == "null"
    assert "4 NULLs" in error.value.message


def test_nan_blanks_and_markers_are_nulls() -> None:
    table = pa.table({"a": [1.0, float("nan"), 1.0, 1.0], "b": [" x", "?", "x ", "?"]})
    text = SMALL.format(k=1)
    text = text.replace("[columns]", '[nulls]\nmarkers = ["?"]\ntrim = true\n[columns]\nb = { role = "qi" }')
    released = Policy.from_text(text).apply(table)
    assert released.report.body["nulls"]["by_column"] == {"a": 1, "b": 2}
    assert Counter(rows_of(released.frame)) == {(1.0, "x"): 2, (1.0, None): 1, (None, None): 1}


def test_numeric_strings_are_different_texts() -> None:
    table = pa.table({"a": ["7", "07", "7.0", "７", "7", "07", "7.0", "７"]})
    text = SMALL.format(k=2)
    assert len(groups(Policy.from_text(text).apply(table).frame, "a")) == 4
    interval = text.replace('role = "qi"', 'role = "qi", hierarchy = {type = "interval", widths = [5], range = [0, 9]}')
    with pytest.raises(UsageError) as error:
        Policy.from_text(interval).apply(table)
    assert error.value.code == "bad_hierarchy"


def test_a_shuffled_release_has_the_same_rows() -> None:
    shuffled = Policy.from_text(POLICY + '[output]\norder = "shuffle"').apply(people())
    plain = Policy.from_text(POLICY).apply(people())
    assert shuffled.report.body["order"] == "shuffle"
    assert Counter(rows_of(shuffled.frame)) == Counter(rows_of(plain.frame))
    assert rows_of(shuffled.frame) != rows_of(plain.frame)


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_of_no_row_and_of_one(rows: int) -> None:
    released = Policy.from_text(POLICY.replace("k = 2", "k = 1")).apply(people(5).slice(0, rows))
    assert released.frame.num_rows == rows
    if rows:
        with pytest.raises(PrivacyError) as error:
            Policy.from_text(POLICY).apply(people(1))
        assert error.value.code == "infeasible"


def test_everything_taken_away_is_no_release() -> None:
    table = pa.table({"a": [1, 2, 3, 4]})
    text = SMALL.format(k=4)
    with pytest.raises(PrivacyError) as error:
        Policy.from_text(text).apply(table)
    assert error.value.code == "nothing_left"


def test_a_column_without_a_role_stops_the_release() -> None:
    table = people().append_column("phone", pa.array(["1"] * 60))
    with pytest.raises(UsageError) as error:
        Policy.from_text(POLICY).apply(table)
    assert error.value.code == "no_role"
    kept = Policy.from_text(POLICY + '[output]\nothers = "keep"').apply(table).frame
    assert "phone" in kept.column_names
    assert "phone" not in Policy.from_text(POLICY + '[output]\nothers = "drop"').apply(table).frame.column_names


def test_top_and_bottom_coding() -> None:
    text = POLICY.replace('age = { role = "qi"', 'age = { role = "qi", top = 50, bottom = 25')
    released = Policy.from_text(text.replace("k = 2", "k = 1")).apply(people())
    ages = [int(age) for age in released.frame["age"].to_pylist()]
    assert min(ages) == 25
    assert max(ages) == 50


def test_microaggregated_columns_are_k_anonymous() -> None:
    rest = POLICY[POLICY.index("illness") :].replace("k = 2", "k = 3")
    columns = (
        'name = { role = "direct" }\nage = { role = "qi", microaggregate = true }\ncity = { role = "insensitive" }'
    )
    text = f"version = 1\n[columns]\n{columns}\n{rest}"
    released = Policy.from_text(text).apply(people())
    assert released.report.body["suppressed"]["rows"] == 0
    assert min(groups(released.frame, "age").values()) >= 3
    before, after = people()["age"].to_numpy().mean(), np.mean(released.frame["age"].to_pylist())
    assert after == pytest.approx(before)


def test_a_hierarchy_of_the_callers_own() -> None:
    policy = Policy.from_text(POLICY)
    spec = HierarchySpec("own", lambda values, texts, place: functions(texts, [lambda text: text[0]], place))
    own = Policy({**policy.columns, "city": ColumnRule("qi", spec)}, policy.models, policy.search)
    assert own.explain(people()).columns[2]["levels"] == 3
    assert min(groups(own.apply(people()).frame, "age", "city").values()) >= 2


def test_a_population_and_its_models(tmp_path: Path) -> None:
    write(people(200), tmp_path / "all.parquet")
    text = POLICY.replace('type = "k-anonymity"\nk = 2', 'type = "k-map"\nk = 4').replace(
        "[search]", '[[models]]\ntype = "delta-presence"\nhigh = 0.8\n[population]\nsource = "all.parquet"\n[search]'
    )
    sample = people(200).slice(0, 60)
    released = Policy.from_text(text, folder=tmp_path).apply(sample)
    found = {one["type"]: one["after"] for one in released.report.body["models"]}
    assert found["k-map"]["k"] >= 4
    assert found["delta-presence"]["high"] <= 0.8
    assert released.report.body["risk"]["after"]["journalist"] <= 0.25
    with pytest.raises(UsageError) as error:
        Policy.from_text(text, folder=tmp_path).apply(people(60, seed=5))
    assert error.value.code == "population_lacks_rows"


def test_a_population_of_which_only_the_size_is_known() -> None:
    text = POLICY.replace('type = "k-anonymity"\nk = 2', 'type = "estimated-k-map"\nk = 6').replace(
        "[search]", "[population]\nrows = 120\n[search]"
    )
    released = Policy.from_text(text).apply(people())
    (found,) = released.report.body["models"]
    asked = {"k": 6, "population": 120, "significance": 0.01, "estimator": "zero-truncated-poisson"}
    assert found["asked"] == asked
    assert found["before"]["rows"] < found["after"]["rows_asked"] == 6
    assert min(groups(released.frame, "age", "city").values()) == found["after"]["rows"] >= 6
    with pytest.raises(UsageError) as error:
        Policy.from_text(text.replace("[search]", '[search]\nalgorithm = "cells"')).apply(people())
    assert error.value.code == "not_local"
    with pytest.raises(UsageError, match="population"):
        Policy.from_text(text.replace("[population]\nrows = 120\n", ""))


@pytest.mark.parametrize("algorithm", ["mondrian-strict", "mondrian-relaxed", "cells"])
def test_other_models_with_boxes_and_cells(algorithm: str) -> None:
    text = POLICY.replace(
        "[search]",
        '[[models]]\ntype = "distinct-l-diversity"\nl = 2\n[[models]]\ntype = "t-closeness"\nt = 0.4\n[search]',
    ).replace("suppression_limit = 0.2", f'algorithm = "{algorithm}"\nsuppression_limit = 1.0')
    released = Policy.from_text(text).apply(people())
    figures = {one["type"]: one["after"] for one in released.report.body["models"]}
    assert figures["distinct-l-diversity"]["l"] >= 2
    assert figures["t-closeness"]["t"] <= 0.4 + 1e-9
    measured = measure(released.frame, qi=["age", "city"], sensitive=["illness"])
    assert measured.models["k-anonymity"]["k"] == figures["k-anonymity"]["k"]
    with pytest.raises(UsageError) as error:
        Policy.from_text(text.replace('type = "t-closeness"\nt = 0.4', 'type = "average-risk"\nthreshold = 0.4')).apply(
            people()
        )
    assert error.value.code == "not_local"


def test_a_marker_that_is_a_value_is_refused() -> None:
    table = pa.table({"a": [MARKER, "x", "x"]})
    text = SMALL.format(k=2) + "[search]\nsuppression_limit = 0.5\n"
    with pytest.raises(UsageError) as error:
        Policy.from_text(text).apply(table)
    assert error.value.code == "marker"


def test_suppressed_rows_are_no_class_when_read_again(tmp_path: Path) -> None:
    released = Policy.from_text(POLICY).apply(people(30))
    gone = released.report.body["suppressed"]["rows"]
    assert gone
    write(released.frame, tmp_path / "again.csv")
    again = measure(str(tmp_path / "again.csv"), qi=["age", "city"], sensitive=["illness"])
    assert again.suppressed == gone
    assert again.risk.rows == 30 - gone
    assert again.models["k-anonymity"] == released.report.body["models"][0]["after"]


class TestFailClosed:
    """A search that lies, in each way it could: nothing is returned."""

    def test_a_node_that_does_not_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from privcompute.anonymize import release
        from privcompute.anonymize.search.outcome import Outcome

        monkeypatch.setattr(release, "search", lambda task: Outcome((0, 0), 0.0, 0.0, "optimal", 1, 1))
        monkeypatch.setattr(release, "suppressed_rows", lambda task, node, rows: np.zeros(rows, np.bool_))
        with pytest.raises(IntegrityError) as error:
            Policy.from_text(POLICY).apply(people())
        assert error.value.code == "recheck"
        assert "k-anonymity" in error.value.message

    def test_a_lost_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from privcompute.anonymize import release
        from privcompute.anonymize.assemble import assemble

        monkeypatch.setattr(release, "assemble", lambda *given: assemble(*given).slice(0, 59))
        with pytest.raises(IntegrityError):
            Policy.from_text(POLICY).apply(people())

    def test_too_many_suppressed_rows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from privcompute.anonymize import release

        half = lambda task, node, rows: np.arange(rows) % 2 == 0  # noqa: E731 - a lie
        monkeypatch.setattr(release, "suppressed_rows", half)
        with pytest.raises(IntegrityError):
            Policy.from_text(POLICY).apply(people())

    def test_a_model_that_the_second_look_does_not_know(self) -> None:
        class Unknown:
            kind = "unknown"
            columns = ("illness",)

        table = pa.table({"a": ["x"], "illness": ["flu"]})
        again = Recheck(table, ["a"], MARKER, table)
        assert not again.holds(Unknown())  # type: ignore[arg-type]  # no model of ours


def test_an_exact_search_out_of_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from privcompute.anonymize.search.outcome import Outcome

    monkeypatch.setattr(Exact, "run", lambda self: Outcome(None, None, 0.1, "gap", 3, 10))
    with pytest.raises(PrivacyError) as error:
        Policy.from_text(POLICY + "time_limit_s = 0.001\n").apply(people())
    assert "in time" in error.value.message
