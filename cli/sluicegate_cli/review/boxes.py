"""What rules grant, as sets that can be subtracted from one another: callers, powers, functions and stages.

A power is what one request asks for: one action, or several that one rule must grant together. A difference
is never too small. It is too large where patterns overlap and neither covers the other.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, TypeVar

from sluicegate.gate import patterns
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.policy import Gate
from sluicegate.gate.rules import PINS_OF, Rule, RuleLimits, values
from sluicegate.oidc.claims import LISTS
from sluicegate.oidc.identity import Identity, Via

_STRATEGY: Final = "override-strategy"

POWERS: Final[Mapping[str, frozenset[str]]] = {
    "deploy": frozenset({"deploy"}),
    "deploy with a less cautious strategy": frozenset({"deploy", _STRATEGY}),
    "fix forward": frozenset({"deploy", "fix-forward"}),
    "fix forward with a less cautious strategy": frozenset({"deploy", "fix-forward", _STRATEGY}),
    "promote": frozenset({"promote"}),
    "promote with a less cautious strategy": frozenset({"promote", _STRATEGY}),
    "roll back": frozenset({"rollback"}),
    "approve": frozenset({"approve"}),
    "reject": frozenset({"reject"}),
    "abort": frozenset({"abort"}),
    "end a rollback": frozenset({"abort", "rollback"}),
    "hold": frozenset({"hold"}),
    "end sessions": frozenset({"end-sessions"}),
    "read": frozenset({"read"}),
}
"""All that a request can ask for, and the actions that one rule must grant for it.

security.md#what-an-action-includes
"""

_T = TypeVar("_T", bound=Hashable)

Conjunction = tuple[Pattern, ...]
"""Functions that match each of these: what a rule names, and what `functions` has."""


@dataclass(frozen=True)
class Box:
    """Callers of an issuer (its URL) that come in `via` a way with such claims, and what they may do.

    A claim has any of its patterns; a function matches any of the conjunctions.
    """

    rule: str
    issuer: str
    via: Via
    claims: Mapping[str, tuple[Pattern, ...]]
    powers: tuple[str, ...]
    functions: tuple[Conjunction, ...]
    stages: tuple[str, ...]
    limits: RuleLimits | None

    def includes(self, identity: Identity, actions: Iterable[str], function: str, stage: str) -> bool:
        """Return whether it has a request."""
        return (
            (identity.issuer, identity.via) == (self.issuer, self.via)
            and stage in self.stages
            and any(POWERS[power] == frozenset(actions) for power in self.powers)
            and any(all(pattern.matches(function) for pattern in each) for each in self.functions)
            and all(
                any(pattern.matches(value) for value in values(identity, claim) for pattern in wanted)
                for claim, wanted in self.claims.items()
            )
        )


def boxes(gate: Gate) -> list[Box]:
    """Return what each rule grants on functions that can be deployed, in the file's order."""
    return [box for rule in gate.rules if (box := _box(gate, rule)).functions]


def _box(gate: Gate, rule: Rule) -> Box:
    return Box(
        rule=rule.name,
        issuer=rule.issuer,
        via=rule.via,
        claims={claim: _widest(wanted, patterns.covers) for claim, wanted in rule.claims},
        powers=tuple(
            name for name, actions in POWERS.items() if actions <= rule.actions or actions == {"read"}
        ),
        functions=_widest(_conjunctions(gate, rule), _covers_all),
        stages=rule.stages,
        limits=rule.limits,
    )


def _conjunctions(gate: Gate, rule: Rule) -> Iterator[Conjunction]:
    for own, entry in product(rule.functions, gate.functions):
        if not patterns.overlap(own, entry.pattern):
            continue
        if patterns.covers(entry.pattern, own):
            yield (own,)
        elif patterns.covers(own, entry.pattern):
            yield (entry.pattern,)
        else:
            yield (own, entry.pattern)


class BoxIndex:
    """Boxes in the file's order, found by what they pin: most have nothing in common with a given one."""

    def __init__(self, several: Iterable[Box]) -> None:
        self._boxes: list[Box] = []
        self._by_pin: dict[_Pin, list[int]] = {}
        for box in several:
            self.add(box)

    def __iter__(self) -> Iterator[Box]:
        return iter(self._boxes)

    def add(self, box: Box) -> None:
        """Add one at the end."""
        for pin in _pins(box):
            self._by_pin.setdefault(pin, []).append(len(self._boxes))
        self._boxes.append(box)

    def near(self, box: Box, before: int | None = None) -> list[Box]:
        """Return those, of the first `before`, that may have something in common with the box."""
        return [self._boxes[number] for number in self.numbers(box, before)]

    def numbers(self, box: Box, before: int | None = None) -> list[int]:
        """Return the places of those that `near` returns."""
        wanted = _pins(box)
        claim = wanted[0][2]
        other = [pin for pin in self._by_pin if pin[:2] == wanted[0][:2] and pin[2] != claim] if claim else []
        pins = [*wanted, *other] if claim else [pin for pin in self._by_pin if pin[:2] == wanted[0][:2]]
        found = sorted({number for pin in pins for number in self._by_pin.get(pin, ())})
        return found if before is None else [number for number in found if number < before]


