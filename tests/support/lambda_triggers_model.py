"""What Lambda answers of a function's aliases and of what may invoke it, beside `lambda_model`.

Sources: API reference of ListAliases, ListEventSourceMappings, ListFunctionUrlConfigs and GetPolicy, and
botocore's model of Lambda 2015-03-31 (read on 26 November 2026): `FunctionArn` of a mapping and of a URL has
the qualifier, a policy is a text of JSON and belongs to one qualifier, and a resource without one answers
ResourceNotFoundException, "The resource you requested does not exist." (localstack/localstack,
`test_lambda_api.snapshot.json`, recorded on AWS).
"""

import json
from typing import Any

from support.lambda_model import LambdaModel, error
from support.lambda_rules import arn


class TriggersModel(LambdaModel):
    """A Lambda whose functions have triggers. Lists have two entries a page, so that pages are turned.

    `sources` are event source mappings: function with its qualifier, the source's ARN, and a state. `urls`
    are function URLs by (function, qualifier), `policies` lists of statements by the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[tuple[str, str, str]] = []
        self.urls: dict[tuple[str, str], str] = {}
        self.policies: dict[tuple[str, str], list[Any]] = {}
        self.raw_policy: str | None = None

    def list_aliases(self, *, FunctionName: str, Marker: str = "0") -> Any:
        def call() -> Any:
            aliases = list(self._function(FunctionName)["aliases"].values())
            return page("Aliases", aliases, Marker)

        return self._run("ListAliases", call)

    def list_event_source_mappings(self, *, FunctionName: str = "", Marker: str = "0") -> Any:
        if FunctionName:
            return super().list_event_source_mappings(FunctionName=FunctionName, Marker=Marker)

        def call() -> Any:
            listed = [
                {"UUID": f"u-{n}", "FunctionArn": arn(name), "EventSourceArn": source, "State": state}
                for n, (name, source, state) in enumerate(self.sources)
            ]
            return page("EventSourceMappings", listed, Marker)

        return self._run("ListEventSourceMappings", call)

    def list_function_url_configs(self, *, FunctionName: str, Marker: str = "0") -> Any:
        def call() -> Any:
            self._function(FunctionName)
            listed = [
                {
                    "FunctionUrl": f"https://{name}{qualifier}.lambda-url.eu-central-1.on.aws/",
                    "FunctionArn": arn(name, qualifier or None),
                    "AuthType": access,
                }
                for (name, qualifier), access in self.urls.items()
                if name == FunctionName
            ]
            return page("FunctionUrlConfigs", listed, Marker)

        return self._run("ListFunctionUrlConfigs", call)

    def get_policy(self, *, FunctionName: str, Qualifier: str = "") -> Any:
        def call() -> Any:
            statements = self.policies.get((FunctionName, Qualifier))
            if statements is None and self.raw_policy is None:
                message = "The resource you requested does not exist."
                raise error("ResourceNotFoundException", 404, message)
            policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
            return {"Policy": self.raw_policy or json.dumps(policy), "RevisionId": "r"}

        return self._run("GetPolicy", call)


def page(name: str, entries: list[Any], marker: str) -> dict[str, Any]:
    start = int(marker)
    more = {"NextMarker": str(start + 2)} if start + 2 < len(entries) else {}
    return {name: entries[start : start + 2], **more}


def permission(
    sid: str,
    service: str = "apigateway.amazonaws.com",
    source: str | None = None,
    action: Any = "lambda:InvokeFunction",
) -> dict[str, Any]:
    """A statement as AddPermission makes it (developer guide, "Granting Lambda function access")."""
    statement = {"Sid": sid, "Effect": "Allow", "Principal": {"Service": service}, "Action": action}
    condition = {"Condition": {"ArnLike": {"AWS:SourceArn": source}}} if source else {}
    return statement | condition
