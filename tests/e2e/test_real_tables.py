"""Real tables: the time-zone database of the `tzdata` package, and the census data where it lies nearby."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support import real_tables
from support.oracle import exact
from support.pairs import EVERYTHING, Pair

from privcompute.node import values


def _add(pair: Pair, left: tuple[str, pa.Table], right: tuple[str, pa.Table], key: str) -> None:
    for party, (name, table) in ((pair.hospital, left), (pair.insurer, right)):
        known = [one["name"] for one in party.ok("dataset", "list")["datasets"]]
        if name not in known:
            party.ok("dataset", "add", name, pair.write(name, table), "--key", key, *EVERYTHING)


def _check(pair: Pair, sql: str, tables: dict[str, pa.Table]) -> dict[str, Any]:
    """Asks, and compares with DuckDB on the same tables in one place."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            party, _, dataset = name.partition(".")
            connection.register("incoming", table)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {party}")
            connection.execute(f"CREATE TABLE {party}.{dataset} AS SELECT * FROM incoming")
            connection.unregister("incoming")
        ((*theirs,),) = connection.execute(sql).fetchall()
    answer = pair.insurer.query(sql)
    ((*ours,),) = answer["rows"]
    assert len(ours) == len(theirs)
    for column, mine, yours in zip(answer["columns"], ours, theirs, strict=True):
        bound = exact(answer["error_bound"][column])
        if isinstance(yours, int | Decimal):
            assert bound == 0
            assert mine == values.to_json(yours), column
        else:
            assert abs(exact(mine) - exact(yours)) <= bound, (column, mine, yours, bound)
            assert bound < max(Fraction(1), abs(exact(yours))) / 1000
    return answer


def test_the_world_s_clocks(two_nodes: Pair) -> None:
    zones, clocks = real_tables.zones(), real_tables.clocks()
    assert zones.num_rows > 350
    _add(two_nodes, ("zones", zones), ("clocks", clocks), "zone")
    answer = _check(
        two_nodes,
        """SELECT COUNT(*) AS zones, AVG(z.latitude) AS latitude, SUM(z.longitude * c.january) AS slope,
                  SUM(CASE WHEN c.turned THEN c.july ELSE 0 END) AS summer, COUNT(z.comment) AS remarks
           FROM hospital.zones z JOIN insurer.clocks c ON z.zone = c.zone WHERE z.latitude > 0""",
        {"hospital.zones": zones, "insurer.clocks": clocks},
    )
    assert answer["rows"][0][0] > 200


def test_countries_with_several_zones_count_with_their_multiplicity(two_nodes: Pair) -> None:
    zones, countries = real_tables.zones(), real_tables.countries()
    _add(two_nodes, ("places", zones), ("countries", countries), "country")
    answer = _check(
        two_nodes,
        """SELECT COUNT(*) AS zones, COUNT(DISTINCT p.country) AS countries, SUM(p.latitude) AS latitudes
           FROM hospital.places p JOIN insurer.countries c ON p.country = c.country WHERE c.name < 'N'""",
        {"hospital.places": zones, "insurer.countries": countries},
    )
    zones_found, countries_found, _ = answer["rows"][0]
    assert zones_found > countries_found > 100


def test_the_census_split_by_columns(two_nodes: Pair) -> None:
    if not real_tables.ADULT.exists():
        pytest.skip(f"the census data is not beside this checkout ({real_tables.ADULT.name})")
    office, tax = real_tables.adult()
    assert office.num_rows == 32_561
    _add(two_nodes, ("census", office), ("income", tax), "person")
    _check(
        two_nodes,
        """SELECT COUNT(*) AS people, AVG(t.hours) AS hours, SUM(o.age * t.gain) AS weighted,
                  COUNT(CASE WHEN t.rich THEN 1 END) AS rich, COUNT(o.workclass) AS known
           FROM hospital.census o JOIN insurer.income t ON o.person = t.person
           WHERE o.sex = 'Female' AND o.age BETWEEN 25 AND 60 AND t.hours >= 20""",
        {"hospital.census": office, "insurer.income": tax},
    )
