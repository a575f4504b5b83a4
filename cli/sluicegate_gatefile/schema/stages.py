"""Stages, and what functions override of them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from sluicegate.deployment import strategy
from sluicegate.deployment.plan import Metric
from sluicegate.gate import alarm_names, metric_names, rollout_settings
from sluicegate.gate.records import EXTERNAL_ID, REGION, ROLE_NAME
from sluicegate.gate.rollout_settings import (
    LEAST,
    MAX_JUDGE,
    MAX_PAYLOAD,
    MAX_RATIO,
    MAX_SAMPLES,
    MAX_SILENT,
    MAX_SMOKE,
    MOST,
)
from sluicegate_gatefile.fields import (
    TEXT,
    AtMost,
    Duration,
    Form,
    Json,
    Later,
    Number,
    OrEmpty,
    OrName,
    OrNone,
)
from sluicegate_gatefile.schema.base import (
    ActionName,
    AlarmName,
    AliasName,
    Flag,
    FunctionName,
    Section,
    ShortName,
    StageName,
    unprintable,
)
from sluicegate_gatefile.schema.principals import AccountId
from sluicegate_gatefile.schema.pruning import PruneSection

Bake = Annotated[
    int,
    Duration(most=strategy.MAX_BAKE),
    Field(description="How long the new version is watched before the next step."),
]
MaxAge = Annotated[
    int, Duration(), Field(description="The oldest ID token that is accepted here, counted from `iat`.")
]
JsonText = Annotated[str, Json(MAX_PAYLOAD)]


StrategyType = Literal["all-at-once", "canary", "linear", "steps"]


class StepSection(Section):
    """A step; only the last one may omit `bake`."""

    percent: Annotated[int, Number(1, 100)] = Field(description="The new version's share of the traffic.")
    bake: Bake | None = None


class StrategyOverride(Section):
    """How traffic moves to the new version."""

    type: Annotated[StrategyType, TEXT] | None = Field(
        None,
        description="`all-at-once`: the alias is moved in one step. `canary`: a share first, then all. "
        "`linear`: an equal share more each time. `steps`: as listed.",
    )
    percent: Annotated[int, Number(1, 99)] | None = Field(
        None, description="For `canary`, its share of the traffic; for `linear`, the increment of each step."
    )
    bake: Bake | None = None
    every: Annotated[int, Duration(most=strategy.MAX_BAKE)] | None = Field(
        None, description="For `linear`: the time between two moves."
    )
    steps: Annotated[list[StepSection], Field(min_length=1), AtMost(strategy.MAX_STEPS)] | None = Field(
        None, description="For `steps`: each with a higher percentage than the one before, the last with 100."
    )


class StrategySection(StrategyOverride):
    """How traffic moves to the new version."""

    type: Annotated[StrategyType, TEXT] = Field(description=StrategyOverride.model_fields["type"].description)


class SmokeSection(Section):
    """What must succeed before traffic reaches a new version: it answers a payload, or a hook approves."""

    payload: JsonText | None = Field(
        None, description="The event that the version is invoked with. Default: `{}`."
    )
    expect: JsonText | None = Field(None, description="What the response must contain.")
    hook: FunctionName | None = Field(
        None, description="A function that gets the version's number and decides."
    )
    timeout: Annotated[int, Duration(most=MAX_SMOKE)] | None = Field(
        None, description="How long it may take. Default: 10s."
    )


Ratio = Annotated[
    float,
    Number(1, MAX_RATIO, whole=False),
    Field(description="The maximum, as a multiple of the replaced version's value."),
]
Samples = Annotated[
    int,
    Number(1, MAX_SAMPLES),
    Field(
        description="The least number of the new version's requests to judge by. Gross failure is seen with "
        "fewer. Default: 100."
    ),
]
Mode = Annotated[
    Literal["enforce", "observe"],
    TEXT,
    Field(description="`observe`: the verdict is recorded, and nothing is rolled back. Default: `enforce`."),
]


MetricLimit = Annotated[float, Number(0, metric_names.LARGEST, whole=False)]
DimensionValue = Annotated[
    str,
    TEXT,
    Form(metric_names.DIMENSION, "a dimension's value", metric_names.complaint),
    Field(description="`{function}`, `{alias}`, `{stage}`, `{version}` and `{event_source}` are filled in."),
]


class ErrorsSection(Section):
    """Failed invocations."""

    max_percent: Annotated[float, Number(LEAST, MOST[Metric.ERRORS], whole=False)] | None = Field(
        None, description="The maximum, as a percentage of all invocations."
    )
    max_ratio: Ratio | None = None
    min_samples: Samples | None = None
    mode: Mode | None = None


class ThrottlesSection(Section):
    """Throttled requests."""

    max_percent: Annotated[float, Number(LEAST, MOST[Metric.THROTTLES], whole=False)] | None = Field(
        None, description="The maximum, as a percentage of all requests."
    )
    max_ratio: Ratio | None = None
    min_samples: Samples | None = None
    mode: Mode | None = None


class DurationSection(Section):
    """The duration that 95 of 100 invocations do not exceed."""

    max_ms: Annotated[float, Number(LEAST, MOST[Metric.DURATION_P95], whole=False)] | None = Field(
        None, description="Milliseconds."
    )
    max_ratio: Ratio | None = None
    min_samples: Samples | None = None
    mode: Mode | None = None


class MetricSourceSection(Section):
    """A metric of CloudWatch."""

    namespace: Annotated[
        str, TEXT, Form(metric_names.NAMESPACE, "a namespace of CloudWatch, such as `Shop`")
    ] = Field(description="The namespace.")
    metric: Annotated[str, TEXT, Form(metric_names.TEXT, "the name of a metric")] = Field(
        description="The metric's name."
    )
    stat: Annotated[str, TEXT, Form(metric_names.STAT, "a statistic, such as `Sum` or `p95`")] = Field(
        description="The statistic of each minute."
    )
    dimensions: Annotated[dict[str, DimensionValue], OrEmpty()] = Field(
        {}, description="The dimensions, exactly as the metric has them."
    )


class MetricSection(Section):
    """A metric of CloudWatch, or an expression over several, and its limit."""

    name: Annotated[str, TEXT, Form(metric_names.NAME, "a short name: letters, digits, `.`, `-` and `_`")] = (
        Field(description="What verdicts call it.")
    )
    metrics: Annotated[dict[str, MetricSourceSection], Field(min_length=1)] = Field(
        description="The metrics, by the ids that the expression uses."
    )
    expression: (
        Annotated[
            str,
            TEXT,
            Form(
                rf"[\s\S]{{1,{metric_names.MAX_EXPRESSION}}}",
                "metric math, such as `failed/calls`",
                unprintable,
            ),
        ]
        | None
    ) = Field(None, description="CloudWatch metric math over the ids. The quotient of two counts is a share.")
    better: Annotated[Literal["lower", "higher"], TEXT] | None = Field(
        None, description="Which values are better. Default: `lower`."
    )
    max: MetricLimit | None = Field(None, description="The largest value, where lower is better.")
    min: MetricLimit | None = Field(None, description="The smallest value, where higher is better.")
    max_ratio: Ratio | None = None
    missing: Annotated[Literal["good", "unclear", "bad"], TEXT] | None = Field(
        None, description="The verdict while there is no data. Default: `unclear`."
    )
    min_samples: Samples | None = None
    minutes: Annotated[int, Number(1, metric_names.MAX_MINUTES)] | None = Field(
        None, description="For values: how many minutes in a row must be beyond the limit. Default: 3."
    )
    mode: Mode | None = None


class PresetSection(Section):
    """Metrics for what Lambda's errors cannot see. Its name alone will do where it needs no more."""

    name: Annotated[Literal["batch", "async", "durable", "url", "api"], TEXT] = Field(
        description="The kind of function: `batch`, `async`, `durable`, `url` or `api`."
    )
    api: DimensionValue | None = Field(None, description="For `api`: the name of a REST API.")
    api_id: DimensionValue | None = Field(None, description="For `api`: the id of an HTTP API.")
    api_stage: DimensionValue | None = Field(None, description="For `api`: the API's stage.")
    dead_letter_queue: DimensionValue | None = Field(
        None, description="For `batch`: the name of the queue where messages end that nobody could process."
    )


