"""The pipelines that docs/start/connect.md gives to copy, as GitLab would read them. The first one runs."""

import re
from pathlib import Path

from sluicegate_cli.exit_codes import ExitCode
from stand import Stand, component, package
from stand.shells import Machine

ROOT = component.FILE.parents[1]
CONNECT = "docs/start/connect.md"
PAGE = (ROOT / CONNECT).read_text()


def test_the_first_include_deploys(stand: Stand, function: str, tmp_path: Path) -> None:
    machine = Machine.with_shell("dash", tmp_path)
    pipelines = map(component.interpolated, re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
    first = next(each["include"][0]["inputs"] for each in pipelines if "include" in each)
    assert first["zip"] == "ORDERS-API.zip"
    (machine.directory / first["zip"]).write_bytes(
        package(f"def handler(event, context):\n    return {function!r}\n")
    )
    assert stand.audience == first["audience"]
    job = component.job(**{**first, "url": stand.endpoint, "function": function})
    ended = machine.run(job, stand.token())
    assert ended.code == ExitCode.OK, ended.log
    assert stand.invoke(function, alias="prod") == function

    log = re.search(r"```\n(\d+ bytes.*?)```", PAGE, re.S)
    assert log
    assert shape(ended.log) == shape(log[1])


def shape(log: str) -> list[str]:
    """What a log says, without what differs from one deployment to the next."""
    lines = re.sub(r"[0-9A-Z]{26}|[0-9a-f]{12,64}|'[^']*'|\d+", "#", log).splitlines()
    return [re.sub(r"^\S*#Z", "#", line) for line in lines]
