"""The CloudFormation template of each target, from the gate file: `cloudformation/target.yaml`, completed.

The build writes them to `build/targets/`. The owner of the target's account deploys them there.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import indent
from typing import Any, Final

import yaml

from sluicegate.deployment.target_names import alarms_role_name, alarms_rule_name, bucket_name
from sluicegate.gate.model import TargetReference
from sluicegate.gate.policy import Gate
from sluicegate_gatefile import target_policy
from sluicegate_gatefile.target_policy import Policy

SKELETON: Final = next(
    path
    for path in (
        Path(__file__).with_name("target.yaml"),  # of the installed package
        Path(__file__).parents[2] / "cloudformation" / "target.yaml",
    )
    if path.is_file()
)

_OWN: Final = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"


@dataclass(frozen=True)
class TargetStack:
    """What the stack of one target is made of. `digest` changes with all that its template depends on."""

    name: str
    account: str
    region: str
    role: str
    external_id: str
    policies: tuple[Policy, ...]
    own_functions: tuple[str, ...]

    @property
    def place(self) -> tuple[str, str]:
        """Return its region and account, by which the template finds its values."""
        return self.region, self.account

    @property
    def values(self) -> Mapping[str, str]:
        """Return the template's values that differ from target to target, without the digest."""
        return {
            "Name": self.name,
            "RoleName": self.role,
            "ExternalId": self.external_id,
            "Bucket": bucket_name(self.account, self.region, self.role),
            "AlarmsRole": alarms_role_name(self.role),
            "AlarmsRule": alarms_rule_name(self.role),
        }

    @cached_property
    def digest(self) -> str:
        """Return the first 16 hexadecimal digits of a SHA-256. Comments of the skeleton do not count."""
        template = re.sub(r"^ *#.*\n", "", SKELETON.read_text(encoding="utf-8"), flags=re.MULTILINE)
        facts = [template, self.place, dict(self.values), self.policies, self.own_functions]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def stacks(gate: Gate, *, own_functions: Sequence[str]) -> dict[str, TargetStack]:
    """Return the stack of each target of the gate by name. Raises PolicyError, which names the target.

    `own_functions` are the names of Sluicegate's own functions, which no target's role may touch.
    """
    entries = target_policy.entries_of(gate)
    found = {}
    for name, target in gate.targets.items():
        try:
            policies = target_policy.of(gate, target, entries)
        except target_policy.PolicyError as error:
            raise target_policy.PolicyError(f"target `{name}`: {error}") from None
        found[name] = TargetStack(
            name,
            *_complete(target),
            tuple(policy for policy in policies if policy["Statement"] != [target_policy.NOTHING_MORE]),
            tuple(own_functions),
        )
    return found


def _complete(target: TargetReference) -> tuple[str, str, str, str]:
    facts = (target.account, target.region, target.role, target.external_id)
    if not all(facts):
        raise ValueError(f"target {target.name} is incomplete")
    account, region, role, external_id = (fact or "" for fact in facts)
    return account, region, role, external_id


def template(stack: TargetStack, others: Sequence[TargetStack] = ()) -> str:
    """Return the template of a target: YAML, which CloudFormation takes as it is.

    Those of the `others` whose roles have the same permissions are in it too, so that one StackSet can make
    all of them, in their accounts and regions. The same targets give the same bytes.
    """
    alike = {stack.place: stack}
    for other in sorted(others, key=lambda other: other.name):
        if (other.policies, other.own_functions) == (stack.policies, stack.own_functions):
            alike.setdefault(other.place, other)
    first, *more = stack.policies
    own = [{"Fn::Sub": f"{_OWN}{name}*"} for name in stack.own_functions]
    blanks = {
        "<mappings>": (2, _mappings([alike[place] for place in sorted(alike)])),
        "<functions>": (12, first),
        "<own functions>": (18, own),
    }
    text = SKELETON.read_text(encoding="utf-8")
    for blank, (depth, value) in blanks.items():
        before, found, after = text.partition(f" {blank}\n")
        assert found, blank  # noqa: S101 (the skeleton is ours)
        text = f"{before}\n{indent(_yaml(value), ' ' * depth)}{after}"
    managed = "".join(f"\n{indent(_yaml(resource), '  ')}" for resource in _managed(more))
    return text.replace("<managed policies>\n", f"{managed}\n")


def write(found: Mapping[str, TargetStack], directory: Path) -> None:
    """Write NAME.yaml for each target into the directory, and remove those of targets that are gone."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.yaml"):
        if file.stem not in found:
            file.unlink()
    for name, stack in found.items():
        text = template(stack, list(found.values()))
        (directory / f"{name}.yaml").write_text(text, encoding="utf-8")


def _mappings(alike: Sequence[TargetStack]) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    for stack in alike:
        for key, value in {**stack.values, "Digest": stack.digest}.items():
            found.setdefault(key, {}).setdefault(stack.region, {})[stack.account] = value
    return found


def _managed(policies: Sequence[Policy]) -> Iterator[dict[str, Any]]:
    for number, policy in enumerate(policies, 2):
        yield {
            f"TargetPolicy{number}": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "Description": "Functions of Sluicegate's gate file, continued.",
                    "Roles": [{"Ref": "TargetRole"}],
                    "PolicyDocument": policy,
                },
            }
        }


class _Dumper(yaml.SafeDumper):
    """Quotes every text that some YAML reads as a number or a date, and repeats what is the same."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (PyYAML's signature)
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    style = None if re.match(r"[A-Za-z/]", data) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1_000_000)
