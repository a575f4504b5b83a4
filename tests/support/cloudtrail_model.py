"""CloudTrail's event history as AWS documents it: what LookupEvents shows, in what order, what it refuses.

Sources: CloudTrail API reference, LookupEvents and its errors; the shape of an AssumeRole's event, and times
in whole seconds: the output of `lookup-events` in AWS's EKS reference, of 13 December 2023; the names of
Lambda's events: CloudTrail user guide, "Viewing events with Event history". All read on 26 November 2026.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from support.aws_account import Refusal

HISTORY = 90 * 86_400
_ATTRIBUTES = {
    "EventId": "EventId",
    "EventName": "EventName",
    "EventSource": "EventSource",
    "ReadOnly": "ReadOnly",
    "Username": "Username",
}


@dataclass
class CloudTrailModel:
    """Holds events. `now` in epoch seconds: it moves with the calls, `pause` seconds each."""

    now: float
    delay: float = 300.0
    pause: float = 0.5
    events: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    _tokens: dict[str, tuple[str, int]] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def add(
        self,
        at: float,
        name: str,
        *,
        user: str,
        role: str = "",
        source: str = "lambda.amazonaws.com",
        source_identity: str = "",
        request: Mapping[str, Any] | None = None,
        response: Mapping[str, Any] | None = None,
        resources: tuple[str, ...] = (),
        read_only: bool = False,
        error: str = "",
        service: str = "",
    ) -> None:
        """Record a call as CloudTrail writes it. Without `role` it is an IAM user's, or the service's."""
        identity: dict[str, Any] = {"type": "IAMUser", "arn": f"arn:aws:iam::111111111111:user/{user}"}
        if service:
            identity = {"type": "AWSService", "invokedBy": service}
        if role:
            name_of_role = role.rpartition("/")[2]
            context: dict[str, Any] = {"sessionIssuer": {"type": "Role", "arn": role}}
            if source_identity:
                context["sourceIdentity"] = source_identity
            identity = {
                "type": "AssumedRole",
                "arn": f"arn:aws:sts::111111111111:assumed-role/{name_of_role}/{user}",
                "sessionContext": context,
            }
        record = {
            "eventVersion": "1.11",
            "userIdentity": identity,
            "awsRegion": "eu-central-1",
            "sourceIPAddress": "198.51.100.7",
            "requestParameters": request,
            "responseElements": response,
            **({"errorCode": error} if error else {}),
        }
        self.events.append(
            {
                "EventId": f"event-{len(self.events)}",
                "EventName": name,
                "EventTime": datetime.fromtimestamp(int(at), UTC),
                "EventSource": source,
                "ReadOnly": "true" if read_only else "false",
                **({"Username": user} if user else {}),
                "Resources": [{"ResourceName": one} for one in resources],
                "CloudTrailEvent": json.dumps(record),
            }
        )

    def look_up(self, given: Mapping[str, Any]) -> Any:
        """Answer LookupEvents."""
        recent = [at for at in self.times if at > self.now - 1]
        self.times.append(self.now)
        if len(recent) >= 2:
            return Refusal("ThrottlingException", "Rate exceeded")
        self.asked.append(given)
        attributes = given.get("LookupAttributes") or []
        if len(attributes) > 1:
            return Refusal("InvalidLookupAttributesException", "You must specify at most one attribute.")
        start, end = given["StartTime"].timestamp(), given["EndTime"].timestamp()
        if start > end:
            return Refusal("InvalidTimeRangeException", "Start time is after end time.")
        same = repr([attributes, start, end, given.get("MaxResults")])
        position = 0
        if token := given.get("NextToken"):
            known, position = self._tokens.get(token, ("", 0))
            if known != same:
                return Refusal("InvalidNextTokenException", "The token is of another request.")
        found = sorted(
            (
                event
                for event in self.events
                if start <= event["EventTime"].timestamp() <= end
                and self.now - HISTORY <= event["EventTime"].timestamp() <= self.now - self.delay
                and all(self._has(event, one) for one in attributes)
            ),
            key=lambda event: (event["EventTime"], int(event["EventId"].rpartition("-")[2])),
            reverse=True,
        )
        size = given.get("MaxResults", 50)
        page = found[position : position + size]
        answer: dict[str, Any] = {"Events": page}
        if position + size < len(found):
            token = f"token-{len(self._tokens)}"
            self._tokens[token] = (same, position + size)
            answer["NextToken"] = token
        return answer

    def _has(self, event: Mapping[str, Any], attribute: Mapping[str, str]) -> bool:
        key, value = attribute["AttributeKey"], attribute["AttributeValue"]
        if key == "ResourceName":
            return any(one["ResourceName"] == value for one in event["Resources"])
        return bool(event.get(_ATTRIBUTES[key]) == value)
