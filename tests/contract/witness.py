"""The witnesses of the contract with AWS: models in memory, and emulators over HTTP.

A case says what AWS answers, with its source, and never what a witness answers. Where a witness is known to
answer otherwise, `disagreements` says so, and the case fails as soon as that is no longer true.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from stand import HANDLER, Stand, package
from support.cloudwatch_model import CloudWatchModel
from support.lambda_model import LambdaModel
from support.s3_model import S3Model
from support.sts_model import StsModel
from support.table_model import DynamoDbModel

MODEL: Final = "model"
MOTO: Final = "moto"
MINISTACK: Final = "ministack"
LOCALEMU: Final = "localemu"

CROSSCHECK: Final = "CONTRACT_ENDPOINT"
"""Environment variable: the address of the second emulator. `make crosscheck` sets it."""

ACCOUNT: Final = "111111111111"
REGION: Final = "eu-central-1"
OFTEN: Final = {"Delay": 0.1, "MaxAttempts": 300}


class Witness(Protocol):
    """Clients of one witness, each with boto3's methods."""

    @property
    def name(self) -> str:
        """Return its name in `disagreements`."""

    def client(self, service: str) -> Any:
        """Return a client for a service; a case skips where the witness has none."""

    def as_session(self, service: str, credentials: Mapping[str, str]) -> Any:
        """Return a client for a service, with the credentials in an answer of STS."""

    def create_function(self, code: bytes) -> str:
        """Create a function that nothing else uses, and return its name once it is Active."""

    def store_code(self, code: bytes) -> dict[str, str]:
        """Store a zip where UpdateFunctionCode finds it, and return `S3Bucket` and `S3Key`."""

    def settle(self, function: str) -> None:
        """Wait until no update of the function is in progress."""


@dataclass(frozen=True)
class Models:
    """What the unit tests believe: a model of each service."""

    lambda_: LambdaModel
    dynamodb: DynamoDbModel = field(default_factory=DynamoDbModel)
    s3: S3Model = field(default_factory=S3Model)
    sts: StsModel = field(default_factory=StsModel)
    cloudwatch: CloudWatchModel = field(default_factory=CloudWatchModel)
    name: str = MODEL

    def client(self, service: str) -> Any:
        match service:
            case "lambda":
                return self.lambda_
            case "dynamodb":
                return self.dynamodb
            case "s3":
                return self.s3
            case "sts":
                return self.sts
            case "iam":
                return self.sts.iam
            case "cloudwatch":
                return self.cloudwatch
        return pytest.skip(f"the unit tests have no model of {service} with boto3's methods")

    def as_session(self, service: str, credentials: Mapping[str, str]) -> Any:
        return {"sts": self.sts.with_credentials}[service](credentials)

    def create_function(self, code: bytes) -> str:
        name = unique()
        self.lambda_.add(name, code)
        return name

    def store_code(self, code: bytes) -> dict[str, str]:
        key = f"{unique()}.zip"
        self.lambda_.code[key] = code
        return {"S3Bucket": "artifacts", "S3Key": key}

    def settle(self, function: str) -> None:
        for _ in range(10):
            read = self.lambda_.get_function(FunctionName=function, Qualifier="$LATEST")
            if read["Configuration"]["LastUpdateStatus"] == "Successful":
                return
        raise AssertionError("the model's update never ends")


