"""What owners refuse, over two real nodes: rules, minimum counts, the ledger, manual consent, modes not built yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.nodes import Done
from support.pairs import EVERYTHING, Pair

FROM = "FROM hospital.wards w JOIN insurer.clients c ON w.person = c.person"
PEOPLE = 200


def _wards() -> pa.Table:
    numbers = range(PEOPLE)
    return pa.table(
        {
            "person": [f"n{n}" for n in numbers],
            "stay": pa.array([n % 30 for n in numbers], pa.int32()),
            "age": pa.array([n % 100 for n in numbers], pa.int32()),
            "diagnosis": ["rare" if n < 20 else "common" for n in numbers],
        }
    )


def _clients() -> pa.Table:
    return pa.table({"person": [f"n{n}" for n in range(PEOPLE)], "paid": pa.array(range(PEOPLE), pa.int32())})


@pytest.fixture(scope="module")
def ruled(two_nodes: Pair) -> Pair:
    """The pair with two datasets under rules, added while both nodes run."""
    wards = ["--allow", "stay=aggregate", "--allow", "age=aggregate,filter", "--allow", "diagnosis=filter"]
    two_nodes.hospital.ok(
        "dataset", "add", "wards", two_nodes.write("wards", _wards()), "--key", "person", "--reveal", "matches",
        *wards, "--range", "stay=0:100", "--range", "age=0:120", "--min-cell", "10",
    )  # fmt: skip
    clients = two_nodes.write("clients", _clients())
    two_nodes.insurer.ok("dataset", "add", "clients", clients, "--key", "person", "--min-cell", "5", *EVERYTHING)
    return two_nodes


def _refused(done: Done, status: int, code: str) -> dict[str, Any]:
    assert done.status == status, done
    assert done.error["code"] == code
    assert done.error["remedy"]
    return done.error


def test_a_rule_names_column_use_and_the_smallest_change(ruled: Pair) -> None:
    error = _refused(ruled.insurer.run("query", f"SELECT SUM(w.stay * c.paid) AS x {FROM}", "--yes"), 5, "not_allowed")
    assert error["party"] == "hospital"
    assert "stay" in error["message"]
    assert "product" in error["message"]
    assert "--allow stay=aggregate,product" in error["remedy"]


def test_a_rule_binds_explain_too(ruled: Pair) -> None:
    done = ruled.insurer.run("explain", f"SELECT COUNT(*) AS n {FROM} WHERE w.stay > 3")
    error = _refused(done, 5, "not_allowed")
    assert "WHERE" in error["message"]
    assert "--allow stay=aggregate,filter" in error["remedy"]


def test_a_permitted_question_is_answered(ruled: Pair) -> None:
    answer = ruled.insurer.query(f"SELECT AVG(w.stay) AS stay, COUNT(*) AS n {FROM} WHERE w.diagnosis = 'common'")
    common = [n % 30 for n in range(20, PEOPLE)]
    assert answer["rows"] == [[sum(common) / len(common), len(common)]]


def test_a_small_cell_is_not_shown_and_neither_is_its_size(ruled: Pair) -> None:
    # 4 people: far enough from every other selection of this module for the ledger, and below both minimums.
    answer = ruled.insurer.query(f"SELECT SUM(w.age) AS x, COUNT(*) AS n {FROM} WHERE w.age < 2")
    assert answer["rows"] == []
    assert answer["suppressed_cells"] == 1
    assert answer["error_bound"] == {}


def test_the_ledger_refuses_a_selection_that_differs_by_few(ruled: Pair) -> None:
    ruled.insurer.query(f"SELECT AVG(w.stay) AS stay {FROM} WHERE w.age >= 40")
    near = ruled.insurer.run("query", f"SELECT AVG(w.stay) AS stay {FROM} WHERE w.age >= 41", "--yes")
    error = _refused(near, 5, "differencing")
    assert error["party"] == "hospital"
    again = ruled.insurer.query(f"SELECT SUM(w.stay) AS stay {FROM} WHERE w.age >= 40")
    assert again["suppressed_cells"] == 0
    far = ruled.insurer.query(f"SELECT AVG(w.stay) AS stay {FROM} WHERE w.age >= 55")
    assert far["suppressed_cells"] == 0


def test_both_nodes_keep_the_ledger_also_the_one_that_asks(ruled: Pair) -> None:
    ruled.insurer.query(f"SELECT SUM(c.paid) AS paid {FROM} WHERE c.paid < 100")
    error = _refused(
        ruled.insurer.run("query", f"SELECT SUM(c.paid) AS paid {FROM} WHERE c.paid < 101", "--yes"), 5, "differencing"
    )
    assert error["party"] in ("insurer", None)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (f"SELECT w.diagnosis, COUNT(*) AS n {FROM} GROUP BY w.diagnosis", "not_yet"),
        (f"SELECT VAR_SAMP(w.age) AS v {FROM}", "not_yet"),
        ("SELECT COUNT(*) AS n FROM hospital.wards w JOIN insurer.nothing c ON w.person = c.person", "unknown_dataset"),
    ],
)
def test_what_is_not_built_or_not_there_is_refused_by_name(ruled: Pair, sql: str, code: str) -> None:
    _refused(ruled.insurer.run("query", sql, "--yes"), 2, code)


@pytest.mark.parametrize("reveal", ["nothing", "size"])
def test_a_mode_that_is_not_built_is_refused_with_the_remedy(ruled: Pair, reveal: str) -> None:
    done = ruled.insurer.run("query", f"SELECT COUNT(*) AS n {FROM}", "--yes", "--reveal", reveal)
    assert "matches" in _refused(done, 2, "not_yet")["remedy"]


def test_nobody_agrees_off_a_terminal(ruled: Pair) -> None:
    _refused(ruled.insurer.run("query", f"SELECT COUNT(*) AS n {FROM}"), 7, "consent_needed")


def test_a_receiver_must_be_a_peer(ruled: Pair) -> None:
    _refused(ruled.insurer.run("query", f"SELECT COUNT(*) AS n {FROM}", "--yes", "--to", "stranger"), 2, "no_peer")


def test_manual_consent_allows_one_run_of_that_plan(ruled: Pair) -> None:
    ruled.hospital.ok(
        "dataset", "add", "files", ruled.write("files", _wards()), "--key", "person", "--consent", "manual", *EVERYTHING
    )
    sql = "SELECT COUNT(*) AS n, SUM(f.age) AS ages FROM hospital.files f JOIN insurer.clients c ON f.person = c.person"
    error = _refused(ruled.insurer.run("query", sql, "--yes"), 7, "awaiting_consent")
    (request,) = ruled.hospital.ok("requests")["requests"]
    assert (request["peer"], request["state"]) == ("insurer", "waiting")
    assert request["plan"]["disclosure"]["insurer"]
    assert request["id"] in error["remedy"]
    ruled.hospital.ok("approve", request["id"])
    answer = ruled.insurer.query(sql)
    assert answer["rows"] == [[PEOPLE, sum(n % 100 for n in range(PEOPLE))]]
    assert answer["plan_digest"] == request["plan_digest"]
    # An approval is for one run.
    _refused(ruled.insurer.run("query", sql, "--yes"), 7, "awaiting_consent")
    (second,) = ruled.hospital.ok("requests")["requests"]
    ruled.hospital.ok("refuse", second["id"])
    refused = _refused(ruled.insurer.run("query", sql, "--yes"), 7, "refused")
    assert second["id"] in refused["remedy"]


def test_data_that_changed_are_not_used_unseen(ruled: Pair, tmp_path: Path) -> None:
    place = ruled.write("drifting", _wards())
    ruled.hospital.ok("dataset", "add", "drifting", place, "--key", "person", *EVERYTHING)
    ruled.write("drifting", _wards().slice(1))
    sql = "SELECT COUNT(*) AS n FROM hospital.drifting d JOIN insurer.clients c ON d.person = c.person"
    error = _refused(ruled.insurer.run("query", sql, "--yes"), 2, "stale_entry")
    assert error["party"] == "hospital"
    ruled.hospital.ok("dataset", "edit", "drifting", "--refresh", "--accept-ranges")
    assert ruled.insurer.query(sql)["rows"] == [[PEOPLE - 1]]


def test_an_answer_is_kept_and_audited_without_its_values_in_any_log(ruled: Pair) -> None:
    answer = ruled.insurer.query(f"SELECT SUM(c.paid) AS paid {FROM} WHERE w.diagnosis = 'common' AND c.paid >= 20")
    shown = ruled.insurer.ok("releases", "show", answer["release"])
    assert shown["rows"] == answer["rows"]
    for party in (ruled.insurer, ruled.hospital):
        assert str(answer["rows"][0][0]) not in party.log() + party.said()
