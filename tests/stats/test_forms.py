"""Forms against brute force over joined rows, duplicates included."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.stats import Factor, Form

Row = dict[str, int]
TestForm = Form[str, str]

NAMES = ("u", "v")
rows = st.lists(
    st.fixed_dictionaries(
        {"key": st.integers(0, 4), "u": st.integers(-9, 9), "v": st.integers(-9, 9), "on": st.integers(0, 1)}
    ),
    max_size=8,
)
factors = st.builds(Factor, st.lists(st.sampled_from(NAMES), max_size=2).map(tuple), st.sampled_from(((), ("on",))))
coefficients = st.fractions(min_value=-3, max_value=3, max_denominator=6)
forms = st.dictionaries(st.tuples(factors, factors), coefficients, max_size=3).map(Form)


def factor_value(factor: Factor[str, str], row: Row) -> int:
    product = 1
    for name in factor.values:
        product *= row[name]
    return product if all(row[c] for c in factor.where) else 0


def value(form: TestForm, a: Row, b: Row) -> Fraction:
    return sum((c * factor_value(x, a) * factor_value(y, b) for (x, y), c in form), Fraction(0))


@given(forms, forms, rows, rows)
@settings(max_examples=200, deadline=None)
def test_algebra_holds_in_every_joined_row(x: TestForm, y: TestForm, left: list[Row], right: list[Row]) -> None:
    for a in left[:3]:
        for b in right[:3]:
            assert value(x + y, a, b) == value(x, a, b) + value(y, a, b)
            assert value(x - y, a, b) == value(x, a, b) - value(y, a, b)
            assert value(x * y, a, b) == value(x, a, b) * value(y, a, b)
            assert value(x.scaled(3), a, b) == 3 * value(x, a, b)


@given(forms, rows, rows)
@settings(max_examples=200, deadline=None)
def test_sums_per_key_give_the_sum_over_the_join(form: TestForm, left: list[Row], right: list[Row]) -> None:
    joined = sum((value(form, a, b) for a in left for b in right if a["key"] == b["key"]), Fraction(0))
    by_key = Fraction(0)
    for (x, y), c in form:
        for key in range(5):
            mine = sum(factor_value(x, a) for a in left if a["key"] == key)
            theirs = sum(factor_value(y, b) for b in right if b["key"] == key)
            by_key += c * mine * theirs
    assert by_key == joined


def test_equal_terms_are_kept_once() -> None:
    x: TestForm = Form.of(0, Factor(("u",)))
    assert len(x + x) == 1
    assert len(x - x) == 0
    assert x + x == x.scaled(2)
    assert Form.constant(1).is_one
    assert not (x + Form.constant(1)).is_one
