"""Read the traffic that a plan is for from the command line: `200/min`, `0.5%`."""

import re
from typing import Any, Final

import click

MAX_REQUESTS: Final = 10_000_000
"""Requests a minute: Lambda runs a hundred thousand at a time at most."""

_NUMBER: Final = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)"
_PER: Final = {
    "s": 60.0,
    "sec": 60.0,
    "second": 60.0,
    "h": 1 / 60,
    "hour": 1 / 60,
    "d": 1 / 1440,
    "day": 1 / 1440,
}


class RequestsParam(click.ParamType):
    """Requests a minute, as `200/min`."""

    name = "N/min"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(rf"{_NUMBER} ?(?:/ ?([a-z]+))?", value, re.ASCII)
        if found is None:
            self.fail(f"{value!r}: requests are given as 200/min", param, ctx)
        number, unit = float(found[1]), found[2]
        if unit is None:
            self.fail(f"{value!r}: in which time? For {value} a minute, write {value}/min", param, ctx)
        if unit in _PER:
            per_minute = f"{number * _PER[unit]:.6g}"
            self.fail(f"{value!r}: requests are given by the minute; write {per_minute}/min", param, ctx)
        if unit not in ("min", "minute", "m"):
            self.fail(f"{value!r}: requests are given as 200/min", param, ctx)
        if not 0 < number <= MAX_REQUESTS:
            self.fail(f"{value!r}: must be above 0, and at most {MAX_REQUESTS}/min", param, ctx)
        return number


class PercentParam(click.ParamType):
    """The old version's error rate, as `0.5%`; the value is a fraction."""

    name = "P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(rf"{_NUMBER} ?(%?)", value, re.ASCII)
        if found is None:
            self.fail(f"{value!r}: an error rate is given in percent, as 0.5%", param, ctx)
        if not found[2]:
            ways = f"write {value}%, or {float(found[1]) * 100:.6g}% if it is a fraction"
            self.fail(f"{value!r}: an error rate is given in percent: {ways}", param, ctx)
        if not 0 < float(found[1]) < 100:
            self.fail(
                f"{value!r}: must be above 0% and below 100%. For a function that never fails, give the rate"
                " that you would not notice, such as 0.01%",
                param,
                ctx,
            )
        return float(found[1]) / 100
