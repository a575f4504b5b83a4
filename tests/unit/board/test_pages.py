"""What the pages say, and to whom."""

import re
from dataclasses import replace
from typing import Final

import pytest
from botocore.exceptions import EndpointConnectionError

from sluicegate.board import app
from sluicegate.board.pages import activity
from sluicegate.deployment.drift import DriftFinding, drift_of_alias
from sluicegate.deployment.model import Reason
from sluicegate.deployment.plan import Target
from sluicegate.evidence.basis import Basis
from support.board import Board
from support.board_history import History
from support.gateway_simulation import OTHER
from support.signing import ISSUER

PAGES: Final = ("", "activity", "holds", "delivery", "evidence")


HOSTILE: Final = "<script>alert(1)</script>"


def test_the_overview_shows_what_each_stage_serves(board: Board, history: History) -> None:
    page = board.text()
    row = page[page.index('id="f-orders"') : page.index('id="f-orders-mail"')]
    assert re.search(r'data-name="dev">.*v1\.1\.0.*version 2', row, re.DOTALL)
    assert re.search(r'data-name="prod">.*v1\.0\.0.*version 1', row, re.DOTALL)
    assert "8c6d3b1a" in row
    assert "ada" in row
    # The share of traffic of the one that bakes, with its share in words.
    assert 'aria-label="10 % of the traffic"' in row
    assert f"/v1/board/deployments/{history.baking.id}" in row


def test_what_waits_for_the_viewer_is_on_top(board: Board, history: History) -> None:
    page = board.text()
    waiting = page[page.index("Waiting for you (1)") : page.index("Under way")]
    assert f"/v1/board/deployments/{history.waiting.id}" in waiting
    assert "asked by <bdi>ada</bdi>" in waiting
    assert f"/v1/board/deployments/{history.baking.id}" in page[page.index("Under way (1)") :]


def test_nothing_waits_for_the_person_who_asked(board: Board, history: History) -> None:
    ada = replace(board.viewer, claims={"user_id": "7", "user_login": "ada"})  # type: ignore[type-var]
    page = replace(board, viewer=ada).text()
    assert "Waiting for you" not in page
    assert "Under way (2)" in page
    seen = replace(board, viewer=ada).text(f"deployments/{history.waiting.id}")
    offered = re.findall(rf"deployments/{history.waiting.id}/(\w+)", seen)
    assert offered == ["reject", "abort"]
    assert f"sluicegate approve {history.waiting.id}" not in seen


def test_a_deployment_shows_state_steps_measurements_and_who(board: Board, history: History) -> None:
    page = board.text(f"deployments/{history.baking.id}")
    assert "10 % of the traffic goes to version 2, which is watched." in page
    assert re.search(r'class="now" aria-current="step"><b>10 %</b>', page)
    assert page.count('class="done"') == 3
    # Two plots of one limit, for wide and narrow pages, and a table beneath.
    assert page.count("<svg") >= 2
    assert 'class="line new"' in page
    assert "×2.9" in page
    assert "ada, job" in page
    assert "releasers" in page
    assert "4213" in page
    assert "/-/jobs/" in page
    assert "/-/commit/" in page
    assert "/-/pipelines/" in page
    assert "https://eu-central-1.console.aws.amazon.com/lambda/home" in page


def test_the_plan_is_what_was_accepted(board: Board, history: History) -> None:
    page = board.text(f"deployments/{history.baking.id}")
    assert "10% for 5m, 100%" in page
    assert history.baking.plan.gate in page
    assert "at most 2 times the previous version" in page


def test_a_deployment_that_ended_asks_for_no_news(board: Board, history: History) -> None:
    assert "hx-trigger" not in board.text(f"deployments/{history.released.id}")
    assert "hx-trigger" in board.text(f"deployments/{history.baking.id}")


def test_activity_has_its_filters_in_the_address(board: Board, history: History) -> None:
    everything = board.text("activity")
    assert everything.count('<tr id="d-') == 5
    prod = board.text("activity?stage=prod&status=succeeded")
    assert prod.count('<tr id="d-') == 1
    assert f"d-{history.released.id}" in prod
    assert "<option selected>prod</option>" in prod
    assert board.text("activity?function=orders-mail").count('<tr id="d-') == 1
    assert board.text("activity?person=ADA").count('<tr id="d-') == 5
    assert board.text("activity?actor=agent").count('<tr id="d-') == 0
    assert "Nothing here" in board.text("activity?release=v9")


