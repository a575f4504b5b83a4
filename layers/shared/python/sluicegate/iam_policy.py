"""The target role's policy, made from the gate file: what is in no entry of `functions` cannot be deployed.

The build writes it, template.yaml includes it, so names of account and region are `Fn::Sub`. At run time only
ACTIONS is read.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sluicegate.gate import Gate

ACTIONS: Final = (
    "lambda:CreateAlias",
    "lambda:DeleteAlias",
    "lambda:GetAlias",
    "lambda:GetFunction",
    "lambda:PublishVersion",
    "lambda:UpdateAlias",
    "lambda:UpdateFunctionCode",
)
"""All that a deployment calls in a target. A session's own policy narrows them to one function."""

MAX_CHARACTERS: Final = 8_000
"""Of 10,240 for all inline policies of a role, without white space (IAM quotas). The template has more."""

_RESOURCE: Final = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
_LONGEST: Final = {"Partition": "aws-us-gov", "Region": "ap-southeast-99", "AccountId": "0" * 12}
_PATTERN: Final = re.compile(r"[A-Za-z0-9_*-]+")


class PolicyError(ValueError):
    """No policy can be made of these functions; the message says why."""


def write(gate: "Gate", path: Path) -> None:
    """Write the policy of `gate`; raises PolicyError. The same gate gives the same bytes."""
    names = dict.fromkeys(entry.pattern.text for entry in gate.functions)
    path.write_text(json.dumps(document(tuple(names)), indent=1) + "\n", encoding="utf-8")


def document(patterns: Sequence[str]) -> dict[str, Any]:
    """The policy document for function name patterns of the gate file.

    Without a function it denies, as IAM takes no empty list of resources. Raises PolicyError for a pattern
    that no function's name can match, and where the policy outgrows IAM's limit.
    """
    resources = [{"Fn::Sub": _RESOURCE + name} for name in _names(patterns)]
    statement = {
        "Sid": "GateFileFunctions" if resources else "NoFunctions",
        "Effect": "Allow" if resources else "Deny",
        "Action": list(ACTIONS),
        "Resource": resources or "*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    size = _size(policy)
    if size > MAX_CHARACTERS:
        raise PolicyError(
            f"the `functions` make a policy of {size} characters, and a role takes {MAX_CHARACTERS} of them: "
            "write several names as one pattern"
        )
    return policy


def _names(patterns: Sequence[str]) -> list[str]:
    """IAM's patterns, where `*` is any run: functions themselves, and their versions and aliases.

    A pattern that ends in a wildcard covers both already.
    """
    names: dict[str, None] = {}
    for pattern in patterns:
        # IAM would read `?` and `${}` in its own way, and no function has them in its name.
        if not _PATTERN.fullmatch(pattern):
            raise PolicyError(f"no function's name matches `{pattern}`")
        name = pattern.replace("**", "*")
        names |= dict.fromkeys([name] if name.endswith("*") else [name, f"{name}:*"])
    return list(names)


def _size(policy: dict[str, Any]) -> int:
    """Characters of the policy as IAM counts them, in the partition and region with the longest names."""
    text = json.dumps(policy, separators=(",", ":"))
    for name, value in _LONGEST.items():
        text = text.replace(f"${{AWS::{name}}}", value)
    return len(text) - text.count("Fn::Sub") * len('{"Fn::Sub":}')
