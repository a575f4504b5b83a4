"""Authenticate a request by its ID token. guarantees.md#6-deny-by-default"""

from sluicegate.gateway.authorization import check_denied
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.problems import invalid_token, unavailable
from sluicegate.oidc.identity import Identity
from sluicegate.oidc.jwks import KeysUnavailable
from sluicegate.oidc.token import InvalidToken, verify


def authenticate(context: Context, request: GatewayRequest) -> Identity:
    """Return the identity that the request's token proves.

    Raises a Problem: 401 if the token does not verify, 503 if the issuer's keys are unavailable, 403 if the
    gate file denies the identity.
    """
    try:
        identity = verify(
            request.headers.get("authorization", []),
            issuers=context.gate.issuers,
            keys=context.keys,
            now=context.clock(),
        )
    except InvalidToken as error:
        context.log("request_refused", code="invalid_token", check=error.check)
        raise invalid_token(error.check, error.detail) from None
    except KeysUnavailable as error:
        context.log("request_refused", code="unavailable", check="keys")
        raise unavailable(
            "The issuer's signing keys are temporarily unavailable", error.retry_after
        ) from None
    check_denied(context, identity)
    return identity