def test_activity_of_days_is_by_the_readers_zone(board: Board, history: History) -> None:
    """The history is of 23 November by UTC's clock."""

    def count(query: str) -> int:
        return board.text(f"activity?{query}").count('<tr id="d-')

    assert count("from=2026-11-23&to=2026-11-23") == 5
    assert "Asked for from" in board.text("activity?from=2026-11-23")
    assert count("from=2026-11-22&to=2026-11-22") == count("from=2026-11-24") == count("to=2026-11-22") == 0
    # Five hours west of UTC it is the evening before.
    assert count("from=2026-11-22&to=2026-11-22&zone=-300") == 5
    assert count("to=2026-11-23&zone=600") == 5
    before = board.text(f"activity?to=2026-11-23&before={history.baking.id}")
    assert history.released.id in before
    assert f"d-{history.baking.id}" not in before
    older = board.text(f"activity?to=2026-11-22&before={history.baking.id}")
    assert "Nothing here" in older


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "query",
    [
        *(
            f"from={text}"
            for text in ("x", "2026-11-31", "20261124", "2026-W48-2", "9999-12-31", "0001-01-01")
        ),
        *(f"zone={text}" for text in ("x", "841", "-99999", "--60", "1e3", "%C2%B2")),
        "to=9999-12-31",
        "from=&to=&zone=",
    ],
)
def test_activity_passes_over_what_is_no_day(board: Board, query: str) -> None:
    page = board.text(f"activity?{query}")
    assert page.count('<tr id="d-') == 5
    assert "Asked for from" not in page
    assert "Show all" not in page


def test_a_list_says_of_what_kind_the_caller_is_and_why(board: Board, history: History) -> None:
    assert '<bdi>ada</bdi> <span class="soft">· pipeline</span>' in board.text("activity")
    released = history.at.store.deployments.summaries("by_function", "orders")
    one = next(one for one in released if one.id == history.released.id)
    assert activity.row(one)["reason"] == ""
    assert activity.row(replace(one, description="prices without tax"))["reason"] == "prices without tax"
    failed = replace(one, description="nightly", reason=Reason("metric", "errors: 7 %"))
    assert activity.row(failed)["reason"] == "errors: 7 %"
    for actor, kind in (("person", "person"), ("agent", ""), (None, "pipeline")):
        asked = replace(one.requested_by, actor=actor)
        assert activity.row(replace(one, requested_by=asked))["kind"] == kind


def test_activity_goes_on_from_a_deployment(board: Board, history: History) -> None:
    older = board.text(f"activity?before={history.baking.id}")
    assert history.released.id in older
    assert f"d-{history.baking.id}" not in older
    assert "Newest" in older
    assert "hx-trigger" not in older


def test_holds_say_why_and_by_whom(board: Board, history: History) -> None:
    assert "Nothing is held" in board.text("holds")
    history.at.hold()
    try:
        page = replace(board).text("holds")
        assert "freeze" in page
        assert "orders*" in page
        assert ">held</a>" in replace(board).text()
    finally:
        history.at.ask("DELETE", "/stages/{stage}/hold", history.at.job(), stage="prod")


def test_drift_is_marked_where_it_is_until_it_ends(board: Board, history: History) -> None:
    at = history.at
    [serving] = [one for one in at.store.versions.serving("orders") if one.stage == "dev"]
    found = (
        DriftFinding("alias", "alias_moved", f"the alias serves version 7 {HOSTILE}"),
        DriftFinding("trigger", "function_url", "a function URL invokes $LATEST"),
    )
    place = Target(serving.account, serving.region)
    drift = drift_of_alias(place, None, "orders", serving.alias, "dev", serving.deployment, found, at.clock())
    assert ">drift</span>" not in replace(board).text()
    at.store.drift.save(None, drift)
    try:
        for page in ("", "functions/orders", "projects/corp/4213"):
            shown = replace(board).text(page)
            assert shown.count(">drift</span>") == 1
            assert "the alias serves version 7 &lt;script&gt;" in shown
            assert "and 1 more" in shown
            assert HOSTILE not in shown
    finally:
        at.store.drift.save(drift, drift.changed((), serving.deployment, at.clock()))
    assert ">drift</span>" not in replace(board).text()


def test_a_function_has_a_page(board: Board) -> None:
    page = board.text("functions/orders")
    assert page.count('<tr id="d-') == 4
    assert "v1.1.0" in page
    assert "activity?function=orders" in page


def test_a_project_has_a_page(board: Board) -> None:
    page = board.text("projects/corp/4213")
    assert "acme/orders" in page
    assert page.count('<tr id="d-') == 5


def test_delivery_has_its_definitions_beside(board: Board) -> None:
    page = board.text("delivery")
    assert page.count('class="figures"') == 2
    for term in ("Deployment frequency", "Lead time from commit", "Went back", "Time to restore"):
        assert page.count(f"<dt>{term}</dt>") == 3
    assert "no commit time is known" in page


def test_search_and_pages_are_on_the_server(board: Board) -> None:
    assert 'id="f-orders-mail"' in board.text("?search=MAIL")
    assert 'id="f-orders"' not in board.text("?search=MAIL")
    assert "No function matches" in board.text("?search=nothing")
    for odd in ("?page=0", "?page=-1", "?page=x", "?page=99999", "?page=%C2%B2"):
        assert 'id="f-orders"' in board.text(odd)


