"""Read the lines of an export of the evidence, whatever the file is."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from sluicegate_gatefile.files import UnusableFile, open_file

LONGEST: Final = 1 << 24
"""Bytes of a line. A fact has at most 16 KiB, a note 8; a header names each object that was replaced."""


class NotEvidence(ValueError):
    """The file is no export of the evidence; the message says why."""


def lines_of(file: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file, as `bounded` does. Raises NotEvidence for another one."""
    try:
        opened = open_file(file)
    except UnusableFile as error:
        raise NotEvidence(str(error)) from None
    with opened:
        yield from bounded(opened)


def bounded(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines. One that is longer than any of an export is cut, and the last."""
    while line := file.readline(LONGEST + 1):
        yield line
        if len(line) > LONGEST:
            return
