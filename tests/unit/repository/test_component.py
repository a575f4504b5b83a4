"""The CI/CD component, without a stand: its file, what it refuses, and how it handles failures."""

import base64
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.strategy import parse_strategy
from stand import component, places
from stand.api import package
from stand.ci_variables import Variables
from stand.shells import IMAGE_PATH, Machine
from support.each_shell import EACH_SHELL

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
ID = "01M83C6AM7KY87WNER1QH3A4Y7"
ABOUT = {"audience": "https://deploy.example.com", "function": "orders-api", "stage": "prod"}


@pytest.fixture(params=EACH_SHELL)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine.with_shell(request.param, tmp_path)


@pytest.fixture
def dash(tmp_path: Path) -> Machine:
    return Machine.with_shell("dash", tmp_path)


def job(**inputs: Any) -> component.Job:
    return component.job(**{"url": "https://127.0.0.1:9/v1", **ABOUT, **inputs})


# The file


def test_is_a_component_as_the_catalog_wants_it() -> None:
    """docs.gitlab.com/ci/components and /ci/inputs: what a spec may say, and each input described."""
    text = component.FILE.read_text()
    spec, jobs = yaml.safe_load_all(text)
    assert component.FILE.parent == places.ROOT / "templates"
    assert list(spec) == ["spec"]
    assert list(spec["spec"]) == ["inputs"]
    for name, about in spec["spec"]["inputs"].items():
        assert about.keys() <= {"description", "type", "default", "options", "regex"}, name
        assert about["description"].endswith(".") or ": " in about["description"], name
    assert len(jobs) == 1


IN_KEYWORDS = {"audience", "image", "job_prefix", "job_stage", "rules", "sts_audience"}
IN_BOTH = {"action", "environment", "function", "stage"}


def test_an_input_reaches_the_script_as_text_between_two_lines() -> None:
    """Nowhere as a variable, which could be overridden, and nowhere as a piece of a command."""
    _, body = component.FILE.read_text().split("\n---\n", 1)
    keywords, script = body.split("  script:\n")
    pasted = script.split("END_OF_SLUICEGATE_INPUTS")[1]
    named = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")
    assert set(named.findall(keywords)) == IN_KEYWORDS | IN_BOTH
    assert set(named.findall(pasted)) == set(component.header()) - IN_KEYWORDS
    assert re.fullmatch(r"'\n(      (\w+)=\$\[\[ inputs\.\2 \]\]\n)+      ", pasted)
    assert len(named.findall(script)) == len(named.findall(pasted))
    assert "variables" not in job().keywords


@pytest.mark.parametrize("part", ["script", "after_script"])
def test_shellcheck_finds_nothing(part: str) -> None:
    found = subprocess.run(
        [
            places.VENV / "bin/shellcheck",
            "--shell=sh",
            "-",
        ],
        input=getattr(job(), part),
        capture_output=True,
        text=True,
    )
    assert found.stdout == ""


@pytest.mark.parametrize("name", ["release", "reason", "zip", "strategy", "deployment"])
@pytest.mark.parametrize(
    "value",
    [
        "a 'b' \"c\" \\d",
        "# no comment",
        "'",
        '"',
        "a: b",
        "- x",
        "  spaces ",
        "$CI_COMMIT_TAG",
        "{a}",
        "ü*&!|>",
    ],
)
def test_any_value_of_one_line_arrives_as_it_is(name: str, value: str) -> None:
    given = job(job_prefix="x", **{name: value})
    assert given.inputs == {**job().inputs, name: value}
    assert {**given.keywords, "script": ..., "after_script": ...} == {
        **job().keywords,
        "script": ...,
        "after_script": ...,
    }


