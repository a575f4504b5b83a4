"""Check a token on its own and against a gate file.

The three checks that solve most cases: the issuer matches exactly, the audience is restricted, keys and
tokens rotate. Nothing here verifies a signature; the API does that.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from sluicegate.oidc.claims import REQUIRED
from sluicegate.oidc.identity import Issuer
from sluicegate.oidc.limits import LEEWAY, MAX_BYTES, MAX_DEPTH
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import base64url, clean
from sluicegate_cli.doctor.findings import (
    AUDIENCE,
    FORM,
    ISSUER,
    ROTATION,
    CheckVerdict,
    Finding,
    format_age,
)

_SIGNATURE: Final = range(256, 512 + 1)  # bytes; RSA keys of 2048 to 4096 bits

ASK: Final = (
    "Give the job `id_tokens: {SLUICEGATE_ID_TOKEN: {aud: AUDIENCE}}`, and pass that variable unchanged."
)
"""What to change if there is no ID token."""

_AS_IT_IS: Final = "Pass the variable of `id_tokens` unchanged: all of it, and nothing around it."

# GitLab's own tokens by prefix. An instance may add a prefix of its own before it.
# Source: https://docs.gitlab.com/security/tokens/ ("Token prefixes").
_KIND: Final = re.compile(r"(?:[A-Za-z0-9_]{1,20}-)?gl([a-z]{2,7})-")
_KINDS: Final = {
    "cbt": "a CI_JOB_TOKEN",
    "pat": "a personal, group or project access token",
    "dt": "a deploy token",
    "rt": "a runner's token",
    "ptt": "a trigger's token",
}


@dataclass(frozen=True)
class UnverifiedToken:
    """The content of a token, unverified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def issuer(self) -> str:
        """Return `iss`, or an empty string if it is not a string."""
        value = self.claims.get("iss")
        return value if isinstance(value, str) else ""


def read_token(given: str) -> UnverifiedToken | Finding:
    """Parse a job's ID token, or explain why it is none. Nothing else may be sent to the API."""
    if problem := _not_a_token(given):
        return Finding(FORM, CheckVerdict.WRONG, *problem)
    try:
        decoded = [base64url(part) for part in given.split(".")]
        header, claims = (loads(part, max_depth=MAX_DEPTH, control_characters=False) for part in decoded[:2])
    except (ValueError, StrictJsonError):
        return Finding(
            FORM, CheckVerdict.WRONG, "the token cannot be read: it was truncated or changed", _AS_IT_IS
        )
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return Finding(FORM, CheckVerdict.WRONG, "the token has no claims", ASK)
    missing = [name for name, check in REQUIRED.items() if not check(claims.get(name))]
    if missing:
        seen = (
            f"the token has no {', '.join(missing)} as a job's has: it is from a sign-in, or not from GitLab"
        )
        return Finding(FORM, CheckVerdict.WRONG, seen, ASK)
    if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
        seen = "the token is not signed like a GitLab job's, with RS256 and a `kid`"
        return Finding(FORM, CheckVerdict.WRONG, seen, ASK)
    if len(decoded[2]) not in _SIGNATURE:
        return Finding(FORM, CheckVerdict.WRONG, "the token's signature was truncated or changed", _AS_IT_IS)
    return UnverifiedToken(header, claims)


def _not_a_token(given: str) -> tuple[str, str] | None:
    """Explain what was given instead of a token, and what to change; None if it has three parts."""
    if not given:
        return "there is no ID token: the variable is empty, or belongs to another job", ASK
    if re.fullmatch(r"""["']?(?:\$\{?|\$env:|%)\w{1,64}[}%]?["']?""", given):
        change = (
            "Let a shell expand it, in double quotes or none, and declare it under `id_tokens` of this job."
        )
        return "the value given as the token is a variable's name, not its value", change
    if "[MASKED]" in given or set(given) == {"*"}:
        change = "Run `sluicegate doctor` in the job itself: logs never contain the token."
        return "the value given as the token is the mask that GitLab writes into logs", change
    if given[0] in "\"'" or given[-1] in "\"'":
        return "the token is in quotes", _AS_IT_IS
    if given[:7].lower() == "bearer ":
        return "the token starts with `Bearer`, which is added automatically", _AS_IT_IS
    if kind := _KIND.match(given):
        return f"the value given is {_KINDS.get(kind[1], 'another kind of token')}, not an ID token", ASK
    if not (given.isascii() and given.isprintable()) or " " in given:
        return "the token contains spaces, line breaks or special characters", _AS_IT_IS
    if len(given) > MAX_BYTES:
        change = "Ask that GitLab's administrators why it is so long: custom claims, or very many groups."
        return f"the token has {len(given)} bytes, and the limit is {MAX_BYTES}", change
    parts = given.count(".") + 1
    if parts == 2:
        return "the token has 2 parts instead of 3: it was truncated", _AS_IT_IS
    if parts != 3:
        return (
            f"the value given is not an ID token: it has {parts} part{'s' if parts > 1 else ''}, not 3",
            ASK,
        )
    return None


