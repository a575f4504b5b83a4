"""The kinds of deployments, each as a story: what is asked for, in which world, and how it ends.

However often its processes die, a story must end as it does when nothing happens.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from sluicegate.deployment.model import AliasState, Deployment, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Smoke, Target, TrafficStep, Watch
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.call_budget import CallBudget
from sluicegate.store.table import Table
from support.cloudwatch_model import Requests
from support.crash_points import CrashPoints
from support.crash_world import AWAY, EXTERNAL_ID, HOOK_SECRET, ROLE, CrashWorld, Saved, prepared, resumed
from support.deliveries import SHA, headers, raw, tag_push
from support.entropy import entropy
from support.gateway_simulation import APPROVERS, RELEASERS, artifact, gate_of, rule
from support.signed_requests import principal_rule, session
from support.signing import ISSUER
from support.simulation import OWN, TABLE

OLD, OTHER, NEW, NEWER = b"old", b"other", b"new", b"newer"
AT_ONCE: Final = Rollout()
CANARY: Final = Rollout(
    steps=(TrafficStep(10, 30), TrafficStep(100, 0)),
    smoke=Smoke(10, '{"ping":true}', '{"ok":true}'),
    watch=Watch(alarms=("orders-5xx",)),
)
COUNTED: Final = replace(CANARY, watch=Watch(limits=(Limit(Metric.ERRORS, 10, most=5.0),)))
AFTERWARDS: Final = Rollout(steps=(TrafficStep(100, 30),))
LINEAR: Final = Rollout(
    steps=(TrafficStep(25, 10), TrafficStep(50, 10), TrafficStep(75, 10), TrafficStep(100, 0))
)
HOOK: Final[dict[str, Any]] = {
    "name": "tags",
    "issuer": ISSUER,
    "project_id": "4213",
    "scheme": "token",
    "secret": "sluicegate/webhooks/orders",
    "event": "tag_push",
    "ref_type": "tag",
    "ref": "v*",
    "function": "orders",
    "stage": "prod",
}
CALLERS: Final = principal_rule("callers", "deploy")
BY_HOOK: Final = rule("hooks", "deploy", via="webhook")
PLACE: Final = {
    "name": "prod-west",
    "account": AWAY.account,
    "region": AWAY.region,
    "role": ROLE,
    "external_id": EXTERNAL_ID,
}

Ask = Callable[[CrashWorld], object]


@dataclass(frozen=True)
class Story:
    """`asks` are what jobs and people do, one after the other, while the rollouts go on.

    `ends` are the final statuses of what is accepted, in that order; `serves` is the code behind the stage's
    alias in the end, or None if there is none, `new` the code that is published. `errors` are those of the
    newest version.
    """

    name: str
    asks: tuple[Ask, ...]
    rollout: Rollout = AT_ONCE
    ends: tuple[Status, ...] = (Status.SUCCEEDED,)
    stage: str = "prod"
    serves: bytes | None = NEW
    new: tuple[bytes, ...] = (NEW,)
    errors: int = 0
    promotes: bool = False
    taken: int = 0
    """Calls that others have taken of the control plane's budget."""

    target: Target = OWN

    def before(self) -> Saved:
        """Return its world before anything is asked for."""
        return _before(self)

    def steps(self) -> tuple[Ask, ...]:
        """Return all that happens in it: what is asked for, and that all of it ends."""
        return (*self.asks, CrashWorld.settle)


def deploys(code: bytes = NEW, **body: Any) -> Ask:
    return lambda world: world.request(
        world.job(), code.decode(), action="deploy", artifact={"sha256": digest(code)}, **body
    )


def requests(action: str, **body: Any) -> Ask:
    return lambda world: world.request(world.job(), "key", action=action, **body)


def decides(action: str) -> Ask:
    """Decide about the newest deployment, as a person or, to abort, as a job."""

    def ask(world: CrashWorld) -> object:
        claims = world.job() if action == "abort" else world.person()
        newest = world.deployments()[-1].id
        return world.ask("POST", f"/deployments/{{id}}/{action}", claims, {}, id=newest)

    return ask


