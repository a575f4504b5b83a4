"""Check a function in AWS: which callers bypass its aliases, and which aliases can split traffic.

Read-only, with the caller's own credentials, by the calls that docs/guides/troubleshooting.md lists. Only two
settings of a function's configuration are used; values of environment variables never leave the AWS library.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sluicegate_cli.doctor.aws_calls import connect
from sluicegate_cli.doctor.findings import CheckVerdict, Finding

FOUND: Final = "the function exists"
ALIASED: Final = "all callers use an alias"
WEIGHTS: Final = "traffic can be split"

_DAY: Final = 86_400  # seconds
_QUERIES: Final = 500  # of one GetMetricData
_STATEMENTS: Final = 20
_POINT: Final = (
    "Point it at the function's alias, which deployments move; `$LATEST` is the code uploaded last."
)
_ONCE: Final = "Deploy once with all-at-once; canary and linear work after that."


def examine(function: str, region: str | None) -> list[Finding]:
    """Check one function. What the caller may not read in AWS is reported as unknown."""
    aws = connect(region, what="--function")
    clients = [aws.client(name) for name in ("lambda", "cloudwatch")]
    return look(clients[0], clients[1], function)


def look(lambda_: Any, cloudwatch: Any, function: str) -> list[Finding]:
    """Check one function in the clients' region."""
    there = _found(lambda_, function)
    if there.verdict is not CheckVerdict.OK:
        return [there]
    found = [there]
    found += _looked(lambda: _triggers(lambda_, function), ALIASED)
    found += _looked(lambda: _requests(lambda_, cloudwatch, function), ALIASED)
    found += _looked(lambda: _weights(lambda_, function), WEIGHTS)
    return list(dict.fromkeys(found))


def _found(lambda_: Any, function: str) -> Finding:
    """Whether there is the function at all; and, first of all, whether AWS api_checks."""
    from botocore.exceptions import BotoCoreError, ClientError

    region = lambda_.meta.region_name
    try:
        known = _answers(lambda_, "get_function_configuration", FunctionName=function)
    except (BotoCoreError, ClientError) as error:
        calls = "docs/guides/troubleshooting.md lists the calls"
        change = f"Use credentials that may read it (AWS_PROFILE): {calls}."
        return Finding(
            FOUND, CheckVerdict.UNKNOWN, f"AWS did not allow or answer the request: {error}", change
        )
    if known is None:
        change = "Correct the name, or use its --region and credentials of its account."
        return Finding(FOUND, CheckVerdict.WRONG, f"there is no function {function} in {region}", change)
    return Finding(FOUND, CheckVerdict.OK, f"{function} is in {region}")


def _looked(look: Callable[[], Iterator[Finding]], check: str) -> list[Finding]:
    from botocore.exceptions import BotoCoreError, ClientError

    found: list[Finding] = []
    try:
        found.extend(look())
    except (BotoCoreError, ClientError) as error:
        found.append(
            Finding(check, CheckVerdict.UNKNOWN, f"AWS did not allow or answer the request: {error}")
        )
    return found


# Callers that bypass the aliases


def _triggers(lambda_: Any, function: str) -> Iterator[Finding]:
    """Find event sources, permissions and a URL that name the function itself, and so invoke `$LATEST`."""
    found = False
    for mapping in _mappings(lambda_, function):
        found = True
        yield _of_mapping(mapping, function)
    for statement in _policy(lambda_, function)[:_STATEMENTS]:
        found = True
        change = f"If something invokes it this way: {_POINT[0].lower()}{_POINT[1:]}"
        yield Finding(
            ALIASED,
            CheckVerdict.WARNING,
            f"{_principal(statement)} may invoke {function} without an alias",
            change,
        )
    if _answers(lambda_, "get_function_url_config", FunctionName=function):
        found = True
        change = (
            "Create a URL of the alias instead (CreateFunctionUrlConfig with Qualifier), for callers to use."
        )
        yield Finding(ALIASED, CheckVerdict.WRONG, f"{function} has a URL without an alias", change)
    if not found:
        yield Finding(ALIASED, CheckVerdict.OK, f"no event source, permission or URL names {function} itself")


