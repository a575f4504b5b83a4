"""API Gateway's `AWS_IAM` and AWS STS over HTTP: signatures are verified by `sigv4_model`.

`x-amzn-ErrorType`: amzn/selling-partner-api-models#113, read on 2026-11-26.
STS's documents: its API reference, `AssumeRoleWithWebIdentity`, "Sample Response" and "Errors"; messages from
aws-actions/configure-aws-credentials#318, #1309 and awslabs/amazon-eks-irsa-cfn#18.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from support.cli_server import ReceivedRequest
from support.sigv4_model import IssuedKey, refusal, signed_headers

REGION: Final = "eu-central-1"
ROLE: Final = "arn:aws:iam::111122223333:role/sluicegate-caller"


class Refusal(Exception):
    """What API Gateway or STS answers instead: the type or code, and the message."""

    def __init__(self, kind: str, message: str, status: int = 403) -> None:
        super().__init__(kind)
        self.kind, self.message, self.status = kind, message, status


@dataclass(frozen=True)
class Session:
    """Credentials that STS has given."""

    access_key: str
    secret_key: str
    token: str
    expires: datetime

    @classmethod
    def new(cls, seconds: int) -> "Session":
        """Return one with every character that base64 has."""
        return cls(
            f"ASIA{secrets.token_hex(8).upper()}",
            f"{secrets.token_hex(12)}/+{secrets.token_hex(7)}",
            f"IQoJb3JpZ2luX2Vj//+{secrets.token_hex(300)}/==",
            datetime.now(UTC) + timedelta(seconds=seconds),
        )

    def document(self) -> str:
        return (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n'
            "  <AssumeRoleWithWebIdentityResult>\n"
            "    <Audience>https://sts.example.com</Audience>\n"
            "    <AssumedRoleUser>\n"
            "      <AssumedRoleId>AROACALLER1111111111A:x</AssumedRoleId>\n"
            "    </AssumedRoleUser>\n"
            "    <Credentials>\n"
            f"      <AccessKeyId>{self.access_key}</AccessKeyId>\n"
            f"      <SecretAccessKey>{self.secret_key}</SecretAccessKey>\n"
            f"      <SessionToken>{self.token}</SessionToken>\n"
            f"      <Expiration>{self.expires:%Y-%m-%dT%H:%M:%SZ}</Expiration>\n"
            "    </Credentials>\n"
            "  </AssumeRoleWithWebIdentityResult>\n"
            "</AssumeRoleWithWebIdentityResponse>\n"
        )


@dataclass(frozen=True)
class Call:
    """A request whose signature is right."""

    method: str
    path: str
    """With its query."""

    headers: "Message[str, str]"
    body: bytes
    session: Session

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = tuple[int, dict[str, str], str]


@dataclass
class SignedApi:
    """Both servers on one port: STS at `/sts/`, the API at `/v1/iam/`, uploads at `/bucket/`."""

    respond: Callable[[Call], Answer]
    """What the API answers to a call that API Gateway lets through. May raise Refusal."""

    sts: Callable[[dict[str, str]], Session | Refusal]
    """What STS answers to these parameters."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    assumed: list[dict[str, str]] = field(default_factory=list)
    """The parameters of each request to STS."""

    refused: list[Refusal] = field(default_factory=list)
    uploads: "list[Message[str, str]]" = field(default_factory=list)
    """The headers of each upload."""

    sessions: dict[str, Session] = field(default_factory=dict)

    @property
    def sts_url(self) -> str:
        return self.url.removesuffix("/v1") + "/sts"

    @property
    def canaries(self) -> set[str]:
        """Every secret that STS has given."""
        return {secret for each in self.sessions.values() for secret in (each.secret_key, each.token)}

    def handle(self, method: str, path: str, headers: "Message[str, str]", body: bytes) -> Answer:
        if path.startswith("/bucket/"):
            self.uploads.append(headers)
            return 200, {}, ""
        if path.startswith("/sts"):
            return self._assume(body)
        if not path.startswith("/v1/iam/"):
            return 403, {"x-amzn-ErrorType": "MissingAuthenticationTokenException"}, "{}"
        try:
            call = Call(method, path, headers, body, self._verified(method, path, headers, body))
            self.calls.append(call)
            return self.respond(call)
        except Refusal as refusal:
            self.refused.append(refusal)
            text = json.dumps({"message": refusal.message})
            return refusal.status, {"x-amzn-ErrorType": refusal.kind}, text

    def _assume(self, body: bytes) -> Answer:
        given = {name: value for name, (value,) in parse_qs(body.decode(), strict_parsing=True).items()}
        self.assumed.append(given)
        outcome = self.sts(given)
        if isinstance(outcome, Refusal):
            error = f"<Type>Sender</Type>\n<Code>{outcome.kind}</Code>\n<Message>{outcome.message}</Message>"
            xmlns = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
            return outcome.status, {}, f"<ErrorResponse {xmlns}>\n<Error>{error}</Error>\n</ErrorResponse>\n"
        self.sessions[outcome.access_key] = outcome
        return 200, {"Content-Type": "text/xml"}, outcome.document()

    def _verified(self, method: str, path: str, headers: "Message[str, str]", body: bytes) -> Session:
        doubled = [name for name in headers if len(headers.get_all(name, [])) != 1]
        if doubled:
            raise Refusal("IncompleteSignatureException", f"not there once: {doubled}")
        bare, _, query = path.partition("?")
        given = {name.lower(): value for name, value in headers.items()}
        keys = {
            key: IssuedKey(each.secret_key, each.token, each.expires.timestamp())
            for key, each in self.sessions.items()
        }
        asked = ReceivedRequest(method, bare, query, given, body)
        if found := refusal(asked, keys, region=REGION, now=time.time(), base=""):
            raise Refusal(*found)
        signed = set(signed_headers(asked))
        must = {"content-type"} & given.keys()
        if must - signed:
            raise Refusal("IncompleteSignatureException", f"must be signed: {sorted(must)}")
        used = given["authorization"].partition("Credential=")[2].partition("/")[0]
        return self.sessions[used]


@contextmanager
def served(api: SignedApi) -> Iterator[SignedApi]:
    """Serve it on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            assert urlsplit(self.path).fragment == ""
            status, headers, text = api.handle(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: the test says what is of interest."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield api
        server.shutdown()
