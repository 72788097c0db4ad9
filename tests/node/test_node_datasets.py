"""Adding and editing datasets: what becomes public, whose consent it needs, when a version changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from privcompute.errors import UsageError
from privcompute.node import datasets
from privcompute.node.config import Config
from privcompute.node.datasets import Added, Declaration
from privcompute.node.home import Home
from privcompute.node.rules import parse_allow, parse_domains, parse_key_types, parse_ranges
from privcompute.node.setup import create_node
from privcompute.node.store import Store
from privcompute.tables.open import open_source
from privcompute.tables.schema import Column

CONFIG = Config("hospital")
ALL = parse_allow(["*=aggregate,group,filter,product"])
HEADER = "national_id,age,bmi,smoker,region\n"
BODY = HEADER + "0001,20,20.5,true,north\n0002,30,25.25,false,south\n0003,40,,true,north\n,50,1.5,true,east\n"
TWICE = BODY + "0003,41,30,true,\n0003,42,30,true,\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    home = Home(tmp_path / "h")
    create_node(home, "hospital", None)
    opened = Store(home.database)
    yield opened
    opened.close()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text(BODY)
    return path


class Owner:
    """Somebody who is asked, and remembers what."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[tuple[list[str], int | None]] = []

    def __call__(self, derived: Sequence[Column], cap: int | None) -> bool:
        self.asked.append(([one.name for one in derived], cap))
        return self.answer


def add(store: Store, csv: Path, declaration: Declaration, owner: Owner | None = None, name: str = "patients") -> Added:
    return datasets.add(
        store,
        CONFIG,
        name,
        str(csv),
        ["national_id"],
        declaration,
        credentials=None,
        accept=owner or Owner(False),
    )


def ranges_of(made: Added) -> dict[str, tuple[Fraction | int | None, Fraction | int | None, str]]:
    return {one.name: (one.lo, one.hi, one.range_origin) for one in made.entry.columns}


def test_nothing_is_allowed_and_no_range_is_public_by_default(store: Store, csv: Path) -> None:
    made = add(store, csv, Declaration({}, {}))
    assert made.entry.allow == {}
    assert (made.entry.reveal, made.entry.min_cell, made.entry.consent) == ("nothing", 10, "auto")
    assert made.entry.distinct_keys == 3
    for name in ("age", "bmi"):
        assert ranges_of(made)[name][:2] == (None, None)
    assert store.datasets.get("patients").entry == made.entry


def test_a_range_from_the_data_needs_a_yes(store: Store, csv: Path) -> None:
    owner = Owner(False)
    with pytest.raises(UsageError) as error:
        add(store, csv, Declaration(ALL, {}), owner)
    assert error.value.code == "ranges_needed"
    assert "--range age=0:64" in error.value.message
    assert owner.asked == [(["age", "bmi"], None)]
    assert store.datasets.all() == []
    made = add(store, csv, Declaration(ALL, {}), Owner(True))
    assert ranges_of(made)["age"] == (0, 64, "data-derived")


def test_only_numbers_that_may_be_computed_with_need_a_range(store: Store, csv: Path) -> None:
    rules = parse_allow(["age=filter,group", "bmi=filter", "region=aggregate", "smoker=aggregate"])
    made = add(store, csv, Declaration(rules, {}))
    assert ranges_of(made)["age"][:2] == (None, None)


def test_a_declared_range_is_taken_and_checked(store: Store, csv: Path) -> None:
    rules = parse_allow(["age=aggregate"])
    made = add(store, csv, Declaration(rules, parse_ranges(["AGE=0:120"])))
    assert ranges_of(made)["age"] == (0, 120, "declared")
    with pytest.raises(UsageError) as error:
        add(store, csv, Declaration(rules, parse_ranges(["age=0:49"])), name="p2")
    assert error.value.code == "range_exceeded"
    assert "50" not in error.value.message  # a row whose key is NULL counts, and its value is not told


def test_the_cap_of_rows_per_key(store: Store, csv: Path) -> None:
    csv.write_text(TWICE)
    owner = Owner(True)
    made = add(store, csv, Declaration({}, {}), owner)
    assert owner.asked == [([], 4)]  # three rows, outwards to a power of two
    assert made.entry.rows_per_key == 4
    made = add(store, csv, Declaration({}, {}, rows_per_key=3), name="p2")
    assert made.entry.rows_per_key == 3
    with pytest.raises(UsageError) as error:
        add(store, csv, Declaration({}, {}, rows_per_key=2), name="p3")
    assert error.value.code == "rows_per_key"


def test_the_owner_hears_what_a_query_would_run_into(store: Store, csv: Path) -> None:
    notes = " | ".join(add(store, csv, Declaration({}, {})).notes)
    for part in ("1 rows have a NULL", "fewer keys than the minimum", "no rule allows", "--reveal matches"):
        assert part in notes


