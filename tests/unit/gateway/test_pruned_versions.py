"""What callers meet of pruning: refused rollbacks, and which versions go."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from sluicegate.deployment.model import Deployment
from sluicegate.pruning.pruner import Pruner
from sluicegate.store.prunings import CondemnedVersion
from support.gate_documents import entry
from support.gateway_simulation import (
    GatewaySimulation,
    artifact,
    gate_of,
    gateway_simulation,
    refused,
    rule,
)
from support.lambda_versions_model import VersionsModel
from support.pruning import MONTH, PRUNE, PlaceModel
from support.simulation import OWN

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def at() -> Iterator[GatewaySimulation]:
    with gateway_simulation(model=VersionsModel()) as made:
        made.model.add("orders")
        yield made


def release(at: GatewaySimulation, *codes: str) -> list[Deployment]:
    return [at.release(artifact(at, code.encode())) for code in codes]


def prune(at: GatewaySimulation, **changes: Any) -> None:
    at.clock.now += MONTH
    place = PlaceModel(cast(Any, at), cast(VersionsModel, at.model))
    gate = gate_of(functions=[entry("orders*", prune=PRUNE | changes)])
    Pruner(at.store, gate, cast(Any, place), at.clock, at.clock.sleep).run(at.clock.now + 720)


def condemn(at: GatewaySimulation, version: str) -> CondemnedVersion:
    sha256 = at.model.code_of("orders", version)
    condemned = CondemnedVersion("orders", OWN.account, OWN.region, version, sha256, "2026-11-27T00:00:00Z")
    at.store.prunings.condemn(condemned, "prune-1")
    return condemned


def test_a_rollback_to_a_pruned_version_is_refused_in_so_many_words(at: GatewaySimulation) -> None:
    release(at, *"abcdef")
    prune(at)
    detail = refused(422, "pruned", at.rollback, version="2")
    assert detail.startswith("version 2 of orders was pruned at ")
    assert detail.endswith("as an old one that nothing needed: deploy its artifact again")
    assert at.finish(at.rollback(version="4")).version == "4"


def test_a_rollback_without_a_version_goes_to_what_is_left(at: GatewaySimulation) -> None:
    release(at, *"abcdef")
    prune(at)
    assert at.finish(at.rollback()).version == "5"
    assert at.finish(at.rollback()).version == "4"
    assert "no earlier version" in refused(422, "unprocessable", at.rollback)


def test_a_condemned_version_is_no_fallback_and_may_be_spared(at: GatewaySimulation) -> None:
    release(at, *"abcd")
    condemned = condemn(at, "2")
    refused(422, "pruned", at.rollback, version="2")
    back = at.rollback()
    assert (back.version, [one.version for one in back.fallbacks]) == ("3", ["1"])
    at.finish(back)
    at.store.prunings.spare(condemned, "prune-1")
    assert at.finish(at.rollback(version="2")).version == "2"


def test_a_rollback_whose_version_is_condemned_meanwhile_is_to_be_retried(
    at: GatewaySimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read as one that is there: the transaction's condition finds out."""
    release(at, *"abcd")
    before = at.store.versions.past(OWN, "orders", "prod")
    condemn(at, "2")
    monkeypatch.setattr(type(at.store.versions), "past", lambda *_: before)
    assert "being deleted" in refused(503, "unavailable", at.rollback, version="2")
    assert at.locks() == ["publish"]


def pruning_of(at: GatewaySimulation, **claims: Any) -> list[dict[str, Any]]:
    answer = at.ask("GET", "/functions/{name}", at.job(**claims), name="orders")
    found: list[dict[str, Any]] = answer.value["pruning"]
    return found


def test_a_function_says_which_versions_go_and_why_the_others_stay(at: GatewaySimulation) -> None:
    release(at, *"abcdef")
    assert pruning_of(at) == []
    prune(at, dry_run=True)
    at.model.set_alias("orders", "secret-project", "1")
    prune(at, dry_run=True)
    [report] = pruning_of(at)
    assert report["target"]["name"] == "default"
    assert (report["dry_run"], report["left_out"], report["deleted"]) == (True, 0, [])
    keep = {one["version"]: one["keep"] for one in report["versions"]}
    assert list(keep) == list("654321")
    assert keep["3"] == []
    assert {"reason": "serving", "alias": "prod"} in keep["6"]
    # Of an alias that no stage of the caller's has, the name is not shown.
    assert keep["1"] == [{"reason": "alias", "alias": None}]


def test_who_sees_no_stage_of_the_target_sees_no_versions(at: GatewaySimulation) -> None:
    release(at, *"abcdef")
    prune(at)
    at.gate = gate_of(rules=(rule("others", "read", functions=["payments"]),))
    refused(404, "not_found", pruning_of, at, project_id="999")
