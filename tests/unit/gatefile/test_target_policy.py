"""The target role's policy, from the gate file's `functions`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sluicegate.aws import permissions
from sluicegate.gate import policy as gate
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile import target_policy
from sluicegate_gatefile.target_policy import MANAGED, MAX_CHARACTERS, MAX_MANAGED, PolicyError, documents

NOTHING_MORE = {
    "Sid": "NothingMore",
    "Effect": "Deny",
    "Action": ["lambda:CreateFunction"],
    "Resource": "*",
}

LOOK = {
    "Sid": "Look",
    "Effect": "Allow",
    "Action": ["lambda:ListEventSourceMappings"],
    "Resource": "*",
}
"""For the look for drift. The action knows neither resources nor conditions."""

FUNCTION = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"


def document(patterns: Sequence[str], **more: Any) -> dict[str, Any]:
    """The role's own policy; there is nothing in the others."""
    own, *others = documents(patterns, **more)
    assert len(others) == MANAGED
    assert all(other["Statement"] == [NOTHING_MORE] for other in others)
    return own


def statement(*patterns: str) -> dict[str, Any]:
    only, *look = document(patterns)["Statement"]
    assert look == ([LOOK] if patterns else [])
    return dict(only)


def names(*patterns: str) -> list[str]:
    return [resource["Fn::Sub"].removeprefix(FUNCTION) for resource in statement(*patterns)["Resource"]]


@pytest.mark.parametrize(
    ("patterns", "resources"),
    [
        (["orders-api"], ["orders-api", "orders-api:*"]),
        (["orders-*"], ["orders-*"]),
        (["orders-**"], ["orders-*"]),
        (["*-api"], ["*-api", "*-api:*"]),
        (["a**b"], ["a*b", "a*b:*"]),
        (["orders-*", "orders-**"], ["orders-*"]),
        (["b", "a"], ["b", "b:*", "a", "a:*"]),
        (["orders-api", "orders-*", "orders-api-*"], ["orders-*"]),
        (["orders", "orders*"], ["orders*"]),
        (["*", "a", "b-*"], ["*"]),
        (["a*b*", "axb"], ["a*b*", "axb", "axb:*"]),
    ],
)
def test_a_pattern_is_the_function_with_its_versions_and_aliases(
    patterns: list[str], resources: list[str]
) -> None:
    assert names(*patterns) == resources


def test_a_name_covers_itself_and_its_qualifiers_and_no_longer_name() -> None:
    patterns = [re.escape(name).replace(r"\*", ".*") for name in names("orders-api")]

    def covered(resource: str) -> bool:
        return any(re.fullmatch(pattern, resource) for pattern in patterns)

    assert covered("orders-api")
    assert covered("orders-api:prod")
    assert not covered("orders-api-2")
    assert not covered("my-orders-api")


def test_every_resource_is_a_function_of_this_account_and_region() -> None:
    resources = statement("a", "b-*", "*c")["Resource"]
    assert all(resource["Fn::Sub"].startswith(FUNCTION) for resource in resources)


def test_only_what_a_deployment_and_the_look_for_drift_call_is_allowed() -> None:
    allowed = statement("a")
    assert allowed["Effect"] == "Allow"
    assert set(allowed["Action"]) == {*permissions.ACTIONS, *permissions.LOOKING}
    assert not any("*" in action for action in allowed["Action"])


def resources(policy: dict[str, Any], sid: str) -> list[str]:
    """Names that a statement is about; none where there is no such statement."""
    found = [statement for statement in policy["Statement"] if statement["Sid"] == sid]
    return [each["Fn::Sub"].removeprefix(FUNCTION) for statement in found for each in statement["Resource"]]


