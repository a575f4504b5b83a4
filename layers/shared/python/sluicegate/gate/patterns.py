"""Patterns of the gate file: `*` is any run of characters but `/`, `**` any run, all else literal.

The whole value must match, newlines included. A match takes time linear in the value's length: all the places
where it could stand are the bits of one integer, which each character moves at once (Baeza-Yates and Gonnet's
shift-and), so that there is nothing to go back to. No regular expression is made from what a user wrote.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
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
    """Whether some value matches both, read without folding. For checking gate files, not for requests."""
    a, b = _program(one.text), _program(other.text)
    seen = {(0, 0)}
    ahead = deque(seen)
    while ahead:
        i, j = ahead.popleft()
        if i == len(a.literals) and j == len(b.literals):
            return True
        for step in _steps_together(a, i, b, j):
            if step not in seen:
                seen.add(step)
                ahead.append(step)
    return False


def _steps_together(a: "_Program", i: int, b: "_Program", j: int) -> Iterator[tuple[int, int]]:
    """Where two patterns can stand after one more character. Two wildcards at once get neither of them on."""
    next_a, next_b = a.literals[i : i + 1], b.literals[j : j + 1]
    if next_a == next_b:  # not both at the end, where there is nothing more to ask
        yield i + 1, j + 1
    if next_a and b.stays(j, next_a):
        yield i + 1, j
    if next_b and a.stays(i, next_b):
        yield i, j + 1


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

    def stays(self, place: int, character: str) -> bool:
        """Whether a wildcard at this place takes the character."""
        runs = self.any_run if character == "/" else self.any_run | self.segment_run
        return bool(runs >> place & 1)


@lru_cache(maxsize=4096)
def _program(text: str) -> _Program:
    literals: list[str] = []
    moves: dict[str, int] = {}
    any_run = segment_run = 0
    for part in re.findall(r"\*\*|.", text, re.DOTALL):
        place = 1 << len(literals)
        if part == "**":
            any_run |= place
        elif part == "*":
            segment_run |= place
        else:
            moves[part] = moves.get(part, 0) | place
            literals.append(part)
    return _Program("".join(literals), moves, any_run, segment_run)
