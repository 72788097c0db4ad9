"""One SQL text: its tokens, its syntax tree, and where each piece stands, so that a refusal can mark it."""

from __future__ import annotations

from bisect import bisect_left

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]  # its public home in every version

from privcompute.errors import UsageError
from privcompute.query.refuse import Refuser, Span

MAX_SQL = 20_000
FORM = "SELECT … FROM party.dataset a JOIN party.dataset b ON a.key = b.key [WHERE …]"
UNION_FORM = "SELECT … FROM UNION(dataset) [WHERE …] [GROUP BY …] [HAVING …] [ORDER BY …] [LIMIT n]"

_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET)


class Source:
    """One SQL text: its tokens, its syntax tree and the place of each node.

    Attributes:
        unions: Where FROM UNION(…) or JOIN UNION(…) stands: the places of the word UNION.
        form: The supported form that is nearest, for remedies.

    Raises:
        UsageError: `unsupported_sql` if it does not parse, or is not one statement.
    """

    def __init__(self, sql: str) -> None:
        self.refuse = Refuser(sql)
        self.sql = sql
        if len(sql) > MAX_SQL:
            raise UsageError(f"the query is longer than {MAX_SQL} characters", code="unsupported_sql", stage="plan")
        if any("\ud800" <= letter <= "\udfff" for letter in sql):
            raise UsageError(
                "the query holds bytes that are no text",
                code="unsupported_sql",
                stage="plan",
                remedy="write it in UTF-8",
            )
        self.form = FORM
        self.unions: frozenset[int] = frozenset()
        try:
            self.tokens: list[Token] = sqlglot.tokenize(sql, read="postgres")
            self.unions = _unions(self.tokens)
            self.form = UNION_FORM if self.unions else FORM
            trees = [tree for tree in sqlglot.parse(_readable(sql, self.unions), read="postgres") if tree is not None]
        except SqlglotError as error:
            self._syntax(error)
        except RecursionError:
            raise UsageError("the query is nested too deeply", code="unsupported_sql", stage="plan") from None
        if len(trees) != 1:
            span = Span(0, 1) if not trees else self._second_statement()
            self.refuse.unsupported("exactly one statement is expected", span, f"write {self.form}")
        self._starts = [int(t.start) for t in self.tokens]
        self._extents: dict[int, tuple[int, int] | None] = {}
        self.tree: exp.Expression = trees[0]  # type: ignore[assignment]  # sqlglot's stubs widen the result
        for call in self.tree.find_all(exp.Anonymous):
            if self.is_union(call):
                call.set("this", "UNION")  # so that the canonical text says it again

    def is_union(self, node: object) -> bool:
        """Whether a node is the UNION(…) of a FROM clause."""
        return isinstance(node, exp.Anonymous) and node.meta.get("start") in self.unions

    def _syntax(self, error: SqlglotError) -> None:
        found = getattr(error, "errors", None) or [{}]
        line, col, word = found[0].get("line"), found[0].get("col"), found[0].get("highlight") or ""
        start = 0
        if isinstance(line, int) and isinstance(col, int):
            lines = self.sql.split("\n")
            # sqlglot's column is that of the token's last character, counted from 1.
            start = sum(len(text) + 1 for text in lines[: line - 1]) + max(0, col - len(word))
        self.refuse.unsupported(
            "this is not SQL that can be read here", Span(start, start + len(word)), f"write {self.form}"
        )

    def _second_statement(self) -> Span:
        ends = [t for t in self.tokens if t.token_type == TokenType.SEMICOLON]
        return Span(ends[0].start, len(self.sql)) if ends else Span(0, len(self.sql))

    def span(self, node: exp.Expression | None) -> Span:
        """Where a node stands: the hull of its tokens, with its brackets closed."""
        if node is None:
            return Span(0, len(self.sql))
        extent = self._extent(node)
        if extent is None:
            parent = node.parent
            return self.span(parent) if isinstance(parent, exp.Expression) else Span(0, len(self.sql))
        start, end = extent
        if isinstance(node, exp.Case):
            start = self._case_before(start)
        return Span(start, self._closed(node, start, end))

    def _extent(self, node: exp.Expr) -> tuple[int, int] | None:
        """The hull of the tokens that sqlglot kept the place of; remembered, for every node is asked for its own."""
        if id(node) not in self._extents:
            found = [(node.meta["start"], node.meta["end"] + 1)] if "start" in node.meta else []
            found += [e for child in node.iter_expressions() if (e := self._extent(child)) is not None]
            hull = (min(s for s, _ in found), max(e for _, e in found)) if found else None
            self._extents[id(node)] = hull
        return self._extents[id(node)]

    def _case_before(self, start: int) -> int:
        for token in reversed(self.tokens[: bisect_left(self._starts, start)]):
            if token.token_type == TokenType.CASE:
                return int(token.start)
        return start

    def _closed(self, node: exp.Expression, start: int, end: int) -> int:
        """The end with open brackets closed, a call's own included, and CASE up to its END."""
        depth = 0
        waiting = isinstance(node, exp.Case)
        place = bisect_left(self._starts, end)
        bare = isinstance(node, exp.Func) and place < len(self.tokens) and node.meta.get("end") == end - 1
        if bare and self.tokens[place].token_type == TokenType.L_PAREN:
            end = int(self.tokens[place].end) + 1  # a call without arguments that have a place
        for token in self.tokens[bisect_left(self._starts, start) :]:
            if token.start >= end and depth <= 0 and not waiting:
                break
            depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
            if waiting and token.start >= end and depth <= 0 and token.token_type == TokenType.END:
                waiting = False
            end = max(end, token.end + 1) if depth >= 0 else end
        return end

    def outputs(self, tree: exp.Select) -> list[str]:
        """The text of each output, its alias included; signs and outer brackets have no place in the tree."""
        found: list[list[Token]] = [[]]
        depth = 0
        first = next((n for n, t in enumerate(self.tokens) if t.token_type == TokenType.SELECT), 0)
        for token in self.tokens[first + 1 :]:
            depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
            if depth == 0 and token.token_type == TokenType.FROM:
                break
            if depth == 0 and token.token_type == TokenType.COMMA:
                found.append([])
            else:
                found[-1].append(token)
        spans = [Span(ts[0].start, ts[-1].end + 1) for ts in found if ts]
        if len(spans) != len(tree.expressions):  # words that end the list elsewhere, as in IS DISTINCT FROM
            spans = [self.span(node) for node in tree.expressions]
        return [" ".join(self.sql[s.start : s.end].split()) for s in spans]

    def word(self, node: exp.Expression) -> str:
        """The function's name as written, in upper case."""
        if "start" in node.meta:
            return self.sql[node.meta["start"] : node.meta["end"] + 1].upper()
        return type(node).__name__.upper()

    def clause(self, keyword: str, node: exp.Expression) -> Span:
        """Where a clause stands, its keyword included."""
        span = self.span(node)
        before = [t.start for t in self.tokens if t.start < span.start and t.text.upper() == keyword]
        return Span(before[-1] if before else span.start, span.end)

    def only(self, node: exp.Expression, *allowed: str) -> None:
        """Refuse if the node has any argument that the caller does not read."""
        extra = [k for k, v in node.args.items() if v and k.rstrip("_") not in allowed]
        if extra:
            what = extra[0].rstrip("_").replace("_", " ").upper()
            found = node.args[extra[0]]
            place = next(
                (n for n in (found if isinstance(found, list) else [found]) if isinstance(n, exp.Expression)), node
            )
            self.refuse.unsupported(f"{what} is not supported here", self.span(place), f"write {self.form}")


def _unions(tokens: list[Token]) -> frozenset[int]:
    """Where UNION stands between FROM or JOIN and a bracket: there no set operation can stand."""
    kinds = [t.token_type for t in tokens]
    after = (TokenType.FROM, TokenType.JOIN)
    runs = zip(kinds, kinds[1:], kinds[2:], tokens[1:], strict=False)
    return frozenset(
        int(t.start) for a, b, c, t in runs if a in after and b == TokenType.UNION and c == TokenType.L_PAREN
    )


def _readable(sql: str, unions: frozenset[int]) -> str:
    """The text with a plain name of the same length for each of these words, which are keywords to the parser."""
    for start in unions:
        sql = sql[:start] + "unio_" + sql[start + 5 :]
    return sql