def test_inputs_that_gitlab_refuses() -> None:
    for wrong in (
        {"action": "delete"},
        {"on_busy": "wait"},
        {"wait": "yes"},
        {"max_wait": "soon"},
        {"max_wait": "10m\nx: y"},
        {"abort_on_cancel": "true"},
        {"fix_forward": "$FIX"},
        {"audience": "https://a'b"},
        {"image": "alpine\nx: y"},
        {"url": "https://$HOST/v1"},
        {"url": "https://%HOST%/v1"},
        {"audience": "$AUDIENCE"},
        {"audience": "%AUDIENCE%"},
        {"auth": "none"},
        {"sts_audience": "$AUDIENCE"},
        {"sts_audience": "%AUDIENCE%"},
        {"sts_audience": "https://a'b"},
        {"image": "$IMAGE"},
        {"image": "$CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX/curl"},
        {"job_stage": "a\nb"},
        {"url": ""},
        {"url": "https://u:p@deploy.example.com/v1"},
        {"url": "https://deploy.example.com/v1?x"},
        {"nonsense": "x"},
    ):
        with pytest.raises(component.InputError):
            job(**wrong)
    with pytest.raises(yaml.YAMLError):
        job(release="v1\nv2")


def test_keywords_follow_the_inputs() -> None:
    given = job(job_prefix="nightly-", rules=[{"when": "manual"}], environment="review/$CI_COMMIT_REF_SLUG")
    assert given.name == "nightly-deploy orders-api prod"
    assert given.keywords["rules"] == [{"when": "manual"}]
    assert given.keywords["environment"] == "review/$CI_COMMIT_REF_SLUG"
    assert given.keywords["id_tokens"] == {
        "SLUICEGATE_ID_TOKEN": {"aud": ABOUT["audience"]},
        "SLUICEGATE_STS_TOKEN": {"aud": "unused"},
    }
    assert job().keywords["environment"] is None  # as if the keyword were not there (Config::Entry::Factory)


def test_jobs_of_several_includes_do_not_merge() -> None:
    """GitLab merges jobs of one name without a word: docs.gitlab.com/ci/yaml/includes."""
    includes: tuple[dict[str, Any], ...] = (
        {"stage": "staging"},
        {"action": "promote"},
        {"action": "rollback"},
        {"function": "orders-search"},
    )
    names = [job(**inputs).name for inputs in includes]
    assert names == [
        "deploy orders-api staging",
        "promote orders-api prod",
        "rollback orders-api prod",
        "deploy orders-search prod",
    ]
    assert job(action="approve", function="", stage="").name == "approve"


def test_the_image_is_pinned_by_digest() -> None:
    assert re.fullmatch(r"curlimages/curl:[\d.]+@sha256:[0-9a-f]{64}", job().keywords["image"]["name"])
    other = f"registry.example.com:5000/tools/curl@sha256:{'a' * 64}"
    assert job(image=other).keywords["image"]["name"] == other


# What it refuses by itself


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"url": "http://deploy.example.com/v1"}, "must be https"),
        ({"url": "http://localhost.example.com/v1"}, "must be https"),
        ({"function": ""}, "needs the input function"),
        ({"stage": "pr od"}, "input stage must be a name"),
        ({"function": 'x","y":"z'}, "input function must be a name"),
        ({"zip": ""}, "needs the input zip"),
        ({"zip": "nothing.zip"}, "input zip does not exist"),
        ({"zip": "text.zip"}, "is not a zip archive"),
        ({"expect_version": "41x"}, "input expect_version must be"),
        ({"action": "rollback", "version": "$$LATEST"}, "input version must be"),
        ({"action": "rollback", "version": "$LATEST"}, "input version names a variable that is not set"),
        ({"action": "promote"}, "needs the input from"),
        ({"action": "rollback", "strategy": "canary:10"}, "input strategy must be"),
        ({"action": "approve"}, "needs the id of a deployment"),
        ({"action": "abort", "deployment": "../whoami"}, "needs the id of a deployment"),
        ({"max_wait": "$UNSET"}, "input max_wait names a variable that is not set"),
        ({"function": "$function"}, "input function must be a name"),
        ({"function": "${Function}"}, "names a variable that is not in capital letters"),
        ({"wait": "accepted", "environment": "production"}, "before it happens"),
        ({"fix_forward": True}, "fix_forward needs the input reason"),
        ({"fix_forward": True, "reason": "$UNSET"}, "fix_forward needs the input reason"),
        ({"proxy": "$PROXY"}, "input proxy must be a plain URL"),
        ({"proxy": "proxy.example.com"}, "input proxy must begin with"),
        ({"ca_file": "$CA"}, "input ca_file must be an absolute path"),
        ({"ca_file": "ca.pem"}, "input ca_file must be an absolute path"),
    ],
)
def test_wrong_use_ends_before_anything_is_sent(dash: Machine, inputs: dict[str, Any], said: str) -> None:
    (dash.directory / "text.zip").write_text("no archive")
    ended = dash.run(job(**inputs), TOKEN)
    assert ended.code == ExitCode.USAGE, ended.log
    assert said in ended.log
    assert TOKEN not in ended.log
    assert dash.left() == ["project/text.zip"]


