"""Shared by `approve`, `reject` and `abort`: submit a decision on a deployment."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import follow
from sluicegate_cli.options import (
    SHORT_TEXT,
    CommandFunction,
    deployment_argument,
    max_wait_option,
    wait_option,
)
from sluicegate_cli.screen import Screen

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

_OUTCOMES: Final = {"approve": "approved", "reject": "rejected", "abort": "is being aborted"}


def decision_options(*, wait: bool) -> Callable[[CommandFunction], CommandFunction]:
    """Add the argument and the options of a decision; `wait` is the default of `--wait`."""

    def decorate(verb: CommandFunction) -> CommandFunction:
        reason = click.option(
            "--reason",
            type=SHORT_TEXT,
            metavar="TEXT",
            help="The reason, for the record; up to 256 characters.",
        )
        command: CommandFunction = reason(wait_option(wait)(max_wait_option(verb)))
        return deployment_argument(command)

    return decorate


def submit_decision(
    api: "ApiClient",
    screen: Screen,
    action: str,
    deployment: str,
    *,
    reason: str | None,
    wait: bool,
    max_wait: float | None,
    wanted: str,
) -> ExitCode:
    """Submit the decision. With `wait`, follow the deployment; return OK if it ends in the status `wanted`.

    Raises ApiError.
    """
    body: dict[str, Any] = {} if reason is None else {"reason": reason}
    answer = api.post("deployments", deployment, action, body=body)
    document = answer.document
    again = " (already requested)" if answer.replayed else ""
    screen.line(f"deployment {document['id']} {_OUTCOMES[action]}{again}", "bold")
    if wait:
        return follow(api, screen, document, max_wait=max_wait, wanted=wanted)
    screen.document(document)
    if document["final"]:
        screen.line(f"status: {document['status']}")
    else:
        screen.line(
            f"status: {document['status']}; it continues on its own. "
            f"To follow it: sluicegate watch {document['id']}"
        )
    return ExitCode.OK
