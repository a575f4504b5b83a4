"""The whole gate file."""

from typing import Annotated, Literal

from pydantic import Field

from sluicegate.deployment.model import Status
from sluicegate.gate import notifications, sessions
from sluicegate.oidc.identity import FEEDBACK_SECRETS
from sluicegate_gatefile.fields import TEXT, AtMost, Duration, Exactly, Form, OrEmpty
from sluicegate_gatefile.schema.base import Flag, FunctionPattern, Section, ShortName, StageName, unprintable
from sluicegate_gatefile.schema.principals import AgentSection, PersonSection, SsoSection
from sluicegate_gatefile.schema.rules import DenySection, RuleSection, TestSection, WebhookSection
from sluicegate_gatefile.schema.stages import FunctionSection, StageSection, TargetSection


class FeedbackSection(Section):
    """What is reported to this GitLab about its projects' deployments. Default: nothing."""

    secret: Annotated[
        str,
        TEXT,
        Form(
            rf"{FEEDBACK_SECRETS}[A-Za-z0-9/_+=.@-]{{1,128}}",
            f"the name of a secret, which begins with {FEEDBACK_SECRETS}",
        ),
    ] = Field(
        description="The secret in AWS Secrets Manager that holds an access token with the scope `api`."
    )
    commit_status: Flag = Field(
        True, description="Whether each deployment is shown as a status of its commit. Default: true."
    )
    deployment: Flag = Field(
        True,
        description="Whether each deployment is one of the environment that is called after the stage; true "
        "if left out.",
    )
    merge_request_note: Flag = Field(
        True,
        description="Whether the merge request of a deployed commit has a note about it, kept up to date; "
        "true if left out.",
    )


class SignInSection(Section):
    """The application in this GitLab by which people sign in: confidential, with the scopes `openid`,
    `profile` and `email`.
    """

    client_id: Annotated[
        str,
        TEXT,
        Form(sessions.CLIENT_ID, "an application's id: up to 256 printable ASCII characters without spaces"),
    ] = Field(description="The application's id.")
    secret: Annotated[
        str,
        TEXT,
        Form(
            sessions.SECRET,
            "a name such as `sluicegate/sign-in/corp`: that prefix, then letters, digits and `_+=.@-`",
        ),
    ] = Field(description="The secret in AWS Secrets Manager that holds the application's secret.")


_Url = Annotated[
    str,
    TEXT,
    Form(
        r"https?://[^\s?#@]*[^\s?#@/]",
        "an https URL without a slash at the end, user, query or fragment",
        unprintable,
    ),
]


_Audience = Annotated[
    str,
    TEXT,
    Form(r"[\x21-\x7e]{1,256}", "an audience: up to 256 printable ASCII characters without spaces"),
]


class IssuerSection(Section):
    """A GitLab instance whose ID tokens are accepted."""

    url: _Url = Field(
        description="Exactly the `iss` of its tokens, which is the GitLab's URL unless its administrator set "
        "another: https, without a slash at the end. Keys are fetched from there."
    )
    gitlab_url: _Url | None = Field(
        None,
        description="The GitLab's own URL, where `ci_id_tokens_issuer_url` makes `iss` another address: for "
        "feedback, links and webhooks. Default: the `url`.",
    )
    audience: _Audience = Field(
        description="The `aud` that jobs request in their token: a string of your choice that no other "
        "service accepts."
    )
    sts_audience: _Audience | None = Field(
        None,
        description="The `aud` of the tokens that jobs exchange for AWS credentials. Never an `audience`.",
    )
    jwks: Annotated[
        str,
        TEXT,
        Form(
            r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))(?!.*:)[^\\\x00-\x1f]+",
            "`discovery` or the path of a file beside this one",
        ),
    ] = Field(
        "discovery",
        description="`discovery` (the default): keys are fetched from the issuer. Or a file beside this one "
        "with its JWK set, for a GitLab that AWS cannot reach.",
    )
    max_age: Annotated[int, Duration()] | None = Field(
        None, description="The oldest ID token that is accepted, counted from `iat`; `exp` limits it too."
    )
    groups: Annotated[Literal["trusted"], TEXT] | None = Field(
        None,
        description="`trusted`: a group of this GitLab is enough to pin a rule for signed-in people. Its "
        "owners decide on its members.",
    )
    sign_in: SignInSection | None = None
    feedback: FeedbackSection | None = None


class NotifySection(Section):
    """A channel, or a program of yours, that deployments are reported to."""

    name: ShortName
    type: Annotated[notifications.NotificationType, TEXT] = Field(
        description="`slack` or `teams`: an incoming webhook of the channel. `webhook`: signed as Standard "
        "Webhooks says."
    )
    secret: Annotated[
        str,
        TEXT,
        Form(
            notifications.SECRET,
            "a name such as `sluicegate/notify/releases`: that prefix, then letters, digits and `_+=.@-`",
        ),
    ] = Field(description="The secret in AWS Secrets Manager that holds the URL and, for `webhook`, the key.")
    functions: Annotated[list[FunctionPattern], Field(min_length=1)] = Field(
        ["*"], description="Functions' names or patterns. Default: all."
    )
    stages: Annotated[list[StageName], Field(min_length=1)] | None = Field(
        None, description="Stages' names. Default: all."
    )
    statuses: Annotated[list[Annotated[Status, TEXT]], Field(min_length=1)] = Field(
        list(notifications.DEFAULT_STATUSES),
        description="Statuses of deployments. Default: awaiting_approval, succeeded, rolled_back, failed.",
    )


class GateFile(Section):
    """Sluicegate's gate file: who may deploy which function to which stage."""

    version: Annotated[Literal[1], Exactly(1)] = Field(description="The format of this file.")
    issuers: Annotated[dict[ShortName, IssuerSection], Field(min_length=1)] = Field(
        description="GitLab instances whose ID tokens are accepted."
    )
    targets: Annotated[dict[ShortName, TargetSection], OrEmpty()] = Field(
        {}, description="Other accounts and regions, by name. `default` is the stack's own."
    )
    people: Annotated[dict[ShortName, PersonSection], OrEmpty()] = Field(
        {}, description="People who come in more than one way, by name."
    )
    sso: Annotated[list[SsoSection], OrEmpty()] = Field(
        [], description="Roles of IAM Identity Center, whose sessions are persons."
    )
    agents: Annotated[list[AgentSection], OrEmpty()] = Field(
        [], description="Identities of automated agents, by id."
    )
    stages: Annotated[dict[StageName, StageSection], Field(min_length=1)] = Field(
        description="Stages, by name."
    )
    functions: Annotated[dict[FunctionPattern, FunctionSection], OrEmpty()] = Field(
        description="The functions that can be deployed. An exact name precedes the longest pattern."
    )
    rules: Annotated[list[RuleSection], OrEmpty()] = Field(
        description="Who may do what. The first rule that grants everything the request needs decides."
    )
    deny: Annotated[list[DenySection], OrEmpty()] = Field(
        [], description="Who may do nothing at all, whatever the rules say."
    )
    webhooks: Annotated[dict[ShortName, WebhookSection], OrEmpty()] = Field(
        {}, description="Webhooks that start deployments, by name."
    )
    notify: Annotated[list[NotifySection], AtMost(notifications.MAX_NOTIFICATIONS), OrEmpty()] = Field(
        [], description="Channels and programs that deployments are reported to."
    )
    tests: Annotated[list[TestSection], OrEmpty()] = Field(
        [], description="Tests of the rules, run by `sluicegate check` and before each build."
    )
