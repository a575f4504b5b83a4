"""People at browsers, and what the board shows them."""

import shutil
from dataclasses import dataclass, field
from os import environ
from typing import Any, Final

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from support.board_site import session_rule
from support.gateway_simulation import APPROVERS, RELEASERS
from support.loopback_board import LoopbackBoard

CHROMIUM: Final = environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

STEPS: Final = (TrafficStep(10, 300), TrafficStep(100, 0))
WATCHED: Final = Watch(limits=(Limit(Metric.ERRORS, 100, 5, 2),))
GATE: Final[dict[str, Any]] = {
    "stages": {"prod": Rollout(steps=STEPS, approval=86_400, watch=WATCHED)},
    "rules": (
        {**RELEASERS, "functions": ["orders*", "fn-*"]},
        {**APPROVERS, "functions": ["orders*"]},
        session_rule(
            "managers",
            "approve",
            "reject",
            "abort",
            "hold",
            "rollback",
            "promote",
            functions=["orders*", "fn-*"],
        ),
        session_rule("readers", "read", claims={"groups_direct": ["acme/platform"]}),
    ),
}
"""Grace is a release manager, ada reads, and eve has no rule."""

ADA: Final = {"user_id": "7", "user_login": "ada", "project_path": "acme/orders"}


@dataclass
class Person:
    """A person at a browser: `page`, and what must never happen there."""

    board: LoopbackBoard
    context: Any
    page: Any
    wrong: list[str] = field(default_factory=list)

    def go(self, path: str = "") -> Any:
        """Open a page of the board."""
        return self.page.goto(f"{self.board.address}{'/' if path else ''}{path}")

    def sign_in(self, username: str = "grace") -> None:
        """Sign in by the buttons, and come back to the board."""
        if "Sign in" not in self.page.title():
            self.go()
        self.page.get_by_role("link", name="Sign in with").click()
        if "/users/sign_in" in self.page.url:
            self.page.locator(f"button[value={username}]").click()
        self.page.wait_for_url(f"{self.board.address}**")

    def tab(self) -> "Person":
        """Another tab of the same browser."""
        return watched(Person(self.board, self.context, self.context.new_page()))


@dataclass
class Story:
    """What the board shows: `released` serves, `baking` gets a share, `waiting` waits for a second person."""

    board: LoopbackBoard
    released: Deployment
    baking: Deployment
    waiting: Deployment


def watched(person: Person) -> Person:
    """Note every script's error and every violation of the policy."""

    def said(message: Any) -> None:
        text = message.text
        if "Content Security Policy" in text or "Refused to" in text:
            person.wrong.append(text)

    def asked(dialog: Any) -> None:
        person.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    person.page.on("console", said)
    person.page.on("pageerror", lambda error: person.wrong.append(str(error)))
    person.page.on("dialog", asked)
    return person
