"""The target role's policy, from the gate file's `functions`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sluicegate.aws import permissions
from sluicegate.gate import policy as gate
from sluicegate_gatefile import compile as gatefile
from sluicegate_gatefile import target_policy
from sluicegate_gatefile.target_policy import MAX_CHARACTERS, PolicyError, document

FUNCTION = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"


def statement(*patterns: str) -> dict[str, Any]:
    [only] = document(patterns)["Statement"]
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


def test_only_what_a_deployment_calls_is_allowed() -> None:
    allowed = statement("a")
    assert allowed["Effect"] == "Allow"
    assert allowed["Action"] == list(permissions.ACTIONS)
    assert not any("*" in action for action in allowed["Action"])


def resources(policy: dict[str, Any], sid: str) -> list[str]:
    """Names that a statement is about; none where there is no such statement."""
    found = [statement for statement in policy["Statement"] if statement["Sid"] == sid]
    return [each["Fn::Sub"].removeprefix(FUNCTION) for statement in found for each in statement["Resource"]]


def test_smoke_tests_invoke_versions_and_hooks() -> None:
    policy = document(["a", "b-*", "*-c"], smoked=["a", "b-*", "b-**", "*-c"], hooks=["check", "a"])
    [_, smoke] = policy["Statement"]
    assert (smoke["Sid"], smoke["Effect"], smoke["Action"]) == ("Smoke", "Allow", [permissions.INVOKE])
    assert resources(policy, "Smoke") == ["a:*", "b-*:*", "*-c:*", "check", "check:*", "a"]


def test_a_watch_reads_cloudwatch() -> None:
    [_, watch] = document(["a"], watching=True)["Statement"]
    assert watch == {
        "Sid": "Watch",
        "Effect": "Allow",
        "Action": ["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"],
        "Resource": "*",
    }


def test_what_is_invoked_counts_to_the_size() -> None:
    names = [f"function-{number}" for number in range(40)]
    document(names)
    with pytest.raises(PolicyError, match="combine several names into one pattern"):
        document(names, smoked=names)


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
    policy = target_policy.of(report.gate)
    assert resources(policy, "Smoke") == invoked
    assert ("Watch" in [statement["Sid"] for statement in policy["Statement"]]) is watching


def test_without_functions_nothing_is_allowed() -> None:
    assert statement()["Effect"] == "Deny"
    assert statement()["Resource"] == "*"


@pytest.mark.parametrize("pattern", ["a?", "a b", "${AWS::StackName}", "a:b", "a/b", "", "ä", "a\n"])
def test_what_no_function_is_called_makes_no_policy(pattern: str) -> None:
    with pytest.raises(PolicyError, match="no function's name"):
        document([pattern])


def test_a_policy_that_iam_would_refuse_is_refused_at_build() -> None:
    with pytest.raises(PolicyError, match="combine several names into one pattern"):
        document([f"function-{number}" for number in range(100)])


def test_the_largest_policy_fits_in_the_longest_region() -> None:
    patterns: list[str] = []
    while True:
        try:
            text = json.dumps(document([*patterns, f"f{len(patterns)}"]), separators=(",", ":"))
        except PolicyError:
            break
        patterns.append(f"f{len(patterns)}")
    for name, value in (("Partition", "aws-us-gov"), ("Region", "ap-southeast-99"), ("AccountId", "1" * 12)):
        text = text.replace(f"${{AWS::{name}}}", value)
    text = re.sub(r'\{"Fn::Sub":("[^"]+")\}', r"\1", text)
    assert MAX_CHARACTERS - 300 < len(text) <= MAX_CHARACTERS


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
    assert json.loads(one.read_text()) == document(["orders-*", "payments"])
