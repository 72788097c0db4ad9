"""Kernels: what a candidate of letters and digits is, by its length, its signs and its checks.

Each rule gives a confidence without context, with it, and with words against it. The likeliest rule wins.
"""

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.detect.checks import (
    Triple,
    Truth,
    Whole,
    day_exists,
    iban_holds,
    id_holds,
    luhn_holds,
    number,
    organisation_holds,
    uscc_holds,
)
from privcompute.anonymize.detect.kinds import (
    CARD,
    CN_ID,
    CN_ID15,
    FOR,
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
    S_CARD_RARE,
    S_CARD_SHORT,
    S_CARD_SURE,
    S_CARD_UNKNOWN,
    S_FIXED,
    S_FIXED_GROUPED,
    S_FOREIGN,
    S_HK_MO,
    S_IBAN,
    S_ID15_KNOWN,
    S_ID15_UNKNOWN,
    S_ID_KNOWN,
    S_ID_UNKNOWN,
    S_INTERNATIONAL,
    S_MAINLAND,
    S_MOBILE,
    S_MOBILE_GROUPED,
    S_MOBILE_PREFIX,
    S_ORG,
    S_ORG_HYPHEN,
    S_PASSPORT,
    S_PASSPORT_RARE,
    S_RESIDENCE,
    S_TAIWAN,
    S_THING,
    S_USCC_BEST,
    S_USCC_DIGITS,
    S_USCC_PLAIN,
    S_USCC_REGION,
    TAIWAN,
    USCC,
)
from privcompute.anonymize.detect.line import Bytes, Ints, is_digit, nearby, reason_of
from privcompute.anonymize.detect.rules import COUNTRY, IBAN_LENGTHS, ISSUERS, PROVINCE, SCORE, USCC_VALUES, WANT
from privcompute.kernels.compiled import kernel

Marks = npt.NDArray[np.bool_]


@kernel
def shape(ends: Ints, groups: Whole) -> Whole:
    """The lengths of the groups as the digits of a number: 344 for 3, 4 and 4 signs; groups longer than 9 count 9."""
    result: Whole = 0
    last: Whole = 0
    for g in range(groups):
        length = np.int64(ends[g, 0]) - last
        result = result * 10 + (length if length < 9 else 9)
        last = np.int64(ends[g, 0])
    return result


@kernel
def in_fours(ends: Ints, groups: Whole) -> Truth:
    """Whether all groups have four signs, the last one at most four."""
    last: Whole = 0
    for g in range(groups):
        length = np.int64(ends[g, 0]) - last
        last = np.int64(ends[g, 0])
        if length > 4 or (g < groups - 1 and length != 4):
            return False
    return True


@kernel
def digits_in(s: Bytes, length: Whole) -> Whole:
    """How many of the first signs are digits."""
    count = 0
    for i in range(length):
        count += 1 if is_digit(s[i]) else 0
    return count


