"""Which units are shown: against a statement of the rule in plain sets, and against people that are really there."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.query.union.suppress import Rule, shown_units

Counts = list[list[tuple[int, int]]]


def lines(axes: tuple[int, ...]) -> list[list[int]]:
    """Every marginal's units: some coordinates fixed, at least one free."""
    cells = list(itertools.product(*(range(size) for size in axes)))
    found = []
    for fixed in itertools.product((False, True), repeat=len(axes)):
        if all(fixed):
            continue
        for value in {tuple(c if f else None for c, f in zip(cell, fixed, strict=True)) for cell in cells}:
            match = [
                n for n, cell in enumerate(cells) if all(v is None or v == c for v, c in zip(value, cell, strict=True))
            ]
            found.append(match)
    return found


def tells(units: Counts, line: list[int], shown: set[int], rule: Rule) -> bool:
    """Whether what is left out of a line is too little, though somebody is in it."""
    hidden = [units[n] for n in line if n not in shown]
    for place, least in enumerate(rule.least):
        total = sum(unit[place][0] for unit in hidden)
        if not total:
            continue
        # The fewest people and holders that such numbers allow.
        people = max(max(unit[place][0] for unit in hidden), math.ceil(total / rule.cells_per_key))
        if people < least or max(unit[place][1] for unit in hidden) < rule.holders:
            return True
    return False


def flat(units: Counts) -> list[int]:
    return [number for unit in units for count in unit for number in count]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rule, Counts]:
    axes = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    places = draw(st.integers(1, 3))
    least = tuple(draw(st.lists(st.integers(1, 6), min_size=places, max_size=places)))
    rule = Rule(least, draw(st.integers(1, 3)), draw(st.integers(1, 3)), axes)
    count = st.one_of(st.just((0, 0)), st.tuples(st.integers(1, 12), st.integers(1, 4)))
    size = math.prod(axes)
    units = st.lists(st.lists(count, min_size=places, max_size=places), min_size=size, max_size=size)
    return rule, draw(units)


@given(case=cases())
@settings(max_examples=60)
def test_the_rule(case: tuple[Rule, Counts]) -> None:
    rule, units = case
    shown = set(shown_units(flat(units), rule))
    good = {
        n
        for n, unit in enumerate(units)
        if all(p >= least and h >= rule.holders for (p, h), least in zip(unit, rule.least, strict=True))
    }
    assert shown <= good
    for line in lines(rule.axes):
        # What is left out of a line tells nothing, or nothing of the line is shown.
        assert not tells(units, line, shown, rule) or not shown & set(line)
    # Nothing is left out without need: showing one more would give something away, at once or by what it had to cover.
    if len(good) == len(units) or all(u == [(0, 0)] * len(rule.least) for n, u in enumerate(units) if n not in good):
        assert shown == good


@given(case=cases())
@settings(max_examples=60)
def test_what_is_left_out_beyond_the_small_ones_follows_the_public_order(case: tuple[Rule, Counts]) -> None:
    rule, units = case
    shown = set(shown_units(flat(units), rule))
    for line in lines(rule.axes):
        small = [n for n in line if tells([units[n]], [0], set(), rule)]
        if len(rule.axes) == 1 and small and set(line) & shown:
            # Of one axis at most one good unit goes, and that is the last one.
            good = [n for n in line if _good(units[n], rule)]
            assert len(set(good) - shown) <= 1
            assert set(good) - shown <= {good[-1]}


def _good(unit: list[tuple[int, int]], rule: Rule) -> bool:
    return all(p >= least and h >= rule.holders for (p, h), least in zip(unit, rule.least, strict=True))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=60)
