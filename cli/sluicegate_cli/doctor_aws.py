"""What `sluicegate doctor --function` sees in AWS: who goes past the aliases, and which can share traffic.

Reads only, with the caller's own credentials. An environment variable's value never leaves this module.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from sluicegate.text import clean

from sluicegate_cli.diagnosis import Finding, Verdict

ALIASED: Final = "everything invokes an alias"
WEIGHTS: Final = "weights will work"

_DAY: Final = 86_400


def examine(function: str, region: str | None) -> list[Finding]:
    """All that there is to say of one function."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise click.UsageError("--function needs boto3: pip install 'sluicegate[aws]'") from None

    def looked(look: Callable[[], Iterator[Finding]], check: str) -> list[Finding]:
        try:
            return list(look())
        except (BotoCoreError, ClientError) as error:
            return [Finding(check, Verdict.UNKNOWN, f"AWS does not say: {clean(str(error))}")]

    try:
        session = boto3.session.Session(region_name=region)
        lambda_, cloudwatch = session.client("lambda"), session.client("cloudwatch")
    except BotoCoreError as error:
        raise click.UsageError(f"no way into AWS: {error}") from None
    found = looked(lambda: _triggers(lambda_, function), ALIASED)
    found += looked(lambda: _requests(cloudwatch, function), ALIASED)
    found += looked(lambda: _weights(lambda_, function), WEIGHTS)
    return found


def _triggers(lambda_: Any, function: str) -> Iterator[Finding]:
    """Event sources, permissions and a URL that name the function itself run whatever `$LATEST` is."""
    change = (
        "Point it at the function's alias: that is moved by deployments; `$LATEST` is whatever came last."
    )
    found = False
    for mapping in _pages(
        lambda_, "list_event_source_mappings", "EventSourceMappings", FunctionName=function
    ):
        if mapping["FunctionArn"].split(":")[7:] == []:
            found = True
            source = clean(str(mapping.get("EventSourceArn", "an event source")))
            yield Finding(ALIASED, Verdict.WRONG, f"{source} invokes {function} without an alias", change)
    for statement in _policy(lambda_, function):
        found = True
        who = clean(json.dumps(statement.get("Principal")))
        yield Finding(ALIASED, Verdict.WARNING, f"{who} may invoke {function} without an alias", change)
    if _answers(lambda_, "get_function_url_config", FunctionName=function):
        found = True
        yield Finding(ALIASED, Verdict.WRONG, f"{function} has a URL without an alias", change)
    if not found:
        yield Finding(ALIASED, Verdict.OK, f"no event source, permission or URL names {function} itself")


def _requests(cloudwatch: Any, function: str) -> Iterator[Finding]:
    """Lambda counts requests to the function itself under `Resource` = its bare name."""
    now = datetime.now(UTC)
    answer = cloudwatch.get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "FunctionName", "Value": function},
            {"Name": "Resource", "Value": function},
        ],
        StartTime=now - timedelta(days=1),
        EndTime=now,
        Period=_DAY,
        Statistics=["Sum"],
    )
    count = int(sum(point["Sum"] for point in answer["Datapoints"]))
    if count:
        seen = f"{count} requests in the last day went past every alias"
        yield Finding(ALIASED, Verdict.WRONG, seen, "CloudTrail's data events say who sent them.")
    else:
        yield Finding(ALIASED, Verdict.OK, "no request in the last day went past the aliases")


def _weights(lambda_: Any, function: str) -> Iterator[Finding]:
    """What CreateAlias' reference says of RoutingConfig: versions alike, and no provisioned concurrency."""
    latest = lambda_.get_function_configuration(FunctionName=function)
    aliases = _pages(lambda_, "list_aliases", "Aliases", FunctionName=function)
    if not aliases:
        yield Finding(
            WEIGHTS, Verdict.OK, f"{function} has no alias yet: the first deployment makes it, all at once"
        )
    for alias in aliases:
        name, version = alias["Name"], alias["FunctionVersion"]
        if version == "$LATEST":
            seen = f"alias {name} serves $LATEST, which cannot share traffic"
            yield Finding(WEIGHTS, Verdict.WRONG, seen, "Deploy to it once, all at once.")
            continue
        if _answers(lambda_, "get_provisioned_concurrency_config", FunctionName=function, Qualifier=name):
            seen = f"alias {name} has provisioned concurrency, which excludes weights"
            yield Finding(
                WEIGHTS, Verdict.WRONG, seen, "Deploy it all at once, or take the concurrency away."
            )
            continue
        served = lambda_.get_function_configuration(FunctionName=function, Qualifier=version)
        differing = [what for what, key in _ALIKE.items() if _target(served, key) != _target(latest, key)]
        if differing:
            seen = f"$LATEST has another {' and '.join(differing)} than version {version} behind alias {name}"
            yield Finding(
                WEIGHTS, Verdict.WRONG, seen, "Deploy the next version all at once; then weights work again."
            )
        else:
            yield Finding(WEIGHTS, Verdict.OK, f"alias {name} can share its traffic with a new version")


_ALIKE: Final = {"role": "Role", "dead-letter target": "DeadLetterConfig"}


def _target(configuration: Mapping[str, Any], key: str) -> Any:
    value = configuration.get(key)
    return value.get("TargetArn") if isinstance(value, dict) else value


def _policy(lambda_: Any, function: str) -> list[Mapping[str, Any]]:
    """The statements of the function's own resource policy that let anybody invoke it."""
    answer = _answers(lambda_, "get_policy", FunctionName=function)
    statements = json.loads(answer["Policy"]).get("Statement", []) if answer else []
    return [one for one in statements if one.get("Effect") == "Allow" and "Invoke" in str(one.get("Action"))]


def _answers(lambda_: Any, method: str, **arguments: str) -> Mapping[str, Any] | None:
    """What a look-up answers, None where there is no such thing."""
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


def _pages(client: Any, method: str, key: str, **arguments: str) -> list[Mapping[str, Any]]:
    return [item for page in client.get_paginator(method).paginate(**arguments) for item in page[key]]
