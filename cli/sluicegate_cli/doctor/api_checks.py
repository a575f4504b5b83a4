"""Explain the API's responses, alone and together with local findings.

The server may be something else than the API: nothing here relies on the shape of a document.
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
    CheckVerdict,
    Finding,
)
from sluicegate_cli.doctor.rule_checks import named, no_rule
from sluicegate_cli.doctor.token_checks import ASK, UnverifiedToken

OF_TOKEN: Final = (ISSUER, AUDIENCE, ROTATION, FORM)
"""The checks of the token, in the order in which to show and fix them."""

_NEW_RUN: Final = "Run the job again: each run gets a token of its own, which lives as long as its `timeout`."
_CLOCK: Final = "Synchronize that GitLab's clock with NTP."
_NEW_KEYS: Final = (
    "Retry in half a minute, with the token of a running job. If the gate file names a `jwks` file,"
    " fetch it again and deploy it."
)
_DEPLOY_GATE_FILE: Final = "Compare it with the deployed gate file, and deploy the right one (`make deploy`)."
_CHECK_HERE: Final = "Check this machine's clock, and that it reaches the same GitLab as AWS does."
REACH: Final = "Compare it with the stack's output `Endpoint`. If a proxy is needed, set HTTPS_PROXY."
"""What to change if the address does not respond."""

_UNCHANGED: Final = "Send the variable of this job's `id_tokens` unchanged: not truncated, not quoted."

_OF_CHECK: Final[Mapping[str, tuple[str, str]]] = {
    "iss": (ISSUER, "Set the issuer's `url:` in the gate file to exactly the token's `iss`, and deploy it."),
    "aud": (
        AUDIENCE,
        "Set `aud:` in the job's `id_tokens` and `audience:` in the gate file to the same value.",
    ),
    "exp": (ROTATION, _NEW_RUN),
    "max_age": (
        ROTATION,
        "Deploy earlier in the job, or in a job of its own: a job's token is as old as the job.",
    ),
    "nbf": (ROTATION, _CLOCK),
    "iat": (ROTATION, _CLOCK),
    "kid": (ROTATION, _NEW_KEYS),
    "signature": (ROTATION, "The token was changed in transit, or another GitLab has the same address."),
    "authorization": (
        FORM,
        "Send one header `Authorization: Bearer TOKEN`, with the variable of the job's `id_tokens`.",
    ),
    "token": (FORM, _UNCHANGED),
    "header": (FORM, _UNCHANGED),
    "payload": (FORM, _UNCHANGED),
    "alg": (FORM, ASK),
    "typ": (FORM, ASK),
    **dict.fromkeys(REQUIRED, (FORM, f"Only a job's token has it. {ASK}")),
}
"""For the `check` of a 401: the check here, and what to change."""

_OF_CODE: Final[Mapping[str, tuple[str, str]]] = {
    "not_found": (
        REQUEST,
        "It does not exist, or this project may not see it; the API does not reveal which.",
    ),
    "busy": (
        REQUEST,
        "Wait for the deployment in progress, abort it, or use `--on-busy supersede`.",
    ),
    "held": (
        REQUEST,
        "Wait until the stage is released (`sluicegate hold STAGE`). A rollback is still possible.",
    ),
    "outdated": (
        REQUEST,
        "Nothing, if the newer one is right. To go back on purpose, use `sluicegate rollback`.",
    ),
    "token_used": (REQUEST, "Use another job with its own token: one token deploys one thing to one stage."),
    "sign_in_required": (REQUEST, "Run `sluicegate login`, then this again."),
    "key_reused": (REQUEST, "Omit the Idempotency-Key, or use another one for another request."),
    "source_changed": (
        REQUEST,
        "Promote exactly what the source serves, once it has no weights: see `sluicegate status FUNCTION`.",
    ),
    "wrong_state": (
        REQUEST,
        "It is too late or too early for this: see `sluicegate status ID`.",
    ),
    "not_as_expected": (
        REQUEST,
        "Check what the stage serves (`sluicegate status FUNCTION`), then retry.",
    ),
    "pruned": (
        REQUEST,
        "Roll back to a version that is left (`sluicegate versions FUNCTION`), or deploy the artifact again.",
    ),
    "unprocessable": (
        REQUEST,
        "Change the request: function, stage and artifact must match the detail.",
    ),
    "invalid_request": (REQUEST, "Correct these fields; docs/reference/api.md describes them."),
    "too_large": (REQUEST, "Send at most 64 KiB; upload the code itself with `POST /artifacts`."),
    "unsupported_media_type": (REQUEST, "Send the header `Content-Type: application/json`."),
    "upload_failed": (REQUEST, "Run it again. If it fails again, check for a proxy in front of S3."),
    "session_used": (
        REQUEST,
        "Use one job for each deployment, or new credentials: a session deploys one thing to one stage.",
    ),
    "person_unknown": (REQUEST, "Add both ways in of this person under `people` in the gate file."),
    "limit_reached": (RULES, "Wait until the time that the detail names, or raise the rule's `limits`."),
    "not_signed": (API, "Check that the URL ends in /v1, and that the call is signed (`--auth iam`)."),
    "invalid_signature": (API, "Check the API's region, the clock, and proxies that change the request."),
    "clock_wrong": (API, "Synchronize the clock of the runner (NTP)."),
    "expired_session": (API, "Run the job again: its credentials lasted as long as its token."),
    "nothing_there": (API, "Check the URL: the API's host, its stage /v1, and the mapping of its domain."),
    "access_denied": (RULES, "Allow execute-api:Invoke on this method, in the role and the API's policy."),
    "role_refused": (AUDIENCE, "Check the role's trust policy: `sluicegate doctor --role ARN`."),
    "sts_token_refused": (AUDIENCE, "Compare the token's iss and aud with the OIDC provider in IAM."),
    "throttled": (
        API,
        "Retry a little later. The limits are the stack's `ApiRate` and `ApiBurst`.",
    ),
    "unavailable": (API, "Retry a little later. If it fails again, see the stack's alarms."),
}
CODES: Final = frozenset({"invalid_token", "not_allowed", "unreachable", "unexpected_answer", *_OF_CODE})
"""The codes that a response can have, or the command line's error without a response."""


