"""Decide all recorded requests again by another gate file, and say what would be otherwise."""

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sluicegate.gate.policy import Gate
from sluicegate.gate.rules import Rule
from sluicegate_cli.audit.lines import LONGEST, NotEvidence
from sluicegate_cli.review.recorded import NEVER_KEPT, RecordedRequest, Redecider, Redecision

ReplayOutcome = Literal["refused", "allowed", "approval", "no_approval", "rule"]

DECISIVE: Final[frozenset[ReplayOutcome]] = frozenset({"refused", "allowed", "approval", "no_approval"})
"""Outcomes by which a request would end otherwise; another rule alone is none."""

_BY_GATE: Final = frozenset({"not_allowed", "invalid_token"})
"""Codes of refusals that a gate file decides alone."""

_BY_PERSON: Final = frozenset({"approve", "reject"})
"""Actions whose caller is compared with others, which the gate file does not decide alone."""

_WINDOWS: Final = (("per_hour", 3_600, "an hour"), ("per_day", 86_400, "a day"))


@dataclass(frozen=True)
class Changed:
    """A request that would be decided otherwise. `reason` says why it would be refused."""

    outcome: ReplayOutcome
    line: Mapping[str, Any]
    rule: str | None
    reason: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        shown = ("time", "kind", "deployment", "function", "stage", "actions", "via", "by", "code")
        return {
            "outcome": self.outcome,
            "rule_before": self.line.get("rule"),
            "rule_now": self.rule,
            "reason": self.reason or None,
            **{name: self.line.get(name) for name in shown},
        }


@dataclass
class Replayed:
    """What came out. `unknown` counts requests by the claims on which they depend.

    `other` are refusals that no gate file decides alone, such as `busy`; `omitted` entries that a filter left
    out of the file; `unread` lines that have too little to decide by.
    """

    decided: int = 0
    changed: list[Changed] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    other: int = 0
    omitted: int = 0
    unread: int = 0

    @property
    def ends_otherwise(self) -> bool:
        """Whether a request would be refused, allowed, or held up otherwise."""
        return any(one.outcome in DECISIVE for one in self.changed)


def read(export: Iterable[str | bytes]) -> Iterator[Mapping[str, Any] | None]:
    """Yield the lines of an export's entries, None for one that a filter left out. Raises NotEvidence.

    It checks no hash and no signature: `audit.verification` does.
    """
    ended = False
    for number, text in enumerate(export, 1):
        try:
            if len(text) > LONGEST:
                raise ValueError
            value = json.loads(text)
            if number == 1 and value["evidence"] != 1:
                raise ValueError
            ended = "end" in value
            if number > 1 and "seq" in value:
                yield dict(value["line"]) if "line" in value else None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise NotEvidence(f"line {number} is not one of an export") from None
    if not ended:
        raise NotEvidence("it has no end, or was cut")


def replay(gate: Gate, lines: Iterable[Mapping[str, Any] | None]) -> Replayed:
    """Decide each recorded request again."""
    found, taken, redecider = Replayed(), _Taken(), Redecider(gate)
    for line in lines:
        if line is None:
            found.omitted += 1
        elif line.get("cut"):
            found.unread += 1
        elif request := _request(gate, line):
            try:
                _compare(redecider, request, found, taken)
            except (ValueError, KeyError, TypeError, AttributeError):
                found.unread += 1
    return found


def skipped_denials(gate: Gate) -> int:
    """Return how many entries of `deny` read what no line has."""
    return sum(any(claim in NEVER_KEPT for claim, _ in entry.claims) for entry in gate.deny)


def _request(gate: Gate, line: Mapping[str, Any]) -> RecordedRequest | None:
    return RecordedRequest.of(line, gate.principals) if line.get("kind") in _KINDS else None


_KINDS: Final = frozenset({"accepted", "decided", "held", "released", "refused"})


def _compare(redecider: Redecider, request: RecordedRequest, found: Replayed, taken: "_Taken") -> None:
    refused = request.line["kind"] == "refused"
    if refused and request.line.get("code") not in _BY_GATE:
        found.other += 1
        return
    now = redecider.decide(request)
    if now.allowed and request.line["kind"] == "accepted" and (reason := taken.exceeds(request, now.rules)):
        now = Redecision(False, now.rules, reason)
    found.decided += 1
    if now.allowed is None:
        found.unknown[", ".join(now.unknown)] += 1
    elif refused and now.allowed:
        if _BY_PERSON & set(request.actions):
            found.unknown["who asked, and who approves"] += 1
        else:
            found.changed.append(Changed("allowed", request.line, now.rules[0].name))
    elif not refused:
        found.changed += _of_granted(request, now, found)


def _of_granted(request: RecordedRequest, now: Redecision, found: Replayed) -> Iterator[Changed]:
    """Yield what would be otherwise about a request that was granted."""
    line = request.line
    if not now.allowed:
        yield Changed("refused", line, None, now.reason)
        return
    names = [rule.name for rule in now.rules]
    if line.get("rule") not in names:
        yield Changed("rule", line, names[0])
    if line["kind"] != "accepted":
        return
    before = bool(line.get("plan", {}).get("approval"))
    if now.approval is None:
        found.unknown["which rule decides, and whether it asks for an approval"] += 1
    elif now.approval != before:
        yield Changed("approval" if now.approval else "no_approval", line, names[0])


class _Taken:
    """Deployments that rules with numbers would have begun: of each rule and owner, when."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def exceeds(self, request: RecordedRequest, rules: tuple[Rule, ...]) -> str:
        """Say which number a deployment would exceed; else count it. Rollbacks count nothing."""
        rule = rules[0]
        if len(rules) > 1 or rule.limits is None or "rollback" in request.actions:
            return ""
        owner = json.dumps(request.line.get("owner"), sort_keys=True)
        times, now = self._times[rule.name, owner], request.time
        while times and now - times[0] >= _WINDOWS[-1][1]:
            times.popleft()
        for name, window, text in _WINDOWS:
            most = getattr(rule.limits, name)
            if most is not None and sum(now - time < window for time in times) >= most:
                return f"rule {rule.name!r} allows {most} in {text}"
        times.append(now)
        return ""
