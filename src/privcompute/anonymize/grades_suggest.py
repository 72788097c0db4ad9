"""A first guess at a column's grade, by a table: what is found in it, and what its name says.

Two scales: GB/T 43697-2024 (general data in four sub-levels here, important, core) and JR/T 0197-2020 (levels 1 to 5).
Important and core data are what an authority's catalogue lists: no look at a column can tell, so they are never
suggested. The owner confirms or corrects.

Source: GB/T 43697-2024 annexes on grading factors; JR/T 0197-2020 annex A; GB/T 35273-2020 annex B (sensitive personal
information).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        kinds: identifiers that call for it.
        words: parts of a column's name that do.
        general: sub-level of general data, 1 to 4.
        finance: level of JR/T 0197, 1 to 5.
        reason: a stable word.
    """

    kinds: tuple[str, ...]
    words: tuple[str, ...]
    general: int
    finance: int
    reason: str


RULES: Final = (
    Rule(
        (),
        ("fingerprint", "face", "iris", "voiceprint", "指纹", "人脸", "虹膜", "声纹", "基因", "dna"),
        4,
        4,
        "biometric",
    ),
    Rule((), ("password", "passwd", "pin", "cvv", "密码", "口令"), 4, 5, "credential"),
    Rule(
        ("cn_id", "cn_id15", "cn_passport", "hk_mo_tw_residence", "foreign_permanent", "hk_mo_permit", "tw_permit"),
        ("身份证", "护照", "证件", "id_no", "id_card", "idcard", "national_id", "ssn"),
        4,
        3,
        "identity_document",
    ),
    Rule(("bank_card", "iban"), ("卡号", "账号", "account", "card_no"), 4, 3, "financial_account"),
    Rule(
        (),
        ("diagnos", "disease", "诊断", "疾病", "病历", "病史", "药", "手术", "过敏", "hiv", "treatment", "icd", "血型"),
        4,
        3,
        "health",
    ),
    Rule((), ("轨迹", "定位", "经度", "纬度", "latitude", "longitude", "gps", "行踪"), 4, 3, "whereabouts"),
    Rule((), ("宗教", "religion", "民族", "ethnic", "race", "犯罪", "criminal", "性取向"), 4, 3, "special_category"),
    Rule(
        (), ("收入", "工资", "salary", "income", "余额", "balance", "贷款", "loan", "征信", "credit"), 3, 3, "financial"
    ),
    Rule(
        ("cn_mobile", "phone", "email", "cn_name", "cn_address", "cn_plate", "cn_plate_nev", "mainland_permit"),
        ("姓名", "name", "手机", "电话", "mobile", "phone", "email", "邮箱", "地址", "address", "车牌"),
        3,
        3,
        "personal_contact",
    ),
    Rule(("ip",), ("imei", "mac", "device", "设备号", "openid", "user_id", "客户号"), 3, 2, "device_or_account"),
    Rule(
        (),
        (
            "age",
            "birth",
            "年龄",
            "出生",
            "sex",
            "gender",
            "性别",
            "婚姻",
            "marital",
            "education",
            "学历",
            "职业",
            "occupation",
            "zip",
            "邮编",
        ),
        2,
        2,
        "quasi_identifier",
    ),
    Rule(("cn_uscc", "cn_org_code"), ("信用代码", "税号", "company", "企业名称"), 1, 1, "organisation"),
)
"""From the strictest to the mildest: the first that applies decides each scale's least level."""

DEFAULT: Final = Rule((), (), 2, 2, "nothing_found")


@dataclass(frozen=True)
class Suggestion:
    """A suggested grade.

    Attributes:
        general: sub-level of general data by GB/T 43697, 1 to 4.
        finance: level by JR/T 0197, 1 to 5.
        reasons: stable words, each with what led to it.
    """

    general: int
    finance: int
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "GB/T 43697": {"grade": "general", "sub_level": self.general},
            "JR/T 0197": {"level": self.finance},
            "reasons": list(self.reasons),
            "confirmed": False,
        }


def suggest(name: str, kinds: Sequence[str], *, numeric: bool = False) -> Suggestion:
    """The strictest grade that any rule calls for.

    Args:
        name: the column's.
        kinds: identifiers found in it.
        numeric: the column holds numbers or dates: words of texts, such as names, do not apply.
    """
    folded = name.casefold()
    parts = "".join(char if char.isalnum() else " " for char in folded).split()
    general, finance, reasons = 0, 0, []
    for rule in RULES:
        found = [kind for kind in rule.kinds if kind in kinds]
        words = [
            word for word in rule.words if (word in folded if not word.isascii() or len(word) > 4 else word in parts)
        ]
        if rule.reason == "personal_contact" and numeric:
            words = []
        if found or words:
            general, finance = max(general, rule.general), max(finance, rule.finance)
            reasons.append(f"{rule.reason}: {', '.join(found or [f'column name ({words[0]})'])}")
    if not reasons:
        return Suggestion(DEFAULT.general, DEFAULT.finance, (DEFAULT.reason,))
    return Suggestion(general, finance, tuple(reasons))
