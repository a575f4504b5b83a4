"""Callers with IAM credentials: a provider, roles, sessions, and signed requests. For tests and the demo."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from stand import places, stack
from stand.api import OFTEN, Stand
from stand.emulator import OTHER_ACCOUNT
from stand.say import StandError

STS_AUDIENCE: Final = "https://sts.example.com"
"""`aud` of tokens for STS: never the audience of tokens for Sluicegate."""

NEEDED: Final = (
    "POST/iam/artifacts",
    "POST/iam/deployments",
    "GET/iam/deployments/*",
    "GET/iam/whoami",
)
"""The methods that a job needs: none of them decides about a deployment."""

ROLE_ID: Final = "stand:role-id"
"""A tag that the emulator's launcher reads (`emulator_iam.ROLE_ID`)."""

SUB: Final = "project_path:acme/orders:ref_type:tag:ref:v1.0.0"
"""`sub` of the stand's usual job."""


@dataclass(frozen=True)
class Credentials:
    """Keys of a user, a session, or the account's root."""

    access_key: str
    secret_key: str
    token: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Credentials":
        """The credentials in an answer of STS."""
        given = answer["Credentials"]
        return cls(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    def client(self, stand: Stand, service: str, region: str | None = None) -> Any:
        return stand.client(
            service,
            access_key=self.access_key,
            secret_key=self.secret_key,
            token=self.token,
            region=region or stand.region,
        )


@dataclass(frozen=True)
class CallerRole:
    """A role that jobs assume."""

    arn: str
    principal_id: str

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]


JOB: Final = "sluicegate-caller-orders"
"""The role of the stand's usual job."""

JOB_ID: Final = "AROACALLER11111111111"
GUEST_ID: Final = "AROAGUEST111111111111"
PERSON: Final = "AWSReservedSSO_Deployer_0123456789abcdef"
"""The role of Identity Center, whose sessions are persons."""

PERSON_ID: Final = "AROASSO11111111111111"
SSO_PATH: Final = "/aws-reserved/sso.amazonaws.com/eu-central-1/"


def prepare(stand: Stand) -> dict[str, str]:
    """Make the roles that the stand's gate file names, where they are missing; their ARNs.

    `job` is the usual job's role, `guest` is its like in another account, `person` is one of Identity Center.
    """
    made = {
        "job": job_role(stand),
        "guest": existing(stand, JOB, OTHER_ACCOUNT)
        or role(stand, JOB, account=OTHER_ACCOUNT, principal_id=GUEST_ID),
        "person": existing(stand, PERSON)
        or role(
            stand,
            PERSON,
            path=SSO_PATH,
            trust=account_trust(stand.account_id),
            principal_id=PERSON_ID,
            methods=("*/iam/*",),
        ),
    }
    for caller, methods in (("guest", NEEDED), ("person", ("*/iam/*",))):
        found = made[caller]
        allow(stand, found.name, methods, account=found.arn.split(":")[4])  # the API may be another by now
    return {name: found.arn for name, found in made.items()}


def redeploy(
    stand: Stand, parameters: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
) -> None:
    """Update the stand's stack; `/v1` leads to the API that it then has, and the roles name it."""
    places.API_ID.write_text(stack.deploy(stand.emulator, parameters, tags).api_id)
    prepare(stand)


def job_role(stand: Stand) -> CallerRole:
    """The usual job's role, from the template that users deploy: any tag `v*` of `acme/orders`."""
    provider(stand)
    api = f"arn:aws:execute-api:{stand.region}:{stand.account_id}:{stand.api_id}/v1"
    parameters = {
        "ApiArn": api,
        "Audience": STS_AUDIENCE,
        "Issuer": stand.issuer,
        "ProjectPath": "acme/orders",
        "Ref": "v*",
        "RefMatch": "like",
        "RefType": "tag",
        "RoleName": JOB,
    }
    request: dict[str, Any] = {
        "StackName": JOB,
        "TemplateBody": template(),
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Tags": [{"Key": ROLE_ID, "Value": JOB_ID}],
    }
    formation = stand.client("cloudformation")
    if existing(stand, JOB) is None:
        formation.create_stack(**request)
        formation.get_waiter("stack_create_complete").wait(StackName=JOB, WaiterConfig=OFTEN)
    else:
        with suppress(formation.exceptions.ClientError):  # nothing to update
            formation.update_stack(**request)
            formation.get_waiter("stack_update_complete").wait(StackName=JOB, WaiterConfig=OFTEN)
    found = existing(stand, JOB)
    if found is None:
        raise StandError(f"the stack {JOB} made no role")
    return found


