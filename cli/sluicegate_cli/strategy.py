"""Parse a compact strategy such as `canary:10:5m` into the API's JSON."""

import re
from typing import Any, Final

import click

from sluicegate.deployment.plan import TrafficStep
from sluicegate.deployment.strategy import StrategyError, canary, checked, linear
from sluicegate_cli.durations import seconds_of

FORMS: Final = "all-at-once, canary:10:5m, linear:10:2m or steps:5:1m,50:10m,100"


class StrategyParam(click.ParamType):
    """A strategy; the value is the API's JSON. An invalid strategy is an error here, before any request."""

    name = "strategy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        try:
            return parse_strategy(value)
        except StrategyError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def parse_strategy(text: str) -> dict[str, Any]:
    """Return the API's JSON for a compact strategy. Raises StrategyError, which explains what is wrong."""
    kind, _, rest = text.partition(":")
    match kind:
        case "all-at-once":
            if rest:
                raise StrategyError(
                    f"all-at-once takes no parameters; to watch it after the shift, use steps:100:{rest}"
                )
            return {"type": kind}
        case "canary":
            percent, bake = _share(rest, f"{kind}:PERCENT:BAKE, such as canary:10:5m")
            canary(percent, _seconds(bake))
            return {"type": kind, "percent": percent, "bake": bake}
        case "linear":
            percent, every = _share(rest, f"{kind}:PERCENT:EVERY, such as linear:10:2m")
            linear(percent, _seconds(every))
            return {"type": kind, "percent": percent, "every": every}
        case "steps":
            return {"type": kind, "steps": _steps(rest)}
    raise StrategyError(f"a strategy is one of {FORMS}")


def _steps(text: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for part in text.split(","):
        percent, _, bake = part.partition(":")
        step: dict[str, Any] = {"percent": _percent(percent)}
        if bake:
            _seconds(bake)
            step["bake"] = bake
        elif ":" in part:
            raise StrategyError(f"{part!r} has no bake time after its colon")
        steps.append(step)
    checked([TrafficStep(step["percent"], _seconds(step["bake"]) if "bake" in step else 0) for step in steps])
    return steps


def _share(text: str, form: str) -> tuple[int, str]:
    """Split text into a percentage and a duration."""
    parts = text.split(":")
    if len(parts) != 2:
        raise StrategyError(f"the form is {form}")
    _seconds(parts[1])
    return _percent(parts[0]), parts[1]


def _percent(text: str) -> int:
    return int(_matching(r"[1-9][0-9]{0,2}", text, "a percentage such as 10, without a sign"))


def _seconds(text: str) -> int:
    return seconds_of(_matching(r"[1-9][0-9]{0,8}[smhd]", text, "a duration such as 90s, 5m or 2h"))


def _matching(pattern: str, text: str, description: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise StrategyError(f"{text!r} is not {description}")
    return text
