"""cloudformation/caller-role.yaml: which tokens get the role, and which calls the role may make.

Policies are evaluated as IAM documents it: IAM user guide, "IAM JSON policy elements: Condition operators"
and "Resource" (`*` also stands for `/`), API Gateway developer guide, "Statement reference of IAM policies
for API execution"; read on 2026-11-26.
"""

import json
import re
import subprocess
from typing import Any, Final

import pytest

from sluicegate.oidc.identity import Issuer
from sluicegate_cli.doctor.call_policy import of_permissions
from sluicegate_cli.doctor.findings import CheckVerdict
from sluicegate_cli.doctor.role_checks import of_session
from sluicegate_cli.doctor.trust_policy import Provider, of_trust
from support.template import ROOT, Json, read

FILE: Final = ROOT / "cloudformation/caller-role.yaml"
TEMPLATE: Final[Json] = read(FILE)
API: Final = "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/v1"
GIVEN: Final = {
    "ApiArn": API,
    "Audience": "https://sts.example.com",
    "Issuer": "https://gitlab.example.com",
    "ProjectPath": "acme/orders",
    "Ref": "main",
    "RefType": "branch",
}
PSEUDO: Final = {"AWS::AccountId": "111122223333", "AWS::Partition": "aws", "AWS::NoValue": None}
SUBJECT: Final = "project_path:acme/orders:ref_type:{}:ref:{}"


class ParameterError(ValueError):
    """CloudFormation refuses the value of this parameter."""


class Stack:
    """The template as CloudFormation resolves it."""

    def __init__(self, **given: str) -> None:
        self._values: dict[str, Any] = {**PSEUDO, "Role": "made-role", "Provider": "arn:made-provider"}
        for name, about in TEMPLATE["Parameters"].items():
            value = {**GIVEN, **given}.get(name, about.get("Default"))
            if value is None or not re.search(about.get("AllowedPattern", ""), value):
                raise ParameterError(name)
            if value not in about.get("AllowedValues", [value]):
                raise ParameterError(name)
            self._values[name] = value

    def resource(self, name: str) -> Any:
        """Return its properties, or None if its condition leaves it out."""
        resource = TEMPLATE["Resources"][name]
        if "Condition" in resource and not self._condition(resource["Condition"]):
            return None
        return {
            key: self.resolve(value)
            for key, value in resource["Properties"].items()
            if self.resolve(value) is not None
        }

    @property
    def trust(self) -> Json:
        """The only statement of the trust policy."""
        document: Json = json.loads(self.resource("Role")["AssumeRolePolicyDocument"])
        (statement,) = document["Statement"]
        return dict(statement)

    @property
    def permission(self) -> Json:
        """The only statement of the permissions."""
        (policy,) = self.resource("Role")["Policies"]
        (statement,) = policy["PolicyDocument"]["Statement"]
        return dict(statement)

    def output(self, name: str) -> Any:
        return self.resolve(TEMPLATE["Outputs"][name]["Value"])

    def _condition(self, name: str) -> bool:
        ((function, argument),) = TEMPLATE["Conditions"][name].items()
        return bool(self._call(function, argument))

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, argument),) = value.items()
            if key == "Ref" or key.startswith("Fn::"):
                return self._call(key, argument)
        return {key: self.resolve(each) for key, each in value.items()}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._values[argument]
            case "Fn::Not":
                return not self.resolve(argument[0])
            case "Fn::Equals":
                return self.resolve(argument[0]) == self.resolve(argument[1])
            case "Fn::If":
                return self.resolve(argument[1 if self._condition(argument[0]) else 2])
            case "Fn::Split":
                return self.resolve(argument[1]).split(argument[0])
            case "Fn::Select":
                return self.resolve(argument[1])[argument[0]]
            case "Fn::GetAtt":
                return f"made {'.'.join(argument)}"
            case "Fn::Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                values = {**self._values, **{name: self.resolve(each) for name, each in own.items()}}
                return re.sub(r"\$\{([\w:]+)\}", lambda found: str(values[found[1]]), text)
        raise AssertionError(function)


def like(pattern: str, value: str) -> bool:
    """`StringLike`, and the match of a resource: `*` is any text and `?` one character."""
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), value, re.S) is not None


def gets_role(stack: Stack, issuer: str = "https://gitlab.example.com", **claims: str) -> bool:
    """Whether STS gives the role to a token of this issuer with these claims."""
    host = issuer.removeprefix("https://")
    values = {f"{host}:{name}": claims[name] for name in ("aud", "sub")}
    if not stack.trust["Principal"]["Federated"].endswith(f":oidc-provider/{host}"):
        return False
    compares = {"StringEquals": str.__eq__, "StringLike": like}
    return all(
        key in values and compares[operator](expected, values[key])
        for operator, conditions in stack.trust["Condition"].items()
        for key, expected in conditions.items()
    )


