"""The session of a person, kept here as an SSH key is: one file for each endpoint, for nobody else to read.

`$XDG_STATE_HOME/sluicegate/sessions/`, or `~/.local/state/sluicegate/sessions/` (XDG Base Directory
Specification 0.8: state that should persist between runs, and is not worth a backup).
"""

import hashlib
import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from sluicegate.text import clean
from sluicegate_cli.output_file import CannotWrite

_MAX: Final = 16_384
"""Bytes of a file."""


@dataclass(frozen=True)
class StoredSession:
    """A session for the API at `url`, and whose it is. `expires_at` is as the API said it (RFC 3339)."""

    url: str
    token: str = field(repr=False)
    issuer: str
    user_id: str
    user_login: str
    expires_at: str


def save(session: StoredSession) -> Path:
    """Keep the session in the place of an earlier one, and return the file. Raises CannotWrite."""
    file = path_of(session.url)
    try:
        _save(session, file)
    except OSError as error:
        raise CannotWrite(str(file), error) from None
    return file


def _save(session: StoredSession, file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    written = file.with_suffix(f".{os.getpid()}.new")
    with suppress(FileNotFoundError):
        written.unlink()
    # Made for the owner alone from the start, and never through somebody's link.
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(asdict(session), out)
        out.flush()
        os.fsync(out.fileno())
    written.replace(file)


def load(url: str, *, to_end_it: bool = False) -> StoredSession | None:
    """Return the session for the API at this URL, or None. Raises UsageError for a file that others may read.

    A session that others could read is good for nothing but to be ended.
    """
    file = path_of(url)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise click.UsageError(f"cannot read the session in {file}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as source:
        status = os.fstat(descriptor)
        exposed = status.st_uid != os.geteuid() or status.st_mode & 0o077
        if not stat.S_ISREG(status.st_mode) or (exposed and not to_end_it):
            raise click.UsageError(
                f"the session in {file} could have been read or written by others: `sluicegate logout` ends"
                " it. Then sign in again"
            )
        content = source.read(_MAX + 1)
    try:
        found = StoredSession(**json.loads(content[:_MAX].decode("utf-8")))
        texts = all(isinstance(value, str) for value in asdict(found).values())
    except (ValueError, TypeError):
        texts = False
    if not texts or found.url != url or not re.fullmatch(r"sgs_[A-Za-z0-9_-]{1,200}", found.token):
        raise click.UsageError(f"{file} has no session in it. Delete it, and run `sluicegate login`")
    return found


def forget(url: str) -> bool:
    """Delete the session for the API at this URL; return whether there was one. Raises OSError."""
    try:
        path_of(url).unlink()
    except FileNotFoundError:
        return False
    return True


def path_of(url: str) -> Path:
    """Return the file of an endpoint: named by its host, and by a digest of the whole."""
    host = re.sub(r"[^A-Za-z0-9.-]", "_", clean(urlsplit(url).netloc, 100))
    return _directory() / f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"


def _directory() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    # A relative path is to be ignored (XDG Base Directory Specification).
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "sluicegate" / "sessions"
