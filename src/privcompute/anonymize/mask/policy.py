"""The part of a policy that speaks of desensitization: `[columns]`, one `transform = { op = "…", … }` a column.

    version = 1

    [columns]
    id_no  = { role = "direct", transform = { op = "token", key = "k1", domain = "person", type = "cn_id" } }
    mobile = { role = "direct", transform = { op = "fpe", key = "k2", type = "cn_mobile", keep_prefix = 3 } }
    seen   = { transform = { op = "date_shift", key = "k1", subject = "id_no" } }
    notes  = { transform = { op = "redact", found = true } }

    [desensitize]
    others = "keep"        # what becomes of columns that have no transform: "keep", "drop", "refuse"

`transforms` reads it out of a document that may hold more: models, hierarchies and search belong to `anonymize`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from privcompute.anonymize.mask.bucket import Bucket
from privcompute.anonymize.mask.date_shift import DateShift
from privcompute.anonymize.mask.fpe import Fpe
from privcompute.anonymize.mask.keep import Keep
from privcompute.anonymize.mask.masking import Mask
from privcompute.anonymize.mask.noise import Noise
from privcompute.anonymize.mask.operator import Operator
from privcompute.anonymize.mask.parameters import read
from privcompute.anonymize.mask.redact import Redact
from privcompute.anonymize.mask.surrogate import Surrogate
from privcompute.anonymize.mask.token import Token
from privcompute.errors import UsageError

VERSION: Final = 1
OPERATORS: Final[Mapping[str, type[Operator]]] = MappingProxyType(
    {one.op: one for one in (Keep, Mask, Redact, Token, Fpe, DateShift, Bucket, Noise, Surrogate)}
)
OTHERS: Final = ("keep", "drop", "refuse")
SECTIONS: Final = (
    *("version", "locale", "columns", "desensitize", "nulls"),
    *("models", "population", "search", "grading", "output"),
)
"""What a policy's document may hold; what this part does not read is checked by `anonymize`."""

ROLES: Final = ("direct", "qi", "sensitive", "insensitive")


@dataclass(frozen=True)
class MaskPolicy:
    """What becomes of every column.

    Attributes:
        transforms: operator by column, in the policy's order.
        others: what becomes of columns that have none: "keep", "drop" or "refuse".
        listed: columns that the policy names at all.
        digest: SHA-256 of the policy's content, in hexadecimal; the same for another spelling of the same content.
    """

    transforms: Mapping[str, Operator]
    others: str
    listed: tuple[str, ...]
    digest: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Ids of all keys, in order of use."""
        return tuple(dict.fromkeys(key for one in self.transforms.values() for key in one.keys))


def operator(column: str, transform: object) -> Operator:
    """The operator that a `transform` states.

    Args:
        column: the column's name, for messages.
        transform: the value of `transform`.

    Raises:
        UsageError: `policy`.
    """
    if not isinstance(transform, Mapping) or not isinstance(transform.get("op"), str):
        raise _fault(f'transform of column {column!r} must be a table with an op, such as {{ op = "redact" }}')
    name = transform["op"]
    if name not in OPERATORS:
        near = difflib.get_close_matches(name, OPERATORS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f": {', '.join(OPERATORS)}"
        raise _fault(f"transform of column {column!r}: there is no op {name[:40]!r}{hint}")
    found = read(
        OPERATORS[name], {k: v for k, v in transform.items() if k != "op"}, f"transform of column {column!r} ({name})"
    )
    if isinstance(found, Fpe):
        found.format  # noqa: B018 - raises if the parameters do not go together
    return found


def transforms(document: Mapping[str, Any]) -> dict[str, Operator]:
    """The operators of all columns of a document that state one.

    Raises:
        UsageError: `policy`.
    """
    columns = document.get("columns", {})
    if not isinstance(columns, Mapping):
        raise _fault("columns must be a table")
    result = {}
    for name, about in columns.items():
        if not isinstance(about, Mapping):
            raise _fault(f"column {name!r} must be a table")
        role = about.get("role")
        if role is not None and role not in ROLES:
            raise _fault(f"role of column {name!r} must be one of {', '.join(ROLES)}")
        if "transform" in about:
            result[name] = operator(name, about["transform"])
    return result


def from_document(document: Mapping[str, Any]) -> MaskPolicy:
    """What a policy's document says of desensitization.

    Raises:
        UsageError: `policy`.
    """
    if document.get("version") != VERSION or isinstance(document.get("version"), bool):
        raise _fault(f"version must be {VERSION}")
    for section in document:
        if section not in SECTIONS:
            near = difflib.get_close_matches(section, SECTIONS, n=1)
            raise _fault(f"unknown section {section!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    settings = document.get("desensitize", {})
    if not isinstance(settings, Mapping) or set(settings) - {"others"}:
        raise _fault("desensitize holds only `others`")
    others = settings.get("others", "keep")
    if others not in OTHERS:
        raise _fault(f"others must be one of {', '.join(OTHERS)}")
    found = transforms(document)
    columns = document.get("columns", {})
    bare = [name for name, about in columns.items() if about.get("role") == "direct" and name not in found]
    if bare:
        raise _fault(f"direct identifiers need a transform: {', '.join(bare)}")
    canonical = json.dumps(document, sort_keys=True, ensure_ascii=False, default=str)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return MaskPolicy(MappingProxyType(found), others, tuple(columns), digest)


def load(path: Path) -> MaskPolicy:
    """Read a policy file.

    Raises:
        UsageError: `policy`, `no_such_file`.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the policy {path}: {error.strerror}", code="no_such_file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _fault(f"{path} is not TOML: {error}") from None
    return from_document(document)


def _fault(message: str) -> UsageError:
    return UsageError(message, code="policy", remedy="docs/desensitize.md shows a policy and every operator")
