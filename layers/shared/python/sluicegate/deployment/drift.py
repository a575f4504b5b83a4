"""Drift, as values: what somebody else changed about an alias that Sluicegate has moved.

docs/guides/drift.md. `drift` looks for it, `store` keeps it, `relay` and the API tell it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.plan import Target
from sluicegate.deployment.ulid import new_id

MAX_FINDINGS: Final = 50
"""Findings that are kept of one alias: the rest is counted as one more."""

KEPT: Final = 30 * 86_400
"""Seconds for which drift that has ended is kept."""


class DriftKind(StrEnum):
    """What a finding is about. `ACCESS` says that something could not be looked at."""

    ALIAS = "alias"
    TRIGGER = "trigger"
    SETTINGS = "settings"
    ACCESS = "access"


@dataclass(frozen=True)
class DriftFinding:
    """One difference; `kind` is a DriftKind, and `code` from the list in docs/reference/events.md.

    `data` has plain JSON values. Two findings are the same where all but the message is.
    """

    kind: str
    code: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what makes it the same finding at the next look."""
        return json.dumps([self.kind, self.code, self.data], sort_keys=True)


@dataclass(frozen=True)
class Drift:
    """What is known of one alias, from the look at which it began to that at which it ended.

    `id` is a ULID of its own, `revision` counts its changes from 1. `began` and `ended` are the findings
    that the last change added and took away. `deployment` is the one that the alias serves by the record.
    Of a place that lets nobody look, `function`, `alias`, `stage` and `deployment` are empty.
    """

    id: str
    revision: int
    account: str
    region: str
    function: str
    alias: str
    stage: str
    deployment: str
    since: str
    at: str
    findings: tuple[DriftFinding, ...]
    began: tuple[DriftFinding, ...] = ()
    ended: tuple[DriftFinding, ...] = ()
    ended_at: str | None = None
    expires_at: int | None = None
    target_name: str | None = None

    @property
    def status(self) -> str:
        """Return `began`, `changed` or `ended`."""
        if self.ended_at is not None:
            return "ended"
        return "began" if self.revision == 1 else "changed"

    def of_deployment(self, deployment: str) -> tuple[DriftFinding, ...]:
        """Return the findings that still count where the alias serves this deployment by the record.

        A later deployment has moved the alias and published the settings; triggers are as they were.
        """
        if deployment == self.deployment:
            return self.findings
        return tuple(one for one in self.findings if one.kind == DriftKind.TRIGGER)

    def changed(self, findings: tuple[DriftFinding, ...], deployment: str, now: float) -> "Drift":
        """Return its next revision, with these findings in place of what was found; without any, its end.

        `now` is in epoch seconds.
        """
        known, found = {one.key for one in self.findings}, {one.key for one in findings}
        return replace(
            self,
            revision=self.revision + 1,
            deployment=deployment,
            at=timestamp(now),
            findings=findings,
            began=tuple(one for one in findings if one.key not in known),
            ended=tuple(one for one in self.findings if one.key not in found),
            ended_at=None if findings else timestamp(now),
            expires_at=None if findings else int(now) + KEPT,
        )


def drift_of_alias(
    target: Target,
    target_name: str | None,
    function: str,
    alias: str,
    stage: str,
    deployment: str,
    findings: tuple[DriftFinding, ...],
    now: float,
) -> Drift:
    """Return drift that begins now, in epoch seconds."""
    return Drift(
        id=new_id(now),
        revision=1,
        account=target.account,
        region=target.region,
        function=function,
        alias=alias,
        stage=stage,
        target_name=target_name,
        deployment=deployment,
        since=timestamp(now),
        at=timestamp(now),
        findings=findings,
        began=findings,
    )


def drift_view(drift: Drift | None, deployment: str) -> dict[str, Any] | None:
    """Return the API's view of an alias's drift, or None where there is none."""
    findings = drift.of_deployment(deployment) if drift else ()
    if drift is None or not findings:
        return None
    return {"since": drift.since, "findings": findings_view(findings)}


def findings_view(findings: Sequence[DriftFinding]) -> list[dict[str, Any]]:
    """Return findings as documents."""
    return [asdict(one) for one in findings]
