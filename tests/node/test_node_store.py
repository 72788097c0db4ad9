"""Peers, invitations, requests, releases, audit in SQLite; schema versions; kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from privcompute.errors import IntegrityError, UsageError
from privcompute.node.catalogue import Dataset
from privcompute.node.database import MIGRATIONS
from privcompute.node.store import Store
from privcompute.transport.book import MAX_TRIES, MemoryBook, Peer, PeerBook
from privcompute.transport.identity import Identity
from privcompute.transport.invitation import invite


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def certificate() -> str:
    return Identity.create("insurer").certificate


def book_script(book: PeerBook, certificate: str) -> list[object]:
    """What happens to a book in the life of one peer; the transport's own book is the model."""
    seen: list[object] = []
    pending = invite(Identity.create("hospital"), "insurer", ("[::1]:7443",)).pending()
    peer = Peer("insurer", (certificate,), ("[::1]:1",))
    book.invite(pending)
    seen.append([(one.peer, one.tries, one.proof_key == pending.proof_key) for one in book.invitations()])
    tried = book.begin_try(pending.id)
    seen.append(tried is not None and tried.tries)
    seen.append(book.begin_try("another"))
    seen.append(book.consume("another", peer))
    seen.append(book.consume(pending.id, peer))
    seen.append(book.consume(pending.id, peer))
    seen.append((book.get("insurer") == peer, book.get("bank"), book.all() == (peer,), book.invitations()))
    with pytest.raises(UsageError) as error:
        book.add(peer)
    seen.append(error.value.code)
    with pytest.raises(UsageError) as error:
        book.invite(pending)
    seen.append(error.value.code)
    book.replace(Peer("insurer", (certificate, certificate), ()))
    book.replace(Peer("bank", (certificate,), ()))
    seen.append([(one.name, len(one.certificates), one.addresses) for one in book.all()])
    seen.append((book.remove("insurer"), book.remove("insurer"), book.all()))
    book.invite(pending)
    book.invite(pending)
    seen.append(len(book.invitations()))
    for _ in range(MAX_TRIES + 1):
        seen.append(book.begin_try(pending.id) is not None)
    seen.append((book.invitations(), book.remove("insurer")))
    return seen


def test_the_book_behaves_as_the_transports_own(store: Store, certificate: str) -> None:
    assert book_script(store.peers, certificate) == book_script(MemoryBook(), certificate)


def test_two_processes_share_the_book(tmp_path: Path, store: Store, certificate: str) -> None:
    other = Store(tmp_path / "state.db")
    other.peers.add(Peer("insurer", (certificate,), ()))
    assert store.peers.get("insurer") is not None
    other.close()


def dataset(name: str = "patients", partners: tuple[str, ...] = ()) -> Dataset:
    return Dataset(name, f"{name}.csv", None, partners, "f" * 64, "{}")


def test_datasets_are_seen_by_their_partners_only(store: Store) -> None:
    store.datasets.add(dataset("patients"))
    store.datasets.add(dataset("claims", partners=("insurer",)))
    assert [one.name for one in store.datasets.open_to("insurer")] == ["claims", "patients"]
    assert [one.name for one in store.datasets.open_to("bank")] == ["patients"]


def test_datasets_add_replace_remove(store: Store) -> None:
    store.datasets.add(dataset())
    with pytest.raises(UsageError) as error:
        store.datasets.add(dataset())
    assert error.value.code == "dataset_exists"
    store.datasets.replace(dataset(partners=("bank",)))
    assert store.datasets.get("patients").partners == ("bank",)
    store.datasets.remove("patients")
    for missing in (
        lambda: store.datasets.get("patients"),
        lambda: store.datasets.remove("patients"),
        lambda: store.datasets.replace(dataset()),
    ):
        with pytest.raises(UsageError) as error:
            missing()
        assert error.value.code == "no_dataset"


def test_an_approval_is_for_one_peer_one_plan_one_run(store: Store) -> None:
    request = store.requests.submit("insurer", "plan-1", "SELECT 1", {"sql": "SELECT 1"})
    assert store.requests.submit("insurer", "plan-1", "SELECT 1", {}).id == request.id
    assert not store.requests.approved("insurer", "plan-1")
    store.requests.decide(request.id, approve=True)
    assert store.requests.approved("insurer", "plan-1")
    assert not store.requests.approved("bank", "plan-1")
    assert not store.requests.approved("insurer", "plan-2")
    assert store.requests.use("insurer", "plan-1")
    assert not store.requests.use("insurer", "plan-1")
    assert not store.requests.approved("insurer", "plan-1")
    with pytest.raises(UsageError) as error:
        store.requests.decide(request.id, approve=True)
    assert error.value.code == "request_used"
    assert store.requests.submit("insurer", "plan-1", "SELECT 1", {}).state == "waiting"


def test_a_refused_request_stays_refused_until_the_owner_thinks_again(store: Store) -> None:
    request = store.requests.submit("insurer", "plan-1", "SELECT 1", {})
    store.requests.decide(request.id, approve=False)
    assert store.requests.submit("insurer", "plan-1", "SELECT 1", {}).state == "refused"
    assert not store.requests.use("insurer", "plan-1")
    store.requests.decide(request.id, approve=True)
    assert store.requests.use("insurer", "plan-1")


def test_a_peer_cannot_fill_the_disk_with_requests(store: Store) -> None:
    for number in range(100):
        store.requests.submit("insurer", f"plan-{number}", "SELECT 1", {})
    with pytest.raises(UsageError) as error:
        store.requests.submit("insurer", "plan-100", "SELECT 1", {})
    assert error.value.code == "requests_full"
    assert store.requests.submit("bank", "plan-100", "SELECT 1", {}).state == "waiting"


