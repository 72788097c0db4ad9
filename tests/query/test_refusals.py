"""What is not built and what is outside the subset: refused before anything is sent, the text marked, with a remedy."""

from __future__ import annotations

import pytest
from support.query_tables import World, column, world
from support.refusals import check_marked, marked_text

from privcompute import query
from privcompute.errors import PrivacyError, PrivcomputeError, UsageError
from privcompute.tables.schema import Kind

JOIN = " FROM hospital.patients h JOIN insurer.members i ON h.k1 = i.k1 AND h.k2 = i.k2"

# (what is marked, the query around it as a template)
NOT_YET = (
    ("GROUP BY h.region", f"SELECT COUNT(*){JOIN} {{}}"),
    ("HAVING COUNT(*) > 3", f"SELECT COUNT(*){JOIN} {{}}"),
    ("ORDER BY 1", f"SELECT COUNT(*){JOIN} {{}}"),
    ("LIMIT 5", f"SELECT COUNT(*){JOIN} {{}}"),
    *((f"{name}(h.n)", f"SELECT {{}}{JOIN}") for name in ("MIN", "MAX", "MEDIAN", "VAR_SAMP", "VAR_POP", "VARIANCE")),
    *((f"{name}(h.n)", f"SELECT COUNT(*), {{}} AS x{JOIN}") for name in ("STDDEV_SAMP", "STDDEV_POP", "STDDEV")),
    *((f"{name}(h.n, i.n)", f"SELECT {{}}{JOIN}") for name in ("CORR", "COVAR_SAMP", "COVAR_POP", "REGR_SLOPE")),
    ("PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY h.n)", f"SELECT {{}}{JOIN}"),
    ("OLS(i.d, h.n, h.f)", f"SELECT {{}}{JOIN}"),
    ("LOGIT(i.flag, h.n)", f"SELECT {{}}{JOIN}"),
    ("CHI2(h.region, i.region)", f"SELECT {{}}{JOIN}"),
    ("TTEST(h.n, i.flag)", f"SELECT {{}}{JOIN}"),
    ("HISTOGRAM(h.n, 3)", f"SELECT {{}}{JOIN}"),
)
UNSUPPORTED = (
    ("h.n > i.n", f"SELECT COUNT(*){JOIN} WHERE h.flag AND {{}}"),
    ("h.flag OR i.flag", f"SELECT COUNT(*){JOIN} WHERE {{}}"),
    ("h.n > i.n", f"SELECT SUM(CASE WHEN {{}} THEN 1 END){JOIN}"),
    ("GREATEST(h.n, i.n)", f"SELECT SUM({{}}){JOIN}"),
    ("h.region", f"SELECT {{}}, COUNT(*){JOIN}"),
    ("h.n", f"SELECT SUM(h.n) + {{}}{JOIN}"),
    ("*", f"SELECT {{}}{JOIN}"),
    ("SUM(h.n) FILTER (WHERE h.flag)", f"SELECT {{}}{JOIN}"),
    ("SUM(DISTINCT h.n)", f"SELECT {{}}{JOIN}"),
    ("COUNT(DISTINCT h.region)", f"SELECT {{}}{JOIN}"),
    ("COUNT(DISTINCT h.k1)", f"SELECT {{}}{JOIN}"),
    ("SQRT(h.p)", f"SELECT SUM({{}}){JOIN}"),
    ("RANDOM()", f"SELECT COUNT(*){JOIN} WHERE {{}} > 0.5"),
    ("AVG(h.n)", f"SELECT SUM({{}}){JOIN}"),
    ("h.region", f"SELECT SUM({{}}){JOIN}"),
    ("h.n", f"SELECT SUM(1 / {{}}){JOIN}"),
    ("h.n = 'x'", f"SELECT COUNT(*){JOIN} WHERE {{}}"),
    ("'2024-13-01'", f"SELECT COUNT(*){JOIN} WHERE h.day > {{}}"),
    ("n", f"SELECT SUM({{}}){JOIN}"),
    ("h.n > 3", f"SELECT COUNT(*){JOIN} AND {{}}"),
    ("; SELECT 2", f"SELECT COUNT(*){JOIN}{{}}"),
    ("SUM(0)", f"SELECT {{}}{JOIN}"),
    ("insurer.members i", "SELECT COUNT(*) FROM hospital.patients h CROSS JOIN {}"),
    ("hospital.patients g", "SELECT COUNT(*) FROM hospital.patients h JOIN {} ON h.k1 = g.k1"),
    ("hospital.patients", "SELECT COUNT(*) FROM {}"),
    ("members", "SELECT COUNT(*) FROM hospital.patients h JOIN {} ON h.k1 = k1"),
)


@pytest.fixture(scope="module")
def here() -> World:
    return world(1, rows=10)


def refused(here: World, sql: str) -> PrivcomputeError:
    with pytest.raises(PrivcomputeError) as caught:
        query.plan(sql, here.entries, "insurer")
    return caught.value


@pytest.mark.parametrize(("text", "template"), NOT_YET, ids=[t for t, _ in NOT_YET])
def test_the_rest_of_the_language_is_not_yet_built(here: World, text: str, template: str) -> None:
    check_marked(refused(here, template.format(text)), "not_yet", text)


