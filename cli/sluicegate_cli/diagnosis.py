"""What is wrong, and what to change: plain decisions over what `sluicegate doctor` has found out.

The three checks that solve most cases come first: the issuer matches exactly, the audience is restricted,
keys and tokens rotate. Nothing here verifies a token; the API does. The token itself is in no finding.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from sluicegate.gitlab import REQUIRED
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import base64url, clean

ISSUER: Final = "issuer matches exactly"
AUDIENCE: Final = "audience is restricted"
ROTATION: Final = "keys and tokens rotate"
JOB: Final = "the token is a job's"
API: Final = "the API answers"
RULES: Final = "a rule allows it"

_LEEWAY: Final = 30  # seconds, as the API gives


class Verdict(StrEnum):
    """How a check came out; `UNKNOWN` could not be looked at from here."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One check: what was seen, in a sentence, and what to change, empty where there is nothing to."""

    check: str
    verdict: Verdict
    seen: str
    change: str = ""


@dataclass(frozen=True)
class Expected:
    """What a gate file accepts from one issuer; `kids` are those of its file of keys, None for discovery."""

    url: str
    audience: str
    max_age: int | None
    kids: tuple[str, ...] | None


@dataclass(frozen=True)
class Token:
    """What a token says, unverified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def read_token(token: str) -> Token | Finding:
    """The token's header and claims, or why it is no token."""
    parts = token.split(".")
    if len(parts) != 3:
        what = "is empty" if not token else f"has {len(parts)} parts where a token has three"
        change = "Give the job `id_tokens:` and pass its variable; a CI_JOB_TOKEN is no ID token."
        return Finding(JOB, Verdict.WRONG, f"what was given as token {what}", change)
    try:
        header, claims = (loads(base64url(part), max_depth=8) for part in parts[:2])
    except (ValueError, StrictJsonError):
        return Finding(JOB, Verdict.WRONG, "the token cannot be read", "Was it cut, or wrapped in quotes?")
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return Finding(JOB, Verdict.WRONG, "the token holds no claims", "Was it cut, or wrapped in quotes?")
    return Token(header, claims)


def of_token(token: Token, expected: Sequence[Expected], now: float) -> Iterator[Finding]:
    """The three checks, as far as the token tells, and whether it is a job's. `expected` may be empty."""
    iss = clean(str(token.claims.get("iss")))
    known = next((one for one in expected if one.url == iss), None)
    yield _issuer(iss, expected)
    yield _audience(token.claims.get("aud"), iss, known)
    yield _times(token.claims, known, now)
    yield _job(token.claims)


def _issuer(iss: str, expected: Sequence[Expected]) -> Finding:
    if not expected:
        return Finding(
            ISSUER, Verdict.UNKNOWN, f"the token's `iss` is {iss}", "--gate-file compares it from here."
        )
    if any(one.url == iss for one in expected):
        return Finding(ISSUER, Verdict.OK, f"`iss` is {iss}, as in the gate file")
    near = next((one.url for one in expected if _alike(one.url, iss)), None)
    if near is None:
        seen = f"`iss` is {iss}, which is no issuer of the gate file"
        return Finding(
            ISSUER, Verdict.WRONG, seen, f"Add an issuer with `url: {iss}`, if that GitLab may deploy."
        )
    seen = f"`iss` is {iss}, and the gate file says {near}: {_difference(near, iss)}"
    return Finding(
        ISSUER, Verdict.WRONG, seen, f"Write `url: {iss}` in the gate file, to the letter, and deploy it."
    )


def _alike(one: str, other: str) -> bool:
    return (urlsplit(one).hostname or "").removeprefix("www.") == (
        urlsplit(other).hostname or ""
    ).removeprefix("www.")


def _difference(expected: str, iss: str) -> str:
    if expected.rstrip("/") == iss.rstrip("/"):
        return "a slash at the end"
    if expected.casefold() == iss.casefold():
        return "capital letters"
    one, other = urlsplit(expected), urlsplit(iss)
    for what, left, right in (
        ("the scheme", one.scheme, other.scheme),
        ("the host", one.hostname, other.hostname),
        ("the port", one.port, other.port),
    ):
        if left != right:
            return f"{what} differs"
    return "the path differs"


