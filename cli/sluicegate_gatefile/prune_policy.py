"""What the pruner's role may do because of the gate file; template.yaml includes the policy.

Only functions of an entry with `prune` can be looked at, and only those without `dry_run` lose versions.
"""

import json
from pathlib import Path
from typing import Any, Final

from sluicegate.aws import permissions
from sluicegate.gate.policy import Gate
from sluicegate_gatefile.target_policy import (
    NOTHING_MORE,
    Policy,
    PolicyError,
    function_arns,
    names_of,
    size,
    versions_of,
)

FILE: Final = "prune-policy.json"
"""The policy's file, beside the target role's first policy."""

MAX_CHARACTERS: Final = 8_500
"""Of 10,240 for all inline policies of a role, without white space (IAM quotas). The template has more."""


def of(gate: Gate) -> Policy:
    """Return the policy. Raises PolicyError where the names are more than it takes."""
    looked = list(dict.fromkeys(entry.pattern.text for entry in gate.functions if entry.prune))
    pruned = [entry.pattern.text for entry in gate.functions if entry.prune and not entry.prune.dry_run]
    statements: list[dict[str, Any]] = []
    if looked:
        statements.append(
            {
                "Sid": "LookAtVersions",
                "Effect": "Allow",
                "Action": list(permissions.PRUNE_LOOKING),
                "Resource": function_arns(names_of(looked)),
            }
        )
    if pruned:
        statements.append(
            {
                "Sid": "DeleteVersions",
                "Effect": "Allow",
                "Action": [permissions.PRUNE],
                "Resource": function_arns(versions_of(pruned)),
            }
        )
    statements = statements or [NOTHING_MORE]
    if size(statements) > MAX_CHARACTERS:
        raise PolicyError(
            f"the {len(looked)} names in `functions` that have `prune` are more than a role's policy takes"
            ": combine several names into one pattern (`orders-*`)"
        )
    return {"Version": "2012-10-17", "Statement": statements}


def write(gate: Gate, directory: Path) -> None:
    """Write the policy into the directory. Raises PolicyError. The same gate gives the same bytes."""
    (directory / FILE).write_text(json.dumps(of(gate), indent=1) + "\n", encoding="utf-8")
