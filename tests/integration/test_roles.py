"""What each role may not do, tried with its own credentials on the emulator with IAM enforced.

guarantees.md#8-least-privilege
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2
import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.permissions import DRIFT_IDENTITY, PRUNE_IDENTITY
from sluicegate.deployer.sessions import session_policy
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Requester, Status
from sluicegate.deployment.plan import Plan, Target, TrafficStep
from sluicegate.deployment.ulid import new_id
from stand import Stand
from stand.roles import credentials_of
from stand.stack import look_up
from stand.wide import Wide

pytestmark = pytest.mark.extended

DENIED = {"AccessDenied", "AccessDeniedException", "403"}
TOKEN = "sluicegate/gitlab/probe"
HOOK = "sluicegate/webhooks/probe"
APPLICATION = "sluicegate/sign-in/probe"
CHANNEL = "sluicegate/notify/probe"
SECRETS = (TOKEN, HOOK, APPLICATION, CHANNEL)
ROLES = (
    "gateway",
    "watcher",
    "gatewayiam",
    "watcheriam",
    "deployer",
    "janitor",
    "waker",
    "relay",
    "notifier",
    "messenger",
    "board",
    "sealer",
    "drift",
    "pruner",
)


@dataclass(frozen=True)
class Names:
    """What the calls are tried on."""

    function: str
    neighbour: str
    bucket: str
    table: str
    state_machine: str
    account: str
    region: str
    external_id: str
    stream: str
    dead_letters: str
    evidence: str
    evidence_key: str
    role: dict[str, str]

    def arn(self, function: str) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{function}"

    def role_arn(self, name: str) -> str:
        return f"arn:aws:iam::{self.account}:role/{self.role[name]}"


Credentials = dict[str, dict[str, str]]
Client = Callable[[str], Any]


@pytest.fixture(scope="module")
def own_gate(wide: Wide) -> Iterator[None]:
    """The stand's own gate file: no stage has a smoke test, for which the target's role may invoke."""
    wide.stand.install_gate(None)
    yield
    wide.stand.install_gate(wide.gate)


@pytest.fixture(scope="module")
def names(stand: Stand, own_gate: None) -> Iterator[Names]:  # noqa: ARG001
    resources = stand.client("cloudformation").describe_stack_resources(StackName="sluicegate")
    role = {
        one["LogicalResourceId"].removesuffix("Role").lower(): one["PhysicalResourceId"]
        for one in resources["StackResources"]
        if one["ResourceType"] == "AWS::IAM::Role"
    }
    stack = stand.client("cloudformation").describe_stacks(StackName="sluicegate")["Stacks"][0]["StackId"]
    deployed, neighbour = (f"orders-{uuid4().hex[:8]}" for _ in range(2))
    secrets = stand.client("secretsmanager")
    made = look_up(stand.emulator)
    for secret in SECRETS:
        secrets.create_secret(Name=secret, SecretString="probe")
    for name in (deployed, neighbour):
        stand.create_function(name)
        stand.client("lambda").publish_version(FunctionName=name)
        stand.client("lambda").create_alias(FunctionName=name, Name="dev", FunctionVersion="1")
    yield Names(
        deployed,
        neighbour,
        stand.artifact_bucket,
        stand.table,
        stand.state_machine_arn,
        stand.account_id,
        stand.region,
        stack,
        stand.client("dynamodb").describe_table(TableName=stand.table)["Table"]["LatestStreamArn"],
        stand.client("sqs").get_queue_url(QueueName="sluicegate-dead-letters")["QueueUrl"],
        made.evidence_bucket,
        made.evidence_key,
        role,
    )
    for secret in SECRETS:
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    for name in (deployed, neighbour):
        stand.delete_function(name)


@pytest.fixture(scope="module")
def credentials(stand: Stand, names: Names) -> Credentials:
    return {role: credentials_of(stand, names.role[role]) for role in ROLES}


@pytest.fixture(scope="module")
def entered(stand: Stand, names: Names, credentials: Credentials) -> Credentials:
    """The target's role: as the deployer enters it for one function, and with nothing to narrow it.

    As `looking` it is what the look for drift has, with nothing to narrow it either.
    """
    narrow = session_policy(_deployment(stand, names.function), "aws", names.bucket)
    found = {}
    for name, role, identity, more in (
        ("session", "deployer", "probe", {"Policy": narrow}),
        ("target", "deployer", "probe", {}),
        ("looking", "drift", DRIFT_IDENTITY, {}),
    ):
        sts = stand.client("sts", **credentials[role])
        answer = sts.assume_role(
            RoleArn=names.role_arn("target"),
            RoleSessionName="test",
            ExternalId=names.external_id,
            SourceIdentity=identity,
            **more,
        )["Credentials"]
        found[name] = {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
        }
    return found


def _deployment(stand: Stand, function: str) -> Deployment:
    moment = timestamp(time.time())
    return Deployment(
        id=new_id(time.time()),
        revision=1,
        status=Status.ACCEPTED,
        action="deploy",
        function=function,
        stage="dev",
        sha256="0" * 64,
        plan=Plan(Target(stand.account_id, stand.region), "dev", (TrafficStep(100, 0),), ""),
        rule="",
        requested_by=Requester(stand.issuer, "4213"),
        created_at=moment,
        updated_at=moment,
        since=moment,
        timeline=(),
    )


@pytest.fixture(scope="module")
def as_role(stand: Stand, credentials: Credentials, entered: Credentials) -> Callable[[str], Client]:
    """A client factory of one role: `as_role("gateway")("s3")`."""
    known = {**credentials, **entered}
    return lambda role: partial(stand.client, **known[role])


Try = Callable[[Client, Names], Any]

KEY = {"pk": {"S": "probe"}, "sk": {"S": "probe"}}
SEALED = "probe/sealed"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


def unless(code: str, call: Try) -> Try:
    """The call, which may find nothing: this answer is one too."""

    def tried(c: Client, n: Names) -> None:
        try:
            call(c, n)
        except ClientError as error:
            if error.response["Error"]["Code"] != code:
                raise

    return tried


# Calls that no role of ours may make: each would be a way out of what the role is for.
NOBODY: dict[str, Try] = {
    "invoke a deployed function": lambda c, n: c("lambda").invoke(FunctionName=n.function),
    "invoke a deployed alias": lambda c, n: c("lambda").invoke(FunctionName=f"{n.function}:dev"),
    "invoke the deployer": lambda c, _: c("lambda").invoke(FunctionName="sluicegate-deployer"),
    "invoke it for a rollback": lambda c, _: c("lambda").invoke(FunctionName="sluicegate-rollback"),
    "forge a caller": lambda c, _: c("lambda").invoke(FunctionName="sluicegate-gateway-iam"),
    "configure a deployed function": lambda c, n: c("lambda").update_function_configuration(
        FunctionName=n.function, Timeout=9
    ),
    "delete a deployed function": lambda c, n: c("lambda").delete_function(FunctionName=n.function),
    "delete a version": lambda c, n: c("lambda").delete_function(FunctionName=n.function, Qualifier="1"),
    "open a deployed function": lambda c, n: c("lambda").add_permission(
        FunctionName=n.function, StatementId="x", Action="lambda:InvokeFunction", Principal="*"
    ),
    "publish a function's url": lambda c, n: c("lambda").create_function_url_config(
        FunctionName=n.function, AuthType="NONE"
    ),
    "create a function": lambda c, n: c("lambda").create_function(
        FunctionName="orders-new",
        Runtime="python3.13",
        Handler="x.y",
        Role=n.role_arn("gateway"),
        Code={"ZipFile": b"x"},
    ),
    "change the gateway's code": lambda c, _: c("lambda").update_function_code(
        FunctionName="sluicegate-gateway", ZipFile=b"x"
    ),
    "change the gateway's environment": lambda c, _: c("lambda").update_function_configuration(
        FunctionName="sluicegate-gateway", Environment={"Variables": {"SLUICEGATE_GATE": "elsewhere"}}
    ),
    "read the gateway's environment": lambda c, _: c("lambda").get_function(
        FunctionName="sluicegate-gateway"
    ),
    "change a layer": lambda c, _: c("lambda").publish_layer_version(
        LayerName="sluicegate-gate", Content={"ZipFile": b"x"}
    ),
    "write a policy": lambda c, n: c("iam").put_role_policy(
        RoleName=n.role["gateway"], PolicyName="x", PolicyDocument=TRUST
    ),
    "create a role": lambda c, _: c("iam").create_role(RoleName="x", AssumeRolePolicyDocument=TRUST),
    "assume the gateway's role": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("gateway"), RoleSessionName="probe"
    ),
    "assume the deployer's role": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("deployer"), RoleSessionName="probe"
    ),
    "enter the target with a guess": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("target"), RoleSessionName="probe", ExternalId="guess", SourceIdentity="probe"
    ),
    "enter the target with no external id": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("target"), RoleSessionName="probe", SourceIdentity="probe"
    ),
    "enter the target for nobody": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("target"), RoleSessionName="probe", ExternalId=n.external_id
    ),
    "delete an artifact": lambda c, n: c("s3").delete_object(Bucket=n.bucket, Key="orders-x/0.zip"),
    "delete an artifact's version": lambda c, n: c("s3").delete_object(
        Bucket=n.bucket, Key="orders-x/0.zip", VersionId="1"
    ),
    "open the bucket": lambda c, n: c("s3").put_bucket_policy(Bucket=n.bucket, Policy=TRUST),
    "stop the bucket's versions": lambda c, n: c("s3").put_bucket_versioning(
        Bucket=n.bucket, VersioningConfiguration={"Status": "Suspended"}
    ),
    "delete the bucket": lambda c, n: c("s3").delete_bucket(Bucket=n.bucket),
    "replace evidence": lambda c, n: c("s3").put_object(Bucket=n.evidence, Key=SEALED, Body=b"x"),
    "delete evidence": lambda c, n: c("s3").delete_object(Bucket=n.evidence, Key=SEALED),
    "delete a version of the evidence": lambda c, n: c("s3").delete_object(
        Bucket=n.evidence, Key=SEALED, VersionId="1", BypassGovernanceRetention=True
    ),
    "unlock evidence": lambda c, n: c("s3").put_object_retention(
        Bucket=n.evidence, Key=SEALED, Retention={}, BypassGovernanceRetention=True
    ),
    "open the evidence": lambda c, n: c("s3").put_bucket_policy(Bucket=n.evidence, Policy=TRUST),
    "sign what no head is": lambda c, n: c("kms").sign(
        KeyId=n.evidence_key, Message=b"x" * 64, MessageType="DIGEST", SigningAlgorithm="ED25519_PH_SHA_512"
    ),
    "open the evidence's key": lambda c, n: c("kms").put_key_policy(KeyId=n.evidence_key, Policy=TRUST),
    "delete the evidence's key": lambda c, n: c("kms").schedule_key_deletion(KeyId=n.evidence_key),
    "scan the table": lambda c, n: c("dynamodb").scan(TableName=n.table),
    "delete the table": lambda c, n: c("dynamodb").delete_table(TableName=n.table),
    "change the table": lambda c, n: c("dynamodb").update_table(
        TableName=n.table, DeletionProtectionEnabled=False
    ),
    "stop an execution": lambda c, n: c("stepfunctions").stop_execution(
        executionArn=n.state_machine.replace("stateMachine", "execution") + ":x"
    ),
    "change the state machine": lambda c, n: c("stepfunctions").update_state_machine(
        stateMachineArn=n.state_machine, definition="{}"
    ),
    "delete the state machine": lambda c, n: c("stepfunctions").delete_state_machine(
        stateMachineArn=n.state_machine
    ),
    "read a log": lambda c, _: c("logs").filter_log_events(logGroupName="/aws/lambda/sluicegate-gateway"),
    "delete a log": lambda c, _: c("logs").delete_log_group(logGroupName="/aws/lambda/sluicegate-gateway"),
    "read a secret": lambda c, _: c("secretsmanager").get_secret_value(SecretId="orders/database"),
    "put an event on the account's own bus": lambda c, _: c("events").put_events(
        Entries=[{"Source": "sluicegate", "DetailType": "Sluicegate Deployment", "Detail": "{}"}]
    ),
    "listen to the bus": lambda c, _: c("events").put_rule(
        Name="x", EventBusName="sluicegate", EventPattern='{"source": ["sluicegate"]}'
    ),
    "open the bus": lambda c, _: c("events").put_permission(
        EventBusName="sluicegate", StatementId="x", Principal="*", Action="events:PutEvents"
    ),
    "delete the bus": lambda c, _: c("events").delete_event_bus(Name="sluicegate"),
    "read a dead letter": lambda c, n: c("sqs").receive_message(QueueUrl=n.dead_letters),
    "delete the dead letters": lambda c, n: c("sqs").purge_queue(QueueUrl=n.dead_letters),
    "stop the relay": lambda c, _: c("lambda").put_function_concurrency(
        FunctionName="sluicegate-relay", ReservedConcurrentExecutions=0
    ),
    "delete the stack": lambda c, _: c("cloudformation").delete_stack(StackName="sluicegate"),
}

TOUCH: dict[str, Try] = {
    "read a deployed function": lambda c, n: c("lambda").get_function(FunctionName=n.function),
    "read its alias": lambda c, n: c("lambda").get_alias(FunctionName=n.function, Name="dev"),
    "change its code": lambda c, n: c("lambda").update_function_code(FunctionName=n.function, ZipFile=b"x"),
    "publish it": lambda c, n: c("lambda").publish_version(FunctionName=n.function),
    "move its alias": lambda c, n: c("lambda").update_alias(
        FunctionName=n.function, Name="dev", FunctionVersion="1"
    ),
    "create an alias": lambda c, n: c("lambda").create_alias(
        FunctionName=n.function, Name="x", FunctionVersion="1"
    ),
    "delete its alias": lambda c, n: c("lambda").delete_alias(FunctionName=n.function, Name="dev"),
}
PUT: dict[str, Try] = {
    "put an artifact": lambda c, n: c("s3").put_object(
        Bucket=n.bucket, Key=f"{n.function}/{'0' * 64}.zip", Body=b"x"
    ),
}
READ_ARTIFACTS: dict[str, Try] = {
    "read an artifact": lambda c, n: c("s3").get_object(Bucket=n.bucket, Key=f"{n.neighbour}/0.zip"),
    "list artifacts": lambda c, n: c("s3").list_objects_v2(Bucket=n.bucket),
}
WRITE: dict[str, Try] = {
    "put an item": lambda c, n: c("dynamodb").put_item(TableName=n.table, Item=KEY),
    "update an item": lambda c, n: c("dynamodb").update_item(TableName=n.table, Key=KEY),
    "delete an item": lambda c, n: c("dynamodb").delete_item(TableName=n.table, Key=KEY),
    "write a transaction": lambda c, n: c("dynamodb").transact_write_items(
        TransactItems=[{"Put": {"TableName": n.table, "Item": KEY}}]
    ),
}


def item(key: str) -> dict[str, dict[str, str]]:
    """An item with this partition key, which nothing that looks for such items finds."""
    return {"pk": {"S": key}, "sk": {"S": "!probe"}}


def update(*keys: str) -> dict[str, Try]:
    def of(key: str) -> Try:
        return lambda c, n: c("dynamodb").update_item(TableName=n.table, Key=item(key))

    return {f"update {key}": of(key) for key in keys}


def delete_items(*keys: str) -> dict[str, Try]:
    def of(key: str) -> Try:
        return lambda c, n: c("dynamodb").delete_item(TableName=n.table, Key=item(key))

    return {f"delete {key}": of(key) for key in keys}


def put_items(*keys: str) -> dict[str, Try]:
    """Each by itself, and all in one transaction."""

    def of(key: str) -> Try:
        return lambda c, n: c("dynamodb").put_item(TableName=n.table, Item=item(key))

    return {f"put {key}": of(key) for key in keys} | {"put all in a transaction": transaction(*keys)}


def transaction(*keys: str) -> Try:
    def put(c: Client, n: Names) -> Any:
        items = [{"Put": {"TableName": n.table, "Item": item(key)}} for key in keys]
        return c("dynamodb").transact_write_items(TransactItems=items)

    return put


def slip_in(own: str) -> dict[str, Try]:
    """Write a foreign item beside one's own, in any order."""
    return {
        "slip an item in after one's own": transaction(own, "probe"),
        "slip an item in before one's own": transaction("probe", own),
    }


