"""Principals in the gate file: what a rule for AWS credentials may say, who is a person, and who an agent.

security.md#rules
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sluicegate.gate.rules import Rule
from sluicegate.oidc.identity import Actor, Identity, Principal

CLAIMS: Final = ("account", "principal_id", "principal_type", "role", "session_name", "org")
"""All that rules may read of a principal."""

ACCOUNT: Final = r"[0-9]{12}"
ORGANISATION: Final = r"o-[a-z0-9]{10,32}"
PRINCIPAL_ID: Final = r"(?:AROA|AIDA)[A-Z0-9]{12,124}"
ROLE_ID: Final = r"AROA[A-Z0-9]{12,124}"

NEVER_AGENTS: Final = ("approve", "override-strategy", "hold", "end-sessions")
"""Actions that no agent ever has."""

PERSONS_ONLY: Final = ("approve", "reject")
"""Actions that AWS credentials carry only where their session is a person's."""


@dataclass(frozen=True)
class SsoRole:
    """A role of IAM Identity Center: each of its sessions is the person whom the session's name names."""

    account: str
    principal_id: str
    org: str


@dataclass(frozen=True)
class Person:
    """A person: their users, each with the issuer's URL, and their sessions, each with its organisation."""

    name: str
    gitlab: tuple[tuple[str, str], ...]
    iam: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Principals:
    """What the gate file says of `sso`, `people` and `agents`.

    `agent_users` are pairs of issuer's URL and user's id, `agent_principals` of account and unique id.
    """

    sso: frozenset[SsoRole]
    people: tuple[Person, ...]
    agent_users: frozenset[tuple[str, str]]
    agent_principals: frozenset[tuple[str, str]]

    def is_sso(self, account: str, principal_id: str, org: str | None) -> bool:
        """Return whether the role is one of Identity Center's that the gate file lists."""
        return org is not None and SsoRole(account, principal_id, org) in self.sso

    def is_mistaken(self, principal: Principal) -> bool:
        """Return whether `sso` lists its role and it is no person: by its name, or by its organisation.

        Rules for persons pin a session's name, which is everybody's choice where the role is a plain one.
        """
        listed = {(role.account, role.principal_id) for role in self.sso}
        return principal.principal_type != "sso" and (principal.account, principal.principal_id) in listed

    def actor(self, identity: Identity) -> Actor:
        """Return what kind of caller it is. One listed credential is enough to be an agent."""
        principal = identity.principal
        if identity.agent or self.lists_agent(identity):
            return "agent"
        is_person = identity.via == "session" or (principal and principal.principal_type == "sso")
        return "person" if is_person else "pipeline"

    def lists_agent(self, identity: Identity) -> bool:
        """Return whether `agents` has the identity, which a caller that says it is an agent need not be."""
        principal = identity.principal
        user = (identity.issuer, identity.text("user_id") or "")
        key = (principal.account, principal.principal_id) if principal else None
        return user in self.agent_users or key in self.agent_principals

    def person_of_user(self, issuer: str, user_id: str | None) -> str | None:
        """Return the name under `people` of a GitLab's user."""
        return next((one.name for one in self.people if (issuer, user_id) in one.gitlab), None)

    def person_of_session(self, org: str, session_name: str) -> str | None:
        """Return the name under `people` of a person's session, whatever the case of its letters.

        Two names that differ in case alone may be one person's, who must not approve their own request.
        """
        session = (org, session_name.casefold())
        return next(
            (one.name for one in self.people for org, name in one.iam if (org, name.casefold()) == session),
            None,
        )


def excess(
    rule: Rule, sso: Collection[SsoRole], *, guarded: Mapping[str, str], aged: Collection[str]
) -> str | None:
    """Say where a rule for AWS credentials goes beyond what they prove; None where it does not.

    `guarded` are the stages that credentials alone do not open, each with the reason; `aged` are those with a
    `max_age`.
    """
    if rule.via == "iam" and not {claim for claim, _ in rule.claims} <= set(CLAIMS):
        return "names claims that no principal has"
    if not rule.pinned("account") or not rule.pinned("principal_id"):
        return "does not pin account and principal_id"
    if rule.via != "iam":
        return None
    ids = {(account, one) for account in rule.pinned("account") for one in rule.pinned("principal_id")}
    listed = {(role.account, role.principal_id) for role in sso}
    persons = {one for _, one in ids & listed}
    if persons and (persons != set(rule.pinned("principal_id"))):
        return "mixes roles of Identity Center with other principals"
    if persons and not rule.pinned("session_name"):
        return "is for persons and does not pin session_name"
    if not persons and rule.actions & set(PERSONS_ONLY):
        return "grants a decision to a principal that is no person"
    acts = rule.actions - {"read"}
    if not persons and acts and (stage := next((one for one in rule.stages if one in guarded), None)):
        return f"grants {stage}, which {guarded[stage]}: AWS credentials alone do not show the ref"
    late = next((one for one in rule.stages if one in aged), None)
    if late and rule.actions & {"deploy", "promote"}:
        return f"grants {late}, which has a max_age: nothing tells how old AWS credentials are"
    return None