def _mappings(lambda_: Any, function: str) -> Iterator[Mapping[str, Any]]:
    """Yield the event source mappings without an alias.

    A mapping's FunctionArn has the qualifier that it was created with. It is not documented whether the list
    for an unqualified name includes those of `$LATEST`, so request both.
    """
    seen = set()
    for name in (function, f"{function}:$LATEST"):
        for mapping in _pages(
            lambda_, "list_event_source_mappings", "EventSourceMappings", FunctionName=name
        ):
            qualifier = _qualifier(mapping["FunctionArn"])
            past = qualifier is None or qualifier == "$LATEST" or qualifier.isdecimal()
            if past and mapping.get("UUID") not in seen:
                seen.add(mapping.get("UUID"))
                yield mapping


def _of_mapping(mapping: Mapping[str, Any], function: str) -> Finding:
    source = mapping.get("EventSourceArn") or "a self-managed event source (Kafka)"
    qualifier = _qualifier(mapping["FunctionArn"])
    if mapping.get("State") in ("Disabled", "Disabling"):
        seen = f"{source} would invoke {function} without an alias, but is disabled"
        return Finding(ALIASED, CheckVerdict.WARNING, seen, _POINT)
    if qualifier is not None and qualifier.isdecimal():
        seen = f"{source} invokes version {qualifier} of {function}, which no deployment moves"
        return Finding(ALIASED, CheckVerdict.WARNING, seen, _POINT)
    return Finding(ALIASED, CheckVerdict.WRONG, f"{source} invokes {function} without an alias", _POINT)


def _qualifier(arn: str) -> str | None:
    """Return the qualifier of `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`, or None."""
    parts = arn.split(":")
    return parts[7] if len(parts) > 7 else None


def _policy(lambda_: Any, function: str) -> list[Mapping[str, Any]]:
    """Return the statements that allow invoking the function itself; an alias has its own policy.

    Source: GetPolicy's reference. Without Qualifier it returns the policy of the unqualified ARN.
    """
    answer = _answers(lambda_, "get_policy", FunctionName=function)
    if answer is None:
        return []
    statements = json.loads(answer["Policy"]).get("Statement", [])
    return [one for one in statements if one.get("Effect") == "Allow" and _invokes(one.get("Action"))]


def _invokes(actions: object) -> bool:
    names = actions if isinstance(actions, list) else [actions]
    return any(
        name in ("*", "lambda:*") or str(name).lower().startswith("lambda:invokefunction") for name in names
    )


def _principal(statement: Mapping[str, Any]) -> str:
    """Format `events.amazonaws.com (arn:…)`: the principal, and the source in a condition."""
    principal = statement.get("Principal")
    who = principal if isinstance(principal, str) else ", ".join(map(str, (principal or {}).values()))
    for condition in (statement.get("Condition") or {}).values():
        for name, value in condition.items():
            if name.lower() in ("aws:sourcearn", "aws:sourceaccount"):
                return f"{who} ({value})"
    return "anybody" if who == "*" else who


def _requests(lambda_: Any, cloudwatch: Any, function: str) -> Iterator[Finding]:
    """Count the requests of the last day without an alias or version.

    Lambda's metrics by `FunctionName` count all versions and aliases, those by `Resource` one version or
    alias, `NAME:QUALIFIER` (Lambda's guide, "Types of metrics"). The difference is unqualified requests.
    """
    resources = {
        dimension["Value"]
        for metric in _pages(
            cloudwatch,
            "list_metrics",
            "Metrics",
            Namespace="AWS/Lambda",
            MetricName="Invocations",
            Dimensions=[{"Name": "FunctionName", "Value": function}],
        )
        if len(metric["Dimensions"])
        == 2  # without the executed version, which would count the same requests again
        for dimension in metric["Dimensions"]
        if dimension["Name"] == "Resource"
    }
    by_resource = bool(resources)
    resources |= {f"{function}:{alias['Name']}" for alias in _aliases(lambda_, function)}
    qualified = sorted(one for one in resources if ":" in one and not one.endswith(":$LATEST"))
    total, *others = _sums(cloudwatch, function, [None, *qualified[: _QUERIES - 1]])
    past = round(total - sum(others))
    if past > 0 and not by_resource:
        change = "Check the callers: a caller without an alias gets `$LATEST`."
        seen = f"{past} requests came in the last day, and CloudWatch counts none of them by alias"
        yield Finding(ALIASED, CheckVerdict.WARNING, seen, change)
    elif past > 0:
        change = "Find the callers in CloudTrail's data events of the function, and let them use the alias."
        seen = f"{past} of {round(total)} requests in the last day bypassed every alias"
        yield Finding(ALIASED, CheckVerdict.WRONG, seen, change)
    elif total:
        yield Finding(
            ALIASED,
            CheckVerdict.OK,
            f"all {round(total)} requests of the last day named an alias or a version",
        )
    else:
        yield Finding(ALIASED, CheckVerdict.OK, "there was no request in the last day")


