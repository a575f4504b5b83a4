"""What API Gateway answers before it calls anything, as the error of a command.

The texts of its responses are fixed by the template, and by AWS for an API without them; the header
`x-amzn-ErrorType` is AWS's in both. Sources: API Gateway developer guide, "Gateway response types"; AWS
re:Post, "How do I troubleshoot signature mismatch errors"; both read on 26 November 2026.
"""

from collections.abc import Mapping
from typing import Any, Final

from sluicegate_cli.doctor.findings import format_age

_TITLES: Final = {
    "not_signed": "The request is not signed",
    "invalid_signature": "The signature is wrong",
    "expired_session": "AWS credentials expired",
    "credentials_unknown": "AWS does not know the credentials",
    "access_denied": "Not allowed to call the API",
    "nothing_there": "API Gateway has nothing there",
}
_DETAILS: Final = {
    "not_signed": "API Gateway found no signature where it needs one",
    "invalid_signature": "API Gateway does not accept the request's signature",
    "expired_session": "API Gateway says that the AWS credentials have expired",
    "credentials_unknown": "AWS does not know these credentials: deleted, mistyped, or of another partition",
    "access_denied": "neither the credentials' own policies nor the API's let them call this method",
    "nothing_there": "no API and stage can be reached at this address from here",
}
_BY_TYPE: Final = {
    "MissingAuthenticationTokenException": "not_signed",
    "InvalidSignatureException": "invalid_signature",
    "IncompleteSignatureException": "invalid_signature",
    "ExpiredTokenException": "expired_session",
    "UnrecognizedClientException": "credentials_unknown",
    "InvalidClientTokenId": "credentials_unknown",
    "AccessDeniedException": "access_denied",
    "ForbiddenException": "nothing_there",
}
_SKEW: Final = 240.0  # seconds; a signature is good for five minutes either way

_BEFORE: Final = "refused before Sluicegate was asked: "
"""How the template's text for ACCESS_DENIED begins."""

CODES: Final = frozenset(_TITLES)


def refusal_of_gateway(
    status: int, error_type: str, document: Mapping[str, Any], *, skew: float
) -> dict[str, Any] | None:
    """Return the document for a 403 of API Gateway itself, or None if it is not one that is known.

    `document` is what it sent: the template's text, or AWS's own of an API without one, which can quote
    signed headers. `skew`: seconds that the API's clock is ahead.
    """
    if status != 403:
        return None
    message = document.get("message", document.get("Message"))
    given = document.get("code")
    code: str | None
    if given == "not_allowed" and str(document.get("detail", "")).startswith(_BEFORE):
        code = "access_denied"
    elif given in _TITLES:
        code = str(given)
    elif given is not None:  # Sluicegate's own refusal
        return None
    else:
        kind = error_type.partition(":")[0].rpartition("#")[2]
        code = _BY_TYPE.get(kind) or _by_message(message if isinstance(message, str) else "")
    if code is None:
        return None
    refused: dict[str, Any] = {
        "status": status,
        "code": code,
        "title": _TITLES[code],
        "detail": _DETAILS[code],
    }
    if given is not None:
        refused = {**refused, **document, "code": code, "title": _TITLES[code]}
    if code == "invalid_signature" and abs(skew) > _SKEW:
        refused["code"], refused["title"] = "clock_wrong", "This machine's clock is wrong"
        whose = "behind" if skew > 0 else "ahead of"
        refused["detail"] = (
            f"the signature's time is off: this machine's clock is {format_age(skew)} {whose} the API's, and"
            " AWS accepts five minutes"
        )
    return refused


def _by_message(message: str) -> str | None:
    if message == "Forbidden":
        return "nothing_there"
    if message.startswith("Missing Authentication Token"):
        return "not_signed"
    if message.startswith(("Signature expired", "Signature not yet current", "The request signature we")):
        return "invalid_signature"
    if message.startswith("The security token included in the request is expired"):
        return "expired_session"
    if message.startswith("The security token included in the request is invalid"):
        return "credentials_unknown"
    if "is not authorized to" in message and "execute-api:Invoke" in message:
        return "access_denied"
    return None


def is_expired(document: Mapping[str, Any]) -> bool:
    """Return whether an error means that the credentials have expired, so that others may help."""
    return document.get("code") in ("expired_session", "credentials_unknown")
