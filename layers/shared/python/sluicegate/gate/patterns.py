"""Patterns of the gate file: `*` is any run of characters but `/`, `**` any run, all else literal.

The whole value must match, newlines included. A match takes time linear in the value's length: all the places
where it could stand are the bits of one integer, which each character moves at once (Baeza-Yates and Gonnet's
shift-and), so that there is nothing to go back to. No regular expression is made from what a user wrote.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase

MAX_LENGTH = 256
MAX_WILDCARDS = 8

# A-Z only: str.lower() also turns other characters (the Kelvin sign) into ASCII letters.
_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)


class PatternError(ValueError):
    """Not a pattern; the message says why."""


@dataclass(frozen=True)
class Pattern:
    """One pattern. `fold` ignores the case of A-Z. Made by `compile`, which checks it."""

    text: str
    fold: bool

    def __str__(self) -> str:
        return self.text

    @property
    def exact(self) -> bool:
        """Whether it matches one value only (but for the case of letters where `fold` is set)."""
        return "*" not in self.text

    def matches(self, value: str) -> bool:
        """Whether the whole value matches."""
        text = self.text
        if self.fold:
            text, value = text.translate(_FOLD), value.translate(_FOLD)
        return text == value if self.exact else _program(text).run(value)


def compile(pattern: str, *, fold: bool = False) -> Pattern:
    """Checks a pattern's form; raises PatternError. What matching needs is made when it is first asked."""
    if len(pattern) > MAX_LENGTH:
        raise PatternError(f"is longer than {MAX_LENGTH} characters")
    if "***" in pattern:
        raise PatternError("has three stars in a row; `*` is any run but `/`, `**` any run")
    if pattern.replace("**", "*").count("*") > MAX_WILDCARDS:
        raise PatternError(f"has more than {MAX_WILDCARDS} wildcards")
    return Pattern(pattern, fold)


def overlap(one: Pattern, other: Pattern) -> bool:
    """Whether some value matches both, read without folding.

    All the places where `other` could stand are the bits of one integer, as in a match: it takes time linear
    in the length of `one`.
    """
    if not may_begin_alike(one, other):
        return False
    a, b = _program(one.text), _program(other.text)
    places = b.past_wildcards(1, a, 0)
    for i, character in enumerate(a.literals):
        places = (places & b.moves.get(character, 0)) << 1 | places & b.runs(character)
        places = b.past_wildcards(places, a, i + 1)
        if not places:
            return False
    return bool(places >> len(b.literals))


def covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether all that `narrow` matches, `wide` matches too. Both fold, or neither does.

    Every True is right. A False may be wrong for patterns that take each other's characters in another way:
    nothing in a gate file is allowed by it.
    """
    texts = (wide.text, narrow.text)
    wide_text, narrow_text = (text.translate(_FOLD) if wide.fold else text for text in texts)
    if wide.exact:
        return wide_text == narrow_text
    program = _program(wide_text)
    places = 1
    for part in _parts(narrow_text):
        if part == "**":
            places &= program.any_run
        elif part == "*":
            places &= program.any_run | program.segment_run
        else:
            places = (places & program.moves.get(part, 0)) << 1 | places & program.runs(part)
        if not places:
            return False
    return bool(places >> len(program.literals))


def may_begin_alike(one: Pattern, other: Pattern) -> bool:
    """Whether what is before the first wildcard of one begins with what is before that of the other."""
    a, b = one.text.partition("*")[0], other.text.partition("*")[0]
    return a.startswith(b) or b.startswith(a)


@dataclass(frozen=True)
class _Program:
    """A pattern as sets of places. Place i is before literal character i; the last one is past them all."""

    literals: str
    moves: Mapping[str, int]  # character: the places which that character leads on from
    any_run: int  # places at which `**` stands
    segment_run: int  # places at which `*` stands

    def run(self, value: str) -> bool:
        anything = self.any_run | self.segment_run
        moves, any_run = self.moves, self.any_run
        places = 1
        for character in value:
            stay = places & (any_run if character == "/" else anything)
            places = (places & moves.get(character, 0)) << 1 | stay
            if not places:
                return False
        return bool(places >> len(self.literals))

    def runs(self, character: str) -> int:
        """The places at which a wildcard takes the character."""
        return self.any_run if character == "/" else self.any_run | self.segment_run

    def past_wildcards(self, places: int, other: "_Program", place: int) -> int:
        """Where this can stand besides once a wildcard at a place of the other pattern took what it likes."""
        if other.any_run >> place & 1:
            return places and (2 << len(self.literals)) - (places & -places)
        if other.segment_run >> place & 1:
            # Adding carries from each place through the literals that are no `/`, to the place after them.
            open_ = ((1 << len(self.literals)) - 1) & ~self.moves.get("/", 0)
            return places | ((places & open_) + open_) ^ open_
        return places


def _parts(text: str) -> list[str]:
    return re.findall(r"\*\*|.", text, re.DOTALL)


@lru_cache(maxsize=4096)
def _program(text: str) -> _Program:
    literals: list[str] = []
    moves: dict[str, int] = {}
    any_run = segment_run = 0
    for part in _parts(text):
        place = 1 << len(literals)
        if part == "**":
            any_run |= place
        elif part == "*":
            segment_run |= place
        else:
            moves[part] = moves.get(part, 0) | place
            literals.append(part)
    return _Program("".join(literals), moves, any_run, segment_run)