def of_problem(document: Mapping[str, Any], token: UnverifiedToken | None = None) -> Finding:
    """Explain an error response of the API, for the token if it is known."""
    code, detail = _text(document.get("code")), _text(document.get("detail"))
    if code == "invalid_token":
        return _of_refusal(document, detail, token)
    if code == "not_allowed":
        return _of_denial(document, detail)
    if code in ("unreachable", "unexpected_answer") or code not in _OF_CODE:
        return of_unexpected(document)
    check, change = _OF_CODE[code]
    if code == "unavailable" and "keys" in detail:
        change = (
            "If AWS cannot reach that GitLab, add its keys to the gate file (`jwks: FILE`). Else retry later."
        )
        return Finding(ROTATION, CheckVerdict.WRONG, "the API cannot fetch GitLab's keys", change)
    if code == "unavailable" and "gate file" in detail:
        change = "Run `sluicegate check` and `make deploy` with the version of Sluicegate that is deployed."
        return Finding(API, CheckVerdict.WRONG, f"the API denies everything: {detail}", change)
    if code == "unprocessable" and "`functions`" in detail:
        change = "Add the function to `functions` in the gate file and deploy it."
    if deployment := _text(document.get("deployment")):
        detail += f" ({deployment})"
    return Finding(check, CheckVerdict.WRONG, f"the API rejects it as {code}: {detail}", change)


def _of_refusal(document: Mapping[str, Any], detail: str, token: UnverifiedToken | None) -> Finding:
    name = _text(document.get("check")) or detail.partition(":")[0].strip()
    check, change = _OF_CHECK.get(name, (FORM, ASK))
    if token is not None and name == "iss":
        seen = f"`iss` is {token.issuer}, which is not an issuer in the API's gate file"
        return Finding(
            check, CheckVerdict.WRONG, seen, f"Set exactly `url: {token.issuer}` there, and deploy it."
        )
    if token is not None and name == "aud":
        seen = f"`aud` is {_text(token.claims.get('aud'))}, which is not the audience in the API's gate file"
        return Finding(check, CheckVerdict.WRONG, seen, change)
    if name == "kid" and "key set" in detail:
        change = "Fetch the gate file's `jwks` file again (GITLAB/oauth/discovery/keys) and deploy it."
    if name == "exp" and "31 days" in detail:
        change = "Give the job a `timeout` below 31 days: its token is valid for that long."
    return Finding(check, CheckVerdict.WRONG, f"the API rejects the token: {detail}", change)


