"""What people see of tables: requests, lists, texts of a peer, without a terminal's control characters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.deliveries import ANONYMOUS, ROWS, Deliveries, homes

from privcompute.cli.app import root
from privcompute.cli.delivery_text import delivery_text
from privcompute.errors import ConsentNeeded


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("homes")
    homes(place)
    return place


def say(home: Path, *words: str, status: int = 0) -> str:
    result = CliRunner().invoke(root, ["--home", str(home), *words], prog_name="privcompute")
    assert result.exit_code == status, result.output
    return result.stdout


async def test_from_the_request_to_the_file(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "homes"
    shutil.copytree(made, place)
    world = Deliveries(place)
    insurer = place / "insurer"
    assert "no release yet" in say(insurer, "releases", "list")
    with pytest.raises(ConsentNeeded):
        await world.release(ANONYMOUS)
    asked = say(insurer, "requests")
    assert "hospital.patients for insurer: anonymized, for research" in asked
    assert "columns: age (string), sex (string), disease (string)" in asked
    assert 'k-anonymity: asked {"k": 5}, reached ' in asked
    identifier = json.loads(say(insurer, "requests", "--json"))["requests"][0]["id"]
    assert "hospital may deliver this table once" in say(insurer, "approve", identifier)
    await world.release(ANONYMOUS)
    listed = say(insurer, "releases", "list")
    assert "received" in listed
    assert "anonymized" in listed
    assert "insurer" in say(place / "hospital", "releases", "list")
    table = json.loads(say(insurer, "releases", "list", "--json"))["tables"][0]["id"]
    assert "risk: " in say(insurer, "releases", "show", table)
    out = place / "out.csv"
    assert f"wrote {ROWS} rows" in say(insurer, "receive", table, "-o", str(out))
    assert out.read_text().splitlines()[0] == '"age","sex","disease"'
    wrong = say(insurer, "receive", table, "-o", str(place / "out.xlsx"), "--json", status=2)
    assert json.loads(wrong)["error"]["code"] == "bad_output"
    (spooled,) = (insurer / "spool" / "in").glob("*.arrow")
    spooled.write_bytes(spooled.read_bytes()[:-1])
    gone = say(insurer, "receive", table, "-o", str(place / "x.csv"), "--json", status=2)
    assert json.loads(gone)["error"]["code"] == "no_table"
    assert not (place / "x.csv").exists()
    assert f"forgot {table}" in say(insurer, "releases", "forget", table)
    assert not spooled.exists()
    assert json.loads(say(insurer, "releases", "forget", table, "--json", status=2))["error"]["code"] == "no_table"
    await world.close()


def test_whose_tables_are_taken_as_they_come(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "h")
    insurer = tmp_path / "h" / "insurer"
    assert json.loads(say(insurer, "releases", "accept", "hospital", "--json")) == {"accepted": ["hospital"]}
    assert "held for approval" in say(insurer, "releases", "accept", "hospital", "--off")
    assert json.loads(say(insurer, "releases", "accept", "clinic", "--json", status=2))["error"]["code"] == "no_peer"


def test_a_peers_text_moves_no_cursor() -> None:
    report = {
        "models": [{"type": "\x1b[2J", "asked": {"\x1b": 1}, "after": "x" * 500}, 7],
        "risk": {"\x1b[31m": "\x07"},
        "suppressed": {"rows": "\x1b"},
        "columns": {"a\x1bb": ["\x1b"]},
    }
    manifest = {
        "sender": "hospital",
        "receiver": "insurer",
        "dataset": "patients",
        "kind": "anonymized",
        "purpose": "research",
        "rows": 1,
        "bytes": 2,
        "sha256": "0" * 64,
        "policy": "1" * 64,
        "columns": [["a\x1b[1m", "string"]],
        "report": json.dumps(report),
    }
    shown = delivery_text(manifest)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert max(map(len, shown.splitlines())) < 400
    for strange in ("{}", '{"models": 1, "risk": [], "suppressed": null, "columns": 7}', '{"risk": {}}'):
        assert "patients" in delivery_text({**manifest, "report": strange})


def test_half_a_character_is_written_as_json_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A peer's text may hold a lone surrogate, which is no UTF-8: the owner's commands still answer."""
    from privcompute.cli.output import print_json

    print_json({"sql": "SELECT \ud800 北京"})
    written = capsys.readouterr().out
    assert json.loads(written) == {"sql": "SELECT \ud800 北京"}
    assert "北京" in written
    assert "\\ud800" in written