def _sums(cloudwatch: Any, function: str, resources: list[str | None]) -> list[float]:
    """Return the invocations of the last day; None stands for the whole function."""
    now = datetime.now(UTC)
    queries = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": "Invocations",
                    "Dimensions": [
                        {"Name": "FunctionName", "Value": function},
                        *([{"Name": "Resource", "Value": resource}] if resource else []),
                    ],
                },
                "Period": _DAY,
                "Stat": "Sum",
            },
        }
        for number, resource in enumerate(resources)
    ]
    sums = dict.fromkeys((str(query["Id"]) for query in queries), 0.0)
    for result in _pages(
        cloudwatch,
        "get_metric_data",
        "MetricDataResults",
        MetricDataQueries=queries,
        StartTime=now - timedelta(seconds=_DAY),
        EndTime=now,
    ):
        sums[result["Id"]] += sum(result["Values"])
    return list(sums.values())


# Aliases that can split traffic


def _weights(lambda_: Any, function: str) -> Iterator[Finding]:
    """Check each alias. Both versions must be published, with the same role and dead-letter queue.

    Source: Lambda's guide, "Alias routing configuration". An alias with provisioned concurrency accepts no
    weights, but may have some from Lambda. A deployment makes the same checks before it shifts.
    """
    latest = _settings(lambda_, function, "$LATEST")
    aliases = _aliases(lambda_, function)
    if not aliases:
        seen = f"{function} has no alias yet; the first deployment creates it, all at once"
        yield Finding(WEIGHTS, CheckVerdict.OK, seen)
    for alias in aliases:
        name, version = alias["Name"], alias["FunctionVersion"]
        if version == "$LATEST":
            seen, change = f"alias {name} serves $LATEST, which cannot split traffic with a version", _ONCE
        elif _answers(lambda_, "get_provisioned_concurrency_config", FunctionName=function, Qualifier=name):
            seen = f"alias {name} has provisioned concurrency, which does not allow weights"
            change = "Set the stage's `strategy: {type: all-at-once}`, or remove the provisioned concurrency."
        elif (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights"):
            seen = f"alias {name} splits its traffic already, as it does while a deployment shifts it"
            change = "If no deployment is in progress, remove the weights, which somebody else has set."
        elif (served := _settings(lambda_, function, version)) != latest:
            differing = " and ".join(what for what in latest if served[what] != latest[what])
            seen = f"$LATEST has another {differing} than version {version}, which alias {name} serves"
            change = _ONCE
        else:
            yield Finding(WEIGHTS, CheckVerdict.OK, f"alias {name} can split its traffic with a new version")
            continue
        yield Finding(WEIGHTS, CheckVerdict.WARNING, seen, change)


def _settings(lambda_: Any, function: str, version: str) -> dict[str, str | None]:
    """Return the settings that two versions must share to split traffic, and nothing else."""
    answer = lambda_.get_function_configuration(FunctionName=function, Qualifier=version)
    dead_letter = (answer.get("DeadLetterConfig") or {}).get("TargetArn") or None
    return {"role": answer.get("Role"), "dead-letter queue": dead_letter}


def _aliases(lambda_: Any, function: str) -> list[Mapping[str, Any]]:
    return _pages(lambda_, "list_aliases", "Aliases", FunctionName=function)


def _answers(lambda_: Any, method: str, **arguments: str) -> Mapping[str, Any] | None:
    """Return the response of a look-up, or None if the resource does not exist."""
    from botocore.exceptions import ClientError

    try:
        answer: Mapping[str, Any] = getattr(lambda_, method)(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in (
            "ResourceNotFoundException",
            "ProvisionedConcurrencyConfigNotFoundException",
        ):
            return None
        raise
    return answer


def _pages(client: Any, method: str, key: str, **arguments: Any) -> list[Mapping[str, Any]]:
    return [item for page in client.get_paginator(method).paginate(**arguments) for item in page[key]]