def may_call(resources: list[str], method: str, path: str, api: str = API) -> bool:
    return any(like(resource, f"{api}/{method}{path}") for resource in resources)


# Tokens that get the role


@pytest.mark.parametrize(
    ("ref_type", "ref", "expected"),
    [
        ("branch", "main", True),
        ("branch", "mainx", False),
        ("branch", "Main", False),
        ("branch", "x/main", False),
        ("tag", "main", False),
        ("branch", "*", False),
    ],
)
def test_an_exact_ref_is_one_ref(ref_type: str, ref: str, expected: bool) -> None:
    subject = SUBJECT.format(ref_type, ref)
    assert gets_role(Stack(), aud="https://sts.example.com", sub=subject) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (SUBJECT.format("tag", "v1.0.0"), True),
        (SUBJECT.format("tag", "v"), True),
        (SUBJECT.format("tag", "x1"), False),
        (SUBJECT.format("branch", "v1.0.0"), False),
        ("project_path:acme/orders-fork:ref_type:tag:ref:v1", False),
        ("project_path:evil/acme/orders:ref_type:tag:ref:v1", False),
        ("project_path:acme/orders", False),
        ("x:project_path:acme/orders:ref_type:tag:ref:v1", False),
    ],
)
def test_a_pattern_opens_the_ref_s_part_only(subject: str, expected: bool) -> None:
    stack = Stack(Ref="v*", RefType="tag", RefMatch="like")
    assert gets_role(stack, aud="https://sts.example.com", sub=subject) == expected
    assert not gets_role(stack, aud="https://deploy.example.com", sub=subject)


def test_a_star_without_a_pattern_is_a_star() -> None:
    assert not gets_role(Stack(Ref="*"), aud="https://sts.example.com", sub=SUBJECT.format("branch", "main"))


@pytest.mark.parametrize(
    ("issuer", "aud"),
    [
        ("https://gitlab.example.com/", "https://sts.example.com"),
        ("https://gitlab.example.org", "https://sts.example.com"),
        ("https://gitlab.example.com/x", "https://sts.example.com"),
        ("https://gitlab.example.com", "https://sts.example.com/"),
        ("https://gitlab.example.com", "https://deploy.example.com"),
    ],
)
def test_another_issuer_or_audience_gets_nothing(issuer: str, aud: str) -> None:
    assert gets_role(Stack(), aud="https://sts.example.com", sub=SUBJECT.format("branch", "main"))
    assert not gets_role(Stack(), issuer, aud=aud, sub=SUBJECT.format("branch", "main"))


def test_the_issuer_s_path_is_part_of_its_name() -> None:
    issuer = "https://example.com/gitlab"
    stack = Stack(Issuer=issuer)
    assert stack.trust["Principal"]["Federated"] == (
        "arn:aws:iam::111122223333:oidc-provider/example.com/gitlab"
    )
    assert gets_role(stack, issuer, aud="https://sts.example.com", sub=SUBJECT.format("branch", "main"))


def test_the_trust_policy_is_this_and_nothing_else() -> None:
    assert Stack().trust == {
        "Effect": "Allow",
        "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/gitlab.example.com"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                "gitlab.example.com:aud": "https://sts.example.com",
                "gitlab.example.com:sub": SUBJECT.format("branch", "main"),
            }
        },
    }
    assert Stack(Ref="v*", RefType="tag", RefMatch="like").trust["Condition"] == {
        "StringEquals": {"gitlab.example.com:aud": "https://sts.example.com"},
        "StringLike": {"gitlab.example.com:sub": SUBJECT.format("tag", "v*")},
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Issuer", "https://gitlab.example.com/"),
        ("Issuer", "http://gitlab.example.com"),
        ("Issuer", "gitlab.example.com"),
        ("Issuer", 'https://gitlab.example.com", "x": "'),
        ("Issuer", "https://*"),
        ("Audience", "*"),
        ("Audience", "https://sts.example.com*"),
        ("Audience", 'a", "b'),
        ("Audience", "${aws:PrincipalTag/x}"),
        ("ProjectPath", "acme"),
        ("ProjectPath", "acme/*"),
        ("ProjectPath", 'acme/orders"'),
        ("ProjectPath", "acme/orders:ref_type:branch"),
        ("Ref", ""),
        ("Ref", 'main", "x": "y'),
        ("Ref", "ma\\in"),
        ("Ref", "v?"),
        ("Ref", "${aws:userid}"),
        ("Ref", "main:x"),
        ("RefType", "*"),
        ("RefMatch", "regex"),
        ("ApiArn", "*"),
        ("ApiArn", "arn:aws:execute-api:eu-central-1:111122223333:*/v1"),
        ("ApiArn", "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/*"),
        ("ApiArn", "arn:aws:execute-api:*:111122223333:a1b2c3d4e5/v1"),
        ("ApiArn", f"{API}/"),
        ("RolePath", "x"),
        ("PermissionsBoundary", "x"),
        ("Thumbprint", "x"),
    ],
)
def test_a_value_that_would_open_or_break_a_policy_is_refused(name: str, value: str) -> None:
    with pytest.raises(ParameterError, match=name):
        Stack(**{name: value})