def test_no_marginal_less_what_is_shown_leaves_few_people_or_holders(seed: int) -> None:
    """People with rows in several cells, at several holders: the true numbers of what is left out are enough."""
    rng = np.random.default_rng(seed)
    axes = tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(1, 3))))
    cap, holders, cells = int(rng.integers(1, 4)), int(rng.integers(2, 5)), math.prod(axes)
    rule = Rule((int(rng.integers(1, 6)),), int(rng.integers(1, 3)), cap, axes)
    weights = rng.dirichlet(np.full(cells, 0.4))
    there: list[set[tuple[int, int]]] = [set() for _ in range(cells)]
    for holder in range(holders):
        for person in range(int(rng.integers(1, 15))):
            for cell in rng.choice(cells, size=int(rng.integers(1, cap + 1)), p=weights):
                there[int(cell)].add((holder, person))
    units: Counts = [[(len(cell), len({holder for holder, _ in cell}))] for cell in there]
    shown = set(shown_units(flat(units), rule))
    for line in lines(axes):
        left: set[tuple[int, int]] = set().union(*(there[n] for n in line if n not in shown))
        if left and shown & set(line):
            assert len(left) >= rule.least[0]
            assert len({holder for holder, _ in left}) >= rule.holders


def test_one_small_cell_is_covered_by_a_rectangle() -> None:
    rule = Rule((10,), 2, 1, (3, 3))
    units: Counts = [[(50, 3)] for _ in range(9)]
    units[0] = [(4, 3)]
    # Cell 2 covers it in its row, 6 in its column. Column 2 would give cell 2, and with it cell 0: so 8 goes too.
    assert shown_units(flat(units), rule) == (1, 3, 4, 5, 7)


@given(case=cases())
@settings(max_examples=60)
def test_no_chain_of_single_units_leads_to_a_small_one(case: tuple[Rule, Counts]) -> None:
    """Who knows all marginals takes away what is shown, and then each unit that is left alone in a line."""
    rule, units = case
    shown = set(shown_units(flat(units), rule))
    if not shown:
        return  # marginals of what is not shown at all are other questions' answers
    known = set(shown) | {n for n, unit in enumerate(units) if not any(p for p, _ in unit)}
    touched = [line for line in lines(rule.axes) if shown & set(line)]
    for _ in units:
        for line in touched:
            rest = [n for n in line if n not in known]
            if rest:
                assert not tells(units, rest, set(), rule) or not open_lines(rule, shown, line, known), (shown, rest)
            if len(rest) == 1:
                known.add(rest[0])


def open_lines(rule: Rule, shown: set[int], line: list[int], known: set[int]) -> bool:
    """Whether something could still be left out to cover this line."""
    around = {m for other in lines(rule.axes) if set(other) & set(line) & known for m in other}
    return bool(shown & around)


def test_an_empty_cell_needs_no_cover() -> None:
    rule = Rule((10,), 2, 1, (4,))
    assert shown_units(flat([[(20, 3)], [(0, 0)], [(30, 2)], [(0, 0)]]), rule) == (0, 2)


def test_two_holders_behind_a_cell_are_too_few_for_three() -> None:
    rule = Rule((1,), 3, 1, (3,))
    assert shown_units(flat([[(20, 3)], [(20, 2)], [(30, 4)]]), rule) == (0,)


def test_a_single_cell_has_no_total_to_be_taken_from() -> None:
    rule = Rule((10, 5), 3, 1, ())
    assert shown_units(flat([[(10, 3), (5, 3)]]), rule) == (0,)
    assert shown_units(flat([[(10, 3), (4, 3)]]), rule) == ()
    assert shown_units(flat([[(10, 3), (5, 2)]]), rule) == ()


def test_a_person_with_rows_in_many_cells_is_one_person() -> None:
    """Ten cells of one person each are ten contributors, and one human being."""
    units: Counts = [[(1, 1)] for _ in range(10)] + [[(40, 3)], [(40, 3)]]
    assert shown_units(flat(units), Rule((10,), 1, 10, (12,))) == (10,)
    assert shown_units(flat(units), Rule((10,), 1, 1, (12,))) == (10, 11)
