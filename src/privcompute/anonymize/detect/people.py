"""Kernels: names of persons behind a word that announces one, and postal addresses."""

import numpy as np

from privcompute.anonymize.detect.checks import Truth, Whole
from privcompute.anonymize.detect.kinds import (
    ADDRESS,
    C_LEAD,
    FOR,
    NAME,
    R_CONTEXT,
    R_FORM,
    R_REGION,
    R_STREET,
    R_SURNAME,
)
from privcompute.anonymize.detect.line import Line, Out, emit, is_alnum, is_digit, is_han, match, nearby
from privcompute.anonymize.detect.rules import WANT
from privcompute.anonymize.detect.tables import SIGN_DISTRICT, SIGN_NUMBER, SIGN_NUMERAL, SIGN_STREET, Tables
from privcompute.kernels.compiled import kernel

DOT = 0xB7
LONGEST_ADDRESS = 60
LINKS = (58, 32, 61, 34, 0x201C, 0x300C, 0x662F, 0x4E3A, 0x53EB, 0x3010)  # : space = " “ 「 是 为 叫 【


@kernel
def given_length(line: Line, n: Whole, t: Tables, start: Whole) -> Whole:
    """How many characters from here on, two at most, belong to a given name."""
    length = 0
    while length < 2 and start + length < n:
        at = start + length
        if not is_han(line.points[at]) or line.taken[at] or line.word[at] or match(t.stops, line.points, at, n) >= 0:
            break
        length += 1
    return length


@kernel
def dotted_end(line: Line, n: Whole, t: Tables, start: Whole) -> Whole:
    """Where a name of Chinese parts joined by dots ends; -1 if there is none."""
    i = start
    dots = 0
    while i < n and i - start < 30:
        begin = i
        while i < n and is_han(line.points[i]) and i - begin < 9 and not line.word[i]:
            # Many words that end a plain name are syllables of these; what follows the last part may be one.
            if dots and i - begin > 1 and match(t.stops, line.points, i, n) >= 0:
                break
            i += 1
        if i == begin:
            return -1
        if i + 1 >= n or line.points[i] != DOT or not is_han(line.points[i + 1]):
            break
        dots += 1
        i += 1
    return i if dots else -1


@kernel
def find_names(
    line: Line, n: Whole, t: Tables, row: Whole, hits: Whole, threshold: Whole, out: Out, count: Whole
) -> Whole:
    """Find names right behind a word that announces one; returns the number of findings with them."""
    for h in range(hits):
        if not line.hits[h, 2] & C_LEAD:
            continue
        i = np.int64(line.hits[h, 1])
        colon = False
        for _ in range(4):
            if i < n and line.points[i] in LINKS:
                colon = colon or line.points[i] == 58
                i += 1
        if i + 1 >= n or line.taken[i] or line.word[i]:
            continue
        end = dotted_end(line, n, t, i)
        if end > 0:
            count = emit(line, n, row, i, end, np.int64(NAME), np.int64(85), np.int64(R_FORM | R_CONTEXT), out, count)
            continue
        number = match(t.surnames, line.points, i, n)
        if number < 0:
            continue
        width = np.int64(t.surnames.starts[number + 1] - t.surnames.starts[number])
        length = given_length(line, n, t, i + width)
        if length == 0 or match(t.no_names, line.points, i, n) >= 0:
            continue
        usual: Truth = True
        for k in range(length):
            point = np.int64(line.points[i + width + k])
            usual = usual and point <= 0xFFFF and t.given[point]
        end = i + width + length
        bounded = end >= n or not is_han(line.points[end]) or line.word[end] == 1
        bounded = bounded or match(t.stops, line.points, end, n) >= 0
        confidence = 90 if usual and bounded else 80 if bounded and colon else 70 if bounded or usual else 40
        if confidence >= threshold:
            count = emit(
                line,
                n,
                row,
                i,
                end,
                np.int64(NAME),
                np.int64(confidence),
                np.int64(R_FORM | R_CONTEXT | R_SURNAME),
                out,
                count,
            )
    return count


@kernel
def find_addresses(
    line: Line, n: Whole, t: Tables, row: Whole, hits: Whole, always: Whole, threshold: Whole, out: Out, count: Whole
) -> Whole:
    """Find postal addresses that begin with a province or prefecture; returns the number of findings with them."""
    i = np.int64(0)
    while i + 5 < n:
        number = match(t.addresses, line.points, i, n)
        if number < 0 or line.taken[i]:
            i += 1
            continue
        start = i
        i += np.int64(t.addresses.starts[number + 1] - t.addresses.starts[number])
        end, district, street, numbered = start, False, False, False
        numeral = False  # whether the sign before is a digit, letter or numeral
        while i < n and i - start < LONGEST_ADDRESS:
            point = np.int64(line.points[i])
            if line.taken[i] or (line.word[i] and not numeral):
                break
            sign = t.signs[point] if point <= 0xFFFF else 0
            if sign & SIGN_NUMBER and numeral:
                numbered, end = True, i + 1
            elif sign & SIGN_STREET:
                street, end = True, i + 1
            elif sign & SIGN_DISTRICT:
                district = True
            elif is_alnum(point) or point == 45:
                # A number may end an address, unless it is long: then it is something else's.
                if is_digit(point) and street:
                    end = i + 1
            elif not is_han(point):
                break
            numeral = is_alnum(point) or point == 45 or bool(sign & SIGN_NUMERAL)
            i += 1
        if not street or end - start < 6:
            i = start + 1
            continue
        near = nearby(line.hits, hits, start, end, WANT[ADDRESS], always)
        confidence = 80 if numbered else 45 if district else 20
        if near == FOR:
            confidence = 95 if numbered else 75 if district else 55
        if confidence >= threshold:
            reasons = R_FORM | R_REGION | (R_STREET if numbered else 0) | (R_CONTEXT if near == FOR else 0)
            count = emit(
                line, n, row, start, end, np.int64(ADDRESS), np.int64(confidence), np.int64(reasons), out, count
            )
            i = end
        else:
            i = start + 1
    return count