def test_releases_come_back_whole(store: Store) -> None:
    body = {"columns": ["n"], "rows": [["9007199254740993"]], "learned": {"a": []}}
    identifier = store.releases.add("insurer", "SELECT 1", "plan-1", body)
    assert store.releases.get(identifier).body == body
    assert [one.id for one in store.releases.all()] == [identifier]
    with pytest.raises(ValueError, match=r"NaN|Out of range"):
        store.releases.add("insurer", "SELECT 1", "plan-1", {"rows": [[float("nan")]]})
    with pytest.raises(UsageError):
        store.releases.get("r0")


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE audit SET peer = 'bank' WHERE number = 2",
        "UPDATE audit SET detail = '{}' WHERE number = 1",
        "DELETE FROM audit WHERE number = 2",
    ],
)
def test_the_audit_chain_shows_an_edit(tmp_path: Path, store: Store, edit: str) -> None:
    for number in range(3):
        store.audit.append("query", peer="insurer", plan_digest="d", number=number)
    assert store.audit.verify() == 3
    other = sqlite3.connect(tmp_path / "state.db")
    other.execute(edit)
    other.commit()
    other.close()
    with pytest.raises(IntegrityError) as error:
        store.audit.verify()
    assert error.value.code == "audit_broken"


def test_a_newer_schema_is_refused(tmp_path: Path, store: Store) -> None:
    store.database.run(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    with pytest.raises(UsageError) as error:
        Store(tmp_path / "state.db")
    assert error.value.code == "state_newer"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database at all" * 500)
    with pytest.raises(IntegrityError) as error:
        Store(tmp_path / "state.db")
    assert error.value.code == "state_damaged"


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:

    def half() -> None:
        with store.database.transaction():
            store.set_setting("a", 1)
            with store.database.transaction():
                store.set_setting("b", 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.setting("a") is None
    assert store.setting("b") is None


WRITER = """
import sys
from pathlib import Path
import numpy as np
from privcompute.node.store import Store

store = Store(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    number += 1
    selection = np.zeros(20_000, dtype=bool)
    selection[: 20 * (number % 900)] = True
    store.ledger.record(version="v", dataset="d", peer="p", plan_digest=str(number), selections=[selection], minimum=10,
                        most_queries=10**6)
    store.audit.append("query", peer="p", plan_digest=str(number))
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for delay in (0.0, 0.02, 0.05):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            confirmed = int(writer.stdout.readline())
            time.sleep(delay)
            os.kill(writer.pid, signal.SIGKILL)
            rest = [line for line in writer.stdout.read().splitlines() if line]
        confirmed = max([confirmed, *(int(line) for line in rest[:-1])])
        store = Store(path)
        assert store.database.sound()
        store.audit.verify()
        recorded = {entry.plan_digest for entry in store.ledger.entries("v")}
        assert {str(number) for number in range(1, confirmed + 1)} <= recorded
        store.close()


def test_failed_runs_of_one_peer_are_kept_up_to_a_number(store: Store) -> None:
    """The oldest go, of that peer alone; answered runs stay; the chain holds over the gaps and shows a new one."""
    for number in range(30):
        store.audit.append("ended", peer="insurer", code="x", number=number)
        store.audit.prune("insurer", ("ended", "fault"), 5)
        if number % 10 == 0:
            store.audit.append("answered", peer="insurer")
            store.audit.append("ended", peer="bank", code="y")
    entries = store.audit.entries()
    mine = [e.detail["number"] for e in entries if e.peer == "insurer" and e.event == "ended"]
    assert mine == [29, 28, 27, 26, 25]
    assert sum(e.event == "answered" for e in entries) == sum(e.peer == "bank" for e in entries) == 3
    assert store.audit.verify() == len(entries) == 11
    gaps = store.database.row("SELECT count(*) FROM audit_pruned")
    assert gaps is not None
    assert gaps[0] == 4  # before, between and after the three others
    store.database.run("DELETE FROM audit WHERE number = ?", (entries[2].number,))
    with pytest.raises(IntegrityError):
        store.audit.verify()


def test_the_newest_entry_is_never_dropped(store: Store) -> None:
    store.audit.append("ended", peer="insurer")
    assert store.audit.prune("insurer", ("ended",), 0) == 0
    store.audit.append("ended", peer="insurer")
    assert store.audit.prune("insurer", ("ended",), 0) == 1
    store.audit.append("serve")
    assert store.audit.verify() == 2


def test_an_approval_that_waited_too_long_waits_for_the_owner(store: Store) -> None:
    request = store.requests.submit("insurer", "d", "SELECT …", {})
    store.requests.decide(request.id, approve=True)
    assert store.requests.expire(3600) == 0
    assert store.requests.approved("insurer", "d")
    assert store.requests.expire(-1) == 1
    assert not store.requests.approved("insurer", "d")
    again = store.requests.submit("insurer", "d", "SELECT …", {})
    assert (again.id, again.state, again.decided) == (request.id, "waiting", None)
    assert not store.requests.use("insurer", "d")


def test_results_of_one_askers_questions_are_kept_up_to_a_number(store: Store) -> None:
    own = store.releases.add("hospital", "SELECT …", "d", {"n": 0})
    made = [store.releases.add("insurer", "SELECT …", "d", {"n": n}, most=3) for n in range(5)]
    assert [one.id for one in store.releases.all()] == [own, *made[2:]]
