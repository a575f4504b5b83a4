"""What the API's answers come to, in a sentence and what to change; and beside what is known here.

Whatever answers may be another server than the API: nothing here relies on the shape of a document.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from sluicegate.gate.rules import Rule
from sluicegate.oidc.claims import REQUIRED
from sluicegate_cli.doctor.findings import (
    API,
    AUDIENCE,
    FORM,
    GATE,
    ISSUER,
    REQUEST,
    ROTATION,
    RULES,
    Finding,
    Verdict,
)
from sluicegate_cli.doctor.token_checks import ASK, Token, named, no_rule

OF_TOKEN: Final = (ISSUER, AUDIENCE, ROTATION, FORM)
"""The checks of the token, in the order in which they are shown and mended."""

_AGAIN: Final = "Run the job again: each run gets a token of its own, which lives as long as its `timeout`."
_CLOCK: Final = "Set the clock of that GitLab by NTP."
_ANEW: Final = (
    "Try again in half a minute, with the token of a job that runs now; a `jwks` file in the gate file"
    " must be fetched anew, and deployed."
)
_MEANT: Final = (
    "Compare with the gate file that is deployed, and deploy (`make deploy`) the one that is meant."
)
_HERE: Final = "Look at this machine's clock, and whether it reaches the same GitLab as AWS does."
REACH: Final = (
    "Compare it with the stack's output `Endpoint`; name a proxy, if one is needed, in HTTPS_PROXY."
)
"""What to change where the address does not answer."""

_PASSED: Final = "Send the variable of `id_tokens` of this very job as it is: not cut, quoted or changed."

_OF_CHECK: Final[Mapping[str, tuple[str, str]]] = {
    "iss": (ISSUER, "Write `url:` of the gate file's issuer exactly as the token's `iss`, and deploy it."),
    "aud": (
        AUDIENCE,
        "Make `aud:` in the job's `id_tokens` and `audience:` in the gate file one and the same text.",
    ),
    "exp": (ROTATION, _AGAIN),
    "max_age": (
        ROTATION,
        "Deploy earlier in the job, or in a job of its own: a job's token is as old as the job.",
    ),
    "nbf": (ROTATION, _CLOCK),
    "iat": (ROTATION, _CLOCK),
    "kid": (ROTATION, _ANEW),
    "signature": (ROTATION, "The token was changed on its way, or another GitLab has the same address."),
    "authorization": (
        FORM,
        "Send one header `Authorization: Bearer TOKEN`, with the variable of the job's `id_tokens`.",
    ),
    "token": (FORM, _PASSED),
    "header": (FORM, _PASSED),
    "payload": (FORM, _PASSED),
    "alg": (FORM, ASK),
    "typ": (FORM, ASK),
    **dict.fromkeys(REQUIRED, (FORM, f"A job's token has it, others have not. {ASK}")),
}
"""For a 401's `check`: which of the checks here it is, and what to change."""

_OF_CODE: Final[Mapping[str, tuple[str, str]]] = {
    "not_found": (REQUEST, "It does not exist, or this project may not see it: both look the same."),
    "busy": (
        REQUEST,
        "Wait for the deployment that is under way, abort it, or ask with `--on-busy supersede`.",
    ),
    "held": (REQUEST, "Wait until the stage is released (`sluicegate hold STAGE`); a rollback is possible."),
    "outdated": (
        REQUEST,
        "Nothing, if the newer one is meant; to go back on purpose, `sluicegate rollback`.",
    ),
    "token_used": (REQUEST, "Use another job, with a token of its own: one deploys one thing to one stage."),
    "key_reused": (REQUEST, "Leave the Idempotency-Key out, or take another for another request."),
    "source_changed": (
        REQUEST,
        "Promote exactly what the source serves, without weights: `sluicegate status FUNCTION`.",
    ),
    "wrong_state": (
        REQUEST,
        "Look where the deployment is (`sluicegate status ID`): this comes too late or too early.",
    ),
    "not_as_expected": (
        REQUEST,
        "Look what the stage serves (`sluicegate status FUNCTION`), then ask again.",
    ),
    "unprocessable": (
        REQUEST,
        "Change what the request names: function, stage and artifact must be what the detail says.",
    ),
    "invalid_request": (REQUEST, "Correct the named fields as docs/reference/api.md has them."),
    "too_large": (REQUEST, "Send at most 64 KiB; the code itself goes to where `POST /artifacts` says."),
    "unsupported_media_type": (REQUEST, "Send the header `Content-Type: application/json`."),
    "upload_failed": (REQUEST, "Run it again; if it stays so, look whether a proxy stands before S3."),
    "throttled": (
        API,
        "Send the same again a little later; the stack's `ApiRate` and `ApiBurst` are the limit.",
    ),
    "unavailable": (API, "Send the same again a little later; if it stays so, see the stack's alarms."),
}
CODES: Final = frozenset({"invalid_token", "not_allowed", "unreachable", "unexpected_answer", *_OF_CODE})
"""The codes that an answer, or the command line for want of one, can have."""


