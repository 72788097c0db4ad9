"""Mondrian: the space of the quasi-identifiers is cut in two at medians, again and again, while the models hold.

Each column is put on a line: numbers, dates and ordered categories in their order, others in the order of their
hierarchy's lines (or sorted). A box is cut at the median of the column in which it is widest, relative to the column's
range. *Strict* boxes do not overlap: the cut moves to the value nearest to the median that leaves both sides large
enough. *Relaxed* boxes are cut so as long as they can be, then rows of equal values are parted at the median, in
canonical order. What a box shows is its range in each column, or the values in it.

Source: LeFevre, DeWitt, Ramakrishnan, ICDE 2006.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from privcompute.anonymize.classes import Doubles, Ints, Sensitive, classes_by
from privcompute.anonymize.columns import AnyCodes, QuasiIdentifier, narrow
from privcompute.anonymize.hierarchy.tree import Label
from privcompute.anonymize.kernels.mondrian import split
from privcompute.anonymize.models import KAnonymity, Model
from privcompute.anonymize.shown import Shown, ShownColumn
from privcompute.errors import PrivacyError, UsageError

_ALONE = 20_000
"""Fewer tuples than this are not worth a second thread."""


def mondrian(
    columns: Sequence[QuasiIdentifier],
    sensitive: Mapping[str, Sensitive],
    models: Sequence[Model],
    k: int,
    *,
    strict: bool,
    tie: Ints | None = None,
) -> Shown:
    """Cut a table into boxes under some models.

    Args:
        columns: the quasi-identifiers, coded.
        sensitive: the sensitive columns that models read.
        models: that must hold in each box; not those that need a population or the whole table.
        k: the least rows of a box.
        strict: whether boxes may not overlap.
        tie: (rows,), what decides between rows of equal quasi-identifiers, where boxes may part them; None: their
        order.

    Raises:
        UsageError: `not_local` for a model that cannot be held box by box.
        PrivacyError: `infeasible` if not even the whole table is one good box.
    """
    other = [model for model in models if not isinstance(model, KAnonymity)]
    if any(model.of_table or model.kind in ("k-map", "estimated-k-map", "delta-presence") for model in models):
        raise UsageError(
            "Mondrian holds models of single classes only", code="not_local", remedy='use search.algorithm = "exact"'
        )
    rows = len(columns[0].codes)
    if rows and rows < k:
        raise PrivacyError(f"the table has {rows} rows, fewer than k", code="infeasible", remedy="lower k")
    lines = [_line(column) for column in columns]
    places = [line.place[column.codes] for line, column in zip(lines, columns, strict=True)]
    scales = [line.scale for line in lines]
    if not rows:
        found = Boxes(np.empty(0, np.int64), *(np.empty((len(columns), 0), np.int64) for _ in range(2)))
    elif other:
        found = _checked_boxes(places, scales, sensitive, models, None if strict else _canonical(places, tie))
    elif strict:
        found = boxes(places, scales, k, strict=True)
    else:
        # Rows of one tuple are parted in canonical order.
        order = _canonical(places, tie)
        found = boxes([place[order] for place in places], scales, k, strict=False)
        box = np.empty(rows, np.int64)
        box[order] = found.box
        found = replace(found, box=box)
    return _shown(columns, lines, found)


@dataclass(frozen=True)
class Boxes:
    """Rows in boxes.

    Attributes:
        box: (rows,), box numbers from 0.
        low: (columns, boxes), the lowest place of each box on each column's line.
        high: (columns, boxes), the highest.
    """

    box: Ints = field(repr=False)
    low: Ints = field(repr=False)
    high: Ints = field(repr=False)


def boxes(places: Sequence[AnyCodes], scales: Sequence[Doubles], k: int, *, strict: bool) -> Boxes:
    """The boxes of rows under k-anonymity alone.

    Args:
        places: per column, (rows,), codes along its line.
        scales: per column, where each code lies in the column's range, within [0, 1], ascending.
        k: the least rows of a box.
        strict: whether boxes may not overlap.
    """
    count = len(places[0])
    kind = max((place.dtype for place in places), key=lambda one: one.itemsize)
    codes = np.empty((len(places), count), kind)
    for column, place in enumerate(places):
        codes[column] = place
    weight, who = np.ones(count, np.int64), np.arange(count, dtype=np.int32)
    offset = np.concatenate([[0], np.cumsum([len(scale) for scale in scales])]).astype(np.int64)[:-1]
    scale = np.concatenate(scales)

    def cut(begin: int, end: int, least: int) -> Ints:
        ends = np.empty(max(2, (end - begin) // k + 1), np.int64)
        found = split(codes, weight, who, scale, offset, k, not strict, begin, end, least, ends)
        return ends[: int(found)]

    workers = min(os.cpu_count() or 1, 8) if count > _ALONE else 1
    if workers == 1:
        ends = cut(0, count, 0)
    else:
        first = cut(0, count, count // (4 * workers))
        starts = np.concatenate([[0], first[:-1]])
        with ThreadPoolExecutor(workers) as pool:
            parts = pool.map(lambda one: cut(int(one[0]), int(one[1]), 0), zip(starts, first, strict=True))
            ends = np.concatenate(list(parts))
    box = np.empty(count, np.int64)
    box[who] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    # The rows of a box now lie side by side.
    starts = np.concatenate([[0], ends[:-1]])
    low = np.minimum.reduceat(codes, starts, axis=1).astype(np.int64)
    return Boxes(box, low, np.maximum.reduceat(codes, starts, axis=1).astype(np.int64))


def _canonical(places: Sequence[AnyCodes], tie: Ints | None) -> Ints:
    """The rows in the order of what they hold."""
    keys = [*places, *([] if tie is None else [tie])]
    return np.lexsort(keys[::-1]).astype(np.int64)


def _checked_boxes(
    places: Sequence[AnyCodes],
    scales: Sequence[Doubles],
    sensitive: Mapping[str, Sensitive],
    models: Sequence[Model],
    order: Ints | None,
) -> Boxes:
    """As `boxes`, with every cut tried against all models; relaxed if an order is given."""
    rows, strict = len(places[0]), order is None
    start = np.arange(rows) if order is None else order
    totals = {name: one.totals() for name, one in sensitive.items()}

    def good(*parts: Ints) -> bool:
        number = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        classes = classes_by(number, sensitive, totals, np.concatenate(parts))
        return all(bool(model.holds(classes).all()) for model in models)

    if not good(start):
        raise PrivacyError(
            "not even the whole table as one class holds the models",
            code="infeasible",
            remedy="ask less of the models",
        )
    box, waiting = np.empty(rows, np.int64), [start]
    done: list[Ints] = []
    while waiting:
        mine = waiting.pop()
        halves = next((two for two in _cuts(mine, places, scales, strict=strict) if good(*two)), None)
        if halves is None:
            box[mine] = len(done)
            done.append(mine)
        else:
            waiting += halves[::-1]
    low = np.array([[int(place[mine].min()) for mine in done] for place in places], np.int64)
    return Boxes(box, low, np.array([[int(place[mine].max()) for mine in done] for place in places], np.int64))


def _cuts(
    mine: Ints, places: Sequence[AnyCodes], scales: Sequence[Doubles], *, strict: bool
) -> Iterator[tuple[Ints, Ints]]:
    """The two halves of a box, by its columns from the widest on."""
    values = [place[mine] for place in places]
    spans = [float(scale[int(v.max())] - scale[int(v.min())]) for v, scale in zip(values, scales, strict=True)]
    wide = [one for one in sorted(range(len(places)), key=lambda one: (-spans[one], one)) if spans[one] > 0]
    for column in wide:
        kinds, counts = np.unique(values[column], return_counts=True)
        before = np.cumsum(counts)[:-1]
        left = values[column] <= kinds[int(np.argmin(np.abs(2 * before - len(mine))))]
        yield mine[left], mine[~left]
    for column in () if strict else wide:
        left = np.zeros(len(mine), np.bool_)
        left[np.argsort(values[column], kind="stable")[: len(mine) // 2]] = True
        yield mine[left], mine[~left]


@dataclass(frozen=True)
class _Line:
    """A column on a line.

    Attributes:
        place: (values,), where each code stands.
        order: (values,), the code at each place.
        scale: (values,), each place's part of the range.
        numbers: the values as numbers, by place; None for categories.
        leaf: (values,), the place of each value's leaf in the hierarchy.
    """

    place: AnyCodes
    order: Ints
    scale: Doubles
    numbers: tuple[float, ...] | None
    leaf: Ints


def _line(column: QuasiIdentifier) -> _Line:
    leaf = {label: place for place, label in enumerate(column.hierarchy.leaves)}
    leaves = np.array([leaf[value] for value in column.values], np.int64)
    numbers = _numbers(column.values)
    if numbers is not None:
        order = np.argsort(np.array(numbers), kind="stable")
        ordered = np.array(numbers)[order]
        width = ordered[-1] - ordered[0] if len(ordered) else 0.0
        scale = (ordered - ordered[0]) / width if width > 0 else np.zeros(len(ordered))
    else:
        order = np.argsort(leaves, kind="stable")
        scale = leaves[order] / max(1, column.domain - 1)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return _Line(
        narrow(place, len(order)),
        order,
        scale.astype(np.float64),
        None if numbers is None else tuple(np.array(numbers)[order].tolist()),
        leaves,
    )


def _numbers(values: Sequence[Label]) -> list[float] | None:
    """The values as numbers, if all are plain ones."""
    found = []
    for value in values:
        if value is None or not _NUMBER.fullmatch(value):
            return None
        found.append(float(value))
    return found


_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")


def _shown(columns: Sequence[QuasiIdentifier], lines: Sequence[_Line], boxes: Boxes) -> Shown:
    """What the boxes show: in each column the range of their rows."""
    found = []
    for column, line, low, high in zip(columns, lines, boxes.low, boxes.high, strict=True):
        width = max(1, len(line.order))
        part_of = cache(column.hierarchy.share)  # made for all labels of a level at a time
        pairs, which = np.unique(low * width + high, return_inverse=True)
        # Two ranges may have one name (the label of a hierarchy): then it is one label.
        names: dict[Label, int] = {}
        shares, single, number = [], [], np.empty(len(pairs), np.int64)
        for place, pair in enumerate(pairs.tolist()):
            label, share = _label(column, line, part_of, pair // width, pair % width)
            if label not in names:
                names[label] = len(names)
                shares.append(share)
                single.append(pair // width == pair % width)
            number[place] = names[label]
        codes = number[which][boxes.box]
        found.append(ShownColumn(tuple(names), codes, np.array(shares, np.float64), np.array(single, np.bool_)))
    return Shown(tuple(found), np.zeros(len(boxes.box), np.bool_))


def _label(
    column: QuasiIdentifier, line: _Line, part_of: Callable[[int], Mapping[Label, float]], low: int, high: int
) -> tuple[Label, float]:
    """The name of a range, and the part of the domain that it covers."""
    codes = line.order[low : high + 1]
    first, last = column.values[codes[0]], column.values[codes[-1]]
    if low == high:
        return first, 1 / max(1, column.domain)
    if line.numbers is not None:
        share = float(line.scale[high] - line.scale[low])
        plain = line.numbers[low] >= 0 and all(n.is_integer() for n in (line.numbers[low], line.numbers[high]))
        return (f"{first}-{last}" if plain else f"[{first}, {last}]"), share
    if column.hierarchy.ordered:
        return f"{first}..{last}", (line.leaf[codes[-1]] - line.leaf[codes[0]] + 1) / column.domain
    if column.hierarchy.height > 1:
        for level in range(1, column.height + 1):
            if len(set(column.maps[level][codes].tolist())) == 1:
                label = column.labels[level][column.maps[level][codes[0]]]
                return label, float(part_of(level)[label])
    return "|".join("" if column.values[c] is None else str(column.values[c]) for c in codes), len(
        codes
    ) / column.domain
