"""What `approve`, `reject` and `abort` share: a word about a deployment of somebody else's."""

from collections.abc import Callable
from typing import Any

import click

from sluicegate_cli.api import ApiClient
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import follow
from sluicegate_cli.options import Verb, max_wait, waiting
from sluicegate_cli.screen import Screen

_SAID = {"approve": "approved", "reject": "rejected", "abort": "told to abort"}


def decision_options(*, wait: bool) -> Callable[[Verb], Verb]:
    """The argument and the options of a decision; `wait` is the default of `--wait`."""

    def decorate(verb: Verb) -> Verb:
        reason = click.option("--reason", metavar="TEXT", help="Why, for the record; up to 256 characters.")
        command: Verb = reason(waiting(wait)(max_wait(verb)))
        return click.argument("deployment", metavar="ID")(command)

    return decorate


def decide(
    api: ApiClient,
    screen: Screen,
    what: str,
    deployment: str,
    *,
    reason: str | None,
    wait: bool,
    max_wait: float | None,
    wanted: str,
) -> ExitCode:
    """Says it, and with `wait` follows the deployment: OK where it ends in the status `wanted`.

    Raises ApiError.
    """
    body: dict[str, Any] = {} if reason is None else {"reason": reason}
    answer = api.post("deployments", deployment, what, body=body)
    document = answer.document
    again = " before" if answer.replayed else ""
    screen.line(f"deployment {document['id']} {_SAID[what]}{again}", "bold")
    if wait:
        return follow(api, screen, document, max_wait=max_wait, wanted=wanted)
    screen.document(document)
    if document["final"]:
        screen.line(f"it is {document['status']}")
    else:
        screen.line(f"it is {document['status']} and goes on by itself: sluicegate watch {document['id']}")
    return ExitCode.OK
