"""IAM as AWS answers it, as far as callers' roles go, with the methods of boto3's client.

Sources, read on 26 November 2026: IAM API reference (CreateOpenIDConnectProvider, CreateRole,
GetOpenIDConnectProvider); IAM user guide, "IAM identifiers" (unique ids), "AWS JSON policy elements:
Principal" (a deleted role is named by its id, for ever). Recorded answers: localstack/localstack,
`tests/aws/services/iam/test_iam_oidc.snapshot.json`, of 17 and 18 February 2026. A provider's ARN keeps the
slash at the end of its URL: gist.github.com/gene1wood/54611c45a3298504f8e33d95e317ae5c.

Not modelled: users, groups, managed policies, boundaries, and what of a policy no test uses. A condition
operator or an element that is not known here is an error, never a match.
"""

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from support.refusals import refused

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass
class Role:
    name: str
    arn: str
    role_id: str
    trust: dict[str, Any]
    longest: int
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class IamModel:
    """Providers and roles of all accounts. A client is one account's administrator."""

    account: str = "111111111111"
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    """By ARN."""

    def of(self, account: str) -> "IamModel":
        """Return a client of another account; what is stored is the same."""
        return IamModel(account, self.providers, self.roles)

    def create_open_id_connect_provider(
        self, *, Url: str, ClientIDList: Iterable[str] = (), ThumbprintList: Iterable[str] = ()
    ) -> dict[str, Any]:
        call, clients = "CreateOpenIDConnectProvider", list(ClientIDList)
        scheme, _, host = Url.partition("://")
        loopback = re.fullmatch(r"127\.0\.0\.1(:\d+)?(/.*)?", host)
        if not re.fullmatch(r"[^/?#@\s]+(/[^?#\s]*)?", host) or not (
            scheme == "https" or (scheme == "http" and loopback)
        ):
            raise refused("ValidationError", "Invalid Open ID Connect Provider URL", call=call)
        if len(clients) > 100:
            message = "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"
            raise refused("LimitExceeded", message, 409, call)
        arn = f"arn:aws:iam::{self.account}:oidc-provider/{host}"
        if arn in self.providers:
            raise refused("EntityAlreadyExists", f"Provider with url {Url} already exists.", 409, call)
        self.providers[arn] = {"Url": Url, "ClientIDList": clients, "ThumbprintList": list(ThumbprintList)}
        return {"OpenIDConnectProviderArn": arn}

    def get_open_id_connect_provider(self, *, OpenIDConnectProviderArn: str) -> dict[str, Any]:
        found = self.providers.get(OpenIDConnectProviderArn)
        if found is None:
            message = f"OpenIDConnect Provider not found for arn {OpenIDConnectProviderArn}"
            raise refused("NoSuchEntity", message, 404, "GetOpenIDConnectProvider")
        return {**found, "Url": found["Url"].partition("://")[2], "Tags": []}

    def delete_open_id_connect_provider(self, *, OpenIDConnectProviderArn: str) -> dict[str, Any]:
        if self.providers.pop(OpenIDConnectProviderArn, None) is None:
            message = f"OpenId connect Provider {OpenIDConnectProviderArn} cannot be found."
            raise refused("NoSuchEntity", message, 404, "DeleteOpenIDConnectProvider")
        return {}

    def list_open_id_connect_providers(self) -> dict[str, Any]:
        own = [arn for arn in self.providers if arn.split(":")[4] == self.account]
        return {"OpenIDConnectProviderList": [{"Arn": arn} for arn in own]}

    def create_role(
        self,
        *,
        RoleName: str,
        AssumeRolePolicyDocument: str,
        Path: str = "/",
        MaxSessionDuration: int = 3_600,
    ) -> dict[str, Any]:
        if self._find(RoleName):
            raise refused(
                "EntityAlreadyExists", f"Role with name {RoleName} already exists.", 409, "CreateRole"
            )
        if not 3_600 <= MaxSessionDuration <= 43_200:
            message = (
                "1 validation error detected: Value at 'maxSessionDuration' failed to satisfy constraint"
            )
            raise refused("ValidationError", message, call="CreateRole")
        arn = f"arn:aws:iam::{self.account}:role{Path}{RoleName}"
        role_id = "AROA" + "".join(secrets.choice(ALPHABET) for _ in range(17))
        self.roles[arn] = Role(
            RoleName, arn, role_id, json.loads(AssumeRolePolicyDocument), MaxSessionDuration
        )
        return self.get_role(RoleName=RoleName)

    def get_role(self, *, RoleName: str) -> dict[str, Any]:
        role = self._existing(RoleName, "GetRole")
        described = {
            "RoleName": role.name,
            "Arn": role.arn,
            "RoleId": role.role_id,
            "Path": role.arn.partition(":role")[2].removesuffix(role.name),
            "MaxSessionDuration": role.longest,
            "AssumeRolePolicyDocument": role.trust,
        }
        return {"Role": described}

    def put_role_policy(self, *, RoleName: str, PolicyName: str, PolicyDocument: str) -> dict[str, Any]:
        role = self._existing(RoleName, "PutRolePolicy")
        role.policies[PolicyName] = json.loads(PolicyDocument)
        return {}

    def delete_role_policy(self, *, RoleName: str, PolicyName: str) -> dict[str, Any]:
        self._existing(RoleName, "DeleteRolePolicy").policies.pop(PolicyName, None)
        return {}

    def delete_role(self, *, RoleName: str) -> dict[str, Any]:
        """Delete a role without policies. Trust policies that named it name its id from now on."""
        gone = self._existing(RoleName, "DeleteRole")
        if gone.policies:
            message = "Cannot delete entity, must delete policies first."
            raise refused("DeleteConflict", message, 409, "DeleteRole")
        del self.roles[gone.arn]
        for role in self.roles.values():
            renamed = json.dumps(role.trust).replace(json.dumps(gone.arn), json.dumps(gone.role_id))
            role.trust = json.loads(renamed)
        return {}

    def _existing(self, name: str, call: str) -> Role:
        role = self._find(name)
        if role is None:
            raise refused("NoSuchEntity", f"The role with name {name} cannot be found.", 404, call)
        return role

    def _find(self, name: str) -> Role | None:
        own = (role for role in self.roles.values() if role.arn.split(":")[4] == self.account)
        return next((role for role in own if role.name == name), None)


