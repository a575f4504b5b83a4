"""What changes about stages between two gate files: settings, agents, and how a deployment proceeds there."""

from collections.abc import Iterator, Mapping, Sequence

from sluicegate.deployment.durations import duration
from sluicegate.deployment.plan import Watch
from sluicegate.deployment.strategy import is_at_least_as_cautious
from sluicegate.gate import patterns
from sluicegate.gate.model import FunctionEntry, Stage, StageAgents
from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import NEVER_AGENTS
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gate.rules import ACTIONS
from sluicegate.oidc.identity import Identity
from sluicegate_cli.review import settings, words
from sluicegate_cli.review.changes import About, Change, Effect


def changes(old: Gate, new: Gate) -> Iterator[Change]:
    """Yield what changes in each stage."""
    for name in old.stages.keys() - new.stages.keys():
        yield Change("less", "stage", f"the stage {name} is gone")
    for name, stage in new.stages.items():
        before = old.stages.get(name)
        if before is None:
            yield Change("neither", "stage", f"the stage {name} is new: {_described(stage.rollout)}")
            continue
        if before.protected != stage.protected:
            effect: Effect = "less" if stage.protected else "more"
            what = "from now on: its rules must" if stage.protected else "no longer: its rules need not"
            yield Change(effect, "stage", f"{name} is protected {what} pin a project and a protected ref")
        yield from _stage_agents(before, stage, _in_stage(name))
        yield from _placements(old, new, before, stage)
        yield from _new_entries(old, new, stage)


def _in_stage(name: str) -> About:
    return lambda _identity, _actions, _function, stage: stage == name


def _described(rollout: Rollout) -> str:
    parts = [f"traffic moves {settings.strategy(rollout.steps)}"]
    if rollout.approval:
        parts.append(f"a second person must approve within {duration(rollout.approval)}")
    else:
        parts.append("no second person has to approve")
    parts += [f"an artifact must have succeeded in {rollout.requires} first"] if rollout.requires else []
    return ", ".join(parts)


def _placements(old: Gate, new: Gate, before: Stage, after: Stage) -> Iterator[Change]:
    """Yield what changes for functions by the entries that count for them in the two files."""
    found: dict[tuple[Effect, str], list[tuple[FunctionEntry, FunctionEntry]]] = {}
    for one, two in _pairs(old.functions, new.functions):
        for effect, text in _settings(one, two, before, after):
            found.setdefault((effect, text), []).append((one, two))
    for (effect, text), pairs in found.items():
        names = [_narrower(one, two) for one, two in pairs]
        functions = words.either(dict.fromkeys(names), "and")
        about = _of_pairs(after.name, pairs)
        yield Change(effect, "stage", f"{after.name}, {functions}: {text}", about)


def _new_entries(old: Gate, new: Gate, stage: Stage) -> Iterator[Change]:
    """Yield how the functions of new entries proceed, where that is not as the stage says."""
    for entry in new.functions:
        known = any(patterns.overlap(entry.pattern, each.pattern) for each in old.functions)
        if not known and stage.name in entry.rollout:
            text = f"{stage.name}, {entry.pattern.text}, new: {_described(entry.rollout[stage.name])}"
            yield Change("neither", "stage", text)


def _of_pairs(stage: str, pairs: Sequence[tuple[FunctionEntry, FunctionEntry]]) -> About:
    def about(_identity: Identity, _actions: object, function: str, where: str) -> bool:
        return where == stage and any(
            one.pattern.matches(function) and two.pattern.matches(function) for one, two in pairs
        )

    return about


def _narrower(one: FunctionEntry, two: FunctionEntry) -> str:
    if one.pattern == two.pattern or patterns.covers(two.pattern, one.pattern):
        return one.pattern.text
    if patterns.covers(one.pattern, two.pattern):
        return two.pattern.text
    return f"what matches {one.pattern} and {two.pattern}"


def _pairs(
    old: Sequence[FunctionEntry], new: Sequence[FunctionEntry]
) -> Iterator[tuple[FunctionEntry, FunctionEntry]]:
    """Yield entries of both files that count for a function in common."""
    exact_old = {entry.pattern.text: entry for entry in old if entry.pattern.exact}
    exact_new = {entry.pattern.text: entry for entry in new if entry.pattern.exact}
    for one in old:
        for two in new:
            if not patterns.overlap(one.pattern, two.pattern):
                continue
            if _is_better_known(one, two, exact_old, old) or _is_better_known(two, one, exact_new, new):
                continue
            yield one, two


def _is_better_known(
    entry: FunctionEntry,
    other: FunctionEntry,
    exact: Mapping[str, FunctionEntry],
    entries: Sequence[FunctionEntry],
) -> bool:
    """Return whether another entry of its file counts for all functions that both match."""
    if entry.pattern.exact:
        return False
    if other.pattern.exact and other.pattern.text in exact:
        return True
    rank = len(entry.pattern.text)
    return any(
        not each.pattern.exact
        and len(each.pattern.text) > rank
        and patterns.covers(each.pattern, other.pattern)
        for each in entries
    )


def _settings(
    one: FunctionEntry, two: FunctionEntry, before: Stage, after: Stage
) -> Iterator[tuple[Effect, str]]:
    """Yield what changes in a stage for functions of one entry before, and of the other now."""
    was, now = one.rollout_in(before), two.rollout_in(after)
    name = after.name
    alias = one.alias.get(name, before.alias), two.alias.get(name, after.alias)
    if alias[0] != alias[1]:
        yield "both", f"deployments move the alias {alias[1]}, and not {alias[0]}"
    if before.target != after.target:
        yield "both", f"they are deployed in {_target(after)} instead of {_target(before)}"
    ages = one.max_age.get(name, before.max_age), two.max_age.get(name, after.max_age)
    if ages[0] != ages[1]:
        yield age(*ages)
    yield from _approval(was.approval, now.approval)
    yield from _requires(was.requires, now.requires)
    if was.ordered != now.ordered:
        yield (
            ("less", "an older pipeline can no longer overwrite a newer one")
            if now.ordered
            else ("more", "an older pipeline may overwrite what a newer one deployed")
        )
    yield from _strategy(was, now)
    yield from _tests(was, now)


