"""Sessions, tickets and grants: security.md#sessions, security.md#the-command-line."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.evidence.basis import Basis
from sluicegate.evidence.sign_ins import SessionUser
from sluicegate.oidc.pkce import challenge_of, terminal_code
from sluicegate.store import grants, sessions, tickets
from sluicegate.store.errors import Contended
from sluicegate.store.grants import GRANT_SECONDS, MAX_ATTEMPTS, GrantRefused
from sluicegate.store.sessions import SESSION_SECONDS, Session, key_of
from sluicegate.store.tickets import TicketTaken
from support.simulation import START, TABLE, Simulation, simulation

CORP, OTHER = "https://gitlab.example.com", "https://gitlab.example.org"
VERIFIER, CODE = "v" * 43, "ABCD2345"
ADA = SessionUser("9" * 64, CORP, "7", known=True)
BASIS = Basis("9" * 64, ("end-sessions",), "iam", "person", {"principal_id": "AROAX"}, {}, ())


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def session(issuer: str = CORP, user_id: str = "7", **changes: Any) -> Session:
    now = int(START)
    groups = tuple(f"acme/team-{number}" for number in range(300))
    claims: dict[str, str | tuple[str, ...]] = {
        "user_id": user_id,
        "user_login": "ada",
        "groups_direct": groups,
    }
    made = Session(issuer, user_id, claims, now, now, now, now + SESSION_SECONDS, "board")
    return replace(made, **changes)


def begun(at: Simulation, one: Session | None = None, **more: Any) -> str:
    """The bearer of a session that has begun."""
    made = one or session()
    return at.store.sessions.create(made, replace(ADA, issuer=made.issuer, user_id=made.user_id), **more)


def admitted(_: Session) -> SessionUser:
    return ADA


def items(at: Simulation) -> list[dict[str, Any]]:
    """All items but facts."""
    found: list[dict[str, Any]] = at.client.scan(TableName=TABLE)["Items"]
    return [item for item in found if not item["pk"]["S"].startswith("fact#")]


def test_a_session_is_found_by_its_bearer_with_hundreds_of_groups(at: Simulation) -> None:
    bearer = begun(at)
    assert re.fullmatch(r"sgs_[\w-]{22}_[\w-]{43}", bearer)
    assert at.store.sessions.find(bearer) == session()


def test_the_table_never_has_the_secret_nor_the_person_in_a_key(at: Simulation) -> None:
    bearer = begun(at)
    [item] = items(at)
    assert bearer[27:] not in str(item)
    assert "7" not in (item["pk"]["S"].removeprefix("session#"), item["sk"]["S"])
    assert "kind" not in item  # the key of an index of deployments


def test_two_sessions_of_one_user_have_nothing_in_common_but_the_user(at: Simulation) -> None:
    one, two = (begun(at) for _ in range(2))
    assert one[:26] == two[:26]
    assert one[27:] != two[27:]
    other = begun(at, session(OTHER))
    assert other[:26] != one[:26]


@pytest.mark.parametrize(
    "change",
    [
        lambda bearer: bearer[:-1] + ("A" if bearer[-1] != "A" else "E"),
        lambda bearer: bearer + "A",
        lambda bearer: bearer[:-1],
        lambda bearer: bearer.upper(),
        lambda bearer: bearer.replace("sgs_", "sgs-", 1),
        lambda bearer: f" {bearer}",
        lambda bearer: f"{bearer}\n",
        lambda bearer: "sgs_" + sessions.user_part(OTHER, "7") + bearer[26:],
        lambda _: "sgs_" + "A" * 66,
        lambda _: "",
    ],
)
def test_no_other_text_finds_it(at: Simulation, change: Any) -> None:
    bearer = begun(at)
    assert at.store.sessions.find(change(bearer)) is None


def test_the_last_character_has_one_spelling(at: Simulation) -> None:
    # 43 characters have two bits more than 32 bytes.
    bearer = begun(at)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(bearer[-1]) | 1]
    assert key_of(bearer[:-1] + twin) is None


def test_it_ends_after_eight_hours_however_late_the_table_deletes_it(at: Simulation) -> None:
    bearer = begun(at)
    at.clock.now = START + SESSION_SECONDS - 1
    assert at.store.sessions.find(bearer)
    at.clock.now += 1
    assert at.store.sessions.find(bearer) is None
    assert items(at)


def test_a_session_of_the_future_is_none(at: Simulation) -> None:
    bearer = begun(at, session(created_at=int(START) + 3_600))
    assert at.store.sessions.find(bearer) is None


def test_ending_is_at_once_and_may_happen_twice(at: Simulation) -> None:
    one, two = (begun(at) for _ in range(2))
    for _ in range(2):
        at.store.sessions.end(one, ADA)
    at.store.sessions.end("sgs_nonsense", ADA)
    assert at.store.sessions.find(one) is None
    assert at.store.sessions.find(two)


def test_all_sessions_of_one_user_end_and_no_other_ones(at: Simulation) -> None:
    mine = [begun(at) for _ in range(3)]
    others = [
        begun(at, session(user_id="8")),
        begun(at, session(OTHER, "7")),
    ]
    assert at.store.sessions.end_all(CORP, "7", BASIS) == 3
    assert [at.store.sessions.find(bearer) for bearer in mine] == [None] * 3
    assert all(at.store.sessions.find(bearer) for bearer in others)
    assert at.store.sessions.end_all(CORP, "7", BASIS) == 0


def test_a_new_session_takes_the_place_of_the_old_one(at: Simulation) -> None:
    old = begun(at)
    new = begun(at, session(user_id="8"), instead_of=old)
    assert at.store.sessions.find(old) is None
    assert at.store.sessions.find(new)
    begun(at, instead_of="no bearer")


# Tickets


def test_a_ticket_is_redeemed_once_and_only_by_its_secret_and_kind(at: Simulation) -> None:
    content = {"issuer": CORP, "nonce": "n"}
    at.store.tickets.issue("login", "secret", content, 600)
    assert at.store.tickets.redeem("login", "other") is None
    assert at.store.tickets.redeem("intent", "secret") is None
    assert at.store.tickets.find("login", "secret") == content
    assert at.store.tickets.redeem("login", "secret") == content
    assert at.store.tickets.redeem("login", "secret") is None
    assert "secret" not in str(items(at))


def test_a_ticket_expires_however_late_the_table_deletes_it(at: Simulation) -> None:
    at.store.tickets.issue("login", "secret", {}, 600)
    at.clock.now += 600
    assert at.store.tickets.find("login", "secret") is None
    assert at.store.tickets.redeem("login", "secret") is None


def test_a_secret_has_one_ticket(at: Simulation) -> None:
    at.store.tickets.issue("intent", "secret", {"n": 1}, 600)
    with pytest.raises(TicketTaken):
        at.store.tickets.issue("intent", "secret", {"n": 2}, 600)


def test_of_two_that_redeem_at_once_one_gets_it(at: Simulation) -> None:
    at.store.tickets.issue("login", "secret", {"n": 1}, 600)
    real = at.store.tickets._table.get
    raced: list[Any] = []

    def get(key: Any) -> Any:
        found = real(key)
        if not raced:
            raced.append(True)
            raced.append(at.store.tickets.redeem("login", "secret"))
        return found

    at.store.tickets._table.get = get  # type: ignore[method-assign]
    assert at.store.tickets.redeem("login", "secret") is None
    assert raced == [True, {"n": 1}]


# Grants


def offered(at: Simulation, verifier: str = VERIFIER, code: str = CODE, **more: Any) -> str:
    bearer = begun(at)
    at.store.grants.offer(terminal_code(challenge_of(verifier)), code, session(), bearer, **more)
    return bearer


def test_a_terminal_gets_a_session_for_its_verifier_and_the_code(at: Simulation) -> None:
    board = offered(at)
    at.clock.now += 60
    bearer, made = at.store.grants.take(VERIFIER, CODE, admitted)
    assert bearer != board
    assert at.store.sessions.find(bearer) == made
    assert (made.client, made.user_id, made.expires_at) == ("cli", "7", session().expires_at)
    assert made.created_at == int(START) + 60


def test_the_same_again_gets_the_same_session(at: Simulation) -> None:
    offered(at)
    assert at.store.grants.take(VERIFIER, CODE, admitted) == at.store.grants.take(VERIFIER, CODE, admitted)
    assert len(at.store.sessions.of_user(CORP, "7")) == 2


def test_a_session_that_was_ended_does_not_come_back_by_its_grant(at: Simulation) -> None:
    offered(at)
    at.store.grants.take(VERIFIER, CODE, admitted)
    at.store.sessions.end_all(CORP, "7", BASIS)
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, admitted)


def test_a_grant_ends_with_the_session_that_gave_it(at: Simulation) -> None:
    offered(at)
    at.store.sessions.end_all(CORP, "7", BASIS)
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, admitted)
    assert at.store.sessions.of_user(CORP, "7") == []


@pytest.mark.parametrize(("verifier", "code"), [("w" * 43, CODE), (VERIFIER, "ABCD2346"), (VERIFIER, "")])
def test_neither_verifier_nor_code_is_enough(at: Simulation, verifier: str, code: str) -> None:
    offered(at)
    with pytest.raises(GrantRefused):
        at.store.grants.take(verifier, code, admitted)
    assert len(at.store.sessions.of_user(CORP, "7")) == 1


def test_the_whole_challenge_counts_where_the_board_has_it(at: Simulation) -> None:
    offered(at, challenge=challenge_of("w" * 43))
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, admitted)


def test_a_code_cannot_be_guessed(at: Simulation) -> None:
    offered(at)
    for number in range(MAX_ATTEMPTS):
        with pytest.raises(GrantRefused):
            at.store.grants.take(VERIFIER, f"guess-{number}", admitted)
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, admitted)


def test_guesses_at_once_are_counted_before_they_are_compared(at: Simulation) -> None:
    offered(at)
    real = at.store.grants._table.get
    others: list[bool] = []

    def get(key: Any) -> Any:
        found = real(key)
        if len(others) < 3 and "attempts" in (found or {}):
            others.append(True)
            with pytest.raises((GrantRefused, Contended)):
                at.store.grants.take(VERIFIER, "guess", admitted)
        return found

    at.store.grants._table.get = get  # type: ignore[method-assign]
    with pytest.raises(Contended):
        at.store.grants.take(VERIFIER, CODE, admitted)
    [grant] = [item for item in items(at) if item["pk"]["S"].startswith("grant#")]
    assert grant["attempts"]["N"] == "1"


def test_a_grant_is_valid_for_minutes(at: Simulation) -> None:
    offered(at)
    at.clock.now += GRANT_SECONDS
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, admitted)


def test_a_terminal_that_nobody_granted_anything_writes_nothing(at: Simulation) -> None:
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, admitted)
    assert items(at) == []


def test_the_name_of_a_terminal_has_sixty_bits_of_its_challenge() -> None:
    assert re.fullmatch(r"[A-Z2-7]{12}", terminal_code(challenge_of(VERIFIER)))
    for text in ("", "short", "=" * 43, "é" * 43):
        with pytest.raises(ValueError, match=r".*"):
            terminal_code(text)


def test_expired_items_are_deleted_by_the_table_in_the_end(at: Simulation) -> None:
    offered(at)
    at.store.tickets.issue("login", "secret", {}, 600)
    ends = {item["pk"]["S"].partition("#")[0]: int(item["expires_at"]["N"]) for item in items(at)}
    assert ends == {
        "session": int(START) + SESSION_SECONDS,
        "grant": int(START) + GRANT_SECONDS + tickets.KEPT,
        "login": int(START) + 600 + tickets.KEPT,
    }
    assert grants.GRANT_SECONDS < 600
