"""Tokens that must not be believed, over real HTTP: each answer, and the log, names the check that failed."""

import hashlib
import hmac
import json
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from stand import Stand, package
from stand.claims import job_claims
from stand.gitlab import DISCOVERY, KEYS, new_key, unpadded
from stand.issuer import Issuer
from stand.wide import FILED_AUDIENCE, FILED_URL, OTHER_AUDIENCE, Wide

GATEWAY = "sluicegate-gateway"
NOW = int(time.time())
DAY = 86_400

Log = Callable[[str], list[dict[str, Any]]]


class Forge:
    """Makes tokens that are odd in one way, and signed by the stand-in GitLab wherever it would sign them."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.kid = jwt.get_unverified_header(stand.token())["kid"]
        self.header = {"alg": "RS256", "kid": self.kid, "typ": "JWT"}

    def claims(self, **given: Any) -> dict[str, Any]:
        return job_claims(self.stand.issuer, self.stand.audience, given)

    def header_with(self, **members: Any) -> str:
        """A good token but for these members of its header; None leaves one out."""
        header = {name: value for name, value in {**self.header, **members}.items() if value is not None}
        return self.signed(json.dumps(self.claims()), json.dumps(header))

    def signed(self, payload: str, header: str | None = None) -> str:
        """Exactly this payload (and header), with a signature that verifies."""
        return self.stand.gitlab.sign(payload, header=header)

    def unsigned(self, algorithm: str) -> str:
        header = json.dumps({**self.header, "alg": algorithm}).encode()
        return f"{unpadded(header)}.{unpadded(json.dumps(self.claims()).encode())}"

    def public_key(self) -> Any:
        published = httpx2.get(self.stand.issuer + KEYS, trust_env=False).json()["keys"]
        return RSAAlgorithm.from_jwk(next(key for key in published if key["kid"] == self.kid))

    def hmac_with_public_key(self, encoding: Encoding, form: PublicFormat) -> str:
        """The public key, which everybody has, as the secret of an HMAC."""
        secret = self.public_key().public_bytes(encoding, form)
        signed = self.unsigned("HS256")
        return f"{signed}.{unpadded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def with_member_twice(self, name: str, other: Any) -> str:
        payload = json.dumps(self.claims())
        return self.signed(f'{payload[:-1]}, "{name}": {json.dumps(other)}}}')

    def with_signature_of(self, other: str) -> str:
        return ".".join([*self.stand.token(project_id="4300").split(".")[:2], other.split(".")[2]])

    def with_trailing_bits(self) -> str:
        """The same bytes to a careless reader: a signature's last character has 4 bits to spare."""
        token = self.stand.token()
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]

    def in_the_other_alphabet(self) -> str:
        while True:
            head, payload, signature = self.stand.token().split(".")
            if "-" in signature or "_" in signature:
                return f"{head}.{payload}.{signature.replace('-', '+').replace('_', '/')}"

    def by_a_stranger(self, kid: str) -> str:
        header = json.dumps({**self.header, "kid": kid})
        return new_key().sign(header.encode(), json.dumps(self.claims()).encode())

    def rs512(self) -> str:
        key = new_key()
        signed = self.unsigned("RS512")
        return f"{signed}.{unpadded(key.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA512()))}"

    def signed_as(self, issuer: str) -> str:
        return self.signed(json.dumps(self.claims(iss=issuer)))

    def sign_in(self, **claims: Any) -> str:
        """What an application gets that people sign in to: same issuer, same keys, any audience."""
        return self.signed(
            json.dumps(
                {
                    "iss": self.stand.issuer,
                    "sub": "7",
                    "aud": self.stand.audience,
                    "exp": NOW + DAY,
                    "iat": NOW,
                    "auth_time": NOW - 60,
                    "nonce": "n",
                    "name": "Ada",
                    "nickname": "ada",
                    "preferred_username": "ada",
                    "email": "ada@example.com",
                    "email_verified": True,
                    "groups_direct": ["acme"],
                    "https://gitlab.org/claims/groups/owner": ["acme"],
                    **claims,
                }
            )
        )


