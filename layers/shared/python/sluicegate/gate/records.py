"""gate.json's records: the members that each object has, their types and limits.

Every member is required, and no other is accepted. The compiler writes these records, `codec` reads them.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from sluicegate.deployment import strategy
from sluicegate.deployment.model import Status
from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Better, Metric, Unclear
from sluicegate.gate import (
    alarm_names,
    metric_names,
    notifications,
    pruning,
    rollout_settings,
    sessions,
    webhooks,
)
from sluicegate.gate.notifications import NotificationType
from sluicegate.gate.principals import ACCOUNT, ORGANISATION, PRINCIPAL_ID, ROLE_ID
from sluicegate.gate.rules import RuleAction
from sluicegate.gate.webhooks import Event, RefType, Scheme
from sluicegate.oidc.identity import FEEDBACK_SECRETS, Via

FORMAT: Final = 9
"""The format of gate.json. Another one is refused."""

Text = Annotated[str, Meta(min_length=1)]
Texts = Annotated[tuple[Text, ...], Meta(min_length=1)]
Seconds = Annotated[int, Meta(ge=1)]
Deniable = Literal[
    "project_id", "user_id", "pipeline_id", "jti", "account", "principal_id", "session_name", "access_key"
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

MAX_PER_HOUR: Final = 100
MAX_PER_DAY: Final = 500

REGION: Final = r"[a-z]{2,3}(?:-[a-z]+)+-[0-9]{1,2}"
ROLE_NAME: Final = r"[A-Za-z0-9_+=,.@-]{1,64}"
EXTERNAL_ID: Final = r"[A-Za-z0-9_+=,.@:/-]{2,128}"
"""As STS takes them: `AssumeRole`, `ExternalId` (API reference, read on 2026-11-26), and shorter."""

_HOOK = Annotated[str, Meta(pattern=rf"\A(?:{rollout_settings.FUNCTION})\Z")]
_PERCENT = Annotated[int, Meta(ge=1, le=100)]
_BAKE = Annotated[int, Meta(ge=0, le=strategy.MAX_BAKE)]
_SMOKE_SECONDS = Annotated[int, Meta(ge=1, le=rollout_settings.MAX_SMOKE)]
_JSON = Annotated[str, Meta(min_length=1, max_length=rollout_settings.MAX_PAYLOAD)]
_SAMPLES = Annotated[int, Meta(ge=1, le=rollout_settings.MAX_SAMPLES)]
_FALSE_ROLLBACKS = Annotated[
    float, Meta(ge=rollout_settings.FALSE_ROLLBACKS[0], le=rollout_settings.FALSE_ROLLBACKS[1])
]
_RATIO = Annotated[float, Meta(ge=1, le=rollout_settings.MAX_RATIO)]
_ALARMS = Annotated[tuple[Text, ...], Meta(max_length=alarm_names.MAX_ALARMS)]
_APPROVAL = Annotated[int, Meta(ge=rollout_settings.APPROVAL[0], le=rollout_settings.APPROVAL[1])]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object of gate.json."""


class FeedbackRecord(Record, frozen=True):
    """An issuer's `feedback`."""

    secret: Annotated[str, Meta(pattern=rf"\A{FEEDBACK_SECRETS}")]
    commit_status: bool
    deployment: bool
    merge_request_note: bool


class SignInRecord(Record, frozen=True):
    """An issuer's `sign_in`."""

    client_id: Annotated[str, Meta(pattern=rf"\A(?:{sessions.CLIENT_ID})\Z")]
    secret: Annotated[str, Meta(pattern=rf"\A(?:{sessions.SECRET})\Z")]


class IssuerRecord(Record, frozen=True):
    """An issuer. `jwks` is the text of a key set; `gitlab_url` is None where it is the `url`."""

    name: Text
    url: Text
    gitlab_url: Text | None
    audience: Text
    sts_audience: Text | None
    max_age: Seconds | None
    jwks: Text | None
    groups: Literal["trusted"] | None
    sign_in: SignInRecord | None
    feedback: FeedbackRecord | None


class StepRecord(Record, frozen=True):
    """One step of a strategy."""

    percent: _PERCENT
    bake: _BAKE


class SmokeRecord(Record, frozen=True):
    """A smoke test."""

    timeout: _SMOKE_SECONDS
    payload: _JSON | None
    expect: _JSON | None
    hook: _HOOK | None


class LimitRecord(Record, frozen=True):
    """A limit on one metric."""

    metric: Metric
    min_samples: _SAMPLES
    most: float | None
    max_ratio: _RATIO | None
    observe: bool


