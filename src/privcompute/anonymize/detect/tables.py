"""The tables that the kernels look things up in, made once a process from the word lists and rules of identifiers/."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.detect import context
from privcompute.anonymize.identifiers.cn_address import starts
from privcompute.anonymize.identifiers.divisions import PLATE_PROVINCES, county_codes
from privcompute.anonymize.identifiers.normal import fold
from privcompute.anonymize.identifiers.words import COMPOUND_SURNAMES, GIVEN, SURNAMES

FOLDED = 0x30000
"""Beyond this code point nothing folds but invisible characters."""

SEVERAL = 0xFFFFFFFF
"""In `fold_one`: the character becomes several, in `fold_many`."""

Ints = npt.NDArray[np.int32]


class Words(NamedTuple):
    """A list of words, found by their first character.

    Attributes:
        first: (65536,) by the low 16 bits of a first character, the number of its first word; -1: none.
        starts: (words + 1,) where each word's characters start; words of one first character are neighbours, the longer
            ones before the shorter.
        chars: code points of all words.
        marks: (words,) what each stands for.
    """

    first: Ints
    starts: Ints
    chars: Ints
    marks: Ints


class Tables(NamedTuple):
    """Everything that the kernels look up."""

    fold_one: npt.NDArray[np.uint32]
    fold_start: Ints
    fold_many: npt.NDArray[np.uint32]
    contexts: Words
    stops: Words
    no_names: Words
    surnames: Words
    addresses: Words
    given: npt.NDArray[np.bool_]
    signs: npt.NDArray[np.uint8]
    counties: npt.NDArray[np.bool_]


(
    SIGN_PLATE,
    SIGN_PLATE_LAST,
    SIGN_STREET,
    SIGN_NUMBER,
    SIGN_DISTRICT,
    SIGN_NUMERAL,
    SIGN_AT,
    SIGN_POINT,
) = (1 << place for place in range(8))


def _words(items: Iterable[tuple[str, int]]) -> Words:
    merged: dict[str, int] = {}
    for word, mark in items:
        merged[word] = merged.get(word, 0) | mark
    ordered = sorted(merged, key=lambda word: (ord(word[0]) & 0xFFFF, -len(word), word))
    first = np.full(1 << 16, -1, dtype=np.int32)
    for number in reversed(range(len(ordered))):
        first[ord(ordered[number][0]) & 0xFFFF] = number
    ends = np.cumsum([0, *(len(word) for word in ordered)]).astype(np.int32)
    chars = np.array([ord(char) for word in ordered for char in word], dtype=np.int32)
    return Words(first, ends, chars, np.array([merged[word] for word in ordered], dtype=np.int32))


def _fold_tables() -> tuple[npt.NDArray[np.uint32], Ints, npt.NDArray[np.uint32]]:
    one = np.zeros(FOLDED, dtype=np.uint32)
    start = np.zeros(FOLDED + 1, dtype=np.int32)
    many: list[int] = []
    for point in range(FOLDED):
        start[point] = len(many)
        folded = fold(chr(point)) if not 0xD800 <= point < 0xE000 else ""
        if len(folded) > 1:
            one[point] = SEVERAL
            many += map(ord, folded)
        elif folded:
            one[point] = ord(folded)
    start[FOLDED] = len(many)
    return one, start, np.array(many, dtype=np.uint32)


def _signs() -> npt.NDArray[np.uint8]:
    table = np.zeros(1 << 16, dtype=np.uint8)
    for chars, sign in (
        (PLATE_PROVINCES, SIGN_PLATE),
        ("挂学警港澳", SIGN_PLATE_LAST),
        ("路街巷弄道村镇乡园苑庄屯厦桥", SIGN_STREET),
        ("号室楼栋幢层座组户弄巷单元", SIGN_NUMBER),
        ("市区县州盟旗省镇乡", SIGN_DISTRICT),
        ("一二三四五六七八九十百〇", SIGN_NUMERAL),
        ("@", SIGN_AT),
        (".:", SIGN_POINT),
    ):
        for char in chars:
            table[ord(char)] |= sign
    return table


@functools.cache
def tables() -> Tables:
    """The tables; made at the first call, some tens of milliseconds."""
    given = np.zeros(1 << 16, dtype=np.bool_)
    given[[ord(char) for char in GIVEN]] = True
    counties = np.zeros(1_000_000, dtype=np.bool_)
    counties[[int(code) for code in county_codes()]] = True
    return Tables(
        *_fold_tables(),
        contexts=_words(context.words()),
        stops=_words((word, 1) for word in context.listed("stop")),
        no_names=_words((word, 1) for word in context.listed("no_name")),
        surnames=_words([(name, 1) for name in (*SURNAMES, *COMPOUND_SURNAMES)]),
        addresses=_words([(name, 1) for name in starts()]),
        given=given,
        signs=_signs(),
        counties=counties,
    )
