"""Calls under /iam in template.yaml: signed, each a method of its own, and admitted as the parameters say.

The resource policy is evaluated as AWS documents it: API Gateway developer guide, "How API Gateway resource
policies affect authorization workflow", tables A and B, and "AWS condition keys that can be used in API
Gateway resource policies", November 2026.
"""

import fnmatch
import ipaddress
import re
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import pytest

from support.expanded import expanded
from support.template import Json, listed, properties

CALLS: Final = {
    ("POST", "/iam/artifacts"): "GatewayIam",
    ("POST", "/iam/deployments"): "GatewayIam",
    ("GET", "/iam/deployments"): "GatewayIam",
    ("GET", "/iam/deployments/{id}"): "WatcherIam",
    ("POST", "/iam/deployments/{id}/abort"): "GatewayIam",
    ("POST", "/iam/deployments/{id}/approve"): "GatewayIam",
    ("POST", "/iam/deployments/{id}/reject"): "GatewayIam",
    ("GET", "/iam/stages/{stage}/hold"): "GatewayIam",
    ("POST", "/iam/stages/{stage}/hold"): "GatewayIam",
    ("DELETE", "/iam/stages/{stage}/hold"): "GatewayIam",
    ("GET", "/iam/functions"): "GatewayIam",
    ("GET", "/iam/functions/{name}"): "GatewayIam",
    ("GET", "/iam/whoami"): "GatewayIam",
    ("DELETE", "/iam/sessions/{user}"): "GatewayIam",
}
"""Every call but webhooks, `/session`, health and the board, and the function that answers it."""

HOME, FRIEND, STRANGER = "1" * 12, "2" * 12, "3" * 12
ORG: Final = "o-a1b2c3d4e5"
WIDE: Final = {"CallerVpcEndpoints": "vpce-1,vpce-2"}


@pytest.fixture(scope="module")
def private() -> Json:
    """The resources of a stack with the private API, which has everything of the other one too."""
    found: Json = expanded(WIDE)["Resources"]
    return found


def methods(resources: Json, api: str) -> dict[tuple[str, str], Json]:
    paths = resources[api]["Properties"]["Body"]["paths"]
    return {(verb.upper(), path): method for path, item in paths.items() for verb, method in item.items()}


@pytest.mark.parametrize("api", ["Api", "PrivateApi"])
def test_each_call_under_iam_is_a_signed_method_of_its_own(private: Json, api: str) -> None:
    """A method that refers to a scheme which is not defined would be open (SAM defines none for events)."""
    found = methods(private, api)
    signed = {call for call in found if call[1].startswith("/iam/")}
    assert signed == CALLS.keys()
    schemes = private[api]["Properties"]["Body"]["components"]["securitySchemes"]
    for call in signed:
        [requirement] = found[call]["security"]
        [scheme] = requirement
        assert schemes[scheme] == {
            "type": "apiKey",
            "name": "Authorization",
            "in": "header",
            "x-amazon-apigateway-authtype": "awsSigv4",
        }
        assert not any(part.endswith("+}") for part in call[1].split("/"))
    # The private API has nothing else, and the other one nothing else that is signed.
    others = {call: method for call, method in found.items() if call not in signed}
    assert bool(others) is (api == "Api")
    assert not any("security" in method for method in others.values())
    assert {
        (verb, f"/iam{path}")
        for verb, path in others
        if "/webhooks" not in path and "/board" not in path and path not in ("/health", "/session")
    } == (CALLS.keys() if others else set())


@pytest.mark.parametrize("api", ["Api", "PrivateApi"])
def test_api_gateway_invokes_with_no_rights_of_the_caller(private: Json, api: str) -> None:
    """With `credentials`, callers would need lambda:InvokeFunction, and with it could forge each other."""
    for call, name in CALLS.items():
        integration = methods(private, api)[call]["x-amazon-apigateway-integration"]
        assert "credentials" not in integration
        suffix = "-gateway-iam/invocations" if name == "GatewayIam" else "-watcher-iam/invocations"
        assert integration["uri"].endswith(suffix)


