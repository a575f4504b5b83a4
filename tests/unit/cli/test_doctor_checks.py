"""What `doctor` makes of a token, of the API's answers and of a job's log: one finding for each cause."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.gateway.problems import (
    TITLES,
    Problem,
    conflict,
    invalid_token,
    problem_response,
    unavailable,
    unprocessable,
)
from sluicegate.oidc.claims import REQUIRED
from sluicegate.oidc.identity import Issuer
from sluicegate.oidc.jwks import Keyring
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.oidc.token import verify
from sluicegate_cli.doctor import api_checks
from sluicegate_cli.doctor.api_checks import of_problem
from sluicegate_cli.doctor.findings import (
    API,
    DEPLOYED,
    FORM,
    REQUEST,
    ROTATION,
    RULES,
    CheckVerdict,
    Finding,
)
from sluicegate_cli.doctor.findings import AUDIENCE as THE_AUDIENCE
from sluicegate_cli.doctor.findings import ISSUER as THE_ISSUER
from sluicegate_cli.doctor.job_log import of_log
from sluicegate_cli.doctor.token_checks import UnverifiedToken, of_keys, of_token, read_token
from support.signing import AUDIENCE, CLAIMS, ISSUER, NOW, b64, jwk, jwks, signed, token

CORP = Issuer("corp", ISSUER, AUDIENCE, 3600, jwks(jwk("k1")))


def wrong(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is CheckVerdict.WRONG]


def examined(
    claims: Mapping[str, Any] | None = None, *, issuer: Issuer = CORP, now: float = NOW
) -> list[Finding]:
    read = read_token(token(claims))
    assert isinstance(read, UnverifiedToken), read
    return list(of_token(read, [issuer], now, by_api=True))


# What is no token of a job's


@pytest.mark.parametrize(
    ("given_", "seen"),
    [
        ("", "the variable is empty"),
        ("$SLUICEGATE_TOKEN", "a variable's name"),
        ("${SLUICEGATE_TOKEN}", "a variable's name"),
        ('"$SLUICEGATE_TOKEN"', "a variable's name"),
        ("%SLUICEGATE_TOKEN%", "a variable's name"),
        ("$env:SLUICEGATE_TOKEN", "a variable's name"),
        ("[MASKED]", "the mask that GitLab writes into logs"),
        ("glcbt-64_Ab3dEfGh1jKlMnOpQrSt", "a CI_JOB_TOKEN"),
        ("glcbt-eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJ4In0.c2ln", "a CI_JOB_TOKEN"),
        ("acme-glcbt-eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJ4In0.c2ln", "a CI_JOB_TOKEN"),
        ("glpat-z_sxgtrfAxKr8q1TPY8Y", "access token"),
        ("gldt-z_sxgtrfAxKr8q1TPY8Y", "a deploy token"),
        ("glsoat-z_sxgtrfAxKr8q1TPY8Y", "another kind of token"),
        ("64_Ab3dEfGh1jKlMnOpQrSt", "1 part, not 3"),
        (f'"{token()}"', "in quotes"),
        (f"'{token()}'", "in quotes"),
        (f"Bearer {token()}", "`Bearer`"),
        (f"{token()[:300]}\n{token()[300:]}", "line breaks"),
        (f"{token()} ", "spaces"),
        ("é.é.é", "special characters"),
        (token().rpartition(".")[0], "it was truncated"),
        (token()[:-102], "signature was truncated"),
        (token()[:-1] + "=", "truncated or changed"),
        (f".{token()}", "4 parts, not 3"),
        (token({"x": "y" * 9000}), "the limit is 8192"),
        (signed(b'{"alg":"RS256"}', b"[]"), "has no claims"),
        (signed(b'{"alg":"RS256"}', b'{"a":1,"a":1}'), "cannot be read"),
        (token({"job_id": None, "ref": None}), "no ref, job_id as a job's has: it is from a sign-in"),
        (token(alg="HS256"), "not signed like a GitLab job's"),
        (token(kid=None), "not signed like a GitLab job's"),
    ],
)  # fmt: skip
def test_what_is_no_token_of_a_jobs_is_said_in_one_finding(given_: str, seen: str) -> None:
    found = read_token(given_)

    assert isinstance(found, Finding)
    assert (found.check, found.verdict) == (FORM, CheckVerdict.WRONG)
    assert seen in found.seen
    assert found.change


# The three checks


@pytest.mark.parametrize(
    ("iss", "difference"),
    [
        (f"{ISSUER}/", "only the trailing slash differs: `iss` has it"),
        ("http://gitlab.example.com", "the scheme (http, https) differs"),
        ("https://gitlab.example.com:8443", "the port differs"),
        ("https://GitLab.example.com", "only upper and lower case differ"),
        ("https://www.gitlab.example.com", "the host differs"),
        ("https://gitlab.example.com/gitlab", "the path differs"),
        ("https://gitlab.other.example", f"the gate file has only {ISSUER}"),
        ("https://[nonsense", f"the gate file has only {ISSUER}"),
        ("https://gitlab.example.com:port", f"the gate file has only {ISSUER}"),
    ],
)
def test_the_issuer_matches_exactly(iss: str, difference: str) -> None:
    [found] = wrong(examined({"iss": iss}))

    assert found.check == THE_ISSUER
    assert difference in found.seen
    assert f"`url: {iss}`" in found.change


def test_a_slash_in_the_gate_file_is_found_too() -> None:
    [found] = wrong(examined(issuer=replace(CORP, url=f"{ISSUER}/")))

    assert "only the trailing slash differs: `iss` lacks it" in found.seen


@pytest.mark.parametrize(
    ("aud", "seen", "change"),
    [
        ([AUDIENCE], "is a list", f"`aud: {AUDIENCE}`"),
        ([AUDIENCE, "https://vault.example.com"], "is a list", f"`aud: {AUDIENCE}`"),
        ("https://other.example.com", f"the gate file says {AUDIENCE}", f"`aud: {AUDIENCE}`"),
        (ISSUER, "is GitLab's own URL", f"`aud: {AUDIENCE}`"),
        (f"{AUDIENCE}/", f"the gate file says {AUDIENCE}", f"`aud: {AUDIENCE}`"),
        (None, "no `aud`", f"`aud: {AUDIENCE}`"),
        (7, "no `aud`", f"`aud: {AUDIENCE}`"),
    ],
)
def test_the_audience_is_restricted(aud: object, seen: str, change: str) -> None:
    [found] = wrong(examined({"aud": aud}))

    assert found.check == THE_AUDIENCE
    assert seen in found.seen
    assert change in found.change


def test_gitlabs_own_url_as_audience_is_worth_a_warning_even_where_it_is_accepted() -> None:
    found = examined({"aud": ISSUER}, issuer=replace(CORP, audience=ISSUER))

    assert [one.check for one in found if one.verdict is CheckVerdict.WARNING] == [THE_AUDIENCE]


def test_what_is_wrong_with_the_issuer_does_not_hide_the_audience() -> None:
    found = wrong(examined({"iss": f"{ISSUER}/", "aud": [AUDIENCE]}))

    assert [one.check for one in found] == [THE_ISSUER, THE_AUDIENCE]


@pytest.mark.parametrize(
    ("claims", "now", "seen"),
    [
        ({}, NOW + 7200, "expired 61 min ago"),
        ({"exp": NOW - 30}, NOW, "expired 30 s ago"),
        ({"exp": NOW + 9000}, NOW + 3600, "is 61 min old, and the gate file's `max_age` is 60 min"),
        ({"iat": NOW + 600, "nbf": NOW + 595}, NOW, "not valid for another 10 min: GitLab's clock is ahead"),
        ({"exp": "soon"}, NOW, "lacks one of"),
        ({"nbf": None}, NOW, "lacks one of"),
    ],
)
def test_tokens_rotate(claims: dict[str, Any], now: float, seen: str) -> None:
    [found] = wrong(examined(claims, now=now))

    assert found.check == ROTATION
    assert seen in found.seen
    assert found.change


@pytest.mark.parametrize(("late", "verdict"), [(29, CheckVerdict.OK), (30, CheckVerdict.WRONG)])
def test_the_leeway_is_the_apis(late: int, verdict: CheckVerdict) -> None:
    found = next(one for one in examined({"exp": NOW - late}) if one.check == ROTATION)

    assert found.verdict is verdict


def test_without_the_apis_clock_it_does_not_say_whose_is_wrong() -> None:
    read = read_token(token({"iat": NOW + 600}))
    assert isinstance(read, UnverifiedToken)

    [found] = wrong(of_token(read, [], NOW, by_api=False))

    assert "this machine's clock or GitLab's" in found.seen


def test_keys_rotate() -> None:
    assert of_keys("k1", ["k1"], from_file=True).verdict is CheckVerdict.OK
    assert "fetch that file again" in of_keys("k2", ["k1"], from_file=True).change
    assert "a running job" in of_keys("k2", ["k1"], from_file=False).change
    assert of_keys("k2", None, "TimeoutError", from_file=False).verdict is CheckVerdict.UNKNOWN


# The API's refusals


REFUSED: Sequence[tuple[str, Mapping[str, Any], str]] = (
    # check, claims, what it comes under
    ("iss", {"iss": "https://other.example"}, THE_ISSUER),
    ("aud", {"aud": [AUDIENCE]}, THE_AUDIENCE),
    ("aud", {"aud": "https://other.example"}, THE_AUDIENCE),
    ("exp", {"exp": NOW - 300, "iat": NOW - 600}, ROTATION),
    ("exp", {"exp": NOW + 40 * 86_400}, ROTATION),
    ("exp", {"exp": None}, ROTATION),
    ("nbf", {"nbf": NOW + 300}, ROTATION),
    ("iat", {"iat": NOW + 300}, ROTATION),
    ("max_age", {"iat": NOW - 4000}, ROTATION),
    *((name, {name: None}, FORM) for name in REQUIRED),
)


@pytest.mark.parametrize(("check", "claims", "under"), REFUSED)
def test_each_check_that_refuses_has_its_place(check: str, claims: Mapping[str, Any], under: str) -> None:
    given_ = token(claims)
    with pytest.raises(InvalidToken) as refused:
        verify([f"Bearer {given_}"], issuers={ISSUER: CORP}, keys=Keyring(), now=NOW)
    assert refused.value.check == check

    found = of_problem(invalid_token(refused.value.check, refused.value.detail).body("r"))

    assert (found.check, found.verdict) == (under, CheckVerdict.WRONG)
    assert found.change


@pytest.mark.parametrize(
    ("authorization", "under"),
    [
        ([], FORM),
        ([f"Basic {token()}"], FORM),
        (["Bearer x"], FORM),
        ([f"Bearer {token(alg='HS256')}"], FORM),
        ([f"Bearer {token(typ='at+jwt')}"], FORM),
        ([f"Bearer {token(jku='https://x')}"], FORM),
        ([f"Bearer {signed(b'[]', b'{}')}"], FORM),
        ([f"Bearer {signed(b'{}', b'[]')}"], FORM),
        ([f"Bearer {token(kid='k9')}"], ROTATION),
        ([f"Bearer {token(kid='k2')}"], ROTATION),
        ([f"Bearer {token()[:-4]}AAAA"], ROTATION),
    ],
)
def test_so_has_each_that_refuses_the_form_and_the_key(authorization: list[str], under: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        verify(authorization, issuers={ISSUER: CORP}, keys=Keyring(), now=NOW)

    found = of_problem(invalid_token(refused.value.check, refused.value.detail).body("r"))

    assert (found.check, found.verdict) == (under, CheckVerdict.WRONG)
    assert found.change


def test_a_file_of_keys_is_told_from_discovery() -> None:
    file = of_problem(invalid_token("kid", "the issuer's key set has no such key").body("r"))
    discovery = of_problem(invalid_token("kid", "the issuer has no such key").body("r"))

    assert "`jwks` file again" in file.change
    assert "Retry" in discovery.change


def test_every_code_of_the_api_has_a_place() -> None:
    for code in (*TITLES, "throttled"):
        found = of_problem({"code": code, "status": 409, "detail": "why"})
        assert found.verdict is CheckVerdict.WRONG
        assert found.change, code
        assert "not Sluicegate" not in found.seen, code


@pytest.mark.parametrize(
    ("problem", "check", "words"),
    [
        (conflict("busy", "another", {"deployment": "01K"}), REQUEST, "(01K)"),
        (conflict("held", "prod is held"), REQUEST, "hold STAGE"),
        (conflict("outdated", "a newer"), REQUEST, "rollback"),
        (conflict("token_used", "x"), REQUEST, "another job"),
        (conflict("key_reused", "x"), REQUEST, "Idempotency-Key"),
        (conflict("source_changed", "x"), REQUEST, "sluicegate status"),
        (conflict("wrong_state", "x"), REQUEST, "sluicegate status"),
        (unprocessable("no entry of `functions` in the gate file covers x"), REQUEST, "`functions`"),
        (
            unavailable("The issuer's signing keys are temporarily unavailable"),
            ROTATION,
            "jwks: FILE",
        ),
        (unavailable("The gate file is unusable: every request is denied."), API, "make deploy"),
        (unavailable("An AWS service is temporarily unavailable. Retry the request."), API, "alarms"),
    ],
)
def test_what_to_change_is_the_causes_own(problem: Problem, check: str, words: str) -> None:
    found = of_problem(problem.body("r"))

    assert found.check == check
    assert words in found.seen + found.change


NEAREST = [
    {
        "rule": "orders to prod",
        "failed": [
            {"claim": "ref_type", "value": "branch"},
            {"claim": "ref", "value": "quick-fix"},
            {"claim": "environment", "value": None},
        ],
    }
]


@pytest.mark.parametrize(
    ("nearest", "seen", "change"),
    [
        (
            NEAREST,
            "the nearest rule, 'orders to prod', requires another ref_type (branch here), "
            "ref (quick-fix here), environment (not in the token here)",
            "only if the job has that keyword",
        ),
        ([{"rule": "r", "failed": []}], "rule 'r' matches the job, but grants other", "`allow`"),
        ([], "none is for its project", "project_id"),
        (
            [{"rule": "r", "failed": [{"claim": "pipeline_source", "value": "schedule"}]}],
            "pipeline_source (schedule here)",
            "only push and web",
        ),
        (
            [{"rule": "r", "failed": [{"claim": "ref_protected", "value": "false"}]}],
            "ref_protected (false here)",
            "protected branches and tags",
        ),
        ("nonsense", "none is for its project", "project_id"),
        ([7, {"rule": 7, "failed": [8, {"claim": 9}]}], "requires another", "Run it in a job"),
    ],
)
def test_a_403_says_which_claim_of_which_rule_failed(nearest: Any, seen: str, change: str) -> None:
    detail = "no rule allows this identity to deploy orders-api in prod"
    found = of_problem({"code": "not_allowed", "status": 403, "detail": detail, "nearest": nearest})

    assert found.check == RULES
    assert seen in found.seen
    assert change in found.change


def test_a_denial_and_a_web_acl_are_no_want_of_a_rule() -> None:
    denied = of_problem({"code": "not_allowed", "detail": "the gate file denies this user_id"})
    walled = of_problem({"code": "not_allowed", "detail": "refused before Sluicegate was asked"})
    own = of_problem(
        {"code": "not_allowed", "detail": "this user asked for the deployment: somebody else must"}
    )

    assert (denied.check, "`deny`" in denied.change) == (RULES, True)
    assert (walled.check, "web ACL" in walled.change) == (API, True)
    assert "a person" in own.change.lower()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"code": "unreachable", "detail": "[Errno -2] Name or service not known"}, "Correct the host"),
        ({"code": "unreachable", "detail": "certificate verify failed"}, "SSL_CERT_FILE"),
        ({"code": "unreachable", "detail": "no answer in time"}, "HTTPS_PROXY"),
        ({"code": "unexpected_answer", "status": 403, "detail": "Forbidden"}, "does not end with /v1"),
        ({"code": "unexpected_answer", "status": 404, "detail": "Not Found"}, "does not end with /v1"),
        ({"code": "unexpected_answer", "status": 301, "detail": "Moved"}, "redirects elsewhere"),
        ({"code": "unexpected_answer", "status": 407, "detail": "x"}, "a proxy in between"),
        ({"code": "unexpected_answer", "status": 200, "detail": "OK"}, "a proxy's page"),
        ({"code": "unexpected_answer", "status": 502, "detail": "Bad Gateway"}, "alarms"),
        ({"code": "not_found", "status": 404, "detail": "x"}, "not its root"),
        ({"code": "invalid_token", "status": 401, "detail": "x"}, "not its root"),
        ({"code": "unavailable", "status": 503, "detail": "x"}, "alarms"),
        ({"code": 7, "status": "x", "detail": ["y"]}, "not Sluicegate"),
    ],
)
def test_an_address_where_the_api_is_not(document: Mapping[str, Any], words: str) -> None:
    found = api_checks.of_health_error(document, "https://x.execute-api.eu-central-1.amazonaws.com")

    assert found.check == API
    assert words in f"{found.seen} {found.change}"


# Both sides


def verdicts(findings: Iterable[Finding]) -> dict[str, CheckVerdict]:
    return {finding.check: finding.verdict for finding in findings}


def test_what_the_api_repeats_is_said_once() -> None:
    local = examined({"iss": f"{ISSUER}/"})
    refusal = of_problem(invalid_token("iss", "'x' is not one of the gate file's issuers").body("r"))

    assert api_checks.rejected_by_api(local, refusal) == local


def test_what_only_the_api_knows_takes_its_place() -> None:
    read = read_token(token({"aud": "https://other.example"}))
    assert isinstance(read, UnverifiedToken)
    local = list(of_token(read, [], NOW, by_api=True))
    refusal = of_problem(invalid_token("aud", "not this issuer's audience, as one string").body("r"), read)

    found = api_checks.rejected_by_api(local, refusal)

    assert [one.check for one in found] == [THE_ISSUER, THE_AUDIENCE, ROTATION, FORM]
    assert "`aud` is https://other.example" in wrong(found)[0].seen


@pytest.mark.parametrize("check", ["iss", "aud"])
def test_what_the_gate_file_here_takes_and_the_api_refuses_is_another_gate_file(check: str) -> None:
    found = wrong(api_checks.rejected_by_api(examined(), of_problem(invalid_token(check, "no").body("r"))))

    assert len(found) == 1
    assert "the API runs another one" in found[0].seen
    assert "make deploy" in found[0].change


def test_so_is_what_it_refuses_here_and_the_api_takes() -> None:
    local = examined({"iss": f"{ISSUER}/", "aud": "https://other.example", "iat": NOW - 3590})

    found = list(api_checks.accepted_by_api(local))

    assert verdicts(found)[THE_ISSUER] is CheckVerdict.WARNING
    assert not wrong(found)
    assert "it runs a different gate file" in found[0].seen


def test_what_nobody_here_could_compare_the_api_confirms() -> None:
    read = read_token(token())
    assert isinstance(read, UnverifiedToken)

    found = list(api_checks.accepted_by_api(of_token(read, [], NOW, by_api=True)))

    assert set(verdicts(found).values()) == {CheckVerdict.OK}


# Job logs


NOT_ALLOWED = Problem(
    403, "not_allowed", "no rule allows this identity to deploy orders-api in prod", {"nearest": NEAREST}
)
COMMAND = """\
error: No rule allows this [not_allowed (403)]
  no rule allows this identity to deploy orders-api in prod
