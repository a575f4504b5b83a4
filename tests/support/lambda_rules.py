"""What Lambda keeps of a function, and its rules about states, revisions, versions and weights.

Sources: (r) answers that localstack/localstack recorded on AWS, `test_lambda_api.snapshot.json`, on 25
November 2025 where no other date is given, read in its commit 8b9a79f; (d) AWS's documentation and botocore's
model of Lambda 2015-03-31, read on 26 November 2026; (i) an issue thread. What neither says is marked as
assumed.
"""

import base64
import copy
import hashlib
import json
from typing import Any, Final

from botocore.exceptions import ClientError

from support.refusals import refused

ARN: Final = "arn:aws:lambda:eu-central-1:111111111111:function"

CREATING: Final = {"Reason": "The function is being created.", "ReasonCode": "Creating"}
"""The reason for `Pending` and for `InProgress`: the same for both (r: test_version_lifecycle)."""

_MOVING: Final = frozenset({"Version", "RevisionId", "State", "StateReason", "StateReasonCode"})
"""Members that a version does not take over from `$LATEST`."""


def error(code: str, status: int, message: str = "") -> ClientError:
    return refused(code, message, status)


def code_sha256(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def arn(name: str, qualifier: str | None = None) -> str:
    return f"{ARN}:{name}:{qualifier}" if qualifier else f"{ARN}:{name}"


class FunctionRules:
    """The functions of one account and region.

    An update is InProgress for `busy_polls` polls, a new version Pending for `pending_polls`; with `failure`,
    a reason code and a sentence, it is Failed then. `conflicts` has a second publication refused while a
    version is Pending (unknown on AWS: SnapStart). `undecryptable` names functions whose environment the
    caller may not decrypt. With `hashes` Lambda answers ConfigSha256.
    """

    def __init__(self) -> None:
        self.functions: dict[str, dict[str, Any]] = {}
        self.busy_polls = 1
        self.pending_polls = 0
        self.failure: tuple[str, str] | None = None
        self.conflicts = False
        self.undecryptable: set[str] = set()
        self.hashes = False
        self._revision = 0
        self._requests = 0

    def add(self, name: str, code: bytes = b"first", **settings: Any) -> None:
        self.functions[name] = {
            "latest": {
                "Version": "$LATEST",
                "CodeSha256": code_sha256(code),
                "Architectures": ["x86_64"],
                "Description": "",
                "MemorySize": 128,
                "Role": "arn:aws:iam::111111111111:role/orders",
                "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
                "State": "Active",
                **settings,
            },
            "versions": {},
            "aliases": {},
            "provisioned": set(),
            "pending": {},
            "busy": 0,
            "keys": {},
            "published": None,
            "number": 0,
        }
        self._touch(self.functions[name]["latest"])

    def configure(self, name: str, **settings: Any) -> None:
        """UpdateFunctionConfiguration by somebody else, settled."""
        self.functions[name]["latest"].update(settings)
        self._touch(self.functions[name]["latest"])

    def encrypt_code(self, name: str, key: str) -> None:
        """Have the code of `$LATEST` encrypted with a key of the customer's (SourceKMSKeyArn)."""
        self.functions[name]["keys"]["$LATEST"] = key

    def answer(self, name: str, qualifier: str) -> dict[str, Any]:
        """GetFunction's response (r: test_version_lifecycle).

        An environment that cannot be decrypted is an `Error` (d: EnvironmentResponse), whose message is
        another for each request. ConfigSha256 is "the SHA256 hash of the function configuration" (d):
        assumed, the worst case, that it covers the description too.
        """
        function = self.functions[name]
        held = function["latest"] if qualifier == "$LATEST" else function["versions"][qualifier]
        configuration = copy.deepcopy(held)
        if self.hashes:
            text = json.dumps(_frozen(held), sort_keys=True, default=str)
            configuration["ConfigSha256"] = code_sha256(text.encode())
        if name in self.undecryptable:
            self._requests += 1
            message = f"Lambda was unable to decrypt (RequestId: {self._requests:08})"
            configuration["Environment"] = {
                "Error": {"ErrorCode": "KMSAccessDeniedException", "Message": message}
            }
        key = function["keys"].get(qualifier)
        code = {"RepositoryType": "S3", "Location": "https://x"} | ({"SourceKMSKeyArn": key} if key else {})
        return {"Configuration": configuration, "Code": code}

    def publish(self, name: str, description: str) -> str:
        """Return the number of the version that holds `$LATEST`.

        Unchanged since the last publication, it is the last version again, with the description that it had
        (r: test_version_lifecycle, third_publish_response), also if its snapshot failed (i: hashicorp/
        terraform-provider-aws#49904). An older version with the same code does not count (d: PublishVersion,
        "since the last version"). Publishing gives `$LATEST` another revision (r:
        test_function_revisions_version_and_alias). A number is never given twice (d).
        """
        function = self.functions[name]
        latest, last = function["latest"], function["published"]
        if last and last[0] in function["versions"] and last[1] == _frozen(latest):
            return str(last[0])
        function["number"] += 1
        number = str(function["number"])
        function["published"] = (number, _frozen(latest))
        version = copy.deepcopy({key: value for key, value in latest.items() if key not in _MOVING})
        function["versions"][number] = version | {
            "Version": number,
            "Description": description,
            "State": "Active",
        }
        function["keys"][number] = function["keys"].get("$LATEST")
        if self.pending_polls:
            function["pending"][number] = self.pending_polls
            self._prepare(function, number)
        else:
            function["versions"][number]["LastUpdateStatus"] = "Successful"
        self._touch(function["versions"][number])
        self._touch(latest)
        return number

    def poll(self, name: str, qualifier: str) -> None:
        """Count a poll: after enough of them an update is settled, and a version can run, or has failed."""
        function = self.functions[name]
        if qualifier == "$LATEST" and function["busy"]:
            function["busy"] -= 1
            if not function["busy"]:
                self._settle(function["latest"])
        elif qualifier in function["pending"]:
            function["pending"][qualifier] -= 1
            if not function["pending"][qualifier]:
                del function["pending"][qualifier]
                self._end_preparation(function["versions"][qualifier])

    def begin_update(self, name: str) -> None:
        """`$LATEST` has another revision now, and again when it is settled (r: test_redundant_updates)."""
        function = self.functions[name]
        function["busy"] = self.busy_polls
        self._settle(function["latest"])
        if self.busy_polls:
            status = {f"LastUpdateStatus{key}": value for key, value in CREATING.items()}
            function["latest"] |= {"LastUpdateStatus": "InProgress", **status}

    def check_settled(self, name: str) -> None:
        """An update locks code, configuration and versions (r: test_lambda_concurrent_code_updates)."""
        function = self.functions[name]
        if function["busy"] or (self.conflicts and function["pending"]):
            message = f"An update is in progress for resource: {arn(name)}"
            raise error(
                "ResourceConflictException", 409, f"The operation cannot be performed at this time. {message}"
            )

    def check_revision(self, entry: dict[str, Any], revision: str | None) -> None:
        """r: test_function_revisions_basic."""
        if revision is not None and entry["RevisionId"] != revision:
            message = (
                "The Revision Id provided does not match the latest Revision Id. "
                "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
            )
            raise error("PreconditionFailedException", 412, message)

    def check_version(self, name: str, version: str) -> None:
        """A missing version reads like a missing function (r: test_ops_on_nonexisting_version)."""
        if version not in self.functions[name]["versions"]:
            raise error("ResourceNotFoundException", 404, f"Function not found: {arn(name, version)}")

    def check_target(self, name: str, version: str) -> None:
        """An alias cannot be moved to a version that Failed (i: hashicorp/terraform-provider-aws#49904).

        Assumed for one that is Pending: "API actions that operate on the function will fail" (d: function
        states).
        """
        if version == "$LATEST":
            return
        self.check_version(name, version)
        found = self.functions[name]["versions"][version]
        if found["State"] in ("Failed", "Pending"):
            state = f"'{found['State']}', StateReasonCode: '{found.get('StateReasonCode')}'"
            message = f"The function is currently in the following state: {state}"
            raise error(
                "ResourceConflictException", 409, f"The operation cannot be performed at this time. {message}"
            )

    def check_weights(self, name: str, alias: str, main: str, weights: dict[str, float]) -> None:
        """One role, one dead-letter queue (d); the rest: r: test_notfound_and_invalid_routingconfigs."""
        function, refusals = self.functions[name], []
        if len(weights) > 1:
            refusals.append("Number of items in AdditionalVersionWeights cannot be greater than 1")
        if weights and main == "$LATEST":
            refusals.append("$LATEST is not supported for an alias pointing to more than 1 version")
        if weights and alias in function["provisioned"]:
            refusals.append("Alias with weights can not be used with Provisioned Concurrency")
        for version, weight in weights.items():
            if not 0 <= weight <= 1 or not version.isdecimal():
                raise error("ValidationException", 400, "1 validation error detected: Value")
            if version == main:
                included = f"Function version {version} is already included in routing configuration."
                refusals.append(f"Invalid function version {version}. {included}")
            self.check_version(name, version)
            one, other = (function["versions"].get(key, {}) for key in (main, version))
            if any(one.get(member) != other.get(member) for member in ("Role", "DeadLetterConfig")):
                refusals.append("The versions differ in their role or dead-letter queue")
        if refusals:
            raise error("InvalidParameterValueException", 400, refusals[0])

    def _prepare(self, function: dict[str, Any], number: str) -> None:
        """A version that is being prepared is without LastUpdateStatus (r: test_publish_with_update)."""
        reasons = {f"State{key}": value for key, value in CREATING.items()}
        version = function["versions"][number]
        version |= {"State": "Pending", **reasons}
        version.pop("LastUpdateStatus", None)

    def _end_preparation(self, version: dict[str, Any]) -> None:
        for key in ("StateReason", "StateReasonCode"):
            version.pop(key, None)
        if self.failure is None:
            version |= {"State": "Active", "LastUpdateStatus": "Successful"}
            if version["SnapStart"]["ApplyOn"] == "PublishedVersions":
                version["SnapStart"]["OptimizationStatus"] = "On"
        else:  # (i: hashicorp/terraform-provider-aws#49904)
            code, sentence = self.failure
            version |= {"State": "Failed", "StateReasonCode": code, "StateReason": sentence}
            version |= {"LastUpdateStatus": "Failed", "LastUpdateStatusReasonCode": code}

    def _settle(self, latest: dict[str, Any]) -> None:
        for key in ("LastUpdateStatusReason", "LastUpdateStatusReasonCode"):
            latest.pop(key, None)
        latest["LastUpdateStatus"] = "Successful"
        self._touch(latest)

    def _touch(self, entry: dict[str, Any]) -> None:
        self._revision += 1
        entry["RevisionId"] = f"revision-{self._revision}"


def _frozen(configuration: dict[str, Any]) -> dict[str, Any]:
    """What decides whether there is a new version: code and configuration, the description included."""
    moving = _MOVING | {"LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"}
    return copy.deepcopy({key: value for key, value in configuration.items() if key not in moving})
