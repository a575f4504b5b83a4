"""Identities, and the issuers that vouch for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FEEDBACK_SECRETS = "sluicegate/gitlab/"
"""The prefix of every secret that holds a token for GitLab's API."""

Via = Literal["id_token", "iam", "webhook"]
ClaimValue = str | tuple[str, ...]


@dataclass(frozen=True)
class Feedback:
    """What a GitLab receives about its projects' deployments; `secret` names the secret with the token."""

    secret: str
    commit_status: bool
    deployment: bool


@dataclass(frozen=True)
class Issuer:
    """A GitLab whose ID tokens are accepted, for one audience.

    `url` is the `iss` of its tokens, where its keys are found. `gitlab` is the GitLab's own address, where
    its administrator chose another `iss`: the setting `ci_id_tokens_issuer_url`. `max_age` is in seconds
    since `iat`; None leaves the limit to `exp`. `jwks` is the key set itself where the gate file names a
    file; None means discovery over HTTP. `feedback` None: it receives none.
    """

    name: str
    url: str
    audience: str
    max_age: int | None = None
    jwks: bytes | None = None
    feedback: Feedback | None = None
    gitlab: str | None = None

    @property
    def instance(self) -> str:
        """The GitLab's own address: of its API, of links, and of what its webhooks say."""
        return self.gitlab or self.url


@dataclass(frozen=True)
class Identity:
    """Verified claims, together with the issuer that vouches for them.

    `claims` holds what rules may read, normalised to strings (a tuple only for `groups_direct`).
    Project 4213 of one GitLab is not project 4213 of another: compare `project`, never `project_id`.
    `webhook` is the name of the gate file's entry, for a delivery; `gitlab` is the GitLab's own address,
    where that is not the issuer.
    """

    via: Via
    issuer: str
    claims: Mapping[str, ClaimValue]
    jti: str | None
    issued_at: int
    expires_at: int
    webhook: str | None = None
    gitlab: str | None = None

    def text(self, claim: str) -> str | None:
        """The claim's value where it is a plain string, else None."""
        value = self.claims.get(claim)
        return value if isinstance(value, str) else None

    @property
    def project(self) -> tuple[str, str | None]:
        """(issuer, project_id): the only form in which projects are compared."""
        return self.issuer, self.text("project_id")