def test_a_line_break_that_a_variable_brings_in_is_refused(machine: Machine) -> None:
    for name in ("release", "reason", "zip", "strategy", "stage", "function"):
        ended = machine.run(job(**{name: "$BROKEN"}), TOKEN, BROKEN='v1\n", "x": "y')
        assert ended.code == ExitCode.USAGE, ended.log


@pytest.mark.parametrize("token", ["", 'x"\nurl = "https://evil.example.com', "a b"])
def test_no_token_or_none_that_is_one(dash: Machine, token: str) -> None:
    ended = dash.run(job(), token)
    assert ended.code == ExitCode.USAGE
    assert "ID token" in ended.log
    assert "evil" not in ended.log


def test_a_traced_shell_is_refused_before_it_prints_the_token(machine: Machine) -> None:
    traced: dict[tuple[str, ...], dict[str, str]] = {(): {"CI_DEBUG_TRACE": "true"}, ("-x",): {}}
    for options, variables in traced.items():
        ended = machine.start(job(), TOKEN, options=options, given=Variables(pipeline=variables)).wait()
        assert ended.code == ExitCode.USAGE
        assert "ID token" in ended.log
        printed = [line for line in ended.log.splitlines() if TOKEN in line]
        runner = re.compile("SLUICEGATE_(ID|STS)_TOKEN=")
        assert [line for line in printed if not runner.search(line)] == []
    assert "CI_DEBUG_TRACE" not in machine.run(job(), TOKEN, CI_DEBUG_TRACE="false").log


# What it makes of a strategy


@pytest.mark.parametrize(
    "text",
    [
        "all-at-once",
        "canary:10:5m",
        "linear:25:90s",
        "steps:100",
        "steps:5:1m,50:10m,100",
        "steps:1:9s,100:1h",
    ],
)
def test_a_strategy_means_what_it_means_to_the_command_line(machine: Machine, text: str) -> None:
    assert json.loads(strategy(machine, text)) == parse_strategy(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "canary",
        "canary:10",
        "canary:010:5m",
        "canary:10:5",
        "canary:10:5m:x",
        "linear:5m:10",
        "steps:",
        "steps:5:1m,",
        'all-at-once"',
    ],
)
def test_what_is_no_strategy_comes_to_nothing(machine: Machine, text: str) -> None:
    assert strategy(machine, text) == ""


def strategy(machine: Machine, text: str) -> str:
    functions = job().keywords["script"][0].replace(IMAGE_PATH, machine.path)
    called = [*machine.shell, "-c", f'set -u\n{functions}\nstrategy "$1"', "sh", text]
    return subprocess.run(
        called, capture_output=True, text=True, env={"PATH": machine.path}, check=True
    ).stdout


# How it handles failures