def of_problem(document: Mapping[str, Any], token: Token | None = None) -> Finding:
    """What an answer of the API comes to that is no success, for the token if it is known."""
    code, detail = _text(document.get("code")), _text(document.get("detail"))
    if code == "invalid_token":
        return _of_refusal(document, detail, token)
    if code == "not_allowed":
        return _of_denial(document, detail)
    if code in ("unreachable", "unexpected_answer") or code not in _OF_CODE:
        return of_silence(document)
    check, change = _OF_CODE[code]
    if code == "unavailable" and "keys" in detail:
        change = (
            "Give the gate file its keys (`jwks: FILE`), if AWS does not reach that GitLab; else try later."
        )
        return Finding(ROTATION, Verdict.WRONG, "the API cannot fetch GitLab's keys", change)
    if code == "unavailable" and "gate file" in detail:
        change = "Run `sluicegate check` and `make deploy` with the version of Sluicegate that is deployed."
        return Finding(API, Verdict.WRONG, f"the API denies everything: {detail}", change)
    if code == "unprocessable" and "`functions`" in detail:
        change = "Add the function to `functions` in the gate file, and deploy it."
    if deployment := _text(document.get("deployment")):
        detail += f" ({deployment})"
    return Finding(check, Verdict.WRONG, f"the API refuses it as {code}: {detail}", change)


def _of_refusal(document: Mapping[str, Any], detail: str, token: Token | None) -> Finding:
    name = _text(document.get("check")) or detail.partition(":")[0].strip()
    check, change = _OF_CHECK.get(name, (FORM, ASK))
    if token is not None and name == "iss":
        seen = f"`iss` is {token.issuer}, which is no issuer of the gate file that the API runs"
        return Finding(
            check, Verdict.WRONG, seen, f"Write `url: {token.issuer}` there, to the letter, and deploy it."
        )
    if token is not None and name == "aud":
        seen = f"`aud` is {_text(token.claims.get('aud'))}, which is not what the API's gate file says"
        return Finding(check, Verdict.WRONG, seen, change)
    if name == "kid" and "key set" in detail:
        change = "Fetch the gate file's `jwks` file again (GITLAB/oauth/discovery/keys), and deploy it."
    if name == "exp" and "31 days" in detail:
        change = "Give the job a `timeout` below 31 days: its token lives as long."
    return Finding(check, Verdict.WRONG, f"the API refuses the token: {detail}", change)


def _of_denial(document: Mapping[str, Any], detail: str) -> Finding:
    if "before Sluicegate was asked" in detail:
        change = "Let this network pass the API's resource policy or web ACL."
        return Finding(API, Verdict.WRONG, f"the API refuses this caller: {detail}", change)
    if "denies this" in detail:
        change = (
            "Take the entry that is this job's out of `deny`, if it is not meant, and deploy the gate file."
        )
        return Finding(RULES, Verdict.WRONG, detail, change)
    if not detail.startswith("no rule allows"):  # approvals: who may not, and why
        return Finding(
            RULES, Verdict.WRONG, detail, "Ask somebody whom the rule allows it, in another pipeline."
        )
    return no_rule(detail, list(_nearest(document)), None)


