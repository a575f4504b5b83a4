"""Rules that can never match: what GitLab never writes into a token is an error or a warning."""

from collections.abc import Callable

import pytest

from sluicegate.oidc.claims import READABLE
from sluicegate_gatefile.checks.claims import CLOSED, complaint
from sluicegate_gatefile.compile import Report
from stand.claims import job_claims
from support import signing

FILE = """\
version: 1
issuers: {corp: {url: https://gitlab.example.com, audience: x}}
stages: {dev: {}}
functions: {orders-*: {}}
rules:
  - name: x
    claims: {project_id: "1", CLAIMS}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
"""

Check = Callable[[str], Report]


def findings(report: Report) -> list[tuple[str, str]]:
    return [(found.severity, found.code) for found in report.diagnostics]


SHA = "714a629c0b401fdce83e847fc9589983fc6f46bc"
BRANCH = "ref_type: branch, ref: main"


@pytest.mark.parametrize(
    ("claims", "hint"),
    [
        ("ref_type: tags", "did you mean `tag`?"),
        ("ref_type: Tag", "did you mean `tag`?"),
        ("ref_type: [tag, heads]", "it is one of `branch`, `tag`"),
        ("pipeline_source: scheduled", "did you mean `schedule`?"),
        ("pipeline_source: [push, merge_request]", "did you mean `merge_request_event`?"),
        ("pipeline_source: manual", "it is one of `push`, `web`"),
        ("pipeline_source: manual", "_schedule`; for one that is newer than this list"),
        (
            "pipeline_source: webb",
            "did you mean `web`? For one that is newer than this list, write a pattern",
        ),
        ('ref_protected: "yes"', '"true" or "false"'),
        ('ref_protected: "True"', '"true" or "false"'),
        ("runner_environment: self_hosted", "did you mean `self-hosted`?"),
        ("project_visibility: Private", "did you mean `private`?"),
        ("deployment_tier: prod", "it is one of `production`"),
        ("environment_action: starts", "did you mean `start`?"),
        ("user_access_level: Maintainer", "did you mean `maintainer`?"),
        ('user_access_level: "40"', "it is one of `owner`"),
        ("job_source: pushed", "did you mean `push`?"),
        ("user_id: ada", "is digits"),
        ('job_project_id: "0123"', "is digits"),
        ("runner_id: '#1'", "is digits"),
        ("sha: 714a629", "a commit's whole SHA"),
        (f"ci_config_sha: {SHA.upper()}", "lower-case hex"),
    ],
)
def test_a_value_that_gitlab_does_not_have_is_an_error(check: Check, claims: str, hint: str) -> None:
    report = check(FILE.replace("CLAIMS", claims))
    assert report.gate is None
    [message] = [found.message for found in report.diagnostics if found.code == "value"]
    assert hint in message
    assert [found.line for found in report.diagnostics] == [7]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ("ref_type: branch, ref: refs/heads/main", "ref"),
        ("ref_type: tag, ref: refs/tags/v*", "ref"),
        ("ref_type: branch, ref: feature branch", "ref"),
        ("ref_type: branch, ref: 'release/*/'", "ref"),
        ("ref_type: branch, ref: 'v[0-9]'", "ref"),
        ("ref_type: branch, ref: 'a..b'", "ref"),
        ("ref_type: [branch, tag], ref: main", "ref_type"),
        ("ref_type: '*', ref: main", "ref_type"),
        ("ref_path: main", "value"),
        ("ref_path: heads/main", "value"),
        ("ref_type: tag, ref_path: refs/heads/main", "ref"),
        ("ref_type: branch, ref_path: [refs/tags/v1, refs/tags/v2]", "ref"),
        ("pipeline_source: sched*ed", "value"),
        ("ref_type: tags*", "value"),
        ("user_id: '7*'", "value"),
        ("user_id: 'x*'", "value"),
        ("sha: 'main*'", "value"),
        ("project_path: orders", "value"),
        ("project_path: '*'", "value"),
        ("project_path: https://gitlab.example.com/acme/orders", "value"),
        ("project_path: acme/orders.git", "value"),
        ("namespace_path: /acme", "value"),
        ("namespace_path: acme/", "value"),
        ("groups_direct: '@acme'", "value"),
        ("user_email: ada", "value"),
        ("user_login: '@ada'", "value"),
        ("ci_config_ref_uri: acme/orders/.gitlab-ci.yml", "value"),
        ("ci_config_ref_uri: '*'", "value"),
        ("sub: 'repo:acme/orders:ref:refs/heads/main'", "value"),
        ("environment_protected: 'true'", "environment"),
        ("ref_type: tag, pipeline_source: merge_request_event", "pipeline_source"),
    ],
)
def test_what_can_never_match_is_warned_of(check: Check, claims: str, code: str) -> None:
    report = check(FILE.replace("CLAIMS", claims))
    assert report.gate is not None
    assert ("warning", code) in findings(report)


