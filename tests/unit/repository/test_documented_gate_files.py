"""The gate files that the pages give to copy, and the parts of one, compile."""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluicegate.gate.rules import PINS_OF
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile.schema.base import Section
from sluicegate_gatefile.schema.editors import json_schema
from sluicegate_gatefile.schema.file import GateFile
from sluicegate_gatefile.schema.rules import RuleSection
from sluicegate_gatefile.schema.stages import StageSection, WatchSection
from support.pages import PAGES, ROOT, name

REFERENCE = (ROOT / "docs/reference/gate-file.md").read_text()

OTHERS = re.compile(r"component:|script:|AWS::|resource_group:|allow_failure:")
"""Of a pipeline or a template. All other YAML of the pages is a gate file, or a part of one."""

REST = {
    "version": "version: 1\n",
    "issuers": """\
issuers:
  corp:
    url: https://gitlab.example.com
    audience: https://deploy.example.com
    sign_in: {client_id: 5f1d2c, secret: sluicegate/sign-in/corp}
    groups: trusted
""",
    "stages": "stages:\n",
    "functions": "functions:\n  orders-*: {}\n",
    "rules": "rules: []\n",
}
"""What a part needs to be a whole file, by the keys that it may have itself."""

STAGES = ("dev", "staging", "prod")
ALLOW = "{actions: [read], functions: [orders-*], stages: [dev]}"
RULE = f"rules:\n  - name: x\n    allow: {ALLOW}\n"
AROUND: dict[type[Section], tuple[str, int]] = {
    GateFile: ("", 0),
    StageSection: ("stages:\n  prod:\n", 4),
    WatchSection: ("stages:\n  prod:\n    watch:\n", 6),
    RuleSection: (RULE, 4),
}
"""By the section that a part's keys are of: what is before it in the file, and its indentation there."""


def blocks(page: Path) -> list[str]:
    """The page's YAML, with alternatives of one line apart."""
    text = page.read_text()
    fences = [
        textwrap.dedent(block) for _, block in re.findall(r"^( *)```yaml\n(.*?)^\1```", text, re.S | re.M)
    ]
    found = [*fences, *re.findall(r"<<'YAML'\n(.*?)^YAML$", text, re.S | re.M)]
    return [
        part
        for block in found
        for part in (block.splitlines(keepends=True) if _alternatives(block) else [block])
    ]


def _alternatives(block: str) -> bool:
    keys = [line.partition(":")[0] for line in block.splitlines()]
    return len(keys) > 1 and len(set(keys)) == 1


PARTS = [
    pytest.param(block, id=f"{name(page)}-{number}")
    for page in PAGES
    for number, block in enumerate(block for block in blocks(page) if not OTHERS.search(block))
]


def keys(block: str) -> set[str]:
    return set(re.findall(r"^([a-z_]+):", block, re.M))


def whole(block: str) -> str:
    """A gate file with the block in its place."""
    if "version" in keys(block):
        return block.replace("PROJECT-ID", "4213")
    if block.startswith("- name:"):
        block = f"rules:\n{textwrap.indent(block, '  ')}"
    found = [section for section in AROUND if keys(block) and keys(block) <= section.model_fields.keys()]
    assert found, "this is of no section of the gate file: say in OTHERS what it is"
    before, indentation = AROUND[found[0]]
    text = before + textwrap.indent(block, " " * indentation)
    text += "".join(part for key, part in REST.items() if key not in keys(text))
    for stage in STAGES:
        if not re.search(rf"^  {stage}:", text, re.M):
            text = text.replace("stages:\n", f"stages:\n  {stage}: {{}}\n", 1)
    return text.replace("PROJECT-ID", "4213")


@pytest.mark.parametrize("block", PARTS)
def test_the_gate_file_that_a_page_shows_has_no_error(block: str, tmp_path: Path) -> None:
    file = tmp_path / "sluicegate.yaml"
    file.write_text(whole(block))
    found = gatefile.check(file)
    assert [each.message for each in found.diagnostics if each.severity == "error"] == []
    assert all(result.passed for result in found.test_results)


def plain(
    schema: dict[str, Any], part: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys of each value that is a number or a boolean, and which of the two."""
    if "$ref" in part:
        yield from plain(schema, schema["$defs"][part["$ref"].rpartition("/")[2]], path)
    if part.get("type") in ("boolean", "integer", "number"):
        yield path, "flag" if part["type"] == "boolean" else "number"
    for each in part.get("anyOf", ()):
        yield from plain(schema, each, path)
    for each in (part.get("items"), part.get("additionalProperties")):
        if isinstance(each, dict):
            yield from plain(schema, each, path)
    for key, value in part.get("properties", {}).items():
        yield from plain(schema, value, (*path, key))


def test_the_page_says_where_no_quotes_are_needed() -> None:
    said = REFERENCE.split("Exceptions are ")[1].split("Other errors")[0]
    numbers, flags = (set(re.findall(r"`(\w+)`", part)) for part in said.split("true and false")[:2])
    schema = json_schema()
    found = list(plain(schema, schema))
    assert {path[-1] for path, kind in found if kind == "flag"} == flags - {"payload", "expect", "smoke"}
    assert all(numbers & set(path) for path, kind in found if kind == "number")


VALUES = {
    "project_id": "4213",
    "namespace_id": "12",
    "account": "111122223333",
    "principal_id": "AROAEXAMPLE1234567890",
    "session_name": "ada@example.com",
    "user_id": "7",
    "email": "ada@example.com",
    "groups_direct": "acme/releases",
}
PINS = dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", REFERENCE.split("| must pin |")[1].split("\n\n")[0], re.M))


@pytest.mark.parametrize("via", PINS_OF)
def test_the_page_says_what_a_rule_must_pin(via: str, tmp_path: Path) -> None:
    file = tmp_path / "sluicegate.yaml"
    named = VALUES.keys() & set(re.findall(r"`(\w+)`", PINS[via]))
    for claims, pinned in (({claim: VALUES[claim] for claim in named}, True), ({"user_login": "a*"}, False)):
        file.write_text(
            whole(f"rules:\n  - {{name: x, via: {via}, claims: {json.dumps(claims)}, allow: {ALLOW}}}\n")
        )
        assert ("pin" in {each.code for each in gatefile.check(file).diagnostics}) is not pinned
