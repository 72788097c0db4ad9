"""The public catalogue entry of a dataset: all that a peer is told of it before a query.

An entry that arrives is hostile until read: its size, its depth, every field's type, every name and every
number are checked, unknown and repeated fields are refused, and an error quotes at most a column's name that
passed the check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, NoReturn, cast, get_args

from privcompute.errors import PeerError, UsageError
from privcompute.tables.schema import MAX_DOMAIN, Column, Kind, RangeOrigin, check_name

Reveal = Literal["nothing", "size", "matches"]
Consent = Literal["auto", "manual"]

USES = frozenset({"aggregate", "group", "filter", "product"})
"""What an owner may allow a column to be used for."""

KEY_TYPES = ("BIGINT", "UBIGINT", "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN")
"""Types in which keys are compared; every narrower integer type is carried as BIGINT."""

MAX_BYTES = 1 << 20
MAX_COLUMNS = 2048
MAX_KEYS = 16
MAX_COUNT = 1 << 40
MAX_MIN_HOLDERS = 1000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_VERSION = re.compile(r"[0-9a-f]{64}")
_TECHNIQUE = re.compile(r"[a-z][a-z-]{0,31}")
_FRACTION = re.compile(r"(-?(?:0|[1-9][0-9]{0,616}))(?:/([1-9][0-9]{0,616}))?")


@dataclass(frozen=True)
class DatasetEntry:
    """What the owner publishes of one dataset.

    Attributes:
        party: the owner's name.
        name: the dataset's name; SQL calls it `party.name`.
        version: keyed digest of schema and content, 64 hexadecimal digits; it tells versions apart, nothing else.
        keys: names of the key columns, in order; they are among `columns`.
        key_types: for each key the type it is compared in, one of `KEY_TYPES`.
        distinct_keys: number of distinct keys without a NULL component.
        rows_per_key: public cap on the rows of one key (the owner's declaration, checked at every run).
        columns: every published column.
        allow: column -> uses the owner allows; a column that is missing may not be used. Never a key.
        reveal: the most the owner lets the join tell.
        min_cell: smallest number of contributors the owner lets a cell have.
        consent: whether the owner confirms each query by hand.
        min_holders: in a union of many holders, the fewest that the owner lets a cell cover; with 1 or 2 a total may
            give a holder's part away.
        floors: column -> the weakest technique that may carry it to the peer that reads this entry, as a word of
            `privcompute.grades`; a column that is missing may be carried by any. The grade itself stays private.
    """

    party: str
    name: str
    version: str
    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    distinct_keys: int
    rows_per_key: int
    columns: tuple[Column, ...]
    allow: Mapping[str, frozenset[str]]
    reveal: Reveal
    min_cell: int
    consent: Consent
    min_holders: int = 3
    floors: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields, and freeze `allow`.

        Raises:
            UsageError: `bad_entry` or `bad_name`.
        """
        names = [column.name for column in self.columns]
        faults = (
            (not _matches(_NAME, self.party), "its party's name is not a plain identifier"),
            (not _matches(_NAME, self.name), "its name is not a plain identifier"),
            (not _matches(_VERSION, self.version), "its version is not a digest"),
            (not 0 < len(names) <= MAX_COLUMNS, f"it has no column or more than {MAX_COLUMNS}"),
            (len({name.casefold() for name in names}) != len(names), "two columns differ at most in case"),
            (not 0 < len(self.keys) <= MAX_KEYS, f"it has no key or more than {MAX_KEYS}"),
            (len(set(self.keys)) != len(self.keys), "a key column is named twice"),
            (not set(self.keys) <= set(names), "a key is not among its columns"),
            (len(self.key_types) != len(self.keys), "keys and key types differ in number"),
            (not set(self.key_types) <= set(KEY_TYPES), "a key's type cannot be compared"),
            (not _count(self.distinct_keys, 0), "its number of keys is out of range"),
            (not _count(self.rows_per_key, 1), "its rows per key are out of range"),
            (not _count(self.min_cell, 1), "its minimum count is out of range"),
            (
                not _count(self.min_holders, 1) or self.min_holders > MAX_MIN_HOLDERS,
                "its minimum number of holders is out of range",
            ),
            (not set(self.allow) <= set(names) - set(self.keys), "a rule names a key or an unknown column"),
            (not all(frozenset(uses) <= USES for uses in self.allow.values()), "a rule allows an unknown use"),
            (not set(self.floors) <= set(names), "a floor is of an unknown column"),
            (not all(_matches(_TECHNIQUE, one) for one in self.floors.values()), "a floor is not a technique's word"),
            (self.reveal not in get_args(Reveal), "what the join may reveal is unknown"),
            (self.consent not in get_args(Consent), "its consent is neither automatic nor manual"),
        )
        for wrong, fault in faults:
            if wrong:
                raise UsageError(f"the dataset's entry is not valid: {fault}", code="bad_entry")
        frozen = {name: frozenset(self.allow[name]) for name in sorted(self.allow)}
        object.__setattr__(self, "allow", MappingProxyType(frozen))
        floors = {name: self.floors[name] for name in sorted(self.floors)}
        object.__setattr__(self, "floors", MappingProxyType(floors))

    def __hash__(self) -> int:
        """Hash of party, name and version: equal entries have these equal."""
        return hash((self.party, self.name, self.version))

    def column(self, name: str) -> Column | None:
        """The column of that name, matched without regard to case; None if there is none."""
        wanted = name.casefold()
        return next((column for column in self.columns if column.name.casefold() == wanted), None)

    def to_object(self) -> dict[str, Any]:
        """The entry as plain JSON values, for embedding in a larger message."""
        return {
            "party": self.party,
            "name": self.name,
            "version": self.version,
            "keys": list(self.keys),
            "key_types": list(self.key_types),
            "distinct_keys": self.distinct_keys,
            "rows_per_key": self.rows_per_key,
            "columns": [_column_to_object(column) for column in self.columns],
            "allow": {name: sorted(uses) for name, uses in self.allow.items()},
            "reveal": self.reveal,
            "min_cell": self.min_cell,
            "consent": self.consent,
            "min_holders": self.min_holders,
            "floors": dict(self.floors),
        }

    def to_json(self) -> str:
        """The entry as canonical JSON: equal entries give equal text."""
        return json.dumps(self.to_object(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_object(cls, data: object, *, party: str | None = None) -> DatasetEntry:
        """Read `to_object` back, trusting nothing.

        Args:
            data: what a JSON parser returned.
            party: who sent it, for the error; an entry of another party is refused.

        Raises:
            PeerError: `bad_entry`.
        """
        try:
            entry = _entry(data)
        except (UsageError, _Malformed) as error:
            reason = error.message if isinstance(error, UsageError) else str(error)
            raise PeerError(f"a catalogue entry is not valid: {reason}", code="bad_entry", party=party) from None
        if party is not None and entry.party != party:
            raise PeerError("a catalogue entry names another party as owner", code="bad_entry", party=party)
        return entry

    @classmethod
    def from_json(cls, text: str | bytes, *, party: str | None = None) -> DatasetEntry:
        """Read `to_json` back, trusting nothing.

        Args:
            text: at most `MAX_BYTES` of JSON.
            party: who sent it, for the error; an entry of another party is refused.

        Raises:
            PeerError: `bad_entry`.
        """
        try:
            if len(text) > MAX_BYTES:
                raise _Malformed("it is longer than 1 MiB")
            data = json.loads(text, object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            # A parser's own message quotes the text: only ours is passed on.
            reason = str(error) if isinstance(error, _Malformed) else "it is not JSON"
            raise PeerError(f"a catalogue entry is not valid: {reason}", code="bad_entry", party=party) from None
        return cls.from_object(data, party=party)


class _Malformed(ValueError):
    """An arriving entry does not have the agreed form; the text never quotes it."""


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _count(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MAX_COUNT


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Malformed("a field is given twice")
    return result


def _no_number(_text: str) -> NoReturn:
    raise _Malformed("it holds a number that is no integer")


def _object(data: object, names: frozenset[str]) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != names:
        raise _Malformed("fields are missing or unknown")
    return data


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Malformed("a field that should be text is not")
    return value


def _list(value: object, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise _Malformed("a list is missing or too long")
    return value


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_COLUMNS:
        raise _Malformed("the rules are missing or too many")
    return value


def _fraction_to_text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _fraction(value: object) -> Fraction | None:
    if value is None:
        return None
    match = _FRACTION.fullmatch(_text(value))
    if match is None:
        raise _Malformed("a range is not a fraction")
    result = Fraction(int(match[1]), int(match[2] or 1))
    if str(result) != value:
        raise _Malformed("a range is not in lowest terms")
    return result


def _column_to_object(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "kind": column.kind.value,
        "type": column.type,
        "scale": column.scale,
        "lo": _fraction_to_text(column.lo),
        "hi": _fraction_to_text(column.hi),
        "range_origin": column.range_origin,
        "nullable": column.nullable,
        "domain": None if column.domain is None else list(column.domain),
    }


_COLUMN_FIELDS = frozenset(one.name for one in fields(Column))
_ENTRY_FIELDS = frozenset(one.name for one in fields(DatasetEntry))


def _column(data: object) -> Column:
    values = _object(data, _COLUMN_FIELDS)
    kind = _text(values["kind"])
    if kind not in {member.value for member in Kind}:
        raise _Malformed("a column has no known kind")
    return Column(
        name=check_name(values["name"], "column name"),
        kind=Kind(kind),
        type=_text(values["type"]),
        scale=values["scale"],
        lo=_fraction(values["lo"]),
        hi=_fraction(values["hi"]),
        range_origin=cast(RangeOrigin, _text(values["range_origin"])),
        nullable=values["nullable"],
        domain=None if values["domain"] is None else tuple(_list(values["domain"], MAX_DOMAIN)),
    )


def _entry(data: object) -> DatasetEntry:
    values = _object(data, _ENTRY_FIELDS)
    rules = {}
    for name, uses in _table(values["allow"]).items():
        listed = [_text(use) for use in _list(uses, len(USES))]
        if listed != sorted(set(listed)):
            raise _Malformed("a rule's uses are not in order")
        rules[name] = frozenset(listed)
    return DatasetEntry(
        party=_text(values["party"]),
        name=_text(values["name"]),
        version=_text(values["version"]),
        keys=tuple(_text(name) for name in _list(values["keys"], MAX_KEYS)),
        key_types=tuple(_text(name) for name in _list(values["key_types"], MAX_KEYS)),
        distinct_keys=values["distinct_keys"],
        rows_per_key=values["rows_per_key"],
        columns=tuple(_column(item) for item in _list(values["columns"], MAX_COLUMNS)),
        allow=rules,
        reveal=cast(Reveal, _text(values["reveal"])),
        min_cell=values["min_cell"],
        consent=cast(Consent, _text(values["consent"])),
        min_holders=values["min_holders"],
        floors={name: _text(word) for name, word in _table(values["floors"]).items()},
    )