@dataclass(frozen=True)
class Moto:
    """moto, of which a few unit tests take the DynamoDB: no other case asks it."""

    name: str = MOTO

    def client(self, service: str) -> Any:
        return boto3.client(cast(Any, service), region_name=REGION)

    def as_session(self, service: str, credentials: Mapping[str, str]) -> Any:
        raise NotImplementedError

    def create_function(self, code: bytes) -> str:
        raise NotImplementedError

    def store_code(self, code: bytes) -> dict[str, str]:
        raise NotImplementedError

    def settle(self, function: str) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Emulator:
    """An emulator over HTTP."""

    name: str
    make_client: Callable[..., Any]

    def client(self, service: str) -> Any:
        return self.make_client(service)

    def as_session(self, service: str, credentials: Mapping[str, str]) -> Any:
        return self.make_client(
            service,
            access_key=credentials["AccessKeyId"],
            secret_key=credentials["SecretAccessKey"],
            token=credentials["SessionToken"],
        )

    def create_function(self, code: bytes) -> str:
        name, lambda_ = unique(), self.client("lambda")
        lambda_.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="index.handler",
            Role=self._role(),
            Code={"ZipFile": code},
        )
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=OFTEN)
        return name

    def store_code(self, code: bytes) -> dict[str, str]:
        bucket, key = bucket_of(self), f"{unique()}.zip"
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=code)
        return {"S3Bucket": bucket, "S3Key": key}

    def settle(self, function: str) -> None:
        waiter = self.client("lambda").get_waiter("function_updated_v2")
        waiter.wait(FunctionName=function, WaiterConfig=OFTEN)

    def _role(self) -> str:
        return role(self, "lambda.amazonaws.com")


@functools.cache
def bucket_of(witness: Emulator) -> str:
    """Return a versioned bucket, made once for each witness."""
    name, s3 = unique(), witness.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@functools.cache
def role(witness: Emulator, service: str) -> str:
    """Return the ARN of a role that a service may assume, made once for each witness."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    created = witness.client("iam").create_role(
        RoleName=unique(),
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    arn: str = created["Role"]["Arn"]
    return arn


def names(*, dynamodb: bool) -> list[str]:
    """Return the witnesses of this run, for a module about DynamoDB or another one."""
    if os.environ.get(CROSSCHECK):
        return [LOCALEMU]
    return [MODEL, MOTO, MINISTACK] if dynamodb else [MODEL, MINISTACK]


def call(name: str, stand: Callable[[], Stand]) -> Iterator[Witness]:
    """Yield the witness of that name."""
    with ExitStack() as stack:
        match name:
            case "model":
                yield Models(LambdaModel())
            case "moto":
                stack.enter_context(pytest.MonkeyPatch.context()).setenv("AWS_ACCESS_KEY_ID", "testing")
                stack.enter_context(mock_aws())
                yield Moto()
            case "ministack":
                yield Emulator(MINISTACK, stand().client)
            case _:
                yield Emulator(LOCALEMU, second_emulator)


@functools.cache
def second_emulator(
    service: str,
    access_key: str = "test",
    secret_key: str = "test",  # noqa: S107 - not checked there
    token: str | None = None,
) -> Any:
    """Return a client of the emulator at `CONTRACT_ENDPOINT`."""
    once = Config(retries={"total_max_attempts": 1}, proxies={})
    session: Any = boto3.session.Session(access_key, secret_key, token, region_name=REGION)
    return session.client(service, endpoint_url=os.environ[CROSSCHECK], config=once)


def refusal(called: Callable[..., Any], **request: Any) -> tuple[str, int, str]:
    """Return the code, the HTTP status and the message of the error that the call must raise."""
    with pytest.raises(ClientError) as raised:
        called(**request)
    response: Any = raised.value.response
    error, status = response["Error"], response["ResponseMetadata"]["HTTPStatusCode"]
    return error["Code"], status, error.get("Message", "")


def eventually(read: Callable[[], Any], wanted: Any, patience: float = 30) -> None:
    """Read until the wanted value comes."""
    deadline = time.monotonic() + patience
    while (found := read()) != wanted:
        assert time.monotonic() < deadline, f"{found!r} after {patience} s, not {wanted!r}"
        time.sleep(0.05)


def code(release: str) -> bytes:
    """Return a zip that differs from that of any other release."""
    return package(HANDLER % release)


def unique() -> str:
    """Return a name that nothing else has."""
    return f"contract-{uuid4().hex[:10]}"