@pytest.mark.parametrize(("text", "template"), UNSUPPORTED, ids=[t for t, _ in UNSUPPORTED])
def test_everything_else_is_refused_with_the_text_marked(here: World, text: str, template: str) -> None:
    check_marked(refused(here, template.format(text)), "unsupported_sql", text)


def test_a_union_of_selects_names_the_form_that_there_is(here: World) -> None:
    one = "SELECT n FROM {}"
    both = " UNION ALL ".join(one.format(t) for t in ("hospital.patients", "insurer.members"))
    for sql in (both, f"SELECT SUM(n) FROM ({both}) u"):
        error = refused(here, sql)
        assert error.code == "unsupported_sql"
        assert "write FROM UNION(name)" in error.remedy


@pytest.mark.parametrize(
    "sql",
    [
        f"WITH a AS (SELECT 1) SELECT COUNT(*){JOIN}",
        f"SELECT DISTINCT COUNT(*){JOIN}",
        f"SELECT COUNT(*){JOIN} OFFSET 2",
        f"SELECT COUNT(*){JOIN} FOR UPDATE",
        f"SELECT COUNT(*) INTO t{JOIN}",
        f"SELECT COUNT(*){JOIN} WINDOW w AS ()",
        f"SELECT COUNT(*){JOIN} TABLESAMPLE BERNOULLI (10)",
        f"SELECT SUM(h.n) OVER (){JOIN}",
        f"SELECT (SELECT 1){JOIN}",
        f"SELECT COUNT(*){JOIN} WHERE EXISTS (SELECT 1)",
        f"SELECT COUNT(*){JOIN} WHERE h.n IN (SELECT 1)",
        f"SELECT COUNT(*){JOIN} WHERE h.region ~ 'a'",
        f"SELECT COUNT(*){JOIN} WHERE h.region LIKE 'a' ESCAPE 'b'",
        f"SELECT COUNT(*){JOIN} WHERE h.n > $1",
        f"SELECT SUM(CAST(h.region AS INTEGER)){JOIN}",
        "SELECT COUNT(*) FROM hospital.patients h LEFT JOIN insurer.members i ON h.k1 = i.k1",
        "SELECT COUNT(*) FROM hospital.patients h NATURAL JOIN insurer.members i",
        "SELECT COUNT(*) FROM hospital.patients h, insurer.members i WHERE h.k1 = i.k1",
        "SELECT COUNT(*) FROM ONLY hospital.patients h JOIN insurer.members i USING (k1, k2)",
        "SELECT COUNT(*) FROM hospital.patients h JOIN insurer.members i ON h.k1 = i.k1",
        "SELECT COUNT(*) FROM hospital.patients h JOIN insurer.members i ON h.k1 = i.k1 AND h.k2 = i.n",
        "DELETE FROM hospital.patients",
        "DROP TABLE hospital.patients",
        "COPY hospital.patients TO 'x'",
        "SELECT COUNT(* FROM x",
        "SELECT 'open",
        "",
        ";",
        "SELECT " + "(" * 2000 + "1" + ")" * 2000,
        "SELECT " + "x" * 30_000,
    ],
    ids=lambda sql: sql[:60],
)
def test_nothing_outside_the_subset_gets_a_plan(here: World, sql: str) -> None:
    error = refused(here, sql)
    assert isinstance(error, UsageError)
    assert error.code == "unsupported_sql"


def test_golden_text(here: World) -> None:
    error = refused(here, f"SELECT COUNT(*) AS n,\n       CORR(h.n, i.d)\n{JOIN}\nWHERE h.flag")
    assert str(error) == (
        "CORR is not built yet\n"
        "         CORR(h.n, i.d)\n"
        "         ^^^^^^^^^^^^^^\n"
        "  -> built: COUNT(*), COUNT(x), COUNT(DISTINCT key), SUM(x), AVG(x)"
    )
    error.party = "insurer"  # as a node adds it; the carets stay the end of their line
    assert str(error).startswith("CORR is not built yet (party insurer)\n         CORR(h.n, i.d)\n")
    error = refused(here, f"SELECT COUNT(*){JOIN} WHERE h.n > 3 AND h.n > i.n")
    assert str(error) == (
        "this condition mixes columns of both parties\n"
        "  ospital.patients h JOIN insurer.members i ON h.k1 = i.k1 AND h.k2 = i.k2 WHERE h.n > 3 AND h.n > i.n\n"
        "                                                                                             ^^^^^^^^^\n"
        "  -> WHERE is an AND of conditions over columns of one party each; "
        "an OR of both may stand in an aggregate's CASE"
    )


def test_bytes_that_are_no_text(here: World) -> None:
    sql = b"SELECT COUNT(*) FROM hospital.patients h WHERE h.region = '\xff'".decode("utf-8", "surrogateescape")
    error = refused(here, sql)
    assert "no text" in error.message
    assert error.code == "unsupported_sql"
    assert str(error).encode()


