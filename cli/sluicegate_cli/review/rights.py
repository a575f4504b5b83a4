"""Rights that are gained or lost between two gate files, and limits of rules that change."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import Principals
from sluicegate.gate.rules import Hours, RuleLimits
from sluicegate_cli.review import words
from sluicegate_cli.review.boxes import POWERS, Box, BoxIndex, boxes, common, subtract
from sluicegate_cli.review.changes import Change, Effect, total

_IMPLIED: Final = {
    "fix forward with a less cautious strategy": {"fix forward", "deploy with a less cautious strategy"},
    "end a rollback": {"abort", "roll back"},
}
"""Powers that need no words beside those that they are made of."""

_BEGIN: Final = frozenset({"deploy", "promote"})
_PROPOSED: Final = frozenset({"deploy", "promote", "rollback", "abort", "reject"})
_WEEK: Final = 7 * 24 * 60


@dataclass(frozen=True)
class _Naming:
    issuers: Mapping[str, str]
    principals: Principals

    def who(self, box: Box) -> str:
        claims = {claim: [each.text for each in wanted] for claim, wanted in box.claims.items()}
        return words.callers(box.issuer, box.via, claims, issuers=self.issuers, principals=self.principals)


def changes(old: Gate, new: Gate) -> Iterator[Change]:
    """Yield gains, then losses, then limits."""
    before, after = BoxIndex(boxes(old)), BoxIndex(boxes(new))
    issuers = words.issuer_names(old, new)
    yield from _rights(after, before, "more", _Naming(issuers, new.principals))
    yield from _rights(before, after, "less", _Naming(issuers, old.principals))
    yield from _limits(before, after, _Naming(issuers, new.principals))


def _rights(having: BoxIndex, lacking: BoxIndex, effect: Effect, naming: _Naming) -> Iterator[Change]:
    known = {_content(box) for box in lacking}
    seen = BoxIndex(())
    for box in having:
        if _content(box) in known:
            continue
        # What an earlier rule has gained is said already.
        for part in subtract(box, (*lacking.near(box), *seen.near(box))):
            yield Change(effect, "right", _right(part, lacking, effect, naming), part.includes)
        seen.add(box)


def _content(box: Box) -> object:
    return box.issuer, box.via, frozenset(box.claims.items()), box.powers, box.functions, box.stages


def _right(part: Box, lacking: BoxIndex, effect: Effect, naming: _Naming) -> str:
    may = "may now" if effect == "more" else "may no longer"
    limited = f"; {'; '.join(words.limits(part.limits))}" if effect == "more" and part.limits else ""
    kept = sorted({other.rule for other in lacking.near(part) if common(part, other)})
    still = "could before" if effect == "more" else "still can"
    except_ = f", except those that {still} by {words.either(map(repr, kept))}" if kept else ""
    edited = ", ".join(_edited(part, lacking, effect))
    rule = f"rule {part.rule!r}{f': {edited}' if edited else ''}"
    return f"{naming.who(part)}, {may} {_grant(part)}{limited}{except_} ({rule})"


def _edited(part: Box, lacking: BoxIndex, effect: Effect) -> Iterator[str]:
    """Yield what changed about the claims of a rule that both files have."""
    namesake = next((box for box in lacking if box.rule == part.rule), None)
    if namesake is None:
        return
    before, after = (namesake, part) if effect == "more" else (part, namesake)
    for claim in dict(before.claims) | dict(after.claims):
        was, now = (
            words.either(each.text for each in box.claims[claim]) if claim in box.claims else "open"
            for box in (before, after)
        )
        if was != now:
            yield f"`{claim}` was {was}, is {now}"


def _grant(part: Box) -> str:
    stages = words.either(part.stages, "and")
    functions = words.either(map(_function, part.functions), "and")
    return f"{words.either(_powers(part.powers), 'and')} {functions} in {stages}"


def _powers(powers: Sequence[str]) -> list[str]:
    named = [power for power in powers if not _IMPLIED.get(power, {power, ""}) <= set(powers)]
    return [power for power in named if power != "read"] or list(powers)


def _function(each: Sequence[object]) -> str:
    return f"what matches {' and '.join(map(str, each))}" if len(each) > 1 else str(each[0])


def _limits(before: BoxIndex, after: BoxIndex, naming: _Naming) -> Iterator[Change]:
    """Yield changes of limits: of the first rule that grants a request, which is the one that decides."""
    if not any(box.limits for box in (*before, *after)):
        return
    found: dict[str, Change] = {}
    deciding = list(_deciding(after))
    now_deciding = BoxIndex(part for _, part in deciding)
    for was, one in _deciding(before):
        for now, two in (deciding[place] for place in now_deciding.numbers(one)):
            if one.limits == two.limits or not common(two, one):
                continue
            # Of these two, one decided before and the other decides now: nothing earlier has the request.
            ones, twos = subtract(one, after.near(one, now)), subtract(two, before.near(two, was))
            both = [part for a in ones for b in twos if (part := common(b, a))]
            for change in (change for part in both for change in _compared(part, one, two, naming)):
                found.setdefault(change.text, change)
    yield from found.values()


def _deciding(several: BoxIndex) -> Iterator[tuple[int, Box]]:
    """Yield the parts of boxes that no earlier one has, each with the number of its rule."""
    for number, box in enumerate(several):
        yield from ((number, part) for part in subtract(box, several.near(box, number)))


def _compared(both: Box, one: Box, two: Box, naming: _Naming) -> Iterator[Change]:
    """Yield what becomes of limits for the powers that they are about."""
    old, new = one.limits or RuleLimits(), two.limits or RuleLimits()
    for concerned, before, after in (
        (_BEGIN, replace(old, propose=False), replace(new, propose=False)),
        (_PROPOSED, RuleLimits(propose=old.propose), RuleLimits(propose=new.propose)),
    ):
        powers = tuple(power for power in both.powers if POWERS[power] & concerned)
        if before == after or not powers:
            continue
        part = replace(both, powers=powers)
        now, was = _differing(after, before), _differing(before, after)
        text = f"{naming.who(part)}, who may {_grant(part)}: {now} (before: {was}; rule {two.rule!r})"
        yield Change(_effect(before, after), "limit", text, part.includes)


def _differing(of: RuleLimits, other: RuleLimits) -> str:
    known = words.limits(other)
    return "; ".join(each for each in words.limits(of) if each not in known) or "no such limit"


def _effect(before: RuleLimits, after: RuleLimits) -> Effect:
    found: list[Effect] = []
    for name in ("per_hour", "per_day", "unapproved_percent"):
        was, now = (getattr(each, name) or float("inf") for each in (before, after))
        if was != now:
            found.append("more" if now > was else "less")
    if before.propose != after.propose:
        found.append("less" if after.propose else "more")
    if before.hours != after.hours:
        found.append(_hours(before.hours, after.hours))
    return total(found)


def _hours(before: Hours | None, after: Hours | None) -> Effect:
    """Compare minutes of the week, where both are of one zone."""
    if before is None or after is None:
        return "less" if before is None else "more"
    was, now = _minutes(before), _minutes(after)
    if before.zone != after.zone:
        return "both"
    return "less" if now <= was else "more" if was <= now else "both"


def _minutes(hours: Hours) -> frozenset[int]:
    from sluicegate.gate.hours import DAYS

    length = (hours.end - hours.start) % 1_440 or 1_440
    starts = (DAYS.index(day) * 1_440 + hours.start for day in hours.days)
    return frozenset((start + minute) % _WEEK for start in starts for minute in range(length))
