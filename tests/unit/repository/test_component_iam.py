"""The CI/CD component with the credentials of a role: what STS and API Gateway get, and what nobody sees."""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from sluicegate_cli.exit_codes import ExitCode
from stand import component, places
from stand.api import package
from stand.shells import Ended, Machine, Running
from support.each_shell import EACH_SHELL
from support.signed_api import REGION, ROLE, Answer, Call, Refusal, Session, SignedApi, served
from support.template import properties

ID: Final = "01M83C6AM7KY87WNER1QH3A4Y7"
ISSUER: Final = "https://gitlab.example.com"
SUBJECT: Final = "project_path:acme/orders:ref_type:tag:ref:v1.0.0"


def job_token(**claims: Any) -> str:
    """Return a token of a job with a signature that is easy to find."""
    whole = {"project_id": "4213", "job_id": "302", "iss": ISSUER, "sub": SUBJECT, **claims}
    payload = base64.urlsafe_b64encode(json.dumps(whole).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl{claims.get('aud', '')[-11:].replace('.', '-')}"


TOKEN: Final = job_token(aud="https://deploy.example.com")
STS_TOKEN: Final = job_token(aud="https://sts.example.com")


def state(status: str, final: bool) -> Answer:
    headers = {
        "Sluicegate-Id": ID,
        "Sluicegate-Status": status,
        "Sluicegate-Revision": "4",
        "Sluicegate-Final": str(final).lower(),
    }
    return 200, headers, f"2026  {status}  alias prod\n"


def deployment(call: Call) -> Answer:
    """An API that publishes until it is asked how far it is."""
    if call.path == "/v1/iam/artifacts":
        return 201, {"Sluicegate-Upload": "needed"}, f'request = "PUT"\nurl = "{upload(call)}"\n'
    if call.path.startswith("/v1/iam/functions/"):
        return 200, {}, "function\tstage\tversion\norders-api\tstaging\t41\n"
    if call.path == "/v1/iam/whoami":
        return 200, {}, "via: iam\nprincipal_id: AROACALLER1111111111A\n"
    return state("succeeded" if call.method == "GET" else "baking", call.method == "GET")


def upload(call: Call) -> str:
    return f"http://{call.headers['host']}/bucket/x?X-Amz-Signature=presigned"


@dataclass(frozen=True)
class Scene:
    """A machine of a runner, AWS, and a job that goes there."""

    machine: Machine
    aws: SignedApi

    def job(self, **inputs: Any) -> component.Job:
        about: dict[str, Any] = {
            "url": self.aws.url,
            "sts_url": self.aws.sts_url,
            "audience": "https://deploy.example.com",
            "auth": "iam",
            "role_arn": ROLE,
            "sts_audience": "https://sts.example.com",
            "region": REGION,
            "function": "orders-api",
            "stage": "prod",
        }
        return component.job(**{**about, **inputs})

    def run(self, *, sts_token: str = STS_TOKEN, **inputs: Any) -> Ended:
        (self.machine.directory / "orders.zip").write_bytes(package("x = 1\n"))
        return self.machine.run(self.job(**inputs), TOKEN, sts_token=sts_token)

    def asked(self) -> list[tuple[str, str]]:
        return [(call.method, call.path.partition("?")[0].removeprefix("/v1/iam")) for call in self.aws.calls]


def gives(seconds: int = 900) -> Callable[[dict[str, str]], Session]:
    return lambda _: Session.new(seconds)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://abc.execute-api.eu-central-1.amazonaws.com/prod", "/prod"),
        ("https://abc.execute-api.eu-central-1.amazonaws.com/prod/iam", "/prod/iam"),
        ("https://abc.execute-api.eu-central-1.amazonaws.com/v1/v1", "/v1/v1"),
        ("https://abc.execute-api.eu-central-1.amazonaws.com/", "no stage"),
        ("https://abc.execute-api.cn-north-1.amazonaws.com.cn/V1", "/V1"),
        ("https://abc-vpce-1.execute-api.eu-west-1.amazonaws.com/iam", "/iam"),
    ],
)
def test_a_stage_that_is_not_sluicegates_is_named_before_anything_is_sent(
    dash: Scene, url: str, named: str
) -> None:
    log = dash.machine.directory.parent / "arguments"
    notes = f'printf "%s\\n" "$*" >> {log}'
    with curl_that(dash, f'case "$*" in *--config*) {notes}; exit 2 ;; esac') as scene:
        ended = scene.run(action="whoami", url=url, region="eu-central-1")
    assert ended.code == ExitCode.USAGE, ended.log
    host = url.split("/")[2]
    assert f"the input url names {named} at {host}" in ended.log
    assert f"it must be https://{host}/v1" in ended.log
    assert not log.exists()


