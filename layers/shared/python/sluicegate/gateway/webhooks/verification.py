"""Verify that a delivery is from a holder of the webhook's secret. security.md#webhooks

Each scheme returns a check of one secret, so that no secret is read for a delivery that cannot verify.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from sluicegate.gateway.problems import not_allowed
from sluicegate.oidc.signed_token import InvalidToken

Headers: TypeAlias = Mapping[str, Sequence[str]]

SecretCheck: TypeAlias = Callable[[str], bool]
"""Whether a delivery verifies with a secret."""

_ID: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_SIGNATURES: Final = re.compile(r"[\x20-\x7e]{1,2048}", re.ASCII)
_TOKEN: Final = re.compile(r"[\s\S]{1,4096}")


def signature_check(headers: Headers, body: bytes) -> SecretCheck:
    """Return a check of a Standard Webhooks signature (https://www.standardwebhooks.com/).

    It takes a `whsec_` secret. The library tolerates five minutes by the system's clock. Raises InvalidToken
    if no secret can verify the delivery.
    """
    sent = {
        "webhook-id": _only(headers, "webhook-id", _ID),
        "webhook-timestamp": _only(headers, "webhook-timestamp", _TIMESTAMP),
        "webhook-signature": _only(headers, "webhook-signature", _SIGNATURES),
    }
    _check_key(headers, sent["webhook-id"])

    def verifies(secret: str) -> bool:
        from standardwebhooks import Webhook as Verifier  # imported here: no other path needs it

        try:
            Verifier(secret).verify(body, sent, json_parse=False)
        except Exception:  # not only its own: whatever it raises, nothing was verified
            return False
        return True

    return verifies


def token_check(headers: Headers) -> SecretCheck:
    """Return a check of `X-Gitlab-Token`, in constant time. Raises InvalidToken if none can verify it."""
    sent = _only(headers, "x-gitlab-token", _TOKEN).encode("utf-8", "surrogatepass")
    return lambda secret: bool(secret) and hmac.compare_digest(sent, secret.encode("utf-8", "surrogatepass"))


def check_instance(gitlab: str, headers: Headers) -> None:
    """Raise 403 unless `X-Gitlab-Instance`, if sent, is the address of the issuer's GitLab.

    The header is not signed, so it proves nothing: it is read once the sender has been authenticated.
    It has no path, even where GitLab has one (`Gitlab.config.gitlab.base_url`).
    """
    for instance in headers.get("x-gitlab-instance", ()):
        if gitlab != instance and not gitlab.startswith(f"{instance}/"):
            raise not_allowed("X-Gitlab-Instance is not the address of the webhook's GitLab in the gate file")


def _check_key(headers: Headers, identifier: str) -> None:
    """Raise InvalidToken if GitLab's two headers for one id differ: only one of them is signed."""
    keys = headers.get("idempotency-key", ())
    if len(keys) > 1 or any(key != identifier for key in keys):
        raise InvalidToken("idempotency-key", "not the webhook-id that is signed")


def _only(headers: Headers, name: str, form: re.Pattern[str]) -> str:
    values = headers.get(name, ())
    if len(values) != 1:  # of two, a proxy might have checked the other
        raise InvalidToken(name, f"{len(values)} headers, not one")
    if not form.fullmatch(values[0]):
        raise InvalidToken(name, "malformed")
    return values[0]
