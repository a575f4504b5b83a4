"""`sluicegate doctor`, with the gateway's own answers over real HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import EndpointConnectionError

from sluicegate.deployment.plan import Target
from sluicegate.gate.policy import Gate
from sluicegate.gateway.app import dispatch
from sluicegate.gateway.context import Context
from sluicegate.gateway.endpoints import health
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem, conflict, unprocessable
from sluicegate.oidc.jwks import Keyring
from sluicegate_cli.doctor import aws_calls
from sluicegate_gatefile import compile as gatefile
from support.aws_account import AwsAccount
from support.cli_running import Ended, Run, running
from support.cli_server import Reply, Server, problem
from support.signing import AUDIENCE, ISSUER, NOW, jwk, jwks, token

OTHER = "https://other.example.com"
GATE = """\
version: 1
issuers:
  corp: {url: URL, audience: AUDIENCE, max_age: 1h, jwks: keys.json}
stages: {dev: {}, prod: {protected: true}}
functions: {orders-*: {}}
rules:
  - name: main to dev
    claims: {project_id: "4213", ref_type: branch, ref: REF}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev]}
  - name: tags to prod
    claims: {project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders-*], stages: [prod]}
deny: DENY
"""


def gate_file(
    directory: Path, *, url: str = ISSUER, audience: str = AUDIENCE, ref: str = "main", deny: str = "[]"
) -> Path:
    """A gate file with a file of keys, which has the key `k1`."""
    (directory / "keys.json").write_bytes(jwks(jwk("k1")))
    path = directory / "sluicegate.yaml"
    text = GATE.replace("URL", url).replace("AUDIENCE", audience).replace("REF", ref).replace("DENY", deny)
    path.write_text(text)
    return path


def compiled(path: Path) -> Gate:
    report = gatefile.check(path)
    assert report.gate is not None, report.diagnostics
    return report.gate


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a gate file to run in, and one beside it."""
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    for name in ("GITLAB_CI", "SLUICEGATE_URL", "SLUICEGATE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


Doctor = Callable[..., Ended]


@pytest.fixture
def ask(
    elsewhere: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    """Runs `doctor` in a job: with a token, and against what the gateway answers to it by a gate file."""

    def run(
        *arguments: str,
        token: str | None = None,
        gate: Gate | None = None,
        now: float = NOW,
        rehearsal: Problem | None = None,
    ) -> Ended:
        server.clock = lambda: now
        server.on("GET", "/health", _reply(health.read()))
        monkeypatch.setenv("SLUICEGATE_URL", server.url)
        if token is not None:
            monkeypatch.setenv("SLUICEGATE_TOKEN", token)
            answered = _answered(gate or compiled(gate_file(elsewhere)), token, now)
            server.on("GET", "/whoami", answered)
        if rehearsal is not None:
            server.on("POST", "/deployments", Reply(rehearsal.status, rehearsal.body("request-1")))
        ended = running(monkeypatch, capsys)("doctor", *arguments)
        for part in (token or "").split("."):
            assert len(part) < 16 or part not in ended.out + ended.err
        return ended

    return run


def _answered(gate: Gate, given: str, now: float) -> Reply:
    """What the gateway answers to `GET /whoami`."""
    context = Context(
        gate=gate,
        keys=Keyring(),
        store=cast(Any, None),
        artifacts=cast(Any, None),
        executions=cast(Any, None),
        secrets=cast(Any, None),
        own=Target("000000000000", "eu-central-1"),
        log=lambda *_, **__: None,
        waits=4,
        clock=lambda: now,
    )
    request = GatewayRequest(
        "GET", "/whoami", {}, {}, {"authorization": [f"Bearer {given}"]}, b"", "request-1"
    )
    try:
        return _reply(dispatch(context, request))
    except Problem as error:
        return Reply(error.status, error.body("request-1"))


def _reply(answer: GatewayResponse) -> Reply:
    return Reply(answer.status, answer.value)


def found(ended: Ended) -> list[dict[str, str]]:
    return cast(list[dict[str, str]], json.loads(ended.out)["findings"])


def wrong(ended: Ended) -> list[dict[str, str]]:
    return [one for one in found(ended) if one["verdict"] == "wrong"]


# Nothing is wrong


def test_a_job_that_may_deploy_is_told_so(ask: Doctor) -> None:
    ended = ask(token=token({"iat": NOW - 300}))

    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"✓ issuer matches exactly: `iss` is {ISSUER}, and the API accepts it",
        f"✓ audience is restricted: `aud` is {AUDIENCE}, one string, and the API accepts it",
        "✓ keys and tokens rotate: the token is 5 min old, and valid for 59 min more",
        "✓ the token is a job's ID token: job 302 of project 4213, branch main, started by push",
        ended.out.splitlines()[4],
        "✓ a rule allows it: this rule matches: 'main to dev' (deploy in dev)",
        "",
        "no errors found from here",
    ]
    assert "is Sluicegate " in ended.out.splitlines()[4]


def test_beside_a_gate_file_all_is_compared(ask: Doctor, elsewhere: Path) -> None:
    ended = ask("--gate-file", str(gate_file(elsewhere)), "--json", token=token())

    assert ended.code == 0
    assert {one["verdict"] for one in found(ended)} == {"ok"}
    assert [one["check"] for one in found(ended)] == [
        "issuer matches exactly",
        "audience is restricted",
        "keys and tokens rotate",
        "keys and tokens rotate",
        "the token is a job's ID token",
        "the API responds",
        "a rule allows it",
    ]
    assert set(found(ended)[0]) == {"check", "verdict", "seen", "change"}


def test_the_gate_file_of_the_directory_is_taken_and_named(ask: Doctor, elsewhere: Path) -> None:
    gate_file(elsewhere / "job")

    ended = ask(token=token())

    assert "comparing with sluicegate.yaml" in ended.err
    assert "as in the gate file" in ended.out


def test_the_gate_file_is_read_and_named_once_for_a_job_and_a_stack(
    ask: Doctor, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_calls, "connect", lambda *_, **__: AwsAccount().calls())
    (gate_file(elsewhere / "job")).write_text("version: 2")

    ended = ask("--stack", "sluicegate", token=token(), gate=compiled(gate_file(elsewhere)))

    assert ended.err.count("comparing with sluicegate.yaml") == 1
    assert ended.out.count("the gate file has errors") == 1


# One thing is wrong


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize(
    ("given", "now", "check", "words"),
    [
        (token({"iss": f"{ISSUER}/"}), NOW, "issuer matches exactly", f"`url: {ISSUER}/`"),
        (token({"iss": "http://gitlab.example.com"}), NOW, "issuer matches exactly", "`url: http://"),
        (token({"iss": f"{ISSUER}:8443"}), NOW, "issuer matches exactly", f"`url: {ISSUER}:8443`"),
        (token({"iss": "https://GITLAB.example.com"}), NOW, "issuer matches exactly", "GITLAB"),
        (token({"iss": OTHER}), NOW, "issuer matches exactly", OTHER),
        (token({"aud": [AUDIENCE]}), NOW, "audience is restricted", "`aud` is a list"),
        (token({"aud": ISSUER}), NOW, "audience is restricted", "id_tokens"),
        (token({"aud": OTHER}), NOW, "audience is restricted", OTHER),
        (token(), NOW + 7200, "keys and tokens rotate", "expired 61 min ago"),
        (token({"exp": NOW + 9000}), NOW + 3700, "keys and tokens rotate", "earlier in the job"),
        (token({"iat": NOW + 300}), NOW, "keys and tokens rotate", "GitLab's clock is ahead"),
        (token(kid="k2"), NOW, "keys and tokens rotate", "etch"),
    ],
)
def test_what_is_wrong_with_a_token_is_said_once(
    ask: Doctor, elsewhere: Path, compared: bool, given: str, now: float, check: str, words: str
) -> None:
    arguments = ("--gate-file", str(gate_file(elsewhere))) if compared else ()

    ended = ask(*arguments, "--json", token=given, now=now)

    assert ended.code == 1
    [one] = wrong(ended)
    assert one["check"] == check
    assert words in one["seen"] + one["change"]
    assert compared or check.startswith("issuer") or found(ended)[0]["verdict"] == "ok"
    assert "a rule allows it" not in [other["check"] for other in found(ended)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "the variable is empty"),
        ("$SLUICEGATE_TOKEN", "a variable's name"),
        ("glcbt-64_Ab3dEfGh1jKlMnOpQrSt", "a CI_JOB_TOKEN"),
        (f'"{token()}"', "in quotes"),
        (token()[:-40], "truncated"),
        (token({"job_id": None}), "no job_id"),
        ("é" * 40, "special characters"),
    ],
)
def test_what_is_no_token_is_sent_nowhere(ask: Doctor, server: Server, given: str, words: str) -> None:
    ended = ask("--json", token=given)

    assert ended.code == 1
    [one] = wrong(ended)
    assert words in one["seen"]
    assert {asked.path for asked in server.asked} == {"/health"}
    assert all("authorization" not in asked.headers for asked in server.asked)