def test_versions_follow_the_content_and_the_keys_and_nothing_else(store: Store, csv: Path, tmp_path: Path) -> None:
    first = add(store, csv, Declaration({}, {})).entry.version
    edited = datasets.edit(store, CONFIG, "patients", lambda d: replace(d, min_cell=20), accept=Owner(False))
    assert edited.entry.version == first
    assert edited.entry.min_cell == 20
    assert datasets.fresh(store, store.datasets.get("patients"))
    copied = tmp_path / "copy.csv"
    copied.write_text(BODY)
    assert add(store, copied, Declaration({}, {}), name="copy").entry.version == first
    other_key = datasets.add(
        store, CONFIG, "p2", str(csv), ["region"], Declaration({}, {}, 2), credentials=None, accept=Owner(False)
    )
    assert other_key.entry.version != first
    csv.write_text(BODY.replace("20.5", "20.6"))
    assert not datasets.fresh(store, store.datasets.get("patients"))
    assert datasets.edit(store, CONFIG, "patients", lambda d: d, accept=Owner(False)).entry.version != first


def test_two_homes_give_the_same_data_different_versions(store: Store, csv: Path, tmp_path: Path) -> None:
    other_home = Home(tmp_path / "other")
    create_node(other_home, "hospital", None)
    other = Store(other_home.database)
    assert add(store, csv, Declaration({}, {})).entry.version != add(other, csv, Declaration({}, {})).entry.version
    other.close()


def test_an_edit_asks_only_for_what_is_new(store: Store, csv: Path) -> None:
    add(store, csv, Declaration(ALL, {}), Owner(True))
    owner = Owner(False)
    datasets.edit(store, CONFIG, "patients", lambda d: replace(d, reveal="matches"), accept=owner)
    csv.write_text(BODY.replace("0003,40", "0003,39"))
    datasets.edit(store, CONFIG, "patients", lambda d: d, accept=owner)
    assert owner.asked == []
    csv.write_text(BODY.replace("0003,40", "0003,400"))
    with pytest.raises(UsageError) as error:
        datasets.edit(store, CONFIG, "patients", lambda d: d, accept=owner)
    assert error.value.code == "ranges_needed"
    assert owner.asked == [(["age"], None)]
    assert ranges_of(Added(store.datasets.get("patients"), store.datasets.get("patients").entry, ()))["age"][1] == 64


def test_partners_must_be_known(store: Store, csv: Path) -> None:
    with pytest.raises(UsageError) as error:
        add(store, csv, Declaration({}, {}, partners=("nobody",)))
    assert error.value.code == "no_peer"


