"""Runs the component's job as a runner does, in the shells that images have."""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from stand import ci_variables
from stand.ci_variables import Variables
from stand.component import Job

SHELLS: Final = ("dash", "bash", "busybox")

IMAGE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the job looks for its tools, whatever PATH says."""


@dataclass(frozen=True)
class Ended:
    """A job that has ended: its exit code, and all that it wrote."""

    code: int
    log: str


@dataclass(frozen=True)
class Machine:
    """A runner's machine: a shell, its tools, and the directory that jobs start in.

    With BusyBox, every tool but curl is BusyBox's too, as in Alpine's and curl's images. `path` stands for
    the image's own directories: it takes the place of `IMAGE_PATH` in the script.
    """

    shell: tuple[str, ...]
    directory: Path
    path: str
    temporary: Path

    @classmethod
    def with_shell(cls, name: str, directory: Path) -> "Machine":
        """Skips the test, and says why, where this machine has no such shell, or no curl."""
        for needed in (name, "curl"):
            if not shutil.which(needed):
                pytest.skip(f"{needed} is missing: install it with your system's packages (.ci/run does)")
        project, temporary, path = directory / "project", directory / "tmp", os.environ["PATH"]
        project.mkdir()
        temporary.mkdir()
        if name != "busybox":
            return cls((name,), project, path, temporary)
        tools = directory / "busybox"
        tools.mkdir()
        subprocess.run(["busybox", "--install", "-s", str(tools)], check=True)
        for not_in_the_image in ("wget", "openssl"):
            (tools / not_in_the_image).unlink(missing_ok=True)
        return cls((str(tools / "ash"),), project, f"{tools}:{path}", temporary)

    def start(
        self,
        job: Job,
        token: str,
        *,
        sts_token: str | None = None,
        job_id: str = "302",
        options: tuple[str, ...] = (),
        given: Variables | None = None,
        **pipeline: str,
    ) -> "Running":
        """The job's `script`. `pipeline` are further variables of the pipeline.

        `sts_token` is the job's token for AWS STS; without one it is `token` as well.
        """
        variables = (given or Variables()) | Variables(pipeline=pipeline)
        predefined = {"CI_JOB_ID": job_id}
        return self._start(job.script, job, (token, sts_token), options, predefined, variables)

    def run(
        self,
        job: Job,
        token: str,
        *,
        sts_token: str | None = None,
        job_id: str = "302",
        options: tuple[str, ...] = (),
        given: Variables | None = None,
        **pipeline: str,
    ) -> Ended:
        """The job's `script`, to its end, and then its `after_script`, as GitLab does in any case."""
        variables = (given or Variables()) | Variables(pipeline=pipeline)
        started = self.start(job, token, sts_token=sts_token, job_id=job_id, options=options, given=variables)
        ended = started.wait()
        status = "failed" if ended.code else "success"
        after = self.after(job, token, status, sts_token=sts_token, job_id=job_id, given=given)
        assert after == Ended(0, "")
        return ended

    def after(
        self,
        job: Job,
        token: str,
        status: str,
        *,
        sts_token: str | None = None,
        job_id: str = "302",
        given: Variables | None = None,
    ) -> Ended:
        """The job's `after_script`, once the job has this status."""
        predefined = {"CI_JOB_ID": job_id, "CI_JOB_STATUS": status}
        variables = given or Variables()
        return self._start(job.after_script, job, (token, sts_token), (), predefined, variables).wait()

    def with_tools(self, directory: Path) -> "Machine":
        """This machine with the commands of a directory in the place of its own."""
        return replace(self, path=f"{directory}:{self.path}")

    def dotenv(self) -> dict[str, str]:
        """The report that the job leaves to later jobs."""
        file = self.directory / "sluicegate.env"
        return dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.is_file() else {}

    def left(self) -> list[str]:
        """The files that the job has left behind, in its own directory and elsewhere."""
        return sorted(
            str(file.relative_to(self.directory.parent))
            for directory in (self.directory, self.temporary)
            for file in directory.rglob("*")
        )

    def _start(
        self,
        script: str,
        job: Job,
        tokens: tuple[str, str | None],
        options: tuple[str, ...],
        predefined: dict[str, str],
        given: Variables,
    ) -> "Running":
        """As a runner does: the variables are the container's environment, and its script exports them again.

        Source: gitlab-org/gitlab-runner, shells/bash.go (`Variable`, `Finish`), read on 2026-11-26.
        """
        token, sts_token = tokens
        id_tokens = dict.fromkeys(job.keywords["id_tokens"], token)
        if sts_token is not None:
            id_tokens["SLUICEGATE_STS_TOKEN"] = sts_token
        variables = ci_variables.of_job(job.keywords, id_tokens, predefined, given)
        begins = [
            "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit",
            "set +o noclobber",
        ]
        if variables.get("CI_DEBUG_TRACE") == "true":
            begins.insert(0, "set -o xtrace")
        exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by Running)
        handle, file = tempfile.mkstemp(dir=self.directory.parent, prefix="script-")
        with os.fdopen(handle, "w") as text:
            text.write("\n".join([*begins, *exports, script.replace(IMAGE_PATH, self.path)]))
        process = subprocess.Popen(
            [*self.shell, *options, file],
            cwd=self.directory,
            env={
                "PATH": self.path,
                "HOME": str(self.temporary),
                "TMPDIR": str(self.temporary),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

        def read() -> str:
            log.flush()
            return os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")

        return Running(process, read)


@dataclass(frozen=True)
class Running:
    """A job that runs, in a process group of its own."""

    process: subprocess.Popen[bytes]
    read: Callable[[], str]
    """All that it has written so far."""

    def wait(self, patience: float = 120) -> Ended:
        try:
            code = self.process.wait(patience)
        finally:
            if self.process.poll() is None:
                self.signal(signal.SIGKILL)
        return Ended(code, self.read())

    def signal(self, number: int) -> None:
        """To all its processes."""
        os.killpg(self.process.pid, number)