class JudgeSection(Section):
    """A function that gets each observation and answers good, bad or unclear, with a reason."""

    function: FunctionName
    timeout: Annotated[int, Duration(most=MAX_JUDGE)] | None = Field(
        None, description="How long it may take. Default: 10s."
    )


class FixForwardSection(Section):
    """What a deploy that overlooks firing alarms must do."""

    silent_within: Annotated[int, Duration(most=MAX_SILENT)] | None = Field(
        None, description="After all traffic, the time for those alarms to fall silent. Default: 10m."
    )


class WatchSection(Section):
    """What rolls a deployment back while it bakes: alarms, and limits on Lambda's own metrics."""

    alarms: Annotated[list[AlarmName], AtMost(alarm_names.MAX_ALARMS), OrEmpty()] | None = Field(
        None, description="CloudWatch alarms, by name."
    )
    errors: ErrorsSection | None = None
    throttles: ThrottlesSection | None = None
    duration_p95: DurationSection | None = None
    presets: (
        Annotated[list[Annotated[PresetSection, OrName()]], AtMost(metric_names.MAX_METRICS), OrEmpty()]
        | None
    ) = Field(None, description="Metrics for kinds of functions that fail without an error.")
    metrics: Annotated[list[MetricSection], AtMost(metric_names.MAX_METRICS), OrEmpty()] | None = Field(
        None, description="Metrics of your own, each with its limit."
    )
    judge: JudgeSection | None = None
    false_rollbacks: Annotated[float, Number(*rollout_settings.FALSE_ROLLBACKS, whole=False)] | None = Field(
        None,
        description="How many of 100 versions that are as good as the old one the comparisons may roll back, "
        "over a whole rollout. Default: 1.",
    )
    unclear: Annotated[Literal["pass", "fail", "extend"], TEXT] | None = Field(
        None,
        description="A bake that ends with an unclear verdict: `pass` (the default), `fail`, or `extend` it.",
    )
    end_early: Flag | None = Field(
        None, description="Whether a bake ends as soon as the verdict is good beyond doubt. Default: false."
    )
    fix_forward: FixForwardSection | None = None
    mode: Mode | None = None


