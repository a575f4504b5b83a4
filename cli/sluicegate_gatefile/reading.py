"""From YAML's values to the gate file: what pydantic finds wrong, with its place and what to do."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sluicegate_gatefile import shapes
from sluicegate_gatefile.diagnostics import Findings, Mark, did_you_mean, listed
from sluicegate_gatefile.schema.file import GateFile
from sluicegate_gatefile.yaml_source import Source, Unusable, described

UNSUPPORTED: Final = "unsupported"
"""The code of what a later version knows. What else is wrong with such a file is still found."""

_KINDS: Final = {"model_type": "mapping", "dict_type": "mapping", "list_type": "list"}


def read(source: Source, findings: Findings) -> GateFile | None:
    """Return the gate file, or None if it has not the shape of one. Errors go to `findings`."""
    _find_unsupported(source, findings)
    try:
        return GateFile.model_validate(source.value)
    except ValidationError as error:
        found = error.errors(include_url=False)
    for each in sorted(found, key=lambda each: each["type"] == "missing"):
        if not isinstance(each["input"], Unusable):  # has been reported
            code, mark, message = _explained(each, source)
            findings.add("error", code, mark, message)
    return None


def _explained(error: ErrorDetails, source: Source) -> tuple[str, Mark, str]:
    """Return code, place and message."""
    kind, path, value = error["type"], error["loc"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "value" and path[-1] == "[key]":
        return kind, source.at(path[:-1]).key, context["message"]
    if kind == "missing":
        hint = f": for example `external_id: {secrets.token_hex(16)}`" if path[-1] == "external_id" else ""
        return "missing_key", source.at(path[:-1]).value, f"the key `{path[-1]}` is missing here{hint}"
    place = source.at(path)
    if kind in ("unknown_key", "key"):
        return kind, place.key, context["message"]
    if kind in _KINDS:
        what = f"expected a {_KINDS[kind]}, not {described(value)}"
        if kind == "list_type":
            return "type", place.value, what + shapes.in_list(path, value)
        return "type", place.value, what + shapes.instead(path, value, context.get("class_name"))
    if kind == "too_short":
        return (
            "value",
            place.value,
            f"the {'mapping' if isinstance(value, dict) else 'list'} is empty; name at least one",
        )
    if kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']+)'", context["expected"])
        return "value", place.value, f"`{value}` is not one of {listed(words)}{did_you_mean(value, words)}"
    return kind, place.value, context["message"]


def _find_unsupported(source: Source, findings: Findings) -> None:
    """Report keys that a later version knows."""
    for name, entry in _members(_members(source.value).get("functions")).items():
        if "images" in _members(entry):
            mark = source.at(("functions", name, "images")).value
            findings.add("error", UNSUPPORTED, mark, "`images` is not supported yet: remove it")


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
