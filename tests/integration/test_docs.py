"""The job that docs/deploy.md gives to copy, run as it stands there."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from stand import Stand, package

DOCS = Path(__file__).parents[2] / "docs"


def script() -> str:
    """What the first job of the page does, in a shell with curl."""
    page = (DOCS / "deploy.md").read_text()
    jobs = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    (found,) = [
        job["deploy"]["script"][0] for job in jobs if "curl" in str(job.get("deploy", {}).get("script"))
    ]
    return str(found)


def run(
    shell: str, stand: Stand, function: str, archive: Path, token: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(archive.parent),
        "TMPDIR": str(archive.parent),
        "SLUICEGATE_TOKEN": token,
        "SLUICEGATE_URL": stand.endpoint,
        "FUNCTION": function,
        "STAGE": "prod",
        "ZIP": str(archive),
    }
    return subprocess.run(
        [shell, "-c", script()], env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_documented_job_deploys_and_repeats_and_fails(stand: Stand, shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell) or not shutil.which("curl"):
        pytest.skip(f"needs {shell} and curl")
    function = f"orders-{uuid4().hex[:8]}"
    stand.create_function(function)
    archive = tmp_path / "a release.zip"
    archive.write_bytes(package(f"def handler(event, context):\n    return {function!r}\n"))
    token = stand.token()

    first = run(shell, stand, function, archive, token)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1].endswith("alias prod serves version 1")
    assert stand.invoke(function, alias="prod") == function
    again = run(shell, stand, function, archive, token)
    assert (again.returncode, again.stdout) == (0, first.stdout)

    refused = run(shell, stand, function, archive, stand.token(project_id="999"))
    assert refused.returncode != 0
    assert "not_allowed: no rule allows" in refused.stderr
    assert token not in first.stdout + first.stderr + again.stderr
    stand.delete_function(function)