def waits_for(status: Status) -> Ask:
    """Wait until the newest deployment has this status."""

    def reached(world: CrashWorld) -> bool:
        newest = world.deployments()[-1]
        return newest.status is status or newest.status.final

    return lambda world: world.settle(lambda: reached(world))


def pushes_a_tag(world: CrashWorld) -> object:
    body = tag_push()
    sent = headers(body, x_gitlab_token=HOOK_SECRET)
    return world.answer(
        GatewayRequest("POST", "/webhooks/gitlab/{name}", {"name": "tags"}, {}, sent, raw(body), "request")
    )


def signs(world: CrashWorld) -> object:
    body = {"action": "deploy", "function": "orders", "stage": "prod", "artifact": {"sha256": digest(NEW)}}
    sent = {"authorization": ["AWS4-HMAC-SHA256 Credential=…"], "content-type": ["application/json"]}
    context = {"stage": "v1", "identity": session()}
    data = json.dumps(body | {"idempotency_key": "a-signed-request"}).encode()
    return world.answer(GatewayRequest("POST", "/iam/deployments", {}, {}, sent, data, "request", context))


STORIES: Final = {
    story.name: story
    for story in (
        Story("deploy", (deploys(),)),
        Story("first", (deploys(stage="dev"),), stage="dev"),
        Story("canary", (deploys(),), CANARY),
        Story("linear", (deploys(),), LINEAR),
        Story("rollback", (requests("rollback"),), serves=OLD, new=()),
        Story(
            "promote",
            (requests("promote", artifact={"sha256": hashlib.sha256(NEW).hexdigest()}, **{"from": "dev"}),),
            new=(),
            promotes=True,
        ),
        Story(
            "approval",
            (deploys(), waits_for(Status.AWAITING_APPROVAL), decides("approve")),
            Rollout(approval=36_000),
        ),
        Story(
            "supersede",
            (deploys(), waits_for(Status.BAKING), deploys(NEWER, on_busy="supersede")),
            CANARY,
            ends=(Status.ABORTED, Status.SUCCEEDED),
            serves=NEWER,
            new=(NEW, NEWER),
        ),
        Story("webhook", (pushes_a_tag,)),
        Story("iam", (signs,)),
        Story("away", (deploys(),), target=AWAY),
        Story("in line", (deploys(),), taken=300),
        Story("breach", (deploys(),), COUNTED, ends=(Status.ROLLED_BACK,), serves=OTHER, errors=50),
        Story(
            "abort",
            (deploys(), waits_for(Status.BAKING), decides("abort")),
            CANARY,
            ends=(Status.ABORTED,),
            serves=OTHER,
        ),
        Story(
            "first aborted",
            (deploys(stage="dev"), waits_for(Status.BAKING), decides("abort")),
            AFTERWARDS,
            ends=(Status.ABORTED,),
            stage="dev",
            serves=None,
        ),
    )
}

LONG: Final = ("canary", "linear", "supersede")
SHORTEST: Final = ("rollback", "promote", "deploy")


def digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


@cache
def _before(story: Story) -> Saved:
    """Return a world in which prod serves `other` and served `old`, and where it `promotes`, dev `new`."""

    def prepare(world: CrashWorld) -> None:
        places = {} if story.target == OWN else {"prod": "prod-west"}
        targets = [PLACE] if places else []
        world.gate = gate_of({}, (RELEASERS,), places=places, targets=targets)
        world.be_reborn()
        for code in (OLD, OTHER, NEW, NEWER):
            artifact(
                world,
                code,
                ref="v1.0.0" if code == NEW else "v0.9.0",
                ref_type="tag",
                sha=SHA if code == NEW else None,
            )
        for code, stage in ((OLD, "prod"), (OTHER, "prod"), *(((NEW, "dev"),) if story.promotes else ())):
            deploys(code, stage=stage)(world)
            world.settle()
        assert [one.status for one in world.deployments()] == [Status.SUCCEEDED] * (2 + story.promotes)
        rules = (RELEASERS, APPROVERS) if story.rollout.approval else (RELEASERS, CALLERS, BY_HOOK)
        world.gate = gate_of(
            {story.stage: story.rollout}, rules, places=places, targets=targets, webhooks=[HOOK]
        )
        world.cloudwatch.alarms["orders-5xx"] = AlarmState.OK
        world.cloudwatch.metrics["3"] = Requests(invocations=100, errors=story.errors)
        if story.taken:
            CallBudget(Table(world.client, TABLE), world.clock).charge(story.target, story.taken)
        if len(story.asks) > 1:
            world.pauses |= {Status.BAKING}

    return prepared(prepare)


