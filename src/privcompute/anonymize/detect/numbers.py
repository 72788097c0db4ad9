"""Kernels: what a candidate of letters and digits is, by its length, its signs and its checks.

Each rule gives a confidence without context, with it, and with words against it. The likeliest rule wins.
"""

import numpy as np

from privcompute.anonymize.detect.checks import (
    day_exists,
    iban_holds,
    id_holds,
    luhn_holds,
    number,
    organisation_holds,
    uscc_holds,
)
from privcompute.anonymize.detect.kinds import (
    C_CARD,
    C_IBAN,
    C_ID,
    C_ORG,
    C_PASSPORT,
    C_PERMIT,
    C_PHONE,
    C_TAIWAN,
    CARD,
    CN_ID,
    CN_ID15,
    FOREIGN,
    HK_MO,
    IBAN,
    MAINLAND,
    MOBILE,
    ORG_CODE,
    PASSPORT,
    PHONE,
    R_BIRTH,
    R_CHECK,
    R_FORM,
    R_INNER,
    R_ISSUER,
    R_PREFIX,
    R_REGION,
    RESIDENCE,
    TAIWAN,
    USCC,
)
from privcompute.anonymize.detect.line import Line, is_digit, nearby, reason_of
from privcompute.anonymize.detect.tables import Tables
from privcompute.kernels.compiled import kernel


@kernel
def shape(line: Line, groups: int) -> int:
    """The lengths of the groups as the digits of a number: 344 for 3, 4 and 4 signs; groups longer than 9 count 9."""
    result = 0
    last = 0
    for g in range(groups):
        result = result * 10 + min(9, np.int64(line.ends[g, 0]) - last)
        last = np.int64(line.ends[g, 0])
    return result


@kernel
def in_fours(line: Line, groups: int) -> bool:
    """Whether all groups have four signs, the last one at most four."""
    last = 0
    for g in range(groups):
        length = np.int64(line.ends[g, 0]) - last
        last = np.int64(line.ends[g, 0])
        if length > 4 or (g < groups - 1 and length != 4):
            return False
    return True


@kernel
def digits_in(line: Line, length: int) -> int:
    """How many of the first signs are digits."""
    count = 0
    for i in range(length):
        count += 1 if is_digit(line.signs[i]) else 0
    return count


@kernel
def chosen(near: int, alone: int, beside: int, against: int) -> int:
    """The confidence for what the words nearby say."""
    return beside if near > 0 else against if near < 0 else alone


