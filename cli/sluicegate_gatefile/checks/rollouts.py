"""Rollouts of stages, and those that entries of `functions` override."""

from dataclasses import dataclass

from sluicegate.gate.rollout_settings import Rollout
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.checks.grants import Grants, Rules
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.overrides import Rollouts
from sluicegate_gatefile.yaml_source import Path


@dataclass(frozen=True)
class MergedRollouts:
    """The rollouts of stages, and by entry of `functions` those of the stages that it overrides."""

    own: dict[str, Rollout]
    overriding: dict[str, dict[str, Rollout]]

    def of(self, pattern: str, stage: str) -> Rollout:
        """Return the rollout of an entry's functions in a stage."""
        return self.overriding[pattern].get(stage, self.own[stage])


def rollouts(context: CheckContext) -> MergedRollouts:
    """Check the rollout keys, and merge them."""
    keys = {name: stage.given() for name, stage in context.file.stages.items()}
    make = Rollouts(context.report, keys, context.own_functions)
    own = {name: make.of_stage(name, stage) for name, stage in keys.items()}
    requires = {name: rollout.requires for name, rollout in own.items()}
    make.circles(("stages",), requires, keys)
    found = MergedRollouts(own, {})
    for pattern, entry in context.file.functions.items():
        at: Path = ("functions", pattern, "stages")
        found.overriding[pattern] = overriding = {
            name: make.of_override((*at, name), name, keys[name], own[name], override.given())
            for name, override in entry.stages.items()
            if name in keys
        }
        changed = {name: rollout.requires for name, rollout in overriding.items()}
        make.circles(at, requires | changed, [name for name in changed if changed[name] != requires[name]])
    return found


def waiting_stages(context: CheckContext, merged: MergedRollouts) -> list[str]:
    """Return the stages where a function may need an approval."""
    return [
        stage
        for stage in context.file.stages
        if any(merged.of(pattern, stage).approval is not None for pattern in context.file.functions)
    ]


def check_rollbacks(context: CheckContext, merged: MergedRollouts, rules: Rules) -> None:
    """Warn of rules whose jobs need an approval to deploy, and none to go back to what was deployed."""
    waiting = {
        stage: sum(
            context.entries.bit(pattern)
            for pattern in context.file.functions
            if merged.of(pattern, stage).approval is not None
        )
        for stage in context.file.stages
    }
    for i, rule in enumerate(rules):
        if "rollback" not in rule["actions"] or not {"deploy", "promote"} & set(rule["actions"]):
            continue
        if rule["via"] == "session":  # a person decides, and the record names them
            continue
        reached = context.entries.reached_by(rule)
        asking = [
            stage for stage, entries in waiting.items() if stage in rule["stages"] and entries & reached
        ]
        if asking:
            what = (
                f"{listed(asking)} asks for an approval, and this rule's jobs can return to any version that"
                " succeeded there without one: grant `rollback` in a rule of its own"
            )
            context.warning("rollback", ("rules", i, "allow", "actions"), what)


def check_fixes(context: CheckContext, merged: MergedRollouts, rules: Rules) -> None:
    """Warn of rules whose `fix-forward` grants nothing: without `deploy`, or where no alarm is watched."""
    watched = {
        stage: sum(
            context.entries.bit(pattern)
            for pattern in context.file.functions
            if (watch := merged.of(pattern, stage).watch) is not None and watch.alarms
        )
        for stage in context.file.stages
    }
    for i, rule in enumerate(rules):
        if "fix-forward" not in rule["actions"]:
            continue
        at: Path = ("rules", i, "allow", "actions", rule["actions"].index("fix-forward"))
        if "deploy" not in rule["actions"]:
            what = "`fix-forward` is for a deploy, and grants of several rules never add up: add `deploy`"
            context.warning("fix_forward", at, what)
        elif not any(watched.get(stage, 0) & context.entries.reached_by(rule) for stage in rule["stages"]):
            what = "no stage of this rule watches an alarm of its functions: there is nothing to overlook"
            context.warning("fix_forward", at, what)


def check_approvers(context: CheckContext, merged: MergedRollouts, grants: Grants, rules: Rules) -> None:
    """Warn where what may be asked for waits for an approval that nobody may give."""
    waiting = _waiting_by_limits(context, rules)
    for pattern, entry in context.file.functions.items():
        on_entry = set(grants.on(pattern))
        for stage, section in context.file.stages.items():
            granted = {action for where, action in on_entry if where == stage}
            proposed = bool(context.file.agents) and section.agents is not None and section.agents.propose
            limiting = [i for i, reached in waiting[stage] if reached & context.entries.bit(pattern)]
            if "approve" in granted:
                continue
            if merged.of(pattern, stage).approval is not None and {"deploy", "promote"} & granted:
                override = entry.stages.get(stage)
                overridden = override is not None and override.approval is not None
                where: Path = ("functions", pattern, "stages", stage) if overridden else ("stages", stage)
                at: Path = (*where, "approval")
            elif proposed and {"deploy", "promote", "rollback"} & granted:
                at = ("stages", stage, "agents", "propose")
            elif limiting:
                at = ("rules", limiting[0], "limits")
            else:
                continue
            what = f"nobody can approve `{pattern}` in `{stage}`: no rule grants `approve` there"
            context.warning("approval", at, what)


def _waiting_by_limits(context: CheckContext, rules: Rules) -> dict[str, list[tuple[int, int]]]:
    """Return, by stage, the rules whose limits make a request wait, and the entries they reach."""
    found: dict[str, list[tuple[int, int]]] = {stage: [] for stage in context.file.stages}
    for i, rule in enumerate(rules):
        limits = rule["limits"] or {"propose": False, "unapproved_percent": None}
        waits = {"deploy", "promote"} | ({"rollback"} if limits["propose"] else set())
        if (limits["propose"] or limits["unapproved_percent"] is not None) and waits & {*rule["actions"]}:
            reached = context.entries.reached_by(rule)
            for stage in rule["stages"]:
                found[stage].append((i, reached))
    return found