def play(story: Story, points: CrashPoints, *, patient: bool = False, overtaken: bool = False) -> CrashWorld:
    """Play a story, and return the world in which everything has ended.

    If `overtaken`, a process does not die, but is held up until another one has done its work.
    """
    with entropy():
        world = resumed(story.before(), points, patient=patient)
        if overtaken:
            points.before = points.after = world.overtake
        for step in story.steps():
            step(world)
    return world


def check(story: Story, world: CrashWorld) -> None:
    """Check the guarantees: guarantees.md, and that the story ended as it must."""
    world.check_end()
    found = world.deployments()
    _check_revisions(world)
    assert [one.status for one in found] == list(story.ends), [one.timeline for one in found]
    for one in found:
        _check_record(one)
    left = [
        key for key in world.client.tables[TABLE].items if key[0].startswith("lock#") or "wait#" in key[1]
    ]
    assert not left, left
    assert world.away is not None
    model = world.away.lambdas[story.target]
    served = model.serves("orders", story.stage)
    assert (served and model.code_of("orders", served[0])) == (story.serves and digest(story.serves))
    assert served is None or served[1] == {}
    succeeded = [one for one in found if one.status is Status.SUCCEEDED]
    for one in found:
        assert one.current in (None, served and AliasState(served[0])) or one is not found[-1]
        if one.status is not Status.SUCCEEDED and one.original is not None:
            assert story.stage == "prod"
            assert model.code_of("orders", one.original.version) == digest(OTHER)
    for one in succeeded:
        assert model.code_of("orders", str(one.version)) == one.sha256
    versions = model.functions["orders"]["versions"]
    assert len(versions) == 2 + len(story.new) + story.promotes, list(versions)
    _check_history(story, world, succeeded)


def _check_revisions(world: CrashWorld) -> None:
    """Check every write of a record: its revisions go by one, and none is after the end."""
    for before, after in world.stream:
        if after is None or after["sk"]["S"] != "record":
            continue
        old = int(before["revision"]["N"]) if before else 0
        new = int(after["revision"]["N"])
        if new == old:
            assert before is not None
            moved = {name for name in after if after[name] != before.get(name)}
            assert moved <= {"due"}, moved  # when the janitor looks again
        else:
            assert new == old + 1, f"revision {old} becomes {new}"
            assert before is None or "unfinished" in before, f"{before['status']} becomes {after['status']}"


def _check_record(one: Deployment) -> None:
    assert [entry.status.final for entry in one.timeline].count(True) == 1
    assert one.timeline[-1].status.final
    numbers = [entry.seq for entry in one.timeline]
    assert numbers == sorted(set(numbers))  # looks that found the same are one entry
    assert (numbers[0], numbers[-1]) == (1, one.revision)


def _check_history(story: Story, world: CrashWorld, succeeded: list[Deployment]) -> None:
    """Check what the alias serves, and served, according to the record: only what succeeded."""
    items = world.client.tables[TABLE].items
    stage, where = story.stage, f"{story.target.account}#{story.target.region}"
    serving = items.get(("serving", f"orders#{stage}#{where}#{stage}"))
    before = world.known if story.stage == "prod" else {None}
    assert (serving and serving.item["deployment"]["S"]) in ({succeeded[-1].id} if succeeded else before)
    partition = f"served#{where}#orders#{stage}"
    served = {one.item["deployment"]["S"] for (pk, _), one in items.items() if pk == partition}
    assert served <= world.known | {one.id for one in succeeded}
