"""Errors that a caller can act on: RFC 9457 problem details, each made in one place."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.gate.policy import Nearest
from sluicegate.gateway.http import GatewayResponse
from sluicegate.oidc.identity import Identity
from sluicegate.store.requests import CredentialUse
from sluicegate.text import clean

TITLES: Final = {
    "busy": "Another deployment is rolling out",
    "expired_session": "The session has expired",
    "held": "New deployments to this stage are held",
    "invalid_request": "The request is not valid",
    "invalid_signature": "The signature does not verify",
    "invalid_token": "The credential does not verify",
    "limit_reached": "A limit of the rule is reached",
    "key_reused": "The idempotency key belongs to another request",
    "not_allowed": "No rule allows this",
    "not_as_expected": "The stage serves another version",
    "not_found": "Not found",
    "not_signed": "No such call, or not signed",
    "outdated": "A newer pipeline has been deployed",
    "person_unknown": "The gate file does not say who this is",
    "pruned": "The version was deleted as an old one",
    "sign_in_required": "Sign in again",
    "session_used": "The session has been used for another request",
    "source_changed": "The source stage does not serve this",
    "too_large": "The request is too large",
    "throttled": "Too many requests",
    "token_used": "The token has been used for another request",
    "unavailable": "Temporarily unavailable",
    "unprocessable": "The request cannot be carried out",
    "unsupported_media_type": "The request is not JSON",
    "wrong_state": "The deployment's state does not allow this",
}
"""Title of each code. `expired_session`, `invalid_signature` and `not_signed` are API Gateway's answers."""


class Problem(Exception):
    """An answer other than success. `detail` and `members` hold no secret and no uncleaned text.

    `title` is the code's own, unless the code has several causes. `identity` is the caller's where it was
    verified, and refused before there was an answer for it.
    """

    identity: Identity | None = None

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        title: str | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})
        self.title = title or TITLES[code]

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem's JSON object."""
        return {
            "type": f"urn:sluicegate:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            **self.members,
        }


def invalid_token(check: str, detail: str) -> Problem:
    """401: `check` names the check that failed."""
    headers = {"WWW-Authenticate": 'Bearer realm="sluicegate", error="invalid_token"'}
    return Problem(401, "invalid_token", f"{check}: {detail}", {"check": check}, headers)


def sign_in_required(check: str, detail: str, *, max_age: int | None = None) -> Problem:
    """401: a person has to sign in with GitLab again; with `max_age` within so many seconds (RFC 9470)."""
    why = "invalid_token" if max_age is None else f'insufficient_user_authentication", max_age="{max_age}'
    headers = {"WWW-Authenticate": f'Bearer realm="sluicegate", error="{why}"'}
    return Problem(401, "sign_in_required", f"{check}: {detail}", {"check": check}, headers)


def invalid_request(errors: Sequence[tuple[str, str]]) -> Problem:
    """400: each error as (JSON pointer, what to do)."""
    listed = [{"pointer": clean(pointer), "detail": clean(detail)} for pointer, detail in errors]
    detail = "; ".join(f"{e['pointer'] or 'body'}: {e['detail']}" for e in listed[:3])
    return Problem(400, "invalid_request", detail, {"errors": listed})


def not_allowed(detail: str, nearest: Sequence[Nearest] = (), title: str | None = None) -> Problem:
    """403, with the rules of the caller's own project that came near; `title` where no rule would help."""
    listed = [
        {
            "rule": rule.rule,
            "failed": [
                {"claim": failed.claim, "value": clean(failed.value) if failed.value is not None else None}
                for failed in rule.failed
            ],
        }
        for rule in nearest
    ]
    return Problem(403, "not_allowed", detail, {"nearest": listed}, title=title)


def limit_reached(detail: str, limit: str, lifts_at: str | None) -> Problem:
    """403: a limit of the rule, as the gate file calls it. It lifts at `lifts_at` (RFC 3339), None if never.

    Not 429: clients retry that, and this can last for days.
    """
    return Problem(403, "limit_reached", detail, {"limit": limit, "lifts_at": lifts_at})


def refused_principal(check: str, detail: str) -> Problem:
    """403: AWS vouches for the caller, and no such principal may call. `check` names what is wrong."""
    title = "This IAM principal is not accepted"
    return Problem(403, "not_allowed", f"{check}: {detail}", {"nearest": [], "check": check}, title=title)


def person_unknown(detail: str) -> Problem:
    """403: nothing says whether two callers are one person."""
    return Problem(403, "person_unknown", detail)


def not_found() -> Problem:
    """404, word for word the same for what does not exist and for what the caller may not see."""
    return Problem(404, "not_found", "there is no such thing, or you may not see it")


def conflict(code: str, detail: str, members: Mapping[str, Any] | None = None) -> Problem:
    """409, of the kind that `code` says."""
    return Problem(409, code, detail, members)


def credential_used(use: CredentialUse) -> Problem:
    """409: the token or session of this use was bound to another request before."""
    if use.credential == "session":
        return conflict(
            "session_used",
            "this session or access key was used for another request to this stage: assume the role again for"
            " another one. A user's own key is free again after 13 hours",
        )
    return conflict(
        "token_used",
        "this token was used for another request to this stage: a job asks for one thing of one stage",
    )


def unprocessable(detail: str) -> Problem:
    """422: the record shows that it cannot be done."""
    return Problem(422, "unprocessable", detail)


def pruned(version: str, function: str, since: str) -> Problem:
    """422: the version went with old ones, or is going, since a time (RFC 3339)."""
    return Problem(
        422,
        "pruned",
        f"version {version} of {function} was pruned at {since}, as an old one that nothing needed: deploy"
        " its artifact again",
    )


def function_not_covered(function: str) -> Problem:
    """422: the gate file does not deploy the function."""
    return unprocessable(f"no entry of `functions` in the gate file covers {function}")


def throttled(detail: str, retry_after: int) -> Problem:
    """429: a limit that passes in `retry_after` seconds."""
    return Problem(429, "throttled", detail, headers={"Retry-After": str(retry_after)})


def unavailable(detail: str, retry_after: int = 5) -> Problem:
    """503: nothing was accepted, or the same request again finds what was. `retry_after` in seconds."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(retry_after)})


def problem_response(problem: Problem, request_id: str) -> GatewayResponse:
    """Render a problem in both forms."""
    lines = [f"{problem.code}: {problem.detail}"]
    lines += [f"{item['pointer']}: {item['detail']}" for item in problem.members.get("errors", ())]
    for rule in problem.members.get("nearest", ()):
        failed = ", ".join(f"{item['claim']}={item['value']}" for item in rule["failed"])
        why = f"does not match {failed}" if failed else "matches, but does not grant this"
        lines.append(f"rule {rule['rule']!r} {why}")
    return GatewayResponse(problem.status, problem.body(request_id), tuple(lines), problem.headers)
