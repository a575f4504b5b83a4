"""Fetching an issuer's keys from a real server on loopback: security.md#keys."""

import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import http_client
from sluicegate.http_client import FetchError
from sluicegate.oidc import discovery
from sluicegate.oidc.discovery import fetch_key_set
from sluicegate.oidc.identity import Issuer
from sluicegate.oidc.jwks import InvalidKeySet, Keyring, KeysUnavailable, parse_jwks
from sluicegate.text import clean
from support.signing import jwk, key

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/oauth/discovery/keys"


class Server:
    """An issuer on loopback. Each path has a status, headers and a body; a test changes what it likes."""

    def __init__(self, tls: ssl.SSLContext | None = None, root: str = "") -> None:
        outer = self
        self.requests: list[tuple[str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                status, headers, body = outer.answers.get(self.path, (404, {}, b"{}"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Transfer-Encoding" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.issuer = self.origin + root
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.put(root + DISCOVERY, {"issuer": self.issuer, "jwks_uri": f"{self.origin}{KEYS}"})
        self.put(KEYS, {"keys": [jwk()]})
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def put(self, path: str, document: object, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = (200, {"Content-Type": "application/json"} | headers, body)

    def discovery(self, **members: object) -> None:
        whole = {"issuer": self.issuer, "jwks_uri": self.origin + KEYS} | members
        self.put(DISCOVERY, {name: value for name, value in whole.items() if value is not None})

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def refusal(issuer: str, seconds: float = 3) -> str:
    with pytest.raises(FetchError) as refused:
        fetch_key_set(issuer, seconds=seconds)
    assert str(refused.value) == clean(str(refused.value))
    assert len(str(refused.value)) <= 256
    return str(refused.value)


def test_a_key_set_is_found_by_discovery(server: Server) -> None:
    assert json.loads(fetch_key_set(server.issuer)) == {"keys": [jwk()]}
    assert server.paths == [DISCOVERY, KEYS]
    for _, headers in server.requests:
        assert headers["Host"] == f"127.0.0.1:{server.port}"
        assert headers["Accept"] == "application/json"


def test_a_keyring_fetches_by_itself(server: Server) -> None:
    issuer = Issuer(name="corp", url=server.issuer, audience="https://deploy.example.com")
    keyring = Keyring()
    began = time.time()
    assert keyring.key(issuer, "k1") == keyring.key(issuer, "k1") == key().public_key()
    assert server.paths == [DISCOVERY, KEYS]
    assert began <= keyring._sets[issuer.url].fetched_at <= time.time()


def test_an_issuer_may_have_a_path() -> None:
    server = Server(root="/gitlab")
    assert fetch_key_set(server.issuer)
    assert server.paths == ["/gitlab" + DISCOVERY, KEYS]
    server.put("/gitlab" + DISCOVERY, {"issuer": server.issuer + "/", "jwks_uri": server.origin + KEYS})
    assert fetch_key_set(server.issuer + "/")  # section 4 of Discovery: without its last slash
    server.close()


def test_a_jwks_uri_may_have_a_query(server: Server) -> None:
    server.discovery(jwks_uri=server.origin + "/keys?of=all#now")
    server.put("/keys?of=all", {"keys": []})
    assert fetch_key_set(server.issuer) == b'{"keys": []}'
    server.discovery(jwks_uri=server.origin)
    server.put("/", {"keys": [1]})
    assert fetch_key_set(server.issuer) == b'{"keys": [1]}'


# What it must answer


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
@pytest.mark.parametrize("status", [201, 203, 204, 301, 302, 304, 307, 308, 400, 401, 404, 429, 500, 503])
def test_only_200_is_an_answer_and_no_redirect_is_followed(server: Server, path: str, status: int) -> None:
    _, headers, body = server.answers[path]
    server.put("/elsewhere", body)
    server.answers[path] = (status, headers | {"Location": f"{server.origin}/elsewhere"}, body)
    redirect = ": a redirect, and none is followed" if 300 <= status < 400 else ""
    assert refusal(server.issuer) == f"status {status}{redirect}"
    assert "/elsewhere" not in server.paths


@pytest.mark.parametrize(
    "kind", ["binary/octet-stream", "text/plain", "application/jwk-set+json", "text/html", "", None]
)
def test_what_an_answer_is_its_content_says(server: Server, kind: str | None) -> None:
    """A bucket serves the files that an administrator put there as it likes."""
    for path in (DISCOVERY, KEYS):
        _, _, body = server.answers[path]
        server.answers[path] = (200, {} if kind is None else {"Content-Type": kind}, b"\xef\xbb\xbf" + body)
    assert parse_jwks(fetch_key_set(server.issuer))


def test_a_cache_in_between_is_to_ask_the_origin(server: Server) -> None:
    """GitLab lets caches keep its keys for 24 hours, and signs with a new one at once."""
    fetch_key_set(server.issuer)
    assert [headers["Cache-Control"] for _, headers in server.requests] == ["no-cache"] * 2


def test_an_answer_that_is_no_key_set_is_refused(server: Server) -> None:
    server.put(KEYS, b"<html>Sign in</html>")
    with pytest.raises(InvalidKeySet):
        parse_jwks(fetch_key_set(server.issuer))
    server.put(DISCOVERY, b"<html>Sign in</html>")
    assert refusal(server.issuer) == "discovery: not JSON: Expecting value at character 0"


@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
def test_an_answer_has_at_most_64_kib(server: Server, path: str) -> None:
    _, _, body = server.answers[path]
    server.put(path, body.ljust(64 * 1024))
    assert fetch_key_set(server.issuer)
    server.put(path, body.ljust(64 * 1024 + 1))
    assert refusal(server.issuer) == "more than 65536 bytes"


def test_chunks_make_an_answer_no_longer(server: Server) -> None:
    body = server.answers[KEYS][2]
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    chunked = {"Transfer-Encoding": "chunked"}
    server.put(KEYS, chunk + b"0\r\n\r\n", **chunked)
    assert fetch_key_set(server.issuer) == body
    blank = b"%x\r\n%s\r\n" % (1024, b" " * 1024)
    server.put(KEYS, chunk + blank * 64 + b"0\r\n\r\n", **chunked)
    assert refusal(server.issuer) == "more than 65536 bytes"


@pytest.mark.parametrize("issuer", [None, "", 1, "https://gitlab.example.com", "{}/", "{}#"])
def test_discovery_names_this_very_issuer(server: Server, issuer: object) -> None:
    server.discovery(issuer=issuer.format(server.issuer) if isinstance(issuer, str) else issuer)
    assert refusal(server.issuer) == "discovery: `issuer` is not this issuer"
    assert server.paths == [DISCOVERY]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"[]", "discovery: `issuer` is not this issuer"),
        (b"x", "discovery: not JSON: Expecting value at character 0"),
        (b'{"issuer": 1, "issuer": 2}', "discovery: 'issuer' occurs twice in one object"),
        (b"[" * 9 + b"]" * 9, "discovery: nested too deep"),
    ],
)
def test_discovery_is_a_strict_json_object(server: Server, document: bytes, reason: str) -> None:
    server.put(DISCOVERY, document)
    assert refusal(server.issuer) == reason


@pytest.mark.parametrize(
    "uri",
    [
        None,
        1,
        "",
        KEYS,
        "//127.0.0.1:{port}" + KEYS,
        "https://127.0.0.1:{port}" + KEYS,
        "http://localhost:{port}" + KEYS,
        "http://127.0.0.1" + KEYS,
        "http://127.0.0.1:{other}" + KEYS,
        "http://127.0.0.1:{port}@evil.example.com" + KEYS,
        "http://evil.example.com#127.0.0.1:{port}" + KEYS,
        "http://127.0.0.1:{port}\\@evil.example.com" + KEYS,
        "ftp://127.0.0.1:{port}" + KEYS,
        "file:///etc/passwd",
    ],
)
def test_jwks_uri_has_the_issuers_scheme_host_and_port(server: Server, uri: object) -> None:
    server.discovery(
        jwks_uri=uri.format(port=server.port, other=server.port + 1) if isinstance(uri, str) else uri
    )
    assert refusal(server.issuer) == "discovery: `jwks_uri` is not on the issuer's scheme, host and port"
    assert server.paths == [DISCOVERY]


def test_a_port_that_is_left_out_is_the_schemes() -> None:
    def origin(url: str) -> object:
        return http_client.origin(url)

    assert origin("https://gitlab.example.com") == origin("HTTPS://GitLab.example.com:443/x")
    assert origin("http://localhost") == origin("http://localhost:80")
    assert origin("https://gitlab.example.com") != origin("https://gitlab.example.com:80")


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:{port}/a b", "http://127.0.0.1:{port}/é", "http://127.0.0.1:99999/", "http://[::1"],
)
def test_what_is_no_url_is_refused(server: Server, uri: str) -> None:
    server.discovery(jwks_uri=uri.format(port=server.port))
    assert refusal(server.issuer)
    assert server.paths == [DISCOVERY]


def test_discovery_may_be_eight_levels_deep(server: Server) -> None:
    server.discovery(more=[[[[[[[]]]]]]])
    assert fetch_key_set(server.issuer)


# How it is reached


@pytest.mark.parametrize(
    "issuer",
    [
        "http://gitlab.example.com",
        "http://127.0.0.2",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "ftp://127.0.0.1",
        "file:///etc",
        "127.0.0.1",
        "",
        "https:///gitlab",
    ],
)
def test_only_https_is_spoken_but_to_loopback(issuer: str) -> None:
    assert refusal(issuer) == "not an https URL"


def test_http_is_spoken_to_localhost(server: Server) -> None:
    assert refusal("http://[::1]:9") != "not an https URL"
    server.issuer = server.origin = f"http://localhost:{server.port}"
    server.discovery()
    assert fetch_key_set(server.issuer)


def test_the_proxy_of_the_environment_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert fetch_key_set(server.issuer)


def certificate(folder: Path, name: x509.GeneralName) -> Path:
    """A self-signed certificate for that name, with its key, in one file."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key("tls").public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key("tls"), SHA256())
    )
    private = key("tls").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


@pytest.mark.parametrize(
    ("name", "trusted", "accepted"),
    [("127.0.0.1", True, True), ("127.0.0.1", False, False), ("127.0.0.2", True, False)],
    ids=["ours", "of an unknown authority", "of another host"],
)
def test_tls_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool, accepted: bool
) -> None:
    path = certificate(tmp_path, x509.IPAddress(ipaddress.ip_address(name)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    server = Server(tls=context)
    if accepted:
        assert json.loads(fetch_key_set(server.issuer)) == {"keys": [jwk()]}
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(server.issuer)
        assert server.paths == []
    server.close()


def test_the_host_header_names_no_port_where_the_url_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    server = Server(tls=context)
    server.issuer = server.origin = "https://127.0.0.1"
    server.discovery()
    connect = socket.create_connection
    asked: list[tuple[str, int]] = []

    def redirected(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)
        return connect(("127.0.0.1", server.port), timeout)

    monkeypatch.setattr(socket, "create_connection", redirected)
    assert fetch_key_set(server.issuer)
    assert asked == [("127.0.0.1", 443)] * 2
    assert [headers["Host"] for _, headers in server.requests] == ["127.0.0.1"] * 2
    server.close()


# Time


class RawServer:
    """Sends bytes to each client, one write per item, with a pause before each."""

    def __init__(self, *writes: bytes, pause: float = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.issuer = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.writes, self.pause = writes, pause
        self.gone = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    for each in self.writes:
                        time.sleep(self.pause)
                        connection.sendall(each)
                except OSError:
                    self.gone.set()

    def close(self) -> None:
        self._listener.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "writes",
    [
        [bytes([byte]) for byte in HEAD * 20],
        [HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 1000],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\n \r\n"] * 1000],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000,
        [HEAD + b"\r\n", *[b" "] * 1000],
    ],
    ids=["head", "body", "chunks", "continue", "until it closes"],
)
def test_a_server_that_drips_is_left_at_the_deadline(writes: list[bytes]) -> None:
    server = RawServer(*writes, pause=0.02)
    assert refusal(server.issuer, seconds=0.3) in ("TimeoutError: deadline", "TimeoutError: timed out")
    assert server.gone.wait(30), "the connection is still open"
    server.close()


def test_a_server_that_is_silent_is_left_at_the_deadline() -> None:
    server = RawServer(b"", pause=60)
    assert "TimeoutError" in refusal(server.issuer, seconds=0.2)
    server.close()


def test_discovery_and_keys_share_one_deadline(server: Server) -> None:
    class Slow(dict[str, tuple[int, dict[str, str], bytes]]):
        def get(self, path: str, default: Any = None) -> Any:
            time.sleep(0.25)
            return super().get(path, default)

    server.answers = Slow(server.answers)
    assert fetch_key_set(server.issuer, seconds=60)
    assert "TimeoutError" in refusal(server.issuer, seconds=0.4)  # enough for each by itself


def test_the_deadline_is_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, now = "https://gitlab.example.com", 100.0
    given: list[float] = []

    def get(_url: str, *, seconds: float) -> bytes:
        nonlocal now
        now += 1
        given.append(seconds)
        return json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}{KEYS}"}).encode()

    monkeypatch.setattr(discovery, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(discovery, "get", get)
    fetch_key_set(issuer)
    assert given == [3.0, 2.0]


def test_a_resolver_that_hangs_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_names: release.wait(60))
    assert "TimeoutError" in refusal("https://gitlab.example.com", seconds=0.2)
    release.set()


def test_a_tls_handshake_that_hangs_is_left_at_the_deadline() -> None:
    server = RawServer(b"", pause=60)
    assert "TimeoutError" in refusal(server.issuer.replace("http:", "https:"), seconds=0.2)
    server.close()


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, connect = socket.getaddrinfo, socket.create_connection
    asked: list[tuple[str, float]] = []

    def both(host: str, *args: Any, **names: Any) -> list[Any]:
        hosts = ["127.0.0.2", "127.0.0.1"] if host == "localhost" else [host]
        return [info for each in hosts for info in look_up(each, *args, **names)]

    def connected(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append((address[0], timeout))
        if address[0] == "127.0.0.2":
            raise TimeoutError("timed out")
        return connect(address, timeout)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    monkeypatch.setattr(socket, "create_connection", connected)
    server.issuer = server.origin = f"http://localhost:{server.port}"
    server.discovery()
    assert fetch_key_set(server.issuer, seconds=60)
    assert [host for host, _ in asked] == ["127.0.0.2", "127.0.0.1"] * 2
    assert all(timeout <= 30 for host, timeout in asked if host == "127.0.0.2"), (
        "at most half of what is left"
    )


def test_a_refused_connection_is_an_error_like_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(f"http://127.0.0.1:{port}") == "ConnectionRefusedError: [Errno 111] Connection refused"


def test_a_host_that_does_not_exist_is_an_error_like_others() -> None:
    assert "gaierror" in refusal("https://gitlab.invalid", seconds=3)
    assert "Unicode" in refusal("https://" + "x" * 70 + ".invalid")


# Whatever comes


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            [HEAD, b"\r\n", b"{}", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"-1", b"9" * 30]
        )
        | st.binary(max_size=30),
        max_size=6,
    )
)
def test_any_bytes_are_refused_and_nothing_else_happens(writes: list[bytes]) -> None:
    server = RawServer(b"".join(writes))
    refusal(server.issuer, seconds=1)
    server.close()


def test_a_keyring_survives_a_server_that_does_not_speak_http() -> None:
    server = RawServer(b"SSH-2.0-OpenSSH_9.9\r\n")
    issuer = Issuer(name="corp", url=server.issuer, audience="https://deploy.example.com")
    with pytest.raises(KeysUnavailable):
        Keyring().key(issuer, "k1")
    server.close()
