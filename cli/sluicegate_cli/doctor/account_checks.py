"""Check what a stack shares with the rest of its account and region: concurrency, code storage, log role."""

from collections.abc import Iterator
from typing import Any, Final

from sluicegate_cli.doctor.aws_calls import AwsCalls
from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.stack import DeployedStack

CONCURRENCY: Final = "concurrency suffices"
STORAGE: Final = "code storage suffices"
LOG_ROLE: Final = "API Gateway can write logs"

MIN_UNRESERVED: Final = 100
"""What Lambda keeps unreserved (Lambda developer guide, "Configuring reserved concurrency")."""

_SMALL: Final = 100  # concurrent executions; accounts begin with 10 or 1,000
_FULL: Final = 0.8  # of the code storage
_GB: Final = 1_000_000_000


def concurrency(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Compare what the stack reserves with the account's limit, and with what AWS keeps unreserved."""
    settings = aws.call("lambda", "GetAccountSettings")["AccountLimit"]
    limit, unreserved = settings["ConcurrentExecutions"], settings["UnreservedConcurrentExecutions"]
    reserved = _reserved(aws, stack)
    total = sum(reserved.values())
    facts = f"the limit is {limit}, of which {unreserved} are unreserved; the stack reserves {total}"
    ask = "Ask AWS for 1,000: Service Quotas, Lambda, Concurrent executions (L-B99A9384). It is free."
    if stopped := [name for name, count in reserved.items() if count == 0]:
        change = "Set its concurrency again (`aws lambda put-function-concurrency`), or run `make deploy`."
        yield Finding(
            CONCURRENCY, CheckVerdict.WRONG, f"{', '.join(stopped)} may not run: 0 is reserved", change
        )
    elif total and unreserved < MIN_UNRESERVED:
        change = f"Lower the reservations of this or another stack. {ask}"
        seen = f"{facts}: AWS wants {MIN_UNRESERVED} unreserved"
        yield Finding(CONCURRENCY, CheckVerdict.WARNING, seen, change)
    elif limit < _SMALL:
        seen = f"{facts}: everything in the account shares {limit}, so a few waiting jobs can fill it"
        yield Finding(CONCURRENCY, CheckVerdict.WARNING, seen, ask)
    else:
        yield Finding(CONCURRENCY, CheckVerdict.OK, facts)


def _reserved(aws: AwsCalls, stack: DeployedStack) -> dict[str, int]:
    """Return the reserved concurrency of the stack's functions that have some, 0 included."""
    found = {}
    for function in stack.of_type("AWS::Lambda::Function"):
        answer = aws.find("lambda", "GetFunctionConcurrency", FunctionName=function.physical) or {}
        if answer.get("ReservedConcurrentExecutions") is not None:
            found[function.physical] = int(answer["ReservedConcurrentExecutions"])
    return found


def storage(aws: AwsCalls, _: DeployedStack) -> Iterator[Finding]:
    """Compare the stored code with the region's limit, as Lambda itself states both.

    Every deployment keeps a version. The limit is 300 GB by default since 2026 (Lambda quotas, read on
    2026-11-26), 75 GB before.
    """
    settings: Any = aws.call("lambda", "GetAccountSettings")
    used, limit = settings["AccountUsage"]["TotalCodeSize"], settings["AccountLimit"]["TotalCodeSize"]
    seen = f"{used / _GB:.1f} of {limit / _GB:.0f} GB are used, by all versions and layers of the region"
    if limit and used / limit > _FULL:
        change = "Delete versions that no alias serves, or ask AWS for more: Service Quotas, Lambda."
        yield Finding(STORAGE, CheckVerdict.WARNING, seen, change)
    else:
        yield Finding(STORAGE, CheckVerdict.OK, seen)


def log_role(aws: AwsCalls, stack: DeployedStack) -> Iterator[Finding]:
    """Check the one role with which API Gateway writes the logs of all APIs of the account and region."""
    arn = aws.call("apigateway", "GetAccount").get("cloudwatchRoleArn") or ""
    if not arn:
        change = "Run `make deploy ARGS='--parameter-overrides ApiGatewayLogRole=create'`."
        seen = "API Gateway has no role for logs in this region, so the API's access log stays empty"
        yield Finding(LOG_ROLE, CheckVerdict.WARNING, seen, change)
        return
    name = arn.rpartition("/")[2]
    if aws.find("iam", "GetRole", RoleName=name) is None:
        change = (
            "Let API Gateway's settings name a role that exists, or deploy with ApiGatewayLogRole=create."
        )
        yield Finding(
            LOG_ROLE, CheckVerdict.WARNING, f"API Gateway's role for logs, {name}, does not exist", change
        )
        return
    own = stack.resource("ApiGatewayLogWriter")
    whose = "this stack's" if own and own.physical == name else "not this stack's, which is fine"
    yield Finding(LOG_ROLE, CheckVerdict.OK, f"it writes them with the role {name} ({whose})")