class ApprovalSection(Section):
    """A second person must approve before any of the new code reaches the target."""

    expires: Annotated[int, Duration(*rollout_settings.APPROVAL)] | None = Field(
        None, description="How long the deployment waits for approval. Default: 24h."
    )


class RequiresSection(Section):
    """What must have succeeded first."""

    succeeded_in: StageName = Field(description="The stage where the digest must have succeeded.")


Order = Annotated[Literal["pipeline"], TEXT]
_ABOUT_ORDER = "`pipeline`: an older pipeline of the same project cannot overwrite a newer one."


class TargetSection(Section):
    """An account and region where functions live, and the role there that Sluicegate assumes."""

    account: AccountId
    region: Annotated[str, TEXT, Form(REGION, "an AWS region, such as `eu-central-1`")] = Field(
        description="The region."
    )
    role: Annotated[str, TEXT, Form(ROLE_NAME, "the name of a role, without path")] | None = Field(
        None, description="The role's name. Default: `sluicegate-target-REGION`."
    )
    external_id: Annotated[
        str, TEXT, Form(EXTERNAL_ID, "an external id: 2 to 128 letters, digits and `_+=,.@:/-`")
    ] = Field(description="A random value that the role demands. It is no secret.")


class StageAgentsSection(Section):
    """What this stage demands of agents."""

    actions: Annotated[list[ActionName], OrEmpty()] | None = Field(
        None, description="The only actions that agents have here. Default: all but those of persons."
    )
    propose: Flag = Field(False, description="Whether each of their requests waits for a person.")


class StageSection(Section):
    """A stage: a named alias on functions."""

    alias: AliasName | None = Field(None, description="The Lambda alias. Default: the stage's name.")
    target: ShortName | None = Field(
        None, description="The target where its functions live. Default: the stack's own, `default`."
    )
    protected: Flag = Field(
        False, description='Rules for jobs that grant it must pin project_id and ref_protected: "true".'
    )
    max_age: MaxAge | None = None
    agents: StageAgentsSection | None = None
    strategy: StrategySection | None = None
    smoke: SmokeSection | None = None
    watch: WatchSection | None = None
    approval: ApprovalSection | None = None
    requires: RequiresSection | None = None
    order: Order | None = Field(None, description=_ABOUT_ORDER)


_OF_THE_STAGE = "belongs to the stage itself, under `stages`: it cannot differ from function to function"
_None = Literal["none"]


class OverrideSection(Section):
    """What replaces the stage's own settings."""

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(("protected", "target", "agents"), _OF_THE_STAGE)

    alias: AliasName | None = Field(None, description="The name of a Lambda alias.")
    max_age: MaxAge | None = None
    strategy: StrategyOverride | None = None
    smoke: Annotated[SmokeSection | _None, OrNone()] | None = Field(
        None, description=f"{SmokeSection.__doc__} Or `none`."
    )
    watch: Annotated[WatchSection | _None, OrNone()] | None = Field(
        None, description=f"{WatchSection.__doc__} Or `none`."
    )
    approval: Annotated[ApprovalSection | _None, OrNone()] | None = Field(
        None, description=f"{ApprovalSection.__doc__} Or `none`."
    )
    requires: Annotated[RequiresSection | _None, OrNone()] | None = Field(
        None, description=f"{RequiresSection.__doc__} Or `none`."
    )
    order: Annotated[Order | _None, OrNone()] | None = Field(None, description=f"{_ABOUT_ORDER} Or `none`.")


class FunctionSection(Section):
    """What is different for these functions."""

    stages: Annotated[dict[StageName, OverrideSection], OrEmpty()] = Field(
        {}, description="For each stage, what replaces its own settings; mappings merge, lists replace."
    )
    prune: PruneSection | None = Field(None, description=f"{PruneSection.__doc__} Left out: none is.")
    images: Annotated[Any, Later()] = Field(
        None, description="Repositories whose images may be deployed. Not supported yet."
    )