@contextmanager
def scene_in(shell: str, directory: Path) -> Iterator[Scene]:
    with served(SignedApi(deployment, gives())) as aws:
        yield Scene(Machine.with_shell(shell, directory), aws)


@pytest.fixture(params=EACH_SHELL)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """In each of the shells."""
    with scene_in(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def dash(tmp_path: Path) -> Iterator[Scene]:
    """In one, where the shell makes no difference."""
    with scene_in("dash", tmp_path) as made:
        yield made


# What is sent


@pytest.mark.parametrize("auth", [pytest.param("iam", marks=pytest.mark.extended), "iam+token"])
def test_a_deployment_is_signed_and_shows_its_secrets_to_nobody(scene: Scene, auth: str) -> None:
    """Every process of the job is watched; a slow curl gives the watcher the time to see it."""
    slow = scene.machine.directory.parent / "slow"
    slow.mkdir()
    (slow / "curl").write_text(f'#!/bin/sh\nsleep 0.2\nexec {shutil.which("curl")} "$@"\n')
    (slow / "curl").chmod(0o755)
    (scene.machine.directory / "orders.zip").write_bytes(package("x = 1\n"))
    job = scene.job(zip="orders.zip", auth=auth)
    running = scene.machine.with_tools(slow).start(job, TOKEN, sts_token=STS_TOKEN)
    seen = watched(running)
    ended = running.wait()
    assert ended.code == ExitCode.OK, ended.log

    assert scene.asked() == [
        ("POST", "/artifacts"), ("POST", "/deployments"), ("GET", f"/deployments/{ID}")
    ]  # fmt: skip
    both = auth == "iam+token"
    for call in scene.aws.calls:
        assert call.headers.get_all("Sluicegate-Id-Token") == ([TOKEN] if both else None)
        assert re.match("AWS4-HMAC-SHA256 ", call.headers["Authorization"])
    assert scene.aws.calls[1].json == {
        "action": "deploy",
        "function": "orders-api",
        "stage": "prod",
        "artifact": {"sha256": scene.aws.calls[0].json["sha256"]},
        "idempotency_key": "sluicegate-job-302",
    }
    (put,) = scene.aws.uploads
    assert not {"authorization", "x-amz-security-token", "sluicegate-id-token"} & {n.lower() for n in put}

    assert any("/deployments" in line for line in seen)
    kept = [file.read_bytes().decode() for file in files(scene.machine.directory)]
    assert kept
    for text in (*seen, ended.log, *kept):
        for secret in (*scene.aws.canaries, TOKEN, STS_TOKEN, "presigned"):
            assert secret not in text
    assert scene.machine.after(job, TOKEN, "success", sts_token=STS_TOKEN) == Ended(0, "")
    assert scene.machine.left() == ["project/orders.zip", "project/sluicegate.env"]


def files(directory: Path) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file() and file.suffix != ".zip"]


def watched(running: Running) -> set[str]:
    """Arguments and environment of each process that the job starts: no shell, nor the runner's `grep`."""
    seen: set[str] = set()
    job = running.process.pid
    while running.process.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(process.name)) != job:
                    continue
                program = running_program(process)
                seen.add(program[1])
                environment = (process / "environ").read_bytes().replace(b"\0", b"\n").decode()
                shell = program[0] == os.readlink(f"/proc/{job}/exe")
                # Between the two looks it can have become another program.
                if program == running_program(process) and not shell and "grep pipefail" not in program[1]:
                    seen.add(environment)
    return seen


