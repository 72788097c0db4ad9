"""Sources of all five kinds that hold the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import postgres
from support.five_sources import KINDS, fill_postgres, keyed_rows, write

from privcompute.tables import Source, open_source

_PARAMS = [pytest.param(kind, marks=pytest.mark.postgres) if kind == "postgresql" else kind for kind in KINDS]


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """One PostgreSQL server for the whole run."""
    reason = postgres.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgres.server() as running:
        yield running


@pytest.fixture(
    scope="session", params=[pytest.param(k, marks=pytest.mark.postgres) if k == "postgresql" else k for k in KINDS]
)
def same(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The rows in a source of each kind."""
    kind: str = request.param
    directory = tmp_path_factory.mktemp(kind)
    if kind == "postgresql":
        running: postgres.Server = request.getfixturevalue("server")
        fill_postgres(running)
        return open_source(running.url("public.same"), credentials=running.password_file, keys=["id"])
    return open_source(write(kind, directory), keys=["id"])


@pytest.fixture(
    scope="session", params=[pytest.param(k, marks=pytest.mark.postgres) if k == "postgresql" else k for k in KINDS]
)
def keyed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The rows that have a key, in a source of each kind."""
    kind: str = request.param
    if kind == "postgresql":
        running: postgres.Server = request.getfixturevalue("server")
        fill_postgres(running, "keyed", keyed_rows())
        return open_source(running.url("public.keyed"), credentials=running.password_file, keys=["id"])
    return open_source(write(kind, tmp_path_factory.mktemp(kind), keyed_rows()), keys=["id"])
