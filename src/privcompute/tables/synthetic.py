"""The demos' tables: people of one population, some known to a hospital, some to an insurer, some to both; and, for
the union, the patients of five hospitals.

Everything follows from a public seed: whoever runs the demo gets the same rows. Nobody's data is in it. What is
planted, so that a question has something to find:

- a smoker's claims are higher by `SMOKER_EXTRA`, and claims grow by `PER_BMI` with each unit of body mass index;
- older people visit more often; gold plans cost more;
- some values are NULL, in each table some people have a second row and some rows have no identifier;
- identifiers are ten digits, some with leading zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.errors import UsageError
from privcompute.randomness import Stream, public_stream

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    Column = pa.Array[Any]

ROWS = 20_000
SEED = 20_260_101

SMOKER_EXTRA = 900.0
"""Currency units a smoker's claim is higher by, on average."""

PER_BMI = 45.0
"""Currency units a claim rises by with each unit of body mass index, on average."""

REGIONS = ("Coast", "Delta", "Harbour", "Hills", "North", "Old Town")
PLANS = ("basic", "plus", "gold")
HOSPITALS = ("coast", "delta", "harbour", "hills", "north")
"""The holders of the union's demo; each has its own patients."""

WARDS = ("heart", "lung", "bone", "child", "rare")
"""Where they lie; the last ward has a handful of patients in all hospitals together."""

_SHARED = 0.7
_SECOND_ROWS = 0.04
_NO_IDENTIFIER = 0.001
_NULLS = 0.02
_DAYS_TO_2015 = 16_436


_BOTH = "FROM hospital.patients h JOIN insurer.members i ON h.national_id = i.national_id"
_OVER_ALL = "SELECT COUNT(*) AS n, AVG(h.bmi) AS bmi, AVG(i.claim) AS claim, SUM(h.visits * i.unit_cost) AS cost"
_SMOKING = "AVG(CASE WHEN h.smoker THEN i.claim END) AS smokers, AVG(CASE WHEN NOT h.smoker THEN i.claim END) AS others"
_PRODUCTS = "COUNT(h.bmi) AS measured, SUM(h.bmi * i.claim) AS together, AVG(h.systolic) AS pressure"

DEMO_QUERIES = (
    f"{_OVER_ALL} {_BOTH} WHERE h.age >= 18 AND i.active",
    f"SELECT {_SMOKING} {_BOTH} WHERE h.age >= 18",
    f"SELECT COUNT(DISTINCT h.national_id) AS people, {_PRODUCTS} {_BOTH} WHERE i.plan = 'gold' AND h.age < 65",
)
"""What the demo asks: over all, planted effects in the open, and products of both sides."""

_UNION = "FROM UNION(patients)"
_ADULT = "WHERE age >= 18 GROUP BY smoker"

UNION_QUERIES = (
    f"SELECT COUNT(*) AS n, SUM(cost) AS cost, AVG(bmi) AS bmi, CORR(age, cost) AS age_cost {_UNION} WHERE age >= 18",
    f"SELECT ward, COUNT(*) AS n, AVG(cost) AS cost, STDDEV_SAMP(cost) AS spread {_UNION} GROUP BY ward",
    f"SELECT smoker, COUNT(*) AS n, AVG(systolic) AS pressure, REGR_SLOPE(systolic, age) AS slope {_UNION} {_ADULT}",
)
"""What the union's demo asks: while one hospital drops out, by wards of which one is too small, and by Paillier."""


def union_tables(rows: int = ROWS, seed: int = SEED) -> dict[str, pa.Table]:
    """Generate the tables of the union's demo.

    Args:
        rows: rows of each table, at least 100.
        seed: public, not negative.

    Returns:
        By party of `HOSPITALS`, its table of patients: patient_id, ward, sex, age, bmi, smoker, visits, systolic,
        admitted, cost DECIMAL(10,2).

    Raises:
        UsageError: `bad_size`.
    """
    if rows < 100:
        raise UsageError("the demo's tables have at least 100 rows", code="bad_size")
    return {party: _in_hospital(party, rows, seed) for party in HOSPITALS}


def demo_tables(rows: int = ROWS, seed: int = SEED) -> dict[str, pa.Table]:
    """Generate both tables.

    Args:
        rows: rows of each table, at least 100.
        seed: public, not negative.

    Returns:
        By party: `hospital`, the table of patients (national_id, region, sex, age, bmi, smoker, visits, systolic,
        admitted), and `insurer`, the table of members (national_id, plan, active, claim DECIMAL(10,2), unit_cost
        DECIMAL(8,2), since).

    Raises:
        UsageError: `bad_size`.
    """
    if rows < 100:
        raise UsageError("the demo's tables have at least 100 rows", code="bad_size")
    stream = public_stream(seed.to_bytes(16, "big"), "demo tables")
    distinct = rows - int(rows * _SECOND_ROWS)
    shared = int(distinct * _SHARED)
    people = _people(stream, 2 * distinct - shared)
    return {
        "hospital": _patients(stream, people, _rows_of(stream, 0, distinct, rows)),
        "insurer": _members(stream, people, _rows_of(stream, distinct - shared, distinct, rows)),
    }


@dataclass(frozen=True)
class _People:
    """One entry a person: what both tables draw on."""

    identifier: Ints
    age: Ints
    bmi: Floats
    smoker: Bools
    region: Ints