class MetricSourceRecord(Record, frozen=True):
    """A metric of CloudWatch."""

    id: Annotated[str, Meta(pattern=rf"\A(?:{metric_names.ID})\Z")]
    namespace: Annotated[str, Meta(pattern=rf"\A(?:{metric_names.NAMESPACE})\Z")]
    metric: Annotated[str, Meta(pattern=rf"\A(?:{metric_names.TEXT})\Z")]
    stat: Annotated[str, Meta(pattern=rf"\A(?:{metric_names.STAT})\Z")]
    dimensions: Annotated[tuple[tuple[Text, Text], ...], Meta(max_length=metric_names.MAX_DIMENSIONS)]


class CustomMetricRecord(Record, frozen=True):
    """A metric of the user's, and its limit."""

    name: Annotated[str, Meta(pattern=rf"\A(?:{metric_names.NAME})\Z")]
    sources: Annotated[
        tuple[MetricSourceRecord, ...], Meta(min_length=1, max_length=metric_names.MAX_SOURCES)
    ]
    expression: Annotated[str, Meta(min_length=1, max_length=metric_names.MAX_EXPRESSION)] | None
    better: Better
    most: float | None
    max_ratio: _RATIO | None
    missing: Verdict
    min_samples: _SAMPLES
    minutes: Annotated[int, Meta(ge=1, le=metric_names.MAX_MINUTES)]
    observe: bool
    preset: Text | None


class JudgeRecord(Record, frozen=True):
    """A function that judges."""

    function: _HOOK
    timeout: Annotated[int, Meta(ge=1, le=rollout_settings.MAX_JUDGE)]


class WatchRecord(Record, frozen=True):
    """What is watched during a bake."""

    alarms: _ALARMS
    limits: tuple[LimitRecord, ...]
    metrics: Annotated[tuple[CustomMetricRecord, ...], Meta(max_length=metric_names.MAX_METRICS)]
    judge: JudgeRecord | None
    false_rollbacks: _FALSE_ROLLBACKS
    unclear: Unclear
    end_early: bool
    observe: bool
    silent_within: Annotated[int, Meta(ge=1, le=rollout_settings.MAX_SILENT)]


class RolloutRecord(Record, frozen=True):
    """How a deployment goes in a stage."""

    steps: tuple[StepRecord, ...]
    smoke: SmokeRecord | None
    watch: WatchRecord | None
    approval: _APPROVAL | None
    requires: Text | None
    ordered: bool


class StageAgentsRecord(Record, frozen=True):
    """A stage's `agents`."""

    actions: tuple[RuleAction, ...]
    propose: bool


class StageRecord(Record, frozen=True):
    """A stage. `target` is None for the stack's own account and region."""

    name: Text
    alias: Text
    target: Text | None
    protected: bool
    max_age: Seconds | None
    agents: StageAgentsRecord | None
    rollout: RolloutRecord


class TargetRecord(Record, frozen=True):
    """An entry of `targets`."""

    name: Text
    account: Annotated[str, Meta(pattern=rf"\A(?:{ACCOUNT})\Z")]
    region: Annotated[str, Meta(pattern=rf"\A(?:{REGION})\Z")]
    role: Annotated[str, Meta(pattern=rf"\A(?:{ROLE_NAME})\Z")]
    external_id: Annotated[str, Meta(pattern=rf"\A(?:{EXTERNAL_ID})\Z")]


class GitLabUserRecord(Record, frozen=True):
    """A user of an issuer."""

    issuer: Text
    user_id: Annotated[str, Meta(pattern=r"\A[1-9][0-9]*\Z")]


class PrincipalRecord(Record, frozen=True):
    """A principal of an account."""

    account: Annotated[str, Meta(pattern=rf"\A(?:{ACCOUNT})\Z")]
    principal_id: Annotated[str, Meta(pattern=rf"\A(?:{PRINCIPAL_ID})\Z")]


class SsoRecord(Record, frozen=True):
    """An entry of `sso`."""

    account: Annotated[str, Meta(pattern=rf"\A(?:{ACCOUNT})\Z")]
    principal_id: Annotated[str, Meta(pattern=rf"\A(?:{ROLE_ID})\Z")]
    org: Annotated[str, Meta(pattern=rf"\A(?:{ORGANISATION})\Z")]


class SessionRecord(Record, frozen=True):
    """A session of Identity Center."""

    org: Annotated[str, Meta(pattern=rf"\A(?:{ORGANISATION})\Z")]
    session_name: Text


