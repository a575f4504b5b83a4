"""The options that every API command shares, and the types of their values."""

import re
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import sluicegate
from sluicegate.deployment.ulid import is_id
from sluicegate.text import clean
from sluicegate_cli.auth.choosing import ID_TOKEN, STS_TOKEN, WAYS, WITH_TOKEN, AuthOptions, authorization
from sluicegate_cli.durations import seconds_of
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.fields import READING, of_command, wrong
from sluicegate_cli.screen import Screen
from sluicegate_gatefile.files import UnusableFile, read_file

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_TOKEN_FILE: Final = 65_536
"""Bytes that a token's file may have."""

TOKEN_FILE: Final = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

_UNFOLLOWED = (
    "interrupted. If a request was in progress, it may have been accepted: run the same command again to find"
    " it, or see `sluicegate history`"
)


class DurationParam(click.ParamType):
    """A duration such as `90s`, `5m`, `2h` or `1d`, as in the gate file; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return value
        try:
            return seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class PatternParam(click.ParamType):
    """A string that must match a pattern; the error message shows an example."""

    def __init__(self, name: str, pattern: str, example: str) -> None:
        self.name = name
        self._pattern = pattern
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(self._pattern, value):
            self.fail(f"{value!r} does not look like {self._example}", param, ctx)
        return str(value)


CommandFunction = Callable[..., Any]
"""A command's function, at any stage of its decoration with options."""


class TextParam(click.ParamType):
    """A text for the record, of at most so many characters."""

    name = "text"

    def __init__(self, most: int) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if len(value) > self._most:
            self.fail(f"it has {len(value)} characters, and {self._most} is the limit", param, ctx)
        return str(value)


class DeploymentParam(click.ParamType):
    """A deployment's id, in upper or lower case; the value is in upper case.

    With `or_function`, anything else is a function's name, and left as it is.
    """

    name = "deployment"

    def __init__(self, *, or_function: bool = False) -> None:
        self._or_function = or_function

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if is_id(str(value).upper()):
            return str(value).upper()
        if value and not self._or_function:
            self.fail(
                f"{clean(str(value), 100)!r} is no id: a deployment's id looks like"
                " 01KAQ3ZV6N8T4R1F0C2H7M5XWE; `sluicegate history` lists them",
                param,
                ctx,
            )
        return str(value)


deployment_argument = click.argument("deployment", metavar="ID", type=DeploymentParam())

SHORT_TEXT = TextParam(256)
KEY = PatternParam("key", r"[\x20-\x7e]{1,128}", "a key of 1 to 128 printable ASCII characters")
DIGEST = PatternParam("sha256", r"[0-9a-f]{64}", "the 64 lower-case hex digits of a SHA-256")
VERSION = PatternParam("version", r"[1-9][0-9]{0,17}", "a published version's number, such as 41")

max_wait_option = click.option(
    "--max-wait",
    type=DurationParam(),
    show_default="10m plus the bake time of all steps",
    help="Stop following after this time (exit code 6). The deployment continues.",
)


def wait_option(default: bool) -> Callable[[CommandFunction], CommandFunction]:
    """Add `--wait/--no-wait`."""
    return click.option(
        "--wait/--no-wait", default=default, show_default=True, help="Follow the deployment to its end."
    )


def gate_option(name: str, **settings: Any) -> Callable[[CommandFunction], CommandFunction]:
    """Add `--gate` as the argument `name`; `--gate-file` is the same."""
    return click.option("--gate", "--gate-file", name, metavar="FILE", **settings)


def stack_option(name: str, **settings: Any) -> Callable[[CommandFunction], CommandFunction]:
    """Add `--stack` as the argument `name`; `--stack-name` is the same."""
    return click.option("--stack", "--stack-name", name, metavar="NAME", **settings)


own_stack_option = stack_option(
    "stack_name",
    default="sluicegate",
    show_default=True,
    help="The name of Sluicegate's own stack, whose functions no pattern may match.",
)


def auth_options(function: CommandFunction) -> CommandFunction:
    """Pass `auth` to a command: how it proves who calls."""

    @click.option(
        "--auth",
        "way",
        type=click.Choice(WAYS),
        default=WITH_TOKEN,
        envvar="SLUICEGATE_AUTH",
        show_envvar=True,
        show_default=True,
        help="Prove who calls with the job's ID token, with AWS credentials, or with both at once.",
    )
    @click.option(
        "--token-file",
        type=TOKEN_FILE,
        help=f"Read the ID token from this file (`-`: standard input) instead of {ID_TOKEN}.",
    )
    @click.option(
        "--role-arn",
        metavar="ARN",
        envvar="SLUICEGATE_ROLE_ARN",
        show_envvar=True,
        help=f"With --auth iam: assume this role with the job's token in {STS_TOKEN}. Default: the"
        " credentials of the environment or of AWS_PROFILE.",
    )
    @click.option(
        "--region",
        metavar="REGION",
        help="With --auth iam: the API's region, if its address does not say it (a domain name of your own)."
        " Default: AWS_REGION, or the profile's.",
    )
    @wraps(function)
    def run(
        way: str, token_file: Path | None, role_arn: str | None, region: str | None, **arguments: Any
    ) -> Any:
        return function(auth=AuthOptions(way, token_file, region or None, role_arn or None), **arguments)

    return run


