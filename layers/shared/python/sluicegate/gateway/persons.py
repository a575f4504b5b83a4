"""People and bots: whose request may be approved, and who may approve it. security.md#approvals

GitLab's token says who a user is, and not whether that is a bot. Its own bots have names by a pattern
(docs.gitlab.com: project access tokens, group access tokens, service accounts; the prefix of the security
policies' bot is in ee/app/services/security of gitlab-org/gitlab, and what follows it in
lib/gitlab/utils/username_and_email_generator.rb; read on 2026-11-26). A service account may have any name:
only a rule that lists user ids keeps it out.
"""

import re
from typing import Final

from sluicegate.deployment.model import Requester
from sluicegate.gate import patterns
from sluicegate.gate.policy import Gate
from sluicegate.gateway.problems import Problem, not_allowed, unprocessable
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
    """Raise 422 if nobody could approve what the identity requests. People approve for a listed agent."""
    by = requester(identity)
    if gate.principals.lists_agent(identity):
        return
    if not is_user(by.user_id):
        raise unprocessable(
            f"{stage} asks for an approval, and the request is not a user's: nobody could approve it"
        )
    if is_bot(by) and not gate.names_user(identity, actions=actions, function=function, stage=stage):
        raise unprocessable(
            f"{stage} asks for an approval, and user {by.user_login} is a bot, whose creator could approve"
            " its requests: list its user_id in the rule that allows this"
        )


def check_approver(gate: Gate, asked: Requester, identity: Identity, function: str, stage: str) -> None:
    """Raise 403 unless it is another person, from another pipeline, and no bot that no rule names."""
    by = requester(identity)
    if not is_user(by.user_id):
        raise _refused("an approval needs a user, and this identity has none")
    # Of principals, only listed agents get this far: nobody is behind their sessions.
    if not is_user(asked.user_id) and asked.principal_type not in ("role", "user"):
        raise _refused("the deployment was not requested by a user: nobody can approve it")
    if (by.issuer, by.user_id) == (asked.issuer, asked.user_id):
        raise _refused("this user requested the deployment: a different person must approve it")
    if (by.issuer, by.pipeline_id) == (asked.issuer, asked.pipeline_id):
        raise _refused("this pipeline requested the deployment: approve from another pipeline")
    if is_bot(by) and not gate.names_user(identity, actions=("approve",), function=function, stage=stage):
        raise _refused("this user is a bot, and no rule that grants approve lists its user_id")


def is_bot(by: Requester) -> bool:
    """Return whether it is a bot by its name, or has none."""
    login = (by.user_login or "").lower()
    return not login or any(pattern.matches(login) for pattern in _BOTS)


def is_user(user_id: str | None) -> bool:
    """Return whether it is the id of a user."""
    return user_id is not None and re.fullmatch(r"[1-9][0-9]*", user_id, re.ASCII) is not None


def _refused(detail: str) -> Problem:
    return not_allowed(detail, title="This identity may not approve this")