def test_a_job_without_a_token_is_told_so(ask: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")

    ended = ask("--json")

    assert [one["check"] for one in wrong(ended)] == ["the token is a job's ID token"]


def test_at_a_desk_the_api_alone_can_be_asked(ask: Doctor) -> None:
    ended = ask("--json")

    assert ended.code == 0
    assert [one["verdict"] for one in found(ended)] == ["unknown", "ok"]


@pytest.mark.parametrize("signature", ["A" * 342])
def test_a_signature_of_another_is_the_apis_to_find(ask: Doctor, signature: str) -> None:
    ended = ask("--json", token=f"{token().rpartition('.')[0]}.{signature}")

    [one] = wrong(ended)
    assert one["check"] == "keys and tokens rotate"
    assert "signature" in one["seen"]


# Rules


def test_no_rule_at_all(ask: Doctor) -> None:
    ended = ask("--json", token=token({"project_id": "9"}))

    [one] = wrong(ended)
    assert one["check"] == "a rule allows it"
    assert 'project_id: "9"' in one["change"]


def test_beside_a_gate_file_the_nearest_rule_is_named(ask: Doctor, elsewhere: Path) -> None:
    given = token({"ref": "quick-fix"})

    ended = ask("--gate-file", str(gate_file(elsewhere)), "--json", token=given)

    [one] = wrong(ended)
    assert "the nearest rule, 'main to dev', requires another ref (quick-fix here)" in one["seen"]


def test_a_denial(ask: Doctor, elsewhere: Path) -> None:
    gate = compiled(gate_file(elsewhere, deny='[{user_id: "7"}]'))

    ended = ask("--json", token=token(), gate=gate)

    [one] = wrong(ended)
    assert one["seen"] == "the gate file denies this user_id"
    assert "`deny`" in one["change"]


NEAREST = [{"rule": "tags to prod", "failed": [{"claim": "ref_type", "value": "branch"}]}]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (unprocessable("no artifact 000000000000 of orders-api is there"), 0, "may deploy"),
        (Problem(403, "not_allowed", "no rule allows", {"nearest": NEAREST}), 1, "ref_type (branch here)"),
        (unprocessable("no entry of `functions` in the gate file covers orders-api"), 1, "`functions`"),
        (Problem(401, "invalid_token", "max_age: older than 15m", {"check": "max_age"}), 1, "15m"),
        (conflict("held", "prod is held"), 1, "held"),
    ],
)  # fmt: skip
def test_it_can_be_asked_about_one_deployment(
    ask: Doctor, server: Server, answer: Problem, code: int, words: str
) -> None:
    ended = ask("--deploy", "orders-api", "prod", "--json", token=token(), rehearsal=answer)

    assert ended.code == code
    assert words in found(ended)[-1]["seen"]
    [asked] = server.calls("POST", "/deployments")
    assert asked.json["dry_run"] is True
    assert (asked.json["function"], asked.json["stage"]) == ("orders-api", "prod")


