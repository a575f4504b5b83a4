"""The principal who signed a request, from API Gateway's request context and nothing else.

API Gateway has verified the signature. What it says of the signer has one shape for each kind of principal,
and whatever has another shape is refused: security.md#callers-with-iam-credentials.

The shapes, of a REST API's proxy event (format 1.0): `caller` and `user` are the unique id of a user, the
unique id and the session's name of a role, and the account of its root; `userArn` is what
`sts:GetCallerIdentity` answers. Events printed by users of AWS at
https://blog.daringkoala.com/posts/apigw-lambda-integration-payloads and, of the root and of an Identity
Center role, in public repositories; `caller` of a federated user as sts:GetFederationToken's
`FederatedUserId`. Lengths and characters: botocore's models of IAM, STS and Organizations. All read on
2026-11-26.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

from sluicegate.oidc.identity import Principal, PrincipalType

STAGE: Final = "v1"
"""The stage that is deployed. Who may test a method in the console chooses the identity in its event."""

SSO_ROLE: Final = "AWSReservedSSO_"
"""How the names of the roles begin that IAM Identity Center makes; so may those of others."""

IsSso: TypeAlias = Callable[[str, str, str | None], bool]
"""Whether the gate file lists (account, unique id, organisation) as a role of Identity Center."""

_PARTITIONS: Final = frozenset(
    {"aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"}
)
_MAX_ARN: Final = 2_048
_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ROLE_ID: Final = re.compile(r"AROA[A-Z0-9]{12,124}", re.ASCII)
_USER_ID: Final = re.compile(r"AIDA[A-Z0-9]{12,124}", re.ASCII)
_SESSION_KEY: Final = re.compile(r"ASIA[A-Z0-9]{12,124}", re.ASCII)
_KEY: Final = re.compile(r"(?:ASIA|AKIA)[A-Z0-9]{12,124}", re.ASCII)
_ORGANISATION: Final = re.compile(r"o-[a-z0-9]{10,32}", re.ASCII)
_PATH: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


class RefusedPrincipal(Exception):
    """No principal, or one that may not call. `check` names what was wrong; neither has a value of it."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail


def is_long_lived(access_key: str) -> bool:
    """Return whether the access key is a user's own, which does not expire; keys of sessions do."""
    return access_key.startswith("AKIA")


def read_principal(context: Mapping[str, Any], is_sso: IsSso) -> Principal:
    """Return who signed the request with this `requestContext`. Raises RefusedPrincipal.

    It reads `stage` and `identity`. A session is a person's only if `is_sso` says so of the account, the
    role's unique id and the organisation, and the role's name is one of Identity Center's.
    """
    if context.get("stage") != STAGE:
        _refuse("stage", f"the event is not of the API's stage {STAGE}")
    identity = context.get("identity")
    if not isinstance(identity, Mapping) or identity.get("userArn") is None:
        _refuse("identity", "API Gateway names no IAM principal for this request")
    if any(str(name).lower().startswith("cognito") and identity[name] is not None for name in identity):
        _refuse("cognito", "identities of Cognito are not accepted")
    account = _text(identity, "accountId", _ACCOUNT)
    service, resource = _arn(identity, account)
    caller = _caller(identity)
    kind, _, rest = resource.partition("/")
    match service, kind:
        case "sts", "assumed-role":
            return _role(identity, account, rest, caller, is_sso)
        case "iam", "user":
            return _user(identity, account, rest, caller)
        case "iam", "root":
            raise RefusedPrincipal("root", "the account's root user is not accepted: assume a role")
        case "sts", "federated-user":
            raise RefusedPrincipal("federated", "federated users are not accepted: assume a role")
        case _:
            raise RefusedPrincipal("userArn", "is neither a role's session nor a user")


def _role(identity: Mapping[str, Any], account: str, resource: str, caller: str, is_sso: IsSso) -> Principal:
    role, _, session_name = resource.partition("/")
    if not (_NAME.fullmatch(role) and _SESSION_NAME.fullmatch(session_name)):
        _refuse("userArn", "is not a role's name and a session's name")
    role_id, _, named = caller.partition(":")
    if not _ROLE_ID.fullmatch(role_id):
        _refuse("caller", "does not begin with a role's unique id")
    if named != session_name:
        _refuse("caller", "names another session than userArn")
    org = _organisation(identity)
    is_person = role.startswith(SSO_ROLE) and is_sso(account, role_id, org)
    return _principal(
        identity,
        account,
        role_id,
        "sso" if is_person else "role",
        access_key=_text(identity, "accessKey", _SESSION_KEY),
        role=role,
        session_name=session_name,
        org=org,
    )


def _user(identity: Mapping[str, Any], account: str, resource: str, caller: str) -> Principal:
    *path, name = resource.split("/")
    if not _NAME.fullmatch(name) or not all(map(_PATH.fullmatch, path)):
        _refuse("userArn", "is not a user's path and name")
    if not _USER_ID.fullmatch(caller):
        _refuse("caller", "is not a user's unique id")
    access_key, org = _text(identity, "accessKey", _KEY), _organisation(identity)
    return _principal(identity, account, caller, "user", access_key=access_key, org=org)


def _principal(
    identity: Mapping[str, Any], account: str, principal_id: str, kind: PrincipalType, **more: Any
) -> Principal:
    return Principal(
        account=account, principal_id=principal_id, principal_type=kind, arn=identity["userArn"], **more
    )


def _arn(identity: Mapping[str, Any], account: str) -> tuple[str, str]:
    """Return service and resource of `userArn`, which must be of the account."""
    arn = identity["userArn"]
    parts = arn.split(":", 5) if isinstance(arn, str) and len(arn) <= _MAX_ARN else []
    if len(parts) != 6 or parts[0] != "arn" or parts[1] not in _PARTITIONS or parts[3]:
        _refuse("userArn", "is not a principal's ARN")
    if parts[4] != account:
        _refuse("userArn", "is of another account than accountId")
    return parts[2], parts[5]


def _caller(identity: Mapping[str, Any]) -> str:
    """Return `caller`. `user` is the same for every principal that signs for itself."""
    caller = identity.get("caller")
    if not isinstance(caller, str) or caller != identity.get("user"):
        _refuse("caller", "caller and user disagree")
    return caller


def _organisation(identity: Mapping[str, Any]) -> str | None:
    if identity.get("principalOrgId") is None:
        return None
    return _text(identity, "principalOrgId", _ORGANISATION)


def _text(identity: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = identity.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        _refuse(name, "is missing, or not as API Gateway sends it")
    return value


def _refuse(check: str, detail: str) -> NoReturn:
    raise RefusedPrincipal(check, detail)
