"""The words of reports and pictures, in English and Chinese."""

from __future__ import annotations

LOCALES = ("en", "zh-CN")

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("Release report", "数据发布报告"),
    "measure_title": ("Measured", "测量报告"),
    "picture": ("Risk and loss against k", "风险与信息损失随 k 的变化"),
    "highest_risk": ("highest risk", "最高风险"),
    "average_risk": ("average risk", "平均风险"),
    "loss": ("information lost (NCP)", "信息损失 (NCP)"),
    "rows": ("rows", "行数"),
    "suppressed": ("suppressed rows", "抑制行数"),
    "cells": ("suppressed cells", "抑制单元格数"),
    "limit": ("allowed", "允许"),
    "order": ("order of rows", "行的顺序"),
    "policy": ("policy", "策略"),
    "input": ("fingerprint of the input", "输入数据指纹"),
    "no_key_named": (
        "none: the policy names no key (report.fingerprint_key)",
        "无：策略未指定密钥 (report.fingerprint_key)",
    ),
    "key_not_at_hand": (
        "none: the key that the policy names is not at hand (--keys)",
        "无：策略指定的密钥不可用 (--keys)",
    ),
    "roles": ("Columns", "列"),
    "column": ("column", "列"),
    "role": ("role", "角色"),
    "direct": ("direct identifier", "直接标识符"),
    "qi": ("quasi-identifier", "准标识符"),
    "sensitive": ("sensitive", "敏感属性"),
    "insensitive": ("insensitive", "非敏感属性"),
    "level": ("level", "层级"),
    "nulls": ("NULLs", "空值"),
    "lost": ("lost", "损失"),
    "search": ("Search", "搜索"),
    "algorithm": ("algorithm", "算法"),
    "metric": ("metric", "度量"),
    "cost": ("cost", "代价"),
    "bound": ("least possible", "下界"),
    "state": ("state", "状态"),
    "optimal": ("proven to be the best", "已证明最优"),
    "gap": ("time ran out; the gap is certain", "超时；差距有保证"),
    "checks": ("nodes checked", "检查的节点"),
    "nodes": ("nodes", "节点总数"),
    "models": ("Privacy models", "隐私模型"),
    "model": ("model", "模型"),
    "asked": ("asked", "要求"),
    "before": ("before", "处理前"),
    "after": ("after", "处理后"),
    "holds": ("holds", "成立"),
    "does_not_hold": ("does not hold", "不成立"),
    "second_look": ("second look", "独立复核"),
    "risk": ("Re-identification risk", "重标识风险"),
    "prosecutor": ("prosecutor, highest", "检察官攻击 (最高)"),
    "journalist": ("journalist, highest", "记者攻击 (最高)"),
    "journalist_average": ("journalist, average", "记者攻击 (平均)"),
    "marketer": ("marketer, average", "营销者攻击 (平均)"),
    "at_risk": ("rows at a risk above 20 %", "风险高于 20 % 的行"),
    "uniques": ("unique rows", "唯一行"),
    "uniqueness": ("their part", "唯一行比例"),
    "classes": ("classes", "等价类"),
    "smallest": ("smallest classes", "最小的等价类"),
    "utility": ("Utility", "可用性"),
    "meaning": (
        (
            "Each released row looks like at least {others} others: who knows a person's quasi-identifiers finds the"
            " row with a chance of at most {risk}."
        ),
        "发布后，每一行至少与另外 {others} 行无法区分：即使知道某人的准标识符，找到其所在行的概率最高为 {risk}。",
    ),
}


def word(name: str, locale: str) -> str:
    """A word in a language; what has no translation stays as it is."""
    pair = _WORDS.get(name)
    if pair is None:
        return name
    return pair[1] if locale.startswith("zh") else pair[0]
