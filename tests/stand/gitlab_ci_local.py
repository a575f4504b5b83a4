"""`gitlab-ci-local`, which reads `.gitlab-ci.yml` and runs its jobs on this machine, much as GitLab would.

Source: https://github.com/firecow/gitlab-ci-local. Installed with npm beside the stand's other environments.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from stand import places

VERSION: Final = "4.61.1"
"""The last one for Node 18 and 20."""

_HOME: Final = places.STAND / "gitlab-ci-local"


def installed() -> Path:
    """The command. Skips the test, and says why, where it is not installed."""
    for needed in ("npm", "rsync"):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is missing: install it with your system's packages (.ci/run does)")
    command = _HOME / VERSION / "node_modules/.bin/gitlab-ci-local"
    if command.is_file():
        return command
    into, package = str(_HOME / VERSION), f"gitlab-ci-local@{VERSION}"
    wanted = ["npm", "install", "--no-audit", "--no-fund", "--prefix", into, package]
    done = subprocess.run(wanted, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm could not install gitlab-ci-local: {done.stderr[-300:]}")
    return command


def run(project: Path, pipeline: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The pipeline's jobs, in the shell of this machine, with the component's file in the project.

    It makes no ID tokens: `variables` has to bring one, as GitLab would.
    """
    command = installed()
    (project / "templates").mkdir(parents=True)
    shutil.copy(places.ROOT / "templates/deploy.yml", project / "templates")
    (project / ".gitlab-ci.yml").write_text(pipeline)
    git = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.com"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["remote", "add", "origin", "git@gitlab.example.com:acme/stock.git"],
        ["add", "--all"],
        ["commit", "--quiet", "--message=A release"],
        ["tag", "v1.0.0"],
    ):
        subprocess.run([*git, *arguments], cwd=project, check=True)
    given = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
    return subprocess.run(
        [command, "--force-shell-executor", "--no-color", *given],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(project.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
