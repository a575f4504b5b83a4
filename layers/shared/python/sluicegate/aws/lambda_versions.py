"""A function's versions: what they are, what is attached to one, and how one is deleted.

Only the fields named here leave this module (guarantees.md#7-no-secret-in-any-output).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sluicegate.aws.lambda_ import LambdaNotFound, LambdaUnavailable, hex_digest, lambda_call
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

MOST_PAGES: Final = 400
"""Pages of one list that are read. Versions come 50 a page (API reference, ListVersionsByFunction)."""

_LONGEST: Final = 256

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

_DURABLE: Final = re.compile(r":function:[A-Za-z0-9_-]+:([0-9]+|\$LATEST(?:\.PUBLISHED)?)/durable-execution/")


@dataclass(frozen=True)
class ListedVersion:
    """A version as Lambda lists it: its code's digest in hex, and when it was modified (epoch seconds)."""

    version: str
    sha256: str
    modified: float | None


@dataclass(frozen=True)
class NumberedVersion:
    """The number of a published version: nothing else can be deleted. Raises ValueError.

    DeleteFunction without a qualifier, or with `$LATEST`, deletes the function (API reference).
    """

    text: str

    def __post_init__(self) -> None:
        if not _NUMBER.fullmatch(self.text):
            raise ValueError(f"{clean(self.text, 100)!r} is not the number of a version")


@dataclass(frozen=True)
class CodeStorage:
    """Bytes of code that the account has in the region, and how many it may have."""

    used: int
    limit: int


class VersionsApi:
    """The functions' versions of one account and region, for reading.

    `client` is a Lambda client. `next_page` is called before each page of a list but the first.
    """

    def __init__(self, client: "LambdaClient", next_page: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._next_page = next_page

    def versions(self, function: str) -> tuple[ListedVersion, ...]:
        """ListVersionsByFunction, without `$LATEST`. Raises LambdaNotFound without the function."""
        pages = self._pages(self._client.list_versions_by_function, "Versions", FunctionName=function)
        return tuple(
            ListedVersion(str(entry["Version"]), hex_digest(str(entry.get("CodeSha256"))), _modified(entry))
            for entry in pages
            if str(entry.get("Version")).isdecimal()
        )

    def event_source_qualifiers(self) -> dict[str, frozenset[str]]:
        """ListEventSourceMappings: by function the qualifiers of those of the region, disabled ones too.

        It is asked for all functions at once: whether the list of a function has those of its versions is not
        documented. FunctionArn has the qualifier.
        """
        found: dict[str, set[str]] = {}
        for entry in self._pages(self._client.list_event_source_mappings, "EventSourceMappings"):
            function, qualifier = _qualified(entry.get("FunctionArn"))
            found.setdefault(function, set()).add(qualifier)
        return {function: frozenset(qualifiers) for function, qualifiers in found.items()}

    def provisioned(self, function: str) -> frozenset[str]:
        """ListProvisionedConcurrencyConfigs: the qualifiers that have one."""
        pages = self._pages(
            self._client.list_provisioned_concurrency_configs,
            "ProvisionedConcurrencyConfigs",
            FunctionName=function,
        )
        return frozenset(_qualified(entry.get("FunctionArn"))[1] for entry in pages)

    def invoke_configs(self, function: str) -> frozenset[str]:
        """ListFunctionEventInvokeConfigs: the qualifiers that have one of their own."""
        pages = self._pages(
            self._client.list_function_event_invoke_configs,
            "FunctionEventInvokeConfigs",
            FunctionName=function,
        )
        return frozenset(_qualified(entry.get("FunctionArn"))[1] for entry in pages)

    def has_policy(self, function: str, version: str) -> bool:
        """GetPolicy of the version: a policy of the function or of an alias is another one."""
        try:
            lambda_call(self._client.get_policy, FunctionName=function, Qualifier=version)
        except LambdaNotFound:
            return False
        return True

    def running_executions(self, function: str) -> frozenset[str]:
        """ListDurableExecutionsByFunction: the versions on which a durable execution runs.

        It is pinned to the version that it began on (Lambda developer guide, "Best practices for Lambda
        durable functions"). The ARN has the number, also of one that an alias began (botocore's pattern of
        DurableExecutionArn; both read on 2026-11-27). Raises LambdaUnavailable for one whose ARN has none.
        """
        pages = self._pages(
            self._client.list_durable_executions_by_function,
            "DurableExecutions",
            FunctionName=function,
            Statuses=["RUNNING"],
            MaxItems=1_000,
        )
        found = set()
        for entry in pages:
            version = _DURABLE.search(str(entry.get("DurableExecutionArn")))
            if version is None:
                raise LambdaUnavailable("UnreadableAnswer", "a durable execution's ARN has no version")
            found.add(version[1])
        return frozenset(found)

    def code_storage(self) -> CodeStorage:
        """GetAccountSettings: the code storage of account and region."""
        answer = lambda_call(self._client.get_account_settings)
        used = answer.get("AccountUsage", {}).get("TotalCodeSize")
        limit = answer.get("AccountLimit", {}).get("TotalCodeSize")
        if not isinstance(used, int) or not isinstance(limit, int):
            raise LambdaUnavailable("UnreadableAnswer", "Lambda answered without TotalCodeSize")
        return CodeStorage(used, limit)

    def _pages(self, call: Callable[..., Any], name: str, **request: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of all pages. Raises LambdaUnavailable where there are more than are read."""
        for _ in range(MOST_PAGES):
            answer = lambda_call(call, **request)
            yield from answer.get(name, ())
            if not answer.get("NextMarker"):
                return
            request["Marker"] = answer["NextMarker"]
            self._next_page()
        raise LambdaUnavailable("TooManyPages", f"there are more {name} than are read")


class VersionDeleter:
    """One version, to delete it. `client` is a Lambda client whose session is limited to it."""

    def __init__(self, client: "LambdaClient", function: str, number: NumberedVersion) -> None:
        if not _NAME.fullmatch(function):  # a name with a colon would bring a qualifier of its own
            raise ValueError(f"{clean(function, 100)!r} is not the name of a function")
        self._client = client
        self._function = function
        self._number = number

    def delete(self) -> None:
        """DeleteFunction of the version; one that is gone already is fine: Lambda answers 204 for it, too.

        Raises LambdaConflict where an alias names it ("Unable to delete version because the following aliases
        reference it: [live]"), LambdaRejected for a version that is replicated for Lambda@Edge ("Lambda was
        unable to delete … because it is a replicated function"; lumigo-io/SAR-Lambda-Janitor#42, 7 December
        2021), and LambdaUnavailable where it may have taken effect.
        """
        with suppress(LambdaNotFound):
            lambda_call(
                self._client.delete_function, FunctionName=self._function, Qualifier=self._number.text
            )


def _qualified(arn: object) -> tuple[str, str]:
    """Return function and qualifier of an ARN: `…:function:orders-api:41`."""
    parts = str(arn).partition(":function:")[2].split(":")
    return clean(parts[0], _LONGEST), clean(parts[1], _LONGEST) if len(parts) > 1 else ""


def _modified(entry: Mapping[str, Any]) -> float | None:
    """Return the time in `2026-11-26T10:20:30.123+0000`, as Lambda writes it, or None."""
    try:
        return datetime.strptime(str(entry.get("LastModified")), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        return None
