"""What Lambda says of a function's aliases and of whatever may invoke it: reading, for the look for drift.

Only the fields named here leave this module (guarantees.md#7-no-secret-in-any-output).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from sluicegate.aws.lambda_ import Alias, LambdaNotFound, LambdaUnavailable, lambda_call, read_alias
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

MOST_PAGES: Final = 200
"""Pages of one list that are read. Event source mappings come 100 a page, aliases 50 (API reference)."""

MAX_POLICY: Final = 64 * 1024
"""Characters of a policy that is read. Lambda's quota is 20 KB (developer guide, "Lambda quotas")."""

_INVOKING: Final = ("lambda:invokefunction", "lambda:invokefunctionurl", "lambda:invokeasync")
_LONGEST: Final = 256


@dataclass(frozen=True)
class Trigger:
    """Something that may invoke a function: `kind` is `event_source`, `function_url` or `permission`.

    `qualifier` is the alias or version that it invokes, "" for `$LATEST`. `id` is the mapping's UUID or the
    statement's id, `source` the ARN or the principal that invokes.
    """

    kind: str
    function: str
    qualifier: str
    id: str
    source: str


class TriggerApi:
    """The functions of one account and region.

    `client` is a Lambda client. `next_page` is called before each page of a list but the first.
    """

    def __init__(self, client: "LambdaClient", next_page: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._next_page = next_page

    def aliases(self, function: str) -> dict[str, Alias]:
        """ListAliases: state and revision of each, by name. Raises LambdaNotFound without the function."""
        found: dict[str, Alias] = {}
        request: dict[str, Any] = {"FunctionName": function}
        for _ in range(MOST_PAGES):
            answer = lambda_call(self._client.list_aliases, **request)
            for entry in answer.get("Aliases", ()):
                found[clean(str(entry.get("Name")), _LONGEST)] = read_alias(entry)
            if not answer.get("NextMarker"):
                return found
            request["Marker"] = answer["NextMarker"]
            self._next_page()
        raise LambdaUnavailable("TooManyAliases", "the function has more aliases than are read")

    def event_sources(self) -> dict[str, tuple[Trigger, ...]]:
        """ListEventSourceMappings: those of the region that are not disabled, by function.

        It is asked for all functions at once: one call for a hundred mappings, and whether the list of a
        function has those of its aliases is not documented. FunctionArn has the qualifier.
        """
        found: dict[str, list[Trigger]] = {}
        request: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            answer = lambda_call(self._client.list_event_source_mappings, **request)
            for mapping in answer.get("EventSourceMappings", ()):
                if str(mapping.get("State")) not in ("Disabled", "Disabling", "Deleting"):
                    function, qualifier = _qualified(mapping.get("FunctionArn"))
                    source = mapping.get("EventSourceArn") or _self_managed(mapping)
                    one = Trigger("event_source", function, qualifier, _text(mapping, "UUID"), _short(source))
                    found.setdefault(function, []).append(one)
            if not answer.get("NextMarker"):
                return {function: tuple(triggers) for function, triggers in found.items()}
            request["Marker"] = answer["NextMarker"]
            self._next_page()
        raise LambdaUnavailable("TooManyMappings", "the region has more event source mappings than are read")

    def urls(self, function: str) -> tuple[Trigger, ...]:
        """ListFunctionUrlConfigs: `$LATEST` and each alias may have one; `source` is its kind of access."""
        found: list[Trigger] = []
        request: dict[str, Any] = {"FunctionName": function}
        for _ in range(MOST_PAGES):
            answer = lambda_call(self._client.list_function_url_configs, **request)
            for entry in answer.get("FunctionUrlConfigs", ()):
                _, qualifier = _qualified(entry.get("FunctionArn"))
                found.append(
                    Trigger(
                        "function_url",
                        function,
                        qualifier,
                        _text(entry, "FunctionUrl"),
                        _text(entry, "AuthType"),
                    )
                )
            if not answer.get("NextMarker"):
                break
            request["Marker"] = answer["NextMarker"]
            self._next_page()
        return tuple(found)

    def permissions(self, function: str, qualifier: str = "") -> tuple[Trigger, ...]:
        """GetPolicy: who may invoke the unqualified function, or one qualifier, by a resource-based policy.

        The policy of a function is not that of its aliases and versions: each has its own (developer guide,
        "Working with resource-based IAM policies in Lambda"; API reference, GetPolicy, 2026-11-26).
        """
        request: dict[str, Any] = {"FunctionName": function}
        if qualifier:
            request["Qualifier"] = qualifier
        try:
            answer = lambda_call(self._client.get_policy, **request)
        except LambdaNotFound:  # there is none
            return ()
        return tuple(
            Trigger("permission", function, qualifier, _text(statement, "Sid"), _caller(statement))
            for statement in _statements(str(answer.get("Policy", "")))
            if statement.get("Effect") == "Allow" and _invokes(statement.get("Action"))
        )


def _statements(policy: str) -> Iterator[Mapping[str, Any]]:
    """Yield a policy's statements. Raises LambdaUnavailable for what is none."""
    try:
        document = json.loads(policy) if len(policy) <= MAX_POLICY else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LambdaUnavailable("UnreadableAnswer", "Lambda answered a policy that is none")
    listed = document.get("Statement")
    yield from (one for one in (listed if isinstance(listed, list) else [listed]) if isinstance(one, dict))


def _invokes(actions: object) -> bool:
    """Say whether a statement's actions have one that invokes; a statement without actions may have."""
    names = actions if isinstance(actions, list) else [actions]
    if not any(isinstance(name, str) for name in names):
        return True
    patterns = [name.lower() for name in names if isinstance(name, str)]
    return any(fnmatchcase(action, pattern) for action in _INVOKING for pattern in patterns)


def _caller(statement: Mapping[str, Any]) -> str:
    """`apigateway.amazonaws.com arn:aws:execute-api:…`: who may, and for which resource."""
    principal = statement.get("Principal")
    named = list(principal.values()) if isinstance(principal, dict) else [principal]
    flat = [one for value in named for one in (value if isinstance(value, list) else [value])]
    sources: list[str] = []
    condition = statement.get("Condition")
    for operands in condition.values() if isinstance(condition, dict) else ():
        for key, value in operands.items() if isinstance(operands, dict) else ():
            if str(key).lower() == "aws:sourcearn":
                sources += [str(one) for one in (value if isinstance(value, list) else [value])]
    return _short(" ".join([*sorted(map(str, flat)), *sorted(sources)]))


def _qualified(arn: object) -> tuple[str, str]:
    """Return function and qualifier of an ARN: `…:function:orders-api:live`."""
    parts = str(arn).partition(":function:")[2].split(":")
    qualifier = parts[1] if len(parts) > 1 else ""
    return clean(parts[0], _LONGEST), "" if qualifier == "$LATEST" else clean(qualifier, _LONGEST)


def _self_managed(mapping: Mapping[str, Any]) -> str:
    """Name what is polled where that has no ARN: a Kafka of the user's own, by its topics."""
    topics = mapping.get("Topics")
    return " ".join(["self-managed", *map(str, topics if isinstance(topics, list) else ())])


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return _short(value) if isinstance(value, str) else ""


def _short(text: object) -> str:
    return clean(str(text), _LONGEST)