def _audience(aud: object, iss: str, known: Expected | None) -> Finding:
    if isinstance(aud, list):
        seen = f"`aud` is a list of {len(aud)}: such a token is good for other services too, and is refused"
        return Finding(
            AUDIENCE, Verdict.WRONG, seen, "Give `aud:` in `id_tokens` as one text, without brackets."
        )
    if not isinstance(aud, str) or not aud:
        return Finding(
            AUDIENCE, Verdict.WRONG, "the token has no `aud`", "Give `aud:` in the job's `id_tokens`."
        )
    shown = clean(aud)
    if known is not None and aud != known.audience:
        seen = f"`aud` is {shown}, and the gate file says {known.audience}"
        return Finding(
            AUDIENCE, Verdict.WRONG, seen, f"Write `aud: {known.audience}` in the job's `id_tokens`."
        )
    if aud.rstrip("/") == iss.rstrip("/"):
        seen = "`aud` is the GitLab's own URL, which jobs use for other services as well"
        return Finding(
            AUDIENCE, Verdict.WARNING, seen, "Choose a text that only Sluicegate accepts, in both places."
        )
    verdict = Verdict.UNKNOWN if known is None else Verdict.OK
    change = "--gate-file compares it from here." if known is None else ""
    return Finding(AUDIENCE, verdict, f"`aud` is {shown}, as one text", change)


def _times(claims: Mapping[str, Any], known: Expected | None, now: float) -> Finding:
    exp, iat = claims.get("exp"), claims.get("iat")
    if not isinstance(exp, int) or not isinstance(iat, int):
        return Finding(
            ROTATION, Verdict.WRONG, "the token has no times", "Take it from `id_tokens` as it is."
        )
    if now > exp + _LEEWAY:
        seen = f"the token expired {_ago(now - exp)} ago"
        return Finding(ROTATION, Verdict.WRONG, seen, "Run the job again: each run gets a token of its own.")
    if iat > now + _LEEWAY:
        seen = (
            f"the token was issued {_ago(iat - now)} from now: a clock is wrong, this machine's or GitLab's"
        )
        return Finding(ROTATION, Verdict.WRONG, seen, "Set the clocks by NTP.")
    if known is not None and known.max_age is not None and now - iat > known.max_age:
        seen = (
            f"the token is {_ago(now - iat)} old, and the gate file accepts {_ago(known.max_age)} (`max_age`)"
        )
        return Finding(ROTATION, Verdict.WRONG, seen, "Deploy earlier in the job, or in a job of its own.")
    return Finding(
        ROTATION, Verdict.OK, f"the token is {_ago(now - iat)} old and good for {_ago(exp - now)} more"
    )


def _job(claims: Mapping[str, Any]) -> Finding:
    missing = [name for name, check in REQUIRED.items() if not check(claims.get(name))]
    if missing:
        seen = f"the token lacks {', '.join(missing)}, which every job's token has"
        return Finding(
            JOB, Verdict.WRONG, seen, "Use `id_tokens` of a job; a sign-in token of that GitLab is no job's."
        )
    seen = f"project {clean(str(claims['project_id']))}, {claims['ref_type']} {clean(str(claims['ref']))}"
    return Finding(JOB, Verdict.OK, f"{seen}, started by {clean(str(claims['pipeline_source']))}")


def of_keys(kid: object, kids: Sequence[str] | None, trouble: str | None, *, from_file: bool) -> Finding:
    """Whether the key that signed it is published; `kids` None: not fetched, for `trouble`."""
    if kids is None:
        change = "If AWS cannot reach that GitLab either, give the gate file its keys: `jwks: FILE`."
        return Finding(
            ROTATION, Verdict.UNKNOWN, f"the GitLab's keys cannot be fetched from here: {trouble}", change
        )
    where = "the gate file's file of keys" if from_file else "the GitLab's published keys"
    if kid in kids:
        return Finding(ROTATION, Verdict.OK, f"the token's key is among {where} ({len(kids)})")
    change = (
        "GitLab has new keys: fetch the file again, and deploy it."
        if from_file
        else "Take a token of a job that runs now; if that fails too, the token is of another GitLab."
    )
    return Finding(ROTATION, Verdict.WRONG, f"the token's key {clean(str(kid))} is not among {where}", change)


_OF_CHECK: Final[Mapping[str, tuple[str, str]]] = {
    "iss": (ISSUER, "Write `url:` of the gate file's issuer exactly as the token's `iss`, and deploy it."),
    "aud": (AUDIENCE, "Make `aud:` in the job's `id_tokens` and `audience:` in the gate file one text."),
    "exp": (ROTATION, "The token is too old: run the job again, and ask for it in the job that deploys."),
    "max_age": (
        ROTATION,
        "The token is older than `max_age` of the issuer or the stage: deploy earlier in the job.",
    ),
    "nbf": (ROTATION, "The token is of the future: set the clock of the GitLab by NTP."),
    "iat": (ROTATION, "The token is of the future: set the clock of the GitLab by NTP."),
    "kid": (
        ROTATION,
        "GitLab's keys have changed, or the token is another GitLab's. A file of keys must be fetched anew.",
    ),
    "signature": (ROTATION, "The token was changed on its way, or is another GitLab's of the same name."),
    "authorization": (JOB, "Send exactly one header `Authorization: Bearer TOKEN`."),
    "token": (JOB, "Send the variable of `id_tokens` as it is: not cut, not quoted, not a CI_JOB_TOKEN."),
}
"""For a 401's `check`: which of the checks it is, and what to change."""

