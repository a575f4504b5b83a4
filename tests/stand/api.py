"""The running stand, for tests, the demo and anything else in Python: `Stand.running()`."""

import hashlib
import io
import json
import os
import re
import signal
import ssl
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

import httpx2

from stand import control, places
from stand.emulator import Emulator, workers
from stand.issuer import Issuer
from stand.say import StandError

AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]


class AliasState(TypedDict):
    """Where an alias leads: its version, and the weights (0 to 1) of others beside it."""

    version: str
    weights: dict[str, float]


OFTEN: Final = {"Delay": 0.05, "MaxAttempts": 1200}
"""How waiters look: the emulator's functions are ready after half a second."""

HANDLER: Final = "def handler(event, context):\n    return {'release': %r}\n"
_LOOK: Final = 0.2
"""Seconds between two looks at a deployment that the API does not wait for."""

_ROLE: Final = "stand-sample-function"


@dataclass(frozen=True)
class Stand:
    """`.stand/stand.json`, and what one does with it."""

    endpoint: str
    issuer: str
    audience: str
    aws_endpoint_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    region: str
    account_id: str
    table: str
    artifact_bucket: str
    state_machine_arn: str
    iam_endpoint: str
    board: str
    targets: dict[str, dict[str, str]]

    @classmethod
    def running(cls) -> "Stand":
        """The stand that is up. Raises StandError where there is none."""
        state = control.State.load()
        if state is None or not state.is_running() or not places.STAND_JSON.is_file():
            raise StandError("the stand is not up: make up")
        return cls.of(json.loads(places.STAND_JSON.read_text()))

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "Stand":
        """The stand that `.stand/stand.json` describes."""
        return cls(**{field.name: described[field.name] for field in fields(cls)})

    @property
    def api_id(self) -> str:
        """The id of the stack's API: to the emulator, another body or policy is another API."""
        return places.API_ID.read_text()

    @property
    def gitlab(self) -> Issuer:
        return Issuer(self.issuer)

    @property
    def emulator(self) -> Emulator:
        return Emulator(httpx2.URL(self.aws_endpoint_url).port or 80)

    def token(self, **claims: Any) -> str:
        """A job's ID token; claims given as None are left out, `aud` may be a list."""
        return self.gitlab.token(claims)

    def client(self, service: str, **credentials: Any) -> Any:
        """A boto3 client: the account's administrator, or who the credentials say (`Emulator.client`)."""
        return self.emulator.client(service, **credentials)

    def http(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float = 40,
    ) -> httpx2.Response:
        """Call the API as a job would; `path` starts with a slash, after `/v1`."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return httpx2.request(
            method,
            self.endpoint + path,
            json=json,
            content=content,
            params=params,
            headers=sent,
            timeout=timeout,
            trust_env=False,
            verify=_certificates(),
        )

    def create_function(
        self,
        name: str,
        source: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        where: Mapping[str, str] | None = None,
    ) -> str:
        """Create (or replace) a function in Python, as somebody's Terraform would; its ARN.

        `where` is an account and region apart from the stack's (`targets.Target.where`).
        """
        lambda_ = self.client("lambda", **(where or {}))
        self.delete_function(name, where=where)
        created = lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="index.handler",
            Role=self._sample_role(where or {}),
            Code={"ZipFile": package(source if source is not None else HANDLER % "initial")},
            Environment={"Variables": dict(env or {})},
        )
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=OFTEN)
        return str(created["FunctionArn"])

    def delete_function(self, name: str, *, where: Mapping[str, str] | None = None) -> None:
        """Delete a function with all its versions; none of that name is fine."""
        lambda_ = self.client("lambda", **(where or {}))
        try:
            lambda_.delete_function(FunctionName=name)
        except lambda_.exceptions.ResourceNotFoundException:
            return

    def _sample_role(self, where: Mapping[str, str]) -> str:
        iam = self.client("iam", **where)
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        try:
            role = iam.create_role(
                RoleName=_ROLE,
                AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            )
        except iam.exceptions.EntityAlreadyExistsException:
            role = iam.get_role(RoleName=_ROLE)
        return str(role["Role"]["Arn"])

    def alias(self, function: str, name: str) -> str | None:
        """The version that an alias points at, or None where there is no such alias."""
        lambda_ = self.client("lambda")
        try:
            return str(lambda_.get_alias(FunctionName=function, Name=name)["FunctionVersion"])
        except lambda_.exceptions.ResourceNotFoundException:
            return None

    def alias_state(self, function: str, name: str) -> AliasState | None:
        """The version that an alias points at with its weights, or None where there is no such alias."""
        return alias_state(self.client("lambda"), function, name)

    @contextmanager
    def alarm(self, name: str, state: AlarmState = "OK") -> Iterator["Alarm"]:
        """A CloudWatch alarm of a test's own, for as long as the block runs."""
        alarm = Alarm(name, self.client("cloudwatch"))
        alarm.create(state)
        try:
            yield alarm
        finally:
            alarm.delete()

    def calls(self, function: str, since: float) -> list[str]:
        """The Lambda calls about a function since a moment (seconds since the epoch), the oldest first.

        As the emulator's CloudTrail has them: what IAM refused is not among them, and neither is an
        invocation by Step Functions, EventBridge or a stream, which are not calls there.
        """
        pages = (
            self.client("cloudtrail")
            .get_paginator("lookup_events")
            .paginate(
                LookupAttributes=[{"AttributeKey": "EventSource", "AttributeValue": "lambda.amazonaws.com"}],
                StartTime=since,
            )
        )
        found = {event["EventId"]: event for page in pages for event in page["Events"]}
        about = [
            event
            for event in found.values()
            if event["EventTime"].timestamp() >= since
            and any(function_of(one["ResourceName"]) == function for one in event["Resources"])
        ]
        ordered = sorted(about, key=lambda event: event["EventTime"])
        return [re.sub(r"\d{8}(v\d)?$", "", event["EventName"]) for event in ordered]

    def invoke(self, function: str, payload: Any = None, *, alias: str | None = None) -> Any:
        """What a function answers, under an alias or as it is."""
        name = f"{function}:{alias}" if alias else function
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload or {}).encode())
        return json.loads(answer["Payload"].read() or b"null")

    def upload(self, function: str, data: bytes, *, token: str) -> str:
        """Announce an artifact and upload it, as a job would; its SHA-256. Raises httpx2.HTTPStatusError."""
        digest = hashlib.sha256(data).hexdigest()
        announced = self.http(
            "POST", "/artifacts", {"function": function, "sha256": digest, "size": len(data)}, token=token
        )
        upload = announced.raise_for_status().json()["upload"]
        if upload:
            httpx2.request(
                upload["method"],
                upload["url"],
                headers=upload["headers"],
                content=data,
                timeout=30,
                trust_env=False,
                verify=_certificates(),
            ).raise_for_status()
        return digest

    def put_secret(self, name: str, value: str) -> None:
        """Create a secret in Secrets Manager, or rotate it where it has another value."""
        secrets = self.client("secretsmanager")
        try:
            secrets.create_secret(Name=name, SecretString=value)
        except secrets.exceptions.ResourceExistsException:
            if secrets.get_secret_value(SecretId=name)["SecretString"] != value:
                secrets.put_secret_value(SecretId=name, SecretString=value)

    def wait(self, deployment: str, *, token: str, patience: float = 150) -> dict[str, Any]:
        """The deployment once it is final. Raises StandError where `patience` seconds do not suffice."""
        deadline, revision = time.monotonic() + patience, 0
        while time.monotonic() < deadline:
            answer = self.http(
                "GET", f"/deployments/{deployment}", token=token, params={"after": revision, "wait": 10}
            )
            deployment_state: dict[str, Any] = answer.raise_for_status().json()
            if deployment_state["final"]:
                return deployment_state
            revision = deployment_state["revision"]
            if "retry-after" in answer.headers:  # it did not wait; sooner than it says is soon enough here
                time.sleep(_LOOK)
        raise StandError(f"{deployment} is still {deployment_state['status']} after {patience:.0f} s")

    def own_functions(self) -> list[str]:
        """The names of the stack's own functions."""
        pages = (
            self.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName="sluicegate")
        )
        found = (summary for page in pages for summary in page["StackResourceSummaries"])
        return sorted(
            one["PhysicalResourceId"] for one in found if one["ResourceType"] == "AWS::Lambda::Function"
        )

    def workers(self, function: str) -> list[int]:
        """The process ids of a function's warm workers."""
        return workers(function)

    def kill_workers(self, function: str) -> int:
        """End a function's workers at once, wherever they are in their work; how many there were."""
        found = self.workers(function)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    @contextmanager
    def throttled(self, function: str, concurrency: int = 0) -> Iterator[None]:
        """Let one of the stack's functions run so many times at once while the block runs, or not at all."""
        lambda_ = self.client("lambda")
        before = lambda_.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
        lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=concurrency)
        try:
            yield
        finally:
            if before is None:
                lambda_.delete_function_concurrency(FunctionName=function)
            else:
                lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=before)

    @contextmanager
    def stopped_gitlab(self) -> Iterator[None]:
        """Stop the stand-in GitLab's process while the block runs: it takes connections, and says nothing."""
        state = control.State.load()
        assert state
        os.kill(state.gitlab.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(state.gitlab.pid, signal.SIGCONT)

    def another_gitlab(
        self, audience: str | None = None, port: int = 0, issuer_port: int | None = None
    ) -> Issuer:
        """Start one more stand-in GitLab with keys of its own; it ends with the stand."""
        return control.one_more_gitlab(audience or self.audience, port, issuer_port)

    def install_gate(self, gate_file: Path | None) -> None:
        """Deploy with another gate file, or with the stand's own again."""
        control.up(gate_file)


@dataclass(frozen=True)
class Alarm:
    """A CloudWatch alarm on a metric that nothing writes: its state is the one that it was set to."""

    name: str
    cloudwatch: Any

    def create(self, state: AlarmState = "OK") -> None:
        self.cloudwatch.put_metric_alarm(
            AlarmName=self.name,
            Namespace="Stand/Alarms",
            MetricName=self.name,
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        )
        self.set(state)

    def set(self, state: AlarmState) -> None:
        """Change the state, which EventBridge hears of at once."""
        self.cloudwatch.set_alarm_state(AlarmName=self.name, StateValue=state, StateReason="set by a test")

    def delete(self) -> None:
        self.cloudwatch.delete_alarms(AlarmNames=[self.name])


@cache
def _certificates() -> ssl.SSLContext:
    """What a client trusts: loading it takes longer than a call on this machine."""
    return ssl.create_default_context()


def alias_state(lambda_: Any, function: str, name: str) -> AliasState | None:
    """What a client of Lambda says about an alias, or None where there is no such alias."""
    try:
        alias = lambda_.get_alias(FunctionName=function, Name=name)
    except lambda_.exceptions.ResourceNotFoundException:
        return None
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {"version": alias["FunctionVersion"], "weights": weights}


def function_of(reference: str) -> str:
    """The name in a function's name, `name:qualifier` or ARN."""
    return reference.rpartition(":function:")[2].partition(":")[0]


def package(source: str, *, filename: str = "index.py") -> bytes:
    """A deployment package with one source file: uncompressed, so that the same
    source is the same bytes everywhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(filename, (2026, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, source)
    return buffer.getvalue()
