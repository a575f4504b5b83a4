"""A model of Lambda, in memory and as AWS documents it, for tests of crashes and races.

Unlike an emulator it honours every precondition (`CodeSha256`, `RevisionId`), rejects every pair of versions
that cannot share traffic, and can fail before or after any call has taken effect. The code of an artifact is
looked up by its key in `code`.

The texts of 404 are AWS's, from the answers that localstack/localstack recorded on 25 November 2025
(`tests/aws/services/lambda_/test_lambda_api.snapshot.json`): a missing version reads like a missing function.
`tests/contract/test_lambda.py` holds this model against them.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError


def error(code: str, status: int, message: str = "") -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Call")


def code_sha256(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def _arn(name: str, qualifier: str | None = None) -> str:
    arn = f"arn:aws:lambda:eu-central-1:111111111111:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn


class LambdaModel:
    """One account and region. `before` and `after` get each call's name and may raise.

    `responses` holds the response of an invoked function by the name it is invoked by: bytes, bytes with
    Lambda's `FunctionError`, or an exception. `timeout` is that of the last invocation's client, in seconds.
    An update is InProgress for `busy_polls` polls, a new version Pending for `pending_polls`.
    """

    def __init__(self) -> None:
        self.code: dict[str, bytes] = {}
        self.functions: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.busy_polls = 1
        self.pending_polls = 0
        self.responses: dict[str, bytes | tuple[bytes, str] | Exception] = {}
        self.invoked: list[tuple[str, Any]] = []
        self.timeout = 0
        self._revision = 0

    def add(self, name: str, code: bytes = b"first", **settings: Any) -> None:
        self.functions[name] = {
            "latest": {
                "Version": "$LATEST",
                "CodeSha256": code_sha256(code),
                "MemorySize": 128,
                "Role": "arn:aws:iam::111111111111:role/orders",
                "State": "Active",
                **settings,
            },
            "versions": {},
            "aliases": {},
            "provisioned": set(),
            "pending": {},
            "busy": 0,
        }
        self._touch(self.functions[name]["latest"])

    def configure(self, name: str, **settings: Any) -> None:
        self.functions[name]["latest"].update(settings)
        self._touch(self.functions[name]["latest"])

    def set_alias(
        self,
        name: str,
        alias: str,
        version: str,
        weights: dict[str, float] | None = None,
        description: str | None = None,
    ) -> None:
        """Point an alias at a version. Without weights, Lambda leaves `RoutingConfig` out."""
        earlier = self.functions[name]["aliases"].get(alias, {})
        kept = earlier.get("Description", "") if description is None else description
        entry: dict[str, Any] = {"Name": alias, "FunctionVersion": version, "Description": kept}
        if weights:
            entry["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        self._touch(entry)
        self.functions[name]["aliases"][alias] = entry

    def provision(self, name: str, alias: str) -> None:
        """Give the alias provisioned concurrency."""
        self.functions[name]["provisioned"].add(alias)

    def set_state(self, name: str, version: str, state: str, reason: str = "Idle", **fields: str) -> None:
        """Set a state that Lambda sets itself: `Inactive` after weeks, `Failed` if it cannot run.

        `fields` are others of the configuration, such as `LastUpdateStatus`.
        """
        self.functions[name]["versions"][version] |= {"State": state, "StateReasonCode": reason, **fields}

    def prune(self, name: str, version: str) -> None:
        """DeleteFunction of a version, as a script for old versions calls it.

        Lambda refuses it for a version that an alias points to (409, "Unable to delete version because the
        following aliases reference it"; go-lambda-cleanup#45, 12 December 2022). Whether a weight alone
        protects a version is not documented: here it does not.
        """
        function = self._function(name)
        references = [key for key, one in function["aliases"].items() if one["FunctionVersion"] == version]
        if references:
            message = f"Unable to delete version because the following aliases reference it: [{references}]"
            raise error("ResourceConflictException", 409, message)
        self._check_version(name, version)
        del function["versions"][version]

    def serves(self, name: str, alias: str) -> tuple[str, dict[str, float]] | None:
        entry = self.functions[name]["aliases"].get(alias)
        if entry is None:
            return None
        return entry["FunctionVersion"], entry.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})

    def code_of(self, name: str, version: str) -> str:
        digest: str = self.functions[name]["versions"][version]["CodeSha256"]
        return base64.b64decode(digest).hex()

    # The calls

    def get_function(self, *, FunctionName: str, Qualifier: str) -> Any:
        def call() -> Any:
            function = self._function(FunctionName, Qualifier)
            if Qualifier != "$LATEST":
                self._check_version(FunctionName, Qualifier)
                self._poll(function, Qualifier)
                return {"Configuration": function["versions"][Qualifier], "Code": {"Location": "https://x"}}
            status = "InProgress" if function["busy"] else "Successful"
            if function["busy"]:
                function["busy"] -= 1
                if not function["busy"]:
                    self._touch(function["latest"])
            return {"Configuration": {**function["latest"], "LastUpdateStatus": status}}

        return self._run("GetFunction", call)

    def update_function_code(self, *, FunctionName: str, RevisionId: str, S3Key: str, **_: Any) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            self._check_settled(function)
            self._check_revision(function["latest"], RevisionId)
            function["latest"]["CodeSha256"] = code_sha256(self.code[S3Key])
            self._touch(function["latest"])
            function["busy"] = self.busy_polls
            return {
                **function["latest"],
                "LastUpdateStatus": "InProgress" if self.busy_polls else "Successful",
            }

        return self._run("UpdateFunctionCode", call)

    def publish_version(
        self, *, FunctionName: str, CodeSha256: str, RevisionId: str, Description: str
    ) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            self._check_settled(function)
            latest = function["latest"]
            if latest["CodeSha256"] != CodeSha256:
                raise error(
                    "InvalidParameterValueException",
                    400,
                    f"CodeSHA256 ({CodeSha256}) is different from current CodeSHA256 in $LATEST "
                    f"({latest['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST.",
                )
            self._check_revision(latest, RevisionId)
            moving = ("Version", "RevisionId", "Description", "State", "StateReasonCode")
            frozen = {k: v for k, v in latest.items() if k not in moving}
            for known in function["versions"].values():
                if frozen == {k: v for k, v in known.items() if k in frozen}:
                    return known
            number = str(max(map(int, function["versions"]), default=0) + 1)
            function["versions"][number] = {**latest, "Version": number, "Description": Description}
            if self.pending_polls:
                function["versions"][number]["State"] = "Pending"
                function["pending"][number] = self.pending_polls
            self._touch(function["versions"][number])
            self._touch(latest)
            return function["versions"][number]

        return self._run("PublishVersion", call)

    def get_alias(self, *, FunctionName: str, Name: str) -> Any:
        def call() -> Any:
            aliases = self._function(FunctionName)["aliases"]
            if Name not in aliases:
                raise error(
                    "ResourceNotFoundException", 404, f"Cannot find alias arn: {_arn(FunctionName, Name)}"
                )
            return aliases[Name]

        return self._run("GetAlias", call)

    def create_alias(self, *, FunctionName: str, Name: str, FunctionVersion: str, Description: str) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            if Name in function["aliases"]:
                raise error(
                    "ResourceConflictException", 409, f"Alias already exists: {_arn(FunctionName, Name)}"
                )
            self._check_version(FunctionName, FunctionVersion)
            self.set_alias(FunctionName, Name, FunctionVersion, description=Description)
            return function["aliases"][Name]

        return self._run("CreateAlias", call)

    def update_alias(
        self, *, FunctionName: str, Name: str, FunctionVersion: str, RoutingConfig: Any, RevisionId: str
    ) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            if Name not in function["aliases"]:
                raise error("ResourceNotFoundException", 404, f"Alias not found: {_arn(FunctionName, Name)}")
            self._check_revision(function["aliases"][Name], RevisionId)
            self._check_version(FunctionName, FunctionVersion)
            weights = RoutingConfig["AdditionalVersionWeights"]
            self._check_weights(FunctionName, Name, FunctionVersion, weights)
            self.set_alias(FunctionName, Name, FunctionVersion, weights)
            return function["aliases"][Name]

        return self._run("UpdateAlias", call)

    def delete_alias(self, *, FunctionName: str, Name: str) -> Any:
        def call() -> Any:
            self._function(FunctionName)["aliases"].pop(Name, None)
            return {}

        return self._run("DeleteAlias", call)

    def get_provisioned_concurrency_config(self, *, FunctionName: str, Qualifier: str) -> Any:
        def call() -> Any:
            function = self.functions.get(FunctionName)
            if function is None or Qualifier not in function["aliases"]:
                arn = _arn(FunctionName, Qualifier)
                raise error("ResourceNotFoundException", 404, f"Cannot find alias arn: {arn}")
            if Qualifier not in function["provisioned"]:
                raise error(
                    "ProvisionedConcurrencyConfigNotFoundException",
                    404,
                    "No Provisioned Concurrency Config found for this function",
                )
            return {"RequestedProvisionedConcurrentExecutions": 1, "Status": "READY"}

        return self._run("GetProvisionedConcurrencyConfig", call)

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Any:
        def call() -> Any:
            name, _, version = FunctionName.partition(":")
            function = self._function(name, version or None)
            if version:
                self._check_version(name, version)
                if function["versions"][version]["State"] == "Inactive":
                    # "the invocation fails and Lambda sets the function to pending state until the function
                    # resources are recreated" (Lambda developer guide, "Lambda function states")
                    function["versions"][version]["State"] = "Pending"
                    function["pending"][version] = 2
                if function["versions"][version]["State"] == "Pending":
                    raise error(
                        "ResourceConflictException", 409, "The function is currently in Pending state"
                    )
            self.invoked.append((FunctionName, json.loads(Payload)))
            response = self.responses.get(FunctionName, b'{"ok":true}')
            if isinstance(response, Exception):
                raise response
            payload, failed = response if isinstance(response, tuple) else (response, None)
            error_field = {"FunctionError": failed} if failed else {}
            return {"StatusCode": 200, "Payload": io.BytesIO(payload), **error_field}

        return self._run("Invoke", call)

    # Parts

    def _run(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        self.before(name)
        try:
            return {**call()}
        finally:
            self.after(name)

    def _function(self, name: str, qualifier: str | None = None) -> dict[str, Any]:
        if name not in self.functions:
            raise error("ResourceNotFoundException", 404, f"Function not found: {_arn(name, qualifier)}")
        return self.functions[name]

    def _check_settled(self, function: dict[str, Any]) -> None:
        if function["busy"]:
            raise error("ResourceConflictException", 409, "An update is in progress")

    def _check_revision(self, entry: dict[str, Any], revision: str) -> None:
        if entry["RevisionId"] != revision:
            raise error(
                "PreconditionFailedException",
                412,
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
            )

    def _check_version(self, name: str, version: str) -> None:
        if version not in self._function(name)["versions"]:
            raise error("ResourceNotFoundException", 404, f"Function not found: {_arn(name, version)}")

    def _poll(self, function: dict[str, Any], version: str) -> None:
        """Count a poll: after enough of them the version is Active."""
        if version in function["pending"]:
            function["pending"][version] -= 1
            if not function["pending"][version]:
                del function["pending"][version]
                function["versions"][version]["State"] = "Active"

    def _check_weights(self, name: str, alias: str, main: str, weights: dict[str, float]) -> None:
        """Two published versions of one role and dead-letter target (CreateAlias, RoutingConfig)."""
        function, rejection = self._function(name), None
        if len(weights) > 1:
            rejection = "Number of items in AdditionalVersionWeights cannot be greater than 1"
        elif weights and alias in function["provisioned"]:
            rejection = "Alias with weights can not be used with Provisioned Concurrency"
        for version, weight in weights.items():
            self._check_version(name, version)
            if version == main:
                rejection = (
                    f"Invalid function version {main}. "
                    f"Function version {main} is already included in routing configuration."
                )
            if not 0 <= weight <= 1:
                rejection = "A weight is from 0 to 1"
            one, other = function["versions"][main], function["versions"][version]
            if any(one.get(key) != other.get(key) for key in ("Role", "DeadLetterConfig")):
                rejection = "The versions differ in their role or dead-letter queue"
        if rejection:
            raise error("InvalidParameterValueException", 400, rejection)

    def _touch(self, entry: dict[str, Any]) -> None:
        self._revision += 1
        entry["RevisionId"] = f"revision-{self._revision}"


def timeout() -> ReadTimeoutError:
    """The error of a call whose response was lost."""
    return ReadTimeoutError(endpoint_url="https://lambda")