def _target(stage: Stage) -> str:
    target = stage.target
    at = f"{target.account}, {target.region}, role {target.role}, external id {target.external_id}"
    where = f" ({at})" if target.account else ""
    return f"the target {target.name or 'default'}{where}"


def age(was: int | None, now: int | None) -> tuple[Effect, str]:
    """Say what changes about the age of tokens (seconds)."""
    effect: Effect = "more" if now is None or (was is not None and now > was) else "less"
    limit = f"tokens are at most {duration(now)} old" if now else "tokens have no age of their own"
    return effect, f"{limit} (before: {duration(was) if was else 'no limit'})"


def _approval(was: int | None, now: int | None) -> Iterator[tuple[Effect, str]]:
    if was == now:
        return
    if now is None:
        yield "more", "no second person has to approve any more"
    elif was is None:
        yield "less", f"a second person must approve, within {duration(now)}"
    else:
        yield "neither", f"an approval has {duration(now)} (before: {duration(was)})"


def _requires(was: str | None, now: str | None) -> Iterator[tuple[Effect, str]]:
    if was == now:
        return
    if now is None:
        yield "more", f"an artifact need not have succeeded in {was} any more"
    elif was is None:
        yield "less", f"an artifact must have succeeded in {now} first"
    else:
        yield "both", f"an artifact must have succeeded in {now} first (before: in {was})"


def _strategy(was: Rollout, now: Rollout) -> Iterator[tuple[Effect, str]]:
    if was.steps == now.steps:
        return
    watched = bool(was.watch and now.watch)
    effect: Effect = "both"
    if is_at_least_as_cautious(now.steps, was.steps, watched=watched):
        effect = "less"
    elif is_at_least_as_cautious(was.steps, now.steps, watched=watched):
        effect = "more"
    yield effect, f"traffic moves {settings.strategy(now.steps)} (before: {settings.strategy(was.steps)})"


def _tests(was: Rollout, now: Rollout) -> Iterator[tuple[Effect, str]]:
    if was.smoke != now.smoke:
        before, after = (settings.smoke(each.smoke) if each.smoke else "none" for each in (was, now))
        effect: Effect = "less" if was.smoke is None else "more" if now.smoke is None else "both"
        yield effect, f"the smoke test is {after} (before: {before})"
    if was.watch != now.watch:
        yield _watch(was.watch, now.watch)


def _watch(was: Watch | None, now: Watch | None) -> tuple[Effect, str]:
    if was is None or now is None:
        watched = now or was
        what = "; ".join(settings.watch(watched)) if watched else ""
        return (
            ("more", f"nothing is watched any more (before: {what})")
            if now is None
            else (
                "less",
                f"a watch rolls back: {what}",
            )
        )
    gone, added = _parts(was) - _parts(now), _parts(now) - _parts(was)
    alike = _details(was) == _details(now)
    effect: Effect = "less" if alike and not gone else "more" if alike and not added else "both"
    changed = [f"{name} {value}" for name, value in _details(now).items() if _details(was)[name] != value]
    said = [f"no longer {name}" for name, _ in sorted(gone)] + [name for name, _ in sorted(added)]
    return effect, f"what is watched changes: {'; '.join((*said, *changed))}"


def _parts(watch: Watch) -> frozenset[tuple[str, str]]:
    """Return what can roll a deployment back, each by its name and with all that it is."""
    limits = ((f"the limit on {each.metric.value}", repr(each)) for each in watch.limits)
    metrics = ((f"the metric {each.name}", repr(each)) for each in watch.metrics)
    judge = [(f"the judge {watch.judge.function}", repr(watch.judge))] if watch.judge else []
    return frozenset((*((f"the alarm {name}", "") for name in watch.alarms), *limits, *metrics, *judge))


def _details(watch: Watch) -> dict[str, str]:
    return {
        "mode": "observe" if watch.observe else "enforce",
        "unclear": watch.unclear.value,
        "end_early": str(watch.end_early).lower(),
        "false_rollbacks": f"{watch.false_rollbacks:g}",
        "silent_within": duration(watch.silent_within),
    }


def _stage_agents(old: Stage, new: Stage, about: About) -> Iterator[Change]:
    was, now = _allowed(old.agents), _allowed(new.agents)
    if lost := was - now:
        text = f"agents may no longer {words.actions(lost)} in {new.name}, whatever rules grant"
        yield Change("less", "agent", text, about)
    if won := now - was:
        text = f"agents may now {words.actions(won)} in {new.name} by rules that grant it"
        yield Change("more", "agent", text, about)
    proposed, proposes = (bool(each.agents and each.agents.propose) for each in (old, new))
    if proposes and not proposed:
        text = f"agents only propose in {new.name}: a person approves each request"
        yield Change("less", "agent", text, about)
    if proposed and not proposes:
        text = (
            f"agents propose no longer in {new.name}: their requests wait for nobody but the stage's approval"
        )
        yield Change("more", "agent", text, about)


def _allowed(agents: StageAgents | None) -> frozenset[str]:
    return frozenset(ACTIONS if agents is None else agents.actions) - set(NEVER_AGENTS) - {"read"}