QUERY: dict[str, Try] = {
    "query the table": lambda c, n: c("dynamodb").query(
        TableName=n.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "serving"}},
    ),
    "query an index": lambda c, n: c("dynamodb").query(
        TableName=n.table,
        IndexName="unfinished",
        KeyConditionExpression="unfinished = :pk",
        ExpressionAttributeValues={":pk": {"S": "yes"}},
    ),
}
WATCHING: dict[str, Try] = {
    "query what watches": lambda c, n: c("dynamodb").query(
        TableName=n.table,
        IndexName="watching",
        KeyConditionExpression="watching = :pk",
        ExpressionAttributeValues={":pk": {"S": f"{n.account}#{n.region}"}},
    ),
}
FACTS: dict[str, Try] = {
    "query what is unsealed": lambda c, n: c("dynamodb").query(
        TableName=n.table,
        IndexName="unsealed",
        KeyConditionExpression="unsealed = :pk",
        ExpressionAttributeValues={":pk": {"S": "yes"}},
    ),
}
GET: dict[str, Try] = {"get an item": lambda c, n: c("dynamodb").get_item(TableName=n.table, Key=KEY)}
START: dict[str, Try] = {
    "start an execution": lambda c, n: c("stepfunctions").start_execution(
        stateMachineArn=n.state_machine, name=f"probe-{uuid4().hex}", input='{"id": "none"}'
    ),
}
TELL: dict[str, Try] = {
    "put an event": lambda c, _: c("events").put_events(
        Entries=[
            {
                "EventBusName": "sluicegate",
                "Source": "probe",
                "DetailType": "Sluicegate Deployment",
                "Detail": "{}",
            }
        ]
    ),
}
STREAM: dict[str, Try] = {
    "read the stream": lambda c, n: c("dynamodbstreams").describe_stream(StreamArn=n.stream),
}
SET_ASIDE: dict[str, Try] = {
    "send a dead letter": lambda c, n: c("sqs").send_message(QueueUrl=n.dead_letters, MessageBody="probe"),
}
RELAYED: dict[str, Try] = {**TELL, **STREAM, **SET_ASIDE}


