"""A node whose frames are changed, repeated or lost on their way into gRPC: the other names it and goes on serving."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import nodes, small_query
from support.nodes import Party
from support.pairs import EVERYTHING

WATCHED = Path(nodes.__file__).with_name("watched_node.py")
STEP_SECONDS = 6.0
LABELS = (
    "negotiate/offer", "negotiate/ready", "hello.1/digest", "masked-1", "tags-1", "digest-1", "/cross_product.1/",
    "reveal.1/share", "reveal.2/share",
)  # fmt: skip
CODES = {
    "truncate": {"bad_frame", "bad_negotiation"},
    "oversize": {"oversize", "bad_frame", "bad_negotiation"},
    "replay": {"replayed"},
    "drop": {"deadline", "closed"},  # the peer may have been done, but for the lost message
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Party, Party, Path]]:
    """A hospital, not yet serving, on a port that stays the same, and an insurer that asks."""
    place = tmp_path_factory.mktemp("faulty")
    with nodes.parties(place, "hospital", "insurer", listen=["127.0.0.1:0", None]) as (hospital, insurer):
        for party, name, table in (
            (hospital, "patients", small_query.patients()), (insurer, "members", small_query.members())
        ):  # fmt: skip
            path = place / f"{name}.parquet"
            pq.write_table(table, path)
            party.ok("dataset", "add", name, str(path), "--key", "id", *EVERYTHING)
            party.limit(step_seconds=STEP_SECONDS)
        hospital.serve()
        nodes.keep_port(hospital)
        nodes.pair(hospital, insurer)
        hospital.stop()
        yield hospital, insurer, place


def _ask(pair: tuple[Party, Party, Path], kind: str, label: str) -> nodes.Done:
    hospital, insurer, place = pair
    spec = place / "spec.json"
    spec.write_text(json.dumps({"log": str(place / "log"), "kill": None, "fault": [kind, re.escape(label)]}))
    hospital.serve(program=(nodes.PYTHON_M[0], str(WATCHED), str(spec)))
    start = time.monotonic()
    done = insurer.run("query", small_query.SQL, "--yes")
    assert time.monotonic() - start < STEP_SECONDS + 25
    assert hospital.serving
    hospital.stop()
    return done


def _check(pair: tuple[Party, Party, Path], kind: str, label: str) -> None:
    done = _ask(pair, kind, label)
    if done.status == 0:
        # Twice the last message: the first had arrived, and with it the run was over.
        assert (kind, label) == ("replay", "reveal.2/share")
        return
    assert done.status in (3, 4), (kind, label, done)
    assert done.error["code"] in CODES[kind], (kind, label, done.error)
    # Whoever waits longest for a lost message hears of it from the other, who missed the answer to it.
    assert done.error["party"] == "hospital" or kind == "drop", (kind, label, done.error)
    if kind == "truncate":
        assert label.removeprefix("negotiate/") in done.error["stage"], (kind, label, done.error)


@pytest.mark.parametrize(
    ("kind", "label"), [("truncate", "/cross_product.1/"), ("replay", "tags-1"), ("oversize", "negotiate/ready")]
)
def test_a_faulty_peer_is_named(pair: tuple[Party, Party, Path], kind: str, label: str) -> None:
    _check(pair, kind, label)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", CODES)
def test_a_peer_faulty_anywhere_is_named(pair: tuple[Party, Party, Path], kind: str) -> None:
    for label in LABELS:
        _check(pair, kind, label)
