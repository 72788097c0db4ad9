"""Kernels: addresses of mail and of the Internet Protocol, vehicle plates."""

import numpy as np

from privcompute.anonymize.detect.checks import Truth, Whole
from privcompute.anonymize.detect.kinds import (
    C_CONTRARY,
    EMAIL,
    FOR,
    IP,
    PLATE,
    PLATE_NEV,
    R_CONTEXT,
    R_FORM,
    S_EMAIL,
    S_IP4,
    S_IP6,
    S_PLATE,
    S_PLATE_LETTERS,
    S_PLATE_NEV,
)
from privcompute.anonymize.detect.line import Line, Out, emit, is_alnum, is_digit, is_letter, nearby, reason_of
from privcompute.anonymize.detect.rules import SCORE, WANT
from privcompute.anonymize.detect.tables import SIGN_PLATE, SIGN_PLATE_LAST, Tables
from privcompute.kernels.compiled import kernel

DOT, HYPHEN, AT, COLON, SPACE = 46, 45, 64, 58, 32


@kernel
def local_sign(point: Whole) -> Truth:
    """Signs of a mail address before the @."""
    return is_alnum(point) or point in (46, 95, 37, 43, 45)


@kernel
def find_mail(line: Line, n: Whole, row: Whole, hits: Whole, always: Whole, out: Out, count: Whole) -> Whole:
    """Find mail addresses around every @; returns the number of findings with them."""
    for i in range(1, n - 3):
        if line.points[i] != AT or line.taken[i]:
            continue
        start = i
        while start > 0 and local_sign(line.points[start - 1]) and i - start < 64:
            start -= 1
        while start < i and line.points[start] in (DOT, HYPHEN):
            start += 1
        end = i + 1
        last_dot = -1
        while end < n and (is_alnum(line.points[end]) or line.points[end] in (DOT, HYPHEN)):
            if line.points[end] == DOT:
                if line.points[end - 1] in (DOT, AT, HYPHEN):
                    break
                last_dot = end
            end += 1
        while end > i and line.points[end - 1] in (DOT, HYPHEN):
            end -= 1
        if last_dot >= end - 1:  # the dot was the end of a sentence
            last_dot = -1
            for k in range(i + 1, end):
                if line.points[k] == DOT:
                    last_dot = k
        if start == i or last_dot < 0 or end - last_dot < 3:
            continue
        letters = True
        for k in range(last_dot + 1, end):
            letters = letters and is_letter(line.points[k])
        if letters:
            near = nearby(line.hits, hits, start, end, WANT[EMAIL], always)
            reasons = R_FORM | (R_CONTEXT if near == FOR else 0)
            count = emit(line, n, row, start, end, np.int64(EMAIL), SCORE[S_EMAIL, near], reasons, out, count)
    return count


@kernel
def version_four(line: Line, n: Whole, start: Whole) -> Whole:
    """Where the four numbers below 256 that start here end; -1 if there are none."""
    i = start
    for part in range(4):
        begin = i
        value: Whole = 0
        while i < n and is_digit(line.points[i]) and i - begin < 4:
            value = value * 10 + np.int64(line.points[i]) - 48
            i += 1
        length = i - begin
        if length == 0 or length > 3 or value > 255 or (length > 1 and line.points[begin] == 48):
            return -1
        if part < 3:
            if i >= n or line.points[i] != DOT:
                return -1
            i += 1
    if i < n and is_alnum(line.points[i]):
        return -1
    return -1 if i + 1 < n and line.points[i] == DOT and is_alnum(line.points[i + 1]) else i


@kernel
def version_six(line: Line, n: Whole, start: Whole) -> Whole:
    """Where the groups of hexadecimal digits that start here end, if they are an address; else -1."""
    groups = 0
    signs = 0
    gap = False
    i = start
    while i < n:
        begin = i
        while i < n and (is_digit(line.points[i]) or (is_letter(line.points[i]) and (line.points[i] | 32) <= 102)):
            i += 1
        if i - begin > 4:
            return -1
        if i > begin:
            groups += 1
            signs += i - begin
        if i + 1 < n and line.points[i] == COLON and line.points[i + 1] == COLON:
            if gap:
                return -1
            gap = True
            i += 2
        elif i > begin and i + 1 < n and line.points[i] == COLON and is_alnum(line.points[i + 1]):
            i += 1
        else:
            break
    if i < n and is_alnum(line.points[i]):
        return -1
    # Two short groups around :: are more often a name in a program.
    whole = groups == 8 and not gap
    return i if whole or (gap and 3 <= groups <= 7 and signs >= 6) else -1