def _uniform(stream: Stream, n: int) -> Floats:
    """n uniform numbers in [0, 1)."""
    return (stream.uint64(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _normal(stream: Stream, n: int) -> Floats:
    """n numbers close to standard normal: twelve uniforms less six."""
    total = np.zeros(n)
    for _ in range(12):
        total += _uniform(stream, n)
    return total - 6.0


def _people(stream: Stream, n: int) -> _People:
    # Steps of a walk through the ten-digit numbers: distinct, and spread over all leading digits.
    steps = 1 + (_uniform(stream, n) * (10**10 // n - 2)).astype(np.int64)
    identifier = np.cumsum(steps)[stream.permutation(n)]
    age = np.clip(np.rint(46 + 21 * _normal(stream, n)), 0, 99).astype(np.int64)
    bmi = np.clip(25 + 0.03 * (age - 46) + 4 * _normal(stream, n), 14, 49)
    smoker = _uniform(stream, n) < np.where(age >= 16, 0.24, 0.0)
    region = (_uniform(stream, n) ** 1.5 * len(REGIONS)).astype(np.int64)
    return _People(identifier, age, np.rint(bmi * 10) / 10, smoker, region)


def _rows_of(stream: Stream, first: int, distinct: int, rows: int) -> Ints:
    """Which person each row is of: everybody once, some a second time, in random order."""
    again = (_uniform(stream, rows - distinct) * distinct).astype(np.int64)
    return (first + np.concatenate([np.arange(distinct), again]))[stream.permutation(rows)]


def _with_nulls(stream: Stream, values: Column, share: float = _NULLS) -> Column:
    mixed: Column = pc.if_else(pa.array(_uniform(stream, len(values)) < share), pa.scalar(None, values.type), values)
    return mixed


def _identifiers(stream: Stream, people: _People, who: Ints) -> Column:
    texts: Column = pc.utf8_lpad(pc.cast(pa.array(people.identifier[who]), pa.string()), width=10, padding="0")
    return _with_nulls(stream, texts, _NO_IDENTIFIER)


def _words(words: tuple[str, ...], index: Ints) -> Column:
    return pa.array([words[place] for place in index.tolist()], pa.string())


def _money(amounts: Floats, width: int) -> Column:
    """Whole cents as DECIMAL(width, 2)."""
    cents = np.rint(amounts * 100).astype(np.int64).tolist()
    return pa.array([Decimal(c).scaleb(-2) for c in cents], pa.decimal128(width, 2))


def _dates(stream: Stream, n: int) -> Column:
    days = _DAYS_TO_2015 + (_uniform(stream, n) * 3650).astype(np.int32)
    return pc.cast(pa.array(days, pa.int32()), pa.date32())


def _patients(stream: Stream, people: _People, who: Ints) -> pa.Table:
    n = len(who)
    age, bmi = people.age[who], people.bmi[who]
    visits = np.floor(-np.log(1 - _uniform(stream, n)) * (1 + age / 30)).astype(np.int64)
    systolic = np.rint(105 + 0.35 * age + 0.6 * (bmi - 25) + 9 * _normal(stream, n)).astype(np.int64)
    sex = (_uniform(stream, n) < 0.51).astype(np.int64)
    return pa.table(
        {
            "national_id": _identifiers(stream, people, who),
            "region": _with_nulls(stream, _words(REGIONS, people.region[who])),
            "sex": _words(("m", "f"), sex),
            "age": pa.array(age, pa.int32()),
            "bmi": _with_nulls(stream, pa.array(bmi)),
            "smoker": _with_nulls(stream, pa.array(people.smoker[who])),
            "visits": pa.array(np.minimum(visits, 60), pa.int32()),
            "systolic": _with_nulls(stream, pa.array(systolic, pa.int32())),
            "admitted": _dates(stream, n),
        }
    )


def _in_hospital(party: str, rows: int, seed: int) -> pa.Table:
    stream = public_stream(seed.to_bytes(16, "big"), f"union tables {party}")
    distinct = rows - int(rows * _SECOND_ROWS)
    people = _people(stream, distinct)
    who = _rows_of(stream, 0, distinct, rows)
    ward = np.minimum((_uniform(stream, rows) ** 1.3 * (len(WARDS) - 1)).astype(np.int64), len(WARDS) - 2)
    ward[:1] = len(WARDS) - 1
    mean = 1200 + PER_BMI * (people.bmi[who] - 22) + SMOKER_EXTRA * people.smoker[who] + 14 * people.age[who]
    cost = _money(np.maximum(mean + 600 * _normal(stream, rows), 0), 10)
    table = _patients(stream, people, who)
    identifiers = pc.utf8_lpad(pc.cast(pa.array(people.identifier[who]), pa.string()), width=10, padding="0")
    table = table.drop_columns(["national_id", "region"]).add_column(0, "patient_id", identifiers)
    return table.add_column(1, "ward", _words(WARDS, ward)).append_column("cost", _with_nulls(stream, cost))


def _members(stream: Stream, people: _People, who: Ints) -> pa.Table:
    n = len(who)
    plan = np.searchsorted([0.55, 0.85], _uniform(stream, n)).astype(np.int64)
    mean = 700 + PER_BMI * (people.bmi[who] - 22) + SMOKER_EXTRA * people.smoker[who] + 6 * people.age[who]
    claim = np.maximum(mean + 450 * _normal(stream, n), 0)
    unit_cost = 40 + 25 * plan + 8 * _uniform(stream, n)
    return pa.table(
        {
            "national_id": _identifiers(stream, people, who),
            "plan": _words(PLANS, plan),
            "active": pa.array(_uniform(stream, n) < 0.88),
            "claim": _with_nulls(stream, _money(claim, 10)),
            "unit_cost": _money(unit_cost, 8),
            "since": _dates(stream, n),
        }
    )
