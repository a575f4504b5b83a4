"""Authenticate a request: by its ID token, its session, or the principal who signed it.

guarantees.md#6-deny-by-default
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sluicegate.gate.principals import CLAIMS as PRINCIPAL_CLAIMS
from sluicegate.gateway.authorization import check_denied
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest
from sluicegate.gateway.persons import check_one_person
from sluicegate.gateway.principals import RefusedPrincipal, read_principal
from sluicegate.gateway.problems import (
    Problem,
    invalid_request,
    invalid_token,
    refused_principal,
    unavailable,
)
from sluicegate.gateway.sessions import signed_in
from sluicegate.oidc.identity import Identity, Principal
from sluicegate.oidc.jwks import KeysUnavailable
from sluicegate.oidc.signed_token import InvalidToken
from sluicegate.oidc.token import verify, verify_beside_signature
from sluicegate.store.sessions import is_bearer
from sluicegate.text import clean

TOKEN_HEADER: Final = "sluicegate-id-token"  # noqa: S105 (the name, not a token)
"""The header of a signed request's ID token, in lower case."""


def authenticate(context: Context, request: GatewayRequest) -> Identity:
    """Return the identity that the request's token, or session, proves.

    A bearer that begins as a session's is one and nothing else, and any other is a token. Raises a Problem:
    401 if it does not verify, 503 if the issuer's keys are unavailable, 403 if the gate file denies the
    identity.
    """
    bearer = session_bearer(request)
    if bearer is None:
        identity = _verify(context, verify, request.headers.get("authorization", []))
    else:
        identity = _signed_in(context, bearer)
    check_denied(context, identity)
    return identity


def session_bearer(request: GatewayRequest) -> str | None:
    """Return the bearer of a session, if the one `Authorization` header has what begins as one."""
    values = request.headers.get("authorization", [])
    scheme, _, bearer = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return bearer if scheme.lower() == "bearer" and is_bearer(bearer) else None


def authenticate_signer(context: Context, request: GatewayRequest) -> Identity:
    """Return the identity of the signer, and of the ID token beside the signature, if any.

    With the token's header the caller is both and nothing else: a token that does not verify is 401, as in
    `authenticate`. `Authorization` is not read. Raises 400 for a signature in the query, which holds for
    longer than one in a header, and 403 for a principal that may not call.
    """
    if any(name.lower().startswith("x-amz-") for name in request.query):
        raise invalid_request([("", "sign in the header Authorization, not in the query")])
    principal = _principal(context, request)
    if TOKEN_HEADER not in request.headers:
        identity = _signer(principal)
    else:
        token = _verify(context, verify_beside_signature, request.headers[TOKEN_HEADER])
        # Whatever GitLab calls a claim, only AWS says who signed.
        claims = {name: value for name, value in token.claims.items() if name not in PRINCIPAL_CLAIMS}
        claims |= principal.claims
        identity = replace(token, via="iam+id_token", claims=claims, principal=principal)
    check_denied(context, identity)
    try:
        check_one_person(context.gate, identity)
    except Problem as problem:
        problem.identity = identity
        raise
    return identity


def _signed_in(context: Context, bearer: str) -> Identity:
    try:
        return signed_in(context.gate, context.store.sessions, bearer)
    except Problem as problem:
        context.log("request_refused", code=problem.code, check="session")
        raise


def _signer(principal: Principal) -> Identity:
    """Return the identity of a principal alone. Nothing tells when its session began, nor when it ends."""
    return Identity(
        via="iam",
        issuer="",
        claims=principal.claims,
        jti=None,
        issued_at=0,
        expires_at=0,
        principal=principal,
    )


def _principal(context: Context, request: GatewayRequest) -> Principal:
    try:
        principal = read_principal(request.request_context, context.gate.principals.is_sso)
        if context.gate.principals.is_mistaken(principal):
            raise RefusedPrincipal(
                "sso", "the gate file lists this role, but its name or its organisation is not as listed"
            )
        return principal
    except RefusedPrincipal as error:
        context.log("request_refused", code="not_allowed", check=error.check, arn=_shown(request))
        raise refused_principal(error.check, error.detail) from None


def _shown(request: GatewayRequest) -> str | None:
    identity: Any = request.request_context.get("identity")
    arn = identity.get("userArn") if isinstance(identity, Mapping) else None
    return clean(arn) if isinstance(arn, str) else None


def _verify(context: Context, verified: Callable[..., Identity], values: Sequence[str]) -> Identity:
    try:
        return verified(values, issuers=context.gate.issuers, keys=context.keys, now=context.clock())
    except InvalidToken as error:
        context.log("request_refused", code="invalid_token", check=error.check)
        raise invalid_token(error.check, error.detail) from None
    except KeysUnavailable as error:
        context.log("request_refused", code="unavailable", check="keys")
        raise unavailable(
            "The issuer's signing keys are temporarily unavailable", error.retry_after
        ) from None
