"""Word lists of our own: surnames, characters of given names, street names; for names in text and for surrogates.

The surnames are the common ones of mainland China in both scripts; a name outside of the list is still a name.
"""

from __future__ import annotations

from typing import Final

SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪"
    "田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛"
    "温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫"
    "查屈鲍位覃霍翁隋甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫来苟全褚廉简娄盖符奚木"
    "穆党燕郎邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧"
    "桑荆谌银扬明沙薄伏岑习胥保和蔺劉陳張楊黃趙吳孫馬羅鄭謝韓馮蕭許鄧葉蔣賈餘鍾譚鄒陸顧錢湯賀龔龐蘭陶嚴溫盧魯韋聶叢"
)
"""Surnames of one character."""

_COMPOUND: Final = (
    "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 宗政 濮阳"
    " 公冶 太叔 申屠 公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 闾丘 令狐 呼延 南门 东郭 百里 西门"
    " 歐陽 司馬 東方 諸葛 尉遲 公孫 長孫"
)
COMPOUND_SURNAMES: Final = tuple(_COMPOUND.split())
"""Surnames of two characters."""

GIVEN: Final = (
    "伟芳娜敏静秀丽强磊洋艳勇军杰娟涛超明霞平刚桂英华建国文辉力玉兰红春梅志海波宁鹏飞浩然宇轩子涵欣怡梓萱雨泽佳琪思远"
    "晓东晨曦雪莹婷婉嘉豪俊熙瑞博睿诗琴慧珍凤洁琳素云莲真环荣爱妹香月莺媛瑾颖露瑶凝纯悦昭冰爽岚苑馨瑷毅"
    "峰昊天翔哲安邦成康星光良才发武新利清彬富顺信元全胜学祥贵福生龙斌先敬震振壮会思群豪心承乐绍功松善厚庆"
)
"""Characters of given names, of which surrogates are made."""

_ROADS: Final = (
    "人民 中山 解放 建设 和平 胜利 新华 文化 友谊 光明 长江 黄河 北京 南京 上海 青年 幸福 迎宾 滨河 湖滨 学府 科技 创业"
    " 工业 花园 朝阳 东风 红旗 团结 振兴 体育 公园 环城 松林 梅园 桃源 龙泉 凤凰 紫荆 丹桂"
)
ROADS: Final = tuple(_ROADS.split())
"""Names of roads that exist in most cities, of which surrogates are made."""

ROAD_KINDS: Final = ("路", "街", "大道", "巷")
