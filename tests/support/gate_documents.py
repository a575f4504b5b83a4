"""gate.json's documents for tests: a small sound one, and the means to change it."""

import json
from typing import Any

from sluicegate.gate import codec
from sluicegate.gate.policy import Gate
from sluicegate.gate.records import FORMAT

CORP = "https://gitlab.example.com"
OTHER = "https://gitlab.example.org"
OWN = ("sluicegate-gateway", "sluicegate-deployer")


def rule(name: str = "orders", **changes: Any) -> dict[str, Any]:
    claims = {"project_id": ["4213"], "ref_type": ["tag"], "ref": ["v*"], "pipeline_source": ["push", "web"]}
    return {
        "name": name,
        "issuer": CORP,
        "via": "id_token",
        "claims": claims,
        "actions": ["deploy"],
        "functions": ["orders-*"],
        "stages": ["prod"],
        "limits": None,
    } | changes


def claims(**changes: list[str]) -> dict[str, list[str]]:
    return dict(rule()["claims"]) | changes


def rollout(**changes: Any) -> dict[str, Any]:
    steps = [{"percent": 100, "bake": 0}]
    plain = {"steps": steps, "smoke": None, "watch": None, "approval": None, "requires": None}
    return plain | {"ordered": False} | changes


def entry(pattern: str = "orders-*", **changes: Any) -> dict[str, Any]:
    return {"pattern": pattern, "prune": None, "alias": {}, "max_age": {}, "rollout": {}} | changes


def stage(name: str = "dev", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "alias": name,
        "target": None,
        "protected": False,
        "max_age": None,
        "agents": None,
        "rollout": rollout(),
    } | changes


def document(**changes: Any) -> dict[str, Any]:
    issuers = [
        {"name": name, "url": url, "audience": "https://deploy.example.com", "max_age": 3600}
        | {"jwks": None, "feedback": None, "gitlab_url": None, "sts_audience": None}
        | {"groups": None, "sign_in": None}
        for name, url in (("corp", CORP), ("other", OTHER))
    ]
    stages = [
        stage("dev"),
        stage("prod", alias="live", protected=True, max_age=900),
    ]
    whole = {
        "format": FORMAT,
        "issuers": issuers,
        "targets": [],
        "people": [],
        "sso": [],
        "agents": {"users": [], "principals": []},
        "stages": stages,
        "functions": [entry()],
        "rules": [rule()],
    }
    return whole | {"deny": [], "webhooks": [], "notify": []} | changes


def gate(**changes: Any) -> Gate:
    return codec.parse(json.dumps(document(**changes)).encode(), own_functions=OWN)


CANARY = [{"percent": 10, "bake": 300}, {"percent": 100, "bake": 0}]
SMOKE = {"timeout": 10, "payload": '{"ping":true}', "expect": '"pong"', "hook": None}
HOOK = SMOKE | {"payload": None, "expect": None, "hook": "orders-check"}
LIMIT = {"metric": "errors", "min_samples": 100, "most": 1.5, "max_ratio": None, "observe": False}
WATCH = {
    "alarms": ["{function}-{alias}-{stage}-5xx"],
    "limits": [LIMIT],
    "metrics": [],
    "judge": None,
    "false_rollbacks": 1,
    "unclear": "extend",
    "end_early": False,
    "observe": False,
    "silent_within": 600,
}
FULL = rollout(steps=CANARY, smoke=SMOKE, watch=WATCH, approval=3600, requires="dev", ordered=True)


def without(item: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != key}
