"""Names of CloudWatch alarms in the gate file: with `{function}`, `{stage}` and `{alias}` to be filled in."""

import re
from typing import Final

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
    return None


def filled(name: str, *, function: str, stage: str, alias: str) -> str:
    """The alarm's own name, for a function's alias in a stage."""
    values = {"function": function, "stage": stage, "alias": alias}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], name)


def may_outgrow(name: str, *, stage: str, alias: str) -> bool:
    """Whether, filled in for a function with a long name, it is longer than an alarm's can be."""
    return len(filled(name, function=_LONGEST_FUNCTION, stage=stage, alias=alias)) > MAX_NAME