def test_evidence_says_what_is_sealed_and_what_waits(board: Board, stranger: Board) -> None:
    page = board.text("evidence")
    assert re.search(r"<dt>Entries sealed</dt><dd>0</dd>", page)
    waiting = re.search(r"<dt>Not sealed yet</dt><dd>(\d+)</dd>", page)
    assert waiting
    assert int(waiting[1]) > 5
    assert board.context.evidence
    log = board.context.evidence
    state = log.read("111111111111/eu-central-1/sluicegate")
    log.seal(state, "{}", log.unsealed(board.clock())[:3])
    board.clock.now += 10
    page = board.text("evidence")
    assert "<dd>4</dd>" in page
    assert log.read("").chain.head in page
    # Numbers are for people whom a rule names.
    assert "No evidence yet" in stranger.text("evidence")


# Empty and forbidden


def test_without_a_session_every_page_asks_to_sign_in(signed_out: Board, history: History) -> None:
    assert signed_out.get().status == 200
    for path in (*PAGES[1:], f"deployments/{history.baking.id}"):
        response = signed_out.get(path)
        assert response.status == 401
        assert b"Sign in" in response.body
        assert b"orders" not in response.body.replace(path.encode(), b"")


def test_a_stranger_sees_what_there_is_when_there_is_nothing(stranger: Board, history: History) -> None:
    """No rights: the same answer as for what does not exist."""
    nothing = stranger.get("deployments/01M83M12VY33G6BNDQN7VPJD7R")
    assert nothing.status == 404
    for path in (
        f"deployments/{history.baking.id}",
        "functions/orders",
        "functions/nothing",
        "projects/corp/4213",
        "projects/corp/1",
        "projects/nothing/4213",
    ):
        assert stranger.get(path) == nothing, path
    for path in PAGES:
        assert b"orders" not in stranger.get(path).body
    assert "You see nothing here yet" in stranger.text()
    assert "No deployments yet" in stranger.text("activity")


@pytest.mark.parametrize(
    "path",
    ["deployments/x", "functions/../x", "functions/a%00b", "projects/corp/x", "projects/corp/²", "x" * 3000],
)
def test_what_is_no_address_is_not_found(board: Board, path: str) -> None:
    assert board.get(path).status == 404


def test_a_person_of_another_gitlab_sees_nothing(board: Board, history: History) -> None:
    """Nobody signs in with it: a session of before is none any more."""
    identity = replace(board.viewer, issuer=OTHER)  # type: ignore[type-var]
    other = replace(board, viewer=identity)
    assert other.get(f"deployments/{history.baking.id}").status == 401


def test_a_session_that_is_ended_shows_nothing_any_more(board: Board) -> None:
    assert board.get().status == 200
    board.store.sessions.end_all(ISSUER, "8", Basis("9" * 64, (), "iam", "person", {}, {}, ()))
    assert board.get("activity").status == 401


# Regions


def test_a_region_that_has_not_changed_is_304(board: Board, history: History) -> None:
    path = f"deployments/{history.baking.id}"
    region = board.get(path, hx_request="true")
    body = region.body.decode()
    assert body.startswith('<div id="live"')
    assert "<html" not in body
    assert region.headers["ETag"].strip('"') in body
    again = board.get(path, hx_request="true", if_none_match=region.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == region.headers["ETag"]
    assert board.get(path, hx_request="true", if_none_match='"else"').status == 200
    # A page is never 304: it is kept nowhere.
    assert board.get(path, if_none_match=region.headers["ETag"]).status == 200


def test_a_region_changes_with_the_state_alone(board: Board, history: History) -> None:
    path = f"deployments/{history.baking.id}"
    first = board.get(path, hx_request="true").headers["ETag"]
    board.clock.now += 7
    assert board.get(path, hx_request="true").headers["ETag"] == first


def test_a_region_asks_for_what_the_page_showed(board: Board) -> None:
    body = board.text("?search=mail&page=1")
    assert 'hx-get="/v1/board?search=mail&amp;page=1"' in body


# Failing


class Failing:
    """A store that cannot be read."""

    def __getattr__(self, name: str) -> "Failing":
        return self

    def __call__(self, *_: object, **__: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")


def test_a_table_that_cannot_be_read_is_a_page_of_its_own(board: Board) -> None:
    vars(board.context)["reads"] = Failing()
    response = board.get()
    assert response.status == 503
    assert response.headers["Retry-After"] == "5"
    assert b"AWS does not answer" in response.body
    assert b"dynamodb" not in response.body


def test_an_error_shows_nothing_of_its_cause(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr(app, "dispatch", broken)
    response = board.get()
    assert response.status == 503
    assert response.content_type.startswith("text/plain")
    assert b"secret" not in response.body
