"""What a token tells by itself, and beside a gate file: each a sentence, and what to change.

The three checks that solve most cases: the issuer matches exactly, the audience is restricted, keys and
tokens rotate. Nothing here verifies a token, which is the API's to do.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from sluicegate.gate.policy import Decision, Gate
from sluicegate.oidc.claims import REQUIRED
from sluicegate.oidc.identity import ClaimValue, Identity, Issuer
from sluicegate.strict_json import StrictJsonError, loads
from sluicegate.text import base64url, clean
from sluicegate_cli.doctor.findings import AUDIENCE, FORM, ISSUER, ROTATION, RULES, Finding, Verdict, ago

_LEEWAY: Final = 30  # seconds, as the API gives
_LARGEST: Final = 8_192  # bytes of a token
_DEEPEST: Final = 8
_SIGNATURE: Final = range(256, 512 + 1)  # bytes, of RSA keys of 2048 to 4096 bits

ASK: Final = "Give the job `id_tokens: {SLUICEGATE_TOKEN: {aud: AUDIENCE}}`, and pass that variable as it is."
"""What to change where there is no ID token."""

_AS_IT_IS: Final = "Pass the variable of `id_tokens` as it is, all of it and nothing around it."

# GitLab's own tokens by their prefix, before which an instance may put one of its own.
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
class Token:
    """What a token says, unverified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def issuer(self) -> str:
        """Its `iss`, empty where that is no text."""
        value = self.claims.get("iss")
        return value if isinstance(value, str) else ""


def read_token(given: str) -> Token | Finding:
    """The token's header and claims, or why it is none of a job's. Only what is one may be sent anywhere."""
    if trouble := _no_token(given):
        return Finding(FORM, Verdict.WRONG, *trouble)
    try:
        decoded = [base64url(part) for part in given.split(".")]
        header, claims = (loads(part, max_depth=_DEEPEST, control_characters=False) for part in decoded[:2])
    except (ValueError, StrictJsonError):
        return Finding(FORM, Verdict.WRONG, "the token cannot be read: it was cut, or changed", _AS_IT_IS)
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return Finding(FORM, Verdict.WRONG, "the token holds no claims", ASK)
    missing = [name for name, check in REQUIRED.items() if not check(claims.get(name))]
    if missing:
        seen = f"the token has no {', '.join(missing)} as a job's has: it is of a sign-in, or not GitLab's"
        return Finding(FORM, Verdict.WRONG, seen, ASK)
    if header.get("alg") != "RS256" or not isinstance(header.get("kid"), str):
        seen = "the token is not signed as a GitLab job's is, with RS256 and a key that it names"
        return Finding(FORM, Verdict.WRONG, seen, ASK)
    if len(decoded[2]) not in _SIGNATURE:
        return Finding(FORM, Verdict.WRONG, "the token's signature was cut, or changed", _AS_IT_IS)
    return Token(header, claims)


def _no_token(given: str) -> tuple[str, str] | None:
    """What was given instead of three parts, and what to change."""
    if not given:
        return "there is no ID token: the variable is empty, or not this job's", ASK
    if re.fullmatch(r"""["']?(?:\$\{?|\$env:|%)\w{1,64}[}%]?["']?""", given):
        change = "Let a shell expand it: in double quotes or none, and under `id_tokens` of this very job."
        return "what was given as token is a variable's name, not its value", change
    if "[MASKED]" in given or set(given) == {"*"}:
        change = "Run `sluicegate doctor` in the job itself: no log has the token."
        return "what was given as token is what GitLab puts into logs in its place", change
    if given[0] in "\"'" or given[-1] in "\"'":
        return "the token is in quotes", _AS_IT_IS
    if given[:7].lower() == "bearer ":
        return "the token begins with `Bearer`, which is added to it", _AS_IT_IS
    if kind := _KIND.match(given):
        return f"what was given is {_KINDS.get(kind[1], 'another kind of token')}, not an ID token", ASK
    if not (given.isascii() and given.isprintable()) or " " in given:
        return "the token has spaces, line breaks or special characters in it", _AS_IT_IS
    if len(given) > _LARGEST:
        change = "Ask who runs that GitLab what makes it so long: claims of their own, or very many groups."
        return f"the token has {len(given)} bytes, and {_LARGEST} are accepted", change
    parts = given.count(".") + 1
    if parts == 2:
        return "the token has 2 parts where it must have 3: it was cut", _AS_IT_IS
    if parts != 3:
        return f"what was given is no ID token: it has {parts} part{'s' if parts > 1 else ''}, not 3", ASK
    return None


