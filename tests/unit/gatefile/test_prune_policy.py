"""The policy of the role that deletes versions, made from the gate file."""

from pathlib import Path
from typing import Any

import pytest

from sluicegate.aws import permissions
from sluicegate_gatefile import prune_policy
from sluicegate_gatefile.target_policy import NOTHING_MORE, PolicyError
from support.gate_documents import entry, gate

FUNCTION = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
PRUNE: dict[str, Any] = {"keep": 20, "rollbacks": 5, "older_than": 30 * 86_400, "dry_run": False}


def statements(*entries: dict[str, Any]) -> dict[str, tuple[list[str], list[str]]]:
    return {
        one["Sid"]: (one["Action"], [each["Fn::Sub"].removeprefix(FUNCTION) for each in one["Resource"]])
        for one in prune_policy.of(gate(functions=list(entries)))["Statement"]
    }


def test_without_the_key_nothing_is_allowed() -> None:
    assert prune_policy.of(gate())["Statement"] == [NOTHING_MORE]


def test_only_versions_of_what_is_pruned_can_be_deleted() -> None:
    found = statements(
        entry("orders-*", prune=PRUNE),
        entry("payments", prune=PRUNE),
        entry("mail", prune=PRUNE | {"dry_run": True}),
        entry("users-*"),
    )
    names = ["orders-*", "payments", "payments:*", "mail", "mail:*"]
    assert found["LookAtVersions"] == (list(permissions.PRUNE_LOOKING), names)
    assert found["DeleteVersions"] == (["lambda:DeleteFunction"], ["orders-*:*", "payments:*"])


def test_a_dry_run_can_delete_nothing() -> None:
    assert set(statements(entry("orders-*", prune=PRUNE | {"dry_run": True}))) == {"LookAtVersions"}


def test_too_many_names_are_an_error() -> None:
    names = [f"a-function-with-quite-a-long-name-{number:04}" for number in range(100)]
    with pytest.raises(PolicyError, match="100 names in `functions` that have `prune`"):
        prune_policy.of(gate(functions=[entry("orders-*"), *(entry(name, prune=PRUNE) for name in names)]))


def test_the_policy_is_written_where_the_template_includes_it(tmp_path: Path) -> None:
    prune_policy.write(gate(functions=[entry(prune=PRUNE)]), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["prune-policy.json"]
