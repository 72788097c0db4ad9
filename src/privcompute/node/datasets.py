"""Adding and editing datasets: from a source and its owner's rules to the public catalogue entry.

Every column is published by name and type, so that a refusal can name it; a range (and the digits of a REAL) only
where the owner's rules let the column be used as a number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from privcompute.errors import UsageError
from privcompute.node import grading, rules
from privcompute.node.catalogue import Dataset
from privcompute.node.config import Config, check_name
from privcompute.node.setup import version_key
from privcompute.node.store import Store
from privcompute.tables import engine
from privcompute.tables.catalogue import MAX_BYTES, Consent, DatasetEntry, Reveal
from privcompute.tables.local import local_features
from privcompute.tables.open import is_csv, open_source
from privcompute.tables.profiling import Profile, check_finite, profile
from privcompute.tables.schema import NUMERIC, Column, Kind
from privcompute.tables.source import Source

Bounds = tuple[Fraction, Fraction]
Accept = Callable[[Sequence[Column], int | None], bool]
"""Asked with the columns whose ranges, and the cap of rows per key, that come from the data: may they be public?"""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an owner decides about a dataset.

    Attributes:
        allow: column or '*' to uses.
        ranges: column to declared bounds.
        rows_per_key: declared cap, or None: 1 if the key is unique, else from the data.
        reveal: the most the join may tell.
        min_cell: least contributors of a cell.
        consent: whether the owner confirms each query.
        partners: the peers that may ask; empty: all paired ones.
        domains: column to the values it may have, as text, for groups of a union.
        min_holders: fewest holders that a union's cell must cover.
        grades: column or '*' to grade, as text.
    """

    allow: Mapping[str, frozenset[str]]
    ranges: Mapping[str, Bounds]
    rows_per_key: int | None = None
    reveal: Reveal = "nothing"
    min_cell: int = 10
    consent: Consent = "auto"
    partners: tuple[str, ...] = ()
    domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    min_holders: int = 3
    grades: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """A dataset as stored, and what its owner should know of it; the notes hold private counts."""

    dataset: Dataset
    entry: DatasetEntry
    notes: tuple[str, ...]


def add(
    store: Store,
    config: Config,
    name: str,
    source: str,
    keys: Sequence[str],
    declaration: Declaration,
    *,
    credentials: Path | None,
    accept: Accept,
    key_types: Mapping[str, str] | None = None,
) -> Added:
    """Read a source, build its entry, and store it.

    `key_types` says of key columns of a CSV file what else than text they are.

    Raises:
        UsageError: name, source, key or rule will not do, a value lies outside a declared range, or `accept` said no
            to ranges that come from the data (code `ranges_needed`).
    """
    if reason := check_name(name):
        raise UsageError(
            f"the name {name!r} {reason}", code="bad_name", remedy=f"it stands in SQL as {config.name}.NAME"
        )
    if store.datasets.find(name) is not None:
        raise UsageError(
            f"a dataset {name} is here already",
            code="dataset_exists",
            remedy=f"`privcompute dataset edit {name} …` changes it, `dataset remove` removes it",
        )
    _check_partners(store, declaration.partners)
    place = absolute(source)
    credentials = credentials.absolute() if credentials else None
    opened_source = open_source(place, credentials=credentials, keys=keys, key_types=key_types)
    made = _build(store, config, name, opened_source, place, tuple(keys), declaration, credentials, accept, before=None)
    store.datasets.add(made.dataset)
    store.audit.append("dataset_add", dataset=name, version=made.entry.version)
    return made


def edit(
    store: Store, config: Config, name: str, change: Callable[[Declaration], Declaration], *, accept: Accept
) -> Added:
    """Read the source anew and rebuild the entry with a changed declaration; accepted ranges that still hold are kept.

    Raises:
        UsageError: no such dataset, or as for `add`.
    """
    old = store.datasets.get(name)
    declaration = change(declaration_of(old))
    _check_partners(store, declaration.partners)
    credentials = Path(old.credentials) if old.credentials else None
    made = _build(
        store, config, name, opened(old), old.source, old.entry.keys, declaration, credentials, accept, before=old.entry
    )
    store.datasets.replace(made.dataset)
    store.audit.append("dataset_edit", dataset=name, version=made.entry.version)
    return made


def remove(store: Store, name: str) -> None:
    """Forget a dataset; the source, and the ledger of what was released of it, stay.

    Raises:
        UsageError: no such dataset.
    """
    store.datasets.remove(name)
    store.audit.append("dataset_remove", dataset=name)