def of_token(token: Token, issuers: Sequence[Issuer], now: float, *, by_api: bool) -> Iterator[Finding]:
    """The three checks as far as a job's token tells. `issuers`: a gate file's; empty without one.

    `now` is in epoch seconds, `by_api` if the API's clock says so.
    """
    known = known_issuer(token, issuers)
    yield _issuer(token.issuer, known, issuers)
    yield _audience(token, known)
    yield _times(token.claims, known, now, by_api)
    claims = token.claims
    seen = f"job {claims['job_id']} of project {claims['project_id']}, {claims['ref_type']} {claims['ref']}"
    yield Finding(FORM, Verdict.OK, f"{seen}, started by {claims['pipeline_source']}")


def known_issuer(token: Token, issuers: Sequence[Issuer]) -> Issuer | None:
    """The issuer that is meant: the very one, or one of the same host that was written otherwise."""
    exact = next((one for one in issuers if one.url == token.issuer), None)
    return exact or next((one for one in issuers if _same_host(one.url, token.issuer)), None)


def _issuer(iss: str, known: Issuer | None, issuers: Sequence[Issuer]) -> Finding:
    if not iss:
        return Finding(ISSUER, Verdict.WRONG, "the token has no `iss`", ASK)
    if not issuers:
        return Finding(
            ISSUER, Verdict.UNKNOWN, f"`iss` is {iss}", "--gate-file compares issuer, audience and rules."
        )
    if known is None:
        listed = ", ".join(one.url for one in issuers[:5])
        seen = f"`iss` is {iss}, and the gate file knows only {listed}"
        change = (
            f"If that GitLab may deploy, add an issuer with `url: {iss}` to the gate file, and deploy it."
        )
        return Finding(ISSUER, Verdict.WRONG, seen, change, compared=True)
    if known.url == iss:
        return Finding(ISSUER, Verdict.OK, f"`iss` is {iss}, as in the gate file", compared=True)
    seen = f"`iss` is {iss}, and the gate file says {known.url}: {_difference(known.url, iss)}"
    change = f"Write `url: {iss}` into the gate file, to the letter, and deploy it."
    return Finding(ISSUER, Verdict.WRONG, seen, change, compared=True)


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
        return f"only the slash at the end {'is missing' if expected.endswith('/') else 'is too much'} there"
    if expected.casefold() == iss.casefold():
        return "capital letters differ"
    one, other = _split(expected), _split(iss)
    for what, left, right in (
        ("scheme (http, https)", one.scheme, other.scheme),
        ("host", one.hostname, other.hostname),
        ("port", one.port, other.port),
    ):
        if left != right:
            return f"the {what} differs"
    return "what follows the host differs"


