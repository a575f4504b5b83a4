"""`doctor --stack`, signing in: the real board and the stand's GitLab, over HTTP."""

from collections.abc import Iterator

import pytest

from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.sign_in_checks import SIGN_IN, of_sign_ins
from stand.gitlab import Fault
from support.board_server import serving
from support.board_site import BoardSite, board_site, without_sign_in


@pytest.fixture
def at() -> Iterator[BoardSite]:
    with board_site() as made:
        yield made


@pytest.fixture
def board(at: BoardSite) -> Iterator[str]:
    with serving(at) as url:
        yield f"{url}/board"


def look(at: BoardSite, board: str) -> list[Finding]:
    found = list(of_sign_ins(board, at.gateway.gate))
    assert {one.check for one in found} <= {SIGN_IN}
    return found


def verdicts(found: list[Finding]) -> list[str]:
    return [one.verdict.value for one in found]


def test_a_right_application_is_found_without_signing_anybody_in(at: BoardSite, board: str) -> None:
    found = look(at, board)
    assert verdicts(found) == ["ok", "ok", "ok"]
    assert found[0].seen.endswith(f"byte for byte, is {board}/callback/corp")
    assert "refuses a made-up code" in found[1].seen
    assert at.refused() == ["code"]
    pages = at.gateway.client.scan(TableName="sluicegate")["Items"]
    assert [item["pk"]["S"] for item in pages] == []


def test_a_wrong_secret_is_named_and_not_shown(at: BoardSite, board: str) -> None:
    at.secrets.value = "not the application's"
    found = look(at, board)
    assert verdicts(found) == ["ok", "wrong", "ok"]
    assert "does not take the application's id or secret" in found[1].seen
    assert at.secrets.value not in str(found)


def test_a_gitlab_that_the_board_cannot_ask_is_named(at: BoardSite, board: str) -> None:
    at.site.gitlab.fault = Fault("answer", status=502)
    found = look(at, board)
    assert verdicts(found)[1] == "wrong"
    assert "/oauth/token" in found[1].seen


def test_a_board_without_this_gitlab_is_named(at: BoardSite, board: str) -> None:
    gate = at.gateway.gate
    at.gateway.gate = without_sign_in(at.site)
    (found,) = of_sign_ins(board, gate)
    assert found.verdict is CheckVerdict.WRONG
    assert "answers 404" in found.seen


def test_a_board_that_does_not_answer_is_unknown(at: BoardSite) -> None:
    (found,) = look(at, "http://127.0.0.1:9/v1/board")
    assert found.verdict is CheckVerdict.UNKNOWN


def test_nothing_is_asked_where_nobody_signs_in(at: BoardSite, board: str) -> None:
    at.gateway.gate = without_sign_in(at.site)
    assert look(at, board) == []
