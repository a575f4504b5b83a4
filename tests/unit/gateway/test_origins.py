"""Who built what a stage serves, and who moved it there: two answers, kept apart wherever one is given."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.views import view
from sluicegate.relay.event import detail
from sluicegate.store import keys
from support.gateway_simulation import GatewaySimulation, artifact, gateway_simulation
from support.signing import ISSUER
from support.simulation import OWN, TABLE

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

ONE, TWO, THREE, BACK = ("1" * 40, "2" * 40, "3" * 40, "b" * 40)


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation() as made:
        yield made


def release(at: GatewaySimulation, code: bytes, sha: str, **body: Any) -> Deployment:
    return at.finish(at.deploy(artifact(at, code), at.job(sha=sha, ref=f"ref-{sha[0]}"), **body))


def stage(at: GatewaySimulation, name: str = "prod") -> dict[str, Any]:
    answer = at.ask("GET", "/functions/{name}", at.job(), name="orders")
    return dict(answer.value["stages"][name])


def built(at: GatewaySimulation, name: str = "prod") -> str | None:
    """The commit of the code that a stage serves, which all members agree on."""
    shown = stage(at, name)
    origin = shown["built"]
    assert shown["sha"] == (origin and origin["sha"])
    assert shown["ref"] == (origin and origin["ref"])
    return origin and str(origin["sha"])


def test_a_deploy_was_built_from_its_own_commit(at: GatewaySimulation) -> None:
    deployment = release(at, b"one", ONE, release="v1")
    assert built(at) == ONE
    assert stage(at)["release"] == "v1"
    assert stage(at)["moved_by"]["sha"] == ONE
    assert view(deployment)["built"]["sha"] == ONE


def test_a_rollback_serves_the_commit_that_it_goes_back_to(at: GatewaySimulation) -> None:
    release(at, b"one", ONE)
    release(at, b"two", TWO)
    back = at.finish(at.rollback(at.job(sha=BACK, ref="main")))
    assert (built(at), stage(at)["moved_by"]["sha"], stage(at)["moved_by"]["action"]) == (
        ONE,
        BACK,
        "rollback",
    )
    event = detail(back, "")
    assert (event["built"]["sha"], event["requested_by"]["sha"]) == (ONE, BACK)


def test_a_rollback_that_goes_on_serves_the_commit_where_it_ends(at: GatewaySimulation) -> None:
    release(at, b"one", ONE)
    release(at, b"two", TWO)
    release(at, b"three", THREE)
    at.model.prune("orders", "2")
    at.finish(at.rollback(at.job(sha=BACK)))
    assert built(at) == ONE


def test_a_promotion_serves_the_commit_of_the_stage_before(at: GatewaySimulation) -> None:
    tried = release(at, b"one", ONE, stage="dev", release="v1")
    moved = at.finish(at.promote(at.job(sha=BACK), version=tried.version, release="the fifth of May"))
    assert (built(at), stage(at)["release"]) == (ONE, "v1")
    assert moved.release == "the fifth of May"


def test_the_same_bytes_of_another_commit_are_still_the_first_ones_version(at: GatewaySimulation) -> None:
    release(at, b"one", ONE, stage="dev")
    again = release(at, b"one", TWO)
    assert (again.version, built(at), stage(at)["moved_by"]["sha"]) == ("1", ONE, TWO)
    release(at, b"two", THREE)
    release(at, b"one", THREE)
    assert built(at) == ONE


def test_the_same_bytes_published_anew_were_built_by_who_had_them_published(at: GatewaySimulation) -> None:
    release(at, b"one", ONE)
    at.model.configure("orders", MemorySize=512)
    assert release(at, b"one", TWO).version == "2"
    assert built(at) == TWO
    at.finish(at.rollback(at.job(sha=BACK)))
    assert built(at) == ONE


def test_what_somebody_else_published_was_built_by_nobody_known(at: GatewaySimulation) -> None:
    latest = at.model.functions["orders"]["latest"]
    at.model.publish_version(
        FunctionName="orders",
        CodeSha256=latest["CodeSha256"],
        RevisionId=latest["RevisionId"],
        Description="",
    )
    at.model.set_alias("orders", "prod", "1")
    release(at, b"ours", ONE)
    at.finish(at.rollback())
    assert built(at) is None
    answer = at.ask("GET", "/functions/{name}", at.job(), name="orders")
    assert answer.lines[1].split("\t")[4] == "unknown"


def test_our_own_version_that_somebody_moved_to_keeps_who_built_it(at: GatewaySimulation) -> None:
    release(at, b"one", ONE, stage="dev")
    release(at, b"two", TWO)
    at.model.set_alias("orders", "prod", "1")
    release(at, b"three", THREE)
    assert at.finish(at.rollback()).version == "1"
    assert built(at) == ONE


def without_origins(at: GatewaySimulation) -> None:
    """The record as it was before it kept who built a version."""
    for item in at.client.scan(TableName=TABLE)["Items"]:
        for name in ("built", "fallbacks", "unusable", "found", "recorded", "action_", "job_id"):
            item.pop(name, None)
        at.client.put_item(TableName=TABLE, Item=item)


def test_an_older_record_is_read_and_its_origins_are_found_again(at: GatewaySimulation) -> None:
    tried = release(at, b"one", ONE, stage="dev")
    release(at, b"old", BACK)
    without_origins(at)
    assert built(at, "dev") is None
    assert at.now(tried).built is None
    at.finish(at.promote(at.job(sha=TWO), version=tried.version))
    assert built(at) == ONE
    at.finish(at.rollback(at.job(sha=THREE)))
    assert built(at) == BACK


def test_whose_request_it_was_is_not_told_by_person(at: GatewaySimulation) -> None:
    tried = release(at, b"one", ONE, stage="dev")
    moved = at.finish(at.promote(at.person(), version=tried.version))
    assert moved.status is Status.SUCCEEDED
    origin = view(moved)["built"]
    assert not [name for name in origin if name.startswith("user")]
    assert tried.id not in str(origin)


def test_a_deployer_that_publishes_twice_built_it_once(at: GatewaySimulation) -> None:
    """The first turn dies once Lambda has published: the second finds that version, and it is still ours."""
    deployment = at.deploy(artifact(at, b"one"), at.job(sha=ONE))

    def lose(name: str) -> None:
        if name == "PublishVersion":
            at.model.after = lambda _: None
            raise TimeoutError

    at.model.after = lose
    with pytest.raises(TimeoutError):
        at.deployer.run_turn(deployment.id)
    done = at.finish(deployment)
    assert (done.status, done.version, built(at)) == (Status.SUCCEEDED, "1", ONE)


def test_items_of_versions_are_in_no_index_of_deployments(at: GatewaySimulation) -> None:
    release(at, b"one", ONE)
    release(at, b"two", TWO)
    at.model.prune("orders", "1")
    at.finish(at.rollback())
    partitions = {keys.versions_partition(OWN, "orders"), keys.found_partition(OWN, "orders", "prod")}
    items = [i for i in at.client.scan(TableName=TABLE)["Items"] if i["pk"]["S"] in partitions]
    assert items
    assert not [item for item in items if {"function", "project", "kind", "unfinished"} & set(item)]


def test_each_origin_says_which_gitlab_it_is_of_where_the_issuer_is_another_address(
    at: GatewaySimulation,
) -> None:
    """`ci_id_tokens_issuer_url`: links to jobs and commits need GitLab's own address."""
    own = "https://gitlab.internal.example.com"
    issuers = {url: replace(issuer, gitlab_url=own) for url, issuer in at.gate.issuers.items()}
    at.gate = replace(at.gate, issuers=issuers)

    deployment = release(at, b"one", ONE)

    shown = view(deployment)
    assert (shown["requested_by"]["gitlab"], shown["built"]["gitlab"]) == (own, own)
    assert detail(deployment, "")["requested_by"]["gitlab"] == own
    assert (stage(at)["moved_by"]["gitlab"], stage(at)["moved_by"]["issuer"]) == (own, ISSUER)


def test_the_gitlab_is_left_out_where_it_is_the_issuer(at: GatewaySimulation) -> None:
    assert view(release(at, b"one", ONE))["requested_by"]["gitlab"] is None