def test_without_the_api_the_gate_file_answers_that(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file = gate_file(elsewhere), elsewhere / "token"
    file.write_text(token())
    monkeypatch.delenv("SLUICEGATE_URL", raising=False)
    monkeypatch.setattr("time.time", lambda: NOW)

    def asked(*request: str) -> Ended:
        return run("doctor", "--gate-file", str(path), "--token-file", str(file), "--json", *request)

    assert asked("--deploy", "orders-api", "dev").code == 0
    [one] = wrong(asked("--deploy", "orders-api", "prod"))
    assert (
        "the nearest rule, 'tags to prod', requires another ref_type (branch here), ref (main here)"
        in one["seen"]
    )


# Another gate file


@pytest.mark.parametrize(
    ("here", "given", "check"),
    [
        ({"url": f"{ISSUER}:8443"}, {}, "issuer matches exactly"),
        ({"audience": OTHER}, {}, "audience is restricted"),
        ({"ref": "trunk"}, {}, "one gate file"),
    ],
)
def test_another_gate_file_than_the_deployed_one_is_noticed(
    ask: Doctor, elsewhere: Path, here: dict[str, str], given: Mapping[str, Any], check: str
) -> None:
    deployed = compiled(gate_file(elsewhere))
    path = gate_file(elsewhere, **here)

    ended = ask("--gate-file", str(path), "--json", token=token(given), gate=deployed)

    assert ended.code == 0
    warned = {one["check"]: one for one in found(ended) if one["verdict"] == "warning"}
    assert "runs a different gate file" in warned[check]["seen"]
    assert "make deploy" in warned[check]["change"]
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("deployed", "check"), [({"url": OTHER}, "issuer"), ({"audience": OTHER}, "audience")]
)
def test_and_one_that_is_not_deployed_yet(
    ask: Doctor, elsewhere: Path, deployed: dict[str, str], check: str
) -> None:
    old = compiled(gate_file(elsewhere, **deployed))

    ended = ask("--gate-file", str(gate_file(elsewhere)), "--json", token=token(), gate=old)

    [one] = wrong(ended)
    assert one["check"].startswith(check)
    assert "the local gate file accepts it, so the API runs another one" in one["seen"]


