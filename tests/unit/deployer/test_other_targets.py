"""Functions in other accounts and regions: sessions, the copy of the artifact, and what a target refuses."""

import base64
import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.s3 import MAX_SIZE
from sluicegate.deployer import copying
from sluicegate.deployer.copying import CodeLocation, CodeSource
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import ALL_AT_ONCE, Limit, Metric, Plan, Smoke, Target, TrafficStep, Watch
from sluicegate.rollout.outcomes import PermanentFailure
from support.cloudwatch_model import Requests
from support.lambda_model import timeout
from support.refusals import refused
from support.s3_model import S3Model
from support.simulation import OWN, Simulation, artifacts_of, simulation
from support.world_model import World, world_of

AWAY = Plan(
    Target("222222222222", "eu-west-1"),
    "prod",
    ALL_AT_ONCE,
    "0" * 64,
    role="sluicegate-target-eu-west-1",
    external_id="3c9e",
    target_name="prod-west",
)
HERE = Plan(OWN, "prod", ALL_AT_ONCE, "0" * 64)
BUCKET = "sluicegate-222222222222-eu-west-1-"


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


@pytest.fixture
def world(at: Simulation) -> World:
    """Two accounts and regions; `orders` is in both."""
    made = world_of(at)
    made.add_target(AWAY).add("orders", b"code of somebody")
    at.model.add("orders", b"code of somebody")
    return made


def deployed(at: Simulation, plan: Plan = AWAY, code: bytes = b"new", **fields: Any) -> Deployment:
    return at.run(at.accept(at.upload("orders", code), plan=plan, **fields))


def reason(deployment: Deployment) -> tuple[str, str]:
    assert deployment.reason is not None
    return deployment.reason.code, deployment.reason.message


def names(world: World) -> list[str]:
    return [call.name for call in world.calls]


# The main path


def test_a_deployment_serves_the_accepted_code_in_its_target_and_nowhere_else(
    at: Simulation, world: World
) -> None:
    ended = deployed(at)
    assert (ended.status, ended.outcome) == (Status.SUCCEEDED, AliasOutcome.MOVED)
    model = world.lambdas[AWAY.target]
    assert model.serves("orders", "prod") == ("1", {})
    assert model.code_of("orders", "1") == ended.sha256
    assert at.model.serves("orders", "prod") is None
    assert {call.region for call in world.calls} == {"eu-west-1"}
    assert {call.session.account for call in world.calls} == {"222222222222"}
    assert {call.session.issued_in for call in world.calls} == {"eu-west-1"}


def test_lambda_gets_the_code_from_the_bucket_of_its_own_region(at: Simulation, world: World) -> None:
    ended = deployed(at)
    [(_, request)] = [one for one in world.lambdas[AWAY.target].requests if one[0] == "UpdateFunctionCode"]
    assert request["S3Bucket"].startswith(BUCKET)
    assert request["S3Key"] == f"orders/{ended.sha256}.zip"
    assert request["S3ObjectVersion"]


def test_one_copy_is_enough(at: Simulation, world: World) -> None:
    deployed(at)
    deployed(at, replace(AWAY, alias="dev"), b"other")
    world.lambdas[AWAY.target].configure("orders", MemorySize=256)  # the same bytes are published again
    deployed(at, replace(AWAY, alias="staging"))
    assert names(world).count("UpdateFunctionCode") == 3
    assert names(world).count("PutObject") == 2


def test_what_is_in_the_target_already_is_not_needed_here_any_more(at: Simulation, world: World) -> None:
    sha256 = deployed(at).sha256
    at.model.code.clear()  # the lifecycle of the stack's bucket
    world.lambdas[AWAY.target].configure("orders", MemorySize=256)
    assert at.run(at.accept(sha256, plan=AWAY)).status is Status.SUCCEEDED


def test_in_the_stacks_own_target_nothing_is_copied(at: Simulation, world: World) -> None:
    assert deployed(at, HERE).status is Status.SUCCEEDED
    assert {call.service for call in world.calls} == {"lambda"}
    assert {call.session.issued_in for call in world.calls} == {None}
    assert world.sts.calls == 1


