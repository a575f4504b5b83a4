"""Names of CloudWatch alarms in the gate file, with placeholders to be filled in, and patterns of names.

`{function}`, `{stage}` and `{alias}` are filled in. `*` makes a name a pattern, as everywhere in the gate
file: any run of characters but `/`, `**` any run. It stands for all alarms that it matches at each look.
"""

import re
from typing import Final

from sluicegate.gate.patterns import Pattern, PatternError, compile

MAX_ALARMS: Final = 10
"""Alarms of one watch: one DescribeAlarms call takes them all."""

MAX_NAME: Final = 255
"""Characters of an alarm's name (PutMetricAlarm, AlarmName)."""

FORM: Final = rf"(?=[\s\S]{{1,{MAX_NAME}}}$)(?:[^{{}}]|\{{(?:function|stage|alias)\}})+"
"""A name as the gate file has it, as a regular expression, for editors; `complaint` says it better."""

_PLACEHOLDER: Final = re.compile(r"\{(function|stage|alias)\}")
_LONGEST_FUNCTION: Final = "f" * 64


def complaint(name: str) -> str | None:
    """What is wrong with a name as the gate file has it; None where nothing is."""
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if re.search(r"[{}]", _PLACEHOLDER.sub("", name)):
        return "has a brace that is not a placeholder: `{function}`, `{stage}` and `{alias}` are filled in"
    if is_pattern(name):
        if not prefix(name):
            return "begins with `*`: CloudWatch finds alarms by the beginning of their names"
        try:
            compile(name)
        except PatternError as error:
            return str(error)
    return None


def is_pattern(name: str) -> bool:
    """Whether it stands for every alarm that it matches."""
    return "*" in name


def prefix(name: str) -> str:
    """What the names of all alarms that match begin with."""
    return name.partition("*")[0]


def matches(name: str, alarm: str) -> bool:
    """Whether a name or pattern, with its placeholders filled in, stands for this alarm."""
    return Pattern(name, fold=False).matches(alarm)


def filled(name: str, *, function: str, stage: str, alias: str) -> str:
    """The alarm's own name, for a function's alias in a stage."""
    values = {"function": function, "stage": stage, "alias": alias}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], name)


def may_outgrow(name: str, *, stage: str, alias: str) -> bool:
    """Whether, filled in for a function with a long name, it is longer than an alarm's can be."""
    return len(filled(name, function=_LONGEST_FUNCTION, stage=stage, alias=alias)) > MAX_NAME
