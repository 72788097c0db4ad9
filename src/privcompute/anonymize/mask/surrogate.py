"""surrogate: a made-up value that looks real takes a value's place: the same one for the same value and key.

Names, addresses and numbers are put together from our own word lists by HMAC(key, value). Numbers have a valid form and
check digits. Two values may get one surrogate: who must tell them apart takes `token` or `fpe`. A made-up number may be
somebody's: it is for tests and demonstrations, never to be called or written to. Mail addresses are at example.com.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from privcompute.anonymize.identifiers import normalise, parser
from privcompute.anonymize.identifiers.checksums import (
    USCC_ALPHABET,
    id_check,
    luhn_check,
    organisation_check,
    uscc_check,
)
from privcompute.anonymize.identifiers.divisions import PLATE_PROVINCES, PROVINCES, county_codes, prefectures
from privcompute.anonymize.identifiers.words import COMPOUND_SURNAMES, GIVEN, ROAD_KINDS, ROADS, SURNAMES
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator
from privcompute.anonymize.mask.parameters import choice, key_id, optional, parameter, text
from privcompute.anonymize.mask.texts import Cells, as_text, each_distinct
from privcompute.anonymize.mask.token import hmac_sha256

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_FIRST_BIRTH: Final = dt.date(1940, 1, 1)
_BIRTH_DAYS: Final = 25_000
_COMMON: Final = 200


class Draw:
    """Choices that follow from a seed alone.

    Args:
        mac: a keyed function.
        seed: what the choices belong to.
    """

    __slots__ = ("_count", "_left", "_mac", "_seed")

    def __init__(self, mac: Callable[[bytes], bytes], seed: bytes) -> None:
        self._mac = mac
        self._seed = seed
        self._count = 0
        self._left = b""

    def below(self, bound: int) -> int:
        """A number in [0, bound), bound below 2**32; one number is likelier than another by less than 2**-32."""
        if not self._left:
            self._left = self._mac(self._seed + self._count.to_bytes(4, "big"))
            self._count += 1
        word, self._left = self._left[:8], self._left[8:]
        return int.from_bytes(word, "big") % bound

    def of(self, items: str | tuple[str, ...] | list[str]) -> str:
        """One of some."""
        return items[self.below(len(items))]

    def digits(self, count: int) -> str:
        """Digits."""
        return "".join(self.of("0123456789") for _ in range(count))


def _name(draw: Draw, value: str) -> str:
    length = len(value) if 2 <= len(value) <= 4 else 2 + draw.below(2)
    surname = draw.of(list(COMPOUND_SURNAMES[:40])) if length == 4 else draw.of(SURNAMES[:_COMMON])
    return surname + "".join(draw.of(GIVEN) for _ in range(length - len(surname)))


def _address(draw: Draw, value: str) -> str:
    code = draw.of(_prefectures())
    number = f"{1 + draw.below(999)}号{1 + draw.below(30)}栋{1 + draw.below(30)}{draw.below(10):02d}室"
    return f"{PROVINCES[code[:2]]}{prefectures()[code]}{draw.of(ROADS)}{draw.of(ROAD_KINDS)}{number}"


def _identity(draw: Draw, value: str) -> str:
    birth = _FIRST_BIRTH + dt.timedelta(days=draw.below(_BIRTH_DAYS))
    first = f"{draw.of(_counties())}{birth:%Y%m%d}{1 + draw.below(998):03d}"
    return first + id_check(first)


def _mobile(draw: Draw, value: str) -> str:
    return "1" + draw.of("356789") + draw.digits(9)


def _card(draw: Draw, value: str) -> str:
    first = "62" + draw.digits(13 if len(value) == 16 else 16)
    return first + luhn_check(first)


def _mail(draw: Draw, value: str) -> str:
    return "".join(draw.of("abcdefghijkmnpqrstuvwxyz") for _ in range(10)) + draw.digits(3) + "@example.com"


def _plate(draw: Draw, value: str) -> str:
    return (
        draw.of(PLATE_PROVINCES)
        + draw.of(_LETTERS)
        + "".join(draw.of(_LETTERS + "0123456789") for _ in range(4))
        + draw.digits(1)
    )


def _passport(draw: Draw, value: str) -> str:
    return "E" + draw.of(_LETTERS) + draw.digits(7)


def _uscc(draw: Draw, value: str) -> str:
    organisation = "".join(draw.of(USCC_ALPHABET) for _ in range(8))
    first = "91" + draw.of(_counties()) + organisation + organisation_check(organisation)
    return first + uscc_check(first)


@functools.cache
def _prefectures() -> list[str]:
    return sorted(prefectures())


@functools.cache
def _counties() -> list[str]:
    return sorted(county_codes())


MAKERS: Final[Mapping[str, Callable[[Draw, str], str]]] = {
    "cn_name": _name,
    "cn_address": _address,
    "cn_id": _identity,
    "cn_mobile": _mobile,
    "bank_card": _card,
    "email": _mail,
    "cn_plate": _plate,
    "cn_passport": _passport,
    "cn_uscc": _uscc,
}


@dataclass(frozen=True)
class Surrogate(Operator):
    """Replaces by made-up values.

    Attributes:
        key: the key's id.
        type: what is made up.
        domain: columns that shall agree say the same; if not stated, the type.
    """

    op: ClassVar[str] = "surrogate"

    key: str = parameter(key_id)
    type: str = parameter(choice(*MAKERS))
    domain: str | None = parameter(optional(text(64)), None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The one key."""
        return (self.key,)

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        mac = hmac_sha256(keys.derive(self.key, "surrogate"))
        label = (self.domain or self.type).encode()
        head = len(label).to_bytes(4, "big") + label
        parse, make = parser(self.type), MAKERS[self.type]

        def replace(value: str) -> str:
            found = parse(value)
            canonical = found.value if found.valid else " ".join(normalise(value).split())
            return make(Draw(mac, head + canonical.encode()), canonical)

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            return Masked(each_distinct(as_text(cells, column), replace))

        return apply