def beside(dead_letters: str, name: str) -> str:
    """The address of another queue of the stack."""
    return dead_letters.replace("sluicegate-dead-letters", name)


HEAR: dict[str, Try] = {
    "read a webhook's secret": lambda c, _: c("secretsmanager").get_secret_value(SecretId=HOOK),
}
ANSWER: dict[str, Try] = {
    "read GitLab's token": lambda c, _: c("secretsmanager").get_secret_value(SecretId=TOKEN),
    "hear what to answer": lambda c, n: c("sqs").get_queue_attributes(
        QueueUrl=beside(n.dead_letters, "sluicegate-notifier"), AttributeNames=["QueueArn"]
    ),
    "set an answer aside": lambda c, n: c("sqs").send_message(
        QueueUrl=beside(n.dead_letters, "sluicegate-notifier-dead-letters"), MessageBody="probe"
    ),
}
SEND: dict[str, Try] = {
    "read a channel's address": lambda c, _: c("secretsmanager").get_secret_value(SecretId=CHANNEL),
    "hear what to send": lambda c, n: c("sqs").get_queue_attributes(
        QueueUrl=beside(n.dead_letters, "sluicegate-messenger"), AttributeNames=["QueueArn"]
    ),
    "set a message aside": lambda c, n: c("sqs").send_message(
        QueueUrl=beside(n.dead_letters, "sluicegate-messenger-dead-letters"), MessageBody="probe"
    ),
}
SIGN_IN: dict[str, Try] = {
    "read an application's secret": lambda c, _: c("secretsmanager").get_secret_value(SecretId=APPLICATION),
}
SEAL: dict[str, Try] = {
    "put evidence": lambda c, n: c("s3").put_object(
        Bucket=n.evidence, Key=f"probe/{uuid4().hex}", Body=b"x", IfNoneMatch="*"
    ),
    "list the evidence": lambda c, n: c("s3").list_objects_v2(Bucket=n.evidence, Prefix="probe/"),
    "read the evidence": unless("NoSuchKey", lambda c, n: c("s3").get_object(Bucket=n.evidence, Key=SEALED)),
    "sign a head": lambda c, n: c("kms").sign(
        KeyId=n.evidence_key, Message=b"x", MessageType="RAW", SigningAlgorithm="ED25519_SHA_512"
    ),
}
LOOK: dict[str, Try] = {
    "enter the target to look": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("target"),
        RoleSessionName="probe",
        ExternalId=n.external_id,
        SourceIdentity=DRIFT_IDENTITY,
    ),
}
LOOK_WITHOUT: dict[str, Try] = {
    "enter the target to look with a guess": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("target"),
        RoleSessionName="probe",
        ExternalId="guess",
        SourceIdentity=DRIFT_IDENTITY,
    ),
}


