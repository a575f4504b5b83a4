"""What the rollout keys of a stage come to, and of an entry's overrides: maps merge, lists replace.

Takes the keys that the file gives, as plain values. What is wrong after merging is reported where the
override is.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sluicegate.deployment import strategy
from sluicegate.deployment.durations import duration
from sluicegate.deployment.plan import (
    FALSE_ROLLBACKS,
    SILENT_WITHIN,
    Judge,
    Limit,
    Metric,
    Smoke,
    TrafficStep,
    Unclear,
    Watch,
)
from sluicegate.gate import alarm_names
from sluicegate.gate.rollout_settings import APPROVAL_EXPIRES, JUDGE_TIMEOUT, Rollout, circle, circular
from sluicegate_gatefile import watch_metrics
from sluicegate_gatefile.checks.context import no_stage
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.fields import NONE
from sluicegate_gatefile.yaml_source import Path, Reporter

Keys = Mapping[str, Any]

NO_STRATEGY: Final = {"type": "all-at-once"}
NO_PAYLOAD: Final = "{}"
SMOKE_TIMEOUT: Final = 10  # seconds of a smoke test
MIN_SAMPLES: Final = 100

# Seconds. CloudWatch has Lambda's metrics of a minute one to two minutes after it.
_METRICS_LAG: Final = 180

_UNEVEN: Final = 15
"""Percent of the traffic from one half, within which values are still of about equally many requests."""

# By key of the gate file, what it is in a rollout.
_FIELDS: Final = {
    "strategy": "steps",
    "smoke": "smoke",
    "watch": "watch",
    "approval": "approval",
    "requires": "requires",
    "order": "ordered",
}
# By type of strategy, its keys.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "all-at-once": (),
    "canary": ("percent", "bake"),
    "linear": ("percent", "every"),
    "steps": ("steps",),
}
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {"all-at-once": ("bake",)}
_MAXIMA: Final = {
    Metric.ERRORS: "max_percent",
    Metric.THROTTLES: "max_percent",
    Metric.DURATION_P95: "max_ms",
}


def merged(below: Keys, above: Keys) -> dict[str, Any]:
    """A stage's keys with an override's: mappings merge key by key, all else replaces what is below it.

    A strategy of another type, and a smoke test that changes between payload and hook, replace as a whole.
    """
    return {**below} | {key: _over(key, below.get(key), value) for key, value in above.items()}


def _over(key: str, below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict) and not _another(key, below, above):
        return merged(below, above)
    return above


def _another(key: str, below: Keys, above: Keys) -> bool:
    """Whether what is above is another thing, so that nothing of what is below belongs to it."""
    if key == "strategy":
        return "type" in above and above["type"] != below["type"]
    if key == "smoke":
        one, other = ("hook" in below, _invokes(below)), ("hook" in above, _invokes(above))
        return any(other) and one != other
    return False


def _invokes(smoke: Keys) -> bool:
    return "payload" in smoke or "expect" in smoke


@dataclass(frozen=True)
class Rollouts:
    """Makes rollouts of a gate file's keys, and reports what is wrong with them.

    `stages` are the names that there are. What is made where an error was reported is not to be used.
    """

    report: Reporter
    stages: Collection[str]
    own_functions: Collection[str]

    def of_stage(self, stage: str, keys: Keys) -> Rollout:
        """What a stage's own keys come to."""
        at: Path = ("stages", stage)
        rollout = self._changed(at, Rollout(), keys)
        self._fits(at, stage, keys, rollout)
        return rollout

    def of_override(self, at: Path, stage: str, keys: Keys, base: Rollout, override: Keys) -> Rollout:
        """What the stage's keys, which come to `base`, are with an entry's override, which is `at`."""
        both = merged({"strategy": NO_STRATEGY, **keys}, override)
        rollout = self._changed(at, base, {key: both[key] for key in override})
        if {"watch", "alias"} & override.keys():
            self._fits(at, stage, both, rollout)
        if keys.get("protected"):
            for key, lost in _lost(base, rollout, override).items():
                what = f"`{stage}` is protected, and this removes its {lost}"
                self.report("warning", "weaker", (*at, key), f"{what}: delete it unless that is intended")
        return rollout

    def circles(self, at: Path, requires: Mapping[str, str | None], changed: Collection[str]) -> None:
        """Reports stages that require one another, each circle at the first of its stages in `changed`."""
        seen: set[str] = set()
        circling = circular(requires) if changed else frozenset[str]()
        for stage in changed:
            if stage in circling and stage not in seen:
                path = circle(requires, stage)
                seen.update(path)
                rest = ", which requires ".join(f"`{each}`" for each in (*path[1:], stage))
                what = f"`{stage}` requires {rest if path[1:] else 'itself'}"
                self._error("requires", (*at, stage, "requires"), f"{what}: nothing could be deployed there")

    def _changed(self, at: Path, base: Rollout, keys: Keys) -> Rollout:
        """`base` with the value of each of the keys."""
        found = {
            field: self._value(key, (*at, key), keys[key]) for key, field in _FIELDS.items() if key in keys
        }
        rollout = replace(base, **found)
        if rollout.watch and rollout.steps and {"strategy", "watch"} & keys.keys():
            place = (*at, "watch" if "watch" in keys else "strategy")
            self._watchable(place, rollout.watch, [step.bake for step in rollout.steps if step.bake])
            self._comparable(place, rollout.watch, [step.percent for step in rollout.steps if step.bake])
        return rollout

    def _value(self, key: str, at: Path, value: Any) -> Any:
        if value == NONE:
            return False if key == "order" else None
        match key:
            case "strategy":
                return self._steps(at, value)
            case "smoke":
                return self._smoke(at, value)
            case "watch":
                return self._watch(at, value)
            case "approval":
                return value.get("expires", APPROVAL_EXPIRES)
            case "requires":
                return self._requires((*at, "succeeded_in"), value["succeeded_in"])
            case _:
                return True  # `order`, which knows one word

    # Strategy

    def _steps(self, at: Path, keys: Keys) -> tuple[TrafficStep, ...]:
        """The strategy's steps; none after an error."""
        kind = keys["type"]
        needed = _NEEDED[kind]
        known = ("type", *needed, *_OPTIONAL.get(kind, ()))
        missing = [key for key in needed if key not in keys]
        foreign = [key for key in keys if key not in known]
        for key in foreign:
            belongs = ", ".join(f"`{each}`" for each in known)
            self._error("key", (*at, key), f"`{key}` does not belong to `{kind}`, which has {belongs}")
        for key in missing:
            self._error("missing_key", at, f"`{kind}` needs `{key}`")
        if missing or foreign:
            return ()
        try:
            return _resolved(kind, keys)
        except strategy.StrategyError as error:
            self._error("strategy", at, f"this strategy has no valid steps: {error}")
            return ()

    # Smoke

    def _smoke(self, at: Path, keys: Keys) -> Smoke | None:
        timeout = keys.get("timeout", SMOKE_TIMEOUT)
        if "hook" in keys:
            if _invokes(keys):
                what = "a hook decides by itself: remove either `hook`, or `payload` and `expect`"
                self._error("smoke", (*at, "hook"), what)
            if keys["hook"] in self.own_functions:
                self._error("smoke", (*at, "hook"), f"`{keys['hook']}` is a function of Sluicegate itself")
            return Smoke(timeout, hook=keys["hook"])
        if not _invokes(keys):
            self._error("smoke", at, "nothing is invoked: give a `payload`, `expect` or a `hook`")
        return Smoke(timeout, payload=keys.get("payload", NO_PAYLOAD), expect=keys.get("expect"))

    # Watch

    def _watch(self, at: Path, keys: Keys) -> Watch | None:
        names = keys.get("alarms", ())
        limits = tuple(self._limit((*at, metric.value), metric, keys) for metric in Metric if metric in keys)
        metrics = watch_metrics.of_watch(self.report, at, keys)
        judge = self._judge((*at, "judge"), keys["judge"]) if "judge" in keys else None
        listed = keys.get("presets")  # each has metrics, or an error of its own
        if not names and not limits and not metrics and not judge and not listed:
            what = ", ".join(f"`{each}`" for each in ("alarms", *Metric, "presets", "metrics", "judge"))
            self._error("watch", at, f"nothing is watched: give one of {what}")
            return None
        return Watch(
            alarms=tuple(names),
            limits=limits,
            metrics=metrics,
            judge=judge,
            false_rollbacks=keys.get("false_rollbacks", FALSE_ROLLBACKS),
            unclear=Unclear(keys.get("unclear", Unclear.PASS)),
            end_early=keys.get("end_early", False),
            silent_within=keys.get("fix_forward", {}).get("silent_within", SILENT_WITHIN),
            observe=keys.get("mode") == "observe",
        )

    def _judge(self, at: Path, keys: Keys) -> Judge:
        if keys["function"] in self.own_functions:
            what = f"`{keys['function']}` is a function of Sluicegate itself"
            self._error("watch", (*at, "function"), what)
        return Judge(keys["function"], keys.get("timeout", JUDGE_TIMEOUT))

    def _limit(self, at: Path, metric: Metric, keys: Keys) -> Limit:
        values, maximum = keys[metric], _MAXIMA[metric]
        if maximum not in values and "max_ratio" not in values:
            self._error("watch", at, f"`{metric}` has no maximum: give `{maximum}`, `max_ratio` or both")
        elif maximum not in values:
            what = f"`{metric}` has only `max_ratio`, which says little while the old version has no requests"
            self.report("warning", "watch", at, f"{what}: give `{maximum}` too")
        return Limit(
            metric=metric,
            min_samples=values.get("min_samples", MIN_SAMPLES),
            most=values.get(maximum),
            max_ratio=values.get("max_ratio"),
            observe=values.get("mode") == "observe",
        )

    def _watchable(self, at: Path, watch: Watch, bakes: Collection[int]) -> None:
        """Warns of a watch that sees nothing, or little, in the bakes that there are."""
        if not bakes:
            what = "the strategy never bakes, so there is nothing to watch in: give it a `bake`"
            if watch.alarms:
                what += "; alarms are still checked before the move"
            self.report("warning", "watch", at, what)
        elif (watch.limits or watch.metrics) and min(bakes) < _METRICS_LAG:
            what = f"a bake of {duration(min(bakes))} is shorter than {duration(_METRICS_LAG)}"
            lag = "CloudWatch's metrics lag by one to two minutes, and may arrive too late for it"
            self.report("warning", "watch", at, f"{what}: {lag}")

    def _comparable(self, at: Path, watch: Watch, percents: Collection[int]) -> None:
        """Warns of values that are compared while one version has many more requests than the other.

        The sign test holds for values of equally many (verdicts.md#outside-of-the-promise).
        """
        compared = [one.name for one in watch.metrics if one.max_ratio is not None and one.share is None]
        uneven = [percent for percent in percents if percent < 100 and abs(percent - 50) > _UNEVEN]
        if compared and uneven:
            what = (
                f"{listed(compared)} compares values at {uneven[0]}% of the traffic: averages, high"
                " percentiles and extremes depend on how many requests they are of. Compare at 50%,"
                " or compare a share"
            )
            self.report("warning", "uneven", at, what)

    def _fits(self, at: Path, stage: str, keys: Keys, rollout: Rollout) -> None:
        """Reports alarms whose names can come out too long."""
        alias = keys.get("alias", stage)
        for i, name in enumerate(rollout.watch.alarms if rollout.watch else ()):
            if alarm_names.may_outgrow(name, stage=stage, alias=alias):
                what = f"for a function with a long name, this would have more than {alarm_names.MAX_NAME}"
                self._error("watch", (*at, "watch", "alarms", i), f"{what} characters: shorten it")

    # Requirements

    def _requires(self, at: Path, stage: str) -> str | None:
        if stage not in self.stages:
            self._error("stage", at, no_stage(stage, self.stages))
        return stage

    def _error(self, code: str, at: Path, message: str) -> None:
        self.report("error", code, at, message)


