"""Administrative divisions of China: which codes there are, and the names of provinces and prefectures.

Codes change: more than 6,000 county codes were in use since 1980, some 2,980 are now. An unknown county is therefore
a warning and never a fault; an unknown province is a fault.

Source: GB/T 2260, as published by the Ministry of Civil Affairs; facts in divisions.txt.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

PROVINCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "11": "北京市",
        "12": "天津市",
        "13": "河北省",
        "14": "山西省",
        "15": "内蒙古自治区",
        "21": "辽宁省",
        "22": "吉林省",
        "23": "黑龙江省",
        "31": "上海市",
        "32": "江苏省",
        "33": "浙江省",
        "34": "安徽省",
        "35": "福建省",
        "36": "江西省",
        "37": "山东省",
        "41": "河南省",
        "42": "湖北省",
        "43": "湖南省",
        "44": "广东省",
        "45": "广西壮族自治区",
        "46": "海南省",
        "50": "重庆市",
        "51": "四川省",
        "52": "贵州省",
        "53": "云南省",
        "54": "西藏自治区",
        "61": "陕西省",
        "62": "甘肃省",
        "63": "青海省",
        "64": "宁夏回族自治区",
        "65": "新疆维吾尔自治区",
        "71": "台湾省",
        "81": "香港特别行政区",
        "82": "澳门特别行政区",
    }
)
"""Province codes and names; 83 stands for Taiwan in residence permits only."""

RESIDENCE_REGIONS: Final = ("810000", "820000", "830000")
"""Regions in the residence permits of Hong Kong, Macao and Taiwan residents."""

PLATE_PROVINCES: Final = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
"""The character with which a province's vehicle plates begin."""

_UNNAMED = frozenset({"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"})


@functools.cache
def _lines() -> tuple[tuple[str, str, str], ...]:
    text = resources.files(__package__).joinpath("divisions.txt").read_text(encoding="utf-8")
    fields = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    return tuple((code, name, "".join(counties)) for code, name, *counties in fields)


@functools.cache
def county_codes() -> frozenset[str]:
    """The county codes in use: six digits each."""
    return frozenset(
        code + counties[at : at + 2] for code, _, counties in _lines() for at in range(0, len(counties), 2)
    )


@functools.cache
def prefectures() -> Mapping[str, str]:
    """Prefecture codes (four digits) and names, without those that only group counties."""
    return MappingProxyType({code: name for code, name, _ in _lines() if name not in _UNNAMED})


def known_county(code: str) -> bool:
    """Whether a six-digit code is in use now."""
    return code in county_codes()