# What it may do


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/iam/artifacts", True),
        ("POST", "/iam/deployments", True),
        ("GET", "/iam/deployments/01M83C6AM7KY87WNER1QH3A4Y7", True),
        ("GET", "/iam/whoami", True),
        ("GET", "/iam/deployments", False),
        ("POST", "/iam/deployments/01M83C6AM7KY87WNER1QH3A4Y7/approve", False),
        ("POST", "/iam/deployments/01M83C6AM7KY87WNER1QH3A4Y7/reject", False),
        ("POST", "/iam/deployments/01M83C6AM7KY87WNER1QH3A4Y7/abort", False),
        ("POST", "/iam/deployments/", False),
        ("POST", "/iam/stages/prod/hold", False),
        ("DELETE", "/iam/stages/prod/hold", False),
        ("GET", "/iam/functions/orders-api", False),
        ("POST", "/iam/artifacts/x", False),
        ("POST", "/deployments", False),
        ("POST", "/webhooks/gitlab/x", False),
    ],
)
def test_the_role_may_make_four_calls(method: str, path: str, expected: bool) -> None:
    assert may_call(Stack().permission["Resource"], method, path) == expected


@pytest.mark.parametrize(
    "api",
    [
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e5/test",
        "arn:aws:execute-api:eu-central-1:111122223333:a1b2c3d4e6/v1",
        "arn:aws:execute-api:eu-west-1:111122223333:a1b2c3d4e5/v1",
        "arn:aws:execute-api:eu-central-1:222222222222:a1b2c3d4e5/v1",
    ],
)
def test_the_role_may_call_one_api_and_stage(api: str) -> None:
    assert may_call(Stack().permission["Resource"], "GET", "/iam/whoami")
    assert not may_call(Stack().permission["Resource"], "GET", "/iam/whoami", api)


def test_the_role_may_do_nothing_else() -> None:
    role = Stack().resource("Role")
    assert Stack().permission.keys() == {"Effect", "Action", "Resource"}
    assert Stack().permission["Action"] == "execute-api:Invoke"
    assert "ManagedPolicyArns" not in role
    assert "PermissionsBoundary" not in role
    assert role["MaxSessionDuration"] == 3600
    assert "TagSession" not in json.dumps(role)
    boundary = "arn:aws:iam::111122223333:policy/edge"
    assert Stack(PermissionsBoundary=boundary).resource("Role")["PermissionsBoundary"] == boundary


# The guide

GUIDE: Final = (ROOT / "docs/guides/iam.md").read_text()


def guided(section: str) -> list[str]:
    """The resources of the policy in a section of the guide."""
    text = GUIDE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    (document,) = re.findall(r"^```json\n(.*?)^```", text, re.S | re.M)
    (statement,) = json.loads(document)["Statement"]
    assert statement["Action"] == "execute-api:Invoke"
    return [resource.replace("API", API, 1) for resource in statement["Resource"]]


DECISIONS: Final = [("POST", f"/iam/deployments/X/{each}") for each in ("approve", "reject", "abort")]
HOLD: Final = ("POST", "/iam/stages/prod/hold")


@pytest.mark.parametrize(
    ("section", "allowed", "denied"),
    [
        (
            "People",
            [*DECISIONS, HOLD, ("GET", "/iam/whoami"), ("DELETE", "/iam/stages/prod/hold")],
            [("POST", "/deployments"), ("POST", "/iam/artifacts"), ("POST", "/iam/deployments/X")],
        ),
        (
            "Agents",
            [("POST", "/iam/deployments"), ("GET", "/iam/deployments/X"), ("GET", "/iam/functions")],
            [*DECISIONS, HOLD],
        ),
    ],
)
def test_the_guide_s_policies_allow_what_they_are_for(
    section: str, allowed: list[tuple[str, str]], denied: list[tuple[str, str]]
) -> None:
    resources = guided(section)
    assert [call for call in allowed if not may_call(resources, *call)] == []
    assert [call for call in denied if may_call(resources, *call)] == []


