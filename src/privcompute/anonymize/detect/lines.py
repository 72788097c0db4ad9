"""Kernel: all finders over a block of lines, and each line's findings in the order in which they stand."""

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.detect.addresses import find_ip, find_mail, find_plates
from privcompute.anonymize.detect.checks import Whole
from privcompute.anonymize.detect.line import Bytes, Line, Out, find_words, fold_line
from privcompute.anonymize.detect.people import find_addresses, find_names
from privcompute.anonymize.detect.runs import find_runs
from privcompute.anonymize.detect.tables import SIGN_AT, SIGN_PLATE, SIGN_POINT, SIGN_STREET, Tables
from privcompute.kernels.compiled import kernel

Longs = npt.NDArray[np.int64]


@kernel
def sort_line(out: Out, first: Whole, count: Whole) -> None:
    """Order the findings of one line by their starts; there are few."""
    for i in range(first + 1, count):
        k = i
        while k > first and out.start[k - 1] > out.start[k]:
            out.start[k - 1], out.start[k] = out.start[k], out.start[k - 1]
            out.end[k - 1], out.end[k] = out.end[k], out.end[k - 1]
            out.kind[k - 1], out.kind[k] = out.kind[k], out.kind[k - 1]
            out.confidence[k - 1], out.confidence[k] = out.confidence[k], out.confidence[k - 1]
            out.reasons[k - 1], out.reasons[k] = out.reasons[k], out.reasons[k - 1]
            k -= 1


@kernel
def scan_lines(
    data: Bytes,
    offsets: Longs,
    first: Whole,
    last: Whole,
    t: Tables,
    line: Line,
    threshold: Whole,
    always: Whole,
    today: Whole,
    out: Out,
) -> Whole:
    """Find identifiers in the lines `first` to `last` - 1.

    Args:
        data: UTF-8.
        offsets: where each line starts in it; one more than there are lines.
        first: number of the first line.
        last: behind the last one.
        t: the tables.
        line: a workspace for the longest line.
        threshold: least confidence, in percent.
        always: contexts of the column's name.
        today: as the number YYYYMMDD.
        out: room for a finding of every two bytes.

    Returns:
        The number of findings.
    """
    count = np.int64(0)
    for row in range(first, last):
        begin = count
        n, seen, digits = fold_line(data, offsets[row], offsets[row + 1], t, line)
        if n < 2:
            continue
        hits = find_words(line, n, t.contexts)
        if seen & SIGN_AT:
            count = find_mail(line, n, row, hits, always, out, count)
        if seen & SIGN_POINT:
            count = find_ip(line, n, row, hits, always, threshold, out, count)
        if seen & SIGN_PLATE:
            count = find_plates(line, n, t, row, hits, always, threshold, out, count)
        if digits >= 6:  # the fewest that any number has: organisation codes
            count = find_runs(line, n, hits, t.counties, row, threshold, always, today, out, count)
        count = find_names(line, n, t, row, hits, threshold, out, count)
        if seen & SIGN_STREET:
            count = find_addresses(line, n, t, row, hits, always, threshold, out, count)
        if count - begin > 1:
            sort_line(out, begin, count)
    return count
