"""The pipelines that docs/start/connect.md gives to copy, as GitLab would read them. The first one runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluicegate_cli.exit_codes import ExitCode
from stand import Stand, component, package
from stand.shells import Machine

ROOT = component.FILE.parents[1]
CONNECT = "docs/start/connect.md"
PAGES = {name: (ROOT / name).read_text() for name in (CONNECT, "README.md")}


def includes(page: str) -> list[dict[str, Any]]:
    """The inputs of every include of the component on a page."""
    pipelines = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGES[page], re.S))
    return [one["inputs"] for pipeline in pipelines for one in pipeline.get("include", ())]


@pytest.mark.parametrize("page", PAGES)
def test_gitlab_takes_every_documented_include(page: str) -> None:
    assert includes(page)
    for inputs in includes(page):
        assert component.job(**inputs).variables["SLUICEGATE_INPUT_ACTION"] == inputs.get("action", "deploy")


def test_the_page_has_every_input_with_its_default() -> None:
    table = PAGES[CONNECT].split("\n## Inputs\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^|]*)`)? ?\| (.+) \|$", table, re.M)
    documented = {name: yaml.safe_load(default) if default else "" for name, default, _ in rows}
    assert documented == {name: spec.get("default", "") for name, spec in component.header().items()}


def test_the_first_include_deploys(stand: Stand, function: str, tmp_path: Path) -> None:
    machine = Machine.with_shell("dash", tmp_path)
    first = includes(CONNECT)[0]
    assert first["zip"] == "ORDERS-API.zip"
    (machine.directory / first["zip"]).write_bytes(
        package(f"def handler(event, context):\n    return {function!r}\n")
    )
    assert stand.audience == first["audience"]
    job = component.job(**{**first, "url": stand.endpoint, "function": function})
    ended = machine.run(job, stand.token(), SLUICEGATE_INPUT_RELEASE="v1.0.0")
    assert ended.code == ExitCode.OK, ended.log
    assert stand.invoke(function, alias="prod") == function

    log = re.search(r"```\n(\d+ bytes.*?)```", PAGES[CONNECT], re.S)
    assert log
    assert shape(ended.log) == shape(log[1])


def shape(log: str) -> list[str]:
    """What a log says, without what differs from one deployment to the next."""
    lines = re.sub(r"[0-9A-Z]{26}|[0-9a-f]{12,64}|'[^']*'|\d+", "#", log).splitlines()
    return [re.sub(r"^\S*#Z", "#", line) for line in lines]