@dataclass
class Api:
    """An API that answers as the test says: to each call the next of `answers`, and the last for good."""

    answers: list[tuple[int, dict[str, str], str]]
    url: str = ""
    calls: list[tuple[str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def api() -> Iterator[Api]:
    served = Api([])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            served.calls.append((self.command, self.path, body))
            status, headers, text = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: the test says what is of interest."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield served
        server.shutdown()


def state_headers(status: str, final: str, **more: str) -> dict[str, str]:
    return {
        "Sluicegate-Id": ID,
        "Sluicegate-Status": status,
        "Sluicegate-Revision": "4",
        "Sluicegate-Final": final,
        **more,
    }


DONE = (
    200,
    state_headers("succeeded", "true", **{"Sluicegate-Version": "42"}),
    "2026  succeeded  alias prod serves version 42\n",
)


def restless(machine: Machine, directory: Path) -> Machine:
    """The machine with a `sleep` that does not: it notes the seconds."""
    tools = directory / "restless"
    tools.mkdir()
    (tools / "sleep").write_text(f'#!/bin/sh\necho "$1" >> {directory}/slept\n')
    (tools / "sleep").chmod(0o755)
    return machine.with_tools(tools)


def slept(directory: Path) -> list[str]:
    """The seconds of each pause, in order."""
    return (directory / "slept").read_text().split()


def test_after_429_and_5xx_the_very_same_request_is_sent_again(
    machine: Machine, api: Api, tmp_path: Path
) -> None:
    api.answers = [(429, {}, ""), (503, {"Retry-After": "3"}, "unavailable: x\n"), DONE]
    ended = restless(machine, tmp_path).run(job(url=api.url, action="rollback", release="v1"), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert len(api.calls) == 3
    assert len(set(api.calls)) == 1
    assert re.findall(r"retrying in (\d+) s", ended.log) == slept(tmp_path) == ["1", "3"]
    assert machine.dotenv() == {
        "SLUICEGATE_ID": ID,
        "SLUICEGATE_STATUS": "succeeded",
        "SLUICEGATE_VERSION": "42",
    }


def test_a_retry_after_beyond_its_patience_ends_it(dash: Machine, api: Api) -> None:
    api.answers = [(503, {"Retry-After": "600"}, "unavailable: later\n")]
    ended = dash.run(job(url=api.url, action="rollback"), TOKEN)
    assert ended.code == ExitCode.UNAVAILABLE
    assert "unavailable: later" in ended.log
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((401, {}, "invalid_token: exp: the token has expired\n"), ExitCode.REFUSED),
        ((403, {}, "not_allowed: no rule allows this\n"), ExitCode.REFUSED),
        ((409, {}, "busy: another deployment\n"), ExitCode.UNACCEPTABLE),
        ((422, {}, "unprocessable: nothing to roll back to\n"), ExitCode.UNACCEPTABLE),
        ((302, {"Location": "http://127.0.0.1:9/login"}, "moved\n"), ExitCode.UNAVAILABLE),
        ((200, {}, "<html>Welcome to our network</html>\n"), ExitCode.UNAVAILABLE),
        ((200, state_headers("succeeded; rm -rf", "true"), ""), ExitCode.UNAVAILABLE),
        ((200, {**state_headers("succeeded", "true"), "Sluicegate-Id": "x\ty"}, ""), ExitCode.UNAVAILABLE),
        ((200, state_headers("failed", "true"), ""), ExitCode.NOT_DEPLOYED),
        ((200, state_headers("rolled_back", "true"), ""), ExitCode.NOT_DEPLOYED),
    ],
)
def test_the_exit_code_says_what_went_wrong(
    dash: Machine, api: Api, answer: tuple[int, dict[str, str], str], code: ExitCode
) -> None:
    api.answers = [answer]
    ended = dash.run(job(url=api.url, action="rollback"), TOKEN)
    assert ended.code == code, ended.log
    assert len(api.calls) == 1
    if answer[0] >= 400:
        assert answer[2] in ended.log


def test_nobody_there_is_unavailable(dash: Machine) -> None:
    """Without the two minutes of patience that it has in a job."""
    impatient = job(url="http://127.0.0.1:9/v1", action="rollback")
    script = [line.replace("patience=120", "patience=2") for line in impatient.keywords["script"]]
    ended = dash.run(component.Job("x", {**impatient.keywords, "script": script}), TOKEN)
    assert ended.code == ExitCode.UNAVAILABLE
    assert "could not be reached: curl: (7)" in ended.log


@pytest.mark.parametrize(
    "line", ['output = "{}"', 'header = "@{}"', 'url = "file://{}"', 'upload-file = "{}"']
)
def test_the_api_can_tell_curl_nothing_but_where_to_upload_to(dash: Machine, api: Api, line: str) -> None:
    (dash.directory / "orders.zip").write_bytes(package("x = 1\n"))
    place = f'request = "PUT"\nurl = "{api.url}"\n{line.format(dash.directory / "taken")}\n'
    api.answers = [(201, {"Sluicegate-Upload": "needed"}, place)]
    ended = dash.run(job(url=api.url, zip="orders.zip"), TOKEN)
    assert ended.code == ExitCode.UNAVAILABLE
    assert len(api.calls) == 1
    assert dash.left() == ["project/orders.zip"]


def test_a_permission_that_ran_out_is_asked_for_once_more(dash: Machine, api: Api) -> None:
    (dash.directory / "orders.zip").write_bytes(package("x = 1\n"))
    place = f'request = "PUT"\nurl = "{api.url}/bucket?X-Amz-Signature=secret"\nheader = "x-amz-a: b"\n'
    needed = (201, {"Sluicegate-Upload": "needed"}, place)
    api.answers = [
        needed,
        (403, {}, "<Error>X-Amz-Signature=secret</Error>"),
        needed,
        (409, {}, ""),
        (200, {}, ""),
        DONE,
    ]
    ended = dash.run(job(url=api.url, zip="orders.zip"), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert [method for method, _, _ in api.calls] == ["POST", "PUT", "POST", "PUT", "PUT", "POST"]
    assert "secret" not in ended.log


def test_what_the_api_says_cannot_play_with_the_log(dash: Machine, api: Api) -> None:
    api.answers = [(200, state_headers("succeeded", "true"), "\x1b[2Jwiped\rsection_start:1:x\x07ü\n")]
    ended = dash.run(job(url=api.url, action="rollback"), TOKEN)
    assert "[2Jwipedsection_start:1:xü\n" in ended.log


def test_promotes_exactly_what_the_stage_serves(machine: Machine, api: Api) -> None:
    rows = (
        ("function", "stage", "version", "since", "ref", "by"),
        ("orders-api", "dev", "40", "-", "-", "-"),
        ("orders-api", "staging", "41", "-", "v1 of it", "ada"),
    )
    table = "".join("\t".join(row) + "\n" for row in rows)
    api.answers = [(200, {}, table), DONE]
    ended = machine.run(job(url=api.url, action="promote", **{"from": "staging"}), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert "staging serves version 41" in ended.log
    assert json.loads(api.calls[1][2]) == {
        "action": "promote",
        "function": "orders-api",
        "stage": "prod",
        "from": "staging",
        "version": "41",
    }
    api.answers = [(200, {}, table)]
    nothing = machine.run(job(url=api.url, action="promote", **{"from": "prod2"}), TOKEN)
    assert nothing.code == ExitCode.UNACCEPTABLE


def test_the_whole_request(machine: Machine, api: Api) -> None:
    (machine.directory / "a 'new\" [x] {y}.zip").write_bytes(package("x = 1\n"))
    api.answers = [(200, {"Sluicegate-Upload": "present"}, ""), DONE]
    ended = machine.run(
        job(
            url=api.url,
            zip="a 'new\" [x] {y}.zip",
            release="v1 \"x\" 'y' \\ $$HOME ${LABEL}$LABEL-$UNSET_ü",
            reason="no `date` $(date) ${",
            strategy="canary:10:5m",
            on_busy="supersede",
            expect_version="41",
        ),
        TOKEN,
        LABEL="$$LABEL `date`",
    )
    assert ended.code == ExitCode.OK, ended.log
    sent = json.loads(api.calls[1][2])
    assert sent.pop("artifact") == {"sha256": json.loads(api.calls[0][2])["sha256"]}
    assert sent == {
        "action": "deploy",
        "function": "orders-api",
        "stage": "prod",
        "strategy": parse_strategy("canary:10:5m"),
        "on_busy": "supersede",
        "expect": {"version": "41"},
        "release": "v1 \"x\" 'y' \\ $HOME $$LABEL `date`$$LABEL `date`-ü",
        "description": "no `date` $(date) ${",
    }


def test_a_fix_sends_its_reason_as_one_and_no_variable_makes_a_job_one(machine: Machine, api: Api) -> None:
    (machine.directory / "fix.zip").write_bytes(package("x = 1\n"))
    given = {"url": api.url, "zip": "fix.zip", "reason": "$FIX_REASON"}
    for fix, expected in (
        (True, {"fix_forward": True, "reason": "v1.4 fails"}),
        (False, {"description": "v1.4 fails"}),
    ):
        api.answers = [(200, {"Sluicegate-Upload": "present"}, ""), DONE]
        about = job(fix_forward=fix, **given)
        ended = machine.run(about, TOKEN, fix_forward="true", FIX_FORWARD="true", FIX_REASON="v1.4 fails")
        assert ended.code == ExitCode.OK, ended.log
        sent = json.loads(api.calls[-1][2])
        texts = {name: sent[name] for name in ("fix_forward", "reason", "description") if name in sent}
        assert texts == expected


@pytest.mark.parametrize(
    ("action", "status"), [("approve", "succeeded"), ("reject", "rejected"), ("abort", "aborted")]
)
def test_a_decision_waits_for_what_it_wants(
    dash: Machine, api: Api, action: str, status: str, tmp_path: Path
) -> None:
    api.answers = [(202, state_headers("baking", "false"), ""), (200, state_headers(status, "true"), "")]
    wanted = job(url=api.url, action=action, deployment=ID, reason='change "812"')
    ended = restless(dash, tmp_path).run(wanted, TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    (_, path, body), (_, reading, _) = api.calls
    assert path == f"/v1/deployments/{ID}/{action}"
    assert json.loads(body) == {"reason": 'change "812"'}
    assert reading.startswith(f"/v1/deployments/{ID}?after=4&wait=")


def test_a_job_that_is_killed_while_it_reports_leaves_the_report_before(
    dash: Machine, api: Api, tmp_path: Path
) -> None:
    tools = tmp_path / "deadly"
    tools.mkdir()
    kills = 'if [ "$2" = sluicegate.env ] && [ -f "$2" ]; then kill -KILL "$PPID"; exit; fi'
    (tools / "mv").write_text(f'#!/bin/sh\n{kills}\nPATH=${{PATH#*:}} exec mv "$@"\n')
    (tools / "mv").chmod(0o755)
    baking, done = state_headers("baking", "false"), state_headers("succeeded", "true")
    api.answers = [(202, baking, ""), (200, done, "")]
    ended = dash.with_tools(tools).run(job(url=api.url, action="rollback"), TOKEN)
    assert ended.code == -signal.SIGKILL, ended.log
    assert len(api.calls) == 2
    assert dash.dotenv() == {"SLUICEGATE_ID": ID, "SLUICEGATE_STATUS": "baking"}


@pytest.mark.parametrize("said", ["2", None, "999", "soon", "-1"])
def test_without_news_the_job_asks_again_when_the_api_says(
    dash: Machine, api: Api, said: str | None, tmp_path: Path
) -> None:
    quiet = state_headers("baking", "false") | ({"Retry-After": said} if said else {})
    api.answers = [(202, quiet, ""), (200, quiet, ""), (200, state_headers("succeeded", "true"), "")]
    ended = restless(dash, tmp_path).run(job(url=api.url, action="rollback"), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert len(api.calls) == 3
    # What it cannot use, it takes for none. An answer that took its time is followed by no pause.
    assert set(slept(tmp_path)) == {"2"}


def test_without_sha256sum_openssl_does(dash: Machine, api: Api, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (
        "openssl",
        "curl",
        "sed",
        "awk",
        "tr",
        "cat",
        "rm",
        "mv",
        "head",
        "date",
        "mkdir",
        "wc",
        "dd",
        "env",
        "grep",
        "sleep",
    ):
        found = subprocess.run(
            ["sh", "-c", f"command -v {name}"], capture_output=True, text=True
        ).stdout.strip()
        if not found:
            pytest.skip(f"{name} is missing")
        (tools / name).symlink_to(found)
    bare = Machine(("/bin/dash",), dash.directory, str(tools), dash.temporary)
    (bare.directory / "orders.zip").write_bytes(package("x = 1\n"))
    api.answers = [(200, {"Sluicegate-Upload": "present"}, ""), DONE]
    ended = bare.run(job(url=api.url, zip="orders.zip"), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert re.fullmatch("[0-9a-f]{64}", json.loads(api.calls[0][2])["sha256"])


# A second person


def token_of(**claims: str) -> str:
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return f"eyJ.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize("padding", ["", "x", "xx"])
def test_a_deployment_that_waits_is_named_with_a_link_to_approve_it(
    machine: Machine, api: Api, padding: str
) -> None:
    """docs.gitlab.com/ci/pipelines, "Run a pipeline by using a URL query string", read on 2026-11-26.

    The address comes from the token, which the API has verified: a variable could lead anywhere.
    """
    uri = "gitlab.example.com/acme/stock//.gitlab-ci.yml@refs/tags/v1.0.0"
    token = token_of(sub=f"ü{padding}", ci_config_ref_uri=uri, ref="v1")
    api.answers = [
        (202, state_headers("accepted", "false"), ""),
        (200, state_headers("awaiting_approval", "false"), ""),
    ]
    waiting = job(url=api.url, action="rollback", wait="accepted")
    ended = machine.run(waiting, token, CI_PROJECT_URL="https://evil.example.com/acme/stock")
    assert ended.code == ExitCode.OK, ended.log
    assert f"https://gitlab.example.com/acme/stock/-/pipelines/new?var%5BDEPLOYMENT%5D={ID}\n" in ended.log
    assert "evil" not in ended.log
    assert len(api.calls) == 2


def test_a_deployment_that_waits_is_shown_on_the_board(dash: Machine, api: Api) -> None:
    page = f"/v1/board/deployments/{ID}"
    waits = state_headers("awaiting_approval", "false", **{"Sluicegate-Board": page})
    api.answers = [(202, waits, "")]
    ended = dash.run(job(url=api.url, action="rollback", wait="accepted"), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert f"or decide on the board: {api.url.removesuffix('/v1')}{page}\n" in ended.log


@pytest.mark.parametrize(
    "page", ["https://evil.example.com", "//evil/v1/board", f"/v1/board/deployments/{ID}x"]
)
def test_an_answer_leads_nowhere_but_to_the_board(dash: Machine, api: Api, page: str) -> None:
    waits = state_headers("awaiting_approval", "false", **{"Sluicegate-Board": page})
    api.answers = [(202, waits, "")]
    ended = dash.run(job(url=api.url, action="rollback", wait="accepted"), TOKEN)
    assert ended.code == ExitCode.OK, ended.log
    assert "board" not in ended.log


@pytest.mark.parametrize("token", [TOKEN, token_of(ci_config_ref_uri='x"; rm//y'), "a.b.c", "abc"])
def test_without_an_address_in_the_token_there_is_no_link(dash: Machine, api: Api, token: str) -> None:
    api.answers = [(202, state_headers("awaiting_approval", "false"), "")]
    ended = dash.run(job(url=api.url, action="rollback", wait="accepted"), token)
    assert ended.code == ExitCode.OK, ended.log
    assert f"the variable DEPLOYMENT (or the input deployment) {ID}\n" in ended.log
    assert "pipelines/new" not in ended.log


# Several jobs in one checkout


def test_jobs_in_one_checkout_leave_each_others_directories_alone(machine: Machine, api: Api) -> None:
    api.answers = [(202, state_headers("baking", "false"), "")]
    first = machine.start(job(url=api.url, action="rollback"), TOKEN, job_id="302")
    directory = machine.directory / ".sluicegate-302"
    deadline = time.monotonic() + 60
    while not (directory / "asked").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    api.answers = [DONE]
    second = machine.run(
        job(url=api.url, action="promote", version="1", **{"from": "dev"}), TOKEN, job_id="303"
    )
    assert second.code == ExitCode.OK, second.log
    assert directory.is_dir()
    assert first.wait().code == ExitCode.OK
    assert machine.after(job(url=api.url), TOKEN, "success", job_id="302").code == 0
    assert not directory.exists()