def running_program(process: Path) -> tuple[str, str]:
    return os.readlink(process / "exe"), (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()


ROUTES: Final[list[tuple[dict[str, Any], list[tuple[str, str]]]]] = [
    (
        {"action": "promote", "from": "staging"},
        [("GET", "/functions/orders-api"), ("POST", "/deployments"), ("GET", f"/deployments/{ID}")],
    ),
    ({"action": "rollback", "reason": 'a "b" ü'}, [("POST", "/deployments"), ("GET", f"/deployments/{ID}")]),
    (
        {"action": "approve", "deployment": ID, "function": "", "stage": ""},
        [("POST", f"/deployments/{ID}/approve"), ("GET", f"/deployments/{ID}")],
    ),
    ({"action": "whoami", "function": "", "stage": ""}, [("GET", "/whoami")]),
]


@pytest.mark.parametrize(("inputs", "asked"), ROUTES, ids=[str(inputs["action"]) for inputs, _ in ROUTES])
def test_every_call_of_the_component_has_a_signature_that_verifies(
    dash: Scene, inputs: dict[str, Any], asked: list[tuple[str, str]]
) -> None:
    ended = dash.run(**inputs)
    assert ended.code == ExitCode.OK, ended.log
    assert dash.aws.refused == []
    assert dash.asked() == asked
    assert len(dash.aws.assumed) == 1


def test_an_address_with_iam_at_its_end_is_the_same(dash: Scene) -> None:
    ended = dash.run(action="whoami", url=f"{dash.aws.url}/iam/")
    assert ended.code == ExitCode.OK, ended.log
    assert "principal_id: AROACALLER1111111111A" in ended.log
    assert re.search(r"\nthe credentials expire in (900|8\d\d) s\n$", ended.log)
    assert dash.asked() == [("GET", "/whoami")]


def test_sts_gets_the_job_s_token_for_the_shortest_session(scene: Scene) -> None:
    assert scene.run(action="whoami").code == ExitCode.OK
    assert scene.aws.assumed == [
        {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "DurationSeconds": "900",
            "RoleArn": ROLE,
            "RoleSessionName": "project-4213-job-302",
            "WebIdentityToken": STS_TOKEN,
        }
    ]


@pytest.mark.parametrize("wrong", ["", "x y", "../", "9" * 40])
def test_a_session_name_has_digits_of_the_token_and_nothing_else(dash: Scene, wrong: str) -> None:
    token = job_token(project_id=wrong, job_id="7", aud="https://sts.example.com")
    assert dash.run(action="whoami", sts_token=token).code == ExitCode.OK
    assert dash.aws.assumed[0]["RoleSessionName"] == "project-0-job-7"


@pytest.mark.parametrize(
    ("region", "role", "sts"),
    [
        ("eu-central-1", "aws", "https://sts.eu-central-1.amazonaws.com/"),
        ("cn-north-1", "aws-cn", "https://sts.cn-north-1.amazonaws.com.cn/"),
        ("us-gov-west-1", "aws-us-gov", "https://sts.us-gov-west-1.amazonaws.com/"),
        ("eusc-de-east-1", "aws-eusc", "https://sts.eusc-de-east-1.amazonaws.eu/"),
        ("cn-north-1", "aws", None),
        ("eu-central-1", "aws-cn", None),
        ("us-iso-east-1", "aws-iso", None),
    ],
)
def test_sts_is_asked_in_the_api_s_own_region(dash: Scene, region: str, role: str, sts: str | None) -> None:
    """Addresses are those of botocore's `endpoints.json`."""
    log = dash.machine.directory.parent / "arguments"
    notes = f'printf "%s\\n" "$*" >> {log}'
    with curl_that(dash, f'case "$*" in *--config*) {notes}; exit 2 ;; esac') as scene:
        url = f"https://abc.execute-api.{region}.amazonaws.com{'.cn' if role == 'aws-cn' else ''}/v1"
        role_arn = ROLE.replace("arn:aws:", f"arn:{role}:")
        about = {"url": url, "sts_url": "", "region": "", "role_arn": role_arn}
        ended = scene.run(action="whoami", **about)
    if sts is None:
        assert ended.code == ExitCode.USAGE, ended.log
        assert "is not in the partition" in ended.log
        assert not log.exists()
    else:
        assert log.read_text().splitlines()[0].endswith(f" {sts}")


@contextmanager
def curl_that(scene: Scene, does: str) -> Iterator[Scene]:
    """The machine with a curl that does this before, and perhaps instead of, what curl does."""
    tools = scene.machine.directory.parent / "tools"
    tools.mkdir()
    (tools / "curl").write_text(f'#!/bin/sh\n{does}\nexec {shutil.which("curl")} "$@"\n')
    (tools / "curl").chmod(0o755)
    yield replace(scene, machine=scene.machine.with_tools(tools))


# What it refuses by itself


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"role_arn": ""}, "needs the input role_arn"),
        ({"role_arn": "$ROLE"}, "needs the input role_arn"),
        ({"role_arn": "arn:aws:iam::1111:role/x"}, "needs the input role_arn"),
        ({"role_arn": 'arn:aws:iam::111122223333:role/x"'}, "needs the input role_arn"),
        ({"role_arn": "arn:aws:iam::111122223333:user/x"}, "needs the input role_arn"),
        ({"region": ""}, "needs the input region"),
        ({"region": "$REGION"}, "input region must be a region"),
        ({"sts_url": "http://sts.example.com"}, "input sts_url must be https"),
        ({"sts_url": "https://$HOST"}, "input sts_url must be a plain URL"),
    ],
)
def test_wrong_use_ends_before_anything_is_sent(dash: Scene, inputs: dict[str, Any], said: str) -> None:
    ended = dash.run(action="whoami", **inputs)
    assert ended.code == ExitCode.USAGE, ended.log
    assert said in ended.log
    assert (dash.aws.assumed, dash.aws.calls) == ([], [])