def declaration_of(dataset: Dataset) -> Declaration:
    """The declaration that a stored dataset was built from; its data-derived figures are not part of it."""
    entry = dataset.entry
    return Declaration(
        allow=dict(entry.allow),
        ranges={
            one.name: (one.lo, one.hi)
            for one in entry.columns
            if one.range_origin == "declared" and one.lo is not None and one.hi is not None
        },
        rows_per_key=entry.rows_per_key,
        reveal=entry.reveal,
        min_cell=entry.min_cell,
        consent=entry.consent,
        partners=dataset.partners,
        domains={one.name: tuple(map(str, one.domain)) for one in entry.columns if one.domain is not None},
        min_holders=entry.min_holders,
        grades=dict(dataset.grades),
    )


def opened(dataset: Dataset) -> Source:
    """The source of a stored dataset.

    Raises:
        UsageError: it is gone or unreadable.
    """
    return open_source(
        dataset.source,
        credentials=Path(dataset.credentials) if dataset.credentials else None,
        keys=dataset.entry.keys,
        key_types=_declared_types(dataset),
    )


def _declared_types(dataset: Dataset) -> Mapping[str, str] | None:
    """Of a CSV file what its owner said its keys are; other sources know."""
    types = dict(zip(dataset.entry.keys, dataset.entry.key_types, strict=True))
    return types if is_csv(dataset.source) else None


def current_version(store: Store, dataset: Dataset, *, limits: engine.Limits | None = None) -> str:
    """The version that the source's content has now; reads all of it."""
    return _version(opened(dataset).fingerprint(version_key(store), limits=limits), dataset.entry.keys)


def fresh(store: Store, dataset: Dataset) -> bool:
    """Whether the source's content is what the entry was made of; reads all of it."""
    return current_version(store, dataset) == dataset.entry.version


def limits_of(config: Config) -> engine.Limits:
    """What DuckDB may use in this node."""
    return engine.Limits(memory=config.limits.memory_mib << 20)


def absolute(source: str) -> str:
    """A file's path made absolute, so that a node that runs elsewhere finds it; a URL as it is."""
    if "://" in source:
        return source
    path, asked, table = source.partition("?table=")
    return f"{Path(path).expanduser().absolute()}{asked}{table}"


def _version(fingerprint: str, keys: Sequence[str]) -> str:
    """Of content and key columns: the ledger's sets are in the order of these keys. Rules do not enter."""
    body = json.dumps(["privcompute dataset", fingerprint, [key.casefold() for key in keys]])
    return hashlib.sha256(body.encode()).hexdigest()


def _check_partners(store: Store, partners: Sequence[str]) -> None:
    for partner in partners:
        invited = any(one.peer == partner for one in store.peers.invitations())
        if store.peers.get(partner) is None and not invited:
            raise UsageError(
                f"--with {partner}: no such peer",
                code="no_peer",
                remedy="`privcompute peers list` lists them; invite or join the peer first",
            )


def _build(
    store: Store,
    config: Config,
    name: str,
    source: Source,
    place: str,
    keys: tuple[str, ...],
    declaration: Declaration,
    credentials: Path | None,
    accept: Accept,
    *,
    before: DatasetEntry | None,
) -> Added:
    limits = limits_of(config)
    keys = tuple(one.name for one in source.columns(keys))
    found = profile(source, keys, limits=limits)
    fingerprint = source.fingerprint(version_key(store), limits=limits)
    allow = rules.expand_allow(declaration.allow, found.suggested, keys)
    check_finite([one for one in found.columns if allow.get(one.column.name)])
    columns = _columns(found, allow, rules.expand_ranges(declaration.ranges, found.suggested), before)
    domains = rules.expand_domains(declaration.domains, found.suggested)
    grades = grading.expand(declaration.grades, found.suggested, config)
    columns = tuple(replace(one, domain=domains.get(one.name)) for one in columns)
    rows_per_key, derived_cap = _rows_per_key(found, declaration.rows_per_key, before)
    derived = [one for one in columns if one.range_origin == "data-derived" and not _accepted(one, before)]
    cap = rows_per_key if derived_cap else None
    if (derived or cap is not None) and not accept(derived, cap):
        raise _ranges_needed(derived, cap)
    _check_declared(source, keys, columns, rows_per_key, limits)
    entry = DatasetEntry(
        party=config.name,
        name=name,
        version=_version(fingerprint, keys),
        keys=keys,
        key_types=found.key_types,
        distinct_keys=found.distinct_keys,
        rows_per_key=rows_per_key,
        columns=columns,
        allow=allow,
        reveal=declaration.reveal,
        min_cell=declaration.min_cell,
        consent=declaration.consent,
        min_holders=declaration.min_holders,
    )
    _check_size(entry)
    dataset = Dataset(
        name=name,
        source=place,
        credentials=str(credentials) if credentials else None,
        partners=declaration.partners,
        fingerprint=fingerprint,
        entry_json=entry.to_json(),
        grades=grades,
    )
    return Added(dataset, entry, (*_notes(found, entry), *grading.notes(grades, entry, config)))