def test_smoke_tests_invoke_versions_and_hooks() -> None:
    policy = document(["a", "b-*", "*-c"], smoked=["a", "b-*", "b-**", "*-c"], hooks=["check", "a"])
    [_, _, smoke] = policy["Statement"]
    assert (smoke["Sid"], smoke["Effect"], smoke["Action"]) == ("Smoke", "Allow", [permissions.INVOKE])
    assert resources(policy, "Smoke") == ["a:*", "b-*:*", "*-c:*", "check", "check:*", "a"]


def test_a_watch_reads_cloudwatch() -> None:
    [_, _, watch] = document(["a"], watching=True)["Statement"]
    assert watch == {
        "Sid": "Watch",
        "Effect": "Allow",
        "Action": ["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"],
        "Resource": "*",
    }


def test_a_watch_of_event_sources_lists_their_mappings() -> None:
    [_, _, watch] = document(["a"], watching=True, by_event_source=True)["Statement"]
    assert watch["Action"] == [
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "lambda:ListEventSourceMappings",
    ]
    assert watch["Resource"] == "*"


def test_a_function_that_judges_is_invoked_and_none_of_its_versions() -> None:
    policy = document(["a"], judges=["orders-judge"])
    [_, _, judge] = policy["Statement"]
    assert (judge["Sid"], judge["Effect"], judge["Action"]) == ("Judge", "Allow", [permissions.INVOKE])
    assert resources(policy, "Judge") == ["orders-judge"]


LONGEST = "x" * 60
"""A function's name has 64 characters at most."""


def allowed_on(policies: list[dict[str, Any]], sid: str) -> list[str]:
    return [name for policy in policies for name in resources(policy, sid)]


@pytest.mark.parametrize("count", [1, 31, 45, 90])
def test_a_company_with_many_functions_takes_several_policies(count: int) -> None:
    """Exact, long names, each with a smoke test: every one is allowed once, and no policy is too large."""
    names = [f"{LONGEST}{number:04}" for number in range(count)]
    policies = documents(names, smoked=names, hooks=["check"], watching=True)
    expected = [each for name in names for each in (name, f"{name}:*")]
    assert allowed_on(policies, "GateFileFunctions") == expected
    assert allowed_on(policies, "Smoke") == [*(f"{name}:*" for name in names), "check", "check:*"]
    watching = [each for policy in policies for each in policy["Statement"] if each["Sid"] == "Watch"]
    assert len(watching) == 1
    assert len(policies) == 1 + MANAGED
    for policy, limit in zip(policies, [MAX_CHARACTERS, *[MAX_MANAGED] * MANAGED], strict=True):
        assert size(policy) <= limit
        sids = [each["Sid"] for each in policy["Statement"]]
        assert len(sids) == len(set(sids)) > 0


GATE_FILE = """\
version: 1
issuers: {corp: {url: 'https://gitlab.example.com', audience: 'https://deploy.example.com'}}
stages: {dev: {}, prod: {PROD}}
functions: {FUNCTIONS}
rules: []
"""


@pytest.mark.parametrize(
    ("prod", "functions", "invoked", "watching"),
    [
        ("", "orders-*: {}, payments: {}", [], False),
        ("smoke: {payload: 1}", "orders-*: {}, payments: {}", ["orders-*:*", "payments:*"], False),
        (
            "smoke: {payload: 1}",
            "orders-*: {}, payments: {stages: {prod: {smoke: none}}}",
            ["orders-*:*"],
            False,
        ),
        (
            "smoke: {payload: 1}",
            "payments: {stages: {prod: {smoke: {hook: check}}}}",
            ["check", "check:*"],
            False,
        ),
        ("smoke: {hook: check}", "payments: {stages: {prod: {smoke: {expect: 1}}}}", ["payments:*"], False),
        ("", "orders-*: {}, payments: {stages: {dev: {smoke: {expect: 1}}}}", ["payments:*"], False),
        (
            "smoke: {payload: 1}",
            "payments: {stages: {dev: {smoke: {hook: payments}}}}",
            ["payments:*", "payments"],
            False,
        ),
        ("watch: {alarms: [x]}", "orders-*: {}", [], True),
        ("watch: {alarms: [x]}", "orders-*: {stages: {prod: {watch: none}}}", [], False),
        ("", "orders-*: {}, payments: {stages: {dev: {watch: {alarms: [x]}}}}", [], True),
        ("watch: {alarms: [x]}, smoke: {hook: check}", "", [], False),
    ],
)
def test_only_what_some_placement_needs_is_allowed(
    tmp_path: Path, prod: str, functions: str, invoked: list[str], watching: bool
) -> None:
    file = tmp_path / "sluicegate.yaml"
    file.write_text(GATE_FILE.replace("PROD", prod).replace("FUNCTIONS", functions))
    report = gatefile.check(file)
    assert report.gate is not None, report.diagnostics
    policy, *_ = target_policy.of(report.gate)
    assert resources(policy, "Smoke") == invoked
    assert ("Watch" in [statement["Sid"] for statement in policy["Statement"]]) is watching


