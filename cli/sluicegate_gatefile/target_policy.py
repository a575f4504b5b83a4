"""A target role's policies, from the gate file: what matches no entry of `functions` cannot be deployed.

The build writes those of the stack's own target, and template.yaml includes them; those of other targets are
in their templates (`target_template`). Names of account and region are `Fn::Sub`. IAM limits a policy's size,
so a long list of functions takes several: one in the role, and managed ones beside.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Final

from sluicegate.aws import permissions
from sluicegate.gate.model import OWN_TARGET, FunctionEntry, TargetReference
from sluicegate.gate.policy import Gate
from sluicegate_gatefile.checks.grants import Entries

MAX_CHARACTERS: Final = 7_500
"""Of 10,240 for all inline policies of a role, without white space (IAM quotas). The template has more."""

MAX_OF_TARGET: Final = 7_000
"""The same for another target than the stack's own, whose template has more beside."""

MAX_MANAGED: Final = 6_144
"""Characters of a managed policy, without white space (IAM quotas)."""

MANAGED: Final = 5
"""Managed policies in the template; a role takes 10 (IAM quotas), and some are left to its operator."""

_RESOURCE: Final = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
_LONGEST: Final = {"Partition": "aws-us-gov", "Region": "ap-southeast-99", "AccountId": "0" * 12}
_PATTERN: Final = re.compile(r"[A-Za-z0-9_*-]+")

NOTHING_MORE: Final = {
    "Sid": "NothingMore",
    "Effect": "Deny",
    "Action": ["lambda:CreateFunction"],
    "Resource": "*",
}
"""For a policy that has nothing to allow: IAM takes none without a statement."""

Policy = dict[str, Any]


class PolicyError(ValueError):
    """No policy can be made of these functions; the message says why."""


def write(gate: Gate, path: Path) -> None:
    """Write the policies of `gate`: the first to `path`, the others beside it; raises PolicyError.

    The same gate gives the same bytes. The others of `policy.json` are `policy-2.json` to `policy-6.json`.
    """
    for number, policy in enumerate(of(gate), 1):
        file = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        file.write_text(json.dumps(policy, indent=1) + "\n", encoding="utf-8")


def of(gate: Gate, target: TargetReference = OWN_TARGET, entries: Entries | None = None) -> list[Policy]:
    """The policy documents of one target. They invoke and watch only where a placement does; see `documents`.

    Another target than the stack's own reaches what some rule grants in one of its stages, and no more.
    `entries` are those of the gate; they remember what they have compared, which pays with many targets.
    """
    smoked: dict[str, None] = {}
    hooks: dict[str, None] = {}
    judges: dict[str, None] = {}
    watching = by_event_source = False
    stages = [stage for stage in gate.stages.values() if stage.target == target]
    reached = gate.functions if stages else ()
    if target != OWN_TARGET:
        reached = _granted(gate, {stage.name for stage in stages}, entries or entries_of(gate))
    for entry in reached:
        for rollout in map(entry.rollout_in, stages):
            if rollout.watch is not None:
                watching, judge = True, rollout.watch.judge
                by_event_source |= rollout.watch.by_event_source
                judges |= {judge.function: None} if judge else {}
            if rollout.smoke and rollout.smoke.hook:
                hooks[rollout.smoke.hook] = None
            elif rollout.smoke:
                smoked[entry.pattern.text] = None
    patterns = dict.fromkeys(entry.pattern.text for entry in reached)
    first = MAX_CHARACTERS if target == OWN_TARGET else MAX_OF_TARGET
    return documents(
        tuple(patterns),
        smoked=tuple(smoked),
        hooks=tuple(hooks),
        judges=tuple(judges),
        watching=watching,
        by_event_source=by_event_source,
        first=first,
    )


def entries_of(gate: Gate) -> Entries:
    """The entries of `functions`, to compare the rules' patterns with."""
    return Entries([entry.pattern.text for entry in gate.functions])


def _granted(gate: Gate, stages: Set[str], entries: Entries) -> tuple[FunctionEntry, ...]:
    """The entries of `functions` that a rule for one of these stages can be about."""
    reached = 0
    for rule in gate.rules:
        if not stages.isdisjoint(rule.stages):
            for pattern in rule.functions:
                reached |= entries.overlapping(pattern.text)
    return tuple(entry for i, entry in enumerate(gate.functions) if reached >> i & 1)


