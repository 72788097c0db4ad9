"""A holder's part of a union, from its stored dataset: sums, stale data, and what its ledger refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from privcompute.errors import IntegrityError, PrivacyError, UsageError
from privcompute.node import datasets
from privcompute.node.calibration import load as load_calibration
from privcompute.node.config import load
from privcompute.node.context import NodeContext
from privcompute.node.datasets import Declaration
from privcompute.node.home import Home
from privcompute.node.jobs.union import check_totals, totals_bytes, totals_to_json
from privcompute.node.rules import parse_allow, parse_domains
from privcompute.node.setup import create_node
from privcompute.node.store import Store
from privcompute.node.union_rows import check_union, prepare_union, record_holders, record_union
from privcompute.query.union import Member, UnionPlan, plan_union
from privcompute.tables.catalogue import DatasetEntry
from privcompute.transport.identity import Identity
from privcompute.union.job import Totals

WARDS = ("north", "south")


def body(age: int = 5) -> str:
    """60 people; in the north 40, of whom 30 smoke and three are 70; in the south 20."""
    lines = ["id,ward,smoker,age"]
    for n in range(60):
        ward = WARDS[n >= 40]
        lines.append(f"p{n},{ward},{str(n < 30).lower()},{70 if n < 3 else age + n % 2}")
    return "\n".join(lines) + "\n"


class Holder:
    """One node with a dataset, and two more holders by their entries alone."""

    def __init__(self, place: Path) -> None:
        self.csv = place / "t.csv"
        self.csv.write_text(body())
        home = Home(place / "h")
        create_node(home, "a", None)
        self.store = Store(home.database)
        config = load(home.config_file)
        rules = Declaration(
            parse_allow(["*=aggregate,group,filter,product"]), {}, domains=parse_domains(["ward=north,south"])
        )
        datasets.add(
            self.store, config, "t", str(self.csv), ["id"], rules, credentials=None, accept=lambda columns, cap: True
        )
        self.node = NodeContext(
            name="a",
            home=home,
            identity=Identity.load(home.identity),
            endpoint=cast(Any, None),
            store=self.store,
            config=config,
            calibration=load_calibration(self.store),
            observer=lambda news: None,
        )

    def plan(self, sql: str) -> tuple[UnionPlan, Member]:
        mine = self.store.datasets.get("t").entry
        entries: dict[str, DatasetEntry] = {"a.t": mine}
        for other in ("b", "c", "d"):
            made = mine.to_object() | {"party": other}
            entries[f"{other}.t"] = DatasetEntry.from_object(made)
        plan = plan_union(sql, entries, asker="b", receivers=("b",), scheme="masks", key_holder=None, quorum=None)
        return plan, plan.members[0]

    def ask(self, sql: str) -> list[int]:
        """Everything a run does here; the sums of the first feature."""
        plan, member = self.plan(sql)
        rows = prepare_union(self.node, plan, member)
        check_union(self.node, plan, member, rows)
        record_union(self.node, plan, member, rows)
        record_holders(self.node, plan, member, rows, ("a", "b", "c", "d"))
        return list(rows.cells.sums[0])


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    made = Holder(tmp_path)
    yield made
    made.store.close()


FROM = "FROM UNION(t)"


def test_sums_of_the_groups(holder: Holder) -> None:
    plan, member = holder.plan(f"SELECT ward, COUNT(*) AS n, AVG(age) AS age {FROM} GROUP BY ward")
    rows = prepare_union(holder.node, plan, member)
    assert [len(one) for one in rows.cells.sums] == [3] * len(plan.features)
    assert (40, 20, 0) in rows.cells.sums
    assert (3 * 70 + sum(5 + n % 2 for n in range(3, 40)), sum(5 + n % 2 for n in range(40, 60)), 0) in rows.cells.sums
    counts, values = plan.contribution(rows.cells)
    assert len(counts) == plan.shape.counts
    assert len(values) == plan.shape.values
    assert "40" not in repr(rows)


def test_changed_data_are_noticed(holder: Holder) -> None:
    plan, member = holder.plan(f"SELECT ward, COUNT(*) AS n {FROM} GROUP BY ward")
    holder.csv.write_text(body(age=6))
    with pytest.raises(UsageError) as error:
        prepare_union(holder.node, plan, member)
    assert error.value.code == "stale_entry"


@pytest.mark.parametrize(
    ("first", "second", "no"),
    [
        (f"SELECT ward, COUNT(*) AS n {FROM} GROUP BY ward", f"SELECT ward, AVG(age) AS m {FROM} GROUP BY ward", False),
        (
            f"SELECT ward, COUNT(*) AS n {FROM} GROUP BY ward",
            f"SELECT ward, COUNT(*) AS n {FROM} WHERE age < 70 GROUP BY ward",
            True,
        ),
        (f"SELECT COUNT(*) AS n {FROM}", f"SELECT COUNT(*) AS n {FROM} WHERE age < 70", True),
        (f"SELECT COUNT(*) AS n {FROM}", f"SELECT ward, COUNT(*) AS n {FROM} GROUP BY ward", False),
        (f"SELECT COUNT(*) AS n {FROM} WHERE smoker", f"SELECT ward, COUNT(*) AS n {FROM} GROUP BY ward", False),
        (
            f"SELECT ward, AVG(age) AS m {FROM} GROUP BY ward",
            f"SELECT ward, SUM(age * LEAST(70 - age, 1)) AS m {FROM} GROUP BY ward",
            True,
        ),
    ],
)
def test_what_the_ledger_refuses(holder: Holder, first: str, second: str, no: bool) -> None:
    holder.ask(first)
    asked = holder.store.ledger.queries(holder.store.datasets.get("t").entry.version, "b")
    assert asked == 1
    if no:
        with pytest.raises(PrivacyError) as error:
            holder.ask(second)
        assert error.value.code == "differencing"
    else:
        holder.ask(second)
    # A refused question of a peer counts, too.
    assert holder.store.ledger.queries(holder.store.datasets.get("t").entry.version, "b") == 2


def test_another_set_of_holders_is_refused(holder: Holder) -> None:
    sql = f"SELECT COUNT(*) AS n {FROM}"
    holder.ask(sql)
    plan, member = holder.plan(sql)
    rows = prepare_union(holder.node, plan, member)
    record_holders(holder.node, plan, member, rows, ("d", "c", "b", "a"))
    with pytest.raises(PrivacyError) as error:
        record_holders(holder.node, plan, member, rows, ("a", "b", "c"))
    assert error.value.code == "differencing_holders"


@pytest.mark.parametrize("groups", ["", ", ward", ", ward, smoker"])
def test_the_widest_totals_fit_the_message_that_a_receiver_takes(holder: Holder, groups: str) -> None:
    """With many cells they are more than other messages of a negotiation may be."""
    by = f" GROUP BY {groups[2:]}" if groups else ""
    plan, _ = holder.plan(f"SELECT COUNT(*) AS n{groups}, SUM(age) AS s, VAR_SAMP(age) AS v {FROM}{by}")
    shape = plan.shape
    low = -(1 << (shape.bits - 1))
    names = tuple(one.party for one in plan.members)
    values = {unit: (low,) * size for unit, size in enumerate(shape.units)}
    totals = Totals(
        (1 << 64,) * shape.counts, tuple(range(len(shape.units))), values, names, dict.fromkeys(names, "x" * 64)
    )
    written = len(json.dumps({"version": 1, **totals_to_json(totals)}, separators=(",", ":")))
    assert written <= totals_bytes(plan) < 2 * written + 4096


def test_totals_are_over_enough_distinct_holders_of_the_plan(holder: Holder) -> None:
    plan, _ = holder.plan(f"SELECT COUNT(*) AS n {FROM}")

    def check(*survivors: str) -> None:
        check_totals(plan, Totals((0,) * plan.shape.counts, (), {}, survivors, {}), plan.decide)

    check("a", "b", "d")
    for wrong in (("a", "b"), ("a", "a", "b"), ("a", "b", "b", "b"), ("b", "a", "c"), ("a", "b", "e")):
        with pytest.raises(IntegrityError):
            check(*wrong)
