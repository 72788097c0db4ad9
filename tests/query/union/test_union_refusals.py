"""What is not built over a union and what is outside the subset: refused by name, the text marked, with a remedy."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refusals import check_marked, marked_text
from support.union_world import UnionWorld, union_world

from privcompute.errors import PrivacyError, PrivcomputeError, UsageError
from privcompute.query import plan as plan_join
from privcompute.query.named import named_union
from privcompute.query.union import plan_union

FROM = " FROM UNION(people) p"

# (what is marked, the query around it as a template)
NOT_YET = (
    *((f"{name}(n)", f"SELECT {{}}{FROM}") for name in ("MIN", "MAX", "MEDIAN", "MODE")),
    ("QUANTILE(n, 0.5)", f"SELECT {{}}{FROM}"),
    ("PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY n)", f"SELECT COUNT(*), {{}} AS m{FROM}"),
    ("PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY n)", f"SELECT {{}}{FROM}"),
    ("TOPK(region, 3)", f"SELECT {{}}{FROM}"),
    ("APPROX_TOP_K(region, 3)", f"SELECT {{}}{FROM}"),
    ("LOGIT(flag, n)", f"SELECT {{}}{FROM}"),
    ("KAPLAN_MEIER(n, flag)", f"SELECT {{}}{FROM}"),
    ("COUNT(DISTINCT region)", f"SELECT {{}}{FROM}"),
    ("COUNT(DISTINCT id)", f"SELECT {{}}{FROM}"),
    ("UPPER(region)", f"SELECT COUNT(*){FROM} GROUP BY {{}}"),
    ("big", f"SELECT COUNT(*){FROM} GROUP BY {{}}"),
    ("day", f"SELECT day, COUNT(*){FROM} GROUP BY {{}}"),
    ("UPPER(region)", f"SELECT CHI2(flag, {{}}){FROM}"),
)
UNSUPPORTED = (
    ("region", f"SELECT {{}}, COUNT(*){FROM} GROUP BY flag"),
    ("region", f"SELECT SUM(n) + {{}}{FROM} GROUP BY region"),
    ("region", f"SELECT COUNT(*){FROM} GROUP BY flag ORDER BY {{}}"),
    ("f", f"SELECT COUNT(*){FROM} GROUP BY {{}}"),
    ("9", f"SELECT COUNT(*){FROM} GROUP BY {{}}"),
    ("SUM(DISTINCT n)", f"SELECT {{}}{FROM}"),
    ("*", f"SELECT {{}}{FROM}"),
    ("LIST(n)", f"SELECT {{}}{FROM}"),
    ("AVG(n)", f"SELECT VAR_SAMP({{}}){FROM}"),
    ("region", f"SELECT VAR_SAMP({{}}){FROM}"),
    ("OLS(n)", f"SELECT {{}}{FROM}"),
    ("OLS(n, d)", f"SELECT {{}}, OLS(d, n){FROM}".replace("{}, OLS(d, n)", "OLS(d, n), {}")),
    ("OLS(n, d)", f"SELECT COUNT(*) + {{}}{FROM}"),
    ("OLS(n, d)", f"SELECT {{}} AS o{FROM}"),
    ("OLS(n, d)", f"SELECT {{}}{FROM} ORDER BY 1"),
    ("OLS(n, d)", f"SELECT {{}}{FROM} LIMIT 3"),
    ("COUNT(*)", f"SELECT {{}}, OLS(n, d){FROM}"),
    ("CHI2(region)", f"SELECT {{}}{FROM}"),
    ("region", f"SELECT TTEST(n, {{}}){FROM}"),
    ("region", f"SELECT TTEST(n, {{}}){FROM} WHERE region = 'north'"),
    ("3", f"SELECT HISTOGRAM(n, {{}}){FROM}"),
    ("d", f"SELECT HISTOGRAM(n, [1, {{}}]){FROM}"),
    ("region", f"SELECT HISTOGRAM({{}}, [1]){FROM}"),
    ("region", f"SELECT COUNT(*){FROM} GROUP BY region HAVING COUNT(*) > 3 AND ({{}} = 'north')"),
    ("region IN ('north')", f"SELECT COUNT(*){FROM} GROUP BY region HAVING COUNT(*) > 3 AND {{}}"),
    ("UNION(a.people, members)", "SELECT COUNT(*) FROM {}"),
    ("UNION(ada.people, ada.people)", "SELECT COUNT(*) FROM {}"),
    ("UNION", "SELECT COUNT(*) FROM {}()"),
    ("bea.people b ON p.id = b.id", f"SELECT COUNT(*){FROM} JOIN {{}}"),
    ("LIMIT n", f"SELECT COUNT(*){FROM} {{}}"),
    ("1 = 1", f"SELECT {{}}{FROM}"),
    ("region", f"SELECT {{}}{FROM} GROUP BY region"),
)


@pytest.fixture(scope="module")
def here() -> UnionWorld:
    return union_world(1, holders=3, rows=5)


def refused(here: UnionWorld, sql: str) -> PrivcomputeError:
    with pytest.raises(PrivcomputeError) as caught:
        plan_union(sql, here.entries, asker="ada")
    return caught.value


@pytest.mark.parametrize(("text", "template"), NOT_YET, ids=[t for t, _ in NOT_YET])
def test_what_sums_cannot_give_is_not_yet_built(here: UnionWorld, text: str, template: str) -> None:
    error = refused(here, template.format(text))
    check_marked(error, "not_yet", text)
    assert "(" in error.message.split("\n")[0]  # the reason


@pytest.mark.parametrize(("text", "template"), UNSUPPORTED, ids=[f"{t} in {u}" for t, u in UNSUPPORTED])
def test_everything_else_is_refused_with_the_text_marked(here: UnionWorld, text: str, template: str) -> None:
    check_marked(refused(here, template.format(text)), "unsupported_sql", text)


def test_reasons_are_given(here: UnionWorld) -> None:
    assert "comparisons on shares" in refused(here, f"SELECT MEDIAN(n){FROM}").message
    assert "comparisons on shares" in refused(here, f"SELECT ARG_MAX(n, d){FROM}").message
    assert "at two holders would count twice" in refused(here, f"SELECT COUNT(DISTINCT id){FROM}").message
    assert "discovered groups" in refused(here, f"SELECT COUNT(*){FROM} GROUP BY big").message
    remedy = refused(here, f"SELECT COUNT(*){FROM} GROUP BY big").remedy
    for way in ("--domain COL=V1,V2", "WHERE x IN", "CASE"):
        assert way in remedy


def test_golden_text(here: UnionWorld) -> None:
    error = refused(here, "SELECT COUNT(*) AS n,\n       MEDIAN(n)\nFROM UNION(people)\nWHERE flag")
    assert str(error) == (
        "MEDIAN over a union (it needs comparisons on shares, which sums cannot give) is not built yet\n"
        "         MEDIAN(n)\n"
        "         ^^^^^^^^^\n"
        "  -> built: COUNT(*), COUNT(x), SUM, AVG, VAR_SAMP, VAR_POP, VARIANCE, STDDEV, STDDEV_SAMP, STDDEV_POP, "
        "COVAR_SAMP, COVAR_POP, CORR, REGR_*, OLS, CHI2, TTEST, ANOVA, HISTOGRAM"
    )


@pytest.mark.parametrize("use", ["COUNT(id)", "SUM(id)", "COUNT(CASE WHEN id = 1 THEN 1 END)"])
def test_keys_are_no_values(here: UnionWorld, use: str) -> None:
    error = refused(here, f"SELECT {use}{FROM}")
    assert isinstance(error, PrivacyError)
    assert error.code == "key_use"
    assert refused(here, f"SELECT COUNT(*){FROM} GROUP BY id").code == "key_use"


def test_unknown_names(here: UnionWorld) -> None:
    error = refused(here, f"SELECT SUM(p.weight){FROM}")
    assert (error.code, marked_text(error)) == ("unknown_column", "p.weight")
    assert refused(here, "SELECT COUNT(*) FROM UNION(nobody)").code == "unknown_dataset"
    error = refused(here, "SELECT COUNT(*) FROM UNION(ada.people, zed.people)")
    assert (error.code, marked_text(error)) == ("unknown_dataset", "UNION(ada.people, zed.people)")
    assert "ada.people" in error.remedy


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT n FROM ada.people UNION SELECT n FROM bea.people",
        "SELECT n FROM ada.people UNION ALL (SELECT n FROM bea.people)",
        "SELECT COUNT(*) FROM UNION(people) UNION ALL SELECT COUNT(*) FROM UNION(people)",
        "SELECT COUNT(*) FROM UNION(SELECT 1)",
        "SELECT COUNT(*) FROM UNION(people) p, UNION(people) q",
        "SELECT COUNT(*) FROM ada.people JOIN UNION(people) ON true",
        "SELECT COUNT(*) FROM (SELECT * FROM UNION(people)) x",
        "WITH a AS (SELECT 1) SELECT COUNT(*) FROM UNION(people)",
        "SELECT DISTINCT COUNT(*) FROM UNION(people)",
        "SELECT COUNT(*) FROM UNION(people) OFFSET 2",
        "SELECT COUNT(*) FROM UNION(people) GROUP BY ROLLUP (flag)",
        "SELECT COUNT(*) FROM UNION(people) GROUP BY GROUPING SETS ((flag), ())",
        "SELECT COUNT(*) FROM UNION(people) FETCH FIRST 3 ROWS ONLY",
        "SELECT COUNT(*) FROM UNION(people) TABLESAMPLE BERNOULLI (10)",
        "SELECT COUNT(*) FILTER (WHERE flag) FROM UNION(people)",
        "SELECT COUNT(*) FROM UNION(people) WHERE n IN (SELECT 1)",
        "SELECT COUNT(*) FROM UNION(people",
        "SELECT SUM(n) OVER () FROM UNION(people)",
        "SELECT CORR(n) FROM UNION(people)",
        "SELECT VAR_SAMP(DISTINCT n) FROM UNION(people)",
        "SELECT UNION(people)",
        "SELECT COUNT(*) FROM UNION(people) GROUP BY n, n % 7, big % 9, n % 11",
        "SELECT OLS(" + ", ".join(["n"] * 30) + ") FROM UNION(people)",
        "SELECT HISTOGRAM(n, [" + ", ".join(map(str, range(1001))) + "]) FROM UNION(people)",
    ],
    ids=lambda sql: sql[:70],
)
def test_nothing_outside_the_subset_gets_a_plan(here: UnionWorld, sql: str) -> None:
    error = refused(here, sql)
    assert isinstance(error, UsageError)
    assert error.code == "unsupported_sql", error


def test_what_could_overflow_is_refused(here: UnionWorld) -> None:
    assert refused(here, f"SELECT SUM({' * '.join(['big'] * 5)}){FROM}").code == "too_wide"
    assert refused(here, f"SELECT VAR_SAMP({' * '.join(['big'] * 3)}){FROM}").code == "too_wide"


def test_the_planner_of_joins_names_the_form_of_unions(here: UnionWorld) -> None:
    with pytest.raises(UsageError) as caught:
        plan_join("SELECT COUNT(*) FROM UNION(people)", here.entries, "ada")
    assert caught.value.code == "unsupported_sql"
    with pytest.raises(UsageError) as caught:
        plan_union("SELECT COUNT(*) FROM ada.people a JOIN bea.people b ON a.id = b.id", here.entries, asker="ada")
    assert "FROM UNION(" in caught.value.remedy


@pytest.mark.parametrize(
    "sql", ["", ";", "SELECT 'open", "SELECT " + "x" * 30_000, "SELECT 1 FROM UNION(", "SELECT 1 FROM UNION(1)"]
)
def test_what_is_no_question_names_no_union(sql: str) -> None:
    with pytest.raises(UsageError):
        named_union(sql)


WORDS = (
    *(
        "SELECT",
        "FROM",
        "UNION",
        "(",
        ")",
        ",",
        "people",
        "n",
        "flag",
        "region",
        "WHERE",
        "GROUP BY",
        "HAVING",
        "ORDER BY",
    ),
    *("COUNT(*)", "SUM", "OLS", "CHI2", "HISTOGRAM", "[", "]", "1", "2.5", "'a'", "*", "+", "IN", "AND", "NOT", "CASE"),
    *(
        "WHEN",
        "THEN",
        "END",
        "JOIN",
        "ON",
        "LIMIT",
        "DESC",
        "NULLS FIRST",
        "EXTRACT(YEAR FROM",
        "ada.people",
        "AS x",
        ".",
    ),
    *("IS NULL", "DISTINCT", "OVER", ";", "--", "UNION(people)", "FROM UNION(people)", "AVG(n)", "TTEST(n, flag)", "="),
)


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=14), start=st.booleans())
@settings(max_examples=150)
def test_whatever_is_written_ends_with_a_plan_or_a_named_error(here: UnionWorld, words: list[str], start: bool) -> None:
    text = " ".join(words)
    sql = f"SELECT COUNT(*), {text} FROM UNION(people) {text}" if start else text
    for read in (
        named_union,
        lambda q: plan_union(q, here.entries, asker="ada"),
        lambda q: plan_join(q, here.entries, "ada"),
    ):
        with suppress(PrivcomputeError):
            read(sql)  # nothing else may come out


def test_a_short_text_cannot_ask_for_endless_work(here: UnionWorld) -> None:
    text = "n"
    for _ in range(25):
        text = f"NULLIF({text}, 1)"
    for sql in (f"SELECT COUNT(*){FROM} WHERE {text} = 1", f"SELECT VAR_SAMP({text}){FROM}"):
        assert refused(here, sql).code in ("unsupported_sql", "too_wide")
    deep = "SELECT " + "(" * 2000 + "1" + ")" * 2000 + FROM
    assert refused(here, deep).code == "unsupported_sql"