def documents(
    patterns: Sequence[str],
    *,
    smoked: Sequence[str] = (),
    hooks: Sequence[str] = (),
    judges: Sequence[str] = (),
    watching: bool = False,
    by_event_source: bool = False,
    first: int = MAX_CHARACTERS,
) -> list[Policy]:
    """The policy documents for function name patterns of the gate file: one, and `MANAGED` more.

    The first has at most `first` characters. Of functions that match `smoked`, versions may be invoked, and
    the functions `hooks` and `judges`; `watching` is for placements that read CloudWatch, `by_event_source`
    for those that watch event source mappings. Without a function it denies, as IAM takes no empty list of
    resources. Raises PolicyError for a pattern that no function's name can match, and where even all policies
    are too small.
    """
    limits = [first, *[MAX_MANAGED] * MANAGED]
    policies: list[list[Policy]] = [[]]
    watches = [*(permissions.WATCHING if watching else ())]
    watches += [permissions.EVENT_SOURCES] if by_event_source else []
    for statement in _statements(patterns, smoked, hooks, judges, watches):
        rest: list[Any] = statement["Resource"] if isinstance(statement["Resource"], list) else []
        while True:
            if len(policies) > len(limits):
                raise PolicyError(_too_large(patterns, smoked))
            *before, last = policies
            taken = _fitting(last, statement, rest, limits[len(before)])
            if taken == len(rest) and (rest or size([*last, statement]) <= limits[len(before)]):
                last.append({**statement, "Resource": rest or statement["Resource"]})
                break
            if taken:
                last.append({**statement, "Resource": rest[:taken]})
                rest = rest[taken:]
            policies.append([])
    policies += [[NOTHING_MORE]] * (len(limits) - len(policies))
    return [{"Version": "2012-10-17", "Statement": statements} for statements in policies]


def _statements(
    patterns: Sequence[str],
    smoked: Sequence[str],
    hooks: Sequence[str],
    judges: Sequence[str],
    watches: Sequence[str],
) -> Iterator[Policy]:
    """Every statement, of whatever size."""
    if resources := names_of(patterns):
        allowed = sorted({*permissions.ACTIONS, *permissions.LOOKING})
        yield _allow("GateFileFunctions", allowed, function_arns(resources))
        yield _allow("Look", [permissions.EVENT_SOURCES], "*")
    else:
        yield {"Sid": "NoFunctions", "Effect": "Deny", "Action": list(permissions.ACTIONS), "Resource": "*"}
    invoked = [f"{_name(pattern)}:*" for pattern in smoked] + [
        f"{hook}{end}" for hook in hooks for end in ("", ":*")
    ]
    if invoked:
        yield _allow("Smoke", [permissions.INVOKE], function_arns(_uncovered(invoked)))
    if judges:
        yield _allow("Judge", [permissions.INVOKE], function_arns(judges))
    if watches:
        yield _allow("Watch", watches, "*")


def _fitting(statements: Sequence[Policy], statement: Policy, resources: Sequence[Any], limit: int) -> int:
    """How many of the resources, from the first, a policy with these statements has room for."""
    low, high = 0, len(resources)
    while low < high:
        middle = (low + high + 1) // 2
        if size([*statements, {**statement, "Resource": resources[:middle]}]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _too_large(patterns: Sequence[str], smoked: Sequence[str]) -> str:
    return (
        f"the {len(patterns)} names in `functions`, {len(smoked)} of them with smoke tests, are more than "
        f"the {1 + MANAGED} policies of a role take: combine several names into one pattern (`orders-*`), or "
        "move some functions to a second stack with a gate file of its own"
    )


def _allow(sid: str, actions: Sequence[str], resources: object) -> Policy:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}


def function_arns(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"Fn::Sub": _RESOURCE + name} for name in names]


def versions_of(patterns: Sequence[str]) -> list[str]:
    """The functions' versions and aliases, without the functions themselves."""
    return _uncovered([f"{_name(pattern)}:*" for pattern in patterns])


def names_of(patterns: Sequence[str]) -> list[str]:
    """Functions themselves, and their versions and aliases. A pattern that ends in a wildcard covers both."""
    names: dict[str, None] = {}
    for pattern in patterns:
        name = _name(pattern)
        names |= dict.fromkeys([name] if name.endswith("*") else [name, f"{name}:*"])
    return _uncovered(list(names))


def _uncovered(names: Sequence[str]) -> list[str]:
    """The names without those that begin as a shorter one with a wildcard at its end does.

    IAM's `*` is any run, colons included. Takes linear time: patterns with other wildcards stay beside what
    they cover.
    """
    unique = list(dict.fromkeys(names))
    beginnings = {name[:-1] for name in unique if name.endswith("*")} - {
        name[:-1] for name in unique if "*" in name[:-1]
    }
    return [
        name
        for name in unique
        if not any(name[:end] in beginnings for end in range(len(name) + (-1 if name.endswith("*") else 1)))
    ]


def _name(pattern: str) -> str:
    """IAM's pattern, where `*` is any run."""
    # IAM would read `?` and `${}` in its own way, and no function has them in its name.
    if not _PATTERN.fullmatch(pattern):
        raise PolicyError(f"no function's name matches `{pattern}`")
    return pattern.replace("**", "*")


def size(statements: Sequence[Policy]) -> int:
    """Characters of a policy as IAM counts them, in the partition and region with the longest names."""
    text = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    for name, value in _LONGEST.items():
        text = text.replace(f"${{AWS::{name}}}", value)
    return len(text) - text.count("Fn::Sub") * len('{"Fn::Sub":}')
