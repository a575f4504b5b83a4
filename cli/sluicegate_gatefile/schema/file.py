"""The whole gate file."""

from typing import Annotated, Literal

from pydantic import Field

from sluicegate.oidc.identity import FEEDBACK_SECRETS
from sluicegate_gatefile.fields import TEXT, Duration, Exactly, Form, OrEmpty
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
        description="Whether what a webhook started is a deployment of the environment that is called after "
        "the stage; true if left out.",
    )


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
    feedback: FeedbackSection | None = None


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
    tests: Annotated[list[TestSection], OrEmpty()] = Field(
        [], description="Tests of the rules, run by `sluicegate check` and before each build."
    )
