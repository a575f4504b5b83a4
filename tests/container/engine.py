"""A container engine and Lambda's runtime image, whatever this machine has of them.

Where no engine answers, root installs Debian's and starts it, and ends it again. Where no registry can be
reached, a stand-in for the runtime image is made from Debian (whose Python is Lambda's version) and
`awslambdaric`, the runtime interface client that is in the real image too.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from stand import places

IMAGE: Final = "public.ecr.aws/lambda/python:3.13-x86_64"
RELEASE: Final = "trixie"
"""The Debian release with Python 3.13."""

_ENTRYPOINT: Final = """\
#!/bin/sh
export _HANDLER="$1"
if [ -z "$AWS_LAMBDA_RUNTIME_API" ]; then
  exec /usr/local/bin/aws-lambda-rie /var/runtime/bootstrap
fi
exec /var/runtime/bootstrap
"""
_BOOTSTRAP: Final = """\
#!/bin/sh
export PYTHONPATH="$LAMBDA_TASK_ROOT:/opt/python/lib/python3.13/site-packages:/opt/python:/var/runtime"
exec /usr/bin/python3 -m awslambdaric "$_HANDLER"
"""
_SETTINGS: Final = (
    "ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "ENV LANG=en_US.UTF-8 TZ=:/etc/localtime",
    "ENV LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime",
    "WORKDIR /var/task",
    'ENTRYPOINT ["/lambda-entrypoint.sh"]',
)
"""As in the real image's configuration."""


class NoEngineError(Exception):
    """No container engine, and nothing that could be done about it; the text says what could be."""


@contextmanager
def engine() -> Iterator[None]:
    """A container engine that answers, for the length of the block. Raises NoEngineError."""
    if answers():
        yield
        return
    if os.geteuid() != 0:
        raise NoEngineError("no container engine answers: start Docker, or run as root and one is installed")
    install("docker.io", provides="dockerd")
    log = places.STAND / "dockerd.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        daemon = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(daemon, log)
        yield
    finally:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=60).returncode == 0


def wait_for(daemon: subprocess.Popen[bytes], log: Path, *, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and daemon.poll() is None:
        if answers():
            return
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise NoEngineError(f"dockerd did not start:\n{tail}")


def install(*packages: str, provides: str) -> None:
    """Install Debian packages unless the program is there. Raises NoEngineError elsewhere than on Debian."""
    if shutil.which(provides):
        return
    if not shutil.which("apt-get"):
        raise NoEngineError(f"{provides} is missing: install it with your system's packages")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=True, env=quiet)
    subprocess.run(
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], check=True, env=quiet
    )


def ensure_image() -> None:
    """Lambda's runtime image: the one that is here, or from its registry, or a stand-in under its name."""
    if (
        subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode
        == 0
    ):
        return
    pulled = subprocess.run(
        ["docker", "pull", "--quiet", IMAGE], capture_output=True, check=False, timeout=600
    )
    if pulled.returncode:
        make_image()


def make_image() -> None:
    """Make the stand-in with debootstrap and import it. Needs root and a Debian mirror."""
    install("debootstrap", provides="debootstrap")
    with tempfile.TemporaryDirectory(prefix="sluicegate-image-") as directory:
        root = Path(directory)
        packages = "--include=python3,ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", packages, RELEASE, root], check=True)
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
            shutil.rmtree(root / waste, ignore_errors=True)
        runtime, task = root / "var/runtime", root / "var/task"
        task.mkdir()
        executable(root / "lambda-entrypoint.sh", _ENTRYPOINT)
        executable(runtime / "bootstrap", _BOOTSTRAP)
        platform = ["--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_28"]
        into: list[str | Path] = [
            places.VENV / "bin/uv",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            *platform,
        ]
        lock = places.ROOT / "requirements/runtime-image.txt"
        subprocess.run([*into, "--only-binary", ":all:", "--target", runtime, "-r", lock], check=True)
        import_image(root)


def import_image(root: Path) -> None:
    changes = [part for setting in _SETTINGS for part in ("--change", setting)]
    command = ["docker", "import", *changes, "-", IMAGE]
    archive = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
    subprocess.run(command, stdin=archive.stdout, check=True, capture_output=True)
    if archive.wait():
        raise NoEngineError("tar failed while the runtime image was made")


def executable(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