def _audience(token: Token, known: Issuer | None) -> Finding:
    aud = token.claims.get("aud")
    wanted = f"`aud: {known.audience}`" if known else "`aud:`"
    if isinstance(aud, list):
        seen = "`aud` is a list, and a token that is good for others as well is refused, even with one entry"
        change = f"Write {wanted} in the job's `id_tokens`, as one text without brackets or dashes."
        return Finding(AUDIENCE, Verdict.WRONG, seen, change)
    if not isinstance(aud, str) or not aud:
        change = f"Write {wanted} in the job's `id_tokens`."
        return Finding(AUDIENCE, Verdict.WRONG, "the token has no `aud`", change)
    is_gitlab = aud.rstrip("/") == token.issuer.rstrip("/")
    if known is not None and aud != known.audience:
        what = "GitLab's own URL" if is_gitlab else aud
        seen = f"`aud` is {what}, and the gate file says {known.audience}"
        change = f"Write {wanted} in the job's `id_tokens`, to the letter."
        return Finding(AUDIENCE, Verdict.WRONG, seen, change, compared=True)
    if is_gitlab:
        seen = "`aud` is GitLab's own URL, for which jobs ask to reach other services too"
        change = "Choose a text that only Sluicegate accepts, as `audience` and as `aud`."
        return Finding(AUDIENCE, Verdict.WARNING, seen, change)
    if known is None:
        return Finding(AUDIENCE, Verdict.UNKNOWN, f"`aud` is {aud}, one text")
    return Finding(AUDIENCE, Verdict.OK, f"`aud` is {aud}, one text, as in the gate file", compared=True)


def _times(claims: Mapping[str, Any], known: Issuer | None, now: float, by_api: bool) -> Finding:
    exp, iat, nbf = (claims.get(name) for name in ("exp", "iat", "nbf"))
    if not (type(exp) is int and type(iat) is int and type(nbf) is int):
        return Finding(ROTATION, Verdict.WRONG, "the token lacks one of `exp`, `iat` and `nbf`", ASK)
    if now >= exp + _LEEWAY:
        change = "Run the job again: each run gets a token of its own, which lives as long as its `timeout`."
        return Finding(ROTATION, Verdict.WRONG, f"the token expired {ago(now - exp)} ago", change)
    if max(iat, nbf) > now + _LEEWAY:
        whose = "GitLab's clock is ahead" if by_api else "this machine's clock or GitLab's is wrong"
        seen = f"the token begins {ago(max(iat, nbf) - now)} from now: {whose}"
        return Finding(ROTATION, Verdict.WRONG, seen, "Set the clock by NTP.")
    age = now - iat
    if known is not None and known.max_age is not None and age > known.max_age:
        seen = (
            f"the token is {ago(age)} old, and the gate file takes {ago(known.max_age)} at most (`max_age`)"
        )
        change = "Deploy earlier in the job, or in a job of its own: a job's token is as old as the job."
        return Finding(ROTATION, Verdict.WRONG, seen, change, compared=True)
    return Finding(ROTATION, Verdict.OK, f"the token is {ago(age)} old, and good for {ago(exp - now)} more")


def of_keys(kid: object, kids: Sequence[str] | None, trouble: str = "", *, from_file: bool) -> Finding:
    """Whether the key that signed it is among an issuer's; `kids` None: not fetched, for `trouble`."""
    if kids is None:
        seen = f"GitLab's keys cannot be fetched from here: {trouble}"
        change = "If AWS cannot reach that GitLab either, give the gate file its keys: `jwks: FILE`."
        return Finding(ROTATION, Verdict.UNKNOWN, seen, change)
    where = "the gate file's `jwks` file" if from_file else "the keys that GitLab publishes"
    if kid in kids:
        return Finding(ROTATION, Verdict.OK, f"the token's key is among {where}", compared=from_file)
    seen = f"the token's key {clean(str(kid), 64)} is not among {where}"
    if from_file:
        change = "GitLab's keys have changed: fetch that file again (/oauth/discovery/keys), and deploy it."
        return Finding(ROTATION, Verdict.WRONG, seen, change, compared=True)
    change = "Take the token of a job that runs now; if that fails too, another GitLab has the same address."
    return Finding(ROTATION, Verdict.WRONG, seen, change)


# Rules


