"""How a deployment goes in a stage: what the gate file's rollout keys come to, in memory and in gate.json.

`gatemerge` makes it from the gate file's keys; a plan takes it over as it is.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sluicegate.deployment import strategy
from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, NoData, Smoke, TrafficStep, Watch
from sluicegate.gate import alarm_names, codec
from sluicegate.gate.codec import GateError
from sluicegate.strict_json import JsonValue, StrictJsonError, loads

MAX_SMOKE: Final = 60
"""Seconds that a smoke test may take."""

MAX_PAYLOAD: Final = 16_384
"""Characters of a payload or an expectation as compact JSON, which is ASCII."""

MAX_DEPTH: Final = 16
"""Levels of a payload or an expectation."""

APPROVAL: Final = (60, 14 * 86_400)
"""The shortest and the longest wait for a second person, in seconds."""

LEAST: Final = 0.001
"""The smallest maximum: numbers of the gate file have three decimals."""

MOST: Final = {Metric.ERRORS: 100, Metric.THROTTLES: 100, Metric.DURATION_P95: 900_000}
"""The largest maximum: of requests, all; of milliseconds, as long as a function can run."""

MAX_RATIO: Final = 1_000
MAX_SAMPLES: Final = 1_000_000

FUNCTION: Final = "[A-Za-z0-9_-]{1,64}"
"""A function's name, as a regular expression."""


@dataclass(frozen=True)
class Rollout:
    """What a plan takes over from a stage. Alarms have their placeholders still; see `alarms`.

    `approval` is in seconds, None where nobody is asked; `requires` is a stage; `ordered` is whether an older
    pipeline cannot overwrite a newer one.
    """

    steps: tuple[TrafficStep, ...] = ALL_AT_ONCE
    smoke: Smoke | None = None
    watch: Watch | None = None
    approval: int | None = None
    requires: str | None = None
    ordered: bool = False


def watch_of(watch: Watch | None, *, function: str, stage: str, alias: str) -> Watch | None:
    """The watch with its alarms' own names; of names that come out equal, one."""
    if watch is None:
        return None
    names = (alarm_names.filled(name, function=function, stage=stage, alias=alias) for name in watch.alarms)
    return replace(watch, alarms=tuple(dict.fromkeys(names)))


def circle(requires: Mapping[str, str | None], start: str) -> tuple[str, ...]:
    """The stages that require one another, from `start` round to it again; empty where it leads elsewhere."""
    path = [start]
    while (after := requires.get(path[-1])) is not None and after not in path:
        path.append(after)
    return tuple(path) if after == start else ()


# In gate.json


def document(rollout: Rollout) -> dict[str, Any]:
    """As gate.json has it. `read` gives the same back."""
    smoke, watch = rollout.smoke, rollout.watch
    return {
        "steps": [{"percent": step.percent, "bake": step.bake} for step in rollout.steps],
        "smoke": smoke
        and {
            "timeout": smoke.timeout,
            "payload": smoke.payload,
            "expect": smoke.expect,
            "hook": smoke.hook,
        },
        "watch": watch
        and {
            "alarms": list(watch.alarms),
            "limits": [
                {
                    "metric": limit.metric.value,
                    "min_samples": limit.min_samples,
                    "most": limit.most,
                    "max_ratio": limit.max_ratio,
                }
                for limit in watch.limits
            ],
            "no_data": watch.no_data.value,
        },
        "approval": rollout.approval,
        "requires": rollout.requires,
        "ordered": rollout.ordered,
    }


def read(value: JsonValue, *, own_functions: Collection[str]) -> Rollout:
    """The rollout in gate.json; raises GateError. That the stage in `requires` exists is not seen here."""
    item = codec.record(value, "steps", "smoke", "watch", "approval", "requires", "ordered")
    smoke, watch, approval, requires = (item[name] for name in ("smoke", "watch", "approval", "requires"))
    return Rollout(
        steps=_steps(item["steps"]),
        smoke=None if smoke is None else _smoke(smoke, own_functions),
        watch=None if watch is None else _watch(watch),
        approval=None if approval is None else codec.whole(approval, *APPROVAL),
        requires=None if requires is None else codec.text(requires),
        ordered=codec.flag(item["ordered"], "ordered"),
    )


def _steps(value: JsonValue) -> tuple[TrafficStep, ...]:
    found = [codec.record(item, "percent", "bake") for item in codec.items(value)]
    steps = [
        TrafficStep(codec.whole(item["percent"], 1, 100), codec.whole(item["bake"], 0, strategy.MAX_BAKE))
        for item in found
    ]
    try:
        return strategy.checked(steps)
    except strategy.StrategyError as error:
        raise GateError(f"gate.json: {error}") from error


def _smoke(value: JsonValue, own_functions: Collection[str]) -> Smoke:
    item = codec.record(value, "timeout", "payload", "expect", "hook")
    payload, expect, hook = item["payload"], item["expect"], item["hook"]
    if (payload is None) == (hook is None) or (expect is not None and hook is not None):
        raise GateError("gate.json: a smoke test has a payload or a hook, and expects with a payload only")
    return Smoke(
        timeout=codec.whole(item["timeout"], 1, MAX_SMOKE),
        payload=None if payload is None else _json(payload),
        expect=None if expect is None else _json(expect),
        hook=None if hook is None else _hook(hook, own_functions),
    )


def _hook(value: JsonValue, own_functions: Collection[str]) -> str:
    name = codec.text(value)
    if name in own_functions or not re.fullmatch(FUNCTION, name):
        raise GateError(f"gate.json: {name[:64]!r} is no function that can be a hook")
    return name


def _json(value: JsonValue) -> str:
    text = codec.text(value)
    try:
        compact = json.dumps(loads(text.encode(), max_depth=MAX_DEPTH), separators=(",", ":"))
    except StrictJsonError as error:
        raise GateError(f"gate.json: a payload or an expectation: {error}") from error
    if text != compact or len(text) > MAX_PAYLOAD:
        raise GateError(f"gate.json: JSON is compact here, and has at most {MAX_PAYLOAD} characters")
    return text


def _watch(value: JsonValue) -> Watch:
    item = codec.record(value, "alarms", "limits", "no_data")
    watch = Watch(
        alarms=tuple(map(_alarm, codec.items(item["alarms"]))),
        limits=tuple(map(_limit, codec.items(item["limits"]))),
        no_data=NoData(codec.known("no_data", codec.text(item["no_data"]), list(NoData))),
    )
    if not (watch.alarms or watch.limits) or len(watch.alarms) > alarm_names.MAX_ALARMS:
        raise GateError("gate.json: a watch watches nothing, or too much")
    codec.unique("metric", ((limit.metric.value, limit) for limit in watch.limits))
    return watch


def _alarm(value: JsonValue) -> str:
    name = codec.text(value)
    if problem := alarm_names.complaint(name):
        raise GateError(f"gate.json: the alarm {name[:64]!r} {problem}")
    return name


def _limit(value: JsonValue) -> Limit:
    item = codec.record(value, "metric", "min_samples", "most", "max_ratio")
    metric = Metric(codec.known("metric", codec.text(item["metric"]), list(Metric)))
    most, ratio = item["most"], item["max_ratio"]
    if most is None and ratio is None:
        raise GateError(f"gate.json: nothing limits the metric {metric.value}")
    return Limit(
        metric=metric,
        min_samples=codec.whole(item["min_samples"], 1, MAX_SAMPLES),
        most=None if most is None else codec.number(most, LEAST, MOST[metric]),
        max_ratio=None if ratio is None else codec.number(ratio, 1, MAX_RATIO),
    )
