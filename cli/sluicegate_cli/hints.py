"""What to do about an error, by its code or by the cause of a failed connection."""

from typing import Final

_CODES: Final = {
    "invalid_token": "Check that the token is fresh, and has this API's audience (id_tokens: ... aud).",
    "not_allowed": "`sluicegate whoami` shows the claims of this job and what the rules allow.",
    "not_found": "It does not exist, or this project may not see it; the API does not reveal which.",
    "busy": "Wait for the deployment in progress, then run this again; or abort it with --on-busy supersede.",
    "key_reused": "This Idempotency-Key was used for another request of this job. Use another key.",
    "token_used": "This job's token was used for another request there. Use one job for each deployment.",
    "source_changed": "The source stage serves something else. See `sluicegate status FUNCTION`.",
    "wrong_state": "It is too late or too early for this. See `sluicegate status ID`.",
    "sign_in_required": "Run `sluicegate login`, then this again.",
    "session_used": "These credentials were used for another request there. Use one job for each deployment.",
    "limit_reached": "Wait until the time that the detail names. A rollback is always possible.",
    "person_unknown": "Add both ways in of this person under `people` in the gate file, then `make deploy`.",
    "not_signed": "Check that SLUICEGATE_URL ends in /v1, that this stack has the IAM way in, and proxies.",
    "invalid_signature": "Check --region against the API's, and whether a proxy changes host, path or body.",
    "clock_wrong": "Synchronize this machine's clock (NTP), then run this again.",
    "expired_session": "Sign in again (`aws sso login`), or set new ones. In a job, run the job again.",
    "credentials_unknown": "Check AWS_PROFILE and the AWS_ variables: see `aws sts get-caller-identity`.",
    "nothing_there": "Check the endpoint: the API's host, its stage /v1, and the mapping of its domain.",
    "access_denied": "Allow execute-api:Invoke on this method, in the role and (other accounts) the API.",
    "sign_in_expired": "Run `aws sso login` (with the same AWS_PROFILE), then this again.",
    "credentials_unavailable": "`aws sts get-caller-identity` shows whether the AWS credentials work at all.",
    "sts_unavailable": "Run this again. Jobs must reach sts.REGION.amazonaws.com: check HTTPS_PROXY.",
    "role_refused": "`sluicegate doctor --role ARN` compares the role's trust policy with GitLab's tokens.",
    "sts_token_refused": "Compare `iss` with the OIDC provider's URL, and `aud` with its client ids, in IAM.",
    "outdated": "A newer pipeline has deployed there. To go back on purpose, use `sluicegate rollback`.",
    "held": "`sluicegate hold STAGE` shows who holds it and why. A rollback is still possible.",
    "not_as_expected": "The stage serves a different version. See `sluicegate status FUNCTION`.",
    "pruned": "`sluicegate versions FUNCTION` lists those that are left.",
    "unprocessable": "The request does not match what is recorded. See `sluicegate status FUNCTION`.",
    "throttled": "It is safe to run this again in a moment.",
    "unavailable": "It is safe to run this again in a moment.",
    "unreachable": "Check SLUICEGATE_URL, and that it is reachable from here. It is safe to run this again.",
    "unexpected_answer": "Check that SLUICEGATE_URL ends in /v1, and whether a proxy is in between.",
}

CAUSES: Final = {
    "dns": "Check the host in SLUICEGATE_URL against the stack's output `Endpoint`, and this machine's DNS.",
    "refused": "Check host and port in SLUICEGATE_URL, and whether a proxy is needed (HTTPS_PROXY).",
    "network": "Check this machine's network, and whether a proxy is needed (HTTPS_PROXY).",
    "timeout": "A firewall may drop it: check the network, and whether a proxy is needed (HTTPS_PROXY).",
    "proxy": "Check HTTPS_PROXY: host, port and credentials. NO_PROXY=HOST leaves the proxy out.",
    "certificate": "If a proxy intercepts TLS, set SSL_CERT_FILE to its certificate. Else correct the host.",
    "tls": "Something else than HTTPS answers there. Check port and scheme in SLUICEGATE_URL, and proxies.",
    "lost": "It is safe to run this again.",
}
"""What to do, by the reason of a failure."""


def hint(code: str, cause: str = "") -> str | None:
    """Return the advice about a failure's cause, else about an error's code; None if there is none."""
    return CAUSES.get(cause) or _CODES.get(code)
