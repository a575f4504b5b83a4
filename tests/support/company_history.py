"""Three days of a company: three functions of two projects, four people, releases, and what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Limit, Metric, TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from support.board_site import session_rule
from support.cloudwatch_model import Requests
from support.gateway_simulation import APPROVERS, RELEASERS, artifact, rule
from support.loopback_board import LoopbackBoard, loopback_board

NOW: Final = datetime(2026, 11, 26, 9, 30, tzinfo=UTC).timestamp()
"""When the history ends: a Thursday, half past ten in Berlin."""

_FUNCTIONS: Final = ["orders-*", "checkout"]
_ORDERS: Final = {"project_id": "4213", "project_path": "acme/orders"}
_CHECKOUT: Final = {"project_id": "5120", "project_path": "acme/checkout"}
_ADA: Final = {"user_id": "7", "user_login": "ada", **_ORDERS}
_MARY: Final = {"user_id": "9", "user_login": "mary", **_CHECKOUT}
_TAG: Final = {"ref_type": "tag", "ref_protected": "true", "pipeline_source": "push"}

GATE: Final[dict[str, Any]] = {
    "stages": {
        "prod": Rollout(
            steps=(TrafficStep(10, 300), TrafficStep(100, 300)),
            approval=86_400,
            watch=Watch(limits=(Limit(Metric.ERRORS, 100, 2, 2),)),
        )
    },
    "functions": [
        {"pattern": text, "prune": None, "alias": {}, "max_age": {}, "rollout": {}}
        for text in ("orders-*", "checkout")
    ],
    "rules": (
        {**RELEASERS, "functions": ["orders-*"]},
        rule("checkout team", "deploy", "promote", claims={"project_id": ["5120"]}, functions=["checkout"]),
        {**APPROVERS, "functions": _FUNCTIONS},
        session_rule(
            "managers", "approve", "reject", "abort", "hold", "rollback", "promote", functions=_FUNCTIONS
        ),
    ),
}
"""Grace is a release manager of everything."""


@dataclass
class Company:
    """The board of it. Yesterday is 25 November: `tag`, `bad`, `back`; `night` is by Berlin's clock too."""

    board: LoopbackBoard
    tag: Deployment
    bad: Deployment
    back: Deployment
    night: Deployment
    waiting: Deployment


@contextmanager
def company() -> Iterator[Company]:
    """Make the history, which ends at `NOW`."""
    with loopback_board(**GATE) as board:
        yield _made(board)


def _made(board: LoopbackBoard) -> Company:
    at = board.site.gateway
    for name in ("orders-api", "orders-mail", "checkout"):
        at.model.add(name, b"of somebody")

    def sleep_until(day: int, hour: int, minute: int) -> None:
        moment = datetime(2026, 11, day, hour, minute, 7, tzinfo=UTC).timestamp()
        assert moment > at.clock.now, "the history goes forward"
        at.clock.now = moment

    def deploy(function: str, release: str, by: dict[str, str], **body: Any) -> Deployment:
        claims = at.job(**by, **_TAG, ref=release, sha=(f"{function} {release}".encode().hex() * 3)[:40])
        code = artifact(at, f"{function} {release}".encode(), function, **by)
        return at.deploy(code, claims, function=function, release=release, **body)

    def release(function: str, release_: str, by: dict[str, str]) -> Deployment:
        at.finish(deploy(function, release_, by, stage="dev"))
        at.clock.now += 1_260
        made = deploy(function, release_, by)
        at.clock.now += 340
        approver = at.person("8", user_login="grace", **_ORDERS)
        at.decide("approve", made, approver, "looked at dev")
        return at.finish(made)

    sleep_until(24, 9, 12)
    release("orders-api", "v1.4.0", _ADA)
    release("orders-mail", "v2.0.0", _ADA)
    release("checkout", "v3.1.0", _MARY)
    sleep_until(24, 14, 31)
    release("checkout", "v3.2.0", _MARY)
    sleep_until(24, 22, 57)
    night = release("orders-mail", "v2.1.0", _ADA)
    sleep_until(25, 8, 41)
    tag = release("orders-api", "v1.5.0", _ADA)
    sleep_until(25, 12, 38)
    at.cloudwatch.metrics.update({"3": Requests(204, 15), "2": Requests(1_836, 9)})
    bad = release("checkout", "v3.3.0", _MARY)
    at.cloudwatch.metrics.clear()
    sleep_until(25, 15, 46)
    browser = board.site.browser()
    browser.sign_in("grace")
    body = {"action": "rollback", "function": "orders-mail", "stage": "prod"}
    asked = board.site.api(
        browser.bearer, "POST", "/deployments", body | {"description": "mails were sent twice"}, "back"
    )
    back = at.finish(at.of(asked))
    sleep_until(26, 8, 20)
    at.finish(deploy("checkout", "v3.4.0", _MARY, stage="dev"))
    sleep_until(26, 9, 14)
    waiting = at.run_until(deploy("checkout", "v3.4.0", _MARY), "awaiting_approval")
    at.clock.now = NOW
    return Company(board, tag, bad, back, night, waiting)
