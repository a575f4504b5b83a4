"""Shared by `deploy`, `promote` and `rollback`: their common options, and the request for a deployment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from sluicegate.documents import describe
from sluicegate.text import clean
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import continues, follow
from sluicegate_cli.options import (
    KEY,
    SHORT_TEXT,
    VERSION,
    CommandFunction,
    TextParam,
    max_wait_option,
    wait_option,
)
from sluicegate_cli.screen import Screen
from sluicegate_cli.strategy import FORMS, StrategyParam

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient


@dataclass(frozen=True)
class SharedOptions:
    """The values of the shared options. `members` go into the body; `max_wait` is in seconds."""

    members: Mapping[str, Any]
    dry_run: bool
    key: str | None
    wait: bool
    max_wait: float | None


_SHARED: Final[tuple[Callable[[CommandFunction], CommandFunction], ...]] = (
    click.option(
        "--release", type=TextParam(128), metavar="LABEL", help="A label to find the deployment by."
    ),
    click.option("--description", type=SHORT_TEXT, metavar="TEXT", help="A description, for the record."),
    click.option(
        "--expect-version",
        type=VERSION,
        help="Deploy only if the stage serves this version now; otherwise exit with code 4.",
    ),
    click.option(
        "--on-busy",
        type=click.Choice(("fail", "supersede")),
        help="If another deployment is in progress for the stage, fail, or abort it and continue. "
        "The default is fail; for a rollback, supersede.",
    ),
    click.option("--dry-run", is_flag=True, help="Show what would happen, and deploy nothing."),
    click.option(
        "--idempotency-key",
        type=KEY,
        metavar="KEY",
        help="Identify the request. By default, repeating the command in the same job finds its deployment.",
    ),
    wait_option(True),
    max_wait_option,
)
_STRATEGY: Final[Callable[[CommandFunction], CommandFunction]] = click.option(
    "--strategy",
    type=StrategyParam(),
    help=f"Shift traffic in this way instead of the stage's: {FORMS}. A less cautious strategy than the "
    "stage's needs a rule with override-strategy.",
)


def request_options(*, strategy: bool) -> Callable[[CommandFunction], CommandFunction]:
    """Pass the shared options to a command as its `request`; include `--strategy` if it may choose one."""

    def decorate(function: CommandFunction) -> CommandFunction:
        @wraps(function)
        def run(
            *,
            release: str | None,
            description: str | None,
            expect_version: str | None,
            on_busy: str | None,
            dry_run: bool,
            idempotency_key: str | None,
            wait: bool,
            max_wait: float | None,
            strategy: Mapping[str, Any] | None = None,
            **arguments: Any,
        ) -> Any:
            members = {
                "release": release or None,  # empty as `--release "$CI_COMMIT_TAG"` on a branch
                "description": description or None,
                "expect": expect_version and {"version": expect_version},
                "on_busy": on_busy,
                "strategy": strategy,
            }
            given = {name: value for name, value in members.items() if value is not None}
            return function(
                request=SharedOptions(given, dry_run, idempotency_key, wait, max_wait), **arguments
            )

        command: CommandFunction = run
        for option in reversed((_STRATEGY, *_SHARED) if strategy else _SHARED):
            command = option(command)
        return command

    return decorate


def submit(api: "ApiClient", screen: Screen, request: SharedOptions, about: Mapping[str, Any]) -> ExitCode:
    """Request the deployment that `about` describes, and follow it. Raises ApiError."""
    body = {**about, **request.members}
    if request.dry_run:
        return _dry_run_summary(
            screen, body, api.post("deployments", body={**body, "dry_run": True}).document
        )
    answer = api.post("deployments", body=body, key=request.key)
    deployment = answer.document
    again = " (already requested)" if answer.replayed else ""
    with continues(str(deployment["id"])):
        screen.line(f"deployment {deployment['id']} accepted by rule {deployment['rule']!r}{again}", "bold")
        if request.wait:
            return follow(api, screen, deployment, max_wait=request.max_wait)
    screen.document(deployment)
    screen.line(f"it continues on its own. To follow it: sluicegate watch {deployment['id']}")
    return ExitCode.OK


def _dry_run_summary(screen: Screen, body: Mapping[str, Any], answer: Mapping[str, Any]) -> ExitCode:
    """Show the result of a dry run: the plan, and a deployment that blocks it."""
    screen.document(answer)
    plan = answer["plan"]
    screen.line(f"dry run: allowed by rule {answer['rule']!r}; nothing was changed", "bold")
    to = f" to version {answer['version']}" if answer.get("version") else ""
    screen.line(f"would move alias {plan['alias']} in {describe.target(plan['target'])}{to}")
    for step in plan["steps"]:
        screen.line(f"  {describe.step(step)}")
    for name, fact in describe.plan(plan).items():
        screen.line(f"{name}: {fact}")
    if fix := answer.get("fix_forward"):
        alarms = ", ".join(clean(name) for name in fix["alarms"])
        screen.line(
            f"fix-forward: would overlook what is firing right before the first move, of alarms {alarms}"
            if alarms
            else "fix-forward: the stage watches no alarm, so there is nothing to overlook",
            "yellow",
        )
    if unseen := answer.get("not_checked"):
        screen.line(f"not checked, as only the deployer can look there: {'; '.join(unseen)}")
    if answer["busy"]:
        holder = answer["deployment"] or "another deployment"
        on_busy = body.get("on_busy") or ("supersede" if body["action"] == "rollback" else "fail")
        screen.line(
            f"{holder} is in progress and would be aborted first"
            if on_busy == "supersede"
            else f"the request would be rejected as busy now: {holder} is in progress",
            "yellow",
        )
    return ExitCode.OK