def _lost(base: Rollout, rollout: Rollout, override: Keys) -> dict[str, str]:
    """By key of an override, what it takes away from the care that a stage takes, for a message."""
    cares = {
        "approval": base.approval,
        "requires": base.requires,
        "smoke": base.smoke,
        "watch": base.watch,
    }
    lost = {key: f"`{key}`" for key, care in cares.items() if care and override.get(key) == NONE}
    if rollout.steps:  # none after an error
        for had, has, what in (
            (_gradual(base), _gradual(rollout), "steps of less than all traffic"),
            (_bakes(base), _bakes(rollout), "bake"),
        ):
            if had and not has:
                lost.setdefault("strategy", what)
    return lost


def _gradual(rollout: Rollout) -> bool:
    return any(step.percent < 100 for step in rollout.steps)


def _bakes(rollout: Rollout) -> bool:
    return any(step.bake for step in rollout.steps)


def _resolved(kind: str, keys: Keys) -> tuple[TrafficStep, ...]:
    """The steps of a strategy that has the keys it needs. Raises StrategyError."""
    match kind:
        case "canary":
            return strategy.canary(keys["percent"], keys["bake"])
        case "linear":
            return strategy.linear(keys["percent"], keys["every"])
        case "steps":
            return strategy.checked(
                [TrafficStep(step["percent"], step.get("bake", 0)) for step in keys["steps"]]
            )
        case _:
            return strategy.all_at_once(keys.get("bake", 0))