POSSIBLE = [
    f'{claim}: "{value}"'
    for claim, values in CLOSED.items()
    if claim not in ("event", "environment_protected")
    for value in values
    if "request" not in value and "parent" not in value
]


@pytest.mark.parametrize(
    "claims",
    [
        *POSSIBLE,
        "ref_type: tag, ref: v*",
        'ref_type: branch, ref: "**"',
        'ref_type: [branch, tag], ref: "release/**"',
        "ref_type: branch, ref: feature/a-b_c.d+e",
        "ref_path: refs/heads/main",
        "ref_path: 'refs/*/v1'",
        "ref_path: '**'",
        "pipeline_source: sched*",
        'user_id: ["1", "22"]',
        f"sha: {SHA}",
        "sha: '714*'",
        f"sha: {'a' * 64}",
        "project_path: acme/orders",
        "project_path: acme/**",
        "project_path: '**/orders'",
        "groups_direct: [acme, acme/platform]",
        "ci_config_ref_uri: gitlab.example.com/acme/orders//.gitlab-ci.yml@refs/heads/main",
        "ci_config_ref_uri: 'gitlab.example.com/acme/**'",
        "sub: 'project_path:acme/orders:ref_type:branch:ref:main'",
    ],
)  # fmt: skip
def test_what_gitlab_writes_is_fine(check: Check, claims: str) -> None:
    report = check(FILE.replace("CLAIMS", claims))
    assert {code for _, code in findings(report)} <= {"project_path"}, report.diagnostics


@pytest.mark.parametrize(
    "claims", [signing.CLAIMS, job_claims("https://gitlab.example.com", "x", {"environment": "a"})]
)
def test_the_claims_of_a_real_token_are_all_possible(claims: dict[str, object]) -> None:
    for claim, value in claims.items():
        for one in value if isinstance(value, list) else [value]:
            if claim in READABLE:
                assert complaint(claim, str(one)) is None, claim


@pytest.mark.parametrize(
    "claims", ["event: tag_push, ref_type: branch", "event: tag_push, pipeline_source: web"]
)
def test_a_delivery_that_cannot_be_is_warned_of(check: Check, claims: str) -> None:
    text = FILE.replace("CLAIMS", claims).replace("    claims", "    via: webhook\n    claims")
    assert ("warning", claims.split(", ")[1].split(":")[0]) in findings(check(text))


def test_a_test_with_a_token_that_cannot_be_is_warned_of(check: Check) -> None:
    text = (
        FILE.replace("CLAIMS", BRANCH)
        + """\
tests:
  - identity: {project_id: "1", pipeline_source: scheduled, ref_type: branch, ref: main}
    request: {action: deploy, function: orders-a, stage: dev}
    expect: {allowed: false}
"""
    )
    report = check(text)
    assert report.ok
    assert findings(report) == [("warning", "value")]
    assert "the test proves nothing" in report.diagnostics[0].message


@pytest.mark.parametrize("value", ["x" * 300, "***", "*a" * 20, "\u202e", "a b"])
def test_a_test_may_have_any_text(check: Check, value: str) -> None:
    text = (
        FILE.replace("CLAIMS", BRANCH)
        + f"""\
tests:
  - identity: {{project_id: "1", pipeline_source: push, ref_type: branch, ref: "{value}", sub: "{value}"}}
    request: {{action: deploy, function: orders-a, stage: dev}}
    expect: {{allowed: false}}
"""
    )
    assert check(text).ok


@pytest.mark.parametrize(
    "url",
    [
        "https://gitlab.com/acme",
        "https://www.gitlab.com",
        "https://GitLab.example.com",
        "https://gitlab.example.com:443",
        "https://gitlab.example.com/api/v4",
        "https://gitlab.example.com/oauth/discovery/keys",
        "https://gitlab.example.com/.well-known/openid-configuration",
    ],
)
def test_an_issuer_that_no_token_has_is_warned_of(check: Check, url: str) -> None:
    report = check(FILE.replace("CLAIMS", BRANCH).replace("https://gitlab.example.com", f'"{url}"'))
    assert findings(report) == [("warning", "issuer")]