def test_the_guide_s_command_gives_the_template_what_it_needs() -> None:
    command, tags = re.findall(r"^aws cloudformation deploy (.*?)\n(?:\n|```)", GUIDE, re.S | re.M)
    assert set(re.findall(r"(\w+)=", tags)) <= TEMPLATE["Parameters"].keys()
    given = dict(re.findall(r"(\w+)=([^\s\"]+)", command.split("--parameter-overrides")[1]))
    assert given.pop("ApiArn") == "$API"
    stack = Stack(**{**given, "Issuer": given["Issuer"].lower()})  # its capitals are to be replaced
    assert stack.resource("Role")["RoleName"] == given["RoleName"]
    required = {name for name, about in TEMPLATE["Parameters"].items() if "Default" not in about}
    assert required - {"ApiArn"} <= given.keys()
    for name in re.findall(r"^\| (`[A-Z]\w+`(?:, `\w+`)*) \|", GUIDE.split("## 2. ")[0], re.M):
        assert set(re.findall(r"\w+", name)) <= TEMPLATE["Parameters"].keys()


# What `sluicegate doctor` says of it


@pytest.mark.parametrize("given", [{}, {"Ref": "v*", "RefType": "tag", "RefMatch": "like"}])
def test_doctor_finds_nothing_wrong_with_it(given: dict[str, str]) -> None:
    issuer = Issuer(
        "corp", GIVEN["Issuer"], "https://deploy.example.com", sts_audience="https://sts.example.com"
    )
    providers = {"gitlab.example.com": Provider("gitlab.example.com", ("https://sts.example.com",))}
    role = Stack(**given).resource("Role")
    trust = list(of_trust(json.loads(role["AssumeRolePolicyDocument"]), (issuer,), providers))
    calls = list(of_permissions([policy["PolicyDocument"] for policy in role["Policies"]]))
    found = [*trust, of_session(role["MaxSessionDuration"]), *calls]
    assert [finding for finding in found if finding.verdict is not CheckVerdict.OK] == []
    assert len(found) >= 5


def test_doctor_sees_what_the_template_would_have_to_open() -> None:
    issuer = Issuer("corp", GIVEN["Issuer"], "https://sts.example.com")
    document = json.loads(Stack().resource("Role")["AssumeRolePolicyDocument"])
    verdicts = {finding.verdict for finding in of_trust(document, (issuer,), {})}
    assert CheckVerdict.WRONG in verdicts, "one audience for both"
    wide = {**Stack().permission, "Resource": [f"{API}/POST/iam/deployments/*"]}
    assert [one.verdict for one in of_permissions([{"Statement": [wide]}])] == [CheckVerdict.WARNING]


# The identity provider, the template


def test_the_identity_provider_is_made_on_request_and_has_one_audience() -> None:
    assert Stack().resource("Provider") is None
    stack = Stack(CreateProvider="true")
    assert stack.resource("Provider") == {
        "Url": "https://gitlab.example.com",
        "ClientIdList": ["https://sts.example.com"],
    }
    assert stack.trust["Principal"] == {"Federated": "arn:made-provider"}
    private = Stack(CreateProvider="true", Thumbprint="a" * 40)
    assert private.resource("Provider")["ThumbprintList"] == ["a" * 40]
    assert TEMPLATE["Resources"]["Provider"]["DeletionPolicy"] == "Retain"


def test_the_outputs_are_what_component_and_gate_file_need() -> None:
    assert Stack().output("RoleArn") == "made Role.Arn"
    assert Stack().output("PrincipalId") == "made Role.RoleId"
    command = "aws iam get-role --role-name made-role --query Role.RoleId --output text"
    assert Stack().output("PrincipalIdCommand") == command


def test_it_is_plain_cloudformation() -> None:
    """StackSets and pipelines of a landing zone take it: no transform, no YAML alias, plain parameters."""
    text = FILE.read_text()
    assert "Transform" not in text
    assert not re.search(r"(?m)[:\[,-] [&*]\w+", text)
    assert {about["Type"] for about in TEMPLATE["Parameters"].values()} == {"String"}
    assert all("Description" in about for about in TEMPLATE["Parameters"].values())
    assert len(text) < 51_200
    lint = (ROOT / ".ci" / "lint").read_text()
    assert "cfn-lint template.yaml cloudformation/caller-role.yaml\n" in lint


def test_cfn_lint_finds_nothing() -> None:
    linted = subprocess.run(
        [ROOT / ".venv/bin/cfn-lint", "--regions", "eu-central-1", "--", FILE],
        capture_output=True,
        text=True,
    )
    assert linted.stdout == ""
