"""`limits` of rules, and what stages demand of agents."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.gate import patterns
from sluicegate.gate.principals import NEVER_AGENTS
from sluicegate.gate.rules import ACTIONS, FOLDED
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.checks.grants import Rules
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.schema.rules import LimitsSection, RuleSection
from sluicegate_gatefile.schema.stages import StageAgentsSection
from sluicegate_gatefile.yaml_source import Path

_DECIDING: Final = {"approve", "hold"}
"""What takes effect at once: `propose` stops neither."""


def limits(context: CheckContext, at: Path, rule: RuleSection) -> dict[str, Any] | None:
    """Check a rule's limits; returns gate.json's."""
    section = rule.limits
    if section is None:
        return None
    hours = None
    if section.hours is not None:
        # A window that ends at midnight ends with its day.
        start, end = _minutes(section.hours.from_), _minutes(section.hours.to) or 24 * 60
        days = list(dict.fromkeys(section.hours.days))
        hours = {"zone": section.hours.zone, "days": days, "start": start, "end": end}
        if start in (end, 24 * 60):
            what = 'the window is empty: for all of the day, write from "00:00" to "24:00"'
            context.error("hours", (*at, "hours", "to"), what)
    found = {
        "per_hour": section.per_hour,
        "per_day": section.per_day,
        "unapproved_percent": section.unapproved_percent,
        "hours": hours,
        "propose": section.propose,
    }
    if not any(found.values()):
        context.error("limits", at, "this limits nothing: remove it, or give a limit")
    _check_use(context, at, rule, section)
    return found


def _check_use(context: CheckContext, at: Path, rule: RuleSection, section: LimitsSection) -> None:
    """Warn of limits that change nothing about what the rule grants."""
    actions = set(rule.allow.actions)
    begins = actions & {"deploy", "promote"}
    numbers = ("per_hour", "per_day", "unapproved_percent", "hours")
    if not begins:
        for key in numbers:
            if getattr(section, key) is not None:
                what = "limits `deploy` and `promote`, and the rule grants neither"
                context.warning("limits", (*at, key), what)
    if section.propose and not actions & {"deploy", "promote", "rollback", "abort"}:
        context.warning("limits", (*at, "propose"), "the rule grants nothing that can be proposed")
    if section.per_hour and section.per_day and section.per_day <= section.per_hour:
        what = f"`per_day` allows {section.per_day}, so `per_hour` limits nothing"
        context.warning("limits", (*at, "per_hour"), what)
    if section.propose and section.unapproved_percent is not None:
        what = "with `propose`, no traffic moves without an approval"
        context.warning("limits", (*at, "unapproved_percent"), what)


def check_proposers(context: CheckContext, rules: Rules) -> None:
    """Warn where one identity may only propose by one rule, and decide by another."""
    deciding = [rule for rule in rules if _DECIDING & set(rule["actions"])]
    for i, rule in enumerate(rules):
        if not (rule["limits"] and rule["limits"]["propose"]):
            continue
        for other in deciding:
            if other is not rule and _may_meet(context, rule, other):
                granted = listed([action for action in other["actions"] if action in _DECIDING])
                what = f"the rule `{other['name']}` grants {granted} at once to some whose requests wait here"
                advice = "let the claims of one rule exclude those of the other"
                context.warning("propose", ("rules", i, "limits", "propose"), f"{what}: {advice}")


def check_order(context: CheckContext, rules: Rules) -> None:
    """Warn of limits that an earlier rule without any lets the same callers pass."""
    for i, rule in enumerate(rules):
        if not rule["limits"]:
            continue
        limited = {"deploy", "promote"} | ({"rollback", "abort"} if rule["limits"]["propose"] else set())
        for earlier in rules[:i]:
            stages = [stage for stage in rule["stages"] if stage in earlier["stages"]]
            actions = [action for action in rule["actions"] if action in limited & {*earlier["actions"]}]
            if stages and actions and not earlier["limits"] and _covers(context, earlier, rule):
                what = f"the rule `{earlier['name']}` comes first and limits nothing"
                granted = f"it grants {listed(actions)}"
                advice = f"in {listed(stages)} to all that this one matches: put this one before it"
                context.warning("limits", ("rules", i, "limits"), f"{what}: {granted} {advice}")
                break


def _covers(context: CheckContext, wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Return whether each caller that `narrow` matches is one of `wide` too, for a function of both."""
    return (
        (wide["issuer"], wide["via"]) == (narrow["issuer"], narrow["via"])
        and all(
            claim in narrow["claims"] and set(narrow["claims"][claim]) <= set(values)
            for claim, values in wide["claims"].items()
        )
        and bool(context.entries.reached_by(wide) & context.entries.reached_by(narrow))
    )


def _may_meet(context: CheckContext, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether one identity could match both rules, for one function in one stage."""
    return (
        (one["issuer"], one["via"]) == (other["issuer"], other["via"])
        and not set(one["stages"]).isdisjoint(other["stages"])
        and all(
            _overlap(claim, one["claims"][claim], other["claims"][claim])
            for claim in one["claims"].keys() & other["claims"].keys()
        )
        and bool(context.entries.reached_by(one) & context.entries.reached_by(other))
    )


def _overlap(claim: str, some: Sequence[str], others: Sequence[str]) -> bool:
    if claim == "groups_direct":  # a list: one element may match one rule, another the other
        return True
    if claim in FOLDED:
        some, others = [text.lower() for text in some], [text.lower() for text in others]
    compiled = [patterns.compile(text) for text in others]
    return any(patterns.overlap(patterns.compile(text), other) for text in some for other in compiled)


def agents(context: CheckContext, stage: str, section: StageAgentsSection | None) -> dict[str, Any] | None:
    """Check what a stage demands of agents; returns gate.json's."""
    if section is None:
        return None
    at: Path = ("stages", stage, "agents")
    for i, action in enumerate(section.actions or ()):
        if action in NEVER_AGENTS:
            what = f"no agent may {action}: {listed(NEVER_AGENTS)} are for people and their pipelines"
            context.error("agents", (*at, "actions", i), what)
    if not context.file.agents:
        context.warning("agents", at, "the file lists no `agents`")
    actions = section.actions
    if actions is None:
        actions = [action for action in ACTIONS if action not in NEVER_AGENTS]
    return {"actions": list(actions), "propose": section.propose}


def _minutes(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)