def enter_to_prune(external_id: str | None = None, identity: str = PRUNE_IDENTITY) -> Try:
    return lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("prune"),
        RoleSessionName="probe",
        ExternalId=external_id or n.external_id,
        SourceIdentity=identity,
    )


PRUNE: dict[str, Try] = {
    "enter the role that deletes versions": enter_to_prune(),
    "measure code storage": lambda c, _: c("lambda").get_account_settings(),
}
PRUNE_WITHOUT: dict[str, Try] = {
    "enter the role that deletes versions with a guess": enter_to_prune("guess"),
    "enter the role that deletes versions as somebody": enter_to_prune(identity="probe"),
}


LOOKED_AT: dict[str, Try] = {
    "read a deployed function": TOUCH["read a deployed function"],
    "list its aliases": lambda c, n: c("lambda").list_aliases(FunctionName=n.function),
    "list its addresses": lambda c, n: c("lambda").list_function_url_configs(FunctionName=n.function),
    "list event sources": lambda c, _: c("lambda").list_event_source_mappings(),
    "read who may invoke it": unless(
        "ResourceNotFoundException", lambda c, n: c("lambda").get_policy(FunctionName=n.function)
    ),
}
ENTER: dict[str, Try] = {
    "enter the target": lambda c, n: c("sts").assume_role(
        RoleArn=n.role_arn("target"),
        RoleSessionName="probe",
        ExternalId=n.external_id,
        SourceIdentity="probe",
    ),
}
NEIGHBOUR: dict[str, Try] = {
    "read a neighbour": lambda c, n: c("lambda").get_function(FunctionName=n.neighbour),
    "change a neighbour's code": lambda c, n: c("lambda").update_function_code(
        FunctionName=n.neighbour, ZipFile=b"x"
    ),
    "move a neighbour's alias": lambda c, n: c("lambda").update_alias(
        FunctionName=n.neighbour, Name="dev", FunctionVersion="1"
    ),
}
UNCOVERED: dict[str, Try] = {
    "read a function outside the gate file": lambda c, _: c("lambda").get_function(FunctionName="billing"),
    "change a function outside the gate file": lambda c, _: c("lambda").update_function_code(
        FunctionName="billing", ZipFile=b"x"
    ),
}

