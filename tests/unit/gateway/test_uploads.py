"""`POST /artifacts`: what one token, and one project in an hour, may announce is bounded."""

import hashlib
from typing import Any, cast

import pytest

from sluicegate.aws.s3 import Artifacts
from sluicegate.gateway.http import GatewayResponse
from sluicegate.store import uploads
from support.gateway_simulation import GatewaySimulation, problem, refused
from support.signing import ISSUER
from support.simulation import TABLE

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

MIB = 1024**2


@pytest.fixture(autouse=True)
def presigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Artifacts, "presign", lambda *_: ("https://bucket", {}))


def announce(at: GatewaySimulation, claims: Any, number: int, size: int = 1) -> GatewayResponse:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    body = {"function": "orders", "sha256": sha256, "size": size}
    return at.ask("POST", "/artifacts", claims, body)


def registered(at: GatewaySimulation) -> int:
    items = at.client.scan(TableName=TABLE)["Items"]
    return sum(item["pk"]["S"].startswith("artifact#") for item in items)


def test_a_token_announces_so_many_uploads_and_no_more(at: GatewaySimulation) -> None:
    claims = at.job()
    for number in range(uploads.MAX_UPLOADS_OF_CREDENTIAL):
        assert announce(at, claims, number).status == 201
    known = registered(at)
    for number in range(1_000, 1_010):
        assert "another job" in refused(422, "unprocessable", announce, at, claims, number)
    assert registered(at) == known
    assert announce(at, at.job(), 2_000).status == 201


def test_a_token_announces_so_many_bytes_and_no_more(at: GatewaySimulation) -> None:
    claims = at.job()
    for number in range(8):
        assert announce(at, claims, number, 250 * MIB).status == 201
    refused(422, "unprocessable", announce, at, claims, 8, 250 * MIB)
    assert announce(at, claims, 9, 48 * MIB).status == 201


def test_a_projects_jobs_announce_so_much_in_an_hour(
    at: GatewaySimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS_OF_OWNER", 3)
    for number in range(3):
        assert announce(at, at.job(), number).status == 201
    found = problem(announce, at, at.job(), 4)
    assert (found.status, found.code) == (429, "throttled")
    at.clock.sleep(int(found.headers["Retry-After"]))
    assert announce(at, at.job(), 4).status == 201


def test_what_is_there_already_is_not_counted(at: GatewaySimulation) -> None:
    claims = at.job()
    for number in range(uploads.MAX_UPLOADS_OF_CREDENTIAL):
        announce(at, claims, number)
    sha256 = at.upload("orders", b"there")
    body = {"function": "orders", "sha256": sha256, "size": 5}
    assert at.ask("POST", "/artifacts", claims, body).status == 200


def test_an_announcement_keeps_the_newest_pipeline_that_a_token_proved(at: GatewaySimulation) -> None:
    sha = "a" * 40
    for pipeline in ("576", "575"):
        announce(at, at.job(pipeline_id=pipeline, sha=sha), 1)
    [kept] = at.store.uploads.of_commit("orders", ISSUER, "4213", sha)
    assert kept.pipeline == 576


def test_the_counts_expire(at: GatewaySimulation) -> None:
    announce(at, at.job(), 1)
    counts = [
        item
        for item in cast(Any, at.client).scan(TableName=TABLE)["Items"]
        if item["pk"]["S"].startswith("uploads#")
    ]
    assert len(counts) == 2
    assert all(int(item["expires_at"]["N"]) > at.clock() for item in counts)
