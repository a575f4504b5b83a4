"""Publishing on real Lambda: keys, settings that a version freezes, and versions that take minutes."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.deployment.plan import Plan, TrafficStep
from sluicegate.rollout.transitions import PUBLISH_TIMEOUT
from sluicegate.store import keys
from sluicegate.store.codec import marshal
from support.lambda_model import timeout
from support.lambda_rules import error
from support.simulation import OWN, TABLE, Killed, Simulation, simulation

OLD, NEW = b"old code", b"new code"
OLD_SHA, NEW_SHA = (hashlib.sha256(code).hexdigest() for code in (OLD, NEW))
KEY = "arn:aws:kms:eu-central-1:111111111111:key/1234"
SNAP_START = {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.upload("orders", OLD)
        made.upload("orders", NEW)
        yield made


def messages(deployment: Deployment) -> str:
    return " | ".join(entry.message for entry in deployment.timeline)


def requests(at: Simulation, name: str) -> list[dict[str, Any]]:
    return [request for call, request in at.model.requests if call == name]


# What a call resets by leaving it out


def test_the_key_and_the_architecture_of_the_code_are_sent_again(at: Simulation) -> None:
    at.model.configure("orders", Architectures=["arm64"])
    at.model.encrypt_code("orders", KEY)
    assert at.run(at.accept(NEW_SHA)).status is Status.SUCCEEDED
    (request,) = requests(at, "UpdateFunctionCode")
    assert (request["SourceKMSKeyArn"], request["Architectures"]) == (KEY, ["arm64"])
    assert at.model.answer("orders", "1")["Code"]["SourceKMSKeyArn"] == KEY


def test_a_key_that_somebody_gave_the_function_meanwhile_is_not_dropped(at: Simulation) -> None:
    """The key is read with the revision that the update is fenced by."""
    accepted = at.accept(NEW_SHA)

    def encrypt(name: str) -> None:
        if name == "UpdateFunctionCode":
            at.model.before = lambda _: None
            at.model.encrypt_code("orders", KEY)
            at.model.configure("orders")  # the change gives $LATEST another revision

    at.model.before = encrypt
    assert at.run(accepted).status is Status.SUCCEEDED
    assert at.model.answer("orders", "$LATEST")["Code"]["SourceKMSKeyArn"] == KEY


def test_a_key_that_lambda_does_not_say_stops_before_it_would_be_dropped(at: Simulation) -> None:
    answer = at.model.answer

    def denied(name: str, qualifier: str) -> dict[str, Any]:
        error = {"ErrorCode": "AccessDeniedException", "Message": "secret detail"}
        return {**answer(name, qualifier), "Code": {"RepositoryType": "S3", "Error": error}}

    at.model.answer = denied  # type: ignore[method-assign]
    deployment = at.run(at.accept(NEW_SHA))
    assert deployment.reason is not None
    assert deployment.reason.code == "target_denied"
    assert "kms:Decrypt" in deployment.reason.message
    assert "secret detail" not in str(deployment)
    assert "UpdateFunctionCode" not in at.model.calls


def test_the_description_of_an_alias_stays(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    at.model.set_alias("orders", "prod", "1", description="the one that the shop calls")
    at.run(at.accept(NEW_SHA))
    assert at.model.functions["orders"]["aliases"]["prod"]["Description"] == "the one that the shop calls"
    assert all(request["RoutingConfig"] for request in requests(at, "UpdateAlias"))


# The settings that a version freezes

EFS = "arn:aws:elasticfilesystem:eu-central-1:111111111111:access-point/fsap-1"
LAYER = "arn:aws:lambda:eu-central-1:111111111111:layer:libraries"


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (
            {"FileSystemConfigs": [{"Arn": EFS, "LocalMountPath": "/mnt/a"}]},
            {"FileSystemConfigs": [{"Arn": EFS, "LocalMountPath": "/mnt/b"}]},
            "file_systems",
        ),
        ({}, {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "tenancy"),
        ({}, {"DurableConfig": {"ExecutionTimeout": 60}}, "durable"),
        (
            {"LoggingConfig": {"LogFormat": "Text"}},
            {"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}},
            "logging",
        ),
        ({"Layers": [{"Arn": f"{LAYER}:1"}]}, {"Layers": [{"Arn": f"{LAYER}:2"}]}, "layers"),
        (
            {"Layers": [{"Arn": f"{LAYER}:1"}, {"Arn": f"{LAYER}:2"}]},
            {"Layers": [{"Arn": f"{LAYER}:2"}, {"Arn": f"{LAYER}:1"}]},
            "layers",
        ),
        ({}, {"SnapStart": SNAP_START}, "snap_start"),
        ({}, {"Environment": {"Variables": {"A": ""}}}, "environment"),
        ({}, {"KMSKeyArn": KEY}, "kms_key"),
    ],
)
def test_any_setting_that_a_version_freezes_has_it_published_again(
    at: Simulation, before: dict[str, Any], after: dict[str, Any], name: str
) -> None:
    at.model.configure("orders", **before)
    at.run(at.accept(NEW_SHA))
    at.model.configure("orders", **after)
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "2")
    assert f"(configuration changed since it was last published: {name})" in messages(deployment)


@pytest.mark.parametrize(
    "change",
    [
        {"Description": "another description"},
        {"RuntimeVersionConfig": {"RuntimeVersionArn": "arn:aws:lambda:eu-central-1::runtime:2"}},
        {"Layers": [{"Arn": f"{LAYER}:1", "CodeSize": 2, "SigningJobArn": "arn"}]},
        {"SnapStart": {"ApplyOn": "None", "OptimizationStatus": "On"}},
        {
            "VpcConfig": {
                "SubnetIds": ["b", "a"],
                "SecurityGroupIds": [],
                "VpcId": "",
                "Ipv6AllowedForDualStack": False,
            }
        },
        {"Environment": {"Variables": {}}},
        {"DeadLetterConfig": {}},
        {"LastModified": "2026-11-26T00:00:00.000+0000"},
    ],
    ids=str,
)
def test_what_is_no_setting_of_the_users_does_not(at: Simulation, change: dict[str, Any]) -> None:
    at.model.configure(
        "orders", Layers=[{"Arn": f"{LAYER}:1", "CodeSize": 1}], VpcConfig={"SubnetIds": ["a", "b"]}
    )
    at.run(at.accept(NEW_SHA))
    at.model.configure("orders", **({"VpcConfig": {"SubnetIds": ["b", "a"]}} | change))
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")


def test_the_key_of_the_code_is_frozen_too(at: Simulation) -> None:
    at.run(at.accept(NEW_SHA))
    at.model.encrypt_code("orders", KEY)
    at.model.configure("orders", Description="changed with the key")
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert deployment.version == "2"
    assert "source_kms_key" in messages(deployment)


def test_an_environment_that_cannot_be_decrypted_is_said_and_not_always_different(at: Simulation) -> None:
    """Lambda answers an error with a request id. Unchanged, PublishVersion gives the same version."""
    at.model.undecryptable.add("orders")
    at.run(at.accept(NEW_SHA))
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")
    assert "configuration changed" not in messages(deployment)
    at.run(at.accept(OLD_SHA))
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "3")
    assert "not compared with the earlier version, as the target role cannot read: environment" in messages(
        deployment
    )
    assert "unable to decrypt" not in str(at.client.scan(TableName=TABLE))


def test_lambdas_own_hash_decides_where_the_environment_cannot_be_read(at: Simulation) -> None:
    at.model.hashes = True
    at.model.undecryptable.add("orders")
    at.run(at.accept(NEW_SHA))
    at.model.calls.clear()
    assert at.run(at.accept(NEW_SHA, alias="dev")).version == "1"
    assert "PublishVersion" not in at.model.calls
    at.model.configure("orders", Environment={"Variables": {"A": "b"}})
    deployment = at.run(at.accept(NEW_SHA, alias="other"))
    assert deployment.version == "2"
    assert "configuration changed since it was last published: configuration" in messages(deployment)


def test_lambdas_own_hash_finds_a_setting_that_is_not_known_yet(at: Simulation) -> None:
    at.model.hashes = True
    at.run(at.accept(NEW_SHA))
    at.model.configure("orders", SettingOf2030={"On": True})
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert deployment.version == "2"
    scanned = str(at.client.scan(TableName=TABLE))
    assert at.model.answer("orders", "$LATEST")["Configuration"]["ConfigSha256"] not in scanned


def test_digests_that_an_earlier_release_recorded_do_not_make_a_version_different(at: Simulation) -> None:
    at.run(at.accept(NEW_SHA))
    item = {"version": "1", "settings": {"memory_size": "0" * 64}, "salt": "salt", "deployment": "id"}
    at.client.put_item(TableName=TABLE, Item=marshal({**keys.published(OWN, "orders", NEW_SHA), **item}))
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")


# Versions that take minutes


@pytest.fixture
def snap(at: Simulation) -> Simulation:
    """A function with SnapStart, whose snapshots take many polls."""
    at.model.configure("orders", SnapStart=dict(SNAP_START))
    at.model.pending_polls = 110
    return at


def test_a_version_whose_snapshot_takes_minutes_is_published_once_and_recorded_at_once(
    snap: Simulation,
) -> None:
    accepted = snap.accept(NEW_SHA)
    deployment = snap.run(accepted)
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")
    assert snap.model.calls.count("PublishVersion") == 1
    pending = next(one for one in snap.changes if one.version)
    assert pending.status is Status.VERIFYING
    assert "version 1 published; Lambda is preparing it" in messages(deployment)


def test_others_may_publish_while_a_snapshot_is_taken(snap: Simulation) -> None:
    first = snap.accept(NEW_SHA)
    assert snap.deployer.run_turn(first.id)["next"] == "wait"
    assert snap.now(first).version == "1"
    assert [lock for lock in snap.locks() if lock == "publish"] == []
    second = snap.run(snap.accept(OLD_SHA, alias="dev"))
    assert (second.status, second.version) == (Status.SUCCEEDED, "2")
    assert snap.run(first).status is Status.SUCCEEDED


def test_a_second_stage_waits_for_the_same_snapshot(snap: Simulation) -> None:
    first = snap.accept(NEW_SHA)
    snap.deployer.run_turn(first.id)
    second = snap.run(snap.accept(NEW_SHA, alias="dev"))
    assert (second.status, second.version) == (Status.SUCCEEDED, "1")
    assert snap.model.calls.count("PublishVersion") == 1


@pytest.mark.parametrize("conflicts", [False, True])
def test_a_deployer_that_dies_after_publishing_finds_its_version_again(
    snap: Simulation, conflicts: bool
) -> None:
    """Lambda returns the same version again, or is busy with it until the snapshot is there: which is
    unknown.
    """
    snap.model.conflicts = conflicts
    accepted = snap.accept(NEW_SHA)

    def die(name: str) -> None:
        if name == "PublishVersion":
            snap.model.after = lambda _: None
            raise Killed

    def poll(_: Deployment) -> None:
        snap.model.poll("orders", "1")

    snap.model.after = die
    with pytest.raises(Killed):
        snap.run(accepted)
    if conflicts:  # each look at the version counts, and nobody else looks at it
        snap.meanwhile = poll  # type: ignore[method-assign, assignment]
    deployment = snap.run(accepted)
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")
    assert set(snap.model.functions["orders"]["versions"]) == {"1"}


FAILURE = ("FunctionError.InitTimeout", "The initialization took more than 10 seconds.")


def test_a_version_whose_snapshot_failed_ends_with_lambdas_reason_and_what_to_do(snap: Simulation) -> None:
    snap.model.failure = FAILURE
    for _ in range(2):  # the second deployment gets the same version again
        deployment = snap.run(snap.accept(NEW_SHA))
        assert deployment.reason is not None
        assert (deployment.status, deployment.reason.code) == (Status.FAILED, "version_unusable")
        assert deployment.outcome is AliasOutcome.UNTOUCHED
        for words in ("version 1: it is Failed", "until the code or a setting changes", *FAILURE):
            assert words in deployment.reason.message
    assert set(snap.model.functions["orders"]["versions"]) == {"1"}
    snap.model.failure = None
    snap.model.configure("orders", Timeout=20)
    assert snap.run(snap.accept(NEW_SHA)).status is Status.SUCCEEDED


def test_a_version_that_stays_pending_ends_at_its_own_time(snap: Simulation) -> None:
    snap.model.pending_polls = 10**9
    accepted = snap.accept(NEW_SHA)
    began = snap.clock()
    deployment = snap.run(accepted)
    assert deployment.reason is not None
    assert (deployment.status, deployment.reason.code) == (Status.FAILED, "publish_timeout")
    assert "Creating: The function is being created." in deployment.reason.message
    assert PUBLISH_TIMEOUT <= snap.clock() - began < PUBLISH_TIMEOUT + 60
    assert snap.model.calls.count("PublishVersion") == 1
    assert snap.model.calls.count("GetFunction") < 400


def test_a_function_that_is_busy_for_minutes_is_waited_for(at: Simulation) -> None:
    """Someone else's update is waited for longer than retries of a failure would last."""
    accepted = at.accept(NEW_SHA)
    free_at = at.clock() + 600

    def busy(name: str) -> None:
        if name == "UpdateFunctionCode" and at.clock() < free_at:
            raise error("ResourceConflictException", 409, "An update is in progress for resource: arn")

    at.model.before = busy
    deployment = at.run(accepted)
    assert deployment.status is Status.SUCCEEDED
    assert deployment.revision < 10


