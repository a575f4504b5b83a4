"""Facts: what of a deployment, or of a hold, goes into the evidence, and how it is numbered.

A deployment's facts are its acceptance, each decision about it, and its end. Which of them a change makes,
and their numbers, follow from the record before and after it: the write of the change has them in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.plan import Target
from sluicegate.evidence.basis import Basis
from sluicegate.evidence.line import line


@dataclass(frozen=True)
class Fact:
    """A line, and the key of its item in the table: `pk` names what it is about, `sk` tells its facts apart.

    `time` is the line's (RFC 3339).
    """

    pk: str
    sk: str
    line: str
    time: str


def accepted(deployment: Deployment, basis: Basis | None) -> Fact:
    """Return the fact that a deployment was accepted: who asked for what, and how it is to be rolled out."""
    plan = deployment.plan
    fields = {
        "status": deployment.status.value,
        "artifact": deployment.sha256,
        "version": deployment.version,
        "from": deployment.promoted_from,
        "supersedes": deployment.supersedes,
        "fix_forward": True if deployment.fix_forward else None,
        "target": {"account": plan.target.account, "region": plan.target.region, "alias": plan.alias},
        "plan": {
            "steps": [[step.percent, step.bake] for step in plan.steps],
            "approval": plan.approval is not None,
            "proposed": plan.proposed,
            "requires": plan.requires,
        },
    }
    return _of(deployment, "accepted", 1, _basis(basis, deployment) | fields)


def changes(before: Deployment, after: Deployment, basis: Basis | None = None) -> list[Fact]:
    """Return the facts of a change: a decision, an end, both, or none.

    `basis` is that of the caller who decided. Without one, Sluicegate did: time ran out, or another
    deployment took its place.
    """
    number, found = count(before), []
    decision = _decision(before, after)
    if decision is not None:
        number += 1
        fields = _basis(basis, after) | {"status": after.status.value, "code": decision}
        if decision == "superseded" and after.abort is not None:
            fields["superseded_by"] = after.abort.data.get("by")
        found.append(_of(after, "decided", number, fields))
    if after.status.final and not before.status.final:
        fields = {
            "gate": after.plan.gate,
            "rule": after.rule,
            "status": after.status.value,
            "code": after.reason.code if after.reason else None,
            "outcome": after.outcome.value if after.outcome else None,
            "artifact": after.sha256,
            "version": after.version,
        }
        found.append(_of(after, "ended", number + 1, fields))
    return found


def count(deployment: Deployment) -> int:
    """Return how many facts of a deployment there are, as its record shows."""
    return (
        1
        + (deployment.abort_proposed is not None)
        + (deployment.approval is not None)
        + (deployment.abort is not None and not _is_rejected(deployment))
        + deployment.status.final
    )


def held(
    kind: str, stage: str, name: str, functions: Sequence[str], rule: str, basis: Basis | None, at: float
) -> Fact:
    """Return the fact that a stage was `held`, or a hold `released`. `name` is the hold's own.

    `rule` is the one that put the hold, whose functions these are.
    """
    asked = basis.fields if basis else {}
    fields = {**asked, "hold": name, "hold_rule": rule, "functions": list(functions[:50]), "stage": stage}
    text = line(kind, at, fields)
    return Fact(f"fact#hold#{name}", kind, text, timestamp(at))


def refused(subject: str, number: int, hour: str, fields: Mapping[str, Any], at: float) -> Fact:
    """Return the fact that a request was refused: the one of this number for its subject in the hour."""
    return Fact(f"fact#refused#{subject}", f"{hour}#{number:02d}", line("refused", at, fields), timestamp(at))


def gate_seen(digest: str, origin: Mapping[str, str], at: float) -> Fact:
    """Return the fact that a gate file came into force. `origin` says which pipeline built it, if any."""
    return Fact("fact#gate", digest, line("gate", at, {"gate": digest, **origin}), timestamp(at))


def pruned(
    target: Target, function: str, version: str, sha256: str, condemned: str, *, gate: str, at: float
) -> Fact:
    """Return the fact that an old version was deleted. `condemned` is a time, the same in a repetition."""
    fields = {
        "gate": gate,
        "function": function,
        "target": {"account": target.account, "region": target.region},
        "version": version,
        "artifact": sha256,
    }
    pk = f"fact#pruned#{target.account}#{target.region}#{function}"
    return Fact(pk, f"{version}#{condemned}", line("pruned", at, fields), timestamp(at))


def _decision(before: Deployment, after: Deployment) -> str | None:
    """Return the decision that a change is, if any. No change is two."""
    if after.approval is not None and before.approval is None:
        return after.approval.decision
    if after.abort is not None and before.abort is None:
        return after.abort.code
    if after.abort_proposed is not None and before.abort_proposed is None:
        return "abort_proposed"
    return None


def _is_rejected(deployment: Deployment) -> bool:
    """Return whether a person's rejection is why it must stop: that is one decision, not two."""
    return deployment.approval is not None and deployment.approval.decision == "rejected"


def _basis(basis: Basis | None, deployment: Deployment) -> dict[str, Any]:
    return basis.fields if basis else {"gate": deployment.plan.gate}


def _of(deployment: Deployment, kind: str, number: int, fields: Mapping[str, Any]) -> Fact:
    by = deployment.requested_by
    owner = {
        "issuer": by.issuer,
        "project_id": by.project_id,
        "user_id": by.user_id if by.via == "session" else None,
        "account": by.account,
        "principal_id": by.principal_id,
    }
    known = {
        **fields,
        "deployment": deployment.id,
        # Of a record from before there was evidence, its acceptance is not in it.
        "n": number if deployment.evidence else None,
        "revision": deployment.revision,
        "function": deployment.function,
        "stage": deployment.stage,
        "action": deployment.action,
        "owner": {name: value for name, value in owner.items() if value},
    }
    text = line(kind, seconds(deployment.updated_at), known)
    return Fact(f"fact#{deployment.id}", f"{deployment.revision:08d}#{kind}", text, deployment.updated_at)
