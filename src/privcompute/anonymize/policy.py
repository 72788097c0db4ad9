"""A release policy: what each column is, what must hold, how to search, what comes out.

    version = 1
    locale = "zh-CN"

    [nulls]
    quasi_identifier = "own-value"      # own-value | wildcard | suppress-row | error

    [columns]
    id_no   = { role = "direct" }
    age     = { role = "qi", hierarchy = { type = "interval", widths = [5, 10, 20], range = [0, 120] } }
    disease = { role = "sensitive" }

    [[models]]
    type = "k-anonymity"
    k = 5

    [search]
    algorithm = "exact"
    metric = "loss"
    suppression_limit = 0.02

Every field is checked; what is not known is refused. docs/anonymize.md lists all fields.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from privcompute.anonymize.hierarchy.spec import HierarchySpec, read_spec
from privcompute.anonymize.metrics import Metric
from privcompute.anonymize.models import Model
from privcompute.anonymize.models.spec import read_models
from privcompute.anonymize.schema import Fields, fault
from privcompute.errors import UsageError

if TYPE_CHECKING:
    from privcompute.anonymize.mask import Keys
    from privcompute.anonymize.release import Explained, Released

VERSION = 1

Role = Literal["direct", "qi", "sensitive", "insensitive"]
NullPolicy = Literal["own-value", "wildcard", "suppress-row", "error"]
Algorithm = Literal["exact", "mondrian-strict", "mondrian-relaxed", "cells"]
Others = Literal["refuse", "drop", "keep"]
Suppressed = Literal["blank", "mark", "drop"]
Order = Literal["canonical", "shuffle"]
Locale = Literal["en", "zh-CN"]

MARKER = "[suppressed]"
"""What a cell of a suppressed row shows, unless the policy says otherwise."""


@dataclass(frozen=True)
class ColumnRule:
    """What one column is.

    Attributes:
        role: direct identifiers never leave; quasi-identifiers are generalized; sensitive columns are what models
            protect; insensitive ones stay.
        hierarchy: how it is generalized, or, of a sensitive column, how far its values are apart.
        top: values above are set to it (top coding); None: nowhere.
        bottom: values below are set to it.
        microaggregate: whether its values are replaced by the mean of groups of similar rows (MDAV).
        transform: the policy's `transform`, which the desensitization part reads.
    """

    role: Role
    hierarchy: HierarchySpec | None = None
    top: float | None = None
    bottom: float | None = None
    microaggregate: bool = False
    transform: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Search:
    """How the release is found.

    Attributes:
        algorithm: which.
        metric: what is made small.
        suppression_limit: the part of rows (`cells`: of cells) that may be suppressed.
        time_limit: seconds; None: until the best is proven.
        max_loss: a release that loses more is refused: one class of everything is anonymous and useless.
    """

    algorithm: Algorithm = "exact"
    metric: Metric = "loss"
    suppression_limit: float = 0.0
    time_limit: float | None = None
    max_loss: float = 0.999


@dataclass(frozen=True)
class Output:
    """What comes out.

    Attributes:
        others: what becomes of columns that the policy does not name.
        suppressed: what becomes of suppressed rows: `blank` keeps the row and nothing in it, `mark` hides its
            quasi-identifiers only, `drop` leaves it out.
        marker: what a hidden cell shows.
        order: rows sorted by what they show, or shuffled.
    """

    others: Others = "refuse"
    suppressed: Suppressed = "blank"
    marker: str = MARKER
    order: Order = "canonical"


@dataclass(frozen=True)
class Population:
    """Of what the table is a sample.

    Attributes:
        source: a table of all rows of it, the sample's among them, with the same quasi-identifiers.
        rows: how many it has, where only that is known.
    """

    source: str | None = None
    rows: int | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Policy:
    """A checked policy. `load` reads a file, `from_text` a text.

    Attributes:
        columns: by name, in the policy's order.
        models: that have to hold together.
        nulls: how a NULL in a quasi-identifier is treated.
        null_markers: texts that stand for NULL.
        trim: whether blanks around texts are taken off first.
        locale: of the report.
        digest: SHA-256 of the content, in hexadecimal.
        folder: where relative paths start.
        document: the policy as it was read.
        fingerprint_key: the id of the key under which reports name their input; None: they do not.
    """

    columns: Mapping[str, ColumnRule]
    models: tuple[Model, ...]
    search: Search = Search()
    output: Output = Output()
    population: Population = Population()
    nulls: NullPolicy = "own-value"
    null_markers: tuple[str, ...] = ()
    trim: bool = False
    locale: Locale = "en"
    digest: str = ""
    folder: Path = Path()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fingerprint_key: str | None = None

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file.

        Raises:
            UsageError: `no_such_file`; `policy`, naming the field.
        """
        place = Path(path)
        try:
            text = place.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"cannot read the policy {place}", code="no_such_file", remedy="check the path") from None
        return cls.from_text(text, folder=place.parent)

    @classmethod
    def from_text(cls, text: str, *, folder: Path = Path()) -> Policy:
        """Read a policy.

        Args:
            text: TOML.
            folder: where relative paths start.

        Raises:
            UsageError: `policy`, naming the field.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise fault("the file", f"is not TOML ({error})") from None
        return _read(document, folder)

    def apply(self, frame: Any, *, keys: Keys | None = None) -> Released:
        """Release a table under this policy.

        Args:
            frame: whatever `frame.load` reads; it is not changed.
            keys: for columns with a `transform` that uses one, and for the input's fingerprint.

        Returns:
            The release, of the same kind as `frame`, and its report.

        Raises:
            UsageError: the table and the policy do not fit.
            PrivacyError: `infeasible`, `nothing_left`.
            IntegrityError: `recheck`: the finished release does not hold what it should; nothing is returned.
        """
        from privcompute.anonymize.release import release

        return release(self, frame, keys)

    def explain(self, frame: Any, *, keys: Keys | None = None) -> Explained:
        """What `apply` would do: roles, levels, nodes, models. Nothing is searched.

        Args:
            frame: whatever `frame.load` reads; it is not changed.
            keys: for the input's fingerprint.

        Raises:
            UsageError: the table and the policy do not fit.
        """
        from privcompute.anonymize.release import explain

        return explain(self, frame, keys)

    @property
    def keys(self) -> tuple[str, ...]:
        """The ids of all keys it names, each once."""
        from privcompute.anonymize.mask import transforms

        found = [key for one in transforms(self.document).values() for key in one.keys]
        return tuple(dict.fromkeys([*found, *([self.fingerprint_key] if self.fingerprint_key else [])]))

    def names(self, role: Role) -> tuple[str, ...]:
        """The columns of a role."""
        return tuple(name for name, rule in self.columns.items() if rule.role == role)


def _read(document: Mapping[str, Any], folder: Path) -> Policy:
    top = Fields(document, "")
    if top.whole("version") != VERSION:
        raise fault("version", f"is not {VERSION}, which is what this release reads")
    locale = cast(Locale, top.text("locale", "en", get_args(Locale)))
    nulls = Fields(top.raw("nulls") or {}, "nulls")
    null_policy = cast(NullPolicy, nulls.text("quasi_identifier", "own-value", get_args(NullPolicy)))
    markers, trim = nulls.texts("markers", ()), nulls.flag("trim", False)
    nulls.end()
    listed = top.raw("columns")
    if not listed:
        raise fault("columns", "is missing or empty")
    columns = {name: _column(Fields(about, f"columns.{name}"), folder) for name, about in listed.items()}
    if not any(rule.role == "qi" for rule in columns.values()):
        raise fault("columns", 'names no quasi-identifier (role = "qi")')
    sensitive = tuple(name for name, rule in columns.items() if rule.role == "sensitive")
    population = _population(Fields(top.raw("population") or {}, "population"))
    models = read_models(top.raw("models"), sensitive, population.rows)
    policy = Policy(
        MappingProxyType(columns),
        models,
        _search(Fields(top.raw("search") or {}, "search")),
        _output(Fields(top.raw("output") or {}, "output")),
        population,
        null_policy,
        markers,
        trim,
        locale,
        _digest(document),
        folder,
        MappingProxyType(dict(document)),
        _fingerprint_key(Fields(top.raw("report") or {}, "report")),
    )
    for other in ("grading", "desensitize"):  # read and checked by their own parts
        top.raw(other)
    top.end()
    return policy


def _column(about: Fields, folder: Path) -> ColumnRule:
    role = cast(Role, about.text("role", None, get_args(Role)))
    spec = (
        read_spec(Fields(about.raw("hierarchy"), about.name("hierarchy")), folder) if about.has("hierarchy") else None
    )
    if spec is not None and role not in ("qi", "sensitive"):
        raise fault(about.name("hierarchy"), "is for quasi-identifiers and sensitive columns")
    top = about.number("top", low=-1e18) if about.has("top") else None
    bottom = about.number("bottom", low=-1e18) if about.has("bottom") else None
    if top is not None and bottom is not None and bottom > top:
        raise fault(about.name("bottom"), "is above top")
    micro = about.flag("microaggregate", False)
    if micro and role != "qi":
        raise fault(about.name("microaggregate"), "is for quasi-identifiers")
    transform = about.raw("transform")
    if transform is not None and role in ("qi", "sensitive"):
        raise fault(about.name("transform"), "is for direct identifiers and insensitive columns")
    about.end()
    return ColumnRule(role, spec, top, bottom, micro, transform)


def _search(about: Fields) -> Search:
    found = Search(
        cast(Algorithm, about.text("algorithm", "exact", get_args(Algorithm))),
        cast(Metric, about.text("metric", "loss", get_args(Metric))),
        float(about.number("suppression_limit", 0.0, 0, 1)),
        float(about.number("time_limit_s", low=0.001)) if about.has("time_limit_s") else None,
        float(about.number("max_loss", 0.999, 0, 1)),
    )
    about.end()
    return found


def _output(about: Fields) -> Output:
    found = Output(
        cast(Others, about.text("others", "refuse", get_args(Others))),
        cast(Suppressed, about.text("suppressed", "blank", get_args(Suppressed))),
        about.text("marker", MARKER),
        cast(Order, about.text("order", "canonical", get_args(Order))),
    )
    if not found.marker:
        raise fault(about.name("marker"), "is empty, which a CSV file reads as NULL")
    about.end()
    return found


def _population(about: Fields) -> Population:
    source = about.text("source") if about.has("source") else None
    rows = about.whole("rows", low=1) if about.has("rows") else None
    if source is not None and rows is not None:
        raise fault("population", "has a source, which says how many rows it has")
    about.end()
    return Population(source, rows)


def _fingerprint_key(about: Fields) -> str | None:
    if not about.has("fingerprint_key"):
        about.end()
        return None
    from privcompute.anonymize.mask.keys import check_id

    name = about.text("fingerprint_key")
    about.end()
    try:
        return check_id(name)
    except UsageError as error:
        raise fault(about.name("fingerprint_key"), f"names no key: {error.message}") from None


def _digest(document: Mapping[str, Any]) -> str:
    """The same for another spelling of the same content."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
