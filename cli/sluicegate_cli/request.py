"""What `deploy`, `promote` and `rollback` share: their options, and asking for a deployment.

A verb says what its request is about; everything else about it is here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

import click

from sluicegate_cli import describe
from sluicegate_cli.api import ApiClient
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.follow import follow
from sluicegate_cli.options import VERSION, Verb, max_wait, waiting
from sluicegate_cli.screen import Screen
from sluicegate_cli.strategy import FORMS, Compact


@dataclass(frozen=True)
class DeploymentRequest:
    """What the shared options say. `members` belong into the body; `max_wait` is in seconds."""

    members: Mapping[str, Any]
    dry_run: bool
    key: str | None
    wait: bool
    max_wait: float | None


_SHARED: Final[tuple[Callable[[Verb], Verb], ...]] = (
    click.option("--release", metavar="LABEL", help="A label to find the deployment by."),
    click.option("--description", metavar="TEXT", help="A sentence for the record."),
    click.option(
        "--expect-version",
        type=VERSION,
        help="Only if the stage serves this version now; else exit 4.",
    ),
    click.option(
        "--on-busy",
        type=click.Choice(("fail", "supersede")),
        help="While another deployment is under way there: be refused, or end that one and take over. "
        "A rollback takes over unless told otherwise.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would happen, and deploy nothing."),
    click.option(
        "--idempotency-key",
        metavar="KEY",
        help="Without one, the same command again in the same job finds the deployment that it started.",
    ),
    waiting(True),
    max_wait,
)
_STRATEGY: Final[Callable[[Verb], Verb]] = click.option(
    "--strategy",
    type=Compact(),
    help=f"How traffic moves, if not as the stage says: {FORMS}. Less careful than the stage's own needs a "
    "rule with override-strategy.",
)


def request_options(*, strategy: bool) -> Callable[[Verb], Verb]:
    """Gives a verb the shared options as its `request`, `--strategy` only where it may choose one."""

    def decorate(verb: Verb) -> Verb:
        @wraps(verb)
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
                "release": release,
                "description": description,
                "expect": expect_version and {"version": expect_version},
                "on_busy": on_busy,
                "strategy": strategy,
            }
            given = {name: value for name, value in members.items() if value is not None}
            return verb(
                request=DeploymentRequest(given, dry_run, idempotency_key, wait, max_wait), **arguments
            )

        command: Verb = run
        for option in reversed((_STRATEGY, *_SHARED) if strategy else _SHARED):
            command = option(command)
        return command

    return decorate


def submit(api: ApiClient, screen: Screen, request: DeploymentRequest, about: Mapping[str, Any]) -> ExitCode:
    """Asks for the deployment that `about` is the body's own part of, and follows it. Raises ApiError."""
    body = {**about, **request.members}
    if request.dry_run:
        return _would(screen, body, api.post("deployments", body={**body, "dry_run": True}).document)
    answer = api.post("deployments", body=body, key=request.key)
    deployment = answer.document
    again = " before, by this same request" if answer.replayed else ""
    screen.line(f"deployment {deployment['id']} accepted{again}, by rule {deployment['rule']!r}", "bold")
    if request.wait:
        return follow(api, screen, deployment, max_wait=request.max_wait)
    screen.document(deployment)
    screen.line(f"it goes on by itself: sluicegate watch {deployment['id']}")
    return ExitCode.OK


def _would(screen: Screen, body: Mapping[str, Any], answer: Mapping[str, Any]) -> ExitCode:
    """What a dry run found: the plan, and who is in the way."""
    screen.document(answer)
    plan = answer["plan"]
    target = plan["target"]
    screen.line(f"dry run: allowed by rule {answer['rule']!r}; nothing was changed", "bold")
    to = f" to version {answer['version']}" if answer.get("version") else ""
    screen.line(f"would move alias {plan['alias']} in {target['account']}, {target['region']}{to}")
    for step in plan["steps"]:
        screen.line(f"  {describe.step(step)}")
    for name, fact in describe.plan(plan).items():
        screen.line(f"{name}: {fact}")
    if answer["busy"]:
        holder = answer["deployment"] or "another deployment"
        on_busy = body.get("on_busy") or ("supersede" if body["action"] == "rollback" else "fail")
        screen.line(
            f"{holder} is rolling out; it would be ended first"
            if on_busy == "supersede"
            else f"but now it would be refused as busy: {holder} is rolling out",
            "yellow",
        )
    return ExitCode.OK