nearest rule    failed claim  this job has
orders to prod  ref_type      branch
                ref           quick-fix
                environment   (not in the token)
  hint: `sluicegate whoami` shows the claims of this job and what the rules allow.
  request id: 5c0e
Cleaning up project directory and file based variables
"""
PLAIN = "\n".join(problem_response(NOT_ALLOWED, "r").lines)
JSON = json.dumps(NOT_ALLOWED.body("5c0e"))
PRETTY = json.dumps(NOT_ALLOWED.body("5c0e"), indent=2, sort_keys=True)


def raw(text: str) -> str:
    """As a runner with FF_TIMESTAMPS stores it, in colours and sections."""
    lines = [f"2026-11-25T07:00:00.000000Z 01O \x1b[31;1m{line}\x1b[0;m" for line in text.splitlines()]
    start = "2026-11-25T07:00:00.000000Z 00O+section_start:1795400000:step_script\r\x1b[0K"
    return "\n".join(
        (f'{start}\x1b[36;1mExecuting "step_script"\x1b[0;m', *lines, "section_end:1:x\r\x1b[0K")
    )


@pytest.mark.parametrize("form", [COMMAND, PLAIN, JSON, PRETTY], ids=["command", "plain", "json", "jq"])
@pytest.mark.parametrize(
    "stored", [str, raw, lambda text: text.replace("\n", "\r\n")], ids=["as is", "raw", "crlf"]
)
def test_a_log_says_the_same_in_every_form(form: str, stored: Any) -> None:
    assert of_log(stored(f"$ deploy\n{form}\nERROR: Job failed: exit code 3\n")) == [
        of_problem(NOT_ALLOWED.body("r"))
    ]


def test_a_line_that_goes_on_is_one_line() -> None:
    log = (
        f"2026-11-25T07:00:00.000000Z 01O {JSON[:100]}\n2026-11-25T07:00:00.100000Z 01O+{JSON[100:]}\n"
        "2026-11-25T07:00:00.200000Z 01O done\n"
    )

    assert of_log(log) == [of_problem(NOT_ALLOWED.body("r"))]


def test_the_same_again_is_one_finding_and_others_are_others() -> None:
    log = f"{JSON}\n{PLAIN}\n{COMMAND}\nheld: prod is held since yesterday: an incident\n{COMMAND}"

    assert [one.check for one in of_log(log)] == [RULES, REQUEST]


@pytest.mark.parametrize(
    ("log", "check", "words"),
    [
        ("error: The [invalid_token (401)]\n  exp: x\n  failed check: exp", ROTATION, "Run the job again"),
        ("invalid_token: aud: not this issuer's audience, as one string", THE_AUDIENCE, "`aud:`"),
        ("error: No answer [unreachable]\n  the API: no answer in time", API, "HTTPS_PROXY"),
        ("error: Another [busy (409)]\n  another\n  running: 01K\n  hint: x", REQUEST, "(01K)"),
        ("Usage: x\n\nError: no ID token. Let the job ask for one", FORM, "id_tokens"),
        ("Error: no endpoint. Set SLUICEGATE_URL", API, "SLUICEGATE_URL"),
        ("Error: the endpoint must be https: an ID token", API, "https://"),
        ("sh: SLUICEGATE_TOKEN: parameter not set", FORM, "id_tokens"),
        ("/bin/sh: 12: sluicegate: not found", API, "before_script"),
        ("curl: (6) Could not resolve host: api.example.com", API, "host"),
        ("curl: (7) Failed to connect", API, "HTTPS_PROXY"),
        ("curl: (60) SSL certificate problem", API, "SSL_CERT_FILE"),
        ("curl: (22) The requested URL returned error: 403", API, "--fail-with-body"),
        ("failed: no function x [function_not_found]; alias prod is untouched", DEPLOYED, "Create"),
        ("2026-11-23T04:58:48.804Z  rolled_back   alarm orders-5xx", DEPLOYED, "rolled_back"),
    ],
)  # fmt: skip
def test_a_log_of_one_thing(log: str, check: str, words: str) -> None:
    [found] = of_log(raw(log))

    assert (found.check, found.verdict) == (check, CheckVerdict.WRONG)
    assert words in f"{found.seen} {found.change}"


@pytest.mark.parametrize(
    "log",
    [
        "",
        "npm warn outdated: three packages are outdated\nthe disk is busy, 3 held locks",
        "succeeded: orders-api serves version 2 (was 1) in dev, 1.2 s",
        '{"code": "busy"}',
        "urn:sluicegate:problem:" * 1000,
        "{" * 10_000 + "urn:sluicegate:problem:busy",
    ],
)
def test_a_log_of_nothing(log: str) -> None:
    assert of_log(log) == []


# Whatever is in them


REAL = token()
PARTS = [part for part in REAL.split(".") if len(part) >= 16]
hostile = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            REAL,
            f"x{REAL}",
            *PARTS[:1],
            "glpat-z_sxgtrfAxKr8q1TPY8Y",
            "\x1b[2J\nok: forged",
            "\u202e\u2028\x9b1m\r",
        ]
    ),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    "code",
    "detail",
    "check",
    "nearest",
    "status",
    "deployment",
    "version",
    "rules",
    "project_id",
    "errors",
)


def sound(findings: Iterable[Finding]) -> None:
    for finding in findings:
        for text in (finding.seen, finding.change):
            assert len(text) <= 620
            assert REAL not in text
            assert PARTS[0] not in text
            assert "glpat-z" not in text
            assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@settings(deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, values)),
    st.sampled_from([*api_checks.CODES, None]),
)
def test_no_answer_of_any_server_gets_through(document: dict[str, Any], code: str | None) -> None:
    document |= {"code": code} if code else {}
    read = read_token(REAL)
    assert isinstance(read, UnverifiedToken)

    sound(
        [
            of_problem(document),
            of_problem(document, read),
            api_checks.of_health(document, "https://x/v1"),
            api_checks.of_health_error(document, "https://x/v1"),
            api_checks.of_whoami(document),
            api_checks.of_dry_run(document, "f", "prod"),
            *filter(None, [api_checks.other_rules(document, [])]),
        ]
    )


@settings(deadline=None)
@given(st.lists(hostile | st.sampled_from([COMMAND, PLAIN, JSON, raw(COMMAND)]), max_size=6), st.data())
def test_nothing_of_any_log_gets_through(pieces: list[str], data: st.DataObject) -> None:
    code = data.draw(st.sampled_from(sorted(api_checks.CODES)))
    text = data.draw(hostile)
    forged = (
        f"{code}: {text}",
        f"error: x [{code}]\n  {text}",
        json.dumps({"type": "urn:sluicegate:problem:x", "code": code, "detail": text}),
    )

    sound(of_log("\n".join([*pieces, *forged])))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*CLAIMS]), values, max_size=5), hostile)
def test_nothing_of_any_token_gets_through(claims: dict[str, Any], text: str) -> None:
    body = json.dumps(CLAIMS | claims).encode()
    for given_ in (
        signed(b'{"alg":"RS256","kid":"k1"}', body),
        text,
        f"{b64(text.encode('utf-8', 'replace'))}.e30.e30",
    ):
        read = read_token(given_)
        if isinstance(read, Finding):
            sound([read])
        else:
            for issuers in ([], [CORP]):
                sound(of_token(read, issuers, NOW, by_api=True))
            sound([of_keys(read.header.get("kid"), ["k"], from_file=True)])
