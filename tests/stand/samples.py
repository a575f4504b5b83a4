"""Releases of a function to deploy, as source code: good ones, and those that a rollout has to find out.

Each answers `{"ping": true}`, what a smoke test asks, with `{"status": "ok", "release": …}` unless it is
made to fail. Any other request is work, which takes WORK seconds.
"""

from string import Template
from typing import Final

WORK: Final = 0.02

_SOURCE: Final = Template("""\
import time

RELEASE = $release
SHARE = $share  # of the requests that fail, by their ids
WORK = $seconds  # seconds


def handler(event, context):
    if event.get("ping") and $answers_ping:
        return {"status": "ok", "release": RELEASE}
    time.sleep(WORK)
    if int(context.aws_request_id[:8], 16) < SHARE * 16**8:
        raise RuntimeError(f"{RELEASE} is broken")
    return {"status": "ok", "release": RELEASE}
""")


def good(release: str) -> str:
    """Does its work."""
    return _source(release)


def raising(release: str, *, share: float = 1.0, answers_ping: bool = True) -> str:
    """Raises for a share of its requests, from 0 to 1; for the smoke test too where it answers no ping."""
    return _source(release, share=share, answers_ping=answers_ping)


def slow(release: str, seconds: float = 10 * WORK) -> str:
    """Takes its time for the work, and does it."""
    return _source(release, seconds=seconds)


def _source(release: str, *, share: float = 0.0, seconds: float = WORK, answers_ping: bool = True) -> str:
    values = {"release": release, "share": share, "seconds": seconds, "answers_ping": answers_ping}
    return _SOURCE.substitute({name: repr(value) for name, value in values.items()})