@kernel
def find_ip(
    line: Line, n: Whole, row: Whole, hits: Whole, always: Whole, threshold: Whole, out: Out, count: Whole
) -> Whole:
    """Find addresses of the Internet Protocol; returns the number of findings with them."""
    i = np.int64(0)
    while i + 6 < n:
        if line.taken[i] or not is_alnum(line.points[i]) or (i > 0 and is_alnum(line.points[i - 1])):
            i += 1
            continue
        before = np.int64(line.points[i - 1]) if i > 0 else 0
        stop = i
        while stop < n and is_alnum(line.points[stop]):
            stop += 1
        six = stop < n and line.points[stop] == COLON and stop - i <= 4 and before != COLON
        four = stop < n and line.points[stop] == DOT and stop - i <= 3 and before != DOT
        end: Whole = version_six(line, n, i) if six else version_four(line, n, i) if four else -1
        if end > 0:
            near = nearby(line.hits, hits, i, end, WANT[IP], always)
            confidence = SCORE[S_IP6 if six else S_IP4, near]
            if confidence >= threshold:
                count = emit(line, n, row, i, end, np.int64(IP), confidence, R_FORM | reason_of(near), out, count)
            i = np.int64(end)
        else:
            i = stop
    return count


@kernel
def plate_sign(point: Whole) -> Truth:
    """ASCII letters and digits of plates, in which there is no I and no O."""
    lower = point | 32
    return is_digit(point) or (is_letter(point) and lower != 105 and lower != 111)


@kernel
def find_plates(
    line: Line, n: Whole, t: Tables, row: Whole, hits: Whole, always: Whole, threshold: Whole, out: Out, count: Whole
) -> Whole:
    """Find vehicle plates; returns the number of findings with them."""
    for i in range(n - 6):
        point = np.int64(line.points[i])
        if point > 0xFFFF or not t.signs[point] & SIGN_PLATE or line.taken[i]:
            continue
        if not is_letter(line.points[i + 1]) or not plate_sign(line.points[i + 1]):
            continue
        begin = i + 2
        if begin < n and line.points[begin] in (0xB7, HYPHEN, SPACE, DOT):
            begin += 1
        end = begin
        digits = 0
        while end < n and end - begin < 7 and plate_sign(line.points[end]):
            digits += 1 if is_digit(line.points[end]) else 0
            end += 1
        length = end - begin
        after = np.int64(line.points[end]) if end < n else 0
        if length == 4 and after <= 0xFFFF and t.signs[after] & SIGN_PLATE_LAST:
            end += 1
            length = 5
        if end < n and is_alnum(line.points[end]):
            continue
        kind: Whole = np.int64(PLATE)
        if length == 6:
            first, last = np.int64(line.points[begin]) | 32, np.int64(line.points[end - 1]) | 32
            second_letter = 1 if is_letter(line.points[begin + 1]) else 0
            small = 97 <= first <= 107 and first != 105 and digits == 5 - second_letter
            large = 97 <= last <= 107 and last != 105 and digits == 5
            if not (small and not is_letter(line.points[end - 1])) and not large:
                continue
            kind = np.int64(PLATE_NEV)
        elif length != 5:
            continue
        near = nearby(line.hits, hits, i, end, WANT[PLATE], always & ~C_CONTRARY)
        rule = S_PLATE_LETTERS if digits == 0 else S_PLATE_NEV if kind == PLATE_NEV else S_PLATE
        confidence = SCORE[rule, near]
        if confidence >= threshold:
            count = emit(line, n, row, i, end, kind, confidence, R_FORM | reason_of(near), out, count)
    return count