_OF_CODE: Final[Mapping[str, tuple[str, str]]] = {
    "not_allowed": (
        RULES,
        "Compare the claims that failed with the rule, or add a rule; `sluicegate whoami` lists both.",
    ),
    "not_found": (RULES, "It does not exist, or no rule lets this project see it; both look the same."),
    "busy": (RULES, "Wait for the deployment that is under way, abort it, or ask with `on_busy: supersede`."),
    "held": (
        RULES,
        "The stage is held: `sluicegate hold STAGE` says by whom and why. A rollback stays possible.",
    ),
    "outdated": (RULES, "A newer pipeline deployed there. To go back on purpose: `sluicegate rollback`."),
    "token_used": (
        RULES,
        "One job deploys one thing to one stage: use another job, with a token of its own.",
    ),
    "key_reused": (RULES, "The same Idempotency-Key came with another body: leave the key out."),
    "source_changed": (
        RULES,
        "What is promoted must be exactly what the source serves: look with `sluicegate status`.",
    ),
    "unprocessable": (RULES, "The record shows that it cannot be done; the detail says why."),
    "not_as_expected": (
        RULES,
        "The stage serves another version than expected: look with `sluicegate status`.",
    ),
    "throttled": (API, "Too many requests at once: send the same again a little later."),
    "unavailable": (
        API,
        "Send the same request again a little later; if it stays so, see the stack's alarms.",
    ),
    "too_large": (API, "A body is at most 64 KiB."),
    "unsupported_media_type": (API, "Send `Content-Type: application/json`."),
    "invalid_request": (API, "The body is not as documented; `errors` name each field."),
}


def of_problem(document: Mapping[str, Any]) -> Finding:
    """What an answer of the API that is no success comes to."""
    code, detail = str(document.get("code")), clean(str(document.get("detail") or ""), 512)
    if code == "invalid_token":
        name = str(document.get("check") or detail.partition(":")[0])
        check, change = _OF_CHECK.get(
            name, (JOB, "The token lacks what every job's token has: use `id_tokens` of a job.")
        )
        return Finding(check, Verdict.WRONG, f"the API refuses the token: {detail}", change)
    if code in _OF_CODE:
        check, change = _OF_CODE[code]
        return Finding(check, Verdict.WRONG, f"the API says {code}: {detail}", change)
    change = "Does the address end in /v1, and is there a proxy, a resource policy or a web ACL in between?"
    return Finding(API, Verdict.WRONG, f"no answer of Sluicegate's: {detail or code}", change)


def of_whoami(identity: Mapping[str, Any]) -> Finding:
    """What the rules give to an identity that verified."""
    rules = identity.get("rules") or []
    if not rules:
        change = "Write a rule whose `claims` are this job's; `sluicegate whoami` lists them all."
        return Finding(RULES, Verdict.WRONG, "the token verifies, but no rule matches its claims", change)
    granted = "; ".join(
        f"{rule['name']}: {', '.join(rule['actions'])} in {', '.join(rule['stages'])}" for rule in rules
    )
    return Finding(RULES, Verdict.OK, clean(f"{len(rules)} match: {granted}", 512))


_IN_LOG: Final = re.compile(
    r"(?P<code>" + "|".join(("invalid_token", *_OF_CODE)) + r")(?: \([0-9]{3}\)\])?:?(?P<rest>[^\n]*)"
)


def of_log(text: str) -> list[Finding]:
    """What a job's log says went wrong, each once: the command's lines, the component's, or plain curl's."""
    found: dict[Finding, None] = {}
    lines = [clean(line, 1024) for line in text.splitlines()]
    for number, line in enumerate(lines):
        match = _IN_LOG.search(line)
        if match is None:
            continue
        # The command writes the detail on the next line; JSON has it in the same one.
        rest = match["rest"].strip() or (lines[number + 1].strip() if number + 1 < len(lines) else "")
        document = _json_in(line) or {"code": match["code"], "detail": rest}
        found[of_problem(document)] = None
    if not found and re.search(r"SLUICEGATE_TOKEN|no ID token", text) and "no ID token" in text:
        change = (
            "Give the job `id_tokens: {SLUICEGATE_TOKEN: {aud: …}}`; jobs do not inherit it from `default:`."
        )
        found[Finding(JOB, Verdict.WRONG, "the job has no ID token", change)] = None
    return list(found)


def _json_in(line: str) -> Mapping[str, Any] | None:
    start = line.find("{")
    if start < 0:
        return None
    try:
        value = json.loads(line[start:])
    except ValueError:
        return None
    return value if isinstance(value, dict) and "code" in value else None


def _ago(seconds: float) -> str:
    """Seconds for people: `40 s`, `12 min`, `3.5 h`."""
    seconds = abs(seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
