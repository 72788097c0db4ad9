"""Words beside a candidate that speak for a kind of identifier, or against all: Chinese and English.

What stands nearest before a candidate counts most: a number behind 订单号 is an order, one behind 身份证 a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from privcompute.anonymize.detect.kinds import (
    C_ADDRESS,
    C_CARD,
    C_CONTRARY,
    C_EMAIL,
    C_IBAN,
    C_ID,
    C_IP,
    C_LEAD,
    C_ORG,
    C_PASSPORT,
    C_PERMIT,
    C_PHONE,
    C_PLATE,
    C_TAIWAN,
)

_WORDS: Final = (
    (
        C_ID,
        "身份证 身份证号 身份证号码 身份证编号 证件号 证件号码 证件编号 证件 公民身份号码 居民身份 身分证 身份號碼 居住证 永久居留"
        " 社保号 社会保障号 idcard idno sfz sfzh id_card id_no identity identification national_id ssn",
    ),
    (
        C_PHONE,
        "手机 手机号 手机号码 电话 电话号码 联系电话 联系方式 移动电话 致电 拨打 来电 短信 验证码 微信 座机 传真 热线 手機 電話"
        " mobile phone telephone tel cell fax msisdn sjh dianhua shouji",
    ),
    (
        C_CARD,
        "银行卡 卡号 账号 帐号 账户 帐户 转账 转到 汇款 汇到 借记卡 信用卡 储蓄卡 开户行 银联 收款 付款 的钱 銀行卡"
        " card card_no pan visa mastercard amex unionpay bank_card cardnumber",
    ),
    (C_CARD | C_IBAN, "account iban bank"),
    (
        C_ORG,
        "统一社会信用代码 信用代码 税号 纳税人识别号 组织机构代码 机构代码 营业执照 企业代码 uscc credit_code tax_id taxpayer",
    ),
    (
        C_PLATE,
        "车牌 车牌号 车号 牌照 号牌 车辆 新能源车 轿车 货车 违停 违章 驾驶 停车 车辆号牌 plate vehicle license_plate chepai",
    ),
    (C_PLATE | C_LEAD, "车主 驾驶员 驾驶人 司机"),
    (C_PASSPORT, "护照 护照号 护照号码 護照 passport huzhao"),
    (C_PERMIT, "通行证 回乡证 港澳通行 往来港澳 往来内地 permit"),
    (C_PERMIT | C_TAIWAN, "台胞证 台湾居民 往来大陆 台湾通行证 大陆通行证"),
    (
        C_LEAD,
        "姓名 患者 病人 客户 法人 法人代表 法定代表人 收款人 付款人 登记人 办理人 经办人 联系人 申请人 负责人 户主 乘客 家属 学生"
        " 员工 职工 用户 会员 业主 租户 买方 卖方 甲方 乙方 持卡人 开户人 投保人 被保险人 受益人 当事人 原告 被告 嫌疑人 死者 伤者"
        " 收件人 寄件人 收货人 发件人 投诉人 报案人 举报人 监护人 借款人 贷款人 担保人 代理人 委托人 旅客 考生 教师 老师 医生 主任"
        " 护士 父亲 母亲 配偶 本人 客户经理 联络人 签字人 审批人 填表人 病患 受理人 承办人 房东 租客 我叫 名叫 姓名是",
    ),
    (
        C_ADDRESS,
        "地址 住址 家住 住在 户籍 现居 现住 居住地 寄到 送到 收货地址 通讯地址 位于 坐落 籍贯 address addr dizhi",
    ),
    (C_EMAIL, "邮箱 邮件 电子邮件 email e-mail mail"),
    (C_IP, "ip 主机 服务器 网关 内网 公网 host server gateway"),
    (
        C_CONTRARY,
        "订单 订单号 单号 序列号 流水 流水号 交易流水 编号 快递 快递单号 运单 运单号 工单 工单号 版本 版本号 设备 设备号 编码 交易号"
        " 批号 批次 型号 条码 条形码 发票号 发票代码 会议号 金额 价格 数量 合同号 凭证号 票号 货号 房号 学号 工号 物料 时间戳"
        " order order_no serial tracking invoice sku version amount price quantity timestamp uuid hash imei batch",
    ),
)

STOPS: Final = (
    "的 了 在 于 与 和 及 是 因 已 将 向 被 把 让 说 称 为 有 无 以 从 到 等 或 也 都 就 还 又 对 给 由 按 经 之 其 该 此 我 你 他 她"
    " 您 们 不 没 未 请 应 能 会 要 去 来 住 持 系 现 今 昨 前 后 名 号 共 于 拨 致 驾 姓 地 电 手 身 证 卡 邮 车 银 账 帐"
    " 先生 女士 小姐 同志 医生 大夫 老师 主任 经理 教授 律师 今日 今天 昨日 昨天 现在 目前 因为 入院 出院 就诊 要求 申请 提交"
    " 反映 投诉 咨询 名下 本人 住址 地址 联系 通过 使用 表示 提供 办理 购买 支付 登记 注册 报案 签字 签名 出生 年龄 性别 男 女"
)
"""What does not belong to a name that stands before it."""

NO_NAMES: Final = (
    "方便 高度 常见 常用 安全 成功 金额 严重 关于 关注 应该 应当 时间 马上 任何 任务 何时 何种 曾经 全部 全国 全体 和解 明确 强烈 解释"
    " 白天 黄金 石油 温度 项目 单位 单号 支付 高级 高危 高峰 平时 平台 平均 计划 计算 都是 都有 花费 路上 路过 史上 万一 万元 方式"
    " 方法 方面 方案 水平 习惯 余额 管理 段落 严格 从事 成为 成员 包括 包含 时候 时长 田间 安排 安装 连续 连接 党员 相关 年龄 资料"
    " 信息 权益 须知 经理 服务 端口 需要 可以 反馈 满意 满意度 体验 数据 编号 名单 证明 代表 单价 方向 高兴 强调 关系 关闭 冷静"
)
"""Words that begin with a surname and are no names."""


def words() -> Iterator[tuple[str, int]]:
    """Context words in small letters, and the contexts that each stands for."""
    for contexts, text in _WORDS:
        for word in text.split():
            yield word, contexts
            if "_" in word:
                yield word.replace("_", " "), contexts
                yield word.replace("_", ""), contexts


def of_column(name: str) -> int:
    """The contexts that a column's name stands for."""
    folded = name.casefold()
    found = 0
    for word, contexts in words():
        # Short latin words only as a part of their own: `tel` is not in `hotel`.
        inside = word in folded if not word.isascii() or len(word) > 4 else word in _parts(folded)
        found |= contexts if inside else 0
    return found


def _parts(name: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in name).split()