def of_token(
    token: UnverifiedToken, issuers: Sequence[Issuer], now: float, *, by_api: bool
) -> Iterator[Finding]:
    """Make the three checks of a job's token. `issuers` are the gate file's, empty without one.

    `now` is in epoch seconds; `by_api`: by the API's clock.
    """
    known = known_issuer(token, issuers)
    yield _issuer(token.issuer, known, issuers)
    yield _audience(token, known)
    yield _times(token.claims, known, now, by_api)
    claims = token.claims
    seen = f"job {claims['job_id']} of project {claims['project_id']}, {claims['ref_type']} {claims['ref']}"
    yield Finding(FORM, CheckVerdict.OK, f"{seen}, started by {claims['pipeline_source']}")


def known_issuer(token: UnverifiedToken, issuers: Sequence[Issuer]) -> Issuer | None:
    """Return the token's issuer in the gate file: an exact match, or one with the same host."""
    exact = next((one for one in issuers if one.url == token.issuer), None)
    return exact or next((one for one in issuers if _same_host(one.url, token.issuer)), None)


def _issuer(iss: str, known: Issuer | None, issuers: Sequence[Issuer]) -> Finding:
    if not iss:
        return Finding(ISSUER, CheckVerdict.WRONG, "the token has no `iss`", ASK)
    if not issuers:
        return Finding(
            ISSUER,
            CheckVerdict.UNKNOWN,
            f"`iss` is {iss}",
            "Use --gate to compare issuer, audience and rules.",
        )
    if known is None:
        listed = ", ".join(one.url for one in issuers[:5])
        seen = f"`iss` is {iss}, and the gate file has only {listed}"
        change = f"If that GitLab may deploy, add an issuer with `url: {iss}` to the gate file and deploy it."
        return Finding(ISSUER, CheckVerdict.WRONG, seen, change, compared=True)
    if known.url == iss:
        return Finding(ISSUER, CheckVerdict.OK, f"`iss` is {iss}, as in the gate file", compared=True)
    seen = f"`iss` is {iss}, and the gate file says {known.url}: {_difference(known.url, iss)}"
    change = f"Set exactly `url: {iss}` in the gate file, and deploy it."
    return Finding(ISSUER, CheckVerdict.WRONG, seen, change, compared=True)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError for a port that is none)
    except ValueError:
        return SplitResult("", "", url, "", "")
    return parts


def _same_host(one: str, other: str) -> bool:
    hosts = {(_split(url).hostname or "").removeprefix("www.").rstrip(".") for url in (one, other)}
    return len(hosts) == 1 and hosts != {""}


def _difference(expected: str, iss: str) -> str:
    if expected.rstrip("/") == iss.rstrip("/"):
        return f"only the trailing slash differs: `iss` {'lacks it' if expected.endswith('/') else 'has it'}"
    if expected.casefold() == iss.casefold():
        return "only upper and lower case differ"
    one, other = _split(expected), _split(iss)
    for what, left, right in (
        ("scheme (http, https)", one.scheme, other.scheme),
        ("host", one.hostname, other.hostname),
        ("port", one.port, other.port),
    ):
        if left != right:
            return f"the {what} differs"
    return "the path differs"


