"""The target role's policy, made from the gate file: what matches no entry of `functions` cannot be deployed.

The build writes it, template.yaml includes it, so names of account and region are `Fn::Sub`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from sluicegate.aws import permissions
from sluicegate.gate.policy import Gate

MAX_CHARACTERS: Final = 8_000
"""Of 10,240 for all inline policies of a role, without white space (IAM quotas). The template has more."""

_RESOURCE: Final = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
_LONGEST: Final = {"Partition": "aws-us-gov", "Region": "ap-southeast-99", "AccountId": "0" * 12}
_PATTERN: Final = re.compile(r"[A-Za-z0-9_*-]+")


class PolicyError(ValueError):
    """No policy can be made of these functions; the message says why."""


def write(gate: Gate, path: Path) -> None:
    """Write the policy of `gate`; raises PolicyError. The same gate gives the same bytes."""
    path.write_text(json.dumps(of(gate), indent=1) + "\n", encoding="utf-8")


def of(gate: Gate) -> dict[str, Any]:
    """The policy document of a gate. It invokes and watches only where a placement does; see `document`."""
    smoked: dict[str, None] = {}
    hooks: dict[str, None] = {}
    watching = False
    for entry in gate.functions:
        for rollout in map(entry.rollout_in, gate.stages.values()):
            watching |= rollout.watch is not None
            if rollout.smoke and rollout.smoke.hook:
                hooks[rollout.smoke.hook] = None
            elif rollout.smoke:
                smoked[entry.pattern.text] = None
    patterns = dict.fromkeys(entry.pattern.text for entry in gate.functions)
    return document(tuple(patterns), smoked=tuple(smoked), hooks=tuple(hooks), watching=watching)


def document(
    patterns: Sequence[str],
    *,
    smoked: Sequence[str] = (),
    hooks: Sequence[str] = (),
    watching: bool = False,
) -> dict[str, Any]:
    """The policy document for function name patterns of the gate file.

    Of functions that match `smoked`, versions may be invoked, and the functions `hooks`; `watching` is for
    placements that read CloudWatch. Without a function it denies, as IAM takes no empty list of resources.
    Raises PolicyError for a pattern that no function's name can match, and where the policy outgrows IAM's
    limit.
    """
    resources = _names(patterns)
    statements = [
        _allow("GateFileFunctions", permissions.ACTIONS, _functions(resources))
        if resources
        else {"Sid": "NoFunctions", "Effect": "Deny", "Action": list(permissions.ACTIONS), "Resource": "*"}
    ]
    invoked = [f"{_name(pattern)}:*" for pattern in smoked] + [
        f"{hook}{end}" for hook in hooks for end in ("", ":*")
    ]
    if invoked:
        statements.append(_allow("Smoke", [permissions.INVOKE], _functions(dict.fromkeys(invoked))))
    if watching:
        statements.append(_allow("Watch", permissions.WATCHING, "*"))
    policy = {"Version": "2012-10-17", "Statement": statements}
    size = _size(policy)
    if size > MAX_CHARACTERS:
        raise PolicyError(
            f"the `functions` produce a policy of {size} characters, and a role allows {MAX_CHARACTERS}: "
            "combine several names into one pattern"
        )
    return policy


def _allow(sid: str, actions: Sequence[str], resources: object) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}


def _functions(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"Fn::Sub": _RESOURCE + name} for name in names]


def _names(patterns: Sequence[str]) -> list[str]:
    """Functions themselves, and their versions and aliases. A pattern that ends in a wildcard covers both."""
    names: dict[str, None] = {}
    for pattern in patterns:
        name = _name(pattern)
        names |= dict.fromkeys([name] if name.endswith("*") else [name, f"{name}:*"])
    return list(names)


def _name(pattern: str) -> str:
    """IAM's pattern, where `*` is any run."""
    # IAM would read `?` and `${}` in its own way, and no function has them in its name.
    if not _PATTERN.fullmatch(pattern):
        raise PolicyError(f"no function's name matches `{pattern}`")
    return pattern.replace("**", "*")


def _size(policy: dict[str, Any]) -> int:
    """Characters of the policy as IAM counts them, in the partition and region with the longest names."""
    text = json.dumps(policy, separators=(",", ":"))
    for name, value in _LONGEST.items():
        text = text.replace(f"${{AWS::{name}}}", value)
    return len(text) - text.count("Fn::Sub") * len('{"Fn::Sub":}')