def allows(
    policy: Mapping[str, Any],
    action: str,
    keys: Mapping[str, Any],
    *,
    principals: frozenset[str] | None = None,
) -> bool:
    """Return whether a policy allows an action and denies it nowhere.

    `principals` are the names of the caller that a trust policy may use, such as `AWS:` and a role's ARN;
    None is for a policy without principals. `keys` are in lower case.
    """
    matching = [
        statement["Effect"]
        for statement in listed(policy["Statement"])
        if any(fnmatchcase(action.lower(), each.lower()) for each in listed(statement["Action"]))
        and (principals is None or names(statement["Principal"]) & principals)
        and holds(statement.get("Condition") or {}, keys)
    ]
    return "Allow" in matching and "Deny" not in matching


def names(principal: Any) -> frozenset[str]:
    """Return who a statement names, each with its kind; `*` is everybody."""
    if principal == "*":
        return frozenset({"*"})
    return frozenset(
        "*" if name == "*" else f"{kind}:{name}" for kind, each in principal.items() for name in listed(each)
    )


def holds(conditions: Mapping[str, Mapping[str, Any]], keys: Mapping[str, Any]) -> bool:
    return all(
        compared(operator, keys.get(key.lower()), listed(wanted))
        for operator, tests in conditions.items()
        for key, wanted in tests.items()
    )


def compared(operator: str, found: Any, wanted: list[Any]) -> bool:
    """Return whether a key has a wanted value. A missing key matches nothing but `Null`."""
    if operator == "Null":
        return (found is None) == (str(wanted[0]).lower() == "true")
    if not isinstance(found, str):
        return False
    match operator:
        case "StringEquals":
            return found in wanted
        case "StringLike":
            return any(fnmatchcase(found, pattern) for pattern in wanted)
    raise ValueError(f"the model knows no condition operator {operator}")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
