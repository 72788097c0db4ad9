"""Kernels: one line of text, decoded, folded, and with the words that say what stands nearby.

Constants and counters that are passed on to a kernel stand in np.int64(…): numba compiles a function anew for every
literal that it is called with.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.detect.checks import Triple, Truth, Whole
from privcompute.anonymize.detect.kinds import AGAINST, C_CONTRARY, FOR, NEUTRAL, R_CONTEXT, R_CONTRARY, R_FOLDED
from privcompute.anonymize.detect.tables import FOLDED, SEVERAL, Tables, Words
from privcompute.kernels.compiled import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]

MOST_HITS = 256
BEFORE, AFTER, CONTRARY_BEFORE = 12, 6, 4
"""How many characters may lie between a candidate and a word that speaks of it."""


class Line(NamedTuple):
    """The workspace of one line; every thread has its own.

    Attributes:
        points: folded code points.
        at: for each, the index of its character in the original line.
        changed: for each, whether folding changed it or dropped something before it.
        taken: for each, whether a finding holds it.
        word: for each, whether a context word starts there.
        hits: (MOST_HITS, 3) start, end and marks of context words, in order.
        signs: the letters and digits of a candidate, in capitals.
        ends: (16, 2) for each of its groups, where it ends: in `signs`, in `points`.
    """

    points: Ints
    at: Ints
    changed: Bytes
    taken: Bytes
    word: Bytes
    hits: Ints
    signs: Bytes
    ends: Ints

    def __repr__(self) -> str:
        return "Line(<hidden>)"


class Out(NamedTuple):
    """Findings of a block of lines; the caller makes them long enough."""

    row: npt.NDArray[np.int64]
    start: Ints
    end: Ints
    kind: Bytes
    confidence: Bytes
    reasons: Ints

    def __repr__(self) -> str:
        return "Out(<hidden>)"


def workspace(characters: int) -> Line:
    """Room for a line that folds to at most so many characters."""
    size = characters + 8
    return Line(
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.uint8),
        np.empty(size, dtype=np.uint8),
        np.empty(size, dtype=np.uint8),
        np.empty((MOST_HITS, 3), dtype=np.int32),
        np.empty(64, dtype=np.uint8),
        np.empty((16, 2), dtype=np.int32),
    )


@kernel
def is_digit(point: Whole) -> Truth:
    """ASCII 0 to 9."""
    return point >= 48 and point <= 57


@kernel
def is_letter(point: Whole) -> Truth:
    """ASCII letters."""
    lower = point | 32
    return lower >= 97 and lower <= 122


@kernel
def is_alnum(point: Whole) -> Truth:
    """ASCII letters and digits."""
    return is_digit(point) or is_letter(point)


@kernel
def is_han(point: Whole) -> Truth:
    """Chinese characters of the planes 0, 2 and 3."""
    return (
        (point >= 0x4E00 and point <= 0x9FFF)
        or (point >= 0x3400 and point <= 0x4DBF)
        or (point >= 0x20000 and point <= 0x323AF)
        or (point >= 0xF900 and point <= 0xFAFF)
        or point == 0x3007
    )


@kernel
def fold_line(data: Bytes, start: Whole, end: Whole, t: Tables, line: Line) -> Triple:
    """Decode UTF-8 and fold every character.

    Returns:
        The number of folded characters; which `SIGN_…` are among them; how many are ASCII digits.
    """
    n = 0
    seen: Whole = 0
    digits = 0
    place = 0
    i = start
    dropped = 0
    while i < end:
        lead = np.int64(data[i])
        if lead < 0x80:
            point = lead
            i += 1
        elif lead < 0xE0:
            point = ((lead & 0x1F) << 6) | (np.int64(data[i + 1]) & 0x3F)
            i += 2
        elif lead < 0xF0:
            point = ((lead & 0x0F) << 12) | ((np.int64(data[i + 1]) & 0x3F) << 6) | (np.int64(data[i + 2]) & 0x3F)
            i += 3
        else:
            point = ((lead & 0x07) << 18) | ((np.int64(data[i + 1]) & 0x3F) << 12)
            point |= ((np.int64(data[i + 2]) & 0x3F) << 6) | (np.int64(data[i + 3]) & 0x3F)
            i += 4
        folded = np.int64(0) if 0xE0000 <= point < 0xE1000 else point  # tags and variation selectors
        if point < FOLDED:
            folded = np.int64(t.fold_one[point])
        if folded == SEVERAL:
            for k in range(t.fold_start[point], t.fold_start[point + 1]):
                line.points[n] = t.fold_many[k]
                line.at[n] = place
                line.changed[n] = 1
                n += 1
        elif folded != 0 or point == 0:
            line.points[n] = folded
            line.at[n] = place
            line.changed[n] = 1 if dropped or folded != point else 0
            n += 1
            dropped = 0
        else:
            dropped = 1
        place += 1
    for k in range(n):
        line.taken[k] = 0
        line.word[k] = 0
        sign = np.int64(line.points[k])
        if sign <= 0xFFFF:
            seen |= np.int64(t.signs[sign])
        digits += 1 if sign >= 48 and sign <= 57 else 0
    return n, seen, digits


@kernel
def match(words: Words, points: Ints, at: Whole, n: Whole) -> Whole:
    """The longest word that stands at a place, letters without regard to case.

    Returns:
        Its number; -1 if there is none.
    """
    point = np.int64(points[at])
    if point >= 65 and point <= 90:
        point += 32
    number = np.int64(words.first[point & 0xFFFF])
    if number < 0:
        return -1
    while number < words.marks.shape[0]:
        start, end = np.int64(words.starts[number]), np.int64(words.starts[number + 1])
        if words.chars[start] != point:
            return -1
        length = end - start
        if at + length <= n:
            same = True
            for k in range(1, length):
                other = np.int64(points[at + k])
                if other >= 65 and other <= 90:
                    other += 32
                if other != words.chars[start + k]:
                    same = False
                    break
            if same:
                return number
        number += 1
    return -1


@kernel
def find_words(line: Line, n: Whole, words: Words) -> Whole:
    """Write down the context words of a line, none within another.

    Returns:
        How many there are.
    """
    hits = 0
    i = np.int64(0)
    while i < n and hits < MOST_HITS:
        number = match(words, line.points, i, n)
        if number < 0:
            i += 1
            continue
        length = np.int64(words.starts[number + 1] - words.starts[number])
        first, last = np.int64(line.points[i]), np.int64(line.points[i + length - 1])
        # A word of letters needs borders: `tel` is not in `hotel`.
        inside = is_letter(first) and i > 0 and is_letter(line.points[i - 1])
        inside = inside or (is_letter(last) and i + length < n and is_letter(line.points[i + length]))
        if inside:
            i += 1
            continue
        line.word[i] = 1
        line.hits[hits, 0] = i
        line.hits[hits, 1] = i + length
        line.hits[hits, 2] = words.marks[number]
        hits += 1
        i += length
    return hits


@kernel
def nearby(words: Ints, hits: Whole, start: Whole, end: Whole, wanted: Whole, always: Whole) -> Whole:
    """What the words nearby say of a candidate: FOR, AGAINST or NEUTRAL.

    Args:
        words: the context words of the line, `Line.hits`.
        hits: how many there are.
        start: of the candidate.
        end: behind it.
        wanted: the contexts that speak for it.
        always: the contexts of the column's name.
    """
    for h in range(hits - 1, -1, -1):
        if words[h, 1] > start:
            continue
        gap = start - np.int64(words[h, 1])
        if gap > BEFORE:
            break
        if words[h, 2] & wanted:
            return FOR
        if words[h, 2] & C_CONTRARY and gap <= CONTRARY_BEFORE:
            return AGAINST
    for h in range(hits):
        if words[h, 0] >= end:
            if np.int64(words[h, 0]) - end <= AFTER and words[h, 2] & wanted:
                return FOR
            break
    if always & wanted:
        return FOR
    return AGAINST if always & C_CONTRARY else NEUTRAL


@kernel
def reason_of(near: Whole) -> Whole:
    """The reason that the words nearby give."""
    return R_CONTEXT if near == FOR else R_CONTRARY if near == AGAINST else 0


@kernel
def emit(
    line: Line,
    n: Whole,
    row: Whole,
    start: Whole,
    end: Whole,
    kind: Whole,
    confidence: Whole,
    reasons: Whole,
    out: Out,
    count: Whole,
) -> Whole:
    """Write down a finding by its span in the folded line, unless a part of it belongs to another one.

    Returns:
        The number of findings with it.
    """
    # One character of the line may have become several: then none of them may be another finding's.
    first, last = start, end
    while first > 0 and line.at[first - 1] == line.at[start]:
        first -= 1
    while last < n and line.at[last] == line.at[end - 1]:
        last += 1
    for i in range(first, last):
        if line.taken[i]:
            return count
    for i in range(start, end):
        line.taken[i] = 1
        if line.changed[i]:
            reasons |= R_FOLDED
    out.row[count] = row
    out.start[count] = line.at[start]
    out.end[count] = line.at[end - 1] + 1
    out.kind[count] = kind
    out.confidence[count] = confidence
    out.reasons[count] = reasons
    return count + 1
