"""Rules, denials, webhooks, and the tests of rules."""

import zoneinfo
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from sluicegate.gate import webhooks
from sluicegate.gate.records import MAX_PER_DAY, MAX_PER_HOUR, Day
from sluicegate.oidc import claims
from sluicegate.oidc.identity import Via
from sluicegate_gatefile.fields import TEXT, Form, Number, OneOrMany, OrEmpty
from sluicegate_gatefile.schema.base import (
    ABOUT_PATTERN,
    ActionName,
    AnyText,
    ClaimPattern,
    Flag,
    FunctionName,
    FunctionPattern,
    Id,
    IssuerName,
    Section,
    StageName,
    Title,
)
from sluicegate_gatefile.schema.principals import AccountId, PrincipalId, SessionName

_CLAIMS: Final[Mapping[str, str]] = {
    "project_id": "The project's id. Pin it: a path can be freed and taken by somebody else, an id cannot.",
    "namespace_id": "The id of the project's group or user.",
    "project_path": "The project's path; ASCII case is ignored. Never a pin.",
    "namespace_path": "The path of the project's group or user; ASCII case is ignored. Never a pin.",
    "ref": "The branch or tag; say which with `ref_type`.",
    "ref_type": "`branch` or `tag`.",
    "ref_path": "The full ref, such as `refs/tags/v1.0.0`.",
    "ref_protected": '"true" if the branch or tag is protected.',
    "pipeline_source": "What started the pipeline. If this is omitted, it must be `push` or `web`.",
    "environment": "The job's environment. Any developer can write it: require `environment_protected` too.",
    "environment_protected": '"true" if the environment is protected.',
    "groups_direct": "Groups that the user is a direct member of; one matching group is enough.",
    "user_id": "The id of the user who runs the job.",
    "email": "For signed-in people only: the address, if the GitLab says that it is theirs.",
    "event": "For webhook deliveries only: `tag_push` or `pipeline`.",
    "sub": "The token's subject. A project can change its composition; never counts as a pin.",
}
_PRINCIPAL_CLAIMS: Final[Mapping[str, str]] = {
    "account": "The AWS account of the principal that signed the request: 12 digits.",
    "principal_id": "The principal's unique id: `AROA...` of a role, `AIDA...` of a user. Pin it.",
    "principal_type": "`role`, `sso` (a session of IAM Identity Center, listed under `sso`) or `user`.",
    "role": "The role's name. A deleted role can be made again by somebody else: never a pin.",
    "session_name": "The session's name, which the caller chooses; in IAM Identity Center, the user.",
    "org": "The AWS organisation of the principal's account.",
}
_CLAIM_NAMES = (
    *_CLAIMS,
    *sorted(claims.READABLE - _CLAIMS.keys()),
    *_PRINCIPAL_CLAIMS,
)


def _about(claim: str) -> str:
    return _CLAIMS.get(claim) or _PRINCIPAL_CLAIMS.get(claim) or f"GitLab's claim `{claim}`."


class _Claims(Section):
    """What the token must contain: for each claim a pattern, or a list of which one must match."""

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(claims.NEVER_USABLE, "cannot be in a rule") | {
        "iss": "is checked for every token: name the issuer with `issuer`",
        "aud": "is checked for every token: see the issuer's `audience`",
        "jti": "is different in every token; to refuse one token, use `deny`",
    }


def _claim(about: str) -> Any:
    item = Annotated[ClaimPattern, Field(description=f"{about} {ABOUT_PATTERN}")]
    return (Annotated[list[item], Field(min_length=1), OneOrMany()] | None, Field(None, description=about))


_RuleClaims: Any = create_model(
    "Claims",
    __base__=_Claims,
    __doc__=_Claims.__doc__,
    **{name: _claim(_about(name)) for name in _CLAIM_NAMES},
)


class _InOrder:
    """For a rule's claims: read by their model, and kept in the file's order, in which refusals name them."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            lambda value, read: _in_order(value, read(value)),
            handler.generate_schema(_RuleClaims),
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )


def _in_order(value: Any, read: Section) -> dict[str, list[str]]:
    given = read.given()
    return {name: given[name] for name in value} if given else {}


class AllowSection(Section):
    """What it grants: each of the actions on each of the functions in each of the stages."""

    actions: Annotated[list[ActionName], Field(min_length=1)] = Field(
        description="Actions; each includes reading."
    )
    functions: Annotated[list[FunctionPattern], Field(min_length=1)] = Field(
        description="Functions' names or patterns."
    )
    stages: Annotated[list[StageName], Field(min_length=1)] = Field(description="Stages' names.")


def _no_zone(name: str) -> str | None:
    return None if name in zoneinfo.available_timezones() else "is not a time zone of the IANA database"


_Time = Annotated[
    str, TEXT, Form("(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00", 'a time of the day, such as "09:00"')
]


class HoursSection(Section):
    """When deployments may begin."""

    zone: Annotated[str, TEXT, Form(wants="a time zone", complaint=_no_zone)] = Field(
        description="A time zone by its IANA name, such as `Europe/Berlin`."
    )
    days: Annotated[list[Annotated[Day, TEXT]], Field(min_length=1)] = Field(
        description="`mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`."
    )
    from_: _Time = Field(alias="from", description="The first minute, local time.")
    to: _Time = Field(description="The end; not part of it.")


class LimitsSection(Section):
    """What the rule's identity may use up or reach."""

    per_hour: Annotated[int, Number(1, MAX_PER_HOUR)] | None = Field(
        None, description="Deployments within 60 minutes, of each project or principal."
    )
    per_day: Annotated[int, Number(1, MAX_PER_DAY)] | None = Field(
        None, description="Deployments within 24 hours, of each project or principal."
    )
    unapproved_percent: Annotated[int, Number(1, 99)] | None = Field(
        None, description="The largest share of traffic without an approval."
    )
    hours: HoursSection | None = None
    propose: Flag = Field(False, description="Whether everything that it asks for waits for a person.")


