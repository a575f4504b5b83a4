"""Why a target of the gate file lets nobody in, in the words of its owner. AWS's own are kept."""

from typing import Final

from botocore.exceptions import ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.deployment.plan import Plan
from sluicegate.rollout.outcomes import Denied, Outcome, PermanentFailure, TransientFailure

UNKNOWN_CREDENTIALS: Final = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClient", "UnrecognizedClientException"}
)
"""What a region answers to credentials of an account that has not enabled it.

"The security token included in the request is invalid": grafana/grafana-aws-sdk#46 and #129; IAM user guide,
"Manage AWS STS in an AWS Region" (read on 2026-11-26).
"""


def where(plan: Plan) -> str:
    """Name the target: `target prod-eu (account 222222222222, region eu-central-1)`."""
    return f"target {plan.target_name} (account {plan.target.account}, region {plan.target.region})"


def of_entry(error: ClientError, plan: Plan) -> Outcome | None:
    """Return what a refused AssumeRole means for a target of the gate file; None where that is not clear.

    AWS answers AccessDenied alike for a role that does not exist, for one whose trust policy names somebody
    else, and for a wrong external id, so that nobody can find out which (IAM user guide, "Troubleshoot IAM
    roles", read on 2026-11-26). It says so where a policy denies explicitly (IAM user guide, "Troubleshoot
    access denied error messages").
    """
    code, message = error_code(error), error_message(error)
    if code == "RegionDisabledException":
        text = f"{where(plan)}: STS is not active there for the account: enable the region: {message}"
        return PermanentFailure("target_unreachable", text, {"error": code})
    if code in UNKNOWN_CREDENTIALS:
        text = (
            f"{where(plan)}: the region does not know the deployer's credentials: a region that must be opted"
            f" in to must be enabled in the stack's own account as well: {message}"
        )
        return Denied(code, text)
    if classify(error) is not ErrorKind.DENIED:
        return None
    if "explicit deny" in message:
        return Denied(code, f"{where(plan)}: a policy denies AssumeRole explicitly: {message}")
    text = (
        f"{where(plan)}: role {plan.role} does not let the deployer in: there is no such role, or its trust"
        f" policy names another deployer or another external id than the gate file: {message}"
    )
    return Denied(code, text)


def of_bucket(error: ClientError, plan: Plan, bucket: str) -> Outcome | None:
    """Return what a refusal by the target's bucket means; None where it is one of S3's usual ones."""
    code, message = error_code(error), error_message(error)
    call, kind = error.operation_name, classify(error)
    if code in ("NoSuchBucket", "404"):
        text = f"{where(plan)}: bucket {bucket} does not exist: deploy the target's stack"
        return PermanentFailure("target_unreachable", text, {"error": "NoSuchBucket"})
    if code in ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"):
        return TransientFailure(code, f"the artifact was changed on its way to bucket {bucket}: {message}")
    if kind is ErrorKind.DENIED:
        text = (
            f"{where(plan)}: {call} on bucket {bucket} was denied: it belongs to another account, or role"
            f" {plan.role} may not use it: deploy the target's stack: {message}"
        )
        return Denied(code, text)
    return None


def unreachable(plan: Plan, code: str) -> TransientFailure:
    """Return the outcome where STS in the target's region does not answer."""
    text = f"{where(plan)}: STS in {plan.target.region} does not answer: {code}"
    return TransientFailure(code, text, unreachable=True)
