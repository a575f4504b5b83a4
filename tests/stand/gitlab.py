"""The stand-in GitLab: an HTTP server with discovery, a key set and job tokens. `python -m stand.gitlab`.

The part of its REST API that deployments are reported to is in `stand.gitlab_api`, signing in with it in
`stand.gitlab_oauth`.

What a GitLab serves is served as GitLab does. Under `/-/stand/` it does what tests ask of it: issue and sign
tokens, rotate keys, send webhooks, count requests, and fail in the ways that servers fail. It listens on
loopback only.
"""

import argparse
import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from jwt.algorithms import RSAAlgorithm

from stand import gitlab_oauth, webhooks
from stand.claims import job_claims
from stand.gitlab_api import PREFIX, Api
from stand.gitlab_merge_requests import Listed
from stand.gitlab_oauth import Application, OAuth

DISCOVERY: Final = "/.well-known/openid-configuration"
KEYS: Final = "/oauth/discovery/keys"
ADMIN: Final = "/-/stand/"


@dataclass(frozen=True)
class Key:
    private: rsa.RSAPrivateKey

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint, as GitLab names its keys."""
        public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        canonical = json.dumps({name: public[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
        digest = hashes.Hash(hashes.SHA256())
        digest.update(canonical.encode())
        return unpadded(digest.finalize())

    def jwk(self) -> dict[str, str]:
        public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {
            "kty": "RSA",
            "kid": self.kid,
            "e": public["e"],
            "n": public["n"],
            "use": "sig",
            "alg": "RS256",
        }

    def sign(self, header: bytes, payload: bytes) -> str:
        """A token of exactly these bytes, whatever they are."""
        signed = f"{unpadded(header)}.{unpadded(payload)}"
        return f"{signed}.{unpadded(self.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@dataclass
class Fault:
    """How to answer GitLab's own paths.

    `mode`: `none`; `down` (hang up without an answer); `slow` (wait `seconds` first); `answer` (give
    `status`, `content_type`, `headers` and `body` instead); `flood` (never stop sending).
    `path`: only this one; empty for all.
    """

    mode: str = "none"
    path: str = ""
    seconds: float = 0
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


class GitLab:
    """Keys, tokens and faults of one instance. Safe for the server's threads.

    `issuer` is the `iss` of its tokens; `address` is its own, where that is another
    (`ci_id_tokens_issuer_url`).
    """

    def __init__(self, issuer: str, audience: str, address: str | None = None) -> None:
        self.issuer = issuer
        self.audience = audience
        self.address = address or issuer
        self.fault = Fault()
        self.requests: Counter[str] = Counter()
        self.api = Api()
        self.oauth = OAuth(self.address, self.sign_claims)
        self.hooks: dict[str, webhooks.Hook] = {}
        self._lock = threading.Lock()
        self._keys = [new_key()]

    def token(self, claims: Mapping[str, Any], *, audience: str | list[str] | None = None) -> str:
        key = self.signing_key()
        payload = job_claims(self.issuer, audience or self.audience, claims)
        return jwt.encode(payload, key.private, algorithm="RS256", headers={"kid": key.kid})

    def sign_claims(self, payload: Mapping[str, Any]) -> str:
        """A token of these claims and no others, as of a person who signs in."""
        key = self.signing_key()
        return jwt.encode(dict(payload), key.private, algorithm="RS256", headers={"kid": key.kid})

    def sign(self, header: str | None, payload: str) -> str:
        key = self.signing_key()
        usual = json.dumps({"alg": "RS256", "kid": key.kid, "typ": "JWT"})
        return key.sign((usual if header is None else header).encode("utf-8", "surrogatepass"),
                        payload.encode("utf-8", "surrogatepass"))  # fmt: skip

    def signing_key(self) -> Key:
        with self._lock:
            return self._keys[0]

    def published(self) -> list[Key]:
        with self._lock:
            return list(self._keys)

    def rotate(self, *, keep: int) -> str:
        """Sign with a new key from now on, publish `keep` older ones with it; returns the new `kid`."""
        key = new_key()
        with self._lock:
            self._keys = [key, *self._keys[:keep]]
        return key.kid

    def document(self, path: str, at: str | None = None) -> dict[str, Any]:
        """The discovery document, or the key set."""
        if path == DISCOVERY:
            return self.discovery(at)
        return {"keys": [key.jwk() for key in self.published()]}

    def discovery(self, at: str | None = None) -> dict[str, Any]:
        """What is found at an address, which is the tokens' issuer or the GitLab's own."""
        at = at or self.issuer
        return {
            "issuer": at,
            "authorization_endpoint": f"{at}/oauth/authorize",
            "token_endpoint": f"{at}/oauth/token",
            "revocation_endpoint": f"{at}/oauth/revoke",
            "introspection_endpoint": f"{at}/oauth/introspect",
            "userinfo_endpoint": f"{at}/oauth/userinfo",
            "jwks_uri": f"{at}{KEYS}",
            "scopes_supported": ["api", "read_user", "openid", "profile", "email"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claim_types_supported": ["normal"],
        }


class Handler(BaseHTTPRequestHandler):
    """GitLab's two paths, and what tests ask for under `/-/stand/`."""

    server_version = "nginx"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    gitlab: GitLab

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(ADMIN):
            self.administer(path.removeprefix(ADMIN), {})
            return
        if path.startswith(PREFIX):
            self.call_api(b"")
            return
        self.gitlab.requests[path] += 1
        if path in gitlab_oauth.PATHS:
            self.call_oauth(path, b"")
        elif path not in (DISCOVERY, KEYS):
            self.answer(404, {"error": "404 Not Found"})
        elif not self.failed(path):
            self.answer(200, self.gitlab.document(path, self.gitlab.address))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(PREFIX):
            self.call_api(body)
            return
        if self.path in gitlab_oauth.PATHS:
            self.gitlab.requests[self.path] += 1
            self.call_oauth(self.path, body)
            return
        if not self.path.startswith(ADMIN):
            self.answer(404, {"error": "404 Not Found"})
            return
        try:
            self.administer(self.path.removeprefix(ADMIN), json.loads(body or b"{}"))
        except (KeyError, TypeError, ValueError) as error:
            self.answer(400, {"error": f"{type(error).__name__}: {error}"})

    def do_PUT(self) -> None:
        self.call_api(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def call_api(self, body: bytes) -> None:
        """GitLab's REST API. As a fault's path, all of it is one: `/api/v4/`."""
        self.gitlab.requests[PREFIX] += 1
        if not self.failed(PREFIX):
            status, content = self.gitlab.api.answer(self.command, self.path, dict(self.headers), body)
            self.answer(status, content)

    def call_oauth(self, path: str, body: bytes) -> None:
        """A page for a browser, or the token endpoint."""
        if self.failed(path):
            return
        answer = self.gitlab.oauth.answer(self.command, self.path, dict(self.headers), body)
        if isinstance(answer.body, str):
            kind, content = "text/html; charset=utf-8", answer.body.encode()
        else:
            kind, content = "application/json; charset=utf-8", json.dumps(answer.body).encode()
        self.send(
            answer.status, content, {"Content-Type": kind, "Cache-Control": "no-store", **answer.headers}
        )

    def administer(self, verb: str, given: dict[str, Any]) -> None:
        gitlab = self.gitlab
        match verb:
            case "health":
                self.answer(200, {"address": gitlab.address})
            case "token":
                self.answer(200, {"token": gitlab.token(given["claims"], audience=given.get("aud"))})
            case "sign":
                self.answer(200, {"token": gitlab.sign(given.get("header"), given["payload"])})
            case "rotate":
                self.answer(200, {"kid": gitlab.rotate(keep=int(given.get("keep", 1)))})
            case "fault":
                gitlab.fault = Fault(**given)
                self.answer(200, {})
            case "webhook":
                self.answer(200, webhooks.deliver(gitlab.address, given, gitlab.hooks))
            case "requests":
                self.answer(200, dict(gitlab.requests))
            case "application":
                gitlab.oauth.applications[given["uid"]] = Application(**given)
                self.answer(200, {})
            case "user":
                user = gitlab.oauth.users[given.pop("username")]
                for name, value in given.items():
                    setattr(user, name, value)
                self.answer(200, {})
            case "claims-of-people":
                gitlab.oauth.changed_claims = given
                self.answer(200, {})
            case "api-token":
                self.answer(200, {"token": gitlab.api.rotate()})
            case "merge-request":
                gitlab.api.discussed.open(given["project"], given["number"], *given["shas"])
                self.answer(200, {})
            case "reported":
                self.answer(200, gitlab.api.reported())
            case _:
                self.answer(404, {"error": "404 Not Found"})

    def failed(self, path: str) -> bool:
        """Do what the fault says; whether that was the answer."""
        fault = self.gitlab.fault
        if fault.path not in ("", path):
            return False
        match fault.mode:
            case "slow":
                time.sleep(fault.seconds)
                return False
            case "down":
                self.close_connection = True
                return True
            case "answer":
                self.send(
                    fault.status, fault.body.encode(), {"Content-Type": fault.content_type, **fault.headers}
                )
                return True
            case "flood":
                self.flood()
                return True
        return False

    def flood(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.close_connection = True
        try:
            while True:
                self.wfile.write(b" " * 65536)
        except OSError:
            return

    def answer(self, status: int, content: Mapping[str, Any] | list[dict[str, Any]]) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if isinstance(content, Listed):
            headers |= content.headers
        self.send(status, json.dumps(content).encode(), headers)

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log GitLab's own paths. Bodies are never logged, and what tests ask for is noise."""
        if not self.path.startswith(ADMIN):
            super().log_message(format, *args)


class BucketHandler(Handler):
    """A public bucket with what GitLab publishes, for a GitLab that the internet does not reach.

    Source: https://docs.gitlab.com/ci/cloud_services/aws/#configure-a-non-public-gitlab-instance, read on
    2026-11-26. S3 serves a file that was put there without a content type as `binary/octet-stream`. It fails
    as its GitLab does, and what it is asked for counts there.
    """

    def do_GET(self) -> None:
        if self.path not in (DISCOVERY, KEYS):
            self.send_error(403)
            return
        self.gitlab.requests[self.path] += 1
        if not self.failed(self.path):
            body = json.dumps(self.gitlab.document(self.path)).encode()
            self.send(200, body, {"Content-Type": "binary/octet-stream"})

    def do_POST(self) -> None:
        self.send_error(403)

    def do_PUT(self) -> None:
        self.send_error(403)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def new_key() -> Key:
    return Key(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stand.gitlab", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--audience", required=True)
    parser.add_argument("--issuer-port", type=int, help="of a bucket, which is the tokens' issuer then")
    options = parser.parse_args()
    address, issuer = (
        f"http://127.0.0.1:{port}" for port in (options.port, options.issuer_port or options.port)
    )
    members = {"gitlab": GitLab(issuer, options.audience, address)}
    if options.issuer_port:
        bucket = Server(("127.0.0.1", options.issuer_port), type("Bucket", (BucketHandler,), members))
        threading.Thread(target=bucket.serve_forever, daemon=True).start()
    Server(("127.0.0.1", options.port), type("InstanceHandler", (Handler,), members)).serve_forever()


if __name__ == "__main__":
    main()