def template() -> str:
    """`cloudformation/caller-role.yaml`, for an issuer on this machine: http, an address and a port."""
    text = (places.ROOT / "cloudformation" / "caller-role.yaml").read_text()
    for old, new in (
        ("^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "^http://[0-9.]+(:[0-9]+)?"),
        ('!Split ["https://", !Ref Issuer]', '!Split ["http://", !Ref Issuer]'),
    ):
        if old not in text:
            raise StandError(f"caller-role.yaml no longer has {old}, and the stand must follow")
        text = text.replace(old, new)
    return text


def existing(stand: Stand, name: str, account: str | None = None) -> "CallerRole | None":
    """The role of that name, or None."""
    iam = stand.client("iam", access_key=account or stand.account_id)
    try:
        found = iam.get_role(RoleName=name)["Role"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return CallerRole(found["Arn"], found["RoleId"])


def provider(stand: Stand, *, account: str | None = None, url: str | None = None) -> str:
    """Make the OIDC provider of the stand-in GitLab in an account, if there is none; its ARN."""
    iam = stand.client("iam", access_key=account or stand.account_id)
    url = url or stand.issuer
    try:
        made = iam.create_open_id_connect_provider(Url=url, ClientIDList=[STS_AUDIENCE])
    except iam.exceptions.EntityAlreadyExistsException:
        return f"arn:aws:iam::{account or stand.account_id}:oidc-provider/{url.split('://', 1)[1]}"
    return str(made["OpenIDConnectProviderArn"])


def role(
    stand: Stand,
    name: str,
    *,
    sub: str = SUB,
    methods: Iterable[str] = NEEDED,
    account: str | None = None,
    path: str = "/",
    trust: Mapping[str, Any] | None = None,
    principal_id: str | None = None,
) -> CallerRole:
    """Make a role for jobs with this `sub`, or with this trust policy, which may call these methods.

    `principal_id` is the unique id that it has the first time, for gate files that are written before.
    """
    account = account or stand.account_id
    iam = stand.client("iam", access_key=account)
    if trust is None:
        trust = web_identity_trust(provider(stand, account=account), sub)
    made = iam.create_role(
        RoleName=name,
        Path=path,
        AssumeRolePolicyDocument=json.dumps(trust),
        MaxSessionDuration=3600,
        Tags=[{"Key": ROLE_ID, "Value": principal_id}] if principal_id else [],
    )["Role"]
    allow(stand, name, methods, account=account)
    return CallerRole(made["Arn"], made["RoleId"])


def allow(stand: Stand, role: str, methods: Iterable[str], *, account: str | None = None) -> None:
    """Let a role call these methods of the API, and nothing else."""
    api = f"arn:aws:execute-api:{stand.region}:{stand.account_id}:{stand.api_id}/v1"
    statement = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        "Resource": [f"{api}/{method}" for method in methods],
    }
    stand.client("iam", access_key=account or stand.account_id).put_role_policy(
        RoleName=role, PolicyName="call", PolicyDocument=document(statement)
    )


def delete_role(stand: Stand, name: str, *, account: str | None = None) -> None:
    iam = stand.client("iam", access_key=account or stand.account_id)
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def web_identity_trust(provider_arn: str, sub: str) -> dict[str, Any]:
    """A trust policy: this provider, our audience, exactly this `sub`."""
    host = provider_arn.partition(":oidc-provider/")[2]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": provider_arn},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{host}:aud": STS_AUDIENCE, f"{host}:sub": sub}},
            }
        ],
    }


def account_trust(account: str) -> dict[str, Any]:
    """A trust policy: the administrator of an account, as Identity Center's own roles are used here."""
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
    }


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def sts_token(stand: Stand, **claims: Any) -> str:
    """A job's ID token for STS."""
    return stand.gitlab.token(claims, audience=STS_AUDIENCE)


def assume(
    stand: Stand, caller: CallerRole, token: str | None = None, *, session: str = "job-1", seconds: int = 900
) -> Credentials:
    """Assume a role by a job's token, as short as STS allows. Raises ClientError."""
    answer = stand.client("sts").assume_role_with_web_identity(
        RoleArn=caller.arn,
        RoleSessionName=session,
        WebIdentityToken=token or sts_token(stand),
        DurationSeconds=seconds,
    )
    return Credentials.of(answer)


def refusal(stand: Stand, caller: CallerRole, token: str) -> str | None:
    """The code of STS's refusal of this token; None if it takes it."""
    sts = stand.client("sts")
    try:
        assume(stand, caller, token)
    except sts.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def session_of(stand: Stand, caller: CallerRole, session: str, *, account: str | None = None) -> Credentials:
    """Assume a role as its account's administrator, whom its trust policy must name."""
    sts = stand.client("sts", access_key=account or stand.account_id)
    answer = sts.assume_role(RoleArn=caller.arn, RoleSessionName=session, DurationSeconds=900)
    return Credentials.of(answer)


def call(
    stand: Stand,
    credentials: Credentials | None,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    service: str = "execute-api",
    region: str | None = None,
    timeout: float = 40,
) -> httpx2.Response:
    """Call the API as API Gateway authorises it; `path` starts with a slash, after `iam_endpoint`."""
    url = stand.iam_endpoint + path
    content = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if content else {}
    sent |= dict(headers or {})
    if credentials:
        sent = signed(credentials, method, url, sent, content, service, region or stand.region)
    return httpx2.request(method, url, headers=sent, content=content, timeout=timeout, trust_env=False)


def signed(
    credentials: Credentials,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    service: str,
    region: str,
) -> dict[str, str]:
    """The headers of a request with its signature."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Keys

    request = AWSRequest(method=method, url=url, headers=dict(headers), data=content)
    keys = Keys(credentials.access_key, credentials.secret_key, credentials.token)
    SigV4Auth(keys, service, region).add_auth(request)
    return dict(request.headers.items())
