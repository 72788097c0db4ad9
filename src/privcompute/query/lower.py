"""Scalar expressions over both tables to bilinear forms, with SQL's NULLs.

An expression becomes two forms: its value with NULL as 0, and 1 where it is not NULL. What belongs to one table stays
one local expression; CASE is pulled outwards, so that each branch is a term of its own: its condition is a selection
that the owner's ledger sees, and its contributors are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from privcompute.query import expr
from privcompute.query.expr import Node
from privcompute.query.refuse import Refuser
from privcompute.query.render import render
from privcompute.stats.form import Factor, Form
from privcompute.tables.schema import Kind

MAX_PATHS = 64
_STRICT = frozenset({"+", "-", "*", "/", "%", "neg", "double", "abs", "round", "floor", "ceil", "cast"})
JOINT = (
    "+, -, *, / and CASE combine expressions of both parties; a condition AND-s or OR-s conditions of one party each"
)


@dataclass(frozen=True)
class Condition:
    """A condition on one side's rows.

    Attributes:
        node: A boolean of one side; NULL counts as false.
        selects: False for 'the aggregated value is not NULL', which is no selection in the ledger's sense.
    """

    node: Node
    selects: bool = True

    @property
    def sql(self) -> str:
        """The condition as DuckDB SQL."""
        return render(self.node)


RowFactor = Factor[Node, Condition]
RowForm = Form[Node, Condition]
Path = tuple[tuple[int, Condition], ...]


@dataclass(frozen=True)
class Lowered:
    """An expression as forms: `value` (NULL is 0) and `present` (1 where it is not NULL)."""

    value: RowForm = field(repr=False)
    present: RowForm


class Lowering:
    """Lowers the nodes of one query.

    Args:
        refuse: Refuses what is not bilinear, with the text marked.
    """

    def __init__(self, refuse: Refuser) -> None:
        self.refuse = refuse

    def lower(self, node: Node) -> Lowered:
        """The two forms of a number, or of any expression whose `present` alone is wanted.

        Raises:
            UsageError: `unsupported_sql`, with the text marked.
        """
        # A sum of one side's CASEs is a sum of terms, not of all combinations of their branches: fewer counts open.
        split = node.op in ("+", "-", "neg", "double") and _cases(node)
        if len(node.sides) < 2 and not split:
            return self._local(node)
        if node.op in ("+", "-", "*"):
            return self._arithmetic(node)
        if node.op in ("neg", "double"):
            inner = self.lower(node.args[0])
            return Lowered(-inner.value if node.op == "neg" else inner.value, inner.present)
        if node.op == "/":
            return self._quotient(node)
        if node.op == "case":
            return self._case(node)
        if node.op == "days":
            remedy = "count each party's days from a constant: (h.d - DATE '2000-01-01') - (i.d - DATE '2000-01-01')"
            self.refuse.unsupported("dates of both parties cannot be subtracted", node.span, remedy)
        return self.refuse.unsupported("this mixes columns of both parties", node.span, JOINT)

    def _arithmetic(self, node: Node) -> Lowered:
        x, y = (self.lower(a) for a in node.args)
        present = x.present * y.present
        if node.op == "*":
            return self._limited(Lowered(x.value * y.value, present), node)
        other = y.value if node.op == "+" else -y.value
        # Where one operand is NULL, so is the sum: each term is kept only where the other is present.
        return self._limited(Lowered(x.value * y.present + other * x.present, present), node)

    def _quotient(self, node: Node) -> Lowered:
        x, y = node.args
        if len(y.sides) > 1:
            self.refuse.unsupported("the divisor mixes columns of both parties", y.span, JOINT)
        inverse = expr.divide(expr.number("1"), y)
        return self.lower(replace(expr.multiply(x, inverse), span=node.span))

    def _case(self, node: Node) -> Lowered:
        values: list[RowForm] = []
        presents: list[RowForm] = []
        open_paths: list[Path] = [()]
        conditions, results = node.args[:-1:2], node.args[1:-1:2]
        for condition, result in zip(conditions, results, strict=True):
            true, false = self.paths(condition)
            inner = self.lower(result)
            for path in _crossed(open_paths, true):
                values.append(inner.value * _indicator(path))
                presents.append(inner.present * _indicator(path))
            open_paths = _crossed(open_paths, false)
            if len(open_paths) + len(values) > MAX_PATHS:
                self.refuse.unsupported("this CASE has too many branches", node.span, "ask in several queries")
        default = self.lower(node.args[-1])
        for path in open_paths:
            values.append(default.value * _indicator(path))
            presents.append(default.present * _indicator(path))
        return self._limited(Lowered(Form.total(values), Form.total(presents)), node)

    def _limited(self, lowered: Lowered, node: Node) -> Lowered:
        if max(len(lowered.value), len(lowered.present)) > 4 * MAX_PATHS:
            self.refuse.unsupported("this expression has too many terms", node.span, "ask in several queries")
        return lowered

    def paths(self, condition: Node) -> tuple[list[Path], list[Path]]:
        """The disjoint ways in which a condition is true, and in which it is not (false or NULL).

        Raises:
            UsageError: `unsupported_sql` if a comparison mixes columns of both parties.
        """
        sides = condition.sides
        if len(sides) < 2:
            side = next(iter(sides), 0)
            if condition.op == "and":
                parts = tuple((side, Condition(c)) for c in _flat("and", condition))
                return [parts], [((side, Condition(expr.untrue(condition))),)]
            return [((side, Condition(condition)),)], [((side, Condition(expr.untrue(condition))),)]
        if condition.op not in ("and", "or"):
            self.refuse.unsupported("this condition mixes columns of both parties", condition.span, JOINT)
        (xt, xf), (yt, yf) = (self.paths(a) for a in condition.args)
        if condition.op == "and":
            return _crossed(xt, yt), xf + _crossed(xt, yf)
        return xt + _crossed(xf, yt), _crossed(xf, yf)

    def _local(self, node: Node) -> Lowered:
        side = next(iter(node.sides), 0)
        values: list[RowForm] = []
        presents: list[RowForm] = []
        for where, leaf in self.branches(node):
            if leaf.op == "null":
                continue
            present: RowFactor = Factor((), where)
            for missing in _presence(leaf):
                present = present * Factor((), (missing,))
            presents.append(Form.of(side, present))
            if leaf.kind is Kind.BOOLEAN or leaf.range is None:
                continue  # COUNT(x) of what is no number: only its presence is asked for
            coefficient, rest = _coefficient(leaf)
            values.append(Form.of(side, Factor((rest,) if rest is not None else (), where)).scaled(coefficient))
        return Lowered(Form.total(values), _merged(presents))

    def branches(self, node: Node) -> list[tuple[tuple[Condition, ...], Node]]:
        """A one-sided expression as disjoint cases: conditions, and a value without CASE."""
        if not node.args or not _cases(node):
            return [((), node)]
        if node.op == "case":
            return self._case_branches(node)
        found: list[tuple[tuple[Condition, ...], tuple[Node, ...]]] = [((), ())]
        for arg in node.args:
            found = [(_joined(w, v), (*done, leaf)) for w, done in found for v, leaf in self.branches(arg)]
            if len(found) > MAX_PATHS:
                self.refuse.unsupported("this CASE has too many branches", node.span, "ask in several queries")
        return [(w, _rebuilt(node, args)) for w, args in found]

    def _case_branches(self, node: Node) -> list[tuple[tuple[Condition, ...], Node]]:
        found: list[tuple[tuple[Condition, ...], Node]] = []
        before: tuple[Condition, ...] = ()
        for condition, result in zip(node.args[:-1:2], node.args[1:-1:2], strict=True):
            here = _joined(before, tuple(Condition(c) for c in _flat("and", condition)))
            found += [(_joined(here, w), leaf) for w, leaf in self.branches(result)]
            before = _joined(before, (Condition(expr.untrue(condition)),))
        found += [(_joined(before, w), leaf) for w, leaf in self.branches(node.args[-1])]
        if len(found) > MAX_PATHS:
            self.refuse.unsupported("this CASE has too many branches", node.span, "ask in several queries")
        return found


def _cases(node: Node) -> bool:
    """Whether a CASE decides the value; one inside a condition is evaluated where it stands."""
    if node.op == "case":
        return True
    return node.kind is not Kind.BOOLEAN and any(_cases(a) for a in node.args)


def _rebuilt(node: Node, args: tuple[Node, ...]) -> Node:
    if any(a.op == "null" for a in args) and node.op in _STRICT:
        return Node("null", kind=Kind.OTHER, nullable=True)
    # The interval, digits and errors of the whole hold for each branch.
    return replace(node, args=args)


def _flat(op: str, node: Node) -> list[Node]:
    return [n for a in node.args for n in _flat(op, a)] if node.op == op else [node]


def _joined(x: tuple[Condition, ...], y: tuple[Condition, ...]) -> tuple[Condition, ...]:
    return x + tuple(c for c in y if c not in x)


def _crossed(xs: list[Path], ys: list[Path]) -> list[Path]:
    return [x + tuple(c for c in y if c not in x) for x in xs for y in ys]


def contradictory(conditions: tuple[Condition, ...]) -> bool:
    """Whether 'c' and 'not c' are both asked for, so that no row can pass; told by shape, not by meaning."""
    asked = {c.node for c in conditions}
    return any(n.op == "untrue" and all(part in asked for part in _flat("and", n.args[0])) for n in asked)


def _indicator(path: Path) -> RowForm:
    factors = [Factor[Node, Condition]((), tuple(c for side, c in path if side == s)) for s in (0, 1)]
    return Form({(factors[0], factors[1]): 1})


def _presence(node: Node) -> list[Condition]:
    """Conditions that together say that the value is not NULL."""
    if not node.nullable:
        return []
    if node.op in _STRICT:
        return [c for a in node.args for c in _presence(a)]
    # x OR NULL is NULL by the value of x, and so may CASE be: what asks for its presence picks rows.
    chosen = any(node.mentions(op) for op in ("and", "or", "case"))
    return [Condition(expr.present(node), selects=chosen)]


def _coefficient(node: Node) -> tuple[Fraction, Node | None]:
    """A number as constant times the rest; no rest for a constant."""
    if node.literal is not None:
        return node.literal, None
    if node.op == "neg":
        c, rest = _coefficient(node.args[0])
        return -c, rest
    if node.op == "double":
        return _coefficient(node.args[0])
    if node.op == "/":
        d, none = _coefficient(node.args[1])
        if none is None:
            c, rest = _coefficient(node.args[0])
            return c / d, rest
    if node.op == "*":
        for constant, other in (node.args, node.args[::-1]):
            c, none = _coefficient(constant)
            if none is None:
                d, rest = _coefficient(other)
                return c * d, rest
    return Fraction(1), node


def _merged(forms: list[RowForm]) -> RowForm:
    """The sum of disjoint indicators; 'c' and 'not c' together are 1."""
    return simplified(Form.total(forms))


def simplified(form: RowForm) -> RowForm:
    """The same form with 'where c' + 'where not c' merged, as far as it goes."""
    terms = dict(form)
    changed = True
    while changed:
        changed = False
        for pair, coefficient in list(terms.items()):
            for side in (0, 1):
                for condition in pair[side].where:
                    if condition.node.op != "untrue":
                        continue
                    rest = tuple(c for c in pair[side].where if c != condition)
                    positive = tuple(Condition(c) for c in _flat("and", condition.node.args[0]))
                    twin = Factor(pair[side].values, _joined(rest, positive))
                    other = _twin(terms, pair, side, twin, coefficient)
                    if other is not None:
                        del terms[pair], terms[other]
                        merged = Factor(pair[side].values, rest)
                        key = (merged, pair[1]) if side == 0 else (pair[0], merged)
                        terms[key] = terms.get(key, Fraction(0)) + coefficient
                        changed = True
                        break
                if changed:
                    break
            if changed:
                break
    return Form(terms)


def _twin(
    terms: dict[tuple[RowFactor, RowFactor], Fraction],
    pair: tuple[RowFactor, RowFactor],
    side: int,
    twin: RowFactor,
    coefficient: Fraction,
) -> tuple[RowFactor, RowFactor] | None:
    wanted = set(twin.where)
    for other, c in terms.items():
        same = other[1 - side] == pair[1 - side] and other[side].values == twin.values
        if same and c == coefficient and set(other[side].where) == wanted and other != pair:
            return other
    return None
