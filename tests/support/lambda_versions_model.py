"""What Lambda answers of a function's versions, and of what is attached to one; and how it deletes.

Sources: API reference of DeleteFunction, ListVersionsByFunction, ListProvisionedConcurrencyConfigs,
ListFunctionEventInvokeConfigs, ListDurableExecutionsByFunction and GetAccountSettings, and botocore's model
of Lambda 2015-03-31 (read on 27 November 2026). DeleteFunction of a version that is absent answers 204 as for
one that is there (floci-io/floci#2824, which compares with AWS). Without a qualifier, or with `$LATEST`, it
deletes the function. What is replicated for Lambda@Edge is refused (lumigo-io/SAR-Lambda-Janitor#42, 7
December 2021).
"""

from typing import Any

from support.lambda_model import error
from support.lambda_rules import arn
from support.lambda_triggers_model import TriggersModel, page


class VersionsModel(TriggersModel):
    """A Lambda whose versions can be listed and deleted. Lists have two entries a page.

    `provisioned_versions` and `invoke_configs` are (function, qualifier); `executions` are durable executions
    that run, by function and version; `replicated` are versions at the edge. `deleted` is what was deleted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.provisioned_versions: set[tuple[str, str]] = set()
        self.invoke_configs: set[tuple[str, str]] = set()
        self.executions: list[tuple[str, str]] = []
        self.replicated: set[tuple[str, str]] = set()
        self.deleted: list[tuple[str, str]] = []
        self.modified: dict[tuple[str, str], str] = {}

    def list_versions_by_function(self, *, FunctionName: str, Marker: str = "0") -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            listed = [function["latest"], *function["versions"].values()]
            versions = [
                {
                    "Version": one["Version"],
                    "CodeSha256": one["CodeSha256"],
                    "LastModified": self.modified.get(
                        (FunctionName, one["Version"]), "2026-01-01T00:00:00.000+0000"
                    ),
                    "Environment": {"Variables": {"PASSWORD": "hunter2"}},
                }
                for one in listed
            ]
            return page("Versions", versions, Marker)

        return self._run("ListVersionsByFunction", call)

    def list_provisioned_concurrency_configs(self, *, FunctionName: str, Marker: str = "0") -> Any:
        return self._attached(
            "ListProvisionedConcurrencyConfigs",
            "ProvisionedConcurrencyConfigs",
            FunctionName,
            self.provisioned_versions,
            Marker,
        )

    def list_function_event_invoke_configs(self, *, FunctionName: str, Marker: str = "0") -> Any:
        return self._attached(
            "ListFunctionEventInvokeConfigs",
            "FunctionEventInvokeConfigs",
            FunctionName,
            self.invoke_configs,
            Marker,
        )

    def list_durable_executions_by_function(
        self, *, FunctionName: str, Statuses: list[str], MaxItems: int, Marker: str = "0"
    ) -> Any:
        def call() -> Any:
            self._function(FunctionName)
            assert Statuses == ["RUNNING"]
            running = [
                {"DurableExecutionArn": f"{arn(name, version)}/durable-execution/order-{n}/0b1c"}
                for n, (name, version) in enumerate(self.executions)
                if name == FunctionName
            ]
            return page("DurableExecutions", running, Marker)

        return self._run("ListDurableExecutionsByFunction", call)

    def get_account_settings(self) -> Any:
        return self._run(
            "GetAccountSettings",
            lambda: {
                "AccountLimit": {"TotalCodeSize": 80_530_636_800},
                "AccountUsage": {"TotalCodeSize": 1_000, "FunctionCount": len(self.functions)},
            },
        )

    def delete_function(self, *, FunctionName: str, Qualifier: str = "$LATEST") -> Any:
        def call() -> Any:
            function = self._function(FunctionName)
            if Qualifier == "$LATEST":
                del self.functions[FunctionName]
            elif (FunctionName, Qualifier) in self.replicated:
                message = f"Lambda was unable to delete {arn(FunctionName, Qualifier)}"
                message += " because it is a replicated function."
                raise error("InvalidParameterValueException", 400, message)
            elif Qualifier in function["versions"]:
                self.prune(FunctionName, Qualifier)
            self.deleted.append((FunctionName, Qualifier))
            return {"ResponseMetadata": {"HTTPStatusCode": 204}}

        return self._run("DeleteFunction", call)

    def _attached(
        self, call: str, member: str, function: str, qualified: set[tuple[str, str]], marker: str
    ) -> Any:
        def answer() -> Any:
            self._function(function)
            listed = [
                {"FunctionArn": arn(name, qualifier)}
                for name, qualifier in sorted(qualified)
                if name == function
            ]
            return page(member, listed, marker)

        return self._run(call, answer)
