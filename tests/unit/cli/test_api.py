"""The client alone: what it sends again, for how long, and where it never sends a token."""

import gzip
import io
import os
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import click
import httpx2
import pytest

from sluicegate_cli.api import ApiClient, endpoint
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from support.cli_running import Run
from support.cli_server import TOKEN, Reply, Server, problem


class Patience:
    """Stands in for `time.sleep`: remembers, and does not wait."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def api(server: Server, patience: Patience) -> Iterator[ApiClient]:
    with ApiClient(server.url, TOKEN, sleep=patience) as api:
        yield api


UNAVAILABLE = problem(503, "unavailable", "not now")


def test_sends_the_token_as_a_bearer_and_nothing_else_of_ours(api: ApiClient, server: Server) -> None:
    server.on("GET", "/whoami", Reply(200, {}))

    api.get("whoami")

    [asked] = server.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["user-agent"].startswith("sluicegate/")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_asks_a_busy_api_for_two_minutes_with_growing_pauses(
    api: ApiClient, server: Server, patience: Patience, status: int
) -> None:
    server.on("GET", "/whoami", Reply(status, problem(status, "unavailable", "not now")))

    with pytest.raises(ApiError) as raised:
        api.get("whoami")

    assert raised.value.exit is ExitCode.UNAVAILABLE
    assert len(server.asked) == len(patience.pauses) + 1
    assert 120 - 10 - 5 < sum(patience.pauses) <= 120  # 5: what the answers took
    for pause, longest in zip(patience.pauses, (0.5, 1, 2, 4, 8), strict=False):
        assert longest / 2 <= pause <= longest
    assert all(5 <= pause <= 10 for pause in patience.pauses[5:])


def test_one_of_many_clients_gets_its_answer_after_the_others_had_theirs(
    api: ApiClient, server: Server
) -> None:
    """Six tries ended after ten seconds: of 300 jobs that asked at once, most would have failed."""
    busy = [Reply(429, problem(429, "throttled", "too many requests"), {"Retry-After": "1"})] * 9
    server.on("GET", "/whoami", *busy, Reply(200, {"via": "x"}))

    assert api.get("whoami") == {"via": "x"}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 415, 422])
def test_a_refusal_is_not_argued_with(api: ApiClient, server: Server, status: int) -> None:
    server.on("GET", "/whoami", Reply(status, problem(status, "code", "no")))

    with pytest.raises(ApiError) as raised:
        api.get("whoami")

    assert raised.value.exit is (ExitCode.REFUSED if status in (401, 403) else ExitCode.UNACCEPTABLE)
    assert len(server.asked) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_waits_as_long_as_it_is_told_to(
    api: ApiClient, server: Server, patience: Patience, form: str
) -> None:
    value = "7" if form == "seconds" else formatdate(time.time() + 7, usegmt=True)
    server.on("GET", "/whoami", Reply(503, UNAVAILABLE, {"Retry-After": value}), Reply(200, {"via": "x"}))

    assert api.get("whoami") == {"via": "x"}
    [pause] = patience.pauses
    assert 5 < pause < 8


@pytest.mark.parametrize("value", ["", "soon", "-1", "1e3", "Fri, 99 Foo 2026 00:00:00 GMT", "9" * 12])
def test_a_retry_after_that_makes_no_sense_is_none(
    api: ApiClient, server: Server, patience: Patience, value: str
) -> None:
    server.on("GET", "/whoami", Reply(503, UNAVAILABLE, {"Retry-After": value}), Reply(200, {}))

    api.get("whoami")

    assert patience.pauses[0] <= 1


def test_does_not_wait_for_ever_because_a_server_says_so(
    api: ApiClient, server: Server, patience: Patience
) -> None:
    server.on("GET", "/whoami", Reply(503, UNAVAILABLE, {"Retry-After": "50"}))

    with pytest.raises(ApiError):
        api.get("whoami")

    assert sum(patience.pauses) <= 120
    assert len(server.asked) == 3


def test_an_answer_of_no_api_is_called_that(api: ApiClient, server: Server) -> None:
    server.on("GET", "/whoami", Reply(200, b"<html>a proxy's page</html>"))

    with pytest.raises(ApiError) as raised:
        api.get("whoami")

    assert raised.value.document["code"] == "unexpected_answer"
    assert "html" not in str(raised.value.document)


def test_nobody_there_is_exit_5(patience: Patience) -> None:
    with ApiClient("http://127.0.0.1:1/v1", TOKEN, sleep=patience) as api, pytest.raises(ApiError) as raised:
        api.get("whoami")

    assert raised.value.exit is ExitCode.UNAVAILABLE
    assert len(patience.pauses) == 5


def test_a_certificate_that_does_not_verify_is_not_tried_again(
    patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> httpx2.Response:
        try:
            raise ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
        except ssl.SSLCertVerificationError as error:
            raise httpx2.ConnectError("certificate verify failed") from error

    monkeypatch.setattr(httpx2.Client, "stream", refuse)
    with ApiClient("https://127.0.0.1:1/v1", TOKEN, sleep=patience) as api, pytest.raises(ApiError) as raised:
        api.get("whoami")

    assert "certificate verify failed" in raised.value.document["detail"]
    assert not patience.pauses


@pytest.mark.parametrize(
    ("document", "headers", "said"),
    [
        (b"[" + b" " * 10_000_000, {}, "the response is too large"),
        (b"not gzip", {"Content-Encoding": "gzip"}, "the response cannot be decompressed"),
    ],
)
def test_an_answer_that_cannot_be_the_apis_is_not_read_to_its_end(
    api: ApiClient, server: Server, patience: Patience, document: bytes, headers: dict[str, str], said: str
) -> None:
    server.on("GET", "/whoami", Reply(200, document, headers))

    with pytest.raises(ApiError) as raised:
        api.get("whoami")

    assert said in raised.value.document["detail"]
    assert not patience.pauses


def test_a_packed_answer_is_unpacked(api: ApiClient, server: Server) -> None:
    server.on("GET", "/whoami", Reply(200, gzip.compress(b'{"via": "x"}'), {"Content-Encoding": "gzip"}))

    assert api.get("whoami") == {"via": "x"}


def test_without_a_token_none_is_sent(server: Server) -> None:
    server.on("GET", "/health", Reply(200, {"status": "ok"}))

    with ApiClient(server.url, "", attempts=1) as api:
        assert api.get("health") == {"status": "ok"}

    assert "authorization" not in server.asked[0].headers


def test_no_redirect_takes_the_token_elsewhere(api: ApiClient, server: Server) -> None:
    server.on("GET", "/whoami", Reply(307, {}, {"Location": f"{server.origin}/elsewhere"}))

    with pytest.raises(ApiError):
        api.get("whoami")

    assert [asked.path for asked in server.asked] == ["/whoami"]


def test_no_proxy_of_the_environment_sees_what_is_sent_in_the_clear(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    server.on("GET", "/whoami", Reply(200, {}))

    with ApiClient(server.url, TOKEN) as api:
        api.get("whoami")

    assert len(server.asked) == 1


def test_parts_of_a_path_cannot_become_another_path(api: ApiClient, server: Server) -> None:
    with pytest.raises(ApiError):
        api.get("functions", "../whoami?x=1#y")

    [asked] = server.asked
    assert asked.path == "/functions/..%2Fwhoami%3Fx%3D1%23y"


def test_uploads_nowhere_but_over_https_or_from_loopback_to_loopback(tmp_path: Path) -> None:
    upload = {"url": "http://bucket.example.com/key", "headers": {}}
    file = tmp_path / "a.zip"
    file.write_bytes(b"x")

    with (
        ApiClient("https://deploy.example.com/v1", TOKEN) as api,
        pytest.raises(ApiError, match="upload_failed"),
    ):
        api.upload(upload, file, lambda _: None)


@pytest.mark.parametrize(
    "url",
    [
        "https://deploy.example.com/v1",
        "https://deploy.example.com/v1/",
        "http://127.0.0.1:4566/restapis/a/v1/_user_request_/v1",
        "http://localhost:4566/v1",
        "http://[::1]:4566/v1",
        "https://abc.execute-api.eu-central-1.amazonaws.com/v1/",
        "https://abc.execute-api.eu-central-1.amazonaws.com/v1/iam",
        "https://deploy.execute-api.example.com/deploy",
        "https://abc.execute-api.eu-central-1.amazonaws.com.example.com/prod",
    ],
)
def test_endpoints_that_may_have_a_token(url: str) -> None:
    assert endpoint(url) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://abc.execute-api.eu-central-1.amazonaws.com/prod", "/prod"),
        ("https://abc.execute-api.eu-central-1.amazonaws.com", "no stage"),
        ("https://ABC.execute-api.cn-north-1.amazonaws.com.cn/v2/iam", "/v2/iam"),
        ("https://vpce-1-a.execute-api.eu-west-1.vpce.amazonaws.com/V1", "/V1"),
        ("https://abc.execute-api.eu-west-1.api.aws/v1/v1", "/v1/v1"),
    ],
)
def test_another_stage_than_sluicegates_is_named_with_the_right_one(url: str, named: str) -> None:
    with pytest.raises(click.UsageError, match=f"names {named} at .*: it must be https://.*/v1$"):
        endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "deploy.example.com/v1",
        "http://deploy.example.com/v1",
        "http://127.0.0.1.example.com/v1",
        "http://localhost.example.com/v1",
        "ftp://127.0.0.1/v1",
        "https://ada:secret@deploy.example.com/v1",
        "https://deploy.example.com/v1?x=1",
        "https://deploy.example.com:port/v1",
        "https:///v1",
        "http://[::1/v1",
    ],
)
def test_endpoints_that_may_not(url: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        endpoint(url)

    assert "secret" not in raised.value.message


def test_a_token_comes_from_a_file_too(run: Run, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("another.token.here\n")
    server.on("GET", "/deployments", Reply(200, {"items": [], "next_cursor": None}))

    assert run("history", "--token-file", str(file)).code == 0
    assert server.asked[0].headers["authorization"] == "Bearer another.token.here"


def test_a_device_is_not_read_for_a_token_to_its_end(run: Run, server: Server) -> None:
    ended = run("whoami", "--token-file", "/dev/zero")
    assert (ended.code, server.asked) == (2, [])
    assert "not a regular file" in ended.err


def test_a_pipe_without_a_writer_is_not_waited_for(run: Run, server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")

    ended = run("whoami", "--token-file", str(tmp_path / "token"))

    assert (ended.code, server.asked) == (2, [])
    assert "not a regular file" in ended.err


def test_a_token_comes_from_standard_input_too_up_to_a_limit(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", "/deployments", Reply(200, {"items": [], "next_cursor": None}))
    monkeypatch.setattr("click.get_binary_stream", lambda _: io.BytesIO(b"piped.token.here\n"))
    assert run("history", "--token-file", "-").code == 0
    assert server.asked[0].headers["authorization"] == "Bearer piped.token.here"

    monkeypatch.setattr("click.get_binary_stream", lambda _: io.BytesIO(b"a" * 65_537))
    ended = run("history", "--token-file", "-")
    assert (ended.code, len(server.asked)) == (2, 1)
    assert "larger than 64 KiB" in ended.err


@pytest.mark.parametrize(
    "token", ["", "  \n", "two words", "a\nb", "umlaut-ä", "nul\x00", "$CANARY", "${CANARY}"]
)
def test_what_cannot_be_a_token_is_neither_sent_nor_shown(
    run: Run, server: Server, tmp_path: Path, token: str
) -> None:
    file = tmp_path / "token"
    file.write_text(token)

    ended = run("whoami", "--token-file", str(file))

    assert ended.code == 2
    assert not server.asked
    assert not token.strip() or token.strip() not in ended.err
    if not token.strip():
        assert f"the file {file} given with --token-file is empty" in " ".join(ended.err.split())
    if "$" in token:
        assert "which no shell has expanded" in " ".join(ended.err.split())


def test_a_variable_that_nothing_has_expanded_is_no_token(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_TOKEN", "$SLUICEGATE_ID_TOKEN")

    ended = run("whoami")

    assert (ended.code, server.asked) == (2, [])
    assert "which no shell has expanded" in " ".join(ended.err.split())
