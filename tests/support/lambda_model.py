"""A model of Lambda, in memory and as AWS documents it, for tests of crashes and races.

Unlike an emulator it honours every precondition (`CodeSha256`, `RevisionId`), rejects every pair of versions
that cannot share traffic, and can fail before or after any call has taken effect. The code of an artifact is
looked up by its key in `code`. Sources, and the rules: `lambda_rules`.
"""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ReadTimeoutError

from support.lambda_rules import FunctionRules, arn, code_sha256, error

__all__ = ["LambdaModel", "error", "timeout"]


class LambdaModel(FunctionRules):
    """One account and region. `before` and `after` get each call's name and may raise.

    `responses` holds the response of an invoked function by the name it is invoked by: bytes, bytes with
    Lambda's `FunctionError`, or an exception. `timeout` is that of the last invocation's client, in seconds.
    `mappings` are event source mappings: a UUID, the function with its qualifier (`name:alias`), and the
    groups of metrics that it sends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.code: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.responses: dict[str, bytes | tuple[bytes, str] | Exception] = {}
        self.invoked: list[tuple[str, Any]] = []
        self.timeout = 0
        self.mappings: list[tuple[str, str, list[str]]] = []

    def set_alias(
        self,
        name: str,
        alias: str,
        version: str,
        weights: dict[str, float] | None = None,
        description: str | None = None,
    ) -> None:
        """Move or make the alias; without a description it keeps the one that it has."""
        aliases = self.functions[name]["aliases"]
        if description is None:
            description = aliases.get(alias, {}).get("Description", "")
        aliases[alias] = {
            "Name": alias,
            "FunctionVersion": version,
            "Description": description,
            "RoutingConfig": {"AdditionalVersionWeights": weights or {}},
        }
        self._touch(aliases[alias])

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
        self.check_version(name, version)
        del function["versions"][version]

    def serves(self, name: str, alias: str) -> tuple[str, dict[str, float]] | None:
        entry = self.functions[name]["aliases"].get(alias)
        return entry and (entry["FunctionVersion"], entry["RoutingConfig"]["AdditionalVersionWeights"])

    def code_of(self, name: str, version: str) -> str:
        digest: str = self.functions[name]["versions"][version]["CodeSha256"]
        return base64.b64decode(digest).hex()

    # The calls

    def get_function(self, *, FunctionName: str, Qualifier: str) -> Any:
        def call() -> Any:
            self._function(FunctionName, Qualifier)
            if Qualifier != "$LATEST":
                self.check_version(FunctionName, Qualifier)
            answer = self.answer(FunctionName, Qualifier)
            self.poll(FunctionName, Qualifier)
            return answer

        return self._run("GetFunction", call)

    def update_function_code(self, **request: Any) -> Any:
        """What is left out is reset: the key to AWS's (d); the architecture is kept (i: LocalEmu agrees)."""

        def call() -> Any:
            name = request["FunctionName"]
            function = self._function(name)
            self.check_settled(name)
            self.check_revision(function["latest"], request.get("RevisionId"))
            function["latest"]["CodeSha256"] = code_sha256(self.code[request["S3Key"]])
            function["latest"]["Architectures"] = request.get(
                "Architectures", function["latest"]["Architectures"]
            )
            function["keys"]["$LATEST"] = request.get("SourceKMSKeyArn")
            self.begin_update(name)
            return self.answer(name, "$LATEST")["Configuration"]

        self.requests.append(("UpdateFunctionCode", request))
        return self._run("UpdateFunctionCode", call)

    def publish_version(self, **request: Any) -> Any:
        """The order of the checks is assumed (r: test_publish_with_wrong_sha256, …_revisionid)."""

        def call() -> Any:
            name = request["FunctionName"]
            latest = self._function(name)["latest"]
            self.check_settled(name)
            self.check_revision(latest, request.get("RevisionId"))
            wanted = request.get("CodeSha256", latest["CodeSha256"])
            if latest["CodeSha256"] != wanted:
                message = (
                    f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST "
                    f"({latest['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST."
                )
                raise error("InvalidParameterValueException", 400, message)
            number = self.publish(name, request.get("Description", latest["Description"]))
            return self.answer(name, number)["Configuration"]

        return self._run("PublishVersion", call)

    def get_alias(self, *, FunctionName: str, Name: str) -> Any:
        def call() -> Any:
            aliases = self._function(FunctionName)["aliases"]
            if Name not in aliases:
                message = f"Cannot find alias arn: {arn(FunctionName, Name)}"
                raise error("ResourceNotFoundException", 404, message)
            return _alias(aliases[Name])

        return self._run("GetAlias", call)

    def create_alias(self, **request: Any) -> Any:
        """r: test_notfound_and_invalid_routingconfigs. Assumed: the version is looked for first."""

        def call() -> Any:
            name, alias, version = request["FunctionName"], request["Name"], request["FunctionVersion"]
            self._function(name, version)
            self.check_target(name, version)
            if alias in self.functions[name]["aliases"]:
                message = f"Alias already exists: {arn(name, alias)}"
                raise error("ResourceConflictException", 409, message)
            weights = request.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
            self.check_weights(name, alias, version, weights)
            self.set_alias(name, alias, version, weights, request.get("Description", ""))
            return _alias(self.functions[name]["aliases"][alias])

        return self._run("CreateAlias", call)

    def update_alias(self, **request: Any) -> Any:
        """What is left out stays; an empty set of weights clears them (r: test_alias_lifecycle).

        An update that changes nothing gives another revision too (r: the same, update_alias_1_2).
        """

        def call() -> Any:
            name, alias = request["FunctionName"], request["Name"]
            aliases = self._function(name)["aliases"]
            if alias not in aliases:
                message = f"Alias not found: {arn(name, alias)}"
                raise error("ResourceNotFoundException", 404, message)
            self.check_revision(aliases[alias], request.get("RevisionId"))
            version = request.get("FunctionVersion", aliases[alias]["FunctionVersion"])
            self.check_target(name, version)
            routing = request.get("RoutingConfig", aliases[alias]["RoutingConfig"])
            weights = routing["AdditionalVersionWeights"]
            self.check_weights(name, alias, version, weights)
            self.set_alias(name, alias, version, weights, request.get("Description"))
            return _alias(aliases[alias])

        self.requests.append(("UpdateAlias", request))
        return self._run("UpdateAlias", call)

    def delete_alias(self, *, FunctionName: str, Name: str) -> Any:
        def call() -> Any:
            self._function(FunctionName)["aliases"].pop(Name, None)
            return {}

        return self._run("DeleteAlias", call)

    def list_event_source_mappings(self, *, FunctionName: str, Marker: str = "0") -> Any:
        """Answer two to a page. That of an alias has only its own here; whether so on AWS, nothing says."""

        def call() -> Any:
            name, _, alias = FunctionName.partition(":")
            self._function(name)
            own = [one for one in self.mappings if one[1] == FunctionName]
            start = int(Marker)
            page = [
                {"UUID": uuid, "FunctionArn": arn(name, alias), "MetricsConfig": {"Metrics": groups}}
                for uuid, _, groups in own[start : start + 2]
            ]
            more = {"NextMarker": str(start + 2)} if start + 2 < len(own) else {}
            return {"EventSourceMappings": page, **more}

        return self._run("ListEventSourceMappings", call)

    def get_provisioned_concurrency_config(self, *, FunctionName: str, Qualifier: str) -> Any:
        def call() -> Any:
            function = self.functions.get(FunctionName)
            if function is None or Qualifier not in function["aliases"]:
                message = f"Cannot find alias arn: {arn(FunctionName, Qualifier)}"
                raise error("ResourceNotFoundException", 404, message)
            if Qualifier not in function["provisioned"]:
                raise error(
                    "ProvisionedConcurrencyConfigNotFoundException",
                    404,
                    "No Provisioned Concurrency Config found for this function",
                )
            return {"RequestedProvisionedConcurrentExecutions": 1, "Status": "READY"}

        return self._run("GetProvisionedConcurrencyConfig", call)

    def invoke(
        self, *, FunctionName: str, Payload: bytes = b"{}", InvocationType: str = "RequestResponse"
    ) -> Any:
        def call() -> Any:
            name, _, version = FunctionName.partition(":")
            function = self._function(name, version or None)
            if InvocationType == "DryRun":  # names and permissions are checked, and nothing runs
                return {"StatusCode": 204, "Payload": io.BytesIO(b"")}
            if version:
                self.check_version(name, version)
                if function["versions"][version]["State"] == "Inactive":
                    # "the invocation fails and Lambda sets the function to pending state until the function
                    # resources are recreated" (Lambda developer guide, "Lambda function states")
                    function["versions"][version]["State"] = "Pending"
                    function["pending"][version] = 2
                if function["versions"][version]["State"] == "Pending":
                    message = (
                        "The operation cannot be performed at this time. "
                        "The function is currently in the following state: Pending"
                    )
                    raise error("ResourceConflictException", 409, message)
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
            qualifier = None if qualifier == "$LATEST" else qualifier
            raise error("ResourceNotFoundException", 404, f"Function not found: {arn(name, qualifier)}")
        return self.functions[name]


def _alias(entry: dict[str, Any]) -> dict[str, Any]:
    """Without weights an alias has no RoutingConfig at all (r: test_alias_lifecycle)."""
    weights = entry["RoutingConfig"]["AdditionalVersionWeights"]
    return {key: value for key, value in entry.items() if key != "RoutingConfig" or weights}


def timeout() -> ReadTimeoutError:
    """The error of a call whose response was lost."""
    return ReadTimeoutError(endpoint_url="https://lambda")
