"""Lambda's control plane as AWS documents it, small and in memory: what tests of crashes and races need.

Unlike an emulator it honours every precondition (`CodeSha256`, `RevisionId`), and it can fail before or after
any call has taken effect. The code of an artifact is looked up by its key in `code`.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError


def error(code: str, status: int, message: str = "") -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Call")


def code_sha256(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


class LambdaModel:
    """One account and region. `before` and `after` are called with each call's name and may raise."""

    def __init__(self) -> None:
        self.code: dict[str, bytes] = {}
        self.functions: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.busy_looks = 1
        self._revision = 0

    def add(self, name: str, code: bytes = b"first", **settings: Any) -> None:
        self.functions[name] = {
            "latest": {"Version": "$LATEST", "CodeSha256": code_sha256(code), "MemorySize": 128, **settings},
            "versions": {},
            "aliases": {},
            "busy": 0,
        }
        self._touch(self.functions[name]["latest"])

    def configure(self, name: str, **settings: Any) -> None:
        self.functions[name]["latest"].update(settings)
        self._touch(self.functions[name]["latest"])

    def set_alias(self, name: str, alias: str, version: str, weights: dict[str, float] | None = None) -> None:
        entry = {"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights or {}}}
        self._touch(entry)
        self.functions[name]["aliases"][alias] = entry

    def serves(self, name: str, alias: str) -> tuple[str, dict[str, float]] | None:
        entry = self.functions[name]["aliases"].get(alias)
        return entry and (entry["FunctionVersion"], entry["RoutingConfig"]["AdditionalVersionWeights"])

    def code_of(self, name: str, version: str) -> str:
        digest: str = self.functions[name]["versions"][version]["CodeSha256"]
        return base64.b64decode(digest).hex()

    # The calls

    def get_function(self, *, FunctionName: str, Qualifier: str) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            if Qualifier != "$LATEST":
                if Qualifier not in function["versions"]:
                    raise error("ResourceNotFoundException", 404, "Function not found: arn")
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
            self._settled(function)
            self._check(function["latest"], RevisionId)
            function["latest"]["CodeSha256"] = code_sha256(self.code[S3Key])
            self._touch(function["latest"])
            function["busy"] = self.busy_looks
            return {
                **function["latest"],
                "LastUpdateStatus": "InProgress" if self.busy_looks else "Successful",
            }

        return self._run("UpdateFunctionCode", call)

    def publish_version(
        self, *, FunctionName: str, CodeSha256: str, RevisionId: str, Description: str
    ) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            self._settled(function)
            latest = function["latest"]
            if latest["CodeSha256"] != CodeSha256:
                raise error("InvalidParameterValueException", 400, "CodeSHA256 is different")
            self._check(latest, RevisionId)
            frozen = {k: v for k, v in latest.items() if k not in ("Version", "RevisionId", "Description")}
            for known in function["versions"].values():
                if frozen == {k: v for k, v in known.items() if k in frozen}:
                    return known
            number = str(len(function["versions"]) + 1)
            function["versions"][number] = {**latest, "Version": number, "Description": Description}
            self._touch(function["versions"][number])
            return function["versions"][number]

        return self._run("PublishVersion", call)

    def get_alias(self, *, FunctionName: str, Name: str) -> Any:
        def call() -> Any:
            aliases = self._function(FunctionName)["aliases"]
            if Name not in aliases:
                raise error("ResourceNotFoundException", 404, f"Cannot find alias arn: {Name}")
            return aliases[Name]

        return self._run("GetAlias", call)

    def create_alias(self, *, FunctionName: str, Name: str, FunctionVersion: str, Description: str) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            if Name in function["aliases"]:
                raise error("ResourceConflictException", 409, "Alias already exists")
            self._version(function, FunctionVersion)
            self.set_alias(FunctionName, Name, FunctionVersion)
            return {**function["aliases"][Name], "Description": Description}

        return self._run("CreateAlias", call)

    def update_alias(
        self, *, FunctionName: str, Name: str, FunctionVersion: str, RoutingConfig: Any, RevisionId: str
    ) -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            if Name not in function["aliases"]:
                raise error("ResourceNotFoundException", 404, f"Cannot find alias arn: {Name}")
            self._check(function["aliases"][Name], RevisionId)
            self._version(function, FunctionVersion)
            self.set_alias(FunctionName, Name, FunctionVersion, RoutingConfig["AdditionalVersionWeights"])
            return function["aliases"][Name]

        return self._run("UpdateAlias", call)

    def delete_alias(self, *, FunctionName: str, Name: str) -> Any:
        def call() -> Any:
            self._function(FunctionName)["aliases"].pop(Name, None)
            return {}

        return self._run("DeleteAlias", call)

    # Parts

    def _run(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        self.before(name)
        answer = call()
        answer = {**answer}
        self.after(name)
        return answer

    def _function(self, name: str) -> dict[str, Any]:
        if name not in self.functions:
            raise error("ResourceNotFoundException", 404, f"Function not found: {name}")
        return self.functions[name]

    def _settled(self, function: dict[str, Any]) -> None:
        if function["busy"]:
            raise error("ResourceConflictException", 409, "An update is in progress")

    def _check(self, entry: dict[str, Any], revision: str) -> None:
        if entry["RevisionId"] != revision:
            raise error("PreconditionFailedException", 412, "The RevisionId provided does not match")

    def _version(self, function: dict[str, Any], version: str) -> None:
        if version not in function["versions"]:
            raise error("ResourceNotFoundException", 404, f"Function not found: {version}")

    def _touch(self, entry: dict[str, Any]) -> None:
        self._revision += 1
        entry["RevisionId"] = f"revision-{self._revision}"


def timeout() -> ReadTimeoutError:
    """What a call looks like whose answer was lost."""
    return ReadTimeoutError(endpoint_url="https://lambda")