PRIVATE = {
    "gateway": HEAR,
    "relay": RELAYED,
    "notifier": ANSWER,
    "messenger": SEND,
    "board": SIGN_IN,
    "sealer": SEAL,
    "pruner": PRUNE,
}
"""What one role may, and no other."""


def of_others(role: str) -> dict[str, Try]:
    """What no role may, and what only another one may."""
    private = {
        name: call for owner, calls in PRIVATE.items() if owner != role for name, call in calls.items()
    }
    return {**NOBODY, **private}


# Of those that read the record and work on nothing but their own.
READER = {**TOUCH, **ENTER, **LOOK, **PUT, **READ_ARTIFACTS, **START, **WRITE}

DENIALS: dict[str, dict[str, Try]] = {
    "gateway": {**of_others("gateway"), **TOUCH, **ENTER, **LOOK},
    "gatewayiam": {**of_others("gatewayiam"), **TOUCH, **ENTER, **LOOK},
    "watcher": {**of_others("watcher"), **READER, **QUERY},
    "watcheriam": {**of_others("watcheriam"), **READER, **QUERY},
    "deployer": {**of_others("deployer"), **TOUCH, **PUT, **QUERY, **START},
    "janitor": {
        **of_others("janitor"),
        **TOUCH,
        **ENTER,
        **LOOK,
        **PUT,
        **READ_ARTIFACTS,
        **WATCHING,
        "query the table": QUERY["query the table"],
    },
    "waker": {**of_others("waker"), **READER, **QUERY},
    "notifier": {**of_others("notifier"), **READER, **QUERY, **update("message#1", "session#1", "fact#1")},
    "messenger": {**of_others("messenger"), **READER, **QUERY, **update("status#1", "session#1", "fact#1")},
    "board": {
        **of_others("board"),
        **READER,
        **update("fact#1", "evidence", "drift"),
        **slip_in("session#1"),
        **delete_items("session#1", "grant#1", "fact#sign-in#1", "fact#sign-ins#1"),
    },
    "sealer": {**of_others("sealer"), **READER, **QUERY, **update("session#1", "drift"), **slip_in("fact#1")},
    "drift": {
        **{name: call for name, call in READER.items() if name not in LOOK},
        **of_others("drift"),
        **LOOK_WITHOUT,
        "query an index": QUERY["query an index"],
        "put a session": put_items("session#1")["put session#1"],
        **slip_in("drift-pass"),
    },
    "pruner": {
        **of_others("pruner"),
        **READER,
        **PRUNE_WITHOUT,
        "query an index": QUERY["query an index"],
        **update("serving", "order#1", "evidence", "fact#1"),
        **slip_in("lock#1"),
    },
    "relay": {**of_others("relay"), **READER, **QUERY, **GET},
    "session": {
        **of_others("session"),
        **UNCOVERED,
        **NEIGHBOUR,
        **ENTER,
        **LOOK,
        **PUT,
        **READ_ARTIFACTS,
        **WRITE,
        **QUERY,
        **GET,
        **START,
    },
    "target": {
        **of_others("target"),
        **UNCOVERED,
        **ENTER,
        **LOOK,
        **PUT,
        **WRITE,
        **QUERY,
        **GET,
        **START,
    },
    "looking": {
        **of_others("looking"),
        **UNCOVERED,
        **{name: call for name, call in READER.items() if name not in LOOKED_AT},
        **QUERY,
        **GET,
    },
}