@pytest.mark.parametrize("sts_token", ["", "a b", TOKEN])
def test_two_tokens_for_two_audiences_or_none(dash: Scene, sts_token: str) -> None:
    """With one audience, a single leaked token would be both credentials."""
    ended = dash.run(action="whoami", auth="iam+token", sts_token=sts_token)
    assert ended.code == ExitCode.USAGE, ended.log
    assert (dash.aws.assumed, dash.aws.calls) == ([], [])


@pytest.mark.parametrize(
    ("version", "code"),
    [("7.85.0", 2), ("7.86.0", 0), ("8.5.0", 0), ("10.0.1", 0), ("", 2)],
)
def test_a_curl_that_signs_too_little_is_refused(dash: Scene, version: str, code: int) -> None:
    """Before 7.86.0 it signed content-type, host and date only: curl/curl#7966, merged for 7.86.0."""
    text = f"curl {version} (x86_64-pc-linux-gnu) libcurl/{version} OpenSSL/3" if version else "busybox"
    with curl_that(dash, f"case \"$*\" in *--version) echo '{text}'; exit ;; esac") as scene:
        ended = scene.run(action="whoami")
    assert ended.code == code, ended.log
    if code:
        assert "needs curl 7.86" in ended.log
        assert dash.aws.assumed == []


# Refusals of STS


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            Refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
            ["one differs", "The role may also be gone"],
        ),
        (
            Refusal("InvalidIdentityToken", f"No OpenIDConnect provider found for {ISSUER}", 400),
            ["needs an identity provider whose URL is exactly that iss"],
        ),
        (
            Refusal("InvalidIdentityToken", "Incorrect token audience", 400),
            ["Incorrect token audience", "lists that aud"],
        ),
        (Refusal("ExpiredTokenException", "Token expired: x", 400), ["The job's token for STS has expired"]),
        (Refusal("RegionDisabledException", "STS is not activated"), ["STS is switched off in eu-central-1"]),
        (Refusal("ValidationError", f"1 validation error: {STS_TOKEN}", 400), ["not shown"]),
    ],
    ids=["condition", "issuer", "audience", "expired", "region", "quoted"],
)
def test_a_refusal_of_sts_shows_what_to_compare(dash: Scene, refusal: Refusal, said: list[str]) -> None:
    dash.aws.sts = lambda _: refusal
    ended = dash.run(action="whoami")
    assert ended.code == ExitCode.REFUSED, ended.log
    assert f"error: AWS STS did not give the credentials of the role: {refusal.kind}" in ended.log
    for text in said:
        assert text in ended.log
    if refusal.kind != "RegionDisabledException":
        shown = f"  role {ROLE}\n  iss  {ISSUER}\n  aud  https://sts.example.com\n  sub  {SUBJECT}\n"
        assert shown in ended.log
    assert STS_TOKEN not in ended.log
    assert STS_TOKEN.split(".")[2] not in ended.log
    assert dash.aws.calls == []


def test_sts_that_could_not_reach_the_issuer_is_asked_again(dash: Scene) -> None:
    answers: list[Session | Refusal] = [
        Refusal("IDPCommunicationError", "Couldn't reach it", 400),
        Refusal("Throttling", "Rate exceeded", 400),
        Session.new(900),
    ]
    dash.aws.sts = lambda _: answers.pop(0)
    ended = dash.run(action="whoami")
    assert ended.code == ExitCode.OK, ended.log
    assert ended.log.count("AWS STS: responded with 503; retrying") == 2