def test_each_method_is_permitted_by_itself_and_for_stage_v1_alone(private: Json) -> None:
    """API Gateway's own test invokes as stage `test-invoke-stage`, and verifies no signature.

    github.com/aws/aws-pdk/issues/178: a permission for a stage refuses it.
    """
    found = {}
    for resource in private.values():
        if resource["Type"] == "AWS::Lambda::Permission" and "/iam/" in resource["Properties"]["SourceArn"]:
            permission = resource["Properties"]
            assert permission["Action"] == "lambda:InvokeFunction"
            assert permission["Principal"] == "apigateway.amazonaws.com"
            arn = permission["SourceArn"]
            api, stage, verb, path = re.fullmatch(r".+:[^/]+?-(\w+Api|Api)-0+/(\w+)/(\w+)(/.+)", arn).groups()  # type: ignore[union-attr]
            assert stage == "v1"
            found[api, verb, path] = permission["FunctionName"]
    functions = {"GatewayIam": "-gateway-iam", "WatcherIam": "-watcher-iam"}
    for api, ((verb, path), name) in product(("Api", "PrivateApi"), CALLS.items()):
        permitted = found.pop((api, verb, re.sub(r"\{\w+\}", "*", path)))
        assert permitted.endswith(functions[name])
    assert not found


def test_nobody_else_may_invoke_them(private: Json) -> None:
    """Of the resource policies that the stack makes: API Gateway by method, and no other principal."""
    for resource in private.values():
        if resource["Type"] == "AWS::Lambda::Permission":
            permission = resource["Properties"]
            if permission["FunctionName"].endswith("-iam"):
                assert "/v1/" in permission["SourceArn"]


def test_their_limits_are_no_limits_of_the_other_calls() -> None:
    settings = {
        (each["HttpMethod"], each["ResourcePath"].replace("~1", "/").removeprefix("/")): each
        for each in properties("Api")["MethodSettings"]
    }
    assert settings.keys() - {("*", "*")} == CALLS.keys()
    for call in CALLS:
        assert settings[call]["ThrottlingRateLimit"] == {"Ref": "IamRate"}
        assert settings[call]["ThrottlingBurstLimit"] == {"Ref": "IamBurst"}


# Resource policies


@dataclass(frozen=True)
class Caller:
    """A caller of one method: None as account for a call without credentials."""

    account: str | None
    org: str | None = None
    allowed: bool = True
    """Whether the caller's own policies allow it."""
    ip: str = "192.0.2.1"
    endpoint: str | None = None


def context(caller: Caller) -> dict[str, str]:
    """The request's condition keys: a key that does not apply is absent."""
    found = {
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalOrgID": caller.org,
        "aws:SourceIp": None if caller.endpoint else caller.ip,
        "aws:SourceVpce": caller.endpoint,
    }
    return {key: value for key, value in found.items() if value is not None}


def holds(operator: str, expected: list[str], given: str | None) -> bool:
    """One key of a condition. A negated operator holds where the key is absent (IAM user guide)."""
    match operator:
        case "StringEquals":
            return given in expected
        case "StringNotEquals":
            return given not in expected
        case "NotIpAddress":
            return given is None or not any(
                ipaddress.ip_address(given) in ipaddress.ip_network(network) for network in expected
            )
    raise AssertionError(operator)


def applies(statement: Json, caller: Caller, resource: str) -> bool:
    if statement["Principal"] not in ("*", {"AWS": f"arn:aws-us-gov:iam::{caller.account}:root"}):
        return False
    assert statement["Action"] == "execute-api:Invoke"
    if not any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"])):
        return False
    given = context(caller)
    return all(
        holds(operator, listed(expected), given.get(key))
        for operator, keys in statement.get("Condition", {}).items()
        for key, expected in keys.items()
    )


def admitted(policy: Json | None, caller: Caller, verb: str, path: str) -> bool:
    """Whether API Gateway lets a call through: tables A and B, or the policy alone without authentication."""
    resource = f"execute-api:/v1/{verb}{path}"
    signed = path.startswith("/iam/")
    if signed and caller.account is None:
        return False
    if not signed:  # is anonymous, even when it is signed
        caller = Caller(None, ip=caller.ip, endpoint=caller.endpoint)
    found = [each for each in (policy or {}).get("Statement", []) if applies(each, caller, resource)]
    if any(each["Effect"] == "Deny" for each in found):
        return False
    # An Allow for an account leaves it to its callers' policies (IAM user guide, "AWS account principals").
    allowed = any(each["Effect"] == "Allow" and each["Principal"] == "*" for each in found)
    left_to_them = any(each["Effect"] == "Allow" for each in found)
    if not signed:
        return policy is None or allowed
    if caller.account == HOME:
        return caller.allowed or allowed
    return caller.allowed and left_to_them


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", "x", path)


