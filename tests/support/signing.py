"""Real keys, and tokens whose signature verifies however odd they are: the checks must refuse them."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

NOW = 1_795_400_000
ISSUER = "https://gitlab.example.com"
AUDIENCE = "https://deploy.example.com"

# The claims of a job of GitLab's, as its documentation shows them.
CLAIMS: dict[str, Any] = {
    "namespace_id": "72",
    "namespace_path": "acme",
    "project_id": "4213",
    "project_path": "acme/orders",
    "user_id": "7",
    "user_login": "ada",
    "user_email": "ada@example.com",
    "user_access_level": "developer",
    "user_identities": [{"provider": "saml", "extern_uid": "ada"}],
    "pipeline_id": "574",
    "pipeline_source": "push",
    "job_id": "302",
    "ref": "main",
    "ref_type": "branch",
    "ref_path": "refs/heads/main",
    "ref_protected": "true",
    "groups_direct": ["acme", "acme/platform"],
    "environment": "production",
    "environment_protected": "true",
    "deployment_tier": "production",
    "environment_action": "start",
    "runner_id": 1,
    "runner_environment": "self-hosted",
    "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "project_visibility": "private",
    "ci_config_ref_uri": "gitlab.example.com/acme/orders//.gitlab-ci.yml@refs/heads/main",
    "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
    "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
    "iat": NOW - 60,
    "nbf": NOW - 65,
    "exp": NOW + 3540,
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "project_path:acme/orders:ref_type:branch:ref:main",
}


_keys: dict[tuple[str, int], rsa.RSAPrivateKey] = {}


def key(name: str = "k1", bits: int = 2048) -> rsa.RSAPrivateKey:
    """The key of that name, made once: making one takes long."""
    if (name, bits) not in _keys:
        _keys[name, bits] = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return _keys[name, bits]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk(name: str = "k1", **members: Any) -> dict[str, Any]:
    """The public JWK of `key(name)` as GitLab publishes it; a member of None is left out."""
    public = key(name).public_key().public_numbers()
    whole = {
        "kty": "RSA",
        "kid": name,
        "use": "sig",
        "alg": "RS256",
        "n": number(public.n),
        "e": number(public.e),
    }
    return {name: value for name, value in (whole | members).items() if value is not None}


def jwks(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signed(header: bytes, payload: bytes, signer: rsa.RSAPrivateKey | None = None) -> str:
    """A token of these very bytes, with an RS256 signature that verifies."""
    message = f"{b64(header)}.{b64(payload)}"
    signature = (signer or key()).sign(message.encode(), padding.PKCS1v15(), SHA256())
    return f"{message}.{b64(signature)}"


def token(claims: Mapping[str, Any] | None = None, **header: Any) -> str:
    """GitLab's token with these claims instead; one of None is left out, in claims and header alike."""
    whole = {"alg": "RS256", "kid": "k1", "typ": "JWT"} | header
    return signed(_json(whole), _json(CLAIMS | dict(claims or {})))


def _json(members: Mapping[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()