class PersonRecord(Record, frozen=True):
    """An entry of `people`."""

    name: Text
    gitlab: tuple[GitLabUserRecord, ...]
    iam: tuple[SessionRecord, ...]


class AgentsRecord(Record, frozen=True):
    """The entries of `agents`, by their kind."""

    users: tuple[GitLabUserRecord, ...]
    principals: tuple[PrincipalRecord, ...]


class HoursRecord(Record, frozen=True):
    """A limit's `hours`; `start` and `end` are minutes of the day."""

    zone: Text
    days: Annotated[tuple[Day, ...], Meta(min_length=1)]
    start: Annotated[int, Meta(ge=0, le=1439)]
    end: Annotated[int, Meta(ge=1, le=1440)]


class RuleLimitsRecord(Record, frozen=True):
    """A rule's `limits`."""

    per_hour: Annotated[int, Meta(ge=1, le=MAX_PER_HOUR)] | None
    per_day: Annotated[int, Meta(ge=1, le=MAX_PER_DAY)] | None
    unapproved_percent: Annotated[int, Meta(ge=1, le=99)] | None
    hours: HoursRecord | None
    propose: bool


class PruneRecord(Record, frozen=True):
    """An entry's `prune`; `older_than` is in seconds."""

    keep: Annotated[int, Meta(ge=pruning.KEEP[0], le=pruning.KEEP[1])]
    rollbacks: Annotated[int, Meta(ge=pruning.ROLLBACKS[0], le=pruning.ROLLBACKS[1])]
    older_than: Annotated[int, Meta(ge=pruning.OLDER_THAN[0], le=pruning.OLDER_THAN[1])]
    dry_run: bool


class FunctionRecord(Record, frozen=True):
    """An entry of `functions`; the mappings are by stage."""

    pattern: Text
    prune: PruneRecord | None
    alias: dict[str, Text]
    max_age: dict[str, Seconds]
    rollout: dict[str, RolloutRecord]


class RuleRecord(Record, frozen=True):
    """A rule. `issuer` is empty with `via: iam`."""

    name: Text
    issuer: str
    via: Via
    claims: dict[str, Texts]
    actions: Annotated[tuple[RuleAction, ...], Meta(min_length=1)]
    functions: Texts
    stages: Texts
    limits: RuleLimitsRecord | None


class DenyRecord(Record, frozen=True):
    """An entry of `deny`. `issuer` is empty where it denies principals."""

    issuer: str
    claims: Annotated[dict[Deniable, Texts], Meta(min_length=1)]


class WebhookRecord(Record, frozen=True):
    """An entry of `webhooks`."""

    name: Annotated[str, Meta(pattern=rf"\A(?:{webhooks.NAME})\Z")]
    issuer: Text
    project_id: Annotated[str, Meta(pattern=r"\A[1-9][0-9]*\Z")]
    scheme: Scheme
    secret: Annotated[str, Meta(pattern=rf"\A(?:{webhooks.SECRET})\Z")] | None
    event: Event
    ref_type: RefType
    ref: Text
    function: _HOOK
    stage: Text


class NotificationRecord(Record, frozen=True):
    """An entry of `notify`."""

    name: Annotated[str, Meta(pattern=rf"\A(?:{webhooks.NAME})\Z")]
    type: NotificationType
    secret: Annotated[str, Meta(pattern=rf"\A(?:{notifications.SECRET})\Z")]
    functions: Texts
    stages: tuple[Text, ...]
    statuses: Annotated[tuple[Status, ...], Meta(min_length=1)]


class Document(Record, frozen=True):
    """The whole of gate.json."""

    format: Literal[9]
    issuers: tuple[IssuerRecord, ...]
    targets: tuple[TargetRecord, ...]
    people: tuple[PersonRecord, ...]
    sso: tuple[SsoRecord, ...]
    agents: AgentsRecord
    stages: tuple[StageRecord, ...]
    functions: tuple[FunctionRecord, ...]
    rules: tuple[RuleRecord, ...]
    deny: tuple[DenyRecord, ...]
    webhooks: tuple[WebhookRecord, ...]
    notify: Annotated[tuple[NotificationRecord, ...], Meta(max_length=notifications.MAX_NOTIFICATIONS)]


def plain(record: Record) -> dict[str, Any]:
    """Return the record as JSON's types, its members in their order."""
    found: dict[str, Any] = msgspec.to_builtins(record)
    return found
