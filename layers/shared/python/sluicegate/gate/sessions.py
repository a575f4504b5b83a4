"""What a rule for people who signed in may say. security.md#rules"""

from typing import Final

from sluicegate.gate.rules import SESSION_PINS, Rule

SECRET: Final = r"sluicegate/sign-in/[A-Za-z0-9_+=.@-]{1,128}"  # noqa: S105 - the form of a name
"""The board's role reads secrets under this prefix and no others."""

CLIENT_ID: Final = r"[\x21-\x7e]{1,256}"
"""The id of an application in a GitLab."""

CLAIMS: Final = ("user_id", "user_login", "email", "groups_direct")
"""All that a session has. `email` only where the GitLab says that it is the person's."""

NOT_GRANTED: Final = ("deploy", "override-strategy", "fix-forward")
"""What no rule can grant to a session: a person brings no artifact, a pipeline built it."""


def excess(rule: Rule, *, trusts_groups: bool) -> str | None:
    """Say where a rule for sessions goes beyond what they prove; None where it does not.

    `trusts_groups`: the issuer's groups may pin. A group's owners decide on its members, and a group that
    was deleted can be made again.
    """
    if not {claim for claim, _ in rule.claims} <= set(CLAIMS):
        return "names claims that no session has"
    pins = [claim for claim in SESSION_PINS if trusts_groups or claim != "groups_direct"]
    if not any(rule.pinned(claim) for claim in pins):
        return f"is for signed-in people and pins none of {', '.join(pins)}"
    if rule.actions & set(NOT_GRANTED):
        return "grants sessions what only a pipeline does"
    return None
