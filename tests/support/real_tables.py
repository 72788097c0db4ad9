"""Real tables: the time-zone database that the `tzdata` package ships, and the census data where it lies nearby."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import importlib.resources
import io
import re
import zoneinfo
from pathlib import Path
from typing import Any

import pyarrow as pa

ADULT = Path(__file__).parents[3] / "shared" / "data" / "anonymize" / "adult_raw" / "adult_raw.csv.gz"
_PLACE = re.compile(r"([+-])(\d{2,3})(\d{2})(\d{2})?")


def _rows(name: str) -> list[list[str]]:
    text = (importlib.resources.files("tzdata") / "zoneinfo" / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def _degrees(text: str) -> tuple[float, float]:
    latitude, longitude = (
        float(f"{sign}1") * (int(degrees) + int(minutes) / 60 + int(seconds or 0) / 3600)
        for sign, degrees, minutes, seconds in _PLACE.findall(text)
    )
    return latitude, longitude


def zones() -> pa.Table:
    """The world's time zones: country code (several zones a country), name, place, comment."""
    rows = [[*row, None][:4] for row in _rows("zone.tab")]
    places = [_degrees(str(row[1])) for row in rows]
    return pa.table(
        {
            "country": [row[0] for row in rows],
            "zone": [row[2] for row in rows],
            "latitude": [place[0] for place in places],
            "longitude": [place[1] for place in places],
            "comment": pa.array([row[3] for row in rows], pa.string()),
        }
    )


def countries() -> pa.Table:
    """The countries of ISO 3166: code and name."""
    rows = _rows("iso3166.tab")
    return pa.table({"country": [row[0] for row in rows], "name": [row[1] for row in rows]})


def clocks() -> pa.Table:
    """What each zone's clock says: minutes east of Greenwich in January and July, whether it is turned."""
    names = sorted({row[2] for row in _rows("zone.tab")})
    offsets = []
    for name in names:
        zone = zoneinfo.ZoneInfo(name)
        at = (dt.datetime(2024, month, 1, tzinfo=zone).utcoffset() for month in (1, 7))
        offsets.append([int(offset.total_seconds()) // 60 for offset in at if offset is not None])
    return pa.table(
        {
            "zone": names,
            "january": pa.array([one[0] for one in offsets], pa.int32()),
            "july": pa.array([one[1] for one in offsets], pa.int32()),
            "turned": [one[0] != one[1] for one in offsets],
        }
    )


def adult() -> tuple[pa.Table, pa.Table]:
    """The census table split by columns: what a statistics office knows, and what a tax office knows, by person."""
    with gzip.open(ADULT, "rt", encoding="utf-8", newline="") as file:
        lines = [line for line in file.read().splitlines() if line.strip()]
    rows = [{k.strip(): v.strip() for k, v in row.items()} for row in csv.DictReader(io.StringIO("\n".join(lines)))]
    names = list(rows[0])
    person = [f"{n:05d}" for n in range(len(rows))]

    def column(wanted: str) -> list[str | None]:
        (name,) = [one for one in names if one.casefold().replace("_", "-") == wanted]
        return [None if row[name] == "?" else row[name] for row in rows]

    def whole(wanted: str) -> pa.Array[Any]:
        return pa.array([None if v is None else int(v) for v in column(wanted)], pa.int32())

    office: dict[str, Any] = {
        "person": person,
        "age": whole("age"),
        "sex": column("sex"),
        "education": column("education"),
        "workclass": pa.array(column("workclass"), pa.string()),
    }
    tax: dict[str, Any] = {
        "person": person[::-1],
        "hours": whole("hours-per-week")[::-1],
        "gain": whole("capital-gain")[::-1],
        "rich": [v == ">50K" for v in column("salary-class")][::-1],
    }
    return pa.table(office), pa.table(tax)