class RuleSection(Section):
    """Grants actions to the identities that match it."""

    name: Title
    issuer: IssuerName | None = None
    via: Annotated[Via, TEXT] = Field(
        "id_token",
        description="How the identity is proven: by a job's ID token, by AWS credentials (`iam`), by both at"
        " once, by a webhook's delivery, or by signing in (`session`).",
    )
    claims: Annotated[dict[str, list[str]], _InOrder()]
    allow: AllowSection
    limits: LimitsSection | None = None


_Ids = Annotated[list[Id], Field(min_length=1), OneOrMany()]


class DenySection(Section):
    """Refuses the identities that have all of these claims, before any rule is read."""

    issuer: IssuerName | None = None
    project_id: _Ids | None = Field(None, description="The project's id, or a list of them.")
    user_id: _Ids | None = Field(None, description="The user's id, or a list of them.")
    pipeline_id: _Ids | None = Field(None, description="The pipeline's id, or a list of them.")
    jti: (
        Annotated[
            list[Annotated[str, TEXT, Form(r"[^*]+", "a token's id; there are no patterns here")]],
            Field(min_length=1),
            OneOrMany(),
        ]
        | None
    ) = Field(None, description="The token's id, or a list of them.")
    account: Annotated[list[AccountId], Field(min_length=1), OneOrMany()] | None = Field(
        None, description="The AWS account of the principal, or a list of them."
    )
    principal_id: Annotated[list[PrincipalId], Field(min_length=1), OneOrMany()] | None = Field(
        None, description="The principal's unique id, or a list of them."
    )
    session_name: Annotated[list[SessionName], Field(min_length=1), OneOrMany()] | None = Field(
        None, description="The session's name, or a list of them."
    )
    access_key: (
        Annotated[
            list[Annotated[str, TEXT, Form(r"[A-Z0-9]{16,128}", "an access key's id, such as `ASIA...`")]],
            Field(min_length=1),
            OneOrMany(),
        ]
        | None
    ) = Field(None, description="The access key's id, or a list of them.")


# Webhooks


class DeploySection(Section):
    """What is deployed: the artifact that a job of the project uploaded for that commit."""

    function: FunctionName
    stage: StageName


class WebhookSection(Section):
    """A GitLab webhook, and what its deliveries deploy."""

    issuer: IssuerName | None = None
    project_id: Id = Field(description="The project's id.")
    scheme: Annotated[webhooks.Scheme, TEXT] = Field(
        description="How a delivery proves its origin; no other way is tried. `signature`: GitLab's "
        "signing token. `token`: its secret token, in clear text. `id_token`: a job's ID token."
    )
    secret: (
        Annotated[
            str,
            TEXT,
            Form(
                webhooks.SECRET,
                "a name such as `sluicegate/webhooks/orders`: that prefix, then letters, digits and `_+=.@-`",
            ),
        ]
        | None
    ) = Field(
        None,
        description="The secret's name in Secrets Manager, under `sluicegate/webhooks/`; not for `id_token`.",
    )
    event: Annotated[webhooks.Event, TEXT] = Field(
        description="`tag_push`: a tag is pushed, or its pipeline succeeds. `pipeline`: a pipeline succeeds."
    )
    status: Annotated[Literal["success"], TEXT] | None = Field(None, description="The pipeline's status.")
    ref_type: Annotated[webhooks.RefType, TEXT] | None = Field(
        None,
        description="Which of the two `ref` is; both can have the same name. Default: `branch` "
        "for `pipeline`; `tag` for `tag_push`, which knows no other.",
    )
    ref: ClaimPattern = Field(
        description="The tag or, for `pipeline`, the branch or tag, without `refs/tags/`. " + ABOUT_PATTERN
    )
    deploy: DeploySection


# Tests


class _Identity(Section):
    """The token or delivery: its issuer and claims. It has no other claims."""

    issuer: IssuerName | None = None
    jti: AnyText | None = Field(None, description="The token's id.")
    access_key: AnyText | None = Field(None, description="The id of the access key that signed.")
    via: Annotated[Via, TEXT] | None = Field(None, description="How the identity is proven.")


_Texts = Annotated[list[AnyText], OneOrMany(), OrEmpty()]
_tested: dict[str, Any] = {
    name: (AnyText | None, Field(None, description=_about(name)))
    for name in _CLAIM_NAMES
    if name not in claims.LISTS
} | {name: (_Texts | None, Field(None, description=_about(name))) for name in sorted(claims.LISTS)}
_TestIdentity: Any = create_model("Identity", __base__=_Identity, __doc__=_Identity.__doc__, **_tested)


class RequestSection(Section):
    """What it asks for."""

    action: ActionName
    function: FunctionName
    stage: StageName


class ExpectSection(Section):
    """The answer."""

    allowed: Flag = Field(description="Whether a rule allows it.")
    rule: AnyText | None = Field(None, description="The rule that decides.")


class TestSection(Section):
    """A test of the rules: a request, and the expected decision."""

    name: Title | None = None
    identity: _TestIdentity
    request: RequestSection
    expect: ExpectSection
