"""Cell suppression: of rows whose class may not be released, as few cells as possible are hidden, the rest stays as it
is.

Sets of columns are tried from small to large, of equal size those first that tell least. In each turn the rows that
are left are grouped by what would still show; classes that hold the models are done. A hidden cell is a label of its
own, so a class is what looks the same: nobody counts on a hidden cell matching anything. What is left at the end is
suppressed whole. The choice depends on the values alone, never on the order of the rows.

Source: the idea of local suppression is Samarati and Sweeney's (1998); the order of the sets is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from privcompute.anonymize.classes import Ints, Mask, Sensitive, classes_by, numbered
from privcompute.anonymize.columns import QuasiIdentifier
from privcompute.anonymize.models import Model, kept_by
from privcompute.anonymize.shown import Shown, at_node
from privcompute.errors import PrivacyError, UsageError

_MOST_SETS = 5000


def suppress_cells(
    columns: Sequence[QuasiIdentifier], sensitive: Mapping[str, Sensitive], models: Sequence[Model], limit: float
) -> Shown:
    """Hide cells until the models hold.

    Args:
        columns: the quasi-identifiers, coded.
        sensitive: the sensitive columns that models read.
        models: that must hold in each class.
        limit: the part of all cells that may be hidden.

    Raises:
        UsageError: `not_local` for a model that cannot be held class by class.
        PrivacyError: `infeasible` if more cells would have to be hidden.
    """
    if any(model.of_table or model.kind in ("k-map", "estimated-k-map", "delta-presence") for model in models):
        raise UsageError(
            "cell suppression holds models of single classes only",
            code="not_local",
            remedy='use search.algorithm = "exact"',
        )
    rows, width = len(columns[0].codes), len(columns)
    totals = {name: one.totals() for name, one in sensitive.items()}
    hidden = [np.zeros(rows, np.bool_) for _ in columns]
    left: Ints = np.arange(rows)
    for some in _sets(columns):
        if not len(left):
            break
        number = numbered([column.codes[left] for i, column in enumerate(columns) if i not in some], len(left))
        kept = kept_by(models, classes_by(number, sensitive, totals, left))
        done: Mask = kept[number]
        for i in some:
            hidden[i][left[done]] = True
        left = left[~done]
    suppressed = np.zeros(rows, np.bool_)
    suppressed[left] = True
    gone = sum(int(one.sum()) for one in hidden) + len(left) * width
    if gone > limit * rows * width + 1e-9:
        raise PrivacyError(
            f"{gone / max(1, rows * width):.2%} of the cells would have to be hidden, more than the policy allows",
            code="infeasible",
            remedy="raise search.suppression_limit, generalize, or ask less of the models",
        )
    plain = at_node(tuple(columns), (0,) * width, rows, suppressed)
    return Shown(plain.columns, suppressed, tuple(hidden))


def _sets(columns: Sequence[QuasiIdentifier]) -> list[tuple[int, ...]]:
    """Sets of columns to hide, never all of them, in the order in which they are tried."""
    told = [_entropy(column) for column in columns]
    found: list[tuple[int, ...]] = []
    for size in range(len(columns)):
        here = sorted(combinations(range(len(columns)), size), key=lambda some: (sum(told[i] for i in some), some))
        if len(found) + len(here) > _MOST_SETS:
            break
        found += here
    return found


def _entropy(column: QuasiIdentifier) -> float:
    share = np.bincount(column.codes) / max(1, len(column.codes))
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())
