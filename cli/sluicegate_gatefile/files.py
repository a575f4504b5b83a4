"""Read a file of a known size, whatever is at its path: a device, a pipe or a link to one never ends."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


class UnusableFile(ValueError):
    """It cannot be read; the message says why."""


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes. Raises UnusableFile for others."""
    with open_file(path) as opened:
        try:
            data = opened.read(limit + 1)
        except OSError as error:
            raise UnusableFile(f"cannot read it: {error.strerror}") from error
    if len(data) > limit:
        raise UnusableFile(f"larger than {limit // 1024} KiB")
    return data


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read it. Raises UnusableFile for anything else.

    Links are followed: the kernel ends circles of them.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise UnusableFile(f"cannot read it: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UnusableFile("cannot read it: not a regular file")
    return os.fdopen(file, "rb")
