"""What STS answers to AssumeRoleWithWebIdentity, and what to do about it.

Sources: AWS STS API reference, AssumeRoleWithWebIdentity and its errors; IAM user guide, "Troubleshoot OIDC
federation"; both read on 26 November 2026.
"""

import re
from collections.abc import Mapping
from typing import Final

from sluicegate.text import clean
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode

SESSION_SECONDS: Final = 900
"""The length of a session: the shortest that STS gives (AssumeRoleWithWebIdentity, DurationSeconds)."""

_RETRYABLE: Final = ("IDPCommunicationError", "Throttling", "InternalFailure", "ServiceUnavailable")
_TOKEN: Final = ("InvalidIdentityToken", "ExpiredTokenException", "ExpiredToken", "IDPRejectedClaim")


def session_name(environment: Mapping[str, str]) -> str:
    """Return the name of the role's session: which job it is; `[\\w+=,.@-]{2,64}` as STS demands.

    It decides nothing: a person who starts the pipeline may set these variables.
    """
    parts = [environment.get(name, "") for name in ("CI_PROJECT_ID", "CI_JOB_ID")]
    if all(re.fullmatch(r"[0-9]{1,20}", part) for part in parts):
        return f"project-{parts[0]}-job-{parts[1]}"
    return "sluicegate"


def sts_error(code: str, message: str, *, role_arn: str, token: str) -> ApiError:
    """Return the error for STS's answer. `token` says who the token is for: STS does not say what differs."""
    if code in _RETRYABLE:
        detail = f"STS answered {clean(code, 64)}: {clean(message, 300)}"
        document = {"code": "sts_unavailable", "title": "STS is unavailable", "detail": detail}
        return ApiError(ExitCode.UNAVAILABLE, document)
    name = clean(role_arn, 200)
    if code == "AccessDenied":
        # One answer for a role that does not exist, and for each condition that the token does not meet.
        detail = f"STS does not let this token assume {name}; the token has {token}"
        document = {"code": "role_refused", "title": "The role was refused", "detail": detail}
    elif code in _TOKEN:
        detail = f"STS does not accept the token: {clean(message, 300)}; the token has {token}"
        document = {"code": "sts_token_refused", "title": "STS refused the token", "detail": detail}
    elif code == "RegionDisabledException":
        detail = "STS is switched off in this region for the role's account"
        document = {"code": "role_refused", "title": "The role was refused", "detail": detail}
    else:
        detail = f"STS answered {clean(code, 64)}: {clean(message, 300)}"
        document = {"code": "role_refused", "title": "The role was refused", "detail": detail}
    return ApiError(ExitCode.REFUSED, document)
