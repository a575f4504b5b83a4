"""The process's streams and signals: what a pipe, a closed stream, a full disk or a plain terminal does.

No way in which output fails may look like an outcome of a deployment: exit code 1 has that meaning.
"""

import codecs
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Final, NoReturn

import sluicegate
from sluicegate_cli.errors import Interrupted

INTERRUPTED: Final = 128 + signal.SIGINT
"""The exit code after Ctrl-C, as shells have it."""

BROKEN_PIPE: Final = 128 + signal.SIGPIPE
"""The exit code when the reader of the output went away, as shells have it."""

BUG: Final = 70
"""The exit code after an unforeseen error (EX_SOFTWARE of sysexits.h): 1 is an outcome of a deployment."""

_OUTPUT: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF, errno.EROFS})
_NO_OUTPUT: Final = 5  # it is safe to run the same command again
LOOKALIKES: Final = {
    "✓": "+",
    "✗": "x",
    "…": "...",
    "█": "#",
    "░": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "·": ".",
    "×": "x",
    "∞": "inf",
    "●": "o",
    **dict.fromkeys("│├┤", "|"),
    **dict(zip("▁▂▃▄▅▆▇", "_.-=+*%", strict=True)),
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
}
"""What is printed instead of a character that a stream's encoding does not have."""

_HANDLER: Final = "sluicegate.lookalike"


def prepare() -> None:
    """Make the streams safe to write to, and let SIGTERM interrupt as Ctrl-C does.

    A character that the terminal cannot show must not end a deployment's report half way: it becomes one
    that looks alike, or `?`. A closed stream becomes one that leads nowhere, so that no file or connection
    takes its number. GitLab's runner ends a cancelled job by SIGTERM.
    """
    codecs.register_error(_HANDLER, _lookalike)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors=_HANDLER)
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(*_: object) -> NoReturn:
    raise Interrupted(number=signal.SIGTERM)


def _lookalike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 (the handler of an output stream)
    replaced = "".join(LOOKALIKES.get(each, "?") for each in error.object[error.start : error.end])
    return replaced, error.end


@contextmanager
def ending() -> Iterator[None]:
    """End the process if its output cannot be written, with a code that is no outcome of a deployment."""
    try:
        try:
            yield
        except SystemExit:
            sys.stdout.flush()
            raise
    except BrokenPipeError:
        _quiet()
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        if error.errno == errno.EPIPE:
            _quiet()
            sys.exit(BROKEN_PIPE)
        if error.filename is not None:
            _say(f"cannot use {error.filename}: {error.strerror}")
            sys.exit(2)
        if error.errno not in _OUTPUT:
            _bug(error)
        _say(f"cannot write the output: {error.strerror}. An accepted deployment continues on its own.")
        _quiet()
        sys.exit(_NO_OUTPUT)
    except Exception as error:
        _bug(error)


def _bug(error: Exception) -> NoReturn:
    """End after an error that nobody foresaw, with a code that is no outcome of a deployment.

    The error's text may hold anything, so only its type and place are shown.
    """
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    _say(
        f"a bug in sluicegate {sluicegate.__version__}: {type(error).__name__} in {where}. Please report it."
        " An accepted deployment continues on its own."
    )
    sys.exit(BUG)


def _say(message: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"Error: {message}\n")
        sys.stderr.flush()


def _quiet() -> None:
    """Let nothing be written at the interpreter's end: it would fail again, with a traceback."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
