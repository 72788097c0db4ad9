"""What may be done with which column: grades, and the rule table from grade, purpose and recipient to techniques.

    table = shipped("gbt43697")
    table.floor("important", "joint-statistics", "peer")      # Technique.SUM: nothing weaker may carry it
    table.check(Carried("disease", Technique.PLAIN, ColumnGrade("important")), "research", "peer")   # PrivacyError

The tables are data (TOML beside this file). They know no data and no network: `node` and `query` ask them.
"""

from privcompute.grades.owned import load
from privcompute.grades.read import shipped
from privcompute.grades.table import Carried, ColumnGrade, Grade, Listed, RuleTable, parse_grade
from privcompute.grades.words import PROFILES, PURPOSES, RECIPIENTS, Technique

__all__ = [
    "Carried",
    "ColumnGrade",
    "Grade",
    "Listed",
    "PROFILES",
    "PURPOSES",
    "RECIPIENTS",
    "RuleTable",
    "Technique",
    "load",
    "parse_grade",
    "shipped",
]