@pytest.fixture(scope="module")
def forge(wide: Wide) -> Forge:
    return Forge(wide.stand)


Refusal = Callable[[str], str]


@pytest.fixture(scope="module")
def refusal(wide: Wide, gateway_log: Log) -> Refusal:
    """The check that a request with this Authorization header fails at, the same in answer and log."""

    def check(authorization: str) -> str:
        return refused(ask(wide.stand, authorization), gateway_log, secret=authorization)

    return check


def ask(stand: Stand, authorization: str) -> httpx2.Response:
    return stand.http("GET", "/whoami", headers={"Authorization": authorization})


def refused(answer: httpx2.Response, gateway_log: Log, *, secret: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token"), answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    result = answer.json()
    events = gateway_log(result["request_id"])
    assert [event["check"] for event in events if event["message"] == "request_refused"] == [result["check"]]
    everything = json.dumps([result, events])
    for part in secret.replace("Bearer ", "").split("."):
        assert len(part) < 16 or part not in everything
    return str(result["check"])


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "alg in lower case": ({"alg": "rs256"}, "alg"),
    "alg none with a signature": ({"alg": "none"}, "alg"),
    "alg RS512": ({"alg": "RS512"}, "alg"),
    "alg RS384": ({"alg": "RS384"}, "alg"),
    "alg PS256": ({"alg": "PS256"}, "alg"),
    "alg ES256": ({"alg": "ES256"}, "alg"),
    "alg missing": ({"alg": None}, "alg"),
    "alg a list": ({"alg": ["RS256"]}, "alg"),
    "crit": ({"crit": ["exp"], "exp": 1}, "crit"),
    "crit that PyJWT knows": ({"crit": ["b64"], "b64": True}, "crit"),
    "b64": ({"b64": False}, "b64"),
    "zip": ({"zip": "DEF"}, "zip"),
    "cty": ({"cty": "JWT"}, "cty"),
    "jku": ({"jku": "https://attacker.example.com/keys"}, "jku"),
    "jwk": ({"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, "jwk"),
    "x5u": ({"x5u": "https://attacker.example.com/chain"}, "x5u"),
    "x5c": ({"x5c": ["MII"]}, "x5c"),
    "typ of an access token": ({"typ": "at+jwt"}, "typ"),
    "kid missing": ({"kid": None}, "kid"),
    "kid empty": ({"kid": ""}, "kid"),
    "kid long": ({"kid": "k" * 129}, "kid"),
    "kid a number": ({"kid": 1}, "kid"),
    "kid with a bidi override": ({"kid": "k\u202e"}, "kid"),
    "kid with a line end": ({"kid": "k\nforged"}, "header"),
    "kid a path": ({"kid": "../../../../dev/null"}, "kid"),
    "kid unknown": ({"kid": "unknown"}, "kid"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_refused(name: str, forge: Forge, refusal: Refusal) -> None:
    members, check = HEADERS[name]
    assert refusal(f"Bearer {forge.header_with(**members)}") == check


CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "aud a list with ours": ({"aud": ["https://deploy.example.com"]}, "aud"),
    "aud a list with ours and another": ({"aud": ["https://deploy.example.com", "https://x"]}, "aud"),
    "aud another": ({"aud": "https://vault.example.com"}, "aud"),
    "aud a prefix of ours": ({"aud": "https://deploy.example"}, "aud"),
    "aud that begins with ours": ({"aud": "https://deploy.example.com/"}, "aud"),
    "aud in another case": ({"aud": "https://DEPLOY.example.com"}, "aud"),
    "aud empty": ({"aud": ""}, "aud"),
    "aud missing": ({"aud": None}, "aud"),
    "iss missing": ({"iss": None}, "iss"),
    "iss a list": ({"iss": ["https://gitlab.com"]}, "iss"),
    "iss of nobody we know": ({"iss": "https://gitlab.com"}, "iss"),
    "expired": ({"iat": NOW - 1800, "exp": NOW - 31}, "exp"),
    "exp before iat": ({"exp": NOW - 10}, "exp"),
    "exp missing": ({"exp": None}, "exp"),
    "exp a float": ({"exp": NOW + DAY + 0.5}, "exp"),
    "exp a round float": ({"exp": float(NOW + DAY)}, "exp"),
    "exp a string": ({"exp": str(NOW + DAY)}, "exp"),
    "exp true": ({"exp": True}, "exp"),
    "exp in milliseconds": ({"exp": (NOW + DAY) * 1000}, "exp"),
    "exp far away": ({"iat": NOW - 10, "exp": NOW + 31 * DAY}, "exp"),
    "iat in the future": ({"iat": NOW + DAY, "exp": NOW + 2 * DAY, "nbf": NOW - 5}, "iat"),
    "iat missing": ({"iat": None, "exp": NOW + DAY, "nbf": NOW}, "iat"),
    "iat a float": ({"iat": NOW + 0.5}, "iat"),
    "nbf in the future": ({"nbf": NOW + DAY}, "nbf"),
    "nbf missing": ({"nbf": None}, "nbf"),
    "nbf a string": ({"nbf": str(NOW)}, "nbf"),
    "older than max_age": ({"iat": NOW - 3601, "exp": NOW + DAY}, "max_age"),
    "jti missing": ({"jti": None}, "jti"),
    "jti empty": ({"jti": ""}, "jti"),
    "jti a number": ({"jti": 1}, "jti"),
    "sub missing": ({"sub": None}, "sub"),
    "sub a number": ({"sub": 7}, "sub"),
    "ref missing": ({"ref": None}, "ref"),
    "ref a list": ({"ref": ["v1"]}, "ref"),
    "ref_type missing": ({"ref_type": None}, "ref_type"),
    "pipeline_source empty": ({"pipeline_source": ""}, "pipeline_source"),
    "project_id missing": ({"project_id": None}, "project_id"),
    "project_id a number": ({"project_id": 4213}, "project_id"),
    "project_id with a space": ({"project_id": "4213 "}, "project_id"),
    "project_id in other digits": ({"project_id": "\u0664\u0662\u0661\u0663"}, "project_id"),
    "project_id with a sign": ({"project_id": "+4213"}, "project_id"),
    "pipeline_id empty": ({"pipeline_id": ""}, "pipeline_id"),
    "job_id missing": ({"job_id": None}, "job_id"),
    "job_id a number": ({"job_id": 302}, "job_id"),
    "a line end in ref": ({"ref": "v1\nforged"}, "payload"),
    "an escape sequence in a claim's name": ({"\u001b[2J": "x"}, "payload"),
    "too large": ({"user_login": "a" * 8192}, "token"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_payload_that_is_refused(name: str, forge: Forge, refusal: Refusal) -> None:
    given, check = CLAIMS[name]
    claims = {key: value for key, value in (forge.claims() | given).items() if value is not None}
    if "iat" in given and "nbf" not in given:
        claims["nbf"] = NOW - 3700
    assert refusal(f"Bearer {forge.signed(json.dumps(claims))}") == check


FORGED: dict[str, tuple[Callable[[Forge], str], str]] = {
    "no algorithm and no signature": (lambda f: f"{f.unsigned('none')}.", "alg"),
    "the public key as an HMAC's secret, PEM": (
        lambda f: f.hmac_with_public_key(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "alg",
    ),
    "the public key as an HMAC's secret, DER": (
        lambda f: f.hmac_with_public_key(Encoding.DER, PublicFormat.PKCS1),
        "alg",
    ),
    "RS512 by a stranger": (lambda f: f.rs512(), "alg"),
    "a stranger's key under our kid": (lambda f: f.by_a_stranger(f.kid), "signature"),
    "another token's signature": (lambda f: f.with_signature_of(f.stand.token()), "signature"),
    "no signature": (lambda f: f.stand.token().rsplit(".", 1)[0] + ".", "signature"),
    "a short signature": (lambda f: f.stand.token()[:-6], "signature"),
    "a claim twice": (lambda f: f.with_member_twice("project_id", "4213"), "payload"),
    "a header's member twice": (
        lambda f: f.signed(json.dumps(f.claims()), f'{{"alg": "none", {json.dumps(f.header)[1:]}'),
        "header",
    ),
    "members twice, deep within": (lambda f: f.signed('{"x": [{"y": 1, "y": 1}]}'), "payload"),
    "a payload that is no object": (lambda f: f.signed('["iss"]'), "payload"),
    "a payload with a byte order mark": (lambda f: f.signed("\ufeff" + json.dumps(f.claims())), "payload"),
    "a payload with NaN": (lambda f: f.signed(json.dumps(f.claims(exp=float("nan")))), "payload"),
    "a payload with an infinity": (lambda f: f.signed('{"exp": 1e999}'), "payload"),
    "a payload too deep": (lambda f: f.signed('{"x": ' + "[" * 8 + "]" * 8 + "}"), "payload"),
    "a payload with a lone surrogate": (lambda f: f.signed('{"ref": "\\ud800"}'), "payload"),
    "a number with 5,000 digits": (lambda f: f.signed('{"x": ' + "9" * 5000 + "}"), "payload"),
    "a sign-in token": (lambda f: f.sign_in(), "nbf"),
    "a sign-in token with nbf": (lambda f: f.sign_in(nbf=NOW), "jti"),
    "a sign-in token with nbf and jti": (lambda f: f.sign_in(nbf=NOW, jti="1"), "ref"),
    "the issuer with a slash at its end": (lambda f: f.signed_as(f.stand.issuer + "/"), "iss"),
    "the issuer by another name of its host": (
        lambda f: f.signed_as(f.stand.issuer.replace("127.0.0.1", "localhost")),
        "iss",
    ),
    "two parts": (lambda f: f.stand.token().rsplit(".", 1)[0], "token"),
    "four parts": (lambda f: f.stand.token() + ".e30", "token"),
    "five parts, encrypted": (lambda _: "e30.e30.e30.e30.e30", "token"),
    "a padded part": (lambda f: f.stand.token() + "==", "token"),
    "spare bits": (lambda f: f.with_trailing_bits(), "token"),
    "the other base64 alphabet": (lambda f: f.in_the_other_alphabet(), "token"),
    "two spaces": (lambda f: " " + f.stand.token(), "token"),
    "a tab after it": (lambda f: f.stand.token() + "\tx", "token"),
    "a comma and another token": (lambda f: f"{f.stand.token()}, Bearer {f.stand.token()}", "token"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(name: str, forge: Forge, refusal: Refusal) -> None:
    make, check = FORGED[name]
    assert refusal(f"Bearer {make(forge)}") == check


@pytest.mark.parametrize(
    ("scheme", "check"),
    [
        ("Bearer", "token"),
        ("Basic {}", "authorization"),
        ("{}", "authorization"),
        ("Bearer:{}", "authorization"),
        ("JWT {}", "authorization"),
        ("BearerX {}", "authorization"),
        ("Bearer\t{}", "authorization"),
    ],
)
def test_another_scheme_is_refused(scheme: str, check: str, wide: Wide, refusal: Refusal) -> None:
    assert refusal(scheme.format(wide.stand.token())) == check


def test_no_credential_at_all_is_refused(wide: Wide, gateway_log: Log) -> None:
    assert refused(wide.stand.http("GET", "/whoami"), gateway_log, secret="") == "authorization"


def test_a_token_elsewhere_than_in_its_header_is_none(wide: Wide, gateway_log: Log) -> None:
    token = wide.stand.token()
    for headers, query in (
        ({"X-Gitlab-Token": token, "Proxy-Authorization": f"Bearer {token}"}, {}),
        ({"Cookie": f"Authorization=Bearer {token}"}, {}),
        ({}, {"access_token": token}),
    ):
        answer = wide.stand.http("GET", "/whoami", headers=headers, params=query)
        assert refused(answer, gateway_log, secret=token) == "authorization"


def test_two_authorization_headers_are_refused(wide: Wide) -> None:
    """On the wire. The emulator joins the two into one; API Gateway gives both, as the next test does."""
    good = wide.stand.token()
    endpoint = urlsplit(wide.stand.endpoint)
    head = f"GET /v1/whoami HTTP/1.1\r\nHost: {endpoint.netloc}\r\nConnection: close\r\n"
    two = f"Authorization: Bearer {good}\r\nauthorization: Bearer {good}\r\n"
    with socket.create_connection((endpoint.hostname, endpoint.port), timeout=40) as sock:
        sock.sendall(f"{head}{two}\r\n".encode())
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    status, _, body = received.partition(b"\r\n\r\n")
    assert b" 401 " in status.splitlines()[0]
    assert good.encode() not in received
    assert json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["check"] == "token"


def test_two_authorization_headers_as_api_gateway_gives_them_are_refused(wide: Wide) -> None:
    good = f"Bearer {wide.stand.token()}"
    for headers in ({"Authorization": [good, good]}, {"Authorization": [good], "authorization": [good]}, {}):
        event = {"httpMethod": "GET", "resource": "/whoami", "multiValueHeaders": headers}
        answer = wide.stand.invoke(GATEWAY, {**event, "requestContext": {"requestId": "direct"}})
        assert (answer["statusCode"], json.loads(answer["body"])["check"]) == (401, "authorization")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_in_any_case(scheme: str, wide: Wide) -> None:
    assert ask(wide.stand, f"{scheme} {wide.stand.token()}").status_code == 200


def test_clocks_may_differ_by_half_a_minute(wide: Wide) -> None:
    now = int(time.time())
    just_expired = {"iat": now - 600, "nbf": now - 605, "exp": now - 10}
    just_ahead = {"iat": now + 20, "nbf": now + 20, "exp": now + 600}
    for claims in (just_expired, just_ahead):
        assert ask(wide.stand, f"Bearer {wide.stand.token(**claims)}").status_code == 200


# Several issuers


def test_each_issuer_vouches_for_its_own_tokens_only(wide: Wide, forge: Forge, refusal: Refusal) -> None:
    others = jwt.get_unverified_header(wide.other_token())["kid"]
    header = json.dumps({**forge.header, "kid": others})
    posing = json.dumps(forge.claims())
    cases = {
        "the other's key, the other's kid": (wide.other.sign(posing), "kid"),
        "the other's key, our kid": (wide.other.sign(posing, header=json.dumps(forge.header)), "signature"),
        "our key, the other's kid": (forge.signed(posing, header), "kid"),
        "the other's issuer, our audience": (wide.other_token(aud=wide.stand.audience), "aud"),
        "our issuer, the other's audience": (wide.stand.token(aud=OTHER_AUDIENCE), "aud"),
        "the filed issuer, another key": (wide.filed_token(new_key()), "signature"),
        "the filed issuer by the other": (
            wide.other.sign(json.dumps({**forge.claims(), "iss": FILED_URL, "aud": FILED_AUDIENCE})),
            "kid",
        ),
    }
    assert {name: refusal(f"Bearer {token}") for name, (token, _) in cases.items()} == {
        name: check for name, (_, check) in cases.items()
    }


def test_a_gitlab_that_nobody_can_reach_is_known_by_its_file(wide: Wide) -> None:
    result = ask(wide.stand, f"Bearer {wide.filed_token()}").json()
    assert (result["issuer"], result["project_id"]) == (FILED_URL, "4213")
    assert result["rules"] == []


def test_the_same_project_id_at_another_issuer_is_another_project(wide: Wide) -> None:
    stand, function = wide.stand, f"orders-{uuid4().hex[:8]}"
    ours, theirs = stand.token(), wide.other_token()
    sha256 = stand.upload(function, package("here = 1\n"), token=ours)
    accepted = deploy(stand, function, sha256, ours)
    stand.wait(accepted.json()["id"], token=ours)

    result = ask(stand, f"Bearer {theirs}").json()
    assert (result["project_id"], result["issuer"]) == ("4213", wide.other_url)
    assert [rule["name"] for rule in result["rules"]] == ["orders of the other gitlab"]
    assert stand.http("GET", f"/deployments/{accepted.json()['id']}", token=theirs).status_code == 404
    listed = stand.http("GET", "/deployments", token=theirs, params={"function": function}).json()
    assert listed["items"] == []
    denied = deploy(stand, function, sha256, theirs)
    assert (denied.status_code, denied.json()["nearest"]) == (
        403,
        [{"rule": "orders of the other gitlab", "failed": []}],
    )


def test_jobs_and_tokens_of_two_issuers_are_told_apart(wide: Wide) -> None:
    """The same job id, idempotency key and jti: neither finds nor binds what the other asked for."""
    stand, function = wide.stand, f"shared-{uuid4().hex[:8]}"
    same = {"job_id": str(uuid4().int % 10**9), "jti": str(uuid4())}
    ours, theirs = stand.token(**same), wide.other_token(**same)
    one = stand.upload(function, package("one = 1\n"), token=ours)
    two = stand.upload(function, package("two = 2\n"), token=theirs)
    first = deploy(stand, function, one, ours, key="same")
    stand.wait(first.json()["id"], token=ours)
    second = deploy(stand, function, two, theirs, key="same")
    assert (first.status_code, second.status_code) == (202, 202), second.text
    done = stand.wait(second.json()["id"], token=theirs)
    assert (done["id"] != first.json()["id"], done["requested_by"]["issuer"]) == (True, wide.other_url)


def test_the_lock_of_a_function_is_one_for_all_issuers(wide: Wide) -> None:
    stand, function = wide.stand, f"shared-{uuid4().hex[:8]}"
    ours, theirs = stand.token(), wide.other_token()
    sha256 = stand.upload(function, package("one = 1\n"), token=ours)
    lambda_ = stand.client("lambda")
    lambda_.put_function_concurrency(FunctionName="sluicegate-deployer", ReservedConcurrentExecutions=0)
    try:
        first, second = (deploy(stand, function, sha256, token) for token in (ours, theirs))
    finally:
        lambda_.put_function_concurrency(FunctionName="sluicegate-deployer", ReservedConcurrentExecutions=20)
    assert first.status_code == 202
    assert (second.status_code, second.json()["code"]) == (409, "busy")
    stand.wait(first.json()["id"], token=ours, patience=120)


def deploy(
    stand: Stand, function: str, sha256: str, token: str, *, key: str | None = None
) -> httpx2.Response:
    body = {"action": "deploy", "function": function, "stage": "dev", "artifact": {"sha256": sha256}}
    headers = {"Idempotency-Key": key} if key else {}
    return stand.http("POST", "/deployments", body, token=token, headers=headers)


# Keys


def fresh(stand: Stand) -> None:
    """A gateway that has fetched no keys yet."""
    stand.kill_workers(GATEWAY)


def fetches(gitlab: Issuer) -> int:
    return gitlab.requests().get(DISCOVERY, 0)


def test_unknown_keys_do_not_make_each_request_a_fetch(wide: Wide) -> None:
    fresh(wide.stand)
    before = fetches(wide.other)
    for _ in range(25):
        header = json.dumps({"alg": "RS256", "kid": secrets.token_hex(8), "typ": "JWT"})
        token = wide.other.sign(json.dumps(job_claims(wide.other_url, OTHER_AUDIENCE, {})), header=header)
        assert ask(wide.stand, f"Bearer {token}").json()["check"] == "kid"
    assert ask(wide.stand, f"Bearer {wide.other_token()}").status_code == 200
    assert fetches(wide.other) - before == len(wide.stand.workers(GATEWAY)) == 1


def test_keys_are_asked_for_last(wide: Wide, refusal: Refusal) -> None:
    """A token that cannot be valid causes no fetch, whatever kid it names."""
    fresh(wide.stand)
    before = fetches(wide.other)
    for claims in ({"exp": NOW - 600}, {"nbf": None}, {"jti": None}, {"project_id": 4213}):
        refusal(f"Bearer {wide.other_token(**claims)}")
    assert fetches(wide.other) == before


def test_no_outage_of_gitlab_refuses_a_key_that_is_known(wide: Wide) -> None:
    known = wide.other_token()
    assert ask(wide.stand, f"Bearer {known}").status_code == 200
    with wide.other.failing("down"):
        assert ask(wide.stand, f"Bearer {wide.other_token()}").status_code == 200


BROKEN: dict[str, dict[str, Any]] = {
    "down": {"mode": "down"},
    "another issuer in discovery": {
        "mode": "answer",
        "path": DISCOVERY,
        "body": '{"issuer": "https://attacker.example.com", "jwks_uri": "https://attacker.example.com/keys"}',
    },
    "an endless answer": {"mode": "flood", "path": KEYS},
    "a redirect": {"mode": "answer", "path": KEYS, "status": 302, "headers": {"Location": KEYS + "?1"}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_without_keys_nobody_gets_in_and_all_are_told_to_come_again(
    name: str, wide: Wide, gateway_log: Log
) -> None:
    token = wide.other_token()
    fresh(wide.stand)
    with failing(wide.other, BROKEN[name]):
        answer = ask(wide.stand, f"Bearer {token}")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    events = gateway_log(answer.json()["request_id"])
    assert [event["check"] for event in events if event["message"] == "request_refused"] == ["keys"]
    # The other issuer's outage is its own.
    assert ask(wide.stand, f"Bearer {wide.stand.token()}").status_code == 200


def failing(gitlab: Issuer, how: dict[str, Any]) -> AbstractContextManager[None]:
    rest = {name: value for name, value in how.items() if name != "mode"}
    return gitlab.failing(how["mode"], **rest)


def test_one_bad_key_does_not_spoil_the_others_and_is_not_used(wide: Wide) -> None:
    """Of an attacker's making: under a kid twice, and with its private half. Both are of no use."""
    good = httpx2.get(wide.other_url + KEYS, trust_env=False).json()["keys"]
    twice, private = new_key(), new_key()
    entries = [
        *good,
        {**twice.jwk(), "kid": "twice"},
        {**new_key().jwk(), "kid": "twice"},
        {**private.jwk(), "kid": "private", "d": "AQAB"},
        {**private.jwk(), "kid": "encrypting", "use": "enc"},
    ]
    payload = json.dumps(job_claims(wide.other_url, OTHER_AUDIENCE, {})).encode()
    fresh(wide.stand)
    with failing(wide.other, {"mode": "answer", "path": KEYS, "body": json.dumps({"keys": entries})}):
        assert ask(wide.stand, f"Bearer {wide.other_token()}").status_code == 200
        for kid, key in (("twice", twice), ("private", private), ("encrypting", private)):
            header = json.dumps({"alg": "RS256", "kid": kid}).encode()
            answer = ask(wide.stand, f"Bearer {key.sign(header, payload)}")
            assert (answer.status_code, answer.json()["check"]) == (401, "kid")


def test_after_a_rotation_both_keys_hold_and_a_removed_one_does_not(wide: Wide) -> None:
    old = wide.other_token()
    wide.other.rotate(keep=1)
    fresh(wide.stand)
    for token in (wide.other_token(), old):
        assert ask(wide.stand, f"Bearer {token}").status_code == 200
    wide.other.rotate(keep=0)
    fresh(wide.stand)
    assert ask(wide.stand, f"Bearer {wide.other_token()}").status_code == 200
    gone = ask(wide.stand, f"Bearer {old}")
    assert (gone.status_code, gone.json()["check"]) == (401, "kid")