@kernel
def identity(line: Line, t: Tables, groups: int, near: int, today: int) -> tuple[int, int, int]:
    """A candidate of 18 signs, 17 of them digits, as an identity number or one of the cards of its form."""
    s = line.signs
    form = shape(line, groups)
    if groups > 1 and form not in (69, 684, 6444, 3384, 33444, 94, 91):
        return -1, 0, 0
    if s[17] != 88 and not is_digit(s[17]):
        return -1, 0, 0
    birth = number(s, 6, 14)
    if birth < 18000101 or birth > today or not day_exists(birth // 10000, birth // 100 % 100, birth % 100):
        return -1, 0, 0
    if not id_holds(s):
        return -1, 0, 0
    reasons = R_FORM | R_CHECK | R_BIRTH
    region = number(s, 0, 6)
    if region == 810000 or region == 820000 or region == 830000:
        return RESIDENCE, chosen(near, 95, 99, 70), reasons | R_REGION
    if s[0] == 57:
        fits = t.provinces[number(s, 1, 3)]
        return (FOREIGN, chosen(near, 80, 95, 40), reasons) if fits else (-1, 0, 0)
    if not t.provinces[region // 10000]:
        return -1, 0, 0
    if t.counties[region]:
        return CN_ID, chosen(near, 97, 99, 75), reasons | R_REGION
    return CN_ID, chosen(near, 90, 97, 60), reasons


@kernel
def short_identity(line: Line, t: Tables, near: int) -> tuple[int, int, int]:
    """A candidate of 15 digits as an old identity number: nothing checks it, so that the words nearby decide."""
    s = line.signs
    year = 1900 + number(s, 6, 8)
    if not day_exists(year, number(s, 8, 10), number(s, 10, 12)) or not t.provinces[number(s, 0, 2)]:
        return -1, 0, 0
    known = t.counties[number(s, 0, 6)]
    confidence = chosen(near, 40 if known else 20, 92 if known else 80, 10)
    return CN_ID15, confidence, R_FORM | R_BIRTH | (R_REGION if known else 0)


@kernel
def card(line: Line, t: Tables, groups: int, length: int, near: int) -> tuple[int, int, int]:
    """A candidate of 13 to 19 digits as a bank card."""
    if groups > 1 and not in_fours(line, groups) and shape(line, groups) not in (465, 69):
        return -1, 0, 0
    if not luhn_holds(line.signs, length):
        return -1, 0, 0
    for k in range(t.issuers.shape[0]):
        width = t.issuers[k, 2]
        first = number(line.signs, 0, width)
        if t.issuers[k, 0] <= first <= t.issuers[k, 1] and t.issuers[k, 3] <= length <= t.issuers[k, 4]:
            alone = 80 if first == 62 or (t.issuers[k, 5] and length in (15, 16)) else 55
            if length < 15:
                alone = 30
            return CARD, chosen(near, alone, 96, 30), R_FORM | R_CHECK | R_ISSUER
    return CARD, chosen(near, 15, 65, 5), R_FORM | R_CHECK


@kernel
def organisation(line: Line, t: Tables, groups: int, digits: int, near: int) -> tuple[int, int, int]:
    """A candidate of 18 signs as a unified social credit code."""
    s = line.signs
    if groups > 1 and shape(line, groups) not in (2691, 44442, 91, 94):
        return -1, 0, 0
    first = np.int64(s[0])
    if not (49 <= first <= 57 or first in (65, 78, 89)) or not uscc_holds(s, t.uscc):
        return -1, 0, 0
    reasons = R_FORM | R_CHECK
    alone = 70
    for i in range(2, 8):
        if not is_digit(s[i]):
            return USCC, chosen(near, 45, 80, 15), reasons
    if t.provinces[number(s, 2, 4)]:
        reasons |= R_REGION
        alone += 10
    if organisation_holds(s, 8):
        reasons |= R_INNER
        alone += 15
    if digits == 18 and not reasons & R_INNER:
        alone = 50
    return USCC, chosen(near, alone, 98, alone - 30), reasons


@kernel
def mobile(line: Line, groups: int, length: int, near: int, decimal: bool) -> tuple[int, int, int]:
    """A candidate of digits as a mobile number, with or without 86 before it."""
    s = line.signs
    skip = 0
    if length == 13 and s[0] == 56 and s[1] == 54:
        skip = 2
    elif length == 15 and s[0] == 48 and s[1] == 48 and s[2] == 56 and s[3] == 54:
        skip = 4
    if length - skip == 13 and number(s, 0, 4) == 1064 and groups == 1:
        return MOBILE, chosen(near, 40, 80, 10), R_FORM
    if length - skip != 11 or s[skip] != 49 or s[skip + 1] < 51 or decimal:
        return -1, 0, 0
    form = shape(line, groups)
    if skip == 0:
        fits = groups == 1 or form in (344, 434, 38, 74, 335)
    elif skip == 2:
        fits = groups == 1 or form in (29, 2344, 2434, 238, 274, 544)
    else:
        fits = groups == 1 or form in (49, 4344, 4434, 438, 474)
    if not fits:
        return -1, 0, 0
    alone = 60 if skip == 0 else 80
    if groups > 1 and form == 344:
        alone = 75
    return MOBILE, chosen(near, alone, 96, 25), R_FORM | (R_PREFIX if skip else 0)


@kernel
def nine_signs(line: Line, groups: int, digits: int, near: int, near_org: int) -> tuple[int, int, int]:
    """A candidate of nine signs as a passport, a permit or an organisation code; `near` is of passports and permits."""
    s = line.signs
    first, second = np.int64(s[0]), np.int64(s[1])
    if groups == 1 and digits >= 7 and not is_digit(first):
        letter = not is_digit(second)
        plain = second != 73 and second != 79  # I and O look like digits and are not given
        tail = digits == 8 or (letter and plain and digits_in(line, 9) - (1 if is_digit(second) else 0) == 7)
        if first == 69 and tail:
            return PASSPORT, chosen(near, 35, 96, 10), R_FORM
        if digits == 8 and first in (71, 68, 83, 80):
            return PASSPORT, chosen(near, 30, 96, 5), R_FORM
        if digits == 7 and second == 69 and first in (68, 83, 80):
            return PASSPORT, chosen(near, 20, 96, 5), R_FORM
        if digits == 8 and first in (72, 77):
            return HK_MO, chosen(near, 25, 95, 5), R_FORM
        if (digits == 8 and first in (67, 87, 76, 84)) or (digits == 7 and first == 67 and plain):
            return MAINLAND, chosen(near, 15, 90, 5), R_FORM
    if (groups == 1 or shape(line, groups) == 81) and (is_digit(s[8]) or s[8] == 88) and digits >= 6:
        if organisation_holds(s, 0):
            return ORG_CODE, chosen(near_org, 55 if groups == 2 else 20, 92, 15), R_FORM | R_CHECK
    return -1, 0, 0


@kernel
def fixed_line(line: Line, groups: int, length: int, near: int) -> tuple[int, int, int]:
    """A candidate of digits that begins with 0 as a Chinese fixed line."""
    s = line.signs
    form = shape(line, groups)
    if groups > 1 and form not in (38, 47, 48, 344, 434, 444):
        return -1, 0, 0
    code = number(s, 0, 3)
    two = code == 10 or 20 <= code <= 29
    area = 3 if two else 4
    rest = length - area
    if not (two or 30 <= code <= 99) or (rest != 8 and (two or rest != 7)) or s[area] < 50:
        return -1, 0, 0
    if groups > 1 and np.int64(line.ends[0, 0]) != area:
        return -1, 0, 0
    return PHONE, chosen(near, 70 if groups > 1 else 30, 92, 15), R_FORM


@kernel
def international(line: Line, t: Tables, length: int, near: int) -> tuple[int, int, int]:
    """A candidate of digits behind a + as a telephone number."""
    if length < 8 or length > 15 or line.signs[0] == 48:
        return -1, 0, 0
    for width in range(1, 4):
        if t.countries[number(line.signs, 0, width)]:
            return PHONE, chosen(near, 75, 95, 40), R_FORM | R_PREFIX
    return -1, 0, 0


@kernel
def classify(
    line: Line,
    t: Tables,
    hits: int,
    start: int,
    groups: int,
    plus: bool,
    decimal: bool,
    always: int,
    today: int,
) -> tuple[int, int, int]:
    """What the first groups of a candidate are together.

    Returns:
        Kind (-1: nothing), confidence in percent, reasons.
    """
    length = np.int64(line.ends[groups - 1, 0])
    end = np.int64(line.ends[groups - 1, 1])
    digits = digits_in(line, length)
    best, confidence, reasons = -1, 0, 0
    if length == 18:
        if digits_in(line, 17) == 17 and not decimal:
            near = nearby(line, hits, start, end, C_ID | C_PERMIT, always)
            best, confidence, reasons = identity(line, t, groups, near, today)
            reasons |= reason_of(near)
        if confidence < 90:
            near = nearby(line, hits, start, end, C_ORG, always)
            k, c, r = organisation(line, t, groups, digits, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
    if digits == length:
        if length == 15 and groups == 1 and not decimal:
            near = nearby(line, hits, start, end, C_ID, always)
            k, c, r = short_identity(line, t, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if 13 <= length <= 19 and confidence < 90 and not decimal:
            near = nearby(line, hits, start, end, C_CARD, always)
            k, c, r = card(line, t, groups, length, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if length in (11, 13, 15):
            near = nearby(line, hits, start, end, C_PHONE, always)
            k, c, r = mobile(line, groups, length, near, decimal)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if 10 <= length <= 12 and line.signs[0] == 48 and not decimal:
            near = nearby(line, hits, start, end, C_PHONE, always)
            k, c, r = fixed_line(line, groups, length, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if plus:
            near = nearby(line, hits, start, end, C_PHONE, always)
            k, c, r = international(line, t, length, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if length == 8 and groups == 1:
            near = nearby(line, hits, start, end, C_TAIWAN, always)
            if near > 0:
                best, confidence, reasons = TAIWAN, 85, R_FORM | reason_of(near)
    if length == 9 and digits >= 6:
        near = nearby(line, hits, start, end, C_PASSPORT | C_PERMIT | C_ID, always)
        near_org = nearby(line, hits, start, end, C_ORG, always)
        k, c, r = nine_signs(line, groups, digits, near, near_org)
        if c > confidence:
            best, confidence, reasons = k, c, r | reason_of(near_org if k == ORG_CODE else near)
    if length == 11 and groups == 1 and digits == 10 and line.signs[0] in (72, 77):
        near = nearby(line, hits, start, end, C_PERMIT | C_ID, always)
        c = chosen(near, 20, 92, 5)
        if c > confidence:
            best, confidence, reasons = HK_MO, c, R_FORM | reason_of(near)
    if 15 <= length <= 34 and digits < length and 65 <= line.signs[0] <= 90 and 65 <= line.signs[1] <= 90:
        country = (np.int64(line.signs[0]) - 65) * 26 + np.int64(line.signs[1]) - 65
        checks = is_digit(line.signs[2]) and is_digit(line.signs[3])
        if checks and t.iban[country] == length and (groups == 1 or in_fours(line, groups)):
            if iban_holds(line.signs, length):
                near = nearby(line, hits, start, end, C_IBAN, always)
                best, confidence, reasons = IBAN, chosen(near, 93, 99, 70), R_FORM | R_CHECK | reason_of(near)
    return best, confidence, reasons
