"""A deployment: what was accepted, by which plan, and what has happened since.

Long because a deployment has many parts. Values only: `rollout` decides on them, `store` keeps them, `views`
shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from sluicegate.deployment.deaths import Deaths
from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.fix_forward import FixForward
from sluicegate.deployment.observations import Observation, WouldHave
from sluicegate.deployment.plan import Plan
from sluicegate.owner import Owner
from sluicegate.text import clean


class Status(StrEnum):
    """Where a deployment is. The last five are final, once and for all (guarantees.md#3-exactly-one-end)."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    AWAITING_APPROVAL = "awaiting_approval"
    PUBLISHING = "publishing"
    VERIFYING = "verifying"
    SHIFTING = "shifting"
    BAKING = "baking"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        return self in _FINAL


_FINAL: Final = frozenset(
    {Status.SUCCEEDED, Status.FAILED, Status.ROLLED_BACK, Status.REJECTED, Status.ABORTED}
)


class AliasOutcome(StrEnum):
    """What became of the alias, once a deployment is final. `not_restored` and `unknown` raise an alarm."""

    UNTOUCHED = "untouched"
    MOVED = "moved"
    RESTORED = "restored"
    LEFT_TO_OTHER = "left_to_other"
    REMOVED = "removed"
    NOT_RESTORED = "not_restored"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reason:
    """Why a deployment ended as it did; `code` is from the list in docs/reference/api.md."""

    code: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AliasState:
    """What an alias serves: one version, and weights (0 to 1) of at most one other."""

    version: str
    weights: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Requester:
    """The job that asked, as its verified token says; or a webhook's delivery, then `webhook` is its name.

    Or an AWS principal, from `account` on: with a job beside it if the request had both credentials, else
    with an empty issuer and project. `gitlab` is the GitLab's own address, where that is not the issuer.
    `environment` is the one that the job's keyword `environment` names, and `environment_action` what the job
    does with it. `via` and `actor` are None in records of earlier releases.
    """

    issuer: str
    project_id: str
    project_path: str | None = None
    user_id: str | None = None
    user_login: str | None = None
    job_id: str | None = None
    pipeline_id: str | None = None
    ref: str | None = None
    ref_type: str | None = None
    sha: str | None = None
    webhook: str | None = None
    gitlab: str | None = None
    via: str | None = None
    actor: str | None = None
    account: str | None = None
    principal_id: str | None = None
    principal_type: str | None = None
    role: str | None = None
    session_name: str | None = None
    org: str | None = None
    arn: str | None = None
    access_key: str | None = None
    environment: str | None = None
    environment_action: str | None = None

    @property
    def owner(self) -> Owner:
        """Whose its records are: the project's where there is one, else the principal's or the user's."""
        if self.via == "iam":
            return Owner("principal", self.account or "", self.principal_id or "")
        if self.via == "session":
            return Owner("user", self.issuer, self.user_id or "")
        return Owner("project", self.issuer, self.project_id)

    @property
    def pipeline_is_proven(self) -> bool:
        """Whether GitLab signed the pipeline's id, as in a job's token. A delivery's body only says so."""
        return self.job_id is not None


@dataclass(frozen=True)
class Origin:
    """Who built a version: the request that had it published first, and when (RFC 3339)."""

    by: Requester
    at: str
    release: str | None = None


@dataclass(frozen=True)
class EarlierVersion:
    """A version that an alias served, with the digest that its code must have."""

    version: str
    sha256: str
    built: Origin | None = None


@dataclass(frozen=True)
class FoundVersion:
    """A version that somebody else had put there, with Lambda's own digest and its share (0 to 1)."""

    version: str
    sha256: str
    share: int | float = 1


@dataclass(frozen=True)
class UnusableVersion:
    """A version that cannot be served, and why; `code` is a reason's code."""

    version: str
    sha256: str
    code: str
    message: str

    @property
    def gone(self) -> bool:
        """Whether that number with that code no longer exists, and never will again."""
        return self.code in ("version_not_found", "code_mismatch")


@dataclass(frozen=True)
class Approval:
    """A second person's decision, the rule by which it counts, and when it was made (RFC 3339)."""

    decision: str
    by: Requester
    rule: str
    at: str
    reason: str | None = None


@dataclass(frozen=True)
class AbortProposal:
    """That somebody who may only propose asked for the deployment to be aborted, at that time (RFC 3339)."""

    by: Requester
    at: str
    reason: str | None = None


@dataclass(frozen=True)
class Entry:
    """One line of the timeline. `seq` is the revision that the change made.

    `retry` says that it is only about a failed attempt, or one that worked again: there may be any number.
    `progress` says that it is about a look at the version, and that the next look's takes its place.
    """

    seq: int
    at: str
    status: Status
    message: str
    retry: bool = False
    progress: bool = False


MAX_MESSAGE: Final = 512
"""Characters of an entry's message: what happened, and the command that helps."""

MAX_RETRY_ENTRIES: Final = 40
"""Entries about retries that a timeline keeps: DynamoDB takes items of 400 KB at most."""

_FIRST_RETRY_ENTRIES: Final = 10
"""How many of them are the first ones. The others are the latest."""


NOT_FAILING: Final[Mapping[str, Any]] = {"failures": 0, "failing_since": None, "denied_since": None}
"""The fields of a deployment whose current action has not failed."""


@dataclass(frozen=True)
class Deployment:
    """One accepted request. Each change makes the next revision and one entry of the timeline.

    The last entry is always that of the current revision. Of entries about retries, some in the middle may be
    missing (`MAX_RETRY_ENTRIES`), and of those about looks in a row, all but the last. `observations` are the
    looks that found something new, `MAX_KEPT` at most.

    `original` is what the alias served before anything was moved, None where there was no alias; `current` is
    what it was last observed or made to serve, at Lambda's revision `alias_revision`. All three are set from
    `verifying` on; if `unseen`, they are as the deployment before had left the alias. `step` is the index
    into the plan's steps, `extended` how often its bake was extended, `traffic_since` (RFC 3339) when traffic
    first reached the version. `abort` says why it must stop,
    `supersedes` is the id of the deployment that it replaces. `promoted_from` is a stage. `failures` counts
    the failed attempts at the current action: since `failing_since` (RFC 3339), and denied since
    `denied_since`. `attempt` counts the executions started for this deployment, `deaths` those that died
    since it last got any further. `since` (RFC 3339) is when the current status began.

    `built` says who built `version`, None if that is unknown. `fallbacks` are what a rollback goes back to
    if `version` cannot be served, `unusable` those that could not. `found` is what `original` serves, where
    that is not `recorded`: the version that the last deployment put there. `order` is its position in what
    the alias has served (epoch milliseconds), after what is `recorded` whatever the clocks say; 0 before
    `verifying`, and in earlier releases. `abort_proposed` is the first
    proposal to abort it, which changes nothing: a person who may abort decides. `fix_forward` says that
    alarms may be firing before the first move, and why; `would_have` what only observes would have stopped.
    `evidence`: its acceptance is in the evidence, and all that follows has a number there. `in_line`: it had
    to wait for the target's control plane.
    """

    id: str
    revision: int
    status: Status
    action: str
    function: str
    stage: str
    sha256: str
    plan: Plan
    rule: str
    requested_by: Requester
    created_at: str
    updated_at: str
    since: str
    timeline: tuple[Entry, ...]
    release: str | None = None
    description: str | None = None
    expected_version: str | None = None
    promoted_from: str | None = None
    version: str | None = None
    weight: int = 0
    step: int = 0
    extended: int = 0
    original: AliasState | None = None
    alias_revision: str | None = None
    current: AliasState | None = None
    traffic_since: str | None = None
    approval: Approval | None = None
    abort: Reason | None = None
    supersedes: str | None = None
    outcome: AliasOutcome | None = None
    reason: Reason | None = None
    finished_at: str | None = None
    failures: int = 0
    failing_since: str | None = None
    denied_since: str | None = None
    attempt: int = 1
    deaths: Deaths | None = None
    built: Origin | None = None
    fallbacks: tuple[EarlierVersion, ...] = ()
    unusable: tuple[UnusableVersion, ...] = ()
    found: tuple[FoundVersion, ...] = ()
    recorded: str | None = None
    order: int = 0
    announced_pipeline: int = 0
    abort_proposed: AbortProposal | None = None
    fix_forward: FixForward | None = None
    observations: tuple[Observation, ...] = ()
    would_have: tuple[WouldHave, ...] = ()
    evidence: bool = False
    unseen: bool = False
    in_line: bool = False

    @property
    def is_approved(self) -> bool:
        """Whether a second person has approved it."""
        return self.approval is not None and self.approval.decision == "approved"

    @property
    def has_unseen_decision(self) -> bool:
        """Whether it has an approval or an abort that its rollout has not acted on.

        The process that wrote it may have died before it woke the rollout. Anything else that a rollout waits
        for is no reason to wake it: each wake-up costs a turn and may cut a wait short.
        """
        approved = self.status is Status.AWAITING_APPROVAL and self.is_approved
        stopped = self.status.final or self.status is Status.ROLLING_BACK
        return approved or (self.abort is not None and not stopped)

    @property
    def goes_back(self) -> bool:
        """Whether its next turn takes something back: a rollback, a way back, or the end after an abort.

        Turns of these have concurrency of their own. guarantees.md#13-a-burst-waits-its-turn
        """
        back = self.action == "rollback" or self.status is Status.ROLLING_BACK
        return back or self.abort is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a lock or a person, and its alias is as it was found."""
        waits = self.status is Status.AWAITING_APPROVAL and self.traffic_since is None
        return waits or self.status in (Status.ACCEPTED, Status.QUEUED)

    @property
    def in_steps(self) -> bool:
        """Whether it is at a step of its plan: shifting, baking, or waiting there for an approval."""
        waits = self.status is Status.AWAITING_APPROVAL and self.traffic_since is not None
        return waits or self.status in (Status.SHIFTING, Status.BAKING)

    @property
    def alarms(self) -> tuple[str, ...]:
        """The alarms of its watch, or patterns of their names, from when it looks at them or soon will."""
        looks = self.status is Status.VERIFYING or self.in_steps
        return self.plan.watch.alarms if looks and self.plan.watch else ()

    @property
    def may_have_moved(self) -> bool:
        """Whether the alias may serve what this deployment made of it, which a failure has to undo."""
        return self.in_steps or self.status is Status.ROLLING_BACK

    def needs_approval(self, step: int) -> bool:
        """Return whether a person must approve before the version gets the traffic of a step."""
        plan = self.plan
        asked = plan.approval is not None and not self.is_approved
        return asked and plan.steps[step].percent > plan.unapproved_percent

    def changed(
        self,
        at: float,
        message: str,
        status: Status | None = None,
        *,
        retry: bool = False,
        progress: bool = False,
        **fields: Any,
    ) -> "Deployment":
        """Return the next revision, with its timeline entry. Raises ValueError if this one is final.

        `retry` and `progress` are those of the entry.
        """
        if self.status.final:
            raise ValueError(f"deployment {self.id} is {self.status} and stays so")
        status = status or self.status
        moment = timestamp(at)
        revision = self.revision + 1
        if status is not self.status:
            fields = {"since": moment, **NOT_FAILING, **fields}
        if status.final:
            fields["finished_at"] = moment
        entry = Entry(revision, moment, status, clean(message, MAX_MESSAGE), retry, progress)
        timeline = _with_room(self.timeline) if retry else self.timeline
        if progress and timeline[-1].progress and timeline[-1].status is status:
            timeline = timeline[:-1]
        return replace(
            self,
            revision=revision,
            status=status,
            updated_at=moment,
            timeline=(*timeline, entry),
            **fields,
        )


def _with_room(timeline: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return the timeline with room for one more entry about a retry."""
    retries = [index for index, entry in enumerate(timeline) if entry.retry]
    if len(retries) < MAX_RETRY_ENTRIES:
        return timeline
    dropped = retries[_FIRST_RETRY_ENTRIES]
    return (*timeline[:dropped], *timeline[dropped + 1 :])


def origin_of(deployment: Deployment) -> Origin:
    """Return the origin of a version that the deployment has published."""
    return Origin(deployment.requested_by, deployment.created_at, deployment.release)


def until(deployment: Deployment) -> float | None:
    """Return when the current bake, or the time for an approval, ends (epoch seconds), or None."""
    began = seconds(deployment.since)
    match deployment.status:
        case Status.BAKING:
            ends = began + deployment.plan.steps[deployment.step].bake * (1 + deployment.extended)
            return max(ends, deployment.fix_forward.lasts_until) if deployment.fix_forward else ends
        case Status.AWAITING_APPROVAL if deployment.approval is None:
            return began + (deployment.plan.approval or 0)
        case _:
            return None