def _nearest(document: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    for rule in _objects(document.get("nearest")):
        failed = [
            (_text(one.get("claim")), None if one.get("value") is None else _text(one["value"]))
            for one in _objects(rule.get("failed"))
        ]
        yield _text(rule.get("rule")), failed


# Whether it is the API that answers


def of_silence(document: Mapping[str, Any], url: str = "") -> Finding:
    """No answer, or one that is not Sluicegate's: at the address, or of something in between."""
    detail, status = _text(document.get("detail")), document.get("status")
    ending = "Write the stack's output `Endpoint` as the address, up to and including /v1."
    if document.get("code") == "unreachable":
        return Finding(API, Verdict.WRONG, detail or "the API could not be reached", _reach(detail))
    if status == 407:
        change = "Give HTTPS_PROXY the proxy's own credentials, or NO_PROXY the API's host."
        return Finding(API, Verdict.WRONG, "a proxy in between wants credentials of its own", change)
    if isinstance(status, int) and 300 <= status < 400:
        seen = "the address leads somewhere else, where no token is sent unasked"
        return Finding(API, Verdict.WRONG, f"{seen}: {detail}", ending)
    if status in (403, 404):
        lacks = "" if not url or urlsplit(url).path.endswith("/v1") else ", and it does not end with /v1"
        seen = f"there is no Sluicegate at this address{lacks}: {detail}"
        return Finding(API, Verdict.WRONG, seen, ending)
    if isinstance(status, int) and status >= 500:
        change = "Try a little later; if it stays so, see the stack's alarms, and what stands before the API."
        return Finding(API, Verdict.WRONG, detail, change)
    seen = f"what answers is not Sluicegate, but another server or a proxy's page: {detail}"
    return Finding(API, Verdict.WRONG, seen, ending)


def _reach(detail: str) -> str:
    words = detail.lower()
    if "certificate" in words or "ssl" in words:
        return (
            "If a proxy opens TLS on the way, name its certificate in SSL_CERT_FILE; else correct the host."
        )
    if "name" in words or "resolve" in words or "nodename" in words or "getaddrinfo" in words:
        return "Correct the host: it is in the stack's output `Endpoint`."
    return REACH


def of_health(document: Mapping[str, Any], url: str) -> Finding:
    """Who says that it is well."""
    version = _text(document.get("version"))
    if not version or document.get("status") != "ok":
        return of_silence({"status": 200, "detail": "it answers JSON of another kind"}, url)
    return Finding(API, Verdict.OK, f"{url} is Sluicegate {version}")


def of_ill_health(document: Mapping[str, Any], url: str) -> Finding:
    """`GET /health` needs nothing: what else it answers is about the address, or the API itself."""
    if document.get("code") in ("not_found", "invalid_token", "invalid_request"):
        change = "End the address with /v1, and with nothing after it."
        return Finding(API, Verdict.WRONG, "Sluicegate is there, but the address is not its root", change)
    if document.get("code") == "unexpected_answer":
        return of_silence(document, url)
    return of_problem(document)


def of_address(url: str, trouble: str) -> Finding:
    """An address that no token may be sent to."""
    if not url:
        change = "Set SLUICEGATE_URL to the stack's output `Endpoint`."
        return Finding(API, Verdict.WRONG, "the address is empty", change)
    if "$" in url:
        change = "Let a shell expand it, and set it where this job sees it."
        return Finding(API, Verdict.WRONG, "the address is a variable's name, not its value", change)
    if url.startswith("http://"):
        seen = "the address is http: a token would be sent in the clear"
        return Finding(API, Verdict.WRONG, seen, "Write https:// instead.")
    if "://" not in url:
        return Finding(API, Verdict.WRONG, "the address does not begin with https://", "Write it in front.")
    change = "Write the stack's output `Endpoint`, up to and including /v1, and nothing around it."
    return Finding(API, Verdict.WRONG, trouble, change)


# What the rules give


def of_whoami(identity: Mapping[str, Any]) -> Finding:
    """What the rules give to an identity that verified."""
    rules = list(_objects(identity.get("rules")))
    if not rules:
        project = _text(identity.get("project_id")) or None
        return no_rule("the token verifies, but no rule of the API's gate file matches it", [], project)
    granted = "; ".join(
        f"'{_text(rule.get('name'))}' ({', '.join(_texts(rule.get('actions')))}"
        f" in {', '.join(_texts(rule.get('stages')))})"
        for rule in rules
    )
    return Finding(RULES, Verdict.OK, f"{'these match' if len(rules) > 1 else 'this matches'}: {granted}")


def of_rehearsal(document: Mapping[str, Any], function: str, stage: str) -> Finding:
    """What a dry run for an artifact that is not there comes to: only who may deploy is told so."""
    if document.get("code") == "unprocessable" and "no artifact" in _text(document.get("detail")):
        return Finding(RULES, Verdict.OK, f"this job may deploy {function} in {stage}")
    return of_problem(document)


# Beside what is known here


def confirmed(local: Iterable[Finding]) -> Iterator[Finding]:
    """What is known here of a token, once the API has accepted it."""
    for finding in local:
        if finding.verdict is Verdict.UNKNOWN:
            if finding.check in (ISSUER, AUDIENCE):
                yield Finding(finding.check, Verdict.OK, f"{finding.seen}, and the API accepts it")
        elif finding.verdict is Verdict.WRONG and finding.compared:
            seen = f"{finding.seen}; yet the API accepts it, so it runs another gate file than the one here"
            change = _MEANT
            yield Finding(finding.check, Verdict.WARNING, seen, change)
        elif finding.verdict is Verdict.WRONG:
            seen = f"{finding.seen}; yet the API accepts it"
            yield Finding(finding.check, Verdict.WARNING, seen, _HERE)
        else:
            yield finding


def refused(local: Sequence[Finding], refusal: Finding) -> list[Finding]:
    """What is known here of a token, and the API's refusal of it: said once, where it belongs."""
    if refusal.check not in OF_TOKEN:
        return [*local, refusal]
    alike = [finding for finding in local if finding.check == refusal.check]
    if any(finding.verdict is Verdict.WRONG for finding in alike):
        # What was found here says more: it knows the token, and what it was compared with.
        return [_with_issuer(refusal, finding) for finding in local]
    if any(finding.verdict is Verdict.OK and finding.compared for finding in alike):
        seen = f"{refusal.seen}; the gate file here takes it, so the API runs another one"
        change = _MEANT
        refusal = Finding(refusal.check, Verdict.WRONG, seen, change)
    others = [_with_issuer(refusal, finding) for finding in local if finding.check != refusal.check]
    return sorted([*others, refusal], key=lambda finding: OF_TOKEN.index(finding.check))


def _with_issuer(refusal: Finding, finding: Finding) -> Finding:
    """The issuer is looked at first: to refuse the audience or the age tells that it is a known one."""
    unknown = finding.check == ISSUER and finding.verdict is Verdict.UNKNOWN
    if unknown and refusal.check in (AUDIENCE, ROTATION):
        return Finding(ISSUER, Verdict.OK, f"{finding.seen}, and the API knows it")
    return finding


def other_rules(identity: Mapping[str, Any], here: Sequence[Rule]) -> Finding | None:
    """Whether other rules match at the API than in the gate file here; None if they are the same."""
    theirs = {
        (
            _text(rule.get("name")),
            tuple(sorted(_texts(rule.get("actions")))),
            tuple(_texts(rule.get("functions"))),
            tuple(_texts(rule.get("stages"))),
        )
        for rule in _objects(identity.get("rules"))
    }
    ours = {
        (rule.name, tuple(sorted(rule.actions)), tuple(map(str, rule.functions)), rule.stages)
        for rule in here
    }
    if theirs == ours:
        return None
    differing = sorted({rule[0] for rule in theirs ^ ours})
    seen = f"the API runs another gate file than the one here: {named(differing)} differ for this job"
    change = _MEANT
    return Finding(GATE, Verdict.WARNING, seen, change)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
