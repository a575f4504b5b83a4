"""`people`, `sso` and `agents`: which identities are people, and which are automated agents."""

from typing import Annotated

from pydantic import Field

from sluicegate.gate import principals
from sluicegate_gatefile.fields import TEXT, Form, OrEmpty
from sluicegate_gatefile.schema.base import Id, IssuerName, Section, unprintable

AccountId = Annotated[
    str,
    TEXT,
    Form(principals.ACCOUNT, "the id of an AWS account, which is 12 digits"),
    Field(description="The id of an AWS account: 12 digits in quotes."),
]
PrincipalId = Annotated[
    str,
    TEXT,
    Form(principals.PRINCIPAL_ID, "the unique id of a role (`AROA...`) or of a user (`AIDA...`)"),
    Field(description="The unique id: `aws iam get-role` shows a role's as `RoleId`."),
]
Organisation = Annotated[
    str,
    TEXT,
    Form(principals.ORGANISATION, "the id of an AWS organisation, such as `o-a1b2c3d4e5`"),
    Field(description="The id of the AWS organisation: `o-...`."),
]
SessionName = Annotated[
    str,
    TEXT,
    Form(
        r"[^*]{1,64}",
        "the name of a session: up to 64 characters, such as `ada@example.com`, and no pattern",
        unprintable,
    ),
    Field(description="The session's name: in IAM Identity Center, the user's name there."),
]


class GitLabUserSection(Section):
    """A user of a GitLab."""

    issuer: IssuerName | None = None
    user_id: Id = Field(description="The user's id.")


class SessionSection(Section):
    """A user of IAM Identity Center, as its sessions are named."""

    org: Organisation | None = Field(
        None, description="The organisation. May be omitted while `sso` names only one."
    )
    session_name: SessionName


class PersonSection(Section):
    """One person's identities. Separation of duties compares people across both ways in by them."""

    gitlab: Annotated[list[GitLabUserSection], OrEmpty()] = Field(
        [], description="The person's users in GitLab."
    )
    iam: Annotated[list[SessionSection], OrEmpty()] = Field(
        [], description="The person's users in IAM Identity Center."
    )


class SsoSection(Section):
    """A role of IAM Identity Center: its name begins with `AWSReservedSSO_`."""

    account: AccountId
    principal_id: Annotated[
        str,
        TEXT,
        Form(principals.ROLE_ID, "the unique id of a role, which begins with `AROA`"),
    ] = Field(
        description="The role's unique id. Deleting all its assignments makes a new role, with a new id."
    )
    org: Organisation


class AgentSection(Section):
    """A bot, a service account, or a role that an automated agent uses."""

    issuer: IssuerName | None = None
    user_id: Id | None = Field(None, description="The id of a user in GitLab.")
    account: AccountId | None = None
    principal_id: PrincipalId | None = None
