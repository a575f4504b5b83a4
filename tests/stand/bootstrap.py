"""Set up the environments that everything else runs in. Standard library only, for any Python from 3.11.

Two environments, both from locks with hashes: `.venv` to develop, test and deploy with, and
`.stand/emulator` for the AWS emulator, which pins one botocore exactly. The emulator runs Lambda functions
with its own interpreter, so that one is Python 3.13, as on Lambda, wherever this machine has one.

Nothing is done twice: each environment carries a stamp of what it was made from.
"""

from __future__ import annotations  # so that an older Python gets as far as to say what is missing

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
EMULATOR = ROOT / ".stand" / "emulator"
CHECKOV = ROOT / ".stand" / "checkov"
REQUIREMENTS = ROOT / "requirements"
OLDEST = (3, 11)
LAMBDA = (3, 13)
"""The version of Lambda's runtime in template.yaml."""


def main() -> int:
    if sys.version_info[:2] < OLDEST:
        found = ".".join(map(str, sys.version_info[:2]))
        return stop(
            f"Python 3.11 or later is needed; this is {found}. Name another: make PYTHON=/path/to/python3"
        )
    try:
        if sys.argv[1:] == ["checkov"]:
            set_up_checkov()
            return 0
        set_up_development()
        set_up_project()
        set_up_emulator()
    except subprocess.CalledProcessError as error:
        return stop(
            f"setting up failed at: {' '.join(map(str, error.cmd))}\n"
            "  It needs a package index (PyPI or a mirror of it); pip's and uv's own settings are honoured.\n"
            "  Once that is right, run the same command again."
        )
    return 0


def set_up_development() -> None:
    """`.venv`: uv, then the locked tools."""
    stamp = stamp_of(REQUIREMENTS / "uv.txt", REQUIREMENTS / "dev.txt", interpreter=Path(sys.executable))
    if is_stamped(VENV, stamp):
        return
    say("setting up .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(
            stop(
                f"{sys.executable} -m venv failed:\n{made.stdout}{made.stderr}"
                "  On Debian and Ubuntu: apt-get install python3-venv"
            )
        )
    run(VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "-r", REQUIREMENTS / "uv.txt")  # fmt: skip
    uv("pip", "install", "--python", VENV / "bin/python", "--require-hashes", "-r", REQUIREMENTS / "dev.txt")
    write_stamp(VENV, stamp)


def set_up_project() -> None:
    """This project in `.venv`, as an editable install."""
    directory = VENV / "project"
    stamp = stamp_of(ROOT / "pyproject.toml", interpreter=VENV / "bin/python")
    if is_stamped(directory, stamp):
        return
    uv("pip", "install", "--python", VENV / "bin/python", "--no-deps", "--no-build-isolation", "-e", ROOT)
    directory.mkdir(exist_ok=True)
    write_stamp(directory, stamp)


def set_up_emulator() -> None:
    """`.stand/emulator`: the emulator, with Lambda's Python if there is one."""
    lock = REQUIREMENTS / "emulator.txt"
    remembered = EMULATOR / "bin" / "python"
    if remembered.exists() and is_stamped(EMULATOR, stamp_of(lock, interpreter=remembered.resolve())):
        return
    interpreter = lambda_python()
    say(f"setting up the emulator with {interpreter}")
    if version_of(interpreter) != LAMBDA:
        say(f"  (no Python {dotted(LAMBDA)} found: functions run with this one)")
    shutil.rmtree(EMULATOR, ignore_errors=True)
    uv("venv", "--no-python-downloads", "--python", interpreter, EMULATOR)
    uv("pip", "install", "--python", remembered, "--compile-bytecode", "--require-hashes", "-r", lock)
    write_stamp(EMULATOR, stamp_of(lock, interpreter=remembered.resolve()))


def set_up_checkov() -> None:
    """`.stand/checkov`: checkov, whose pins conflict with the other tools'. `.ci/checkov` asks for it."""
    lock = REQUIREMENTS / "checkov.txt"
    interpreter = VENV / "bin/python"
    stamp = stamp_of(lock, interpreter=interpreter)
    if is_stamped(CHECKOV, stamp):
        return
    say("setting up checkov")
    shutil.rmtree(CHECKOV, ignore_errors=True)
    uv("venv", "--no-python-downloads", "--python", interpreter, CHECKOV)
    uv("pip", "install", "--python", CHECKOV / "bin/python", "--require-hashes", "-r", lock)
    write_stamp(CHECKOV, stamp)


def lambda_python() -> Path:
    """An interpreter of Lambda's version that really runs (a shim may not), else this one."""
    name = f"python{dotted(LAMBDA)}"
    candidates = [shutil.which(name)]
    if pyenv := shutil.which("pyenv"):
        root = output(pyenv, "root")
        candidates += (
            sorted(map(str, Path(root).glob(f"versions/{dotted(LAMBDA)}*/bin/{name}"))) if root else []
        )
    candidates.append(output(VENV / "bin/uv", "python", "find", "--no-python-downloads", dotted(LAMBDA)))
    for candidate in filter(None, candidates):
        if version_of(Path(candidate)) == LAMBDA:
            return Path(candidate).resolve()
    return Path(sys.executable).resolve()


def version_of(interpreter: Path) -> tuple[int, ...] | None:
    """(major, minor), or None where it does not run."""
    answer = output(interpreter, "-c", "import sys; print(*sys.version_info[:2])")
    return tuple(map(int, answer.split())) if answer else None


def output(*command: str | Path) -> str:
    """What a command prints, or nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def uv(*arguments: str | Path) -> None:
    """Run uv, quiet but for errors, and never with another environment than the one named."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    subprocess.run([VENV / "bin/uv", "--quiet", *arguments], check=True, env=environment)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def stamp_of(*files: Path, interpreter: Path) -> str:
    digest = hashlib.sha256(f"{ROOT}\n{interpreter.resolve()}\n".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_stamped(environment: Path, stamp: str) -> bool:
    file = environment / ".stamp"
    return file.is_file() and file.read_text() == stamp


def write_stamp(environment: Path, stamp: str) -> None:
    (environment / ".stamp").write_text(stamp)


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def stop(message: str) -> int:
    say(f"error: {message}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
