"""Write a command's file: the whole or nothing, and never over another one without `--force`."""

import os
import tempfile
from pathlib import Path
from typing import Final

import click

from sluicegate_cli.exit_codes import ExitCode

STDOUT: Final = "-"

force_option = click.option("--force", is_flag=True, help="Replace the file if it exists.")


class CannotWrite(click.ClickException):
    """The output could not be written. It is safe to run the same command again."""

    exit_code = int(ExitCode.UNAVAILABLE)

    def __init__(self, path: str, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {error.strerror or error}")


def chosen(output: str | None, default: str, *, as_json: bool, force: bool) -> str:
    """Return where a command writes: empty where `--json` alone was asked for, which is for standard output.

    Checks it. Raises ClickException.
    """
    path = ("" if as_json else default) if output is None else output
    if path == STDOUT and as_json:
        raise click.UsageError("--json prints the document to standard output: give --output a file")
    if output is not None or path:
        check(path, force=force)
    return path


def check(path: str, *, force: bool) -> None:
    """Refuse a file that may not be written, before anything is requested. Raises ClickException."""
    if not path:
        raise click.UsageError("the value of output is empty: is a variable unset in this job?")
    if path == STDOUT:
        return
    if os.path.exists(path) and not os.path.isfile(path):
        raise click.UsageError(f"{path} is no plain file; for standard output, use --output -")
    if not force and os.path.lexists(path):
        raise _exists(path)
    try:
        # Made and gone at once: it shows whether the directory is there and takes a file.
        with tempfile.TemporaryFile(dir=os.path.dirname(path) or "."):
            pass
    except OSError as error:
        raise CannotWrite(path, error) from None


def write(path: str, data: bytes, *, force: bool) -> None:
    """Write the whole file or nothing. Without `force`, an existing one is never touched, nor is a link.

    Raises ClickException.
    """
    try:
        if force:
            _replace(Path(path), data)
        else:
            _create(Path(path), data)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise CannotWrite(path, error) from None


def _create(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        try:
            file.write(data)
            file.flush()
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sluicegate-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _exists(path: str) -> click.UsageError:
    return click.UsageError(f"{path} exists: choose another --output, or replace it with --force")
