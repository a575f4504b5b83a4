"""Callers with tokens of jobs, who ask the gateway until it answers."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from simulation.world import World
from support.signing import token

Json = dict[str, Any]

PATIENCE: Final = 12
"""How often a caller asks again for an answer."""


@dataclass
class Caller:
    """Somebody with a token. A request is sent again, as it was, until it is answered."""

    world: World
    answers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def send(self, claims: Json, resource: str, body: Json, **path: str) -> tuple[int, Json]:
        """Return status and body of the last answer; (0, {}) if there was none."""
        return self.send_as(token(claims), resource, body, **path)

    def send_as(self, bearer: str, resource: str, body: Json, **path: str) -> tuple[int, Json]:
        """Send a request with this token."""
        engine, choices = self.world.engine, self.world.choices
        event = _event(bearer, resource, body, path)
        status, answer = 0, {}
        for _ in range(PATIENCE):
            task = self.world.invoke("gateway", event)
            arrived = engine.wait(task.done, 29) and not task.killed and task.error is None
            lost = self.world.faults.chances and choices.chance(self.world.faults.chances.get("lost", 0.0))
            if arrived and not lost:
                status, answer = task.result["statusCode"], json.loads(task.result["body"])
                if status < 500 and status != 429:
                    break
            engine.sleep(2)
        return status, answer


def job(now: float, jti: str, number: int) -> Json:
    """Return the claims of a job."""
    moment = int(now)
    return {
        "jti": jti,
        "job_id": str(number),
        "pipeline_id": str(number),
        "iat": moment - 5,
        "nbf": moment - 10,
        "exp": moment + 3_600,
    }


def digest(code: bytes) -> str:
    """Return the digest of some code."""
    return hashlib.sha256(code).hexdigest()


def _event(bearer: str, resource: str, body: Json, path: Json) -> Json:
    return {
        "resource": resource,
        "httpMethod": "POST",
        "multiValueHeaders": {
            "Authorization": [f"Bearer {bearer}"],
            "Content-Type": ["application/json"],
        },
        "pathParameters": path,
        "multiValueQueryStringParameters": None,
        "requestContext": {"requestId": "request"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