def test_without_functions_nothing_is_allowed() -> None:
    assert statement()["Effect"] == "Deny"
    assert statement()["Resource"] == "*"


@pytest.mark.parametrize("pattern", ["a?", "a b", "${AWS::StackName}", "a:b", "a/b", "", "ä", "a\n"])
def test_what_no_function_is_called_makes_no_policy(pattern: str) -> None:
    with pytest.raises(PolicyError, match="no function's name"):
        document([pattern])


def test_what_iam_would_refuse_is_refused_at_build() -> None:
    names = [f"{LONGEST}{number:04}" for number in range(200)]
    with pytest.raises(PolicyError) as refused:
        documents(names, smoked=names)
    assert "the 200 names in `functions`, 200 of them with smoke tests" in str(refused.value)
    assert "combine several names into one pattern (`orders-*`), or move some functions" in str(refused.value)


def test_a_gate_file_of_names_only_is_measured_quickly() -> None:
    names = [f"{number:x}" for number in range(10_000)]
    with pytest.raises(PolicyError):
        documents(names)
    assert len(documents([*names, "*"])[0]["Statement"][0]["Resource"]) == 1


def size(policy: dict[str, Any]) -> int:
    """Characters as IAM counts them, without white space, where names are longest."""
    text = json.dumps(policy, separators=(",", ":"))
    for name, value in (("Partition", "aws-us-gov"), ("Region", "ap-southeast-99"), ("AccountId", "1" * 12)):
        text = text.replace(f"${{AWS::{name}}}", value)
    return len(re.sub(r'\{"Fn::Sub":("[^"]+")\}', r"\1", text))


def test_each_policy_is_filled_before_the_next_begins() -> None:
    full, *others = documents([f"f{number}" for number in range(150)])
    assert MAX_CHARACTERS - 150 < size(full) <= MAX_CHARACTERS
    assert MAX_MANAGED - 150 < size(others[0]) <= MAX_MANAGED


def test_the_same_gate_gives_the_same_bytes(tmp_path: Path) -> None:
    file = tmp_path / "sluicegate.yaml"
    file.write_text(
        "version: 1\n"
        "issuers: {corp: {url: 'https://gitlab.example.com', audience: 'https://deploy.example.com'}}\n"
        "stages: {dev: {}}\n"
        "functions: {orders-*: {}, payments: {}}\n"
        "rules: [{name: r, claims: {project_id: '1'}, allow: "
        "{actions: [deploy], functions: [payments], stages: [dev]}}]\n"
    )
    report = gatefile.check(file)
    assert isinstance(report.gate, gate.Gate), report.diagnostics
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    target_policy.write(report.gate, one)
    target_policy.write(report.gate, other)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(file.name for file in tmp_path.glob("one*.json")) == [
        *(f"one-{number}.json" for number in range(2, 2 + MANAGED)),
        "one.json",
    ]
    assert json.loads(one.read_text()) == document(["orders-*", "payments"])
