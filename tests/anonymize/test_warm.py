"""After the warm-up no release compiles a kernel; and the warm-up notices a kernel that computes something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privcompute.anonymize.kernels import warm
from privcompute.errors import IntegrityError
from privcompute.node import warm as node_warm

RELEASES = """
import itertools
import numpy as np, pyarrow as pa
from privcompute.anonymize import Policy
from privcompute.anonymize.kernels import closeness, grouping, mdav, mondrian, warm

def compiled():
    modules = (closeness, grouping, mdav, mondrian)
    return {
        (module.__name__, name): tuple(map(str, one.signatures))
        for module in modules for name, one in vars(module).items() if hasattr(one, "signatures")
    }

warm.warm_up()
before = compiled()
assert all(signatures for (_, name), signatures in before.items() if not name.startswith("_")), before
rng = np.random.default_rng(1)
rows = 300
table = pa.table({
    "age": rng.integers(20, 60, rows), "weight": rng.normal(size=rows), "zip": np.arange(rows) // 2,
    "ill": rng.choice(["x", "y", "z"], rows).tolist(),
})
POLICY = '''version = 1
[columns]
age = { role = "qi", hierarchy = { type = "interval", widths = [10], range = [0, 99] } }
weight = { role = "qi", microaggregate = true }
zip = { role = "qi" }
ill = { role = "sensitive", hierarchy = { type = "order", order = ["x", "y", "z"], sizes = [2] } }
[[models]]
type = "k-anonymity"
k = 2
[[models]]
type = "recursive-cl-diversity"
c = 99
l = 2
[[models]]
type = "t-closeness"
t = 0.95
distance = "%s"
[search]
suppression_limit = 0.9
max_loss = 1.0
algorithm = "%s"
metric = "loss"
'''
for distance, algorithm in itertools.product(
    ("equal", "ordered", "hierarchical"), ("exact", "mondrian-strict", "mondrian-relaxed", "cells")
):
    Policy.from_text(POLICY % (distance, algorithm)).apply(table)
wide = pa.table({"a": [f"v{i}" for i in range(1 << 17)]})
text = 'version = 1\\n[columns]\\na = {{ role = "qi", hierarchy = {{ type = "redaction", keep = [3, 1] }} }}\\n'
text += '[[models]]\\ntype = "k-anonymity"\\nk = 2\\n[search]\\nsuppression_limit = 0.01\\n'
Policy.from_text(text.format()).apply(wide)
after = compiled()
changed = {name: set(after[name]) - set(before[name]) for name in after if after[name] != before[name]}
assert not changed, changed
"""


def test_a_release_compiles_nothing_after_the_warm_up() -> None:
    done = subprocess.run([sys.executable, "-c", RELEASES], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "name",
    [
        "add_by_class",
        "class_histograms",
        "classes_at",
        "count_outside",
        "descending_tail",
        "hierarchical_distance",
        "mdav_groups",
        "ordered_distance",
        "recode",
        "smallest_below",
        "split",
    ],
)
def test_a_kernel_that_computes_something_else_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken variant: the kernel writes zeros and says that there is nothing."""

    def broken(*given: Any) -> int:
        if isinstance(given[-1], np.ndarray):
            given[-1][...] = 0
        return 0

    monkeypatch.setattr(warm, name, broken)
    with pytest.raises(IntegrityError) as error:
        warm.warm_up()
    assert error.value.code == "bad_kernel"


def test_set_up_looks_for_these_kernels_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from privcompute.kernels import compiled

    seen: list[str] = []

    def folder(package: Path) -> Path:
        seen.append(f"{package.parent.name}/{package.name}")
        place = tmp_path / package.parent.name / package.name
        place.mkdir(parents=True)
        if seen[-1] != "anonymize/kernels":
            (place / "one.nbc").touch()
        return place

    monkeypatch.setattr(compiled, "folder_for", folder)
    assert node_warm.cold()
    assert "anonymize/kernels" in seen
    (tmp_path / "anonymize" / "kernels" / "one.nbc").touch()
    monkeypatch.setattr(compiled, "folder_for", lambda package: tmp_path / package.parent.name / package.name)
    assert not node_warm.cold()