def test_control_characters_of_the_query_do_not_reach_the_terminal(here: World) -> None:
    error = refused(here, f"SELECT COUNT(*), CORR(h.n, i.n) /* \x1b[31m */{JOIN}")
    assert "\x1b" not in str(error)


@pytest.mark.parametrize("use", ["COUNT(h.k1)", "SUM(h.k2)", "COUNT(CASE WHEN i.k2 = 1 THEN 1 END)"])
def test_of_keys_only_count_distinct_exists(here: World, use: str) -> None:
    error = refused(here, f"SELECT {use}{JOIN}")
    assert isinstance(error, PrivacyError)
    assert error.code == "key_use"
    assert "COUNT(DISTINCT key)" in error.remedy
    assert refused(here, f"SELECT COUNT(*){JOIN} WHERE h.k1 = '01'").code == "key_use"


def test_unknown_names(here: World) -> None:
    error = refused(here, f"SELECT SUM(h.weight){JOIN}")
    assert (error.code, marked_text(error)) == ("unknown_column", "h.weight")
    error = refused(here, "SELECT COUNT(*) FROM hospital.people h JOIN insurer.members i ON h.k1 = i.k1")
    assert (error.code, marked_text(error)) == ("unknown_dataset", "hospital.people h")
    assert "insurer.members" in error.remedy


def test_a_number_needs_a_public_range(here: World) -> None:
    entry = here.entries["hospital.patients"]
    fields = {f: getattr(entry, f) for f in entry.__dataclass_fields__}
    fields["columns"] = tuple(column("n", Kind.INTEGER, "INTEGER") if c.name == "n" else c for c in entry.columns)
    entries = {**here.entries, "hospital.patients": type(entry)(**fields)}
    with pytest.raises(UsageError) as caught:
        query.plan(f"SELECT SUM(h.n){JOIN}", entries, "insurer")
    assert caught.value.code == "no_range"
    assert "privcompute dataset edit patients --range n=LO:HI" in caught.value.remedy
    # A filter needs no range.
    assert query.plan(f"SELECT COUNT(*){JOIN} WHERE h.n > 3", entries, "insurer").openings


def test_key_types_have_to_agree(here: World) -> None:
    entry = here.entries["insurer.members"]
    fields = {f: getattr(entry, f) for f in entry.__dataclass_fields__}
    entries = {**here.entries, "insurer.members": type(entry)(**{**fields, "key_types": ("BIGINT", "BIGINT")})}
    with pytest.raises(UsageError) as caught:
        query.plan(f"SELECT COUNT(*){JOIN}", entries, "insurer")
    assert caught.value.code == "key_types"


@pytest.mark.parametrize("expression", [" * ".join(["h.big"] * 5), " * ".join(["h.big"] * 3 + ["i.big"] * 2)])
def test_what_could_overflow_is_refused(here: World, expression: str) -> None:
    assert refused(here, f"SELECT SUM({expression}){JOIN}").code == "too_wide"


def test_reveal_modes(here: World) -> None:
    for mode in ("nothing", "size"):
        with pytest.raises(UsageError) as caught:
            query.plan(f"SELECT COUNT(*){JOIN}", here.entries, "insurer", reveal=mode)
        assert caught.value.code == "not_yet"
        assert "--reveal matches" in caught.value.remedy
    entry = here.entries["hospital.patients"]
    fields = {f: getattr(entry, f) for f in entry.__dataclass_fields__}
    entries = {**here.entries, "hospital.patients": type(entry)(**{**fields, "reveal": "size"})}
    for wanted in (None, "matches"):
        with pytest.raises(PrivacyError) as privacy:
            query.plan(f"SELECT COUNT(*){JOIN}", entries, "insurer", reveal=wanted)
        assert privacy.value.code == "reveal_not_allowed"
        assert privacy.value.remedy == "hospital runs `privcompute dataset edit patients --reveal matches`"
    with pytest.raises(UsageError):
        query.plan(f"SELECT COUNT(*){JOIN}", here.entries, "insurer", reveal="everything")
    assert query.plan(f"SELECT COUNT(*){JOIN}", here.entries, "insurer").reveal == "matches"


def _nested(template: str, depth: int) -> str:
    text = "h.n"
    for _ in range(depth):
        text = template.format(text)
    return text


@pytest.mark.parametrize(
    "condition",
    [
        # Each level repeats its operand: 2**40 nodes of a few hundred characters.
        _nested("NULLIF({}, 1)", 25) + " = 1",
        _nested("COALESCE(NULLIF({}, 1), 2)", 14) + " = 1",
        _nested("(CASE {} WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 3 END)", 16) + " = 1",
        "h.n = 1e-999999999",
        "h.n = 1e999999999",
        "CAST(h.n AS DECIMAL(999999999, 999999990)) = 1",
        "CAST(h.n AS DECIMAL(a, b)) = 1",
    ],
)
def test_a_short_text_cannot_ask_for_endless_work(here: World, condition: str) -> None:
    with pytest.raises(UsageError) as error:
        query.plan(f"SELECT COUNT(*){JOIN} WHERE {condition}", here.entries, "insurer")
    assert error.value.code in ("unsupported_sql", "too_wide")
