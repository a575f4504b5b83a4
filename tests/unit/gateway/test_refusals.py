"""What the gateway refuses is in the evidence, for callers whose credential verified."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluicegate.gateway.app import respond
from sluicegate.gateway.http import GatewayRequest
from sluicegate.store.codec import unmarshal
from sluicegate.store.facts import MOST_OF_STRANGERS
from support.gateway_simulation import GatewaySimulation, artifact, gate_of, problem, refused, rule
from support.simulation import TABLE


def lines(at: GatewaySimulation, *kinds: str) -> list[dict[str, Any]]:
    items = at.client.scan(TableName=TABLE)["Items"]
    found = [json.loads(item["line"]["S"]) for item in items if "line" in item]
    return sorted((one for one in found if one["kind"] in kinds), key=lambda one: one["time"])


def test_an_acceptance_says_by_which_rule_and_on_which_claims(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    deployment = at.deploy(sha256, at.job(ref="main", user_login="ada", user_id="7"))
    (line,) = lines(at, "accepted")
    assert line["deployment"] == deployment.id
    assert (line["rule"], line["gate"]) == (deployment.rule, at.gate.digest)
    assert (line["actions"], line["via"], line["age"]) == (["deploy"], "id_token", 5)
    assert line["by"]["user_id"] == line["claims"]["user_id"] == "7"
    assert "user_login" in line["withheld"]
    assert "ada" not in json.dumps(line["claims"])


def test_a_request_without_a_rule_is_refused_and_noted(at: GatewaySimulation) -> None:
    sha256 = artifact(at, b"new")
    stranger = at.job(project_id="9999")
    refused(403, "not_allowed", at.deploy, sha256, stranger, strategy={"type": "all-at-once"})
    (line,) = lines(at, "refused")
    assert (line["code"], line["status"], line["function"], line["stage"]) == (
        "not_allowed",
        403,
        "orders",
        "prod",
    )
    assert (line["by"]["project_id"], line["gate"], line["artifact"]) == ("9999", at.gate.digest, sha256)
    assert "deploy" in line["actions"]
    assert "rule" not in line


def test_a_refused_decision_names_the_deployment(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    refused(404, "not_found", at.decide, "abort", deployment, at.job(project_id="9999"))
    (line,) = lines(at, "refused")
    assert (line["deployment"], line["actions"], line["stage"]) == (deployment.id, ["abort"], "prod")


def test_a_refused_hold_and_upload_are_noted(at: GatewaySimulation) -> None:
    refused(403, "not_allowed", at.hold, at.job(project_id="9999"))
    body = {"function": "orders", "sha256": "a" * 64, "size": 5}
    refused(403, "not_allowed", at.ask, "POST", "/artifacts", at.job(project_id="8888"), body)
    assert sorted(one["action"] for one in lines(at, "refused")) == ["hold", "upload"]


def test_a_denied_identity_is_noted(at: GatewaySimulation) -> None:
    at.gate = gate_of(deny=[{"issuer": "https://gitlab.example.com", "claims": {"user_id": ["7"]}}])
    found = problem(at.deploy, "a" * 64, at.job(user_id="7"))
    assert found.status == 403
    (line,) = lines(at, "refused")
    assert line["by"]["user_id"] == "7"


def test_reads_rehearsals_and_what_does_not_verify_are_not_noted(at: GatewaySimulation) -> None:
    stranger = at.job(project_id="9999")
    refused(404, "not_found", at.ask, "GET", "/deployments/{id}", stranger, id="0" * 26)
    refused(403, "not_allowed", at.deploy, "a" * 64, at.job(project_id="9999"), dry_run=True)
    refused(401, "invalid_token", at.deploy, "a" * 64, at.job(aud="https://other.example.com"))
    refused(400, "invalid_request", at.request, at.job(), action="nothing")
    assert lines(at, "refused") == []


def test_ten_an_hour_are_noted_for_a_project_and_a_reason(at: GatewaySimulation) -> None:
    at.gate = gate_of(rules=(rule("one", "deploy"), rule("other", "deploy", claims={"project_id": ["8888"]})))
    for _ in range(14):
        refused(403, "not_allowed", at.hold)
    refused(403, "not_allowed", at.hold, at.job(project_id="8888", ref="any"))
    assert len(lines(at, "refused")) == 11


def numbers(at: GatewaySimulation) -> list[dict[str, Any]]:
    return [
        {"count": item["count"], **item["counted"]}
        for item in map(unmarshal, at.client.scan(TableName=TABLE)["Items"])
        if item["pk"].startswith("fact#refusals#") and "counted" in item
    ]


def test_callers_that_no_rule_is_for_fill_no_log_however_many_they_are(at: GatewaySimulation) -> None:
    """Anybody makes projects on gitlab.com. They leave those of a rule's project their lines."""
    at.gate = gate_of(rules=(rule("one", "deploy"),))
    for project in range(MOST_OF_STRANGERS // 4 + 2):
        for _ in range(4):
            refused(403, "not_allowed", at.hold, at.job(project_id=f"{9_000 + project}"))
    assert len(lines(at, "refused")) == MOST_OF_STRANGERS
    (number,) = numbers(at)
    assert (number["count"], number["by"]) == (
        MOST_OF_STRANGERS + 8,
        {"issuer": "https://gitlab.example.com"},
    )
    refused(403, "not_allowed", at.hold)
    assert lines(at, "refused")[-1]["by"]["project_id"] == "4213"


def test_what_cannot_be_noted_stays_refused(at: GatewaySimulation, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException"}}, "UpdateItem")

    monkeypatch.setattr(at.store.facts, "refuse", fail)
    refused(403, "not_allowed", at.hold, at.job(project_id="9999"))
    assert at.notes[-1] == (
        "refusal_not_recorded",
        {"code": "not_allowed", "error": "ThrottlingException"},
    )


def test_an_abort_and_a_hold_have_their_rule(at: GatewaySimulation) -> None:
    deployment = at.deploy(artifact(at, b"new"))
    at.decide("abort", deployment, at.job(), reason="=cmd() \u2028")
    at.hold()
    decided, held = lines(at, "decided", "held")
    assert (decided["code"], decided["actions"], decided["n"]) == ("aborted", ["abort"], 2)
    assert decided["rule"]
    assert held["rule"] == held["hold_rule"]
    assert "cmd" not in json.dumps([decided, held])


def test_an_unreadable_body_is_answered_as_before(at: GatewaySimulation) -> None:
    request = GatewayRequest("POST", "/deployments", {}, {}, {}, b"{", "r")
    assert respond(request, lambda: at.context).status in (400, 401, 415)