def test_a_function_that_stays_busy_ends_with_lambdas_words(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)

    def busy(name: str) -> None:
        if name == "PublishVersion":
            raise error("ResourceConflictException", 409, "An update is in progress for resource: arn")

    at.model.before = busy
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert deployment.reason.code == "publish_timeout"
    assert "An update is in progress" in deployment.reason.message


def test_an_alias_is_never_moved_to_a_version_that_fails_after_it_was_verified(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)

    def fail(name: str) -> None:
        if name == "UpdateAlias":
            at.model.set_state("orders", "2", "Failed", "FunctionError")

    at.model.before = fail
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert (deployment.status, deployment.reason.code) == (Status.FAILED, "lambda_refused")
    assert at.model.serves("orders", "prod") == ("1", {})
    assert "'Failed', StateReasonCode: 'FunctionError'" in deployment.reason.message


@pytest.mark.parametrize("state", ["Deleting", "Deactivated", "ActiveNonInvocable", "StateOf2030"])
def test_a_version_in_a_state_that_is_not_known_gets_no_traffic(at: Simulation, state: str) -> None:
    at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)
    publish = at.model.publish

    def published(name: str, description: str) -> str:
        number = publish(name, description)
        at.model.set_state(name, number, state)
        return number

    at.model.publish = published  # type: ignore[method-assign]
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert (deployment.status, deployment.reason.code) == (Status.FAILED, "version_unusable")
    assert state in deployment.reason.message