def test_a_canary_reads_alarms_and_metrics_and_is_tried_where_it_runs(at: Simulation, world: World) -> None:
    deployed(at)
    watch = Watch(("orders-5xx",), (Limit(Metric.ERRORS, 10, most=5.0),))
    canary = replace(
        AWAY, steps=(TrafficStep(10, 60), TrafficStep(100, 0)), watch=watch, smoke=Smoke(10, '{"ping":true}')
    )
    cloudwatch = world.cloudwatches[AWAY.target]
    cloudwatch.alarms["orders-5xx"] = AlarmState.OK
    cloudwatch.metrics["2"] = Requests(invocations=100, errors=50)
    at.cloudwatch.metrics["2"] = Requests(invocations=100)  # of the stack's own account
    ended = deployed(at, canary, b"newer")
    assert (ended.status, ended.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert reason(ended)[0] == "metric"
    assert at.cloudwatch.reads == 0
    assert [name for name, _ in world.lambdas[AWAY.target].invoked] == ["orders:2"]


# Sessions and locks


def test_no_two_targets_deployments_or_purposes_share_a_session(at: Simulation, world: World) -> None:
    """Both are in progress at once, in one process."""
    watched = replace(AWAY, steps=(TrafficStep(10, 300), TrafficStep(100, 0)), watch=Watch(("a",)))
    for cloudwatch in world.cloudwatches.values():
        cloudwatch.alarms["a"] = AlarmState.OK
    for plan in (AWAY, HERE):
        deployed(at, plan, b"old")
    world.calls.clear()
    sha256 = at.upload("orders", b"new")
    away = at.accept(sha256, plan=watched)
    here = at.accept(sha256, plan=replace(watched, target=OWN, role=None, external_id=None, target_name=None))
    for _ in range(50):
        for deployment in (away, here):
            answer = at.deployer.run_turn(deployment.id)
            at.clock.sleep(answer["seconds"] / 2)
    assert at.now(away).status is at.now(here).status is Status.SUCCEEDED
    where = {(call.session.deployment, call.session.account, call.region) for call in world.calls}
    assert where == {
        (away.id, "222222222222", "eu-west-1"),
        (here.id, OWN.account, OWN.region),
    }
    writers = {call.session for call in world.calls if call.name == "PutObject"}
    assert len(writers) == 1
    assert not writers & {call.session for call in world.calls if call.name != "PutObject"}


def test_a_session_of_one_target_is_refused_by_the_other(at: Simulation, world: World) -> None:
    """The monitor of the test before would see it: the model itself keeps accounts apart."""
    targets = world.targets()
    access = targets.access(at.accept(at.upload("orders", b"new"), plan=AWAY))
    clients = cast(Any, targets)._clients._session
    session = next(iter(world.sessions))
    stranger = clients.client("lambda", region_name=OWN.region, aws_access_key_id=session)
    with pytest.raises(ClientError, match="not authorized"):
        stranger.get_alias(FunctionName="orders", Name="prod")
    assert access.function.alias("prod") is None


def test_what_writes_a_copy_may_do_nothing_else(at: Simulation, world: World) -> None:
    ended = deployed(at)
    [writer] = {call.session for call in world.calls if call.name == "PutObject"}
    [plain] = [statement for statement in writer.statements if "Condition" not in statement]
    assert plain["Action"] == ["s3:PutObject"]
    assert plain["Resource"] == f"arn:aws:s3:::{_bucket(world)}/orders/{ended.sha256}.zip"
    others = {call.session for call in world.calls} - {writer}
    for session in others:
        assert not session.allows("s3:PutObject", plain["Resource"])
        assert not session.allows("s3:GetObject", "arn:aws:s3:::artifacts/orders/x.zip")


def test_a_function_of_one_name_in_two_targets_shares_no_lock(at: Simulation, world: World) -> None:
    """Neither waits for the other, and each has a version 1 of its own."""
    sha256 = at.upload("orders", b"new")
    both = [at.accept(sha256, plan=plan) for plan in (AWAY, HERE)]  # Busy, if they shared the alias' lock
    assert len(at.locks()) == 2
    for deployment in both:
        assert at.run(deployment).status is Status.SUCCEEDED
    versions = at.store.versions
    assert [versions.serving_of(one).target_name for one in both] == ["prod-west", None]  # type: ignore[union-attr]
    for target in (AWAY.target, OWN):
        assert versions.published(target, "orders", sha256) is not None
        assert [one.version for one in versions.past(target, "orders", "prod")] == ["1"]
    assert world.sts.calls == 3


# The copy


def test_a_copy_that_another_deployment_has_just_made_is_used(at: Simulation, world: World) -> None:
    code = b"new"
    key = f"orders/{hashlib.sha256(code).hexdigest()}.zip"

    def race(name: str) -> None:
        if name == "PutObject":
            world.bucket_of(AWAY).s3.objects.setdefault(key, code)

    world.before = race
    assert deployed(at, code=code).status is Status.SUCCEEDED
    assert names(world).count("PutObject") == 1


def test_a_copy_whose_answer_is_lost_is_found_again(at: Simulation, world: World) -> None:
    def lose(name: str) -> None:
        if name == "PutObject":
            world.after = lambda _: None
            raise timeout()

    world.after = lose
    assert deployed(at).status is Status.SUCCEEDED
    assert names(world).count("PutObject") == 1


def test_bytes_that_change_on_the_way_are_sent_again(at: Simulation, world: World) -> None:
    world.bucket_of(AWAY).s3.failures = []

    def corrupt(name: str) -> None:
        if name == "PutObject":
            world.before = lambda _: None
            raise refused("BadDigest", "The SHA256 you specified did not match", 400, "PutObject")

    world.before = corrupt
    assert deployed(at).status is Status.SUCCEEDED


def test_an_object_of_that_name_with_other_bytes_is_never_deployed(at: Simulation, world: World) -> None:
    sha256 = at.upload("orders", b"new")
    world.bucket_of(AWAY).s3.objects[f"orders/{sha256}.zip"] = b"somebody else's"
    ended = at.run(at.accept(sha256, plan=AWAY))
    code, message = reason(ended)
    assert code == "artifact_mismatch"
    assert "find out who wrote it" in message
    assert "UpdateFunctionCode" not in names(world)


def test_an_artifact_that_is_not_what_its_name_says_is_not_copied(at: Simulation, world: World) -> None:
    """S3's checksum was right when it was written: the bytes that are read are compared all the same."""
    sha256 = at.upload("orders", b"new")

    class Lying(S3Model):
        def get_object(self, **request: Any) -> dict[str, Any]:
            self.objects = dict.fromkeys(self.objects, b"other")
            return super().get_object(**request)

    lying = Lying(objects={f"orders/{sha256}.zip": b"new"})
    source = CodeSource(artifacts_of(at.model, lying), world.targets())
    lying.objects = {f"orders/{sha256}.zip": b"new"}
    failure = source.locate(at.accept(sha256, plan=AWAY))
    assert failure == PermanentFailure(
        "artifact_mismatch", "the stored artifact does not have its own digest"
    )
    assert "PutObject" not in names(world)


def test_the_largest_artifact_needs_no_memory_of_its_size(at: Simulation, world: World) -> None:
    class Zeros:
        """A stream of so many bytes."""

        left = MAX_SIZE // 8

        def read(self, size: int) -> bytes:
            taken = min(size, self.left)
            self.left -= taken
            return bytes(taken)

        def close(self) -> None: ...

    sha256 = hashlib.sha256(bytes(MAX_SIZE // 8)).hexdigest()

    class Large(S3Model):
        def head_object(self, **_: Any) -> dict[str, Any]:
            return {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()}

        def get_object(self, **_: Any) -> dict[str, Any]:
            return {"Body": Zeros()}

    class Sink(S3Model):
        def put_object(self, **request: Any) -> dict[str, Any]:
            digest = hashlib.sha256()
            while chunk := request["Body"].read(copying.CHUNK):
                digest.update(chunk)
            assert digest.hexdigest() == sha256
            self.objects[request["Key"]] = b""
            return {"VersionId": "one"}

        def head_object(self, **request: Any) -> dict[str, Any]:
            found = super().head_object(**request)
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            return {**found, "ChecksumSHA256": checksum, "VersionId": "one"}

    world.bucket_of(AWAY).s3 = Sink()
    targets = world.targets()
    source = CodeSource(artifacts_of(at.model, Large()), targets)
    accepted = at.accept(sha256, plan=AWAY)
    targets.access(accepted)  # loads boto's data
    tracemalloc.start()
    try:
        assert source.locate(accepted) == CodeLocation(_bucket(world), "one")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * copying.CHUNK


def test_an_artifact_that_arrives_too_slowly_is_given_up(at: Simulation, world: World) -> None:
    class Slow(S3Model):
        def get_object(self, **request: Any) -> dict[str, Any]:
            at.clock.now += copying.COPY_SECONDS + 1
            return super().get_object(**request)

    at.s3.__class__ = Slow
    ended = deployed(at)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert reason(ended)[0] == "publish_failed"
    assert "UpdateFunctionCode" not in names(world)


def test_a_promotion_of_an_expired_artifact_says_so(at: Simulation, world: World) -> None:
    sha256 = deployed(at, HERE).sha256
    at.model.code.clear()
    ended = at.run(at.accept(sha256, plan=AWAY, action="promote", promoted_from="dev"))
    assert reason(ended)[0] == "artifact_not_found"
    assert "has expired" in reason(ended)[1]
    assert not [one for one in world.calls if one.region == "eu-west-1" and one.name == "UpdateFunctionCode"]


# What a target refuses


def gone(world: World) -> None:
    world.sts.roles.pop("arn:aws:iam::222222222222:role/sluicegate-target-eu-west-1")


def other_external_id(world: World) -> None:
    world.sts.add_role("arn:aws:iam::222222222222:role/sluicegate-target-eu-west-1", "another")


def service_control_policy(world: World) -> None:
    world.sts.forbidden.add("arn:aws:iam::222222222222:role/sluicegate-target-eu-west-1")


def disabled(world: World) -> None:
    world.disabled.add(("222222222222", "eu-west-1"))


def unknown(world: World) -> None:
    world.unknown.add("eu-west-1")


def silent(world: World) -> None:
    world.silent.add("eu-west-1")


def no_bucket(world: World) -> None:
    del world.buckets[_bucket(world)]


def bucket_of_another(world: World) -> None:
    world.bucket_of(AWAY).owner = "999999999999"


def no_lambda(world: World) -> None:
    del world.lambdas[AWAY.target]


def _bucket(world: World) -> str:
    return next(name for name in world.buckets if name.startswith(BUCKET))


REFUSALS = [
    (gone, "target_denied", "AccessDenied", "does not let the deployer in"),
    (other_external_id, "target_denied", "AccessDenied", "another external id"),
    (service_control_policy, "target_denied", "AccessDenied", "a policy denies AssumeRole explicitly"),
    (disabled, "target_unreachable", "RegionDisabledException", "enable the region"),
    (unknown, "target_denied", "InvalidClientTokenId", "enabled in the stack's own account as well"),
    (silent, "target_unreachable", "EndpointConnectionError", "STS in eu-west-1 does not answer"),
    (no_bucket, "target_unreachable", "NoSuchBucket", "does not exist: deploy the target's stack"),
    (bucket_of_another, "target_denied", "403", "belongs to another account"),
    (no_lambda, "target_denied", "UnrecognizedClientException", "is the region enabled?"),
]


@pytest.mark.parametrize(
    ("breaks", "code", "error", "words", "approval"),
    [*((*refusal, None) for refusal in REFUSALS), *((*refusal, 3_600) for refusal in REFUSALS[-3:])],
)
def test_a_target_that_lets_nobody_in_ends_a_deployment_within_a_minute(
    at: Simulation,
    world: World,
    breaks: Callable[[World], None],
    code: str,
    error: str,
    words: str,
    approval: int | None,
) -> None:
    """With an approval, before anybody is asked."""
    breaks(world)
    plan = replace(AWAY, approval=approval)
    ended = deployed(at, plan)
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert reason(ended)[0] == code
    assert ended.reason is not None
    assert ended.reason.data["error"] == error
    assert words in reason(ended)[1]
    assert "target prod-west (account 222222222222, region eu-west-1)" in reason(ended)[1]
    assert seconds(ended.finished_at or "") - seconds(ended.created_at) < 95
    # What it is has been in the record since the first attempt.
    first = next(one for one in ended.timeline if words in one.message)
    assert seconds(first.at) - seconds(ended.created_at) < 2
    assert not {"UpdateFunctionCode", "PublishVersion"} & set(names(world))
    assert at.locks() == []


def test_a_target_that_is_out_of_reach_while_it_bakes_is_not_given_up_early(
    at: Simulation, world: World
) -> None:
    """A new session is asked for every 13 minutes. Within three minutes it may come back."""
    deployed(at)
    watched = replace(AWAY, steps=(TrafficStep(10, 300), TrafficStep(100, 0)), watch=Watch(("a",)))
    world.cloudwatches[AWAY.target].alarms["a"] = AlarmState.OK
    since: list[float] = []

    def meanwhile(deployment: Deployment) -> None:
        if deployment.status is not Status.BAKING:
            return
        if not since:
            at.runner._targets.forget(deployment)
        since.append(at.clock())
        world.silent = {"eu-west-1"} if at.clock() - since[0] < 120 else set()

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = deployed(at, watched, b"newer")
    assert ended.status is Status.SUCCEEDED
    assert "does not answer" in " ".join(one.message for one in ended.timeline)
