"""Requests as API Gateway passes them on once it has verified their signature: whose, its context says.

The contexts have the shapes of AWS's own events (see `sluicegate.gateway.principals`).
"""

import json
from typing import Any, Final

from sluicegate.gateway.app import dispatch
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from support.gateway_simulation import GatewaySimulation
from support.signing import token

Json = dict[str, Any]

ACCOUNT: Final = "111111111111"
ORG: Final = "o-a1b2c3d4e5"
ROLE_ID: Final = "AROACALLER11111111111"
SSO_ID: Final = "AROASSO11111111111111"
USER_ID: Final = "AIDAUSER1111111111111"
SSO_NAME: Final = "AWSReservedSSO_Releases_0123456789abcdef"

NOBODY: Final[Json] = {
    "cognitoIdentityPoolId": None,
    "accountId": None,
    "cognitoIdentityId": None,
    "caller": None,
    "sourceIp": "192.0.2.1",
    "principalOrgId": None,
    "accessKey": None,
    "cognitoAuthenticationType": None,
    "cognitoAuthenticationProvider": None,
    "userArn": None,
    "userAgent": "curl/8.7.1",
    "user": None,
}
"""Of a request without a signature, as a method without authorization passes it on."""


def session(
    name: str = "job-302",
    *,
    role: str = "deployer",
    role_id: str = ROLE_ID,
    account: str = ACCOUNT,
    org: str | None = ORG,
    key: str = "ASIACALLER1111111111",
) -> Json:
    """The context's identity for a role's session."""
    return NOBODY | {
        "accountId": account,
        "caller": f"{role_id}:{name}",
        "user": f"{role_id}:{name}",
        "principalOrgId": org,
        "accessKey": key,
        "userArn": f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
    }


def person(name: str = "ada@example.com", **changes: Any) -> Json:
    """The same for a person who signed in by IAM Identity Center."""
    return session(
        name, **{"role": SSO_NAME, "role_id": SSO_ID, "key": f"ASIA{name[:3].upper()}1111111111111"} | changes
    )


def user(name: str = "ci/builder", *, user_id: str = USER_ID, key: str = "AKIAUSER111111111111") -> Json:
    """The same for an IAM user, with its path."""
    return NOBODY | {
        "accountId": ACCOUNT,
        "caller": user_id,
        "user": user_id,
        "principalOrgId": ORG,
        "accessKey": key,
        "userArn": f"arn:aws:iam::{ACCOUNT}:user/{name}",
    }


def principal_rule(name: str, *actions: str, **changes: Any) -> Json:
    """A rule of gate.json for the role `deployer`, on all functions and stages."""
    claims = {"account": [ACCOUNT], "principal_id": [ROLE_ID]} | changes.pop("claims", {})
    return {
        "name": name,
        "issuer": "",
        "via": "iam",
        "claims": claims,
        "actions": list(actions),
        "functions": ["orders*"],
        "stages": ["dev", "prod"],
        "limits": None,
    } | changes


def signed(
    at: GatewaySimulation,
    method: str,
    resource: str,
    identity: Json,
    body: Any = None,
    *,
    beside: Json | None = None,
    headers: Json | None = None,
    query: Json | None = None,
    api_stage: str = "v1",
    **path: str,
) -> GatewayResponse:
    """Answer a signed request to a resource under `/iam`; `beside` are the claims of an ID token with it."""
    sent: dict[str, list[str]] = {
        "authorization": ["AWS4-HMAC-SHA256 Credential=…"],
        "x-amz-security-token": ["a session's secret"],
        "content-type": ["application/json"],
        **(headers or {}),
    }
    if beside is not None:
        sent["sluicegate-id-token"] = [token(beside)]
    data = json.dumps(body if body is not None else {}).encode()
    context = {"stage": api_stage, "identity": identity}
    call = GatewayRequest(method, f"/iam{resource}", path, query or {}, sent, data, "request", context)
    return dispatch(at.context, call)