def _check_declared(
    source: Source, keys: Sequence[str], columns: Sequence[Column], rows_per_key: int, limits: engine.Limits
) -> None:
    """Every value lies in its declared range or domain. Each run checks again; the owner hears it here first."""
    declared = [one for one in columns if one.range_origin == "declared" or one.domain is not None]
    if declared:
        reads = tuple(f"{engine.identifier(one.name)} IS NOT NULL" for one in declared)
        local_features(source, keys, (), reads, columns=declared, rows_per_key=rows_per_key, limits=limits)


def _check_size(entry: DatasetEntry) -> None:
    """The entry can be read by those it is for."""
    if len(entry.to_json()) > MAX_BYTES:
        raise UsageError(
            "the dataset's public entry would be longer than 1 MiB",
            code="entry_too_large",
            remedy="publish a view with fewer columns, shorter names or smaller domains",
        )


def _columns(
    found: Profile,
    allow: Mapping[str, frozenset[str]],
    declared: Mapping[str, Bounds],
    before: DatasetEntry | None,
) -> tuple[Column, ...]:
    columns = []
    for suggested in found.suggested:
        column = suggested
        if column.kind in NUMERIC and column.name in declared:
            column = _declared(column, declared[column.name])
        elif column.kind in NUMERIC and column.kind is not Kind.BOOLEAN:
            if allow.get(column.name, frozenset()) & rules.NUMBER_USES:
                old = before.column(column.name) if before is not None else None
                column = _kept(column, old)
            else:
                scale = column.scale if column.kind is Kind.DECIMAL else None
                column = replace(column, scale=scale, lo=None, hi=None, range_origin="type")
        columns.append(column)
    return tuple(columns)


def _declared(column: Column, bounds: Bounds) -> Column:
    """The column with its owner's range."""
    lo, hi = bounds
    if column.kind is Kind.BOOLEAN:
        raise UsageError(f"{column.name} is BOOLEAN: its range is known", code="bad_range", remedy="leave it out")
    return replace(column, lo=lo, hi=hi, range_origin="declared")


def _kept(column: Column, old: Column | None) -> Column:
    """The accepted range of the earlier entry if it still covers the suggestion, else the suggestion."""
    if old is None or old.range_origin != "data-derived" or old.lo is None or old.hi is None:
        return column
    if column.lo is None or column.hi is None or not (old.lo <= column.lo and column.hi <= old.hi):
        return column
    return replace(column, lo=old.lo, hi=old.hi)


def _accepted(column: Column, before: DatasetEntry | None) -> bool:
    old = before.column(column.name) if before is not None else None
    return old is not None and (old.lo, old.hi, old.range_origin) == (column.lo, column.hi, column.range_origin)


def _rows_per_key(found: Profile, declared: int | None, before: DatasetEntry | None) -> tuple[int, bool]:
    """The cap, and whether it comes from the data and was not accepted yet."""
    most = found.rows_per_key
    if declared is not None and most <= declared:
        return declared, False
    if declared is not None and (before is None or declared != before.rows_per_key):
        raise UsageError(
            f"some key has more than {declared} rows",
            code="rows_per_key",
            remedy="raise --max-rows-per-key, or publish a view with fewer rows a key",
        )
    if most <= 1:
        return 1, False
    return 1 << (most - 1).bit_length(), True


def _ranges_needed(derived: Sequence[Column], cap: int | None) -> UsageError:
    shown = [f"--range {one.name}={one.lo}:{one.hi}" for one in derived]
    if cap is not None:
        shown.append(f"--max-rows-per-key {cap}")
    return UsageError(
        "these public figures would come from the data, and nobody accepted that: " + " ".join(shown),
        code="ranges_needed",
        remedy="declare them with these options (or better ones), or add --accept-ranges",
    )


def _notes(found: Profile, entry: DatasetEntry) -> tuple[str, ...]:
    notes = []
    if found.null_keys:
        notes.append(f"{found.null_keys} rows have a NULL in their key and never join")
    if found.distinct_keys < entry.min_cell:
        notes.append(f"there are fewer keys than the minimum of {entry.min_cell}: no query can be answered")
    if not entry.allow:
        notes.append("no rule allows any column: only COUNT(*) and COUNT(DISTINCT key) can be asked")
    if entry.reveal != "matches":
        notes.append(f"reveal is {entry.reveal!r}: the join that is built tells more; --reveal matches allows it")
    return tuple(notes)
