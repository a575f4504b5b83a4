"""People and bots: whose request may be approved, and who may approve it. security.md#approvals

A person comes in as a user of a GitLab, or as a session of IAM Identity Center. Whether one of each is the
same person, only `people` in the gate file says.

GitLab's token says who a user is, and not whether that is a bot. Its own bots have names by a pattern
(docs.gitlab.com: project access tokens, group access tokens, service accounts; the prefix of the security
policies' bot is in ee/app/services/security of gitlab-org/gitlab, and what follows it in
lib/gitlab/utils/username_and_email_generator.rb; read on 2026-11-26). A service account may have any name:
only a rule that lists user ids keeps it out.
"""

import re
from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.model import Requester
from sluicegate.gate import patterns
from sluicegate.gate.policy import Gate
from sluicegate.gateway.problems import Problem, not_allowed, person_unknown, unprocessable
from sluicegate.gateway.requester import requester
from sluicegate.oidc.identity import Identity

_BOTS: Final = tuple(
    map(
        patterns.compile,
        (
            "project_*_bot*",
            "group_*_bot*",
            "service_account_*",
            "duo-*",
            "*-bot",
            "*_bot",
            "*_bot_*",
            "*.bot",
        ),
    )
)


def check_can_be_approved(
    gate: Gate, identity: Identity, actions: tuple[str, ...], function: str, stage: str
) -> None:
    """Raise 422 if nobody could approve what the identity requests.

    A listed agent is no person, and any person may approve what it requests.
    """
    by = requester(gate, identity)
    if gate.principals.lists_agent(identity):
        return
    ways = _ways(gate, by)
    if ways.user is None and ways.session is None:
        raise unprocessable(
            f"{stage} asks for an approval, and the request is not a person's: nobody could approve it"
        )
    if ways.user is None:
        return
    if is_bot(by) and not gate.names_user(identity, actions=actions, function=function, stage=stage):
        raise unprocessable(
            f"{stage} asks for an approval, and user {by.user_login} is a bot, whose creator could approve"
            " its requests: list its user_id in the rule that allows this"
        )


def check_approver(gate: Gate, asked: Requester, identity: Identity, function: str, stage: str) -> None:
    """Raise 403 unless it is another person, from another pipeline, and no bot that no rule names."""
    by = requester(gate, identity)
    ways, theirs = _ways(gate, by), _ways(gate, asked)
    if by.actor == "agent":
        raise _refused("an approval needs a person, and this is an agent")
    if ways.user is None and ways.session is None:
        raise _refused("an approval needs a person, and this identity is none")
    if _are_the_same(ways, theirs):
        raise _refused("this person requested the deployment: a different person must approve it")
    if not _is_listed_agent(gate, asked):
        _check_comparable(ways, theirs)
    if asked.pipeline_id and (by.issuer, by.pipeline_id) == (asked.issuer, asked.pipeline_id):
        raise _refused("this pipeline requested the deployment: approve from another pipeline")
    if ways.user is None:
        return
    if is_bot(by) and not gate.names_user(identity, actions=("approve",), function=function, stage=stage):
        raise _refused("this user is a bot, and no rule that grants approve lists its user_id")


def check_one_person(gate: Gate, identity: Identity) -> None:
    """Raise 403 if a request's token and its signature are of two persons, or may be."""
    ways = _ways(gate, requester(gate, identity))
    if ways.user is None or ways.session is None:
        return
    user, session = ways.user_name, ways.session_name
    if user == session:
        return
    if user is None or session is None:
        raise person_unknown("`people` in the gate file has only one of this user and this session")
    raise _refused("the ID token and the signature are of two different people")


@dataclass(frozen=True)
class _Ways:
    """The ways in which a person came: (GitLab, user id) and (organisation, session's name), if they did.

    Each has the name under `people`, if that has it.
    """

    user: tuple[str, str] | None
    session: tuple[str, str] | None
    user_name: str | None
    session_name: str | None

    @property
    def names(self) -> set[str]:
        return {name for name in (self.user_name, self.session_name) if name}


def _ways(gate: Gate, by: Requester) -> _Ways:
    known = by.issuer and by.user_id and is_user(by.user_id)
    # One GitLab may be two issuers, for example while its tokens change theirs: the user is one all the same.
    user = ((by.gitlab or by.issuer).rstrip("/"), by.user_id or "") if known else None
    session = None
    if by.principal_type == "sso" and by.org and by.session_name:
        session = (by.org, by.session_name)
    return _Ways(
        user,
        # The same name in other letters is no other person.
        session and (session[0], session[1].casefold()),
        gate.principals.person_of_user(by.issuer, by.user_id) if user else None,
        gate.principals.person_of_session(*session) if session else None,
    )


def _is_listed_agent(gate: Gate, by: Requester) -> bool:
    """Return whether the gate file lists it as an agent. What only says that it is one may be a person's."""
    principals = gate.principals
    return (by.issuer, by.user_id) in principals.agent_users or (
        by.account,
        by.principal_id,
    ) in principals.agent_principals


def _are_the_same(one: _Ways, other: _Ways) -> bool:
    """Return whether they have a user, a session or a name under `people` in common."""
    same_user = one.user is not None and one.user == other.user
    # Of two organisations too: one name in both does not make two people.
    names = [each.session[1] for each in (one, other) if each.session is not None]
    same_session = len(names) == 2 and names[0] == names[1]
    return same_user or same_session or bool(one.names & other.names)


def _check_comparable(approver: _Ways, asked: _Ways) -> None:
    """Raise 403 unless they are known to be two people. Across the ways in, only `people` knows."""
    if asked.user is None and asked.session is None:
        raise _refused("the deployment was not requested by a person: nobody can approve it")
    comparable = (approver.user and asked.user) or (approver.session and asked.session)
    if not comparable and not (approver.names and asked.names):
        raise person_unknown(
            "the request came with a GitLab user and the approval with AWS credentials, or the other way"
            " round: `people` in the gate file must have both persons"
        )


def is_bot(by: Requester) -> bool:
    """Return whether it is a bot by its name, or has none."""
    login = (by.user_login or "").lower()
    return not login or any(pattern.matches(login) for pattern in _BOTS)


def is_user(user_id: str | None) -> bool:
    """Return whether it is the id of a user."""
    return user_id is not None and re.fullmatch(r"[1-9][0-9]*", user_id, re.ASCII) is not None


def _refused(detail: str) -> Problem:
    return not_allowed(detail, title="This identity may not approve this")
