"""Rules, denials, webhooks, and the tests of rules."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from sluicegate.gate import webhooks
from sluicegate.oidc import claims
from sluicegate_gatefile.fields import TEXT, Form, OneOrMany, OrEmpty
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
from sluicegate_gatefile.yaml_source import Scalar

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
    "event": "For webhook deliveries only: `tag_push` or `pipeline`.",
    "sub": "The token's subject. A project can change its composition; never counts as a pin.",
}
_CLAIM_NAMES = (*_CLAIMS, *sorted(claims.READABLE - _CLAIMS.keys()))


def _about(claim: str) -> str:
    return _CLAIMS.get(claim, f"GitLab's claim `{claim}`.")


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


def _not_yet(value: object) -> object:
    """Take `iam`, which `reading` reports, for what can be checked."""
    return Scalar("id_token", "string") if value == Scalar("iam", "string") else value


class AllowSection(Section):
    """What it grants: each of the actions on each of the functions in each of the stages."""

    actions: Annotated[list[ActionName], Field(min_length=1)] = Field(
        description="Actions; each includes reading."
    )
    functions: Annotated[list[FunctionPattern], Field(min_length=1)] = Field(
        description="Functions' names or patterns."
    )
    stages: Annotated[list[StageName], Field(min_length=1)] = Field(description="Stages' names.")


class RuleSection(Section):
    """Grants actions to the identities that match it."""

    name: Title
    issuer: IssuerName | None = None
    via: Annotated[Literal["id_token", "webhook"], TEXT, BeforeValidator(_not_yet)] = Field(
        "id_token", description="How the identity is proven."
    )
    claims: Annotated[dict[str, list[str]], _InOrder()]
    allow: AllowSection


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
    via: Annotated[Literal["id_token", "webhook"], TEXT] | None = Field(
        None, description="How the identity is proven."
    )


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
