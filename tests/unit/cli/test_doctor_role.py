"""`doctor --role`: what it says of trust policies as they are found in the world, and of wide permissions.

Where the mistakes are from: Datadog Security Labs, "No keys attached" (27 July 2023: no `sub`, wildcards);
Tinder Tech Blog, "Identifying vulnerabilities in GitHub Actions & AWS OIDC configurations" (18 April 2023:
prefixes of names); aws-actions/configure-aws-credentials, README (14 May 2026: `ForAllValues:`);
phpboyscout.uk, "A 403 you can't fix in IAM" (14 May 2026: `ref_type:mr`); opszero/terraform-aws-oidc-gitlab
(matches on any claim). Read on 26 November 2026.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Issuer
from sluicegate_cli.doctor import role_checks
from sluicegate_cli.doctor.call_policy import CALLS, of_permissions
from sluicegate_cli.doctor.findings import AUDIENCE, ISSUER, ROTATION, CheckVerdict, Finding
from sluicegate_cli.doctor.subjects import reach
from sluicegate_cli.doctor.trust_policy import SUBJECT, Provider, of_trust
from support import gate_documents as documents
from support.aws_account import AwsAccount
from support.cli_running import Run

HOST = "gitlab.example.com"
URL = f"https://{HOST}"
STS = "https://sts.example.com"
ISSUERS = (Issuer("gitlab", URL, "https://deploy.example.com", sts_audience=STS),)
EXACT = "project_path:acme/orders:ref_type:branch:ref:main"
ROLE = "arn:aws:iam::111111111111:role/sluicegate-caller"
API = "arn:aws:execute-api:eu-central-1:111111111111:a1b2c3d4e5/v1"


def trust(condition: Any, *, host: str = HOST, **changes: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::111111111111:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }
    return {"Version": "2012-10-17", "Statement": [statement | changes]}


def right(**more: Any) -> dict[str, Any]:
    return {"StringEquals": {f"{HOST}:aud": STS, f"{HOST}:sub": EXACT, **more}}


def verdicts(findings: list[Finding]) -> dict[str, CheckVerdict]:
    """Return the worst verdict of each check."""
    order = [CheckVerdict.OK, CheckVerdict.UNKNOWN, CheckVerdict.WARNING, CheckVerdict.WRONG]
    found: dict[str, CheckVerdict] = {}
    for one in findings:
        found[one.check] = max(found.get(one.check, CheckVerdict.OK), one.verdict, key=order.index)
    return found


def words(findings: list[Finding]) -> str:
    return " | ".join(f"{one.seen} {one.change}" for one in findings)


def test_a_role_as_the_template_makes_it_is_right() -> None:
    found = list(of_trust(trust(right()), ISSUERS, {HOST: Provider(HOST, (STS,))}))

    assert verdicts(found) == {ISSUER: CheckVerdict.OK, AUDIENCE: CheckVerdict.OK, SUBJECT: CheckVerdict.OK}
    assert "branch main of acme/orders" in words(found)


SUBJECTS = [
    (EXACT, CheckVerdict.OK, "branch main of acme/orders"),
    ("project_path:acme/orders:ref_type:tag:ref:v*", CheckVerdict.OK, "tags v* of acme/orders; protect them"),
    (
        "project_path:acme/a/b:ref_type:branch:ref:release/*",
        CheckVerdict.OK,
        "branches release/* of acme/a/b",
    ),
    ("project_path:acme/orders:ref_type:branch:ref:*", CheckVerdict.WARNING, "every branch of acme/orders"),
    ("project_path:acme/orders:ref_type:tag:ref:**", CheckVerdict.WARNING, "every tag of acme/orders"),
    ("project_path:acme/orders:ref_type:*:ref:main", CheckVerdict.WARNING, "branches and tags named main"),
    (
        "project_path:acme/orders:ref_type:*:ref:*",
        CheckVerdict.WARNING,
        "every branch and tag of acme/orders",
    ),
    ("project_path:acme/orders:*", CheckVerdict.WARNING, "every branch and tag of acme/orders"),
    ("project_path:acme/orders", CheckVerdict.WARNING, "took the ref out of its sub"),
    ("project_path:acme/orders*", CheckVerdict.WARNING, "whose path begins with acme/orders"),
    ("project_path:acme/*", CheckVerdict.WARNING, "every project under acme, of subgroups too"),
    (
        "project_path:acme/*:ref_type:branch:ref:main",
        CheckVerdict.WARNING,
        "under acme, of subgroups too, on branch main",
    ),
    ("project_path:acme/team-*:ref_type:branch:ref:main", CheckVerdict.WARNING, "may make projects in acme"),
    ("project_path:acme*", CheckVerdict.WRONG, "such as acme-evil"),
    ("project_path:*", CheckVerdict.WRONG, "every project"),
    ("project_path:*/deploy:ref_type:branch:ref:main", CheckVerdict.WRONG, "every project"),
    ("*", CheckVerdict.WRONG, "every project"),
    ("*:ref_type:branch:ref:main", CheckVerdict.WRONG, "every project"),
    ("proj?ct_path:acme/orders:*", CheckVerdict.WRONG, "every project"),
]


@pytest.mark.parametrize(("pattern", "verdict", "said"), SUBJECTS)
def test_a_pattern_is_named_for_what_it_lets_in(pattern: str, verdict: CheckVerdict, said: str) -> None:
    found = reach(pattern, HOST, wildcards=True)

    assert (found.verdict, found.never) == (verdict, False)
    assert said in found.who


def test_on_gitlab_com_every_project_means_everybody() -> None:
    for pattern in ("*", "project_path:acme*"):
        assert "everybody who has an account there" in reach(pattern, "gitlab.com", wildcards=True).who
    found = list(of_trust(trust({"StringEquals": {"gitlab.com:aud": STS}}, host="gitlab.com")))
    assert "everybody who has an account there" in words(found)


NEVER = [
    ("project_path:acme/*", False),  # StringEquals reads no wildcards
    ("project_path:acme/orders:ref_type:mr:ref:*", True),
    ("project_path:acme/orders:ref_type:merge_request:ref:main", False),
    ("repo:acme/orders:ref:refs/heads/main", False),  # GitHub's
    ("repo:acme/orders:*", True),
    ("acme/orders", False),
    ("project_path:orders:ref_type:branch:ref:main", False),
]


@pytest.mark.parametrize(("value", "wildcards"), NEVER)
def test_a_value_that_no_job_has_lets_nobody_in(value: str, wildcards: bool) -> None:
    assert reach(value, HOST, wildcards=wildcards).never

    operator = "StringLike" if wildcards else "StringEquals"
    condition = {operator: {f"{HOST}:sub": value}, "ForAnyValue:StringEquals": {f"{HOST}:aud": [STS]}}
    found = list(of_trust(trust(condition), ISSUERS))

    assert verdicts(found)[SUBJECT] is CheckVerdict.WRONG
    assert "no job may assume the role" in words(found)


TRUSTS: list[tuple[str, Any, str, str]] = [
    ("only aud", {"StringEquals": {f"{HOST}:aud": STS}}, SUBJECT, "every job there"),
    ("no condition", {}, SUBJECT, "every job there"),
    (
        "a denial only",
        {"StringNotEquals": {f"{HOST}:sub": EXACT}, "StringEquals": {f"{HOST}:aud": STS}},
        SUBJECT,
        "but for those that a negative condition names",
    ),
    ("another host", right() | {"StringLike": {"gitlab.com:sub": EXACT}}, SUBJECT, "for another provider"),
    (
        "another host, if it is there",
        {"StringLikeIfExists": {"gitlab.com:sub": EXACT}, "StringEquals": {f"{HOST}:aud": STS}},
        SUBJECT,
        "so it restricts nothing",
    ),
    ("a claim", right(**{f"{HOST}:project_id": "4213"}), SUBJECT, "IAM does not read, so it never holds"),
    (
        "a claim for all values",
        {
            "ForAllValues:StringEquals": {f"{HOST}:namespace_path": "acme"},
            "StringEquals": {f"{HOST}:aud": STS},
        },
        SUBJECT,
        "IAM does not read, so it restricts nothing",
    ),
    (
        "any audience",
        {"StringLike": {f"{HOST}:aud": "*"}, "StringEquals": {f"{HOST}:sub": EXACT}},
        AUDIENCE,
        "every audience like *",
    ),
    (
        "ours",
        {"StringEquals": {f"{HOST}:aud": "https://deploy.example.com", f"{HOST}:sub": EXACT}},
        AUDIENCE,
        "one leaked token does for both",
    ),
    (
        "another",
        {"StringEquals": {f"{HOST}:aud": "https://other.example.com", f"{HOST}:sub": EXACT}},
        AUDIENCE,
        "sts_audience is https://sts.example.com",
    ),
]


@pytest.mark.parametrize(
    ("condition", "check", "said"), [case[1:] for case in TRUSTS], ids=[c[0] for c in TRUSTS]
)
def test_a_trust_policy_that_is_wrong(condition: Any, check: str, said: str) -> None:
    found = list(of_trust(trust(condition), ISSUERS))

    assert verdicts(found)[check] is CheckVerdict.WRONG
    assert said in words(found)


WARNED: list[tuple[Any, str, str]] = [
    (
        {"StringEqualsIgnoreCase": {f"{HOST}:sub": EXACT}, "StringEquals": {f"{HOST}:aud": STS}},
        SUBJECT,
        "a branch of another case",
    ),
    (
        {"StringEquals": {f"{HOST}:sub": "project_path:acme/${aws:username}:x", f"{HOST}:aud": STS}},
        SUBJECT,
        "every project under acme",
    ),
    (
        {"ForAllValues:StringLike": {f"{HOST}:sub": EXACT}, "StringEquals": {f"{HOST}:aud": STS}},
        SUBJECT,
        "also holds without the claim",
    ),
    ({"StringEquals": {f"{HOST}:sub": EXACT}}, AUDIENCE, "the provider's client ids decide alone"),
    ({"StringEquals": {f"{HOST}:sub": EXACT, f"{HOST}:aud": [URL]}}, AUDIENCE, "GitLab's own URL"),
    (
        {"StringEquals": {f"{HOST}:sub": EXACT, f"{HOST}:aud": [STS, "https://x.example.com"]}},
        AUDIENCE,
        "more than",
    ),
    (
        {"StringEquals": {f"{HOST}:sub": EXACT, f"{HOST}:aud": "sts.amazonaws.com"}},
        AUDIENCE,
        "every other account",
    ),
]


@pytest.mark.parametrize(("condition", "check", "said"), WARNED)
def test_a_trust_policy_to_review(condition: Any, check: str, said: str) -> None:
    issuers = (Issuer("gitlab", URL, "https://deploy.example.com"),)

    found = list(of_trust(trust(condition), issuers))

    assert verdicts(found)[check] is CheckVerdict.WARNING
    assert said in words(found)


def test_the_names_of_conditions_have_no_case() -> None:
    condition = {"stringequals": {f"{HOST.upper()}:AUD": STS, f"{HOST}:Sub": EXACT}}

    found = verdicts(list(of_trust(trust(condition), ISSUERS)))

    assert found == {ISSUER: CheckVerdict.OK, AUDIENCE: CheckVerdict.OK, SUBJECT: CheckVerdict.OK}


def test_several_values_are_alternatives_and_several_conditions_must_all_hold() -> None:
    either = {
        "StringEquals": {f"{HOST}:aud": STS},
        "StringLike": {f"{HOST}:sub": [EXACT, "project_path:acme*"]},
    }
    both = {
        "StringEquals": {f"{HOST}:aud": STS, f"{HOST}:sub": EXACT},
        "StringLike": {f"{HOST}:sub": "project_path:acme*"},
    }

    assert verdicts(list(of_trust(trust(either), ISSUERS)))[SUBJECT] is CheckVerdict.WRONG
    assert verdicts(list(of_trust(trust(both), ISSUERS)))[SUBJECT] is CheckVerdict.OK


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (f"{HOST}/", "a slash at the end"),
        ("GitLab.example.com", "upper and lower case"),
        ("gitlab.com", "no issuer of the gate file"),
    ],
)
def test_the_provider_is_the_issuer_exactly(host: str, said: str) -> None:
    found = list(of_trust(trust({}, host=host), ISSUERS))

    assert verdicts(found)[ISSUER] is CheckVerdict.WRONG
    assert said in words(found)


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"Principal": "*"}, CheckVerdict.WRONG, "lets everybody in"),
        ({"Principal": {"Federated": "*"}}, CheckVerdict.WRONG, "lets everybody in"),
        (
            {"Principal": {"AWS": ["arn:aws:iam::111111111111:root"]}},
            CheckVerdict.WARNING,
            "without a job's token",
        ),
        (
            {
                "Principal": {
                    "Federated": "arn:aws:iam::111111111111:oidc-provider/token.actions.githubusercontent.com"
                }
            },
            CheckVerdict.WARNING,
            "GitHub's jobs too",
        ),
        (
            {"Principal": {"Federated": "cognito-identity.amazonaws.com"}},
            CheckVerdict.WARNING,
            "no OIDC provider",
        ),
        ({"Action": "sts:AssumeRole"}, CheckVerdict.WRONG, "no statement lets a job's token in"),
        ({"Effect": "Deny"}, CheckVerdict.WRONG, "no statement lets a job's token in"),
        ({"Action": "sts:*", "Condition": {}}, CheckVerdict.WRONG, "every job there"),
    ],
)
def test_who_else_is_let_in(changes: dict[str, Any], verdict: CheckVerdict, said: str) -> None:
    found = list(of_trust(trust(right(), **changes), ISSUERS))

    assert said in words([one for one in found if one.verdict is verdict])


def allowed(*resources: str, action: Any = "execute-api:Invoke", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources)}
    return {"Version": "2012-10-17", "Statement": [statement | more]}


NEEDED = ("POST/iam/artifacts", "POST/iam/deployments", "GET/iam/deployments/*", "GET/iam/whoami")


def test_what_a_job_needs_is_right() -> None:
    [found] = of_permissions([allowed(*(f"{API}/{call}" for call in NEEDED))])

    assert (found.check, found.verdict) == (CALLS, CheckVerdict.OK)


@pytest.mark.parametrize(
    ("document", "verdict", "said"),
    [
        (
            allowed(f"{API}/POST/iam/deployments/*"),
            CheckVerdict.WARNING,
            "also stands for /, and so it takes approve",
        ),
        (allowed(f"{API}/POST/*"), CheckVerdict.WARNING, "approve, reject, abort, hold"),
        (allowed(f"{API}/*/iam/deployments*"), CheckVerdict.WARNING, "approve"),
        (allowed(f"{API}/*"), CheckVerdict.WARNING, "the release of a hold"),
        (allowed(f"{API[:-3]}/*"), CheckVerdict.WARNING, "approve"),
        (allowed(f"{API[:-3]}/*approve"), CheckVerdict.WARNING, "takes approve too"),
        (allowed(f"{API[:-3]}/v?/P*"), CheckVerdict.WARNING, "approve"),
        (allowed("arn:aws:execute-api:*:*:*"), CheckVerdict.WRONG, "every API"),
        (allowed("*"), CheckVerdict.WRONG, "every API"),
        (allowed("*", action="*"), CheckVerdict.WRONG, "every action"),
        (allowed("*", action=["lambda:*"]), CheckVerdict.WARNING, "also allows lambda:*"),
        (allowed("*", action="execute-api:ManageConnections"), CheckVerdict.WRONG, "cannot call the API"),
        ({"Statement": []}, CheckVerdict.WRONG, "cannot call the API"),
        (
            {"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}},
            CheckVerdict.WRONG,
            "all but some",
        ),
    ],
)
def test_permissions_that_are_too_wide(document: dict[str, Any], verdict: CheckVerdict, said: str) -> None:
    found = list(of_permissions([document]))

    assert verdicts(found)[CALLS] is verdict
    assert said in words(found)


# In AWS


def account(**changes: Any) -> AwsAccount:
    """An account with the role as the template makes it; `changes` to what GetRole answers."""
    role = {
        "Path": "/",
        "RoleName": "sluicegate-caller",
        "RoleId": "AROACALLER11111111111",
        "Arn": ROLE,
        "AssumeRolePolicyDocument": json.dumps(trust(right())),
        "MaxSessionDuration": 3600,
    }
    calls = allowed(*(f"{API}/{call}" for call in NEEDED))
    return AwsAccount(
        {
            "iam:GetRole": {"Role": role | changes},
            "iam:GetOpenIDConnectProvider": {"Url": HOST, "ClientIDList": [STS]},
            "iam:ListRolePolicies": {"PolicyNames": ["call"], "IsTruncated": False},
            "iam:GetRolePolicy": {"PolicyDocument": json.dumps(calls)},
            "iam:ListAttachedRolePolicies": {"AttachedPolicies": [], "IsTruncated": False},
        }
    )


def test_a_role_in_aws() -> None:
    found = role_checks.examine_role(account().calls(), ROLE, None)

    assert verdicts(found) == {
        ISSUER: CheckVerdict.UNKNOWN,
        AUDIENCE: CheckVerdict.OK,
        SUBJECT: CheckVerdict.OK,
        ROTATION: CheckVerdict.OK,
        CALLS: CheckVerdict.OK,
        role_checks.UNIQUE_ID: CheckVerdict.UNKNOWN,
    }
    assert "AROACALLER11111111111" in words(found)


def named(*claims: dict[str, list[str]]) -> Gate:
    """A gate file with a rule of AWS credentials for each of these claims."""
    rules = [
        documents.rule(f"rule {number}", via="iam", issuer="", claims=one, stages=["dev"])
        for number, one in enumerate(claims, 1)
    ]
    return documents.gate(rules=rules)


@pytest.mark.parametrize(
    ("claims", "verdict", "seen"),
    [
        (("AROACALLER11111111111",), CheckVerdict.OK, "which rule 'rule 1' names"),
        (("AROAGONE1111111111111",), CheckVerdict.WRONG, "AROAGONE1111111111111 (rule 1)"),
        (("AROAGONE1111111111111", "AROACALLER11111111111"), CheckVerdict.OK, "'rule 2'"),
        ((), CheckVerdict.WARNING, "name none"),
    ],
)
def test_a_role_that_was_made_again_has_an_id_that_no_rule_names(
    claims: tuple[str, ...], verdict: CheckVerdict, seen: str
) -> None:
    account_id = {"account": ["111111111111"]}
    gate = named(*(account_id | {"principal_id": [one]} for one in claims))
    found = role_checks.examine_role(account().calls(), ROLE, gate)
    (finding,) = [one for one in found if one.check == role_checks.UNIQUE_ID]
    assert (finding.verdict, seen in finding.seen, finding.compared) == (verdict, True, True)


def test_the_id_of_a_role_of_another_account_does_not_count() -> None:
    gate = named({"account": ["222222222222"], "principal_id": ["AROACALLER11111111111"]})
    (finding,) = [
        one
        for one in role_checks.examine_role(account().calls(), ROLE, gate)
        if one.check == role_checks.UNIQUE_ID
    ]
    assert finding.verdict is CheckVerdict.WARNING


def test_long_sessions_and_a_provider_for_another_audience_are_named() -> None:
    aws = account(MaxSessionDuration=43_200)
    aws.answers["iam:GetOpenIDConnectProvider"] = {"Url": HOST, "ClientIDList": ["https://x.example.com"]}

    found = role_checks.examine_role(aws.calls(), ROLE, None)

    assert verdicts(found)[ROTATION] is CheckVerdict.WARNING
    assert "12.0 h" in words(found)
    assert verdicts(found)[AUDIENCE] is CheckVerdict.WRONG


def test_what_the_credentials_may_not_read_is_unknown_and_named() -> None:
    aws = account()
    del aws.answers["iam:GetOpenIDConnectProvider"], aws.answers["iam:ListRolePolicies"]

    found = role_checks.examine_role(aws.calls(), ROLE, None)

    assert "iam:GetOpenIDConnectProvider" in words(found)
    assert verdicts(found)[CALLS] is CheckVerdict.UNKNOWN
    [alone] = role_checks.examine_role(AwsAccount().calls(), ROLE, None)
    assert (alone.verdict, "iam:GetRole" in alone.seen) == (CheckVerdict.UNKNOWN, True)


def test_a_role_of_another_path_is_not_the_one_that_was_named() -> None:
    [found] = role_checks.examine_role(account(Arn=f"{ROLE}x").calls(), ROLE, None)

    assert "there is no role" in found.seen


SSO = """
version: 1
issuers: {gitlab: {url: https://gitlab.example.com, audience: https://deploy.example.com}}
stages: {dev: {}}
functions: {orders-api: {}}
sso:
  - {account: "111111111111", principal_id: AROASSO11111111111111, org: o-a1b2c3d4e5}
rules:
  - name: orders
    claims: {project_id: "4213", ref_type: branch, ref: main}
    allow: {actions: [deploy], functions: [orders-api], stages: [dev]}
"""


@pytest.mark.parametrize(
    ("role_id", "path", "verdict", "said"),
    [
        (
            "AROASSO11111111111111",
            "/aws-reserved/sso.amazonaws.com/eu-central-1/",
            CheckVerdict.OK,
            "has the id",
        ),
        (
            "AROASSO22222222222222",
            "/aws-reserved/sso.amazonaws.com/",
            CheckVerdict.WRONG,
            "a new role of the same name",
        ),
        ("AROASSO11111111111111", "/", CheckVerdict.WRONG, "no role of Identity Center, whatever its name"),
    ],
)
def test_the_roles_of_people(
    tmp_path: Path, role_id: str, path: str, verdict: CheckVerdict, said: str
) -> None:
    from sluicegate_gatefile.compile import check

    (tmp_path / "sluicegate.yaml").write_text(SSO)
    gate = check(tmp_path / "sluicegate.yaml").gate
    assert gate is not None
    name = "AWSReservedSSO_Deployers_0123456789abcdef"
    role = {
        "Path": path,
        "RoleName": name,
        "RoleId": role_id,
        "Arn": f"arn:aws:iam::111111111111:role{path}{name}",
        "CreateDate": 0,
    }
    aws = AwsAccount(
        {
            "sts:GetCallerIdentity": {"Account": "111111111111"},
            "iam:ListRoles": {"Roles": [role], "IsTruncated": False},
        }
    )

    found = list(role_checks.people(aws.calls(), gate))

    assert [one.verdict for one in found] == [verdict]
    assert said in words(found)


# From a file


def test_files_are_told_apart(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SLUICEGATE_URL", "SLUICEGATE_TOKEN", "SLUICEGATE_ID_TOKEN", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    documents = {
        "trust.json": trust({"StringEquals": {f"{HOST}:aud": STS}}),
        "role.json": {"Role": {"AssumeRolePolicyDocument": trust(right()), "MaxSessionDuration": 43_200}},
        "call.json": allowed(f"{API}/POST/iam/deployments/*"),
    }
    arguments: list[str] = []
    for name, document in documents.items():
        (tmp_path / name).write_text(json.dumps(document))
        arguments += ["--role-policy", name]

    ended = run("doctor", *arguments, "--json")

    found = json.loads(ended.out)["findings"]
    assert ended.code == 1
    assert {one["check"] for one in found} == {ISSUER, AUDIENCE, SUBJECT, ROTATION, CALLS}
    for name, text in (("list.json", "[]"), ("empty.json", "{}"), ("text.json", "no")):
        (tmp_path / name).write_text(text)
        assert run("doctor", "--role-policy", name).code == 2
    assert run("doctor", "--role", "sluicegate-caller").code == 2
