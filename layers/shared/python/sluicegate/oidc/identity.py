"""Identities of callers: vouched for by a GitLab, by API Gateway's check of a signature, or by both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sluicegate.owner import Owner

FEEDBACK_SECRETS = "sluicegate/gitlab/"
"""The prefix of every secret that holds a token for GitLab's API."""

Via = Literal["id_token", "iam", "iam+id_token", "webhook", "session"]
PrincipalType = Literal["role", "sso", "user"]
Actor = Literal["agent", "person", "pipeline"]
ClaimValue = str | tuple[str, ...]


@dataclass(frozen=True)
class Feedback:
    """What a GitLab receives about its projects' deployments; `secret` names the secret with the token."""

    secret: str
    commit_status: bool
    deployment: bool
    merge_request_note: bool


@dataclass(frozen=True)
class SignIn:
    """The application in a GitLab that signs people in; `secret` names the secret with its client secret."""

    client_id: str
    secret: str


@dataclass(frozen=True)
class Issuer:
    """A GitLab whose ID tokens are accepted, for one audience.

    `url` is the `iss` of its tokens, where its keys are found. `gitlab_url` is the GitLab's own address,
    where its administrator chose another `iss`: the setting `ci_id_tokens_issuer_url`. `max_age` is in
    seconds since `iat`; None leaves the limit to `exp`. `jwks` is the key set itself where the gate file
    names a file; None means discovery over HTTP. `feedback` None: it receives none. `sts_audience` is the
    audience of the tokens that its jobs exchange for AWS credentials; those tokens are refused here.
    `sign_in` None: nobody signs in there. `trusts_groups`: its groups may pin a rule for signed-in people.
    """

    name: str
    url: str
    audience: str
    max_age: int | None = None
    jwks: bytes | None = None
    feedback: Feedback | None = None
    gitlab_url: str | None = None
    sts_audience: str | None = None
    sign_in: SignIn | None = None
    trusts_groups: bool = False

    @property
    def instance(self) -> str:
        """The GitLab's own address: of its API, of links, and of what its webhooks say."""
        return self.gitlab_url or self.url


@dataclass(frozen=True)
class Principal:
    """The AWS principal that signed a request, as API Gateway's request context names it.

    `account` has 12 digits. `principal_id` is the unique id (`AROA...` of a role, `AIDA...` of a user): a
    role that was deleted and made again has another one. `sso` is a role of IAM Identity Center that the gate
    file lists: its sessions are persons, named by `session_name`. `org` is the organisation of the account.
    """

    account: str
    principal_id: str
    principal_type: PrincipalType
    arn: str
    access_key: str
    role: str | None = None
    session_name: str | None = None
    org: str | None = None

    @property
    def claims(self) -> dict[str, str]:
        """What rules may read of it. What it does not have is left out, and matches nothing."""
        found = {
            "account": self.account,
            "principal_id": self.principal_id,
            "principal_type": self.principal_type,
            "role": self.role,
            "session_name": self.session_name,
            "org": self.org,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Identity:
    """Verified claims, together with the issuer or the principal that they belong to.

    `claims` holds what rules may read, normalised to strings (a tuple only for `groups_direct`).
    Project 4213 of one GitLab is not project 4213 of another: compare `owner`, never `project_id`.
    `webhook` is the name of the gate file's entry, for a delivery; `gitlab` is the GitLab's own address,
    where that is not the issuer. `principal` signed the request, with `via` `iam` or `iam+id_token`. Without
    an ID token, `issuer` is empty, `jti` is None, and both times are 0. With `via`
    `session` it was issued when the GitLab signed the person in last, and expires with the session.
    `agent`: the caller says that it is one, which only takes rights away.
    """

    via: Via
    issuer: str
    claims: Mapping[str, ClaimValue]
    jti: str | None
    issued_at: int
    expires_at: int
    webhook: str | None = None
    gitlab: str | None = None
    principal: Principal | None = None
    agent: bool = False

    def text(self, claim: str) -> str | None:
        """The claim's value where it is a plain string, else None."""
        value = self.claims.get(claim)
        return value if isinstance(value, str) else None

    @property
    def project(self) -> tuple[str, str | None]:
        """(issuer, project_id): the only form in which projects are compared."""
        return self.issuer, self.text("project_id")

    @property
    def owner(self) -> Owner:
        """Whose its records are: the project's where there is one, else the principal's or the user's."""
        if self.via == "iam" and self.principal:
            return Owner("principal", self.principal.account, self.principal.principal_id)
        if self.via == "session":
            return Owner("user", self.issuer, self.text("user_id") or "")
        return Owner("project", self.issuer, self.text("project_id") or "")