@kernel
def identity(s: Bytes, ends: Ints, counties: Marks, groups: Whole, near: Whole, today: Whole) -> Triple:
    """A candidate of 18 signs, 17 of them digits, as an identity number or one of the cards of its form."""
    form = shape(ends, groups)
    if groups > 1 and form not in (69, 684, 6444, 3384, 33444, 94, 91):
        return -1, 0, 0
    if s[17] != 88 and not is_digit(s[17]):
        return -1, 0, 0
    birth = number(s, np.int64(6), np.int64(14))
    if birth < 18000101 or birth > today or not day_exists(birth // 10000, birth // 100 % 100, birth % 100):
        return -1, 0, 0
    if not id_holds(s):
        return -1, 0, 0
    reasons = R_FORM | R_CHECK | R_BIRTH
    region = number(s, np.int64(0), np.int64(6))
    if region == 810000 or region == 820000 or region == 830000:
        return RESIDENCE, SCORE[S_RESIDENCE, near], reasons | R_REGION
    if s[0] == 57:
        fits = PROVINCE[number(s, np.int64(1), np.int64(3))]
        return (FOREIGN, SCORE[S_FOREIGN, near], reasons) if fits else (-1, 0, 0)
    if not PROVINCE[region // 10000]:
        return -1, 0, 0
    if counties[region]:
        return CN_ID, SCORE[S_ID_KNOWN, near], reasons | R_REGION
    return CN_ID, SCORE[S_ID_UNKNOWN, near], reasons


@kernel
def short_identity(s: Bytes, counties: Marks, near: Whole) -> Triple:
    """A candidate of 15 digits as an old identity number: nothing checks it, so that the words nearby decide."""
    year = 1900 + number(s, np.int64(6), np.int64(8))
    if (
        not day_exists(year, number(s, np.int64(8), np.int64(10)), number(s, np.int64(10), np.int64(12)))
        or not PROVINCE[number(s, np.int64(0), np.int64(2))]
    ):
        return -1, 0, 0
    known = counties[number(s, np.int64(0), np.int64(6))]
    confidence = SCORE[S_ID15_KNOWN if known else S_ID15_UNKNOWN, near]
    return CN_ID15, confidence, R_FORM | R_BIRTH | (R_REGION if known else 0)


@kernel
def card(s: Bytes, ends: Ints, groups: Whole, length: Whole, near: Whole) -> Triple:
    """A candidate of 13 to 19 digits as a bank card."""
    if groups > 1 and not in_fours(ends, groups) and shape(ends, groups) not in (465, 69):
        return -1, 0, 0
    if not luhn_holds(s, length):
        return -1, 0, 0
    for k in range(ISSUERS.shape[0]):
        width = ISSUERS[k, 2]
        first = number(s, np.int64(0), width)
        if ISSUERS[k, 0] <= first <= ISSUERS[k, 1] and ISSUERS[k, 3] <= length <= ISSUERS[k, 4]:
            sure = first == 62 or (ISSUERS[k, 5] == 1 and (length == 15 or length == 16))
            rule = S_CARD_SHORT if length < 15 else S_CARD_SURE if sure else S_CARD_RARE
            return CARD, SCORE[rule, near], R_FORM | R_CHECK | R_ISSUER
    return CARD, SCORE[S_CARD_UNKNOWN, near], R_FORM | R_CHECK


@kernel
def organisation(s: Bytes, ends: Ints, groups: Whole, digits: Whole, near: Whole) -> Triple:
    """A candidate of 18 signs as a unified social credit code."""
    if groups > 1 and shape(ends, groups) not in (2691, 44442, 91, 94):
        return -1, 0, 0
    first = np.int64(s[0])
    if not (49 <= first <= 57 or first in (65, 78, 89)) or not uscc_holds(s, USCC_VALUES):
        return -1, 0, 0
    reasons = R_FORM | R_CHECK
    for i in range(2, 8):
        if not is_digit(s[i]):
            return USCC, SCORE[S_USCC_REGION, near], reasons
    if PROVINCE[number(s, np.int64(2), np.int64(4))]:
        reasons |= R_REGION
    if organisation_holds(s, np.int64(8)):
        reasons |= R_INNER
    if reasons & R_INNER and reasons & R_REGION:
        return USCC, SCORE[S_USCC_BEST, near], reasons
    return USCC, SCORE[S_USCC_DIGITS if digits == 18 else S_USCC_PLAIN, near], reasons


@kernel
def mobile(s: Bytes, ends: Ints, groups: Whole, length: Whole, near: Whole, decimal: Truth) -> Triple:
    """A candidate of digits as a mobile number, with or without 86 before it."""
    skip = 0
    if length == 13 and s[0] == 56 and s[1] == 54:
        skip = 2
    elif length == 15 and s[0] == 48 and s[1] == 48 and s[2] == 56 and s[3] == 54:
        skip = 4
    if length - skip == 13 and number(s, np.int64(0), np.int64(4)) == 1064 and groups == 1:
        return MOBILE, SCORE[S_THING, near], R_FORM
    if length - skip != 11 or s[skip] != 49 or s[skip + 1] < 51 or decimal:
        return -1, 0, 0
    form = shape(ends, groups)
    if skip == 0:
        fits = groups == 1 or form in (344, 434, 38, 74, 335)
    elif skip == 2:
        fits = groups == 1 or form in (29, 2344, 2434, 238, 274, 544)
    else:
        fits = groups == 1 or form in (49, 4344, 4434, 438, 474)
    if not fits:
        return -1, 0, 0
    rule = S_MOBILE_PREFIX if skip else S_MOBILE_GROUPED if form == 344 else S_MOBILE
    return MOBILE, SCORE[rule, near], R_FORM | (R_PREFIX if skip else 0)


@kernel
def nine_signs(s: Bytes, ends: Ints, groups: Whole, digits: Whole, near: Whole, near_org: Whole) -> Triple:
    """A candidate of nine signs as a passport, a permit or an organisation code; `near` is of passports and permits."""
    first, second = np.int64(s[0]), np.int64(s[1])
    if groups == 1 and digits >= 7 and not is_digit(first):
        letter = not is_digit(second)
        plain = second != 73 and second != 79  # I and O look like digits and are not given
        tail = digits == 8 or (letter and plain and digits_in(s, np.int64(9)) - (1 if is_digit(second) else 0) == 7)
        if first == 69 and tail:
            return PASSPORT, SCORE[S_PASSPORT, near], R_FORM
        if digits == 8 and first in (71, 68, 83, 80):
            return PASSPORT, SCORE[S_PASSPORT, near], R_FORM
        if digits == 7 and second == 69 and first in (68, 83, 80):
            return PASSPORT, SCORE[S_PASSPORT_RARE, near], R_FORM
        if digits == 8 and first in (72, 77):
            return HK_MO, SCORE[S_HK_MO, near], R_FORM
        if (digits == 8 and first in (67, 87, 76, 84)) or (digits == 7 and first == 67 and plain):
            return MAINLAND, SCORE[S_MAINLAND, near], R_FORM
    fits = (groups == 1 or shape(ends, groups) == 81) and (is_digit(s[8]) or s[8] == 88) and digits >= 6
    if fits and organisation_holds(s, np.int64(0)):
        return ORG_CODE, SCORE[S_ORG_HYPHEN if groups == 2 else S_ORG, near_org], R_FORM | R_CHECK
    return -1, 0, 0


@kernel
def fixed_line(s: Bytes, ends: Ints, groups: Whole, length: Whole, near: Whole) -> Triple:
    """A candidate of digits that begins with 0 as a Chinese fixed line."""
    form = shape(ends, groups)
    if groups > 1 and form not in (38, 47, 48, 344, 434, 444):
        return -1, 0, 0
    code = number(s, np.int64(0), np.int64(3))
    two = code == 10 or 20 <= code <= 29
    area = 3 if two else 4
    rest = length - area
    if not (two or 30 <= code <= 99) or (rest != 8 and (two or rest != 7)) or s[area] < 50:
        return -1, 0, 0
    if groups > 1 and np.int64(ends[0, 0]) != area:
        return -1, 0, 0
    return PHONE, SCORE[S_FIXED_GROUPED if groups > 1 else S_FIXED, near], R_FORM


@kernel
def international(s: Bytes, length: Whole, near: Whole) -> Triple:
    """A candidate of digits behind a + as a telephone number."""
    if length < 8 or length > 15 or s[0] == 48:
        return -1, 0, 0
    for width in range(1, 4):
        if COUNTRY[number(s, np.int64(0), width)]:
            return PHONE, SCORE[S_INTERNATIONAL, near], R_FORM | R_PREFIX
    return -1, 0, 0


@kernel
def classify(
    s: Bytes,
    ends: Ints,
    words: Ints,
    counties: Marks,
    hits: Whole,
    start: Whole,
    groups: Whole,
    plus: Truth,
    decimal: Truth,
    always: Whole,
    today: Whole,
) -> Triple:
    """What the first groups of a candidate are together.

    Returns:
        Kind (-1: nothing), confidence in percent, reasons.
    """
    length = np.int64(ends[groups - 1, 0])
    end = np.int64(ends[groups - 1, 1])
    digits = digits_in(s, length)
    best: Whole = np.int64(-1)
    confidence: Whole = np.int64(0)
    reasons: Whole = np.int64(0)
    if length == 18:
        if digits_in(s, np.int64(17)) == 17 and not decimal:
            near = nearby(words, hits, start, end, WANT[CN_ID], always)
            best, confidence, reasons = identity(s, ends, counties, groups, near, today)
            reasons |= reason_of(near)
        if confidence < 90:
            near = nearby(words, hits, start, end, WANT[USCC], always)
            k, c, r = organisation(s, ends, groups, digits, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
    if digits == length:
        if length == 15 and groups == 1 and not decimal:
            near = nearby(words, hits, start, end, WANT[CN_ID15], always)
            k, c, r = short_identity(s, counties, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if 13 <= length <= 19 and confidence < 90 and not decimal:
            near = nearby(words, hits, start, end, WANT[CARD], always)
            k, c, r = card(s, ends, groups, length, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if length in (11, 13, 15):
            near = nearby(words, hits, start, end, WANT[MOBILE], always)
            k, c, r = mobile(s, ends, groups, length, near, decimal)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if 10 <= length <= 12 and s[0] == 48 and not decimal:
            near = nearby(words, hits, start, end, WANT[MOBILE], always)
            k, c, r = fixed_line(s, ends, groups, length, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if plus:
            near = nearby(words, hits, start, end, WANT[MOBILE], always)
            k, c, r = international(s, length, near)
            if c > confidence:
                best, confidence, reasons = k, c, r | reason_of(near)
        if length == 8 and groups == 1:
            near = nearby(words, hits, start, end, WANT[TAIWAN], always)
            if near == FOR:
                best, confidence, reasons = TAIWAN, SCORE[S_TAIWAN, near], R_FORM | reason_of(near)
    if length == 9 and digits >= 6:
        near = nearby(words, hits, start, end, WANT[PASSPORT], always)
        near_org = nearby(words, hits, start, end, WANT[USCC], always)
        k, c, r = nine_signs(s, ends, groups, digits, near, near_org)
        if c > confidence:
            best, confidence, reasons = k, c, r | reason_of(near_org if k == ORG_CODE else near)
    if length == 11 and groups == 1 and digits == 10 and s[0] in (72, 77):
        near = nearby(words, hits, start, end, WANT[HK_MO], always)
        c = SCORE[S_HK_MO, near]
        if c > confidence:
            best, confidence, reasons = HK_MO, c, R_FORM | reason_of(near)
    if 15 <= length <= 34 and digits < length and 65 <= s[0] <= 90 and 65 <= s[1] <= 90:
        country = (np.int64(s[0]) - 65) * 26 + np.int64(s[1]) - 65
        checks = is_digit(s[2]) and is_digit(s[3]) and IBAN_LENGTHS[country] == length
        if checks and (groups == 1 or in_fours(ends, groups)) and iban_holds(s, length):
            near = nearby(words, hits, start, end, WANT[IBAN], always)
            best, confidence, reasons = IBAN, SCORE[S_IBAN, near], R_FORM | R_CHECK | reason_of(near)
    return best, confidence, reasons