def of_rules(gate: Gate, identity: Identity, request: tuple[str, str] | None) -> Finding:
    """What the gate file here gives to who the token says it is.

    `request`: a function and a stage, if it is asked about deploying that.
    """
    if denied := gate.denied(identity):
        change = (
            f"Take the entry with this {denied} out of `deny`, if it is not meant, and deploy the gate file."
        )
        seen = f"the gate file denies this {denied}"
        return Finding(RULES, Verdict.WRONG, seen, change, compared=True)
    if request is not None:
        function, stage = request
        decision = gate.decide(identity, actions=("deploy",), function=function, stage=stage)
        return _decided(decision, function, stage)
    if rules := gate.rules_of(identity):
        return Finding(RULES, Verdict.OK, f"{named([rule.name for rule in rules])} match", compared=True)
    own = [
        (rule.name, [(failed.claim, failed.value) for failed in rule.failed(identity)])
        for rule in gate.rules
        if rule.issuer == identity.issuer
        and rule.via == identity.via
        and identity.text("project_id") in rule.pinned("project_id")
    ]
    nearest = sorted(own, key=lambda rule: len(rule[1]))
    return no_rule(
        "no rule of the gate file matches this job", nearest, identity.text("project_id"), compared=True
    )


def _decided(decision: Decision, function: str, stage: str) -> Finding:
    if decision.rule:
        seen = f"rule '{decision.rule.name}' of the gate file allows it"
        return Finding(RULES, Verdict.OK, seen, compared=True)
    nearest = [
        (one.rule, [(failed.claim, failed.value) for failed in one.failed]) for one in decision.nearest
    ]
    what = f"no rule of the gate file allows this job to deploy {function} in {stage}"
    return no_rule(what, nearest, None, compared=True)


def no_rule(
    what: str,
    nearest: Sequence[tuple[str, Sequence[tuple[str, str | None]]]],
    project: str | None,
    *,
    compared: bool = False,
) -> Finding:
    """Why nothing is allowed: the nearest rule, its claims that failed, and what this job has instead."""
    if not nearest:
        pin = f'project_id: "{project}"' if project else "this job's project_id"
        change = f"Add a rule with {pin}, or look whether its project_id and issuer are this project's."
        return Finding(RULES, Verdict.WRONG, f"{what}: none is for its project", change, compared)
    name, failed = nearest[0]
    if not failed:
        seen = f"{what}: rule '{name}' matches the job, but grants other actions, functions or stages"
        change = (
            "Add what is missing to that rule's `allow`, or write another rule, and deploy the gate file."
        )
        return Finding(RULES, Verdict.WRONG, seen, change, compared)
    listed = ", ".join(
        f"{claim} ({'not in the token' if value is None else value} here)" for claim, value in failed
    )
    change = f"Run it in a job that fits, or change that rule, and deploy the gate file.{_hint(failed)}"
    return Finding(
        RULES, Verdict.WRONG, f"{what}: the nearest, '{name}', wants another {listed}", change, compared
    )


def _hint(failed: Sequence[tuple[str, str | None]]) -> str:
    """More, for the two claims that surprise."""
    values = dict(failed)
    if "environment" in values and values["environment"] is None:
        return " (`environment` is in the token of a job that has the keyword.)"
    if "pipeline_source" in values:
        return " (A rule that names no `pipeline_source` takes push and web only.)"
    if values.get("ref_protected") == "false":
        return " (`ref_protected` is what the project's protected branches and tags say.)"
    return ""


def named(rules: Sequence[str]) -> str:
    """`rule 'a'`, or `rules 'a' and 'b'`."""
    names = [f"'{name}'" for name in rules[:5]]
    more = f" and {len(rules) - 5} more" if len(rules) > 5 else ""
    return f"rule{'s' if len(rules) > 1 else ''} {', '.join(names)}{more}"


def identity_of(token: Token, claims: Mapping[str, ClaimValue]) -> Identity:
    """Who the token says it is. `claims` as `sluicegate.oidc.token.rule_claims` reads them."""
    return Identity(
        via="id_token",
        issuer=token.issuer,
        claims=claims,
        jti=str(token.claims["jti"]),
        issued_at=0,
        expires_at=0,
    )
