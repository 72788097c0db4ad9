"""Telephone numbers other than Chinese mobiles: international ones with +, and Chinese fixed lines with area code.

Source: ITU-T E.164 (15 digits at most, country codes); numbering plan of the Ministry of Industry and Information
Technology (area codes 010, 02x, 03xx to 09xx).
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "phone"

_CODES: Final = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84"
    " 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236"
    " 237 238 239 240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266"
    " 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380"
    " 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597"
    " 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 850 852 853 855 856"
    " 880 886 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 992 993 994 995 996 998"
)
COUNTRY_CODES: Final = frozenset(_CODES.split())

_DROPPED = str.maketrans("", "", " -().\t")
_FIXED = re.compile(r"0(?:10|2[0-9])[2-9][0-9]{7}|0[3-9][0-9]{2}[2-9][0-9]{6,7}")


def parse(text: str) -> Parsed:
    """A telephone number, `+` and country code, or a Chinese area code and number.

    Returns:
        With `value` in E.164, `+` and digits. Reasons: `characters`, `country`, `length`, `area`.
    """
    plain = normalise(text).translate(_DROPPED)
    if plain.startswith("00"):
        plain = "+" + plain[2:]
    digits = plain.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return Parsed(KIND, plain, ("characters",))
    if not plain.startswith("+"):
        return Parsed(KIND, "+86" + digits.removeprefix("0"), () if _FIXED.fullmatch(digits) else ("area",))
    country = next((digits[:n] for n in (1, 2, 3) if digits[:n] in COUNTRY_CODES), None)
    if country is None:
        return Parsed(KIND, plain, ("country",))
    return Parsed(KIND, plain, () if 8 <= len(digits) <= 15 else ("length",), parts={"country": country})
