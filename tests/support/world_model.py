"""Several accounts and regions of AWS, as a deployer sees them: STS, S3, Lambda and CloudWatch.

Every call carries the credentials of a session, and is answered as that session's own account, policy and
region say. Sources: S3 user guide ("Verifying bucket ownership with bucket owner condition"), S3 API
reference (HeadObject, PutObject), Lambda API reference (UpdateFunctionCode, "S3Bucket"), IAM user guide
("Manage AWS STS in an AWS Region"), all read on 26 November 2026. Lambda's answer for a bucket of another
region: hashicorp/terraform-provider-aws#43568 of 28 July 2025.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any, Final, cast
from unittest.mock import patch

import boto3
from botocore.exceptions import ClientError, EndpointConnectionError

from sluicegate.deployer.runner import Runner
from sluicegate.deployer.target import Targets
from sluicegate.deployment.plan import Plan, Target
from sluicegate.deployment.target_names import bucket_name
from sluicegate.settings import DeployerSettings
from support.cloudwatch_model import CloudWatchModel
from support.lambda_model import LambdaModel
from support.refusals import refused
from support.s3_model import S3Model
from support.simulation import OWN, Simulation, artifacts_of
from support.sts_model import StsModel

SETTINGS: Final = DeployerSettings(
    table="table", bucket="artifacts", target_role="sluicegate-target", external_id="the-stack"
)


@dataclass(frozen=True)
class Session:
    """What STS granted: whose it is, and its policy's statements."""

    account: str
    deployment: str
    role: str
    policy: str
    issued_in: str | None

    @property
    def statements(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.policy)["Statement"]
        return found

    def allows(self, action: str, resource: str) -> bool:
        """Return whether a statement without conditions allows it: those with one are about keys."""
        return any(
            fnmatchcase(action, pattern) and fnmatchcase(resource, name)
            for statement in self.statements
            if "Condition" not in statement
            for pattern in _listed(statement["Action"])
            for name in _listed(statement["Resource"])
        )


@dataclass(frozen=True)
class WorldCall:
    """A call that was made with a session."""

    session: Session
    service: str
    region: str
    name: str
    resource: str


@dataclass
class Bucket:
    """A bucket, by its owner and region."""

    owner: str
    region: str
    s3: S3Model = field(default_factory=S3Model)


@dataclass
class World:
    """`own` is the stack's account and region. `calls` are those that were answered by a service.

    In `disabled` (account, region), STS gives no session; `silent` are regions whose STS does not answer; in
    `unknown` regions the stack's own account is not known. `before` and `after` get the name of each call to
    STS and S3 for a target.
    """

    own: Target
    sts: StsModel = field(default_factory=StsModel)
    lambdas: dict[Target, LambdaModel] = field(default_factory=dict)
    cloudwatches: dict[Target, CloudWatchModel] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    disabled: set[tuple[str, str]] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    sessions: dict[str, Session] = field(default_factory=dict)
    calls: list[WorldCall] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.buckets[SETTINGS.bucket] = Bucket(self.own.account, self.own.region)
        self.sts.add_role(_role_arn(self.own.account, SETTINGS.target_role), SETTINGS.external_id)

    def add_target(self, plan: Plan) -> LambdaModel:
        """What the target's stack makes: the role with its external id, and the bucket. Return its Lambda."""
        target, role = plan.target, plan.role or ""
        self.sts.add_role(_role_arn(target.account, role), plan.external_id)
        bucket = Bucket(target.account, target.region)
        self.buckets[bucket_name(target.account, target.region, role)] = bucket
        return self.add_lambda(target, bucket)

    def add_lambda(self, target: Target, bucket: Bucket) -> LambdaModel:
        """Lambda in an account and region, which takes its code from that bucket."""
        model = self.lambdas.setdefault(target, LambdaModel())
        model.code = bucket.s3.objects
        self.cloudwatches.setdefault(target, CloudWatchModel())
        return model

    def bucket_of(self, plan: Plan) -> Bucket:
        return self.buckets[bucket_name(plan.target.account, plan.target.region, plan.role or "")]

    def targets(self, clock: Callable[[], float] = lambda: 0.0) -> Targets:
        """The deployer's access to this world."""
        with patch.object(boto3.session, "Session", lambda: _Clients(self)):
            return Targets(SETTINGS, lambda region: cast(Any, _RegionalSts(self, region)), clock)


@dataclass(frozen=True)
class _RegionalSts:
    world: World
    region: str | None

    def assume_role(self, **request: Any) -> dict[str, Any]:
        world, account = self.world, request["RoleArn"].split(":")[4]
        if self.region in world.silent:
            raise EndpointConnectionError(endpoint_url=f"https://sts.{self.region}.amazonaws.com/")
        if self.region in world.unknown:
            message = "The security token included in the request is invalid."
            raise refused("InvalidClientTokenId", message, 403, "AssumeRole")
        if (account, self.region) in world.disabled:
            message = "STS is not activated in this region for account"
            raise refused("RegionDisabledException", f"{message}:{account}.", 403, "AssumeRole")
        if account != world.own.account:
            world.before("AssumeRole")
        answer = world.sts.assume_role(**request)
        world.sessions[answer["Credentials"]["AccessKeyId"]] = Session(
            account, request["RoleSessionName"], request["RoleArn"], request["Policy"], self.region
        )
        if account != world.own.account:
            world.after("AssumeRole")
        return answer


@cache
def _partition(region: str) -> str:
    """Return botocore's partition of a region, which takes it a while to load."""
    return boto3.session.Session().get_partition_for_region(region)


