"""The options that every verb of the API shares, and the kinds of values that they take."""

import os
import re
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from sluicegate_cli.api import ApiClient, endpoint
from sluicegate_cli.durations import seconds_of
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.screen import Screen

_INTERRUPTED = 128 + signal.SIGINT  # as shells say it


class Duration(click.ParamType):
    """`90s`, `5m`, `2h`, `1d`, as in the gate file; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return value
        try:
            return seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Matching(click.ParamType):
    """A string that must have a form, with an example of it for who gets it wrong."""

    def __init__(self, name: str, pattern: str, example: str) -> None:
        self.name = name
        self._pattern = pattern
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(self._pattern, value):
            self.fail(f"{value!r} does not look like {self._example}", param, ctx)
        return str(value)


Verb = Callable[..., Any]
"""A verb's function, with as many of its options taken as there are."""

DIGEST = Matching("sha256", r"[0-9a-f]{64}", "the 64 lower-case hex digits of a SHA-256")
VERSION = Matching("version", r"[1-9][0-9]{0,17}", "a published version's number, such as 41")

max_wait = click.option(
    "--max-wait",
    type=Duration(),
    show_default="10m, and what the steps bake",
    help="Stop following after this long (exit 6). The deployment itself goes on.",
)


def waiting(default: bool) -> Callable[[Verb], Verb]:
    """`--wait/--no-wait`."""
    return click.option(
        "--wait/--no-wait", default=default, show_default=True, help="Follow the deployment to its end."
    )


def connected(verb: Callable[..., ExitCode]) -> Callable[..., None]:
    """Gives a verb its `api` and `screen`, adds the shared options, and ends with the verb's exit code.

    Whatever the API refused or could not be asked is shown here, once, in one form.
    """

    @click.option(
        "--url",
        envvar="SLUICEGATE_URL",
        show_envvar=True,
        help="The API, up to and including /v1. https, unless it is on this machine.",
    )
    @click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Read the ID token from this file instead of SLUICEGATE_TOKEN.",
    )
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; progress on stderr.")
    @wraps(verb)
    def run(url: str | None, token_file: Path | None, as_json: bool, **arguments: Any) -> None:
        screen = Screen(as_json=as_json)
        exit_code: int
        try:
            with ApiClient(endpoint(url or ""), _token(token_file), notice=screen.note) as api:
                exit_code = verb(api=api, screen=screen, **arguments)
        except ApiError as error:
            screen.error(error)
            exit_code = error.exit
        except KeyboardInterrupt:
            screen.note("interrupted; a deployment that was accepted goes on by itself")
            exit_code = _INTERRUPTED
        click.get_current_context().exit(exit_code)

    return run


def _token(file: Path | None) -> str:
    """The ID token, from the file or the environment; never an argument, which every process list shows."""
    token = (file.read_text("utf-8", "replace") if file else os.environ.get("SLUICEGATE_TOKEN", "")).strip()
    if not token:
        raise click.UsageError(
            "no ID token. Let the job ask for one (id_tokens: {SLUICEGATE_TOKEN: {aud: ...}}), "
            "or give a file with --token-file."
        )
    # Refused here, without showing it: a header cannot carry it, and an HTTP library's message would show it.
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise click.UsageError("what was given as ID token is not one: it has spaces or special characters")
    return token