def test_an_update_that_lambda_could_not_make_says_why(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)
    answer = at.model.answer

    def failed(name: str, qualifier: str) -> dict[str, Any]:
        found = answer(name, qualifier)
        if "UpdateFunctionCode" in at.model.calls and not at.model.functions[name]["busy"]:
            found["Configuration"] |= {
                "LastUpdateStatus": "Failed",
                "LastUpdateStatusReasonCode": "KMSKeyAccessDenied",
                "LastUpdateStatusReason": "Lambda cannot use the key.",
            }
        return found

    at.model.answer = failed  # type: ignore[method-assign]
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert deployment.reason.code == "publish_failed"
    assert "KMSKeyAccessDenied: Lambda cannot use the key." in deployment.reason.message


def test_a_lost_answer_of_a_publication_makes_no_second_version(snap: Simulation) -> None:
    accepted = snap.accept(NEW_SHA)

    def lose(name: str) -> None:
        if name == "PublishVersion":
            snap.model.after = lambda _: None
            raise timeout()

    snap.model.after = lose
    deployment = snap.run(accepted)
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")


CANARY = Plan(OWN, "prod", (TrafficStep(10, 60), TrafficStep(100, 0)), "0" * 64)


@pytest.mark.parametrize("because", ["provisioned_concurrency", "latest", "weights"])
def test_an_alias_that_takes_no_weights_is_noticed_before_anything_is_published(
    at: Simulation, because: str
) -> None:
    at.run(at.accept(OLD_SHA))
    at.run(at.accept(NEW_SHA, alias="dev"))
    match because:
        case "provisioned_concurrency":
            at.model.provision("orders", "prod")
        case "latest":
            at.model.set_alias("orders", "prod", "$LATEST")
        case _:
            at.model.set_alias("orders", "prod", "1", {"2": 0.5})
    at.model.calls.clear()
    newer = at.upload("orders", b"newer code")
    deployment = at.run(at.accept(newer, plan=CANARY))
    assert deployment.reason is not None
    assert (deployment.reason.code, deployment.reason.data) == ("weights_refused", {"because": because})
    assert "UpdateFunctionCode" not in at.model.calls


def test_code_that_lambda_cannot_find_any_more_is_replaced(at: Simulation) -> None:
    """A function whose code is referenced in a bucket, and was deleted there, has no key to lose."""
    answer = at.model.answer

    def lost(name: str, qualifier: str) -> dict[str, Any]:
        return {**answer(name, qualifier), "Code": {"Error": {"ErrorCode": "S3ObjectNotFound"}}}

    at.model.answer = lost  # type: ignore[method-assign]
    assert at.run(at.accept(NEW_SHA)).status is Status.SUCCEEDED
