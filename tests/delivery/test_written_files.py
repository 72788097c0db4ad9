"""`receive -o`: every type that is delivered goes into every format, or is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest

from privcompute.cli.release import _written
from privcompute.errors import UsageError

TABLE = pa.table(
    {
        "i": pa.array([1, None, 2**63 - 1]),
        "f": pa.array([0.1, None, float("inf")]),
        "b": pa.array([True, None, False]),
        "s": pa.array(['comma, "quote"', None, "line\nbreak\u2028北京"]),
        "bin": pa.array([b"plain", None, b""]),
        "day": pa.array([dt.date(2020, 2, 29), None, dt.date(1, 1, 1)]),
        "at": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 4), None, None], pa.timestamp("us")),
        "utc": pa.array([0, None, 1], pa.timestamp("ns", "UTC")),
        "time": pa.array([dt.time(1, 2, 3), None, None], pa.time64("us")),
        "money": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2.00")], pa.decimal128(10, 2)),
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_every_type_in_every_format(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"t{suffix}"
    with _written(output, TABLE.schema) as write:
        for batch in TABLE.to_batches(max_chunksize=2):
            write(batch)
    if suffix == ".parquet":
        assert parquet.read_table(output).to_pydict() == TABLE.to_pydict()
    elif suffix == ".arrow":
        with pa.ipc.open_file(str(output)) as reader:
            assert reader.read_all().to_pydict() == TABLE.to_pydict()
    else:
        options = csv.ConvertOptions(
            column_types=TABLE.schema, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        parse = csv.ParseOptions(newlines_in_values=True)
        found = csv.read_csv(output, convert_options=options, parse_options=parse)
        assert found["s"].to_pylist() == TABLE["s"].to_pylist()
        assert found["money"].to_pylist() == TABLE["money"].to_pylist()
        assert found["day"].to_pylist() == TABLE["day"].to_pylist()
    assert [one.name for one in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize(
    ("suffix", "column"),
    [(".csv", pa.array([b"Secret\xff\xfe"])), (".parquet", pa.array([2**62], pa.timestamp("s")))],
)
def test_a_value_that_a_format_cannot_hold(tmp_path: Path, suffix: str, column: pa.Array[pa.Scalar[Any]]) -> None:
    """A peer's value: refused in one line without it, and no half of a file stays."""
    table = pa.table({"x": column})
    with pytest.raises(UsageError) as caught, _written(tmp_path / f"t{suffix}", table.schema) as write:
        write(table.to_batches()[0])
    assert caught.value.code == "bad_output"
    assert ".arrow" in caught.value.remedy
    assert "Secret" not in caught.value.message
    assert not list(tmp_path.iterdir())
    with _written(tmp_path / "t.arrow", table.schema) as write:
        write(table.to_batches()[0])


def test_an_output_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious, output = tmp_path / "precious", tmp_path / "t.csv"
    precious.write_text("precious")
    output.symlink_to(precious)
    with _written(output, TABLE.schema) as write:
        write(TABLE.to_batches()[0])
    assert precious.read_text() == "precious"
    assert not output.is_symlink()
