"""API Gateway's `AWS_IAM` and AWS STS over HTTP: signatures are verified by botocore's own signer.

What API Gateway answers to a signature that does not match quotes the canonical request, with the session's
token and every other signed header. Recorded in mhart/aws4#33 and aws/aws-sdk-js#2372 (both `execute-api`);
`x-amzn-ErrorType` in amzn/selling-partner-api-models#113. Read on 2026-11-26.
STS's documents: its API reference, `AssumeRoleWithWebIdentity`, "Sample Response" and "Errors"; messages from
aws-actions/configure-aws-credentials#318, #1309 and awslabs/amazon-eks-irsa-cfn#18.
"""

import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION: Final = "eu-central-1"
SERVICE: Final = "execute-api"
LEEWAY: Final = timedelta(minutes=5)
ROLE: Final = "arn:aws:iam::111122223333:role/sluicegate-caller"

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w+)/(?P<scope>\d{8}/[a-z0-9-]+/[a-z0-9-]+/aws4_request), ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


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
        """Check a request as AWS documents it: IAM user guide, "Create a signed AWS API request"."""
        if "authorization" not in headers:
            raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
        given = _AUTHORIZATION.fullmatch(headers["authorization"])
        if given is None:
            raise Refusal("IncompleteSignatureException", "Authorization header is malformed")
        signed = given["signed"].split(";")
        must = {name.lower() for name in headers if name.lower().startswith("x-amz-")} | {"host"}
        must |= {"content-type"} & {name.lower() for name in headers}
        doubled = [name for name in signed if len(headers.get_all(name, [])) != 1]
        if signed != sorted(set(signed)) or must - set(signed) or doubled:
            message = f"must be signed: {sorted(must - set(signed))}; not there once: {doubled}"
            raise Refusal("IncompleteSignatureException", message)
        session = self.sessions.get(given["key"])
        if session is None or headers["x-amz-security-token"] != session.token:
            message = "The security token included in the request is invalid."
            raise Refusal("UnrecognizedClientException", message)
        stamp, now = headers["x-amz-date"], datetime.now(UTC)
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if given["scope"] != f"{at:%Y%m%d}/{REGION}/{SERVICE}/aws4_request":
            raise Refusal("InvalidSignatureException", f"Credential should be scoped to {REGION}")
        if abs(now - at) > LEEWAY:
            raise Refusal("InvalidSignatureException", f"Signature expired: {stamp} is not within 5 min.")
        if now >= session.expires:
            raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
        self._compare(given["signature"], method, path, headers, body, signed, session)
        return session

    def _compare(
        self,
        signature: str,
        method: str,
        path: str,
        headers: "Message[str, str]",
        body: bytes,
        signed: list[str],
        session: Session,
    ) -> None:
        signer = SigV4Auth(Credentials(session.access_key, session.secret_key), SERVICE, REGION)
        request = AWSRequest(
            method=method,
            url=f"http://{headers['host']}{path}",
            headers={name: headers[name] for name in signed},
            data=body,
        )
        request.context["timestamp"] = headers["x-amz-date"]
        canonical = signer.canonical_request(request)
        ours = signer.signature(signer.string_to_sign(request, canonical), request)
        if not hmac.compare_digest(ours, signature):
            raise Refusal(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your"
                " AWS Secret Access Key and signing method. Consult the service documentation for details."
                f"\n\nThe Canonical String for this request should have been\n'{canonical}'\n",
            )


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
