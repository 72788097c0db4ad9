"""mask: signs of a text are covered by a sign, for the eye. What stays visible stays in the data.

A mask is for display: the release's risk is measured as if it were not there (anonymize counts it as nothing).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from privcompute.anonymize.identifiers import PARSERS
from privcompute.anonymize.identifiers.cn_name import surname_of
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator
from privcompute.anonymize.mask.parameters import kind, optional, parameter, text, whole
from privcompute.anonymize.mask.texts import Cells, as_text, each_distinct

VISIBLE: Final[Mapping[str, tuple[int, int]]] = {
    "cn_id": (6, 0),
    "cn_id15": (6, 0),
    "cn_mobile": (3, 4),
    "bank_card": (6, 4),
    "cn_uscc": (8, 0),
    "cn_plate": (2, 1),
    "cn_plate_nev": (2, 1),
    "cn_passport": (1, 2),
    "hk_mo_permit": (1, 2),
    "cn_address": (6, 0),
    "cn_name": (1, 0),
}
"""Signs that custom leaves visible at the front and at the end, by kind."""


def _sign(value: object) -> str | None:
    return None if isinstance(value, str) and len(value) == 1 and value.isprintable() else "must be one printable sign"


@dataclass(frozen=True)
class Mask(Operator):
    """Covers signs.

    Attributes:
        keep: signs at the front that stay; if neither this nor keep_last is stated, what the type's custom is, or none.
        keep_last: signs at the end that stay.
        keep_from: everything from this text's last occurrence on stays, such as "@" and the host.
        sign: what covers.
        length: covering signs; if not stated, as many as are covered. A fixed number hides the length.
        type: a kind of identifier, which is brought to its canonical form before.
    """

    op: ClassVar[str] = "mask"

    keep: int | None = parameter(optional(whole(0, 64)), None)
    keep_last: int | None = parameter(optional(whole(0, 64)), None)
    keep_from: str = parameter(text(8), "")
    sign: str = parameter(_sign, "*")
    length: int | None = parameter(optional(whole(1, 64)), None)
    type: str | None = parameter(optional(kind), None)

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        parse = PARSERS[self.type] if self.type else None

        def cover(value: str) -> str:
            if parse is not None:
                found = parse(value)
                value = found.value if found.valid else value
            at = value.rfind(self.keep_from) if self.keep_from else -1
            body, tail = (value[:at], value[at:]) if at >= 0 else (value, "")
            first, last = self._visible(body)
            # Of a short value nothing stays: what is visible would be most of it.
            if first + last >= len(body):
                first = last = 0
            covered = self.sign * (self.length or len(body) - first - last)
            return body[:first] + covered + body[len(body) - last :] + tail

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            return Masked(each_distinct(as_text(cells, column), cover))

        return apply

    def _visible(self, value: str) -> tuple[int, int]:
        if self.keep is not None or self.keep_last is not None:
            return self.keep or 0, self.keep_last or 0
        if self.type == "cn_name":
            return len(surname_of(value) or value[:1]), 0
        return VISIBLE.get(self.type or "", (0, 0))