GET_MANY: dict[str, Try] = {
    "get many items": lambda c, n: c("dynamodb").batch_get_item(RequestItems={n.table: {"Keys": [KEY]}}),
}

# What each is for: without these, a role that may do nothing at all would pass.
MOVE = {name: TOUCH[name] for name in ("read a deployed function", "read its alias", "move its alias")}
SESSIONS = ("login#1", "session#1", "intent#1", "grant#1")
ALLOWED: dict[str, dict[str, Try]] = {
    "gateway": {**WRITE, **QUERY, **GET, **GET_MANY, **HEAR},
    "gatewayiam": {**WRITE, **QUERY, **GET, **GET_MANY},
    "watcher": {**GET, **update("poll#1")},
    "watcheriam": {**GET, **update("poll#1")},
    "deployer": {**WRITE, **GET, **GET_MANY, **ENTER},
    "janitor": {**WRITE, "query an index": QUERY["query an index"], **GET},
    "waker": {**GET, **WATCHING},
    "relay": TELL,
    "notifier": {**GET, **ANSWER, **update("status#1")},
    "messenger": {**GET, **SEND, **update("message#1")},
    "board": {
        **GET,
        **QUERY,
        **SIGN_IN,
        **update(*SESSIONS),
        **GET_MANY,
        **update("fact#sign-in#1", "fact#sign-ins#1"),
        **put_items(*SESSIONS, "fact#sign-in#1", "fact#sign-ins#1"),
        **delete_items("login#1", "intent#1"),
    },
    "sealer": {**GET, **FACTS, **SEAL, **update("fact#1", "evidence"), **put_items("fact#1", "evidence")},
    "drift": {
        **GET,
        **LOOK,
        **put_items("drift", "drift-pass"),
        "query the table": QUERY["query the table"],
    },
    "pruner": {
        **GET,
        **PRUNE,
        "query the table": QUERY["query the table"],
        **update("versions#1", "lock#1", "condemned", "pruning", "prune-pass", "fact#pruned#1", "budget#1"),
    },
    "session": MOVE,
    "target": MOVE,
    "looking": LOOKED_AT,
}


