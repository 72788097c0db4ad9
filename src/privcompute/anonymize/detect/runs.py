"""Kernels: candidates of letters and digits in a line, alone or in groups joined by single spaces or hyphens.

Borders are what is no ASCII letter or digit: Chinese characters end a number, which `\\b` would not see.
"""

import numpy as np

from privcompute.anonymize.detect.candidates import Marks, classify
from privcompute.anonymize.detect.checks import Whole
from privcompute.anonymize.detect.kinds import R_GROUPED
from privcompute.anonymize.detect.line import Line, Out, emit, is_alnum, is_digit
from privcompute.kernels.compiled import kernel

MOST_SIGNS = 42
MOST_GROUPS = 12
SPACE, HYPHEN, PLUS, DOT = 32, 45, 43, 46


@kernel
def gather(line: Line, n: Whole, start: Whole) -> Whole:
    """Collect the signs of the run at `start` and of those joined to it.

    Returns:
        The number of groups; 0 if the run is too long to be anything.
    """
    count = 0
    groups = 0
    i = start
    while groups < MOST_GROUPS:
        begin = i
        while i < n and is_alnum(line.points[i]) and not line.taken[i]:
            if count < MOST_SIGNS:
                sign = np.int64(line.points[i])
                line.signs[count] = sign - 32 if sign >= 97 else sign
            count += 1
            i += 1
        if i == begin or count > MOST_SIGNS:
            break
        line.ends[groups, 0] = count
        line.ends[groups, 1] = i
        groups += 1
        joined = i + 1 < n and (line.points[i] == SPACE or line.points[i] == HYPHEN)
        if not joined or not is_alnum(line.points[i + 1]):
            break
        i += 1
    return groups


@kernel
def find_runs(
    line: Line,
    n: Whole,
    hits: Whole,
    counties: Marks,
    row: Whole,
    threshold: Whole,
    always: Whole,
    today: Whole,
    out: Out,
    count: Whole,
) -> Whole:
    """Find the identifiers that consist of letters and digits.

    Returns:
        The number of findings with them.
    """
    i = np.int64(0)
    while i < n:
        if not is_alnum(line.points[i]) or line.taken[i]:
            i += 1
            continue
        groups = gather(line, n, i)
        stop = i
        while stop < n and is_alnum(line.points[stop]):
            stop += 1
        if groups == 0 or line.ends[groups - 1, 0] < 7:
            i = stop
            continue
        before = np.int64(line.points[i - 1]) if i > 0 else 0
        plus = before == PLUS
        after_point = before == DOT and i > 1 and is_digit(line.points[i - 2])
        # Behind a hyphen a run belongs to what is before it: only by itself it may be something.
        most = 1 if before == HYPHEN and i > 1 and is_alnum(line.points[i - 2]) else groups
        best, confidence, reasons, used = np.int64(-1), np.int64(0), np.int64(0), np.int64(0)
        for k in range(most):
            g = np.int64(1) if k == 0 else np.int64(most + 1 - k)
            end = np.int64(line.ends[g - 1, 1])
            point = end + 1 < n and line.points[end] == DOT and is_digit(line.points[end + 1])
            kind, c, r = classify(
                line.signs, line.ends, line.hits, counties, hits, i, g, plus, after_point or point, always, today
            )
            if c >= threshold and c > confidence:
                best, confidence, reasons, used = kind, c, r | (R_GROUPED if g > 1 else 0), g
                break
        if best < 0:
            i = stop
            continue
        end = np.int64(line.ends[used - 1, 1])
        count = emit(line, n, row, i - 1 if plus else i, end, best, confidence, reasons, out, count)
        i = end
    return count
