"""A model in words, for plans and reports, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PHRASES: dict[str, tuple[str, str]] = {
    "k-anonymity": ("{k}-anonymity", "{k}-匿名"),
    "k-map": ("{k}-map", "{k}-映射"),
    "estimated-k-map": (
        "{k}-map, estimated for a population of {population} rows ({estimator}, significance {significance})",
        "{k}-映射，按 {population} 行的总体估计 ({estimator}，显著性水平 {significance})",
    ),
    "alpha-k-anonymity": ("({alpha}, {k})-anonymity of {column}", "{column} 的 ({alpha}, {k})-匿名"),
    "distinct-l-diversity": ("distinct {l}-diversity of {column}", "{column} 的不同值 {l}-多样性"),
    "entropy-l-diversity": ("entropy {l}-diversity of {column}", "{column} 的熵 {l}-多样性"),
    "recursive-cl-diversity": ("recursive ({c}, {l})-diversity of {column}", "{column} 的递归 ({c}, {l})-多样性"),
    "t-closeness": ("{t}-closeness of {column} ({distance} distance)", "{column} 的 {t}-接近性 ({distance} 距离)"),
    "delta-presence": ("({low}, {high})-presence", "({low}, {high})-存在性"),
    "beta-likeness": ("{enhanced}{beta}-likeness of {column}", "{column} 的{enhanced} {beta}-相似性"),
    "delta-disclosure": (
        "{delta}-disclosure privacy of {column} (logarithm to base {log})",
        "{column} 的 {delta}-泄露隐私 (对数底 {log})",
    ),
    "average-risk": ("average risk at most {threshold}", "平均风险不超过 {threshold}"),
    "population-uniqueness": (
        "at most {threshold} of a population of {population} rows unique (estimator {estimator})",
        "{population} 行的总体中唯一者的比例不超过 {threshold} (估计方法 {estimator})",
    ),
}

_ENHANCED = ({False: "basic ", True: "enhanced "}, {False: "基本", True: "增强"})


def phrase(kind: str, asked: Mapping[str, Any], locale: str = "en") -> str:
    """A model as a person would name it, such as "5-anonymity".

    Args:
        kind: the model's type.
        asked: its parameters by name.
        locale: `en` or `zh-CN`.
    """
    chinese = locale.startswith("zh")
    shown = {name: f"{value:.12g}" if isinstance(value, float) else value for name, value in asked.items()}
    if "enhanced" in shown:
        shown["enhanced"] = _ENHANCED[chinese][bool(shown["enhanced"])]
    return _PHRASES[kind][chinese].format(**shown)