@pytest.mark.parametrize("secret", ["", 'x"\nurl = "https://evil.example.com', "<b/>"])
def test_an_answer_that_is_not_sts_s_gets_nowhere(dash: Scene, secret: str) -> None:
    dash.aws.sts = lambda _: replace(Session.new(900), secret_key=secret)
    ended = dash.run(action="whoami")
    assert ended.code == ExitCode.UNAVAILABLE, ended.log
    assert "this is not a response of AWS STS" in ended.log
    assert dash.aws.calls == []


# Refusals of API Gateway


def test_a_signature_error_that_quotes_the_request_is_not_shown(scene: Scene) -> None:
    """STS and API Gateway disagree about the secret, as they do about a key that was just deleted."""
    scene.aws.sessions = Disagreeing()
    ended = scene.run(action="whoami", auth="iam+token")
    assert ended.code == ExitCode.REFUSED, ended.log
    (refusal,) = scene.aws.refused
    assert f"sluicegate-id-token:{TOKEN}" in refusal.message
    assert "API Gateway refused the signature: check the input region (eu-central-1)" in ended.log
    assert_no_secret(scene, ended)
    assert "Canonical" not in ended.log


class Disagreeing(dict[str, Session]):
    """Sessions as API Gateway has them."""

    def __setitem__(self, key: str, value: Session) -> None:
        super().__setitem__(key, replace(value, secret_key="another"))


def assert_no_secret(scene: Scene, ended: Ended) -> None:
    tokens = {session.token for session in scene.aws.sessions.values()}
    assert tokens
    for secret in (*tokens, *scene.aws.canaries, TOKEN, STS_TOKEN):
        assert secret not in ended.log


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("AccessDeniedException", "The role may not call GET /iam/whoami: its policy must allow"),
        ("MissingAuthenticationTokenException", "has no signed call GET /iam/whoami there"),
        ("UnrecognizedClientException", "does not know these credentials"),
        # Of a stage that is not there: OWASP/Serverless-Goat issue 14 (October 2019) has the body, and
        # re:Post "How do I troubleshoot HTTP 403 errors from API Gateway?" the type.
        ("ForbiddenException", "has no API and stage at"),
        ("SomethingNew", "not a response of Sluicegate"),
    ],
)
def test_a_refusal_of_api_gateway_is_explained_and_not_shown(dash: Scene, kind: str, said: str) -> None:
    def refuse(call: Call) -> Answer:
        raise Refusal(kind, f"you sent {call.headers['x-amz-security-token']}")

    dash.aws.respond = refuse
    ended = dash.run(action="whoami")
    assert ended.code == ExitCode.REFUSED, ended.log
    assert said in ended.log
    assert "you sent" not in ended.log


GATEWAY: Final = properties("Api")["GatewayResponses"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ACCESS_DENIED", "The role may not call GET /iam/whoami: its policy must allow"),
        ("MISSING_AUTHENTICATION_TOKEN", "has no signed call GET /iam/whoami there"),
        ("INVALID_SIGNATURE", "API Gateway refused the signature"),
        ("EXPIRED_TOKEN", "The role's credentials have expired"),
    ],
)
def test_the_stack_s_own_responses_of_api_gateway_are_explained(dash: Scene, kind: str, said: str) -> None:
    """Not every deployment of an API has the header with the type of the error."""
    text = GATEWAY[kind]["ResponseTemplates"]["application/json"]
    dash.aws.respond = lambda _: (403, {}, text)
    ended = dash.run(action="whoami")
    assert ended.code == ExitCode.REFUSED, ended.log
    assert said in ended.log
    assert text in ended.log
    assert len(dash.aws.assumed) == (2 if kind == "EXPIRED_TOKEN" else 1)


def test_a_problem_of_the_api_is_shown_unless_it_quotes_a_secret(dash: Scene) -> None:
    dash.aws.respond = lambda _: (403, {}, "not_allowed: no rule allows this\n")
    assert "not_allowed: no rule allows this\n" in dash.run(action="whoami").log
    dash.aws.respond = lambda call: (403, {}, f"not_allowed: {call.headers['x-amz-security-token']}\n")
    ended = dash.run(action="whoami")
    assert "(not shown, as it quotes a secret of this job)" in ended.log
    assert_no_secret(dash, ended)


# Time


def test_credentials_that_expire_meanwhile_are_renewed(scene: Scene) -> None:
    def respond(call: Call) -> Answer:
        if call.method == "GET" and len(scene.aws.assumed) == 1:
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        return deployment(call)

    scene.aws.respond = respond
    ended = scene.run(action="rollback")
    assert ended.code == ExitCode.OK, ended.log
    assert len(scene.aws.assumed) == 2
    assert len({call.session.access_key for call in scene.aws.calls}) == 2