def _audience(token: UnverifiedToken, known: Issuer | None) -> Finding:
    aud = token.claims.get("aud")
    expected = f"`aud: {known.audience}`" if known else "`aud:`"
    if isinstance(aud, list):
        seen = "`aud` is a list. A token for several services is rejected, even if the list has one entry"
        change = f"Set {expected} in the job's `id_tokens`, as one string without brackets or dashes."
        return Finding(AUDIENCE, CheckVerdict.WRONG, seen, change)
    if not isinstance(aud, str) or not aud:
        change = f"Set {expected} in the job's `id_tokens`."
        return Finding(AUDIENCE, CheckVerdict.WRONG, "the token has no `aud`", change)
    urls = {token.issuer, known.instance if known else token.issuer}
    is_gitlab = aud.rstrip("/") in {url.rstrip("/") for url in urls}
    if known is not None and aud != known.audience:
        what = "GitLab's own URL" if is_gitlab else aud
        seen = f"`aud` is {what}, and the gate file says {known.audience}"
        change = f"Set exactly {expected} in the job's `id_tokens`."
        return Finding(AUDIENCE, CheckVerdict.WRONG, seen, change, compared=True)
    if is_gitlab:
        seen = "`aud` is GitLab's own URL, which jobs request for other services too"
        change = "Choose a value that only Sluicegate accepts, for both `audience` and `aud`."
        return Finding(AUDIENCE, CheckVerdict.WARNING, seen, change)
    if known is None:
        return Finding(AUDIENCE, CheckVerdict.UNKNOWN, f"`aud` is {aud}, one string")
    return Finding(
        AUDIENCE, CheckVerdict.OK, f"`aud` is {aud}, one string, as in the gate file", compared=True
    )


def _times(claims: Mapping[str, Any], known: Issuer | None, now: float, by_api: bool) -> Finding:
    exp, iat, nbf = (claims.get(name) for name in ("exp", "iat", "nbf"))
    if not (type(exp) is int and type(iat) is int and type(nbf) is int):
        return Finding(ROTATION, CheckVerdict.WRONG, "the token lacks one of `exp`, `iat` and `nbf`", ASK)
    if now >= exp + LEEWAY:
        change = "Run the job again: each run gets a new token, valid for the job's `timeout`."
        return Finding(ROTATION, CheckVerdict.WRONG, f"the token expired {format_age(now - exp)} ago", change)
    if max(iat, nbf) > now + LEEWAY:
        whose = "GitLab's clock is ahead" if by_api else "this machine's clock or GitLab's is wrong"
        seen = f"the token is not valid for another {format_age(max(iat, nbf) - now)}: {whose}"
        return Finding(ROTATION, CheckVerdict.WRONG, seen, "Synchronize the clock with NTP.")
    age = now - iat
    if known is not None and known.max_age is not None and age > known.max_age:
        limit = format_age(known.max_age)
        seen = f"the token is {format_age(age)} old, and the gate file's `max_age` is {limit}"
        change = "Deploy earlier in the job, or in a separate job: a job's token is as old as the job."
        return Finding(ROTATION, CheckVerdict.WRONG, seen, change, compared=True)
    return Finding(
        ROTATION,
        CheckVerdict.OK,
        f"the token is {format_age(age)} old, and valid for {format_age(exp - now)} more",
    )


def of_keys(kid: object, kids: Sequence[str] | None, error: str = "", *, from_file: bool) -> Finding:
    """Check that an issuer has the token's key. `kids` None: not fetched, because of `error`."""
    if kids is None:
        seen = f"GitLab's keys cannot be fetched from here: {error}"
        change = "If AWS cannot reach that GitLab either, add its keys to the gate file: `jwks: FILE`."
        return Finding(ROTATION, CheckVerdict.UNKNOWN, seen, change)
    where = "the gate file's `jwks` file" if from_file else "the keys that GitLab publishes"
    if kid in kids:
        return Finding(ROTATION, CheckVerdict.OK, f"the token's key is among {where}", compared=from_file)
    seen = f"the token's key {clean(str(kid), 64)} is not among {where}"
    if from_file:
        change = "GitLab's keys have changed: fetch that file again (/oauth/discovery/keys) and deploy it."
        return Finding(ROTATION, CheckVerdict.WRONG, seen, change, compared=True)
    change = "Use the token of a running job. If that fails too, another GitLab has the same address."
    return Finding(ROTATION, CheckVerdict.WRONG, seen, change)