@dataclass(frozen=True)
class _Clients:
    """A boto3 session whose clients know only the credentials that they were made with."""

    world: World

    def get_partition_for_region(self, region: str) -> str:
        return _partition(region)

    def client(self, service: str, *, region_name: str, aws_access_key_id: str, **_: Any) -> Any:
        session = self.world.sessions[aws_access_key_id]
        kinds = {"lambda": _Lambda, "s3": _S3, "cloudwatch": _CloudWatch}
        return kinds[service](self.world, session, region_name)


@dataclass(frozen=True)
class _Client:
    world: World
    session: Session
    region: str

    @property
    def target(self) -> Target:
        return Target(self.session.account, self.region)

    def _authorize(self, action: str, resource: str, error: str = "AccessDeniedException") -> None:
        service, name = action.split(":")
        if not self.session.allows(action, resource):
            who = f"User: {self.session.role} is not authorized"
            message = f"{who} to perform: {action} on resource: {resource}"
            raise refused(error, message, 403, name)
        self.world.calls.append(WorldCall(self.session, service, self.region, name, resource))


class _Lambda(_Client):
    def __getattr__(self, method: str) -> Any:
        return partial(self._call, method)

    def _call(self, method: str, **request: Any) -> Any:
        name = "InvokeFunction" if method == "invoke" else method.title().replace("_", "")
        function, _, qualifier = request["FunctionName"].partition(":")
        qualifier = qualifier or request.get("Qualifier", "")
        target = self.target
        arn = f"arn:aws:lambda:{target.region}:{target.account}:function:{function}"
        self._authorize(f"lambda:{name}", f"{arn}:{qualifier}" if qualifier else arn)
        if target not in self.world.lambdas:
            message = "The security token included in the request is invalid."
            raise refused("UnrecognizedClientException", message, 403, name)
        if method == "update_function_code":
            self._check_code(request["S3Bucket"], request["S3Key"])
        return getattr(self.world.lambdas[target], method)(**request)

    def _check_code(self, bucket: str, key: str) -> None:
        """Lambda reads the object with the caller's rights, and only from a bucket of its own region."""
        found = self.world.buckets.get(bucket)
        if found is None:
            raise _s3_error("NoSuchBucket", "The specified bucket does not exist")
        if found.region != self.region:
            raise _s3_error("PermanentRedirect", "The bucket you are attempting to access must be addressed")
        if found.owner != self.session.account or not self.session.allows(
            "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}"
        ):
            raise _s3_error("AccessDenied", "Access Denied")
        if key not in found.s3.objects:
            raise _s3_error("NoSuchKey", "The specified key does not exist.")


class _S3(_Client):
    """A bucket of another account is refused without a look at what it has."""

    def head_bucket(self, *, Bucket: str, ExpectedBucketOwner: str) -> Any:
        found = self._find("HeadBucket", Bucket, ExpectedBucketOwner)
        self._authorize("s3:ListBucket", f"arn:aws:s3:::{Bucket}", "403")
        return {"BucketRegion": found.region}

    def head_object(self, *, Bucket: str, Key: str, ExpectedBucketOwner: str, **request: Any) -> Any:
        found = self._find("HeadObject", Bucket, ExpectedBucketOwner)
        self._authorize("s3:GetObject", f"arn:aws:s3:::{Bucket}/{Key}", "403")
        found.s3.may_list = self.session.allows("s3:ListBucket", f"arn:aws:s3:::{Bucket}")
        return self._run("HeadObject", lambda: found.s3.head_object(Bucket="", Key=Key, **request))

    def put_object(self, *, Bucket: str, Key: str, ExpectedBucketOwner: str, **request: Any) -> Any:
        found = self._find("PutObject", Bucket, ExpectedBucketOwner)
        self._authorize("s3:PutObject", f"arn:aws:s3:::{Bucket}/{Key}", "AccessDenied")
        assert request["IfNoneMatch"] == "*"
        assert request["ChecksumSHA256"]
        return self._run("PutObject", lambda: found.s3.put_object(Bucket="", Key=Key, **request))

    def _run(self, name: str, call: Callable[[], Any]) -> Any:
        self.world.before(name)
        try:
            return call()
        finally:
            self.world.after(name)

    def _find(self, call: str, name: str, owner: str) -> Bucket:
        found = self.world.buckets.get(name)
        head = call.startswith("Head")
        if found is None:
            message = "The specified bucket does not exist"
            raise refused("404" if head else "NoSuchBucket", message, 404, call)
        if owner != found.owner or self.session.account != found.owner:
            raise refused("403" if head else "AccessDenied", "Access Denied", 403, call)
        return found


class _CloudWatch(_Client):
    def get_paginator(self, call: str) -> Any:
        self._authorize("cloudwatch:" + call.title().replace("_", ""), "*")
        return self.world.cloudwatches[self.target].get_paginator(call)


def _role_arn(account: str, role: str) -> str:
    return f"arn:aws:iam::{account}:role/{role}"


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _s3_error(code: str, message: str) -> ClientError:
    """Lambda names what it did, and S3's own code (hashicorp/terraform-provider-aws#43568)."""
    text = f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    return refused("InvalidParameterValueException", text, 400, "UpdateFunctionCode")


def world_of(simulated: Simulation) -> World:
    """Give the simulation's deployer a world, whose first account and region are the simulation's."""
    world = World(OWN)
    stack = world.buckets[SETTINGS.bucket]
    stack.s3 = simulated.s3
    world.lambdas[OWN] = simulated.model
    world.cloudwatches[OWN] = simulated.cloudwatch
    world.add_lambda(OWN, stack)
    simulated.runner = Runner(
        simulated.store,
        artifacts_of(simulated.model, simulated.s3),
        world.targets(simulated.clock),
        simulated.clock.sleep,
        simulated.clock,
    )
    simulated.deployer = replace(simulated.deployer, runner=simulated.runner)
    return world