def test_a_file_of_keys_that_is_not_deployed_yet(ask: Doctor, elsewhere: Path) -> None:
    old = compiled(gate_file(elsewhere))
    path = gate_file(elsewhere)
    (elsewhere / "keys.json").write_bytes(jwks(jwk("k1"), jwk("k2")))

    ended = ask("--gate-file", str(path), "--json", token=token(kid="k2"), gate=old)

    [one] = wrong(ended)
    assert "the API runs another one" in one["seen"]


def test_a_gate_file_with_an_error_does_not_end_the_search(ask: Doctor, elsewhere: Path) -> None:
    (elsewhere / "broken.yaml").write_text("version: 2\n")

    ended = ask("--gate-file", str(elsewhere / "broken.yaml"), "--json", token=token())

    assert ended.code == 1
    [one] = wrong(ended)
    assert "broken.yaml:1:" in one["seen"]
    assert "a rule allows it" in [other["check"] for other in found(ended)]


# The address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://deploy.example.com/v1", "Use https:// instead"),
        ("deploy.example.com/v1", "does not start with https://"),
        ("$ENDPOINT", "a variable's name"),
        ("https://ada:secret@deploy.example.com/v1", "a plain URL"),
        ("https://deploy.example.com:port/v1", "not a URL"),
        ("", "the address is empty"),
    ],
)
def test_an_address_that_no_token_goes_to(ask: Doctor, url: str, words: str) -> None:
    ended = ask("--url", url, "--json", token=token({"exp": 2 * NOW, "iat": NOW}))

    assert ended.code == 1
    one = wrong(ended)[-1]
    assert one["check"] == "the API responds"
    assert words in one["seen"] + one["change"]
    assert "secret" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(403, {"message": "Forbidden"}), "there is no Sluicegate at this address"),
        (Reply(404, {"message": "Not Found"}), "there is no Sluicegate at this address"),
        (Reply(403, {"message": "Missing Authentication Token"}), "there is no Sluicegate at this address"),
        (Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}), "a proxy's page"),
        (Reply(200, {"status": "UP"}), "other JSON"),
        (Reply(200, b"[]"), "a proxy's page"),
        (Reply(302, b"", {"Location": "https://elsewhere.example"}), "redirects elsewhere"),
        (Reply(407, b""), "a proxy in between"),
        (Reply(502, b"<html>"), "502"),
        (Reply(404, problem(404, "not_found", "there is no such thing")), "not its root"),
        (Reply(401, problem(401, "invalid_token", "authorization: none")), "not its root"),
        (Reply(403, problem(403, "not_allowed", "refused before Sluicegate was asked")), "this caller"),
        (Reply(503, problem(503, "unavailable", "too late"), {"Retry-After": "60"}), "too late"),
        (Reply(429, problem(429, "throttled", "too many"), {"Retry-After": "60"}), "throttled"),
        (Reply(200, None, lost=True), "could not be reached"),
        (Reply(200, b" " * 10_000_001), "too large"),
    ],
)  # fmt: skip
def test_no_token_goes_to_what_is_not_the_api(
    ask: Doctor, server: Server, monkeypatch: pytest.MonkeyPatch, reply: Reply, words: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it tells what is, and does not wait"))
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setenv("SLUICEGATE_TOKEN", token())
    real = server.on
    monkeypatch.setattr(server, "on", lambda method, path, *_: real(method, path, reply))

    ended = ask("--json", token=token())

    assert ended.code == 1
    [one] = wrong(ended)
    assert one["check"] == "the API responds"
    assert words in one["seen"]
    assert one["change"]
    assert all("authorization" not in asked.headers for asked in server.asked)


def test_an_api_that_is_down(ask: Doctor) -> None:
    ended = ask("--url", "http://127.0.0.1:1/v1", "--json", token=token({"exp": 2 * NOW}))

    assert "could not be reached" in wrong(ended)[-1]["seen"]


def test_keys_that_the_api_cannot_fetch(ask: Doctor, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    down = problem(503, "unavailable", "The issuer's signing keys are temporarily unavailable")
    real = server.on
    monkeypatch.setattr(
        server,
        "on",
        lambda method, path, *replies: real(
            method, path, *([Reply(503, down)] if path == "/whoami" else replies)
        ),
    )

    [one] = wrong(ask("--json", token=token()))

    assert one["check"] == "keys and tokens rotate"
    assert "jwks: FILE" in one["change"]


def test_no_host_that_only_the_token_names_is_connected_to(
    ask: Doctor, elsewhere: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.oidc.discovery.fetch_key_set", lambda *_: pytest.fail("connected to"))
    given = token({"iss": server.origin})

    for arguments in ((), ("--gate-file", str(gate_file(elsewhere)))):
        assert ask(*arguments, "--json", token=given).code == 1


def test_published_keys_are_those_of_the_gate_files_issuer(
    ask: Doctor, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def key_set(issuer: str) -> bytes:
        asked.append(issuer)
        return jwks(jwk("k1"))

    monkeypatch.setattr("sluicegate.oidc.discovery.fetch_key_set", key_set)
    path = gate_file(elsewhere)
    deployed = compiled(path)
    path.write_text(path.read_text().replace(", jwks: keys.json", ""))

    assert ask("--gate-file", str(path), "--json", token=token(), gate=deployed).code == 0
    assert asked == [ISSUER]


# Hostile answers, logs and files


NASTY = "ok\x1b[2J\n✓ forged: \u202e\u2028[bold]"


def test_what_a_server_says_is_cleaned(ask: Doctor, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    given = token()
    echo = {
        "code": "unprocessable",
        "status": 422,
        "detail": f"{NASTY} {given} {given.split('.')[2]}",
        "title": NASTY,
    }
    real = server.on
    monkeypatch.setattr(
        server,
        "on",
        lambda method, path, *replies: real(
            method, path, *([Reply(422, echo)] if path == "/whoami" else replies)
        ),
    )

    for form in ((), ("--json",)):
        ended = ask(*form, token=given)  # which looks for the token's parts in what is shown
        assert ended.code == 1
        assert not {"\x1b", "\u202e", "\u2028"} & set(ended.out)
        assert not any(line.startswith("✓ forged") for line in ended.out.splitlines())


def test_a_log_from_a_file_or_from_standard_input(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.delenv("SLUICEGATE_TOKEN", raising=False)
    log = elsewhere / "job.log"
    log.write_text(f"{'x' * 2_000_000}\n2026-11-25T07:00:00.000000Z 01O \x1b[0;mheld: prod is held: why\n")

    ended = run("doctor", "--log", str(log))

    assert ended.code == 1
    assert ended.out.splitlines() == [
        "✗ the request is accepted: the API rejects it as held: prod is held: why",
        "    Wait until the stage is released (`sluicegate hold STAGE`). A rollback is still possible.",
        "",
        "1 to fix",
    ]
    assert not server.asked
    again = subprocess.run(
        [sys.executable, "-c", "from sluicegate_cli.main import main; main()", "doctor", "--log", "-"],
        input=log.read_bytes(),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"},
    )
    assert again.stdout.decode() == ended.out


def test_a_log_of_nothing_is_no_trouble(run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICEGATE_TOKEN", raising=False)
    log = elsewhere / "job.log"
    log.write_bytes(b"\xff\x00 all is well\n")

    ended = run("doctor", "--log", str(log), "--json")

    assert ended.code == 0
    assert found(ended)[0]["verdict"] == "unknown"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no such device")
def test_a_token_that_never_ends_is_not_read(ask: Doctor) -> None:
    ended = ask("--token-file", "/dev/zero", "--json")

    assert (ended.code, "not a regular file" in ended.err) == (2, True)


def test_a_token_on_a_pipe_without_a_writer_is_not_waited_for(ask: Doctor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")

    ended = ask("--token-file", str(tmp_path / "token"), "--json")

    assert (ended.code, "not a regular file" in ended.err) == (2, True)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no such device")
def test_a_log_that_never_ends_is_not_read(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICEGATE_TOKEN", raising=False)
    link = elsewhere / "job.log"
    link.symlink_to("/dev/zero")

    ended = run("doctor", "--log", str(link))

    assert ended.code == 2
    assert "not a regular file" in ended.err


def test_a_log_on_a_pipe_without_a_writer_is_not_waited_for(ask: Doctor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.log")

    ended = ask("--log", str(tmp_path / "job.log"))

    assert (ended.code, "`-` is standard input" in ended.err) == (2, True)


def test_where_nothing_could_be_checked_it_says_so(
    run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere)
    for name in ("SLUICEGATE_TOKEN", "SLUICEGATE_ID_TOKEN", "SLUICEGATE_URL"):
        monkeypatch.delenv(name, raising=False)
    gone = EndpointConnectionError(endpoint_url="https://x")
    names = ("cloudformation:DescribeStacks", "lambda:GetFunctionConfiguration", "lambda:GetAccountSettings")
    account = AwsAccount(dict.fromkeys(names, gone))
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: account.calls())

    ended = run("doctor", "--stack", "sluicegate")

    assert ended.out.splitlines()[-1].startswith("nothing could be checked"), ended.out


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--function", "arn:aws:lambda:eu-central-1:000000000000:function:x"),
        ("--function", "x:prod"),
        ("--log", "missing.log"),
        ("--gate-file", "missing.yaml"),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_what_cannot_be_looked_at_is_exit_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv("SLUICEGATE_URL", raising=False)
    monkeypatch.delenv("SLUICEGATE_TOKEN", raising=False)

    assert run("doctor", *arguments).code == 2


@pytest.mark.usefixtures("elsewhere")
def test_a_finding_of_a_function_is_added(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from sluicegate_cli.doctor import aws_checks
    from sluicegate_cli.doctor.findings import CheckVerdict, Finding

    seen = Finding(
        "traffic can be split", CheckVerdict.WARNING, "alias prod serves $LATEST", "Deploy it once."
    )
    monkeypatch.setattr(aws_checks, "examine", lambda *_: [seen, replace(seen)])
    monkeypatch.delenv("SLUICEGATE_TOKEN", raising=False)

    ended = run("doctor", "--function", "orders-api")

    assert ended.code == 0
    assert ended.out.count("alias prod serves $LATEST") == 1
    assert ended.out.splitlines()[-1] == "no errors found from here; 1 to review"


def test_aws_is_imported_only_for_a_function() -> None:
    look = (
        "import sys, sluicegate_cli.commands.doctor\n"
        "print(sorted({'boto3', 'botocore', 'yaml', 'jwt', 'cryptography'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", look],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert ended.stdout.strip() == "[]"