@pytest.mark.parametrize("name", ["Patients", "1p", "a-b", ""])
def test_names_that_need_no_quotes(store: Store, csv: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        add(store, csv, Declaration({}, {}), name=name)
    assert error.value.code == "bad_name"


def test_a_relative_path_is_found_from_elsewhere(
    store: Store, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add(store, Path("patients.csv"), Declaration({}, {}))
    monkeypatch.chdir("/")
    assert datasets.fresh(store, store.datasets.get("patients"))
    assert datasets.absolute("a.duckdb?table=t") == "/a.duckdb?table=t"
    assert datasets.absolute("postgresql://host/db?table=t") == "postgresql://host/db?table=t"


def test_removing_keeps_the_source_and_the_ledger(store: Store, csv: Path) -> None:
    made = add(store, csv, Declaration({}, {}))
    store.ledger.record(
        version=made.entry.version,
        dataset="patients",
        peer="insurer",
        plan_digest="d",
        selections=[],
        minimum=10,
        most_queries=5,
    )
    datasets.remove(store, "patients")
    assert csv.exists()
    again = add(store, csv, Declaration({}, {}))
    assert store.ledger.queries(again.entry.version, "insurer") == 1


def domains(*texts: str) -> dict[str, tuple[str, ...]]:
    return parse_domains(texts)


def test_a_declared_domain_is_published_in_order_and_kept(store: Store, csv: Path) -> None:
    declared = domains("REGION=south,north,east", "age=50,20,30,40,7")
    made = add(store, csv, Declaration({}, {}, domains=declared))
    found = {one.name: one.domain for one in made.entry.columns}
    assert found["region"] == ("east", "north", "south")
    assert found["age"] == (7, 20, 30, 40, 50)
    assert found["smoker"] is None
    assert made.entry.min_holders == 3
    edited = datasets.edit(store, CONFIG, "patients", lambda d: replace(d, min_holders=5), accept=Owner(False))
    assert {one.name: one.domain for one in edited.entry.columns} == found
    assert store.datasets.get("patients").entry.min_holders == 5
    assert edited.entry.version == made.entry.version


@pytest.mark.parametrize("text", ["region=north,south", "age=20,30,40"])
def test_a_domain_that_misses_a_value_is_refused_without_telling_it(store: Store, csv: Path, text: str) -> None:
    with pytest.raises(UsageError) as error:
        add(store, csv, Declaration({}, {}, domains=domains(text)))
    assert error.value.code == "outside_domain"
    assert "east" not in str(error.value)
    assert "50" not in str(error.value)
    assert store.datasets.all() == []


def test_a_domain_is_checked_again_when_the_data_are_read_anew(store: Store, csv: Path) -> None:
    add(store, csv, Declaration({}, {}, domains=domains("region=north,south,east")))
    csv.write_text(BODY.replace("east", "west"))
    with pytest.raises(UsageError) as error:
        datasets.edit(store, CONFIG, "patients", lambda d: d, accept=Owner(False))
    assert error.value.code == "outside_domain"


def test_an_entry_that_nobody_could_read_is_refused(store: Store, tmp_path: Path) -> None:
    wide = tmp_path / "wide.csv"
    names = [f"c{i}" for i in range(20)]
    wide.write_text(",".join(["id", *names]) + "\n" + ",".join(["1", *["a"] * 20]) + "\n")
    values = ",".join(["a", *(f"{n:060}x" for n in range(999))])
    with pytest.raises(UsageError) as error:
        datasets.add(
            store,
            CONFIG,
            "wide",
            str(wide),
            ["id"],
            Declaration({}, {}, domains=domains(*(f"{name}={values}" for name in names))),
            credentials=None,
            accept=Owner(False),
        )
    assert error.value.code == "entry_too_large"


def test_nan_blocks_a_column_that_may_be_used_and_no_other(store: Store, tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "bad": [1.5, float("nan")], "good": [1.5, 2.5]})
    place = tmp_path / "people.parquet"
    parquet.write_table(table, place)

    def added(name: str, *allow: str) -> Added:
        declaration = Declaration(parse_allow(allow), {})
        return datasets.add(
            store, CONFIG, name, str(place), ("id",), declaration, credentials=None, accept=lambda *_: True
        )

    made = added("people", "good=aggregate")
    bad = made.entry.column("bad")
    assert bad is not None
    assert (bad.lo, bad.hi) == (None, None)
    for use in ("aggregate", "filter"):
        with pytest.raises(UsageError) as error:
            added("others", f"bad={use}")
        assert error.value.code == "not_finite"


def test_the_keys_of_a_csv_file_are_text_or_what_their_owner_says(store: Store, tmp_path: Path) -> None:
    place = tmp_path / "visits.csv"
    place.write_text("id,day,n\n7,2024-02-29,1\n007,2024-03-01,2\n,2024-03-01,3\n")
    declaration = Declaration(ALL, {})

    def added(name: str, types: dict[str, str] | None) -> Added:
        return datasets.add(
            store, CONFIG, name, str(place), ("id", "day"), declaration, credentials=None, accept=lambda *_: True,
            key_types=types,
        )  # fmt: skip

    text = added("text", None)
    assert text.entry.key_types == ("VARCHAR", "VARCHAR")
    assert text.entry.distinct_keys == 2
    typed = added("typed", {"ID": "bigint", "day": "DATE"})
    assert typed.entry.key_types == ("BIGINT", "DATE")
    assert typed.entry.version != text.entry.version
    assert datasets.current_version(store, typed.dataset) == typed.entry.version
    again = datasets.edit(store, CONFIG, "typed", lambda one: one, accept=lambda *_: True)
    assert again.entry.key_types == ("BIGINT", "DATE")
    place.write_text(place.read_text() + "4711x,2024-03-01,2\n")
    with pytest.raises(UsageError, match="fields that are no BIGINT") as error:
        datasets.edit(store, CONFIG, "typed", lambda one: one, accept=lambda *_: True)
    assert error.value.code == "bad_key_value"
    assert "4711" not in str(error.value)
    for types in ({"n": "BIGINT"}, {"id": "DOUBLE"}):
        with pytest.raises(UsageError) as error:
            added("other", types)
        assert error.value.code == "bad_key_type"
    with pytest.raises(UsageError) as error:
        open_source(str(tmp_path / "x.parquet"), keys=("id",), key_types={"id": "BIGINT"})
    assert error.value.code == "bad_key_type"


@pytest.mark.parametrize(
    ("kind", "field"),
    [("BIGINT", "1.5"), ("BIGINT", "1e3"), ("BIGINT", "9223372036854775808"), ("UBIGINT", "-1"), ("DATE", "2024-2-1"),
     ("DATE", "2023-02-29"), ("DATE", "2024-02-01 10:00:00"), ("TIMESTAMP", "noon"), ("BOOLEAN", "1")],
)  # fmt: skip
def test_a_field_that_is_not_of_its_keys_type_is_refused(tmp_path: Path, kind: str, field: str) -> None:
    place = tmp_path / "one.csv"
    place.write_text(f"id,n\n{field},1\n")
    with pytest.raises(UsageError) as error:
        open_source(str(place), keys=("id",), key_types={"id": kind}).schema()
    assert error.value.code == "bad_key_value"


def test_key_types_as_they_are_written() -> None:
    assert parse_key_types([]) is None
    assert parse_key_types(["id=BIGINT", "a=b=DATE"]) == {"id": "BIGINT", "a=b": "DATE"}
    for wrong in (["id"], ["=DATE"], ["id=DATE", "id=DATE"]):
        with pytest.raises(UsageError) as error:
            parse_key_types(wrong)
        assert error.value.code == "bad_key_type"
