"""Runs the component's job as a runner does, in the shells that images have."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from stand.component import Job

SHELLS: Final = ("dash", "bash", "busybox")


@dataclass(frozen=True)
class Ended:
    """A job that has ended: its exit code, and all that it wrote."""

    code: int
    log: str


@dataclass(frozen=True)
class Machine:
    """A runner's machine: a shell, its tools, and the directory that jobs start in.

    With BusyBox, every tool but curl is BusyBox's too, as in Alpine's and curl's images.
    """

    shell: tuple[str, ...]
    directory: Path
    path: str
    temporary: Path
    environment: dict[str, str] = field(default_factory=dict)

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
        self, job: Job, token: str, *, job_id: str = "302", options: tuple[str, ...] = (), **more: str
    ) -> "Running":
        """The job's `script`. `more` are further variables of the job."""
        return self._start(job.script, job, token, options, {"CI_JOB_ID": job_id, **more})

    def run(
        self, job: Job, token: str, *, job_id: str = "302", options: tuple[str, ...] = (), **more: str
    ) -> Ended:
        """The job's `script`, to its end, and then its `after_script`, as GitLab does in any case."""
        ended = self.start(job, token, job_id=job_id, options=options, **more).wait()
        after = self.after(job, token, "failed" if ended.code else "success", job_id=job_id)
        assert after == Ended(0, "")
        return ended

    def after(self, job: Job, token: str, status: str, *, job_id: str = "302") -> Ended:
        """The job's `after_script`, once the job has this status."""
        variables = {"CI_JOB_ID": job_id, "CI_JOB_STATUS": status}
        return self._start(job.after_script, job, token, (), variables).wait()

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
        self, script: str, job: Job, token: str, options: tuple[str, ...], variables: dict[str, str]
    ) -> "Running":
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by Running)
        process = subprocess.Popen(
            [*self.shell, *options, "-c", script],
            cwd=self.directory,
            env={
                "PATH": self.path,
                "HOME": str(self.temporary),
                "TMPDIR": str(self.temporary),
                "SLUICEGATE_ID_TOKEN": token,
                **job.variables,
                **self.environment,
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

        def read() -> str:
            log.flush()
            return os.pread(log.fileno(), 1 << 20, 0).decode()

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
