"""IAM as AWS keeps it: OIDC providers, and what is left of a deleted role. Loaded by `launch_emulator`.

Differences, each one thing that AWS does and MiniStack 1.5.33 does not:

- An OIDC provider keeps a slash at the end of its URL, in its ARN too, and answers its URL without the
  scheme. Its URL is `https`; on this machine's own addresses `http` is fine. Words: recorded on AWS on 17
  and 18 February 2026, localstack/localstack `tests/aws/services/iam/test_iam_oidc.snapshot.json`. The ARN:
  gist.github.com/gene1wood/54611c45a3298504f8e33d95e317ae5c. The URL: IAM API reference,
  GetOpenIDConnectProvider.
- CloudFormation makes `AWS::IAM::OIDCProvider`.
- A role's MaxSessionDuration is 3,600 to 43,200 seconds (IAM API reference, CreateRole).
- Where a role is deleted, trust policies that named it name its unique id, and no role that is made later
  (IAM user guide, "AWS JSON policy elements: Principal"; all read on 26 November 2026).
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

Pinned = Callable[..., Callable[..., Any]]


def install(pinned: Pinned) -> None:
    """Install all of them. `pinned` finds a function and stops where it has changed."""
    keep_providers(pinned)
    provide_providers(pinned)
    limit_durations(pinned)
    name_deleted_roles_by_id(pinned)


def keep_providers(pinned: Pinned) -> None:
    iam: Any = import_module("ministack.services.iam")
    pinned(iam, "_create_oidc_provider", "p")
    get = pinned(iam, "_get_oidc_provider", "p")
    delete = pinned(iam, "_delete_oidc_provider", "p")

    def refused(status: int, code: str, message: str) -> Any:
        return iam._error(status, code, message, ns="iam")

    def create_provider(p: Any) -> Any:
        url = iam._p(p, "Url")
        clients = members(iam, p, "ClientIDList")
        thumbprints = members(iam, p, "ThumbprintList")
        if len(url) > 255:
            wrong = "failed to satisfy constraint: Member must have length less than or equal to 255"
            return refused(400, "ValidationError", f"1 validation error detected: Value at 'url' {wrong}")
        if not is_provider_url(url):
            return refused(400, "ValidationError", "Invalid Open ID Connect Provider URL")
        if len(thumbprints) > 5:
            return refused(400, "InvalidInput", "Thumbprint list must contain fewer than 5 entries.")
        if len(clients) > 100:
            message = "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"
            return refused(409, "LimitExceeded", message)
        host = url.split("://", 1)[1]
        arn = f"arn:aws:iam::{iam.get_account_id()}:oidc-provider/{host}"
        if arn in iam._oidc_providers:
            return refused(409, "EntityAlreadyExists", f"Provider with url {url} already exists.")
        iam._oidc_providers[arn] = {
            "Url": url,
            "ClientIDList": clients,
            "ThumbprintList": thumbprints,
            "Arn": arn,
            "CreateDate": iam._now(),
            "Tags": iam._extract_tags(p),
        }
        result = f"<OpenIDConnectProviderArn>{arn}</OpenIDConnectProviderArn>"
        result = f"<CreateOpenIDConnectProviderResult>{result}</CreateOpenIDConnectProviderResult>"
        return iam._xml(200, "CreateOpenIDConnectProviderResponse", result, ns="iam")

    def get_provider(p: Any) -> Any:
        arn = iam._p(p, "OpenIDConnectProviderArn")
        provider = iam._oidc_providers.get(arn)
        if provider is None:
            return refused(404, "NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}")
        status, headers, body = get(p)
        scheme = provider["Url"].split("://", 1)[0]
        return status, headers, body.replace(f"<Url>{scheme}://".encode(), b"<Url>")

    def delete_provider(p: Any) -> Any:
        arn = iam._p(p, "OpenIDConnectProviderArn")
        if arn not in iam._oidc_providers:
            return refused(404, "NoSuchEntity", f"OpenId connect Provider {arn} cannot be found.")
        return delete(p)

    iam._IAM_HANDLERS["CreateOpenIDConnectProvider"] = create_provider
    iam._IAM_HANDLERS["GetOpenIDConnectProvider"] = get_provider
    iam._IAM_HANDLERS["DeleteOpenIDConnectProvider"] = delete_provider


def members(iam: Any, p: Any, name: str) -> list[str]:
    found: list[str] = []
    while value := iam._p(p, f"{name}.member.{len(found) + 1}"):
        found.append(value)
    return found


def is_provider_url(url: str) -> bool:
    """Whether IAM takes it: `https` without query; `http` on an address of this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if not host or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def provide_providers(pinned: Pinned) -> None:
    """Let CloudFormation make, change and delete an OIDC provider."""
    iam: Any = import_module("ministack.services.iam")
    formation: Any = import_module("ministack.services.cloudformation.provisioners")
    pinned(formation, "_provision_resource", "resource_type", "logical_id", "props", "stack_name")

    def call(action: str, **request: Any) -> None:
        status, _, body = iam._IAM_HANDLERS[action](request)
        if status >= 400:
            raise ValueError(body.decode())

    def create(_logical_id: str, props: Mapping[str, Any], _stack_name: str) -> tuple[str, dict[str, str]]:
        lists = {
            f"{name}.member.{number}": value
            for name, key in (("ClientIDList", "ClientIdList"), ("ThumbprintList", "ThumbprintList"))
            for number, value in enumerate(props.get(key) or (), 1)
        }
        call("CreateOpenIDConnectProvider", Url=props["Url"], **lists)
        arn = f"arn:aws:iam::{iam.get_account_id()}:oidc-provider/{props['Url'].split('://', 1)[1]}"
        return arn, {"Arn": arn}

    def update(
        physical_id: str, old: Any, new: Mapping[str, Any], _stack_name: str
    ) -> tuple[str, dict[str, str]]:
        if old.get("Url") != new["Url"]:
            raise ValueError("Update to property Url requires a replacement, which the stand does not do")
        iam._oidc_providers[physical_id]["ClientIDList"] = list(new.get("ClientIdList") or ())
        return physical_id, {"Arn": physical_id}

    def delete(physical_id: str, _props: Any) -> None:
        iam._oidc_providers.pop(physical_id, None)

    handlers = {"create": create, "update": update, "delete": delete}
    formation._RESOURCE_HANDLERS["AWS::IAM::OIDCProvider"] = handlers