def api_command(function: Callable[..., ExitCode]) -> Callable[..., None]:
    """Pass `api` and `screen` to a command, add the shared options, and exit with the returned code.

    All API errors are shown here, in one form.
    """

    @url_option
    @auth_options
    @click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document to stdout, and progress to stderr."
    )
    @click.option(
        "--field",
        "fields",
        metavar="NAME",
        multiple=True,
        help="Print only this field of the document, such as id or alias.current.version, as plain text."
        " Several are separated by tabs. With --json, as JSON.",
    )
    @wraps(function)
    def run(
        url: str | None, auth: AuthOptions, as_json: bool, fields: tuple[str, ...], **arguments: Any
    ) -> None:
        for name, value in arguments.items():
            if value == "":
                what = name.replace("_", "-")
                raise click.UsageError(f"the value of {what} is empty: is a variable unset in this job?")
        name = click.get_current_context().info_name or ""
        if problem := wrong(name, fields, arguments):
            raise click.BadParameter(problem, param_hint="--field")  # before anything is accepted
        screen = Screen(as_json=as_json, fields=fields, shape=of_command(name, arguments))

        def call() -> ExitCode:
            with client(url, auth, screen) as api:
                ended = function(api=api, screen=screen, **arguments)
            lacks = screen.missing and name in READING and ended is ExitCode.OK
            return ExitCode.UNACCEPTABLE if lacks else ended

        exit_code = outcome(screen, call)
        click.get_current_context().exit(exit_code)

    return run


def client(url: str | None, auth: AuthOptions, screen: Screen) -> "ApiClient":
    """Return a client for the API at the URL. Raises UsageError."""
    from sluicegate_cli.api import ApiClient, endpoint  # imports httpx2, which help does not need

    address = endpoint(url or "")
    if auth.way != WITH_TOKEN:  # the stack's output IamEndpoint is an address too
        address = address.removesuffix("/iam")
    return ApiClient(address, authorization(address, auth, token_in), notice=screen.note)


def outcome(screen: Screen, call: Callable[[], int]) -> int:
    """Call it, show any error of the API, and return the exit code. Raises UsageError."""
    try:
        return call()
    except ApiError as error:
        screen.error(error)
        return error.exit
    except KeyboardInterrupt as error:
        screen.note(getattr(error, "note", "") or _UNFOLLOWED)
        return 128 + int(getattr(error, "number", signal.SIGINT))
    except UnicodeEncodeError:
        raise click.UsageError("an argument is not text in this locale's encoding") from None
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        screen.error(_unreadable(error))
        return ExitCode.UNAVAILABLE
    except OSError as error:
        if error.filename is None:
            raise
        raise click.UsageError(f"cannot read {error.filename}: {error.strerror}") from None


def url_option(function: CommandFunction) -> CommandFunction:
    """Add `--url`, as the API's commands have it."""
    return click.option(
        "--url",
        envvar="SLUICEGATE_URL",
        show_envvar=True,
        help="The URL of the API, up to and including /v1. Must be https, except on this machine.",
    )(function)


def token_in(file: Path) -> str:
    """Return the text of a token's file, or of standard input.

    Raises UsageError for what is empty or may never end.
    """
    if str(file) == "-":
        data = click.get_binary_stream("stdin").read(_TOKEN_FILE + 1)
        if len(data) > _TOKEN_FILE:
            raise click.BadParameter(f"larger than {_TOKEN_FILE // 1024} KiB", param_hint="--token-file")
    else:
        try:
            data = read_file(file, _TOKEN_FILE)
        except UnusableFile as error:
            raise click.BadParameter(f"{file}: {error}", param_hint="--token-file") from None
    text = data.decode("utf-8", "replace").strip()
    if not text:
        what = "standard input" if str(file) == "-" else f"the file {file}"
        raise click.UsageError(f"{what} given with --token-file is empty: was the token written to it?")
    return text


def _unreadable(error: Exception) -> ApiError:
    """Return the error of a document of another shape than the API's, as another server may answer."""
    lacks = (
        f" has no {clean(str(error))}" if isinstance(error, KeyError) else " has another shape than expected"
    )
    detail = (
        f"the endpoint responded with JSON that{lacks}: it is not Sluicegate's API, or of another version"
        f" than this command ({sluicegate.__version__})"
    )
    document = {"code": "unexpected_answer", "title": "Unexpected response", "detail": detail}
    return ApiError(ExitCode.UNAVAILABLE, document)