OFF: Final[Json] = {}
COMBINATIONS: Final[list[Json]] = [
    {**addresses, **accounts, **organisation, **endpoints}
    for addresses, accounts, organisation, endpoints in product(
        (OFF, {"AllowedCidrs": "192.0.2.0/24,2001:db8::/32"}),
        (OFF, {"CallerAccounts": f"{HOME},{FRIEND}"}, {"CallerAccounts": FRIEND}),
        (OFF, {"CallerOrganisation": ORG}),
        (OFF, WIDE),
    )
]


def policies(parameters: Json) -> dict[str, Json | None]:
    resources = expanded(parameters)["Resources"]
    return {
        name: resources[name]["Properties"].get("Policy")
        for name in ("Api", "PrivateApi")
        if name in resources
    }


@pytest.mark.parametrize("parameters", COMBINATIONS, ids=lambda given: ",".join(given) or "none")
def test_a_call_is_admitted_as_the_parameters_say(parameters: Json) -> None:
    found = policies(parameters)
    accounts = parameters.get("CallerAccounts", "").split(",") if "CallerAccounts" in parameters else None
    org, narrow = parameters.get("CallerOrganisation"), "AllowedCidrs" in parameters
    assert ("PrivateApi" in found) is ("CallerVpcEndpoints" in parameters)
    for account, member, allowed, ip in product(
        (HOME, FRIEND, STRANGER, None),
        (ORG, "o-other12345", None),
        (True, False),
        ("192.0.2.7", "203.0.113.9"),
    ):
        caller = Caller(account, member if account else None, allowed, ip)
        inside = not narrow or ip == "192.0.2.7"
        listed_ = accounts is None or account in accounts
        in_org = org is None or caller.org == org
        # Without a parameter that says so, callers of this account alone.
        other = account == HOME or accounts is not None or org is not None
        admits = account is not None and allowed and listed_ and in_org and other
        for verb, path in CALLS:
            public = admitted(found["Api"], caller, verb, concrete(path))
            assert public is (admits and inside and "PrivateApi" not in found), (caller, verb, path)
            # Callers without IAM do not notice any of it, but for their address.
            assert admitted(found["Api"], caller, verb, concrete(path).removeprefix("/iam")) is inside
            for endpoint in ("vpce-1", "vpce-2", "vpce-3", None) if "PrivateApi" in found else ():
                through = Caller(account, caller.org, allowed, ip, endpoint)
                expected = admits and endpoint in ("vpce-1", "vpce-2")
                assert admitted(found["PrivateApi"], through, verb, concrete(path)) is expected, through
        for verb, path in (("GET", "/health"), ("POST", "/webhooks/gitlab/orders-tags")):
            assert admitted(found["Api"], caller, verb, path) is inside


def test_no_policy_is_there_unless_a_parameter_asks_for_one() -> None:
    assert policies({}) == {"Api": None}


def test_the_longest_policy_is_one_that_api_gateway_takes() -> None:
    """8,192 bytes (API Gateway quotas, "Length of resource policy", November 2026); keys of its own table."""
    known = {"aws:PrincipalAccount", "aws:PrincipalOrgID", "aws:SourceIp"}
    everything = {**COMBINATIONS[-1], "CallerAccounts": ",".join([HOME] * 100)}
    for api, policy in policies(everything).items():
        assert policy
        assert len(str(policy)) <= 8_192
        keys: set[Any] = {
            key
            for statement in policy["Statement"]
            for condition in statement.get("Condition", {}).values()
            for key in condition
        }
        # The last is of private APIs alone.
        assert keys == known if api == "Api" else {*known - {"aws:SourceIp"}, "aws:SourceVpce"}