def limit_durations(pinned: Pinned) -> None:
    iam: Any = import_module("ministack.services.iam")

    def limited(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(p: Any) -> Any:
            given = iam._p(p, "MaxSessionDuration")
            if given and not 3_600 <= int(given) <= 43_200:
                bound = (
                    "greater than or equal to 3600" if int(given) < 3_600 else "less than or equal to 43200"
                )
                message = (
                    f"1 validation error detected: Value '{given}' at 'maxSessionDuration' failed to satisfy "
                    f"constraint: Member must have value {bound}"
                )
                return iam._error(400, "ValidationError", message, ns="iam")
            return change(p)

        return changed

    for name, action in (("_create_role", "CreateRole"), ("_update_role", "UpdateRole")):
        iam._IAM_HANDLERS[action] = limited(pinned(iam, name, "p"))


def name_deleted_roles_by_id(pinned: Pinned) -> None:
    iam: Any = import_module("ministack.services.iam")
    formation: Any = import_module("ministack.services.cloudformation.provisioners")
    pinned(iam._roles, "pop", "key", "args")
    iam._roles._data = Roles(iam._roles._data)
    create = pinned(formation, "_iam_role_create", "logical_id", "props", "stack_name")

    def create_role(logical_id: str, props: Any, stack_name: str) -> Any:
        name, attributes = create(logical_id, props, stack_name)
        return name, {**attributes, "RoleId": iam._roles[name]["RoleId"]}

    formation._RESOURCE_HANDLERS["AWS::IAM::Role"]["create"] = create_role


ROLE_ID = "stand:role-id"
"""A tag: the unique id that a role gets the first time, so that a gate file of the stand can name it."""


class Roles(dict[Any, Any]):
    """The roles of all accounts. One that is taken out goes from the trust policies of the others."""

    def __init__(self, roles: dict[Any, Any]) -> None:
        super().__init__(roles)
        self._given: set[str] = set()

    def __setitem__(self, key: Any, role: dict[str, Any]) -> None:
        wanted = next((tag["Value"] for tag in role.get("Tags") or () if tag["Key"] == ROLE_ID), None)
        if wanted and wanted not in self._given:
            self._given.add(wanted)
            role["RoleId"] = wanted
        super().__setitem__(key, role)

    def pop(self, key: Any, *default: Any) -> Any:
        role = super().pop(key, *default)
        if isinstance(role, dict) and "RoleId" in role:
            for other in self.values():
                trust = renamed(other["AssumeRolePolicyDocument"], role["Arn"], role["RoleId"])
                other["AssumeRolePolicyDocument"] = trust
        return role


def renamed(document: str, arn: str, role_id: str) -> str:
    """A trust policy that names the role by its id."""
    return document.replace(json.dumps(arn), json.dumps(role_id))