@pytest.mark.parametrize(("role", "what"), [(role, what) for role in DENIALS for what in DENIALS[role]])
def test_a_role_may_not(role: str, what: str, as_role: Callable[[str], Client], names: Names) -> None:
    with pytest.raises(ClientError) as refused:
        DENIALS[role][what](as_role(role), names)
    assert refused.value.response["Error"]["Code"] in DENIED, refused.value


@pytest.mark.parametrize(("role", "what"), [(role, what) for role in ALLOWED for what in ALLOWED[role]])
def test_a_role_may(role: str, what: str, as_role: Callable[[str], Client], names: Names) -> None:
    ALLOWED[role][what](as_role(role), names)


def test_the_rollout_may_only_run_the_deployer(stand: Stand, names: Names) -> None:
    """Simulated: the emulator does not enforce a state machine's role."""
    for deployer in ("sluicegate-deployer", "sluicegate-rollback"):
        assert decision(stand, names, "rollout", "lambda:InvokeFunction", names.arn(deployer)) == "allowed"
    for action, resource in (
        ("lambda:InvokeFunction", names.arn(names.function)),
        ("lambda:InvokeFunction", names.arn("sluicegate-gateway")),
        ("lambda:UpdateFunctionCode", names.arn("sluicegate-deployer")),
        ("sts:AssumeRole", names.role_arn("target")),
        ("s3:GetObject", f"arn:aws:s3:::{names.bucket}/x"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:{names.region}:{names.account}:table/{names.table}"),
    ):
        assert decision(stand, names, "rollout", action, resource) != "allowed", (action, resource)


def test_the_relay_may_only_read_the_stream_and_set_aside(stand: Stand, names: Names) -> None:
    """Simulated: the emulator reads streams as itself, and asks for the right to them on no stream at all."""
    table, _, _ = names.stream.partition("/stream/")
    queue = f"arn:aws:sqs:{names.region}:{names.account}:sluicegate-dead-letters"
    for action, resource in (
        ("dynamodb:DescribeStream", names.stream),
        ("dynamodb:GetRecords", names.stream),
        ("dynamodb:GetShardIterator", names.stream),
        ("dynamodb:ListStreams", names.stream),
        ("sqs:SendMessage", queue),
    ):
        assert decision(stand, names, "relay", action, resource) == "allowed", (action, resource)
    for action, resource in (
        ("dynamodb:GetRecords", f"{table}-other/stream/2026-11-01T00:00:00.000"),
        ("dynamodb:GetItem", table),
        ("dynamodb:Query", f"{table}/index/unfinished"),
        ("events:PutEvents", f"arn:aws:events:{names.region}:{names.account}:event-bus/default"),
        ("sqs:ReceiveMessage", queue),
        ("sqs:SendMessage", f"{queue}-other"),
        ("lambda:InvokeFunction", names.arn(names.function)),
        ("sts:AssumeRole", names.role_arn("target")),
    ):
        assert decision(stand, names, "relay", action, resource) != "allowed", (action, resource)


def decision(stand: Stand, names: Names, role: str, action: str, resource: str) -> str:
    results = stand.client("iam").simulate_principal_policy(
        PolicySourceArn=names.role_arn(role), ActionNames=[action], ResourceArns=[resource]
    )["EvaluationResults"]
    return str(results[0]["EvalDecision"])


# Artifacts


def announce(stand: Stand, function: str, data: bytes) -> dict[str, Any]:
    body = {"function": function, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    answer = stand.http("POST", "/artifacts", body, token=stand.token())
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()["upload"]
    return upload


def put(
    upload: dict[str, Any], data: bytes, *, url: str | None = None, **headers: str | None
) -> httpx2.Response:
    """PUT as instructed, except for these headers (underscores for hyphens); None leaves one out."""
    sent = {**upload["headers"], **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent["content-length"] = str(len(data))
    return httpx2.put(
        url or upload["url"],
        content=data,
        headers={name: value for name, value in sent.items() if value is not None},
        timeout=30,
        trust_env=False,
    )


def test_an_upload_is_for_one_key_size_checksum_and_type(stand: Stand) -> None:
    function, data = f"orders-{uuid4().hex[:8]}", uuid4().bytes * 4
    upload = announce(stand, function, data)
    signed = parse_qs(urlsplit(upload["url"]).query)
    assert signed["X-Amz-SignedHeaders"] == [
        "content-length;content-type;host;if-none-match;x-amz-checksum-sha256"
    ]
    assert signed["X-Amz-Expires"] == ["300"]

    other = uuid4().bytes * 4
    checksum = base64.b64encode(hashlib.sha256(other).digest()).decode()
    url = upload["url"]
    refused = {
        "another content": put(upload, other),
        "another content and its checksum": put(upload, other, x_amz_checksum_sha256=checksum),
        "no checksum": put(upload, other, x_amz_checksum_sha256=None),
        "more content": put(upload, data + b"x"),
        "another type": put(upload, data, content_type="text/html"),
        "no condition": put(upload, data, if_none_match=None),
        "another condition": put(upload, data, if_none_match='"x"'),
        "another function": put(upload, data, url=url.replace(function, "orders-victim")),
        "another key": put(upload, data, url=url.replace(".zip?", ".zip.zip?")),
        "a longer life": put(upload, data, url=url.replace("Expires=300", "Expires=604800")),
        "no session": put(upload, data, url=url.replace("X-Amz-Security-Token", "X-Amz-Meta-Token")),
        "no signature": put(upload, data, url=url.partition("?")[0]),
    }
    statuses = {how: answer.status_code for how, answer in refused.items()}
    assert {how: status for how, status in statuses.items() if status not in (400, 403)} == {}
    for method in ("GET", "DELETE", "POST"):
        assert httpx2.request(method, url, timeout=30, trust_env=False).status_code in (400, 403, 405)
    held = stand.client("s3").list_objects_v2(Bucket=stand.artifact_bucket, Prefix=f"{function}/")
    assert held["KeyCount"] == 0

    assert put(upload, data).status_code == 200
    assert put(upload, data).status_code == 412, "nothing is overwritten, not even by itself"
    versions = stand.client("s3").list_object_versions(Bucket=stand.artifact_bucket, Prefix=f"{function}/")
    assert len(versions["Versions"]) == 1


def test_an_upload_runs_out(names: Names, as_role: Callable[[str], Client]) -> None:
    """With the gateway's own credentials, as five minutes are long."""
    url = as_role("gateway")("s3").generate_presigned_url(
        "put_object", Params={"Bucket": names.bucket, "Key": f"{names.function}/late.zip"}, ExpiresIn=1
    )
    time.sleep(2.1)
    answer = httpx2.put(url, content=b"x", trust_env=False)
    assert answer.status_code == 403
    assert "expired" in answer.text


def test_nobody_signs_an_upload_but_the_gateway(names: Names, as_role: Callable[[str], Client]) -> None:
    for role in {*DENIALS} - {"gateway", "gatewayiam"}:
        url = as_role(role)("s3").generate_presigned_url(
            "put_object", Params={"Bucket": names.bucket, "Key": f"{names.function}/{role}.zip"}
        )
        assert httpx2.put(url, content=b"x", trust_env=False).status_code == 403, role


def test_a_stranger_reads_and_writes_nothing(stand: Stand, names: Names) -> None:
    base = f"{stand.aws_endpoint_url}/{names.bucket}"
    for method, url in (("GET", base), ("PUT", f"{base}/orders-x/0.zip"), ("GET", f"{base}/orders-x/0.zip")):
        assert httpx2.request(method, url, trust_env=False).status_code == 403
