"""Types and values that cannot be grouped or written: named by column, never quoted, never read as others."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from privcompute.anonymize.encode import encode, tidy
from privcompute.anonymize.mask import Keys, desensitize_file
from privcompute.anonymize.mask.flow import csv_names
from privcompute.anonymize.mask.policy import load
from privcompute.anonymize.policy import ColumnRule
from privcompute.anonymize.prepare import capped
from privcompute.errors import UsageError


def coded(array: Any) -> Any:
    return encode("a", tidy(pa.chunked_array([array])))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[7777]]),
        pa.array([], pa.list_(pa.int8())),
        pa.array([{"x": 7777}]),
        pa.array([b"7777"]),
        pa.array([7777], pa.duration("s")),
        pa.array([77770000000000], pa.timestamp("s")),
        pa.array([7777], pa.timestamp("s", "Mars/7777")),
        pa.array([-7777000], pa.int32()).cast(pa.date32()),
    ],
    ids=lambda array: str(array.type),
)
def test_what_has_no_order_is_refused_without_a_quote(array: Any) -> None:
    with pytest.raises(UsageError) as error:
        coded(array)
    assert error.value.code == "bad_column"
    assert "7777" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_time_that_does_not_fit_is_refused_and_not_another_time() -> None:
    """2**62 seconds as microseconds would come round to 1970."""
    with pytest.raises(UsageError):
        coded(pa.array([1 << 62, 0], pa.timestamp("s")))
    for kind in (pa.timestamp("ns"), pa.time64("ns")):
        with pytest.raises(UsageError) as error:
            coded(pa.array([1, 2], kind))
        assert error.value.code == "bad_column"


def test_minus_zero_is_zero() -> None:
    found = coded(pa.array([-0.0, 0.0, 1.0]))
    assert found.texts == ("0.0", "1.0")
    assert found.codes.tolist() == [0, 0, 1]


def test_what_has_an_order_is_coded_in_it() -> None:
    assert coded(pa.nulls(2)).values == (None,)
    assert coded(pa.array([2, None, 1], pa.decimal256(40, 1))).texts == ("1.0", "2.0", None)
    assert coded(pa.array([5000, 0], pa.timestamp("ns"))).texts[1] == "1970-01-01T00:00:00.000005"
    assert coded(pa.array([True, False])).texts == ("false", "true")
    assert coded(pa.array([dt.time(3), dt.time(1)])).codes.tolist() == [1, 0]
    assert coded(pa.array(["b", "a"], pa.string_view())).texts == ("a", "b")


@pytest.mark.parametrize(("bound", "kind"), [(1 << 70, pa.int64()), (300, pa.int8()), (-1, pa.uint8())])
def test_a_bound_that_a_column_cannot_hold(bound: float, kind: Any) -> None:
    with pytest.raises(UsageError) as error:
        capped("a", pa.chunked_array([pa.array([1], kind)]), ColumnRule("qi", top=bound))
    assert error.value.code == "bad_column"


def test_a_file_that_is_no_csv_is_named_by_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"name,b\n7777\xff\xfe,1\n")
    assert csv_names(str(tmp_path / "a.csv")) in ((), ("name", "b"))
    (tmp_path / "p.toml").write_text('version = 1\n[columns]\nname = { op = "redact" }\n', encoding="utf-8")
    with pytest.raises(UsageError) as error:
        desensitize_file(str(tmp_path / "a.csv"), load(tmp_path / "p.toml"), Keys({}), tmp_path / "out.csv")
    assert "7777" not in str(error.value)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv", "p.toml"]


def test_a_fault_of_an_operator_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Arrow error between two writes is none of the writer's: it is not called an output that cannot be written."""
    from privcompute.anonymize.mask.flow import Desensitizer

    def broken(self: Any, batch: Any) -> Any:
        raise pa.ArrowInvalid("of an operator")

    monkeypatch.setattr(Desensitizer, "batch", broken)
    (tmp_path / "a.csv").write_text("name\nx\n", encoding="utf-8")
    (tmp_path / "p.toml").write_text('version = 1\n[columns]\nname = { op = "redact" }\n', encoding="utf-8")
    with pytest.raises(pa.ArrowInvalid, match="of an operator"):
        desensitize_file(str(tmp_path / "a.csv"), load(tmp_path / "p.toml"), Keys({}), tmp_path / "out.csv")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv", "p.toml"]