def _of_denial(document: Mapping[str, Any], detail: str) -> Finding:
    if "before Sluicegate was asked" in detail:
        change = "Allow this network in the API's resource policy or web ACL."
        return Finding(API, CheckVerdict.WRONG, f"the API rejects this caller: {detail}", change)
    if "denies this" in detail:
        change = (
            "If this is not intended, remove the entry for this job from `deny`, and deploy the gate file."
        )
        return Finding(RULES, CheckVerdict.WRONG, detail, change)
    if not detail.startswith("no rule allows"):  # approvals: who may not, and why
        return Finding(
            RULES,
            CheckVerdict.WRONG,
            detail,
            "Ask a person whom a rule permits to do this, in another pipeline.",
        )
    return no_rule(detail, list(_nearest(document)), None)


def _nearest(document: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    for rule in _objects(document.get("nearest")):
        failed = [
            (_text(one.get("claim")), None if one.get("value") is None else _text(one["value"]))
            for one in _objects(rule.get("failed"))
        ]
        yield _text(rule.get("rule")), failed


# Whether the API responds


def of_unexpected(document: Mapping[str, Any], url: str = "") -> Finding:
    """Explain a missing response, or one from another server than Sluicegate."""
    detail, status = _text(document.get("detail")), document.get("status")
    ending = "Use the stack's output `Endpoint` as the address, up to and including /v1."
    if document.get("code") == "unreachable":
        return Finding(API, CheckVerdict.WRONG, detail or "the API could not be reached", _reach(detail))
    if status == 407:
        change = "Add the proxy's credentials to HTTPS_PROXY, or the API's host to NO_PROXY."
        return Finding(API, CheckVerdict.WRONG, "a proxy in between requires its own credentials", change)
    if isinstance(status, int) and 300 <= status < 400:
        seen = "the address redirects elsewhere, and no token is sent there"
        return Finding(API, CheckVerdict.WRONG, f"{seen}: {detail}", ending)
    if status in (403, 404):
        lacks = "" if not url or urlsplit(url).path.endswith("/v1") else ", and it does not end with /v1"
        seen = f"there is no Sluicegate at this address{lacks}: {detail}"
        return Finding(API, CheckVerdict.WRONG, seen, ending)
    if isinstance(status, int) and status >= 500:
        change = (
            "Retry a little later. If it fails again, see the stack's alarms, and proxies before the API."
        )
        return Finding(API, CheckVerdict.WRONG, detail, change)
    seen = f"the response is not Sluicegate's, but another server's or a proxy's page: {detail}"
    return Finding(API, CheckVerdict.WRONG, seen, ending)


def _reach(detail: str) -> str:
    lowered = detail.lower()
    if "certificate" in lowered or "ssl" in lowered:
        return "If a proxy intercepts TLS, set SSL_CERT_FILE to its certificate. Otherwise correct the host."
    if "name" in lowered or "resolve" in lowered or "nodename" in lowered or "getaddrinfo" in lowered:
        return "Correct the host: it is in the stack's output `Endpoint`."
    return REACH


def of_health(document: Mapping[str, Any], url: str) -> Finding:
    """Check that the response of `GET /health` is Sluicegate's."""
    version = _text(document.get("version"))
    if not version or document.get("status") != "ok":
        return of_unexpected({"status": 200, "detail": "it responds with other JSON"}, url)
    return Finding(API, CheckVerdict.OK, f"{url} is Sluicegate {version}")


def of_health_error(document: Mapping[str, Any], url: str) -> Finding:
    """Explain an error of `GET /health`, which can only concern the address or the API itself."""
    if document.get("code") in ("not_found", "invalid_token", "invalid_request"):
        change = "The address must end with /v1."
        return Finding(API, CheckVerdict.WRONG, "this is Sluicegate, but the address is not its root", change)
    if document.get("code") == "unexpected_answer":
        return of_unexpected(document, url)
    return of_problem(document)


def of_address(url: str, error: str) -> Finding:
    """Explain an address to which no token may be sent."""
    if not url:
        change = "Set SLUICEGATE_URL to the stack's output `Endpoint`."
        return Finding(API, CheckVerdict.WRONG, "the address is empty", change)
    if "$" in url:
        change = "Let a shell expand it, and set it for this job."
        return Finding(API, CheckVerdict.WRONG, "the address is a variable's name, not its value", change)
    if url.startswith("http://"):
        seen = "the address is http: a token would be sent unencrypted"
        return Finding(API, CheckVerdict.WRONG, seen, "Use https:// instead.")
    if "://" not in url:
        return Finding(
            API, CheckVerdict.WRONG, "the address does not start with https://", "Add https:// in front."
        )
    change = "Use the stack's output `Endpoint`, up to and including /v1, without anything around it."
    return Finding(API, CheckVerdict.WRONG, error, change)


# Rules


def of_whoami(identity: Mapping[str, Any]) -> Finding:
    """Report what the rules grant to a verified identity."""
    rules = list(_objects(identity.get("rules")))
    if not rules:
        project = _text(identity.get("project_id")) or None
        return no_rule("the token verifies, but no rule of the API's gate file matches it", [], project)
    granted = "; ".join(
        f"'{_text(rule.get('name'))}' ({', '.join(_texts(rule.get('actions')))}"
        f" in {', '.join(_texts(rule.get('stages')))})"
        for rule in rules
    )
    return Finding(
        RULES, CheckVerdict.OK, f"{'these rules match' if len(rules) > 1 else 'this rule matches'}: {granted}"
    )


def of_dry_run(document: Mapping[str, Any], function: str, stage: str) -> Finding:
    """Interpret a dry run with an unknown artifact: only an authorized caller gets that error."""
    if document.get("code") == "unprocessable" and "no artifact" in _text(document.get("detail")):
        return Finding(RULES, CheckVerdict.OK, f"this job may deploy {function} in {stage}")
    return of_problem(document)


# Together with local findings


def accepted_by_api(local: Iterable[Finding]) -> Iterator[Finding]:
    """Adjust the local findings for a token that the API accepts."""
    for finding in local:
        if finding.verdict is CheckVerdict.UNKNOWN:
            if finding.check in (ISSUER, AUDIENCE):
                yield Finding(finding.check, CheckVerdict.OK, f"{finding.seen}, and the API accepts it")
        elif finding.verdict is CheckVerdict.WRONG and finding.compared:
            seen = (
                f"{finding.seen}; but the API accepts it, so it runs a different gate file from the local one"
            )
            change = _DEPLOY_GATE_FILE
            yield Finding(finding.check, CheckVerdict.WARNING, seen, change)
        elif finding.verdict is CheckVerdict.WRONG:
            seen = f"{finding.seen}; but the API accepts it"
            yield Finding(finding.check, CheckVerdict.WARNING, seen, _CHECK_HERE)
        else:
            yield finding


def rejected_by_api(local: Sequence[Finding], refusal: Finding) -> list[Finding]:
    """Merge the local findings with the API's rejection of the token, without saying anything twice."""
    if refusal.check not in OF_TOKEN:
        return [*local, refusal]
    alike = [finding for finding in local if finding.check == refusal.check]
    if any(finding.verdict is CheckVerdict.WRONG for finding in alike):
        # The local finding is more specific: it knows the token, and what it was compared with.
        return [_with_issuer(refusal, finding) for finding in local]
    if any(finding.verdict is CheckVerdict.OK and finding.compared for finding in alike):
        seen = f"{refusal.seen}; the local gate file accepts it, so the API runs another one"
        change = _DEPLOY_GATE_FILE
        refusal = Finding(refusal.check, CheckVerdict.WRONG, seen, change)
    others = [_with_issuer(refusal, finding) for finding in local if finding.check != refusal.check]
    return sorted([*others, refusal], key=lambda finding: OF_TOKEN.index(finding.check))


def _with_issuer(refusal: Finding, finding: Finding) -> Finding:
    """Confirm the issuer if the API rejected a later check: it checks the issuer first."""
    unknown = finding.check == ISSUER and finding.verdict is CheckVerdict.UNKNOWN
    if unknown and refusal.check in (AUDIENCE, ROTATION):
        return Finding(ISSUER, CheckVerdict.OK, f"{finding.seen}, and the API knows it")
    return finding


def other_rules(identity: Mapping[str, Any], here: Sequence[Rule]) -> Finding | None:
    """Return a finding if the API's matching rules differ from the local gate file's, else None."""
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
    seen = f"the API runs a different gate file from the local one: {named(differing)} differ for this job"
    change = _DEPLOY_GATE_FILE
    return Finding(GATE, CheckVerdict.WARNING, seen, change)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