def test_credentials_are_renewed_well_before_they_expire(dash: Scene) -> None:
    """A clock that is fast: 250 seconds between two looks of the job."""
    tools = dash.machine.directory.parent / "tools"
    tools.mkdir()
    count = dash.machine.directory.parent / "count"
    count.write_text("0")
    (tools / "date").write_text(
        f"#!/bin/sh\nread n < {count}\necho $((n + 250)) > {count}\necho $((1800000000 + n))\n"
    )
    (tools / "date").chmod(0o755)
    looks = iter(range(20))
    dash.aws.respond = lambda call: (
        state("baking", False) if call.method == "POST" or next(looks) < 3 else state("succeeded", True)
    )
    slow = replace(dash, machine=dash.machine.with_tools(tools))
    ended = slow.run(action="rollback", max_wait="9h")
    assert ended.code == ExitCode.OK, ended.log
    assert len(dash.aws.assumed) > 2
    assert dash.aws.refused == []


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("ExpiredTokenException", "Token expired: current date/time must be before it", 400),
        Refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
    ],
    ids=["expired", "denied"],
)
def test_a_job_that_gets_no_new_credentials_leaves_its_deployment_running(
    dash: Scene, refusal: Refusal
) -> None:
    given = [Session.new(900)]
    dash.aws.sts = lambda _: given.pop() if given else refusal

    def respond(call: Call) -> Answer:
        if call.method == "GET":
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        return deployment(call)

    dash.aws.respond = respond
    ended = dash.run(action="rollback")
    assert ended.code == ExitCode.STILL_RUNNING, ended.log
    assert refusal.kind in ended.log
    assert f"deployment {ID} is baking and continues on its own" in ended.log


def test_the_shortest_session_that_works_is_really_asked_for(dash: Scene) -> None:
    """What STS takes at least: botocore's model of `AssumeRoleWithWebIdentity`."""
    assert dash.run(action="whoami").code == ExitCode.OK
    (session,) = dash.aws.sessions.values()
    assert (session.expires - datetime.now(UTC)).total_seconds() <= 900


# The guide


def test_the_guide_s_own_call_is_signed(dash: Scene) -> None:
    guide = (places.ROOT / "docs/guides/iam.md").read_text()
    (command,) = re.findall(r"^```sh\neval [^\n]*\n(curl .*?)^```", guide, re.S | re.M)
    command = re.sub(r'"https://[^"]*/v1', f'"{dash.aws.url}', command).replace(":REGION:", f":{REGION}:")
    session = Session.new(900)
    dash.aws.sessions[session.access_key] = session
    environment = {
        "AWS_ACCESS_KEY_ID": session.access_key,
        "AWS_SECRET_ACCESS_KEY": session.secret_key,
        "AWS_SESSION_TOKEN": session.token,
    }
    done = subprocess.run(
        ["dash", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert "principal_id: AROACALLER1111111111A" in done.stdout, done.stderr


# Cancelling


def test_a_cancelled_job_aborts_with_credentials_of_its_own(scene: Scene) -> None:
    job = scene.job(action="rollback", abort_on_cancel=True)
    (scene.machine.directory / ".sluicegate-302").mkdir()
    (scene.machine.directory / ".sluicegate-302/asked").write_text(f"{ID}\n")
    ended = scene.machine.after(job, TOKEN, "canceled", sts_token=STS_TOKEN)
    assert ended.code == 0, ended.log
    assert scene.asked() == [("POST", f"/deployments/{ID}/abort")]
    assert_no_secret(scene, ended)


def test_a_job_cancelled_before_the_answer_does_not_deploy_again(dash: Scene) -> None:
    """Its request counts by its session, so with new credentials it would be another one."""
    job = dash.job(action="rollback", abort_on_cancel=True)
    (dash.machine.directory / ".sluicegate-302").mkdir()
    (dash.machine.directory / ".sluicegate-302/asked").write_text('{"action": "rollback"}\n')
    ended = dash.machine.after(job, TOKEN, "canceled", sts_token=STS_TOKEN)
    assert ended.code == 0, ended.log
    assert "If it accepted the request, the deployment continues on its own" in ended.log
    assert (dash.aws.calls, dash.aws.assumed) == ([], [])