_Pin = tuple[str, str, str, str]
"""Issuer, way in, claim and value; no claim where it pins none that has one value only."""


def _pins(box: Box) -> list[_Pin]:
    for claim in PINS_OF[box.via]:
        wanted = box.claims.get(claim, ())
        if wanted and claim not in LISTS and all(pattern.exact for pattern in wanted):
            return [(box.issuer, box.via, claim, pattern.text) for pattern in wanted]
    return [(box.issuer, box.via, "", "")]


def subtract(box: Box, others: Iterable[Box]) -> list[Box]:
    """Return what of the box none of the others has."""
    left = [box]
    for other in others:
        if not left:
            break
        if (other.issuer, other.via) == (box.issuer, box.via):
            left = [part for each in left for part in _without(each, other)]
    return left


def _without(box: Box, other: Box) -> Iterator[Box]:
    """Yield the parts of a box that the other one has not."""
    if not other.claims.keys() <= box.claims.keys():
        yield box
        return
    inside = _inside(box, other)
    if inside is None:
        yield box
        return
    rest = box
    if stages := tuple(each for each in rest.stages if each not in inside.stages):
        yield replace(rest, stages=stages)
    rest = replace(rest, stages=inside.stages)
    if functions := tuple(each for each in rest.functions if each not in inside.functions):
        yield replace(rest, functions=functions)
    rest = replace(rest, functions=inside.functions)
    if powers := tuple(each for each in rest.powers if each not in inside.powers):
        yield replace(rest, powers=powers)
    rest = replace(rest, powers=inside.powers)
    for claim, kept in inside.claims.items():
        if outside := tuple(each for each in rest.claims[claim] if each not in kept):
            yield replace(rest, claims={**rest.claims, claim: outside})
        rest = replace(rest, claims={**rest.claims, claim: kept})


def _inside(box: Box, other: Box) -> Box | None:
    """Return the part of a box that the other one surely has; None for none."""
    claims = dict(box.claims)
    for claim, wide in other.claims.items():
        claims[claim] = _covered(box.claims[claim], wide, patterns.covers)
        if not claims[claim]:
            return None
    found = replace(
        box,
        claims=claims,
        stages=tuple(stage for stage in box.stages if stage in other.stages),
        powers=tuple(power for power in box.powers if power in other.powers),
        functions=_covered(box.functions, other.functions, _covers_all),
    )
    return found if found.stages and found.powers and found.functions else None


def common(box: Box, other: Box) -> Box | None:
    """Return a box with all that both have; None if nothing is in both. It may be too large."""
    if (other.issuer, other.via) != (box.issuer, box.via):
        return None
    claims = {**other.claims, **box.claims}
    for claim in box.claims.keys() & other.claims.keys():
        if claim in LISTS:  # one element may match one rule, another the other
            continue
        claims[claim] = tuple(
            dict.fromkeys(
                one if patterns.covers(two, one) else two if patterns.covers(one, two) else one
                for one, two in product(box.claims[claim], other.claims[claim])
                if patterns.overlap(*_folded(one, two))
            )
        )
        if not claims[claim]:
            return None
    functions = tuple(
        one if _covers_all(two, one) else two if _covers_all(one, two) else one + two
        for one, two in product(box.functions, other.functions)
        if all(patterns.overlap(a, b) for a, b in product(one, two))
    )
    stages = tuple(stage for stage in box.stages if stage in other.stages)
    powers = tuple(power for power in box.powers if power in other.powers)
    if not (functions and stages and powers):
        return None
    return replace(
        box,
        claims=claims,
        powers=powers,
        functions=_widest(functions, _covers_all),
        stages=stages,
    )


def _folded(*several: Pattern) -> list[Pattern]:
    """Return patterns whose texts are folded where they fold: `overlap` reads them as they are."""
    return [Pattern(one.text.lower(), fold=True) if one.fold else one for one in several]


def _covers_all(wide: Conjunction, narrow: Conjunction) -> bool:
    return all(any(patterns.covers(each, one) for one in narrow) for each in wide)


def _covered(narrow: Iterable[_T], wide: Iterable[_T], covers: Callable[[_T, _T], bool]) -> tuple[_T, ...]:
    known = frozenset(wide)
    return tuple(one for one in narrow if one in known or any(covers(each, one) for each in known))


def _widest(several: Iterable[_T], covers: Callable[[_T, _T], bool]) -> tuple[_T, ...]:
    """Leave out what another one covers."""
    found: list[_T] = []
    for one in dict.fromkeys(several):
        if not any(covers(other, one) for other in found):
            found = [*(other for other in found if not covers(one, other)), one]
    return tuple(found)
