"""A rule table: grades from the lowest to the strictest, and what may carry a column of each.

A table is complete (a rule for every grade, purpose and recipient) and monotone (a stricter grade never asks for
less), so that the strictest grade of several columns speaks for what is derived from them. `read` checks both.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from privcompute.errors import PrivacyError, UsageError
from privcompute.grades.words import PURPOSES, RECIPIENTS, Technique

_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")

Rule = tuple[str, str, str]
"""Grade, purpose, recipient."""


@dataclass(frozen=True)
class Grade:
    """One grade of a profile.

    Attributes:
        name: its word.
        en: for people.
        zh: for people.
        clause: where the standard says so; "" if the grade is the owner's own.
        checked: whether somebody compared the clause with the standard's text.
    """

    name: str
    en: str
    zh: str
    clause: str = ""
    checked: bool = False


@dataclass(frozen=True)
class Listed:
    """One entry of the cross-border negative list.

    Attributes:
        category: the word that a column's grade carries after the slash; it forbids every way abroad.
        en: for people.
        zh: for people.
        clause: its source.
        checked: whether somebody compared it with the source's text.
    """

    category: str
    en: str
    zh: str
    clause: str = ""
    checked: bool = False


@dataclass(frozen=True, order=True)
class ColumnGrade:
    """What an owner says of a column: its grade, and the category that the negative list may name."""

    grade: str
    category: str | None = None

    def __str__(self) -> str:
        return self.grade if self.category is None else f"{self.grade}/{self.category}"


@dataclass(frozen=True)
class Carried:
    """A column on its way to a recipient.

    Attributes:
        column: its name, for the error.
        technique: how it is carried.
        grade: its own; None: nobody graded it.
        derived_from: the grades of other columns that its values were made from.
    """

    column: str
    technique: Technique
    grade: ColumnGrade | None
    derived_from: tuple[ColumnGrade | None, ...] = ()


@dataclass(frozen=True)
class RuleTable:
    """A complete, monotone table.

    Attributes:
        name: of the profile or of the owner's table.
        standard: what it follows.
        grades: from the lowest to the strictest.
        floors: for each rule the weakest technique that will do.
        negative: the cross-border negative list.
        least_k: a release with a smaller k is not k-anonymous in the sense of the rules.
        required: whether a column without a grade may go nowhere.
        digest: SHA-256 of the content, hexadecimal.
    """

    name: str
    standard: str
    grades: tuple[Grade, ...]
    floors: Mapping[Rule, Technique]
    negative: tuple[Listed, ...]
    least_k: int
    required: bool
    digest: str

    def names(self) -> tuple[str, ...]:
        """The grades' words, from the lowest to the strictest."""
        return tuple(one.name for one in self.grades)

    def categories(self) -> tuple[str, ...]:
        """The words of the cross-border negative list."""
        return tuple(dict.fromkeys(one.category for one in self.negative))

    def floor(self, grade: ColumnGrade | str | None, purpose: str, recipient: str) -> Technique:
        """The weakest technique that may carry a column.

        Args:
            grade: of the column; None: nobody graded it.
            purpose: one of `PURPOSES`.
            recipient: one of `RECIPIENTS`.

        Raises:
            UsageError: `bad_grade`, `bad_purpose`, `bad_recipient`.
        """
        _known("purpose", purpose, PURPOSES)
        _known("recipient", recipient, RECIPIENTS)
        if grade is None:
            return Technique.FORBIDDEN if self.required else Technique.PLAIN
        given = ColumnGrade(grade) if isinstance(grade, str) else grade
        self.check_grade(given)
        # A category is there for the negative list. One that the list does not have was given under another table, or
        # by a slip: nobody can say what it permits.
        if recipient == "cross-border" and given.category is not None:
            return Technique.FORBIDDEN
        return self.floors[given.grade, purpose, recipient]

    def permitted(self, grade: ColumnGrade | str | None, purpose: str, recipient: str) -> tuple[Technique, ...]:
        """All techniques that may carry a column, the weakest first; none if it is forbidden."""
        least = self.floor(grade, purpose, recipient)
        return tuple(one for one in Technique if least <= one < Technique.FORBIDDEN)

    def derived_floor(self, grades: Iterable[ColumnGrade | None], purpose: str, recipient: str) -> Technique:
        """The floor of what is made from columns of these grades: the strictest of theirs."""
        return max((self.floor(one, purpose, recipient) for one in grades), default=Technique.PLAIN)

    def check(self, carried: Carried, purpose: str, recipient: str) -> None:
        """Refuse a technique that is too weak.

        Raises:
            PrivacyError: `grade`, naming rule, column and the smallest change.
        """
        grades = (carried.grade, *carried.derived_from)
        least = self.derived_floor(grades, purpose, recipient)
        if least is not Technique.FORBIDDEN and least <= carried.technique < Technique.FORBIDDEN:
            return
        binding = max((one for one in grades if self.floor(one, purpose, recipient) == least), key=self._place)
        why = self.rule(binding, purpose, recipient)
        raise PrivacyError(
            f"column {carried.column} would leave as {carried.technique.words}; {why}",
            code="grade",
            remedy=self.remedy(carried.column, least),
        )

    def _place(self, grade: ColumnGrade | None) -> int:
        return len(self.grades) if grade is None else self.names().index(grade.grade)

    def rule(self, grade: ColumnGrade | None, purpose: str, recipient: str) -> str:
        """The rule that binds a column, in words."""
        least = self.floor(grade, purpose, recipient)
        if grade is None:
            return "nobody graded it, and this node lets no column go that has no grade"
        if recipient == "cross-border" and grade.category is not None:
            if grade.category in self.categories():
                return f"the cross-border negative list of {self.name} names {grade.category}"
            return f"the rules {self.name} do not have the category {grade.category}, so it does not cross a border"
        ask = "forbids it" if least is Technique.FORBIDDEN else f"asks for {least.words} or stronger"
        return f"the rule {self.name}: {grade.grade} x {purpose} x {recipient} {ask}"

    def remedy(self, column: str, least: Technique) -> str:
        """The smallest change that would let the column pass."""
        if least is Technique.FORBIDDEN:
            return f"leave {column} out, or grade it (`privcompute dataset edit NAME --grade {column}=GRADE`)"
        change = {
            Technique.MASK: f'give {column} a transform, at least {{ op = "mask" }}, or leave it out',
            Technique.TOKEN: f'give {column} a transform {{ op = "token" }}, or leave it out',
            Technique.K_ANONYMOUS: f'make {column} a "qi" or "sensitive" column of a policy with k-anonymity'
            f" (k >= {self.least_k}), or leave it out",
        }
        return change.get(least, f"leave {column} out of the table; ask a query over it instead")

    def check_grade(self, grade: ColumnGrade) -> None:
        """Refuse a grade that the table does not have.

        Raises:
            UsageError: `bad_grade`.
        """
        _known("grade", grade.grade, self.names())

    def check_category(self, grade: ColumnGrade) -> None:
        """Refuse a category that the negative list does not have: a slip in it would change what an owner means.

        Raises:
            UsageError: `bad_category`.
        """
        if grade.category is not None:
            _known("category", grade.category, self.categories())


def parse_grade(text: str) -> ColumnGrade:
    """`important`, or `general-4/human-genetic-resources` with a category that a negative list may name.

    Raises:
        UsageError: `bad_grade`.
    """
    grade, slash, category = text.strip().partition("/")
    if not _WORD.fullmatch(grade) or (slash and not _WORD.fullmatch(category)):
        raise UsageError(
            f"{text[:60]!r} is no grade",
            code="bad_grade",
            remedy="write GRADE or GRADE/CATEGORY in small letters, digits and hyphens",
        )
    return ColumnGrade(grade, category or None)


def _known(what: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        near = difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"there is no {what} {word[:40]!r}", code=f"bad_{what}", remedy=f"{hint}one of {', '.join(known) or 'none'}"
        )
