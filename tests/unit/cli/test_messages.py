"""What the command line says when something around it is wrong, and with which exit code it ends."""

import codecs
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sluicegate.aws import s3
from sluicegate_cli.commands.deploy import MAX_SIZE
from sluicegate_cli.failures import failure_of
from sluicegate_cli.hints import CAUSES
from sluicegate_cli.streams import LOOKALIKES, _lookalike
from support.cli_running import Run, hear_interrupts, running
from support.cli_server import ID, TOKEN, Reply, Server, baking, publishing, serving, shown
from support.cli_terminal import environment
from support.template import ROOT

URL = "https://deploy.example.com/v1/whoami"
MAIN = (sys.executable, "-c", "from sluicegate_cli.main import main; main()")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return running(monkeypatch, capsys)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as server:
        monkeypatch.setenv("SLUICEGATE_URL", server.url)
        monkeypatch.setenv("SLUICEGATE_TOKEN", TOKEN)
        yield server


def caused(error: httpx2.TransportError, cause: BaseException) -> httpx2.TransportError:
    error.__cause__ = cause
    return error


REFUSED = ConnectionRefusedError(111, "Connection refused")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
PLAIN = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
UNKNOWN = socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize(
    ("error", "reason", "sentence"),
    [
        (
            caused(httpx2.ConnectError("[Errno -2] Name or service not known"), UNKNOWN),
            "dns",
            "cannot resolve the host name deploy.example.com",
        ),
        (
            caused(httpx2.ConnectError("[Errno 111] x"), REFUSED),
            "refused",
            "deploy.example.com refused the connection",
        ),
        (
            caused(httpx2.ConnectError("x"), OSError(101, "x")),
            "network",
            "there is no route to deploy.example.com",
        ),
        (
            caused(httpx2.ConnectError("x"), UNTRUSTED),
            "certificate",
            "certificate verify failed for deploy.example.com",
        ),
        (caused(httpx2.ConnectError("x"), PLAIN), "tls", "no TLS connection to deploy.example.com"),
        (httpx2.ConnectTimeout("x"), "timeout", "the request timed out: no connection to deploy.example.com"),
        (httpx2.ReadTimeout("x"), "lost", "deploy.example.com did not answer in time"),
        (httpx2.ProxyError("407 Proxy Authentication Required"), "proxy", "407 Proxy Authentication"),
        (httpx2.ReadError("x"), "lost", "the connection to deploy.example.com was lost"),
    ],
)
def test_a_failure_names_the_host_and_what_to_check(
    monkeypatch: pytest.MonkeyPatch, error: httpx2.TransportError, reason: str, sentence: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    found = failure_of(error, f"{URL}?secret=canary")

    assert found.reason == reason
    assert sentence in found.sentence
    assert "Errno" not in found.sentence
    assert "canary" not in found.sentence
    assert CAUSES[reason]


def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:canary@proxy.example.com:3128")
    error = caused(httpx2.ConnectError("x"), UNKNOWN)

    found = failure_of(error, URL)

    assert "(or the proxy proxy.example.com:3128)" in found.sentence
    assert "canary" not in found.sentence


@pytest.mark.usefixtures("server")
def test_nobody_there_says_so_once_with_a_hint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setattr("time.sleep", lambda _: None)

    ended = run("whoami")

    assert ended.code == 5
    assert "the API could not be reached: 127.0.0.1:1 refused the connection" in ended.err
    assert "Check host and port" in ended.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("deploy.example.com/v1", "put https:// in front of it"),
        ("localhost:8080/v1", "put https:// in front of it"),
        ('"https://deploy.example.com/v1"', "quotes"),
        (" https://deploy.example.com/v1", "spaces"),
        ("https://deploy.example.com/v1\n", "line breaks"),
        ("$SLUICEGATE_URL", "which no shell has expanded"),
        ("https://${HOST}/v1", "which no shell has expanded"),
        ("http://deploy.example.com/v1", "must be https"),
        ("https:///v1", "must be a plain URL"),
        ("https://deploy.example.com/v1?x=1", "must be a plain URL"),
        ("https://deploy.example.com:port/v1", "is not a URL"),
        ("   ", "no endpoint"),
    ],
)
def test_an_address_is_refused_with_what_is_wrong_with_it(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("SLUICEGATE_URL", url)

    ended = run("whoami")

    assert ended.code == 2
    assert said in ended.err
    assert not server.asked


@pytest.mark.usefixtures("server")
def test_a_password_in_an_address_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICEGATE_URL", "https://ada:canary@deploy.example.com/v1")

    ended = run("whoami")

    assert ended.code == 2
    assert "canary" not in ended.err


def test_zips_that_cannot_be_one(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, text, directory, fifo = (
        tmp_path / name for name in ("empty.zip", "text.zip", "dir.zip", "fifo.zip")
    )
    empty.touch()
    text.write_text("not a zip")
    directory.mkdir()
    os.mkfifo(fifo)
    large = tmp_path / "large.zip"
    with zipfile.ZipFile(large, "w") as archive:
        archive.writestr("app.py", b"x" * 1000)
    monkeypatch.setattr("sluicegate_cli.commands.deploy.MAX_SIZE", 500)
    for file, said in (
        (empty, "is empty: did the build fail?"),
        (text, "is not a zip archive"),
        (directory, "is a directory"),
        (fifo, "a pipe cannot be read twice"),
        (tmp_path / "gone.zip", "does not exist"),
        (large, "at most"),
    ):
        ended = run("deploy", "orders-api", "dev", "--zip", str(file))

        assert ended.code == 2, file
        assert said in ended.err
        assert str(file.name) in ended.err
    assert not server.asked


def test_the_size_of_a_zip_is_the_apis_limit() -> None:
    assert MAX_SIZE == s3.MAX_SIZE


def test_texts_too_long_are_refused_before_anything_is_sent(run: Run, server: Server) -> None:
    for arguments in (
        ("abort", ID, "--reason", "x" * 257),
        ("hold", "prod", "--reason", "x" * 100_000),
        ("rollback", "orders-api", "prod", "--description", "x" * 257),
        ("rollback", "orders-api", "prod", "--release", "x" * 129),
    ):
        ended = run(*arguments)

        assert ended.code == 2
        assert "is the limit" in ended.err
        assert len(ended.err) < 1000
    assert not server.asked


def following(server: Server, **options: object) -> "subprocess.Popen[str]":
    server.on("GET", f"/deployments/{ID}", Reply(200, baking()))
    process = subprocess.Popen(
        [*MAIN, "watch", ID, *(("--json",) if options.get("json") else ())],
        env=environment(server),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    stream = process.stderr if options.get("json") else process.stdout
    assert stream
    stream.readline()
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_names_the_deployment_and_the_ways_on(
    server: Server, number: signal.Signals, code: int
) -> None:
    process = following(server)

    process.send_signal(number)

    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"deployment {ID} continues on its own" in said
    assert f"sluicegate watch {ID}" in said
    assert f"sluicegate abort {ID}" in said
    assert "Traceback" not in said


def test_an_interrupt_of_a_check_is_no_outcome(tmp_path: Path) -> None:
    source = (
        "import sluicegate_cli.commands.check as c, sluicegate_cli.main as m, sys\n"
        "def check(*_, **__): raise KeyboardInterrupt\n"
        "c.check = check; sys.argv = ['sluicegate', 'check', sys.argv[1]]; m.main()\n"
    )
    file = tmp_path / "sluicegate.yaml"
    file.touch()

    ended = subprocess.run(
        [sys.executable, "-c", source, file], capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 130


def test_a_reader_that_goes_away_is_no_failed_deployment(server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", *([shown(publishing())] * 3), Reply(200, baking()))
    process = subprocess.Popen(
        [*MAIN, "watch", ID],
        env=environment(server),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.close()

    assert process.stderr
    said = process.stderr.read()
    assert process.wait(timeout=30) == 141
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_closed_or_full_output_is_no_traceback(server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", shown(publishing()))
    for redirection, code in ((">&-", 0), ("> /dev/full", 5), ("2>&-", 0), ("<&- >&- 2>&-", 0)):
        ended = subprocess.run(
            ["sh", "-c", f'"$@" {redirection}', "sh", *MAIN, "status", ID],
            env=environment(server),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert ended.returncode == code, (redirection, ended.stderr)
        assert "Traceback" not in ended.stderr
        assert "Exception ignored" not in ended.stderr


def test_an_ascii_terminal_gets_lookalikes(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("Error: no ID token\n")

    ended = subprocess.run(
        [*MAIN, "doctor", "--log", log],
        env=environment(server) | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.stdout.startswith("x the token is a job's ID token")
    assert ended.returncode == 1


@pytest.mark.parametrize("module", ["sluicegate_cli", "sluicegate_cli.main"])
def test_python_runs_the_module_as_the_command(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "nope"],
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, "No such command 'nope'" in done.stderr) == (2, True)


def test_every_character_that_is_printed_has_a_lookalike() -> None:
    printing = [
        *(ROOT / "cli").rglob("*.py"),
        *(ROOT / "layers/shared/python/sluicegate/documents").glob("*.py"),
    ]
    found = {each for file in printing for each in file.read_text() if not each.isascii()}

    assert found <= LOOKALIKES.keys()
    assert "".join(LOOKALIKES.values()).isascii()


def test_an_ascii_stream_gets_lookalikes_of_numbers_and_drawings() -> None:
    codecs.register_error("lookalike", _lookalike)
    shown = "×3.1 (1.2–8.0) ├──●──┤·│ ▁▇ ∞ ü".encode("ascii", "lookalike")

    assert shown == b"x3.1 (1.2-8.0) |--o--|.| _% inf ?"


GATE = """\
version: 1
issuers:
  gitlab: {url: https://gitlab.example.com, audience: https://deploy.example.com}
stages:
  dev: {}
  prod: {protected: true}
functions:
%s
rules:
  - name: orders
    claims: {project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy], functions: [function-*, orders], stages: [dev, prod]}
"""


def test_one_warning_for_eight_functions_that_share_their_target(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sluicegate.yaml").write_text(GATE % "\n".join(f"  function-{i}: {{}}" for i in range(8)))

    ended = run("check")

    assert ended.code == 0
    assert ended.out.count("[shared_target]") == 1
    assert "`function-4` and 3 more share one target" in ended.out


def test_a_tab_is_called_a_tab(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text, place in (
        (GATE % "\torders: {}", "8:1"),
        ("version: 1\nstages:\n  dev:\n\t  protected: true\n", "4:1"),
        ("version: 1\nstages:\n  \tdev: {}\n", "3:3"),
    ):
        Path("sluicegate.yaml").write_text(text)

        ended = run("check")

        assert ended.code == 2
        assert f"sluicegate.yaml:{place}: error: a tab indents this line" in ended.out


def test_check_prints_the_digest_that_records_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sluicegate.yaml").write_text(GATE % "  orders: {}")

    digest = json.loads(run("check", "--json").out)["digest"]

    assert len(digest) == 64
    assert f"sluicegate.yaml: digest {digest}" in run("check").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("whoami",),
        ("status",),
        ("status", "orders-api"),
        ("status", ID),
        ("watch", ID),
        ("history",),
        ("hold", "prod"),
        ("rollback", "orders-api", "prod"),
        ("promote", "orders-api", "prod", "--from", "dev"),
        ("rollback", "orders-api", "prod", "--dry-run"),
        ("approve", ID),
    ],
)
@pytest.mark.parametrize(
    "document",
    [{"hello": 1}, {"id": ID}, {"items": 1}, {"items": [1], "next_cursor": None}, {"id": ID, "steps": 7}],
)
def test_json_of_another_server_is_no_traceback(
    run: Run, server: Server, arguments: tuple[str, ...], document: dict[str, object]
) -> None:
    server.replies = _Everything(Reply(200, document))

    ended = run(*arguments)

    assert ended.code in (0, 5)
    if ended.code == 5:
        assert "unexpected_answer" in ended.err
        assert "not Sluicegate's API, or of another version" in ended.err


class _Everything(dict[tuple[str, str], list[Reply]]):
    """One reply to every request."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply

    def get(self, key: object, default: object = None) -> list[Reply]:  # noqa: ARG002
        return [self._reply]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTPS_PROXY", "socks5://127.0.0.1:1", "pip install socksio"),
        ("HTTPS_PROXY", "ftp://ada:canary@proxy.example.com", "no proxy's URL"),
        ("SSL_CERT_FILE", "/nonexistent.pem", "cannot use /nonexistent.pem of SSL_CERT_FILE"),
        ("SSL_CERT_FILE", __file__, "of SSL_CERT_FILE"),
    ],
)
def test_an_environment_that_is_unusable_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv("SLUICEGATE_URL", "https://127.0.0.1:1/v1")
    monkeypatch.setenv("SLUICEGATE_TOKEN", TOKEN)
    monkeypatch.setenv(name, value)

    ended = run("whoami")

    assert ended.code == 2
    assert said in ended.err
    assert "canary" not in ended.err


def test_values_that_cannot_be_sent_are_refused_here(run: Run, server: Server) -> None:
    for arguments, said in (
        (("rollback", "f", "s", "--idempotency-key", "\xe4"), "printable ASCII"),
        (("rollback", "f", "s", "--idempotency-key", "a\nb"), "printable ASCII"),
        (("abort", ID, "--reason", "\udcff"), "not text in this locale's encoding"),
        (("status", "\udcff"), "not text in this locale's encoding"),
        (("status", ""), "the value of what is empty"),
        (("rollback", "", "prod"), "the value of function is empty"),
        (("promote", "f", "prod", "--from", ""), "the value of source is empty"),
    ):
        ended = run(*arguments)

        assert ended.code == 2, arguments
        assert said in ended.err
    assert not server.asked


def test_an_empty_release_is_none(run: Run, server: Server) -> None:
    run("rollback", "orders-api", "prod", "--release", "", "--description", "", "--no-wait")

    (asked,) = server.calls("POST", "/deployments")
    assert not {"release", "description"} & set(asked.json)


def test_a_bug_is_no_outcome_of_a_deployment(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise ZeroDivisionError(TOKEN)

    monkeypatch.setattr("sluicegate_cli.api.ApiClient.get", fail)

    ended = run("whoami")

    assert ended.code == 70
    assert "a bug in sluicegate" in ended.err
    assert "ZeroDivisionError in test_messages.py" in ended.err
    assert TOKEN not in ended.err
    assert not server.asked
