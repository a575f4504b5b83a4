"""Sessions begin and end with a fact of the evidence, bounded also for strangers: security.md#evidence."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluicegate.evidence.basis import Basis
from sluicegate.evidence.sign_ins import MOST_OF_OTHERS, MOST_OF_PERSON, SessionUser
from sluicegate.oidc.pkce import challenge_of, terminal_code
from sluicegate.store.grants import GrantRefused
from sluicegate.store.sessions import SESSION_SECONDS, Session, key_of
from support.sealer_simulation import SealerSimulation
from support.simulation import START, TABLE, Killed, Simulation, simulation

CORP = "https://gitlab.example.com"
GATE = "9" * 64
ADA = SessionUser(GATE, CORP, "7", known=True)
EVE = SessionUser(GATE, CORP, "666")
BASIS = Basis(
    GATE, ("end-sessions",), "iam", "person", {"account": "1" * 12, "principal_id": "AROAX"}, {}, ()
)
VERIFIER, CODE = "v" * 43, "ABCD2345"
HOUR = 3_600


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        yield made


def begun(at: Simulation, person: SessionUser = ADA, *, instead_of: str | None = None) -> str:
    now = int(at.clock())
    user_id = person.user_id or ""
    claims = {"user_id": user_id, "user_login": "zoe", "email": "zoe@example.com"}
    session = Session(CORP, user_id, claims, now, now, now, now + SESSION_SECONDS, "board")
    return at.store.sessions.create(session, person, instead_of=instead_of)


def items(at: Simulation, prefix: str) -> list[dict[str, Any]]:
    """Return the items whose key begins so, with plain values."""
    pages = at.client.get_paginator("scan").paginate(TableName=TABLE)
    found = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith(prefix)]
    return [{name: next(iter(value.values())) for name, value in item.items()} for item in found]


def lines(at: Simulation) -> list[dict[str, Any]]:
    """Return the lines about sessions by time."""
    found = [json.loads(item["line"]) for item in items(at, "fact#sign-in#")]
    return sorted(found, key=lambda line: (str(line["time"]), str(line["kind"])))


def lasting(at: Simulation) -> int:
    """Return how many sessions have not been ended."""
    return len([item for item in items(at, "session#") if "ended" not in item])


def name_of(bearer: str) -> str:
    key = key_of(bearer)
    assert key
    return key["sk"][:32]


def test_a_session_begins_with_its_fact_which_names_nobody(at: Simulation) -> None:
    bearer = begun(at)
    (line,) = lines(at)
    assert {name: line[name] for name in line if name not in ("salt", "time", "v")} == {
        "kind": "signed_in",
        "gate": GATE,
        "via": "session",
        "actor": "person",
        "by": {"issuer": CORP, "user_id": "7"},
        "client": "browser",
        "session": name_of(bearer),
        "expires": "2026-05-29T04:26:40.000Z",
    }
    assert "zoe" not in json.dumps(line)
    assert bearer[27:] not in json.dumps(items(at, ""))


def test_no_two_lines_share_a_key(at: Simulation) -> None:
    old = begun(at)
    begun(at, instead_of=old)
    begun(at)
    assert [line["kind"] for line in lines(at)] == ["session_ended", "signed_in", "signed_in", "signed_in"]


def test_signing_out_is_a_fact_once(at: Simulation) -> None:
    bearer = begun(at)
    at.clock.now += 60
    for _ in range(2):
        at.store.sessions.end(bearer, ADA)
    ended = lines(at)[1:]
    assert [(line["kind"], line["code"], line["session"]) for line in ended] == [
        ("session_ended", "signed_out", name_of(bearer))
    ]
    assert ended[0]["owner"] == ended[0]["by"] == {"issuer": CORP, "user_id": "7"}


def test_a_session_that_is_over_by_itself_ends_without_a_fact(at: Simulation) -> None:
    bearer = begun(at)
    at.clock.now += SESSION_SECONDS
    at.store.sessions.end(bearer, ADA)
    assert len(lines(at)) == 1


def test_what_is_left_of_an_ended_session_has_no_claims(at: Simulation) -> None:
    at.store.sessions.end(begun(at), ADA)
    (item,) = items(at, "session#")
    assert item["ended"] is True
    assert "claims" not in item
    assert "zoe" not in json.dumps(item)
    assert int(item["expires_at"]) == int(START) + SESSION_SECONDS


def test_a_sign_in_over_another_persons_session_says_who_ended_it(at: Simulation) -> None:
    planted = begun(at, EVE)
    at.clock.now += 1
    new = begun(at, ADA, instead_of=planted)
    line = next(line for line in lines(at) if line["kind"] == "session_ended")
    assert (line["code"], line["session"]) == ("replaced", name_of(planted))
    assert (line["owner"]["user_id"], line["by"]["user_id"]) == ("666", "7")
    assert at.store.sessions.find(planted) is None
    assert at.store.sessions.find(new)


def test_a_session_that_ends_while_another_takes_its_place_is_in_no_ones_way(
    at: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = begun(at)
    real = at.store.sessions._lasting
    raced: list[str] = []

    def lasts(bearer: str) -> Any:
        found = real(bearer)
        if not raced:
            raced.append(bearer)
            at.store.sessions.end(bearer, ADA)
        return found

    monkeypatch.setattr(at.store.sessions, "_lasting", lasts)
    new = begun(at, instead_of=old)
    assert at.store.sessions.find(new)
    assert sorted(line.get("code", "") for line in lines(at)) == ["", "", "signed_out"]


def test_a_terminals_session_names_the_browsers(at: Simulation) -> None:
    board = begun(at)
    given = at.store.sessions.find(board)
    assert given
    at.store.grants.offer(terminal_code(challenge_of(VERIFIER)), CODE, given, board)
    at.clock.now += 1
    for _ in range(2):
        bearer, _ = at.store.grants.take(VERIFIER, CODE, lambda _: ADA)
    terminal = lines(at)[1:]
    assert [(line["kind"], line["client"], line["session"], line["given_by"]) for line in terminal] == [
        ("signed_in", "terminal", name_of(bearer), name_of(board))
    ]


def test_a_grant_that_is_not_taken_is_no_fact(at: Simulation) -> None:
    board = begun(at)
    given = at.store.sessions.find(board)
    assert given
    at.store.grants.offer(terminal_code(challenge_of(VERIFIER)), CODE, given, board)
    at.store.sessions.end(board, ADA)
    with pytest.raises(GrantRefused):
        at.store.grants.take(VERIFIER, CODE, lambda _: ADA)
    assert [line["kind"] for line in lines(at)] == ["session_ended", "signed_in"]


def test_a_person_whom_nobody_admits_gets_no_session_and_no_fact(at: Simulation) -> None:
    board = begun(at)
    given = at.store.sessions.find(board)
    assert given
    at.store.grants.offer(terminal_code(challenge_of(VERIFIER)), CODE, given, board)

    def refuse(_: Session) -> SessionUser:
        raise PermissionError

    with pytest.raises(PermissionError):
        at.store.grants.take(VERIFIER, CODE, refuse)
    assert (lasting(at), len(lines(at))) == (1, 1)


# Ended by somebody else


def test_what_another_caller_ended_is_one_fact_with_their_rule(at: Simulation) -> None:
    bearers = [begun(at) for _ in range(3)]
    other = begun(at, EVE)
    at.clock.now += 1
    assert at.store.sessions.end_all(CORP, "7", replace(BASIS, rule="oncall")) == 3
    line = lines(at)[-1]
    assert (line["kind"], line["rule"], line["count"]) == ("sessions_ended", "oncall", 3)
    assert line["owner"] == {"issuer": CORP, "user_id": "7"}
    assert line["by"] == {"account": "1" * 12, "principal_id": "AROAX"}
    assert sorted(line["sessions"]) == sorted(map(name_of, bearers))
    assert at.store.sessions.end_all(CORP, "7", BASIS) == 0
    assert len(lines(at)) == 5
    assert at.store.sessions.find(other)


def test_hundreds_of_sessions_end_in_parts_each_with_its_fact(at: Simulation) -> None:
    for _ in range(200):
        begun(at)
    assert at.store.sessions.end_all(CORP, "7", BASIS) == 200
    ended = [line for line in lines(at) if line["kind"] == "sessions_ended"]
    assert sorted(line["count"] for line in ended) == [20, 90, 90]
    assert len({name for line in ended for name in line["sessions"]}) == 200
    assert max(len(json.dumps(line)) for line in ended) < 6_000
    assert lasting(at) == 0


def test_nobody_keeps_the_others_from_ending_by_ending_one(
    at: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begun(at), begun(at)
    real = at.store.sessions._of_user

    def of_user(issuer: str, user_id: str) -> Any:
        found = real(issuer, user_id)
        at.store.sessions.end(first, ADA)
        return found

    monkeypatch.setattr(at.store.sessions, "_of_user", of_user)
    assert at.store.sessions.end_all(CORP, "7", BASIS) == 2
    assert at.store.sessions.find(second) is None
    assert lasting(at) == 0


# A process that dies


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
@pytest.mark.parametrize("what", ["create", "replace", "end", "end_all", "refuse", "take"])
def test_a_process_that_dies_leaves_no_session_without_a_fact(
    at: Simulation, monkeypatch: pytest.MonkeyPatch, what: str, after: bool
) -> None:
    board = begun(at)
    given = at.store.sessions.find(board)
    assert given
    at.store.grants.offer(terminal_code(challenge_of(VERIFIER)), CODE, given, board)
    real = at.client.transact_write_items

    def dies(**arguments: Any) -> Any:
        if after:
            real(**arguments)
        raise Killed

    steps: dict[str, Callable[[], object]] = {
        "create": lambda: begun(at),
        "replace": lambda: begun(at, instead_of=board),
        "end": lambda: at.store.sessions.end(board, ADA),
        "end_all": lambda: at.store.sessions.end_all(CORP, "7", BASIS),
        "refuse": lambda: at.store.sessions.refuse(ADA, "denied", "board"),
        "take": lambda: at.store.grants.take(VERIFIER, CODE, lambda _: ADA),
    }
    with monkeypatch.context() as patched:
        patched.setattr(at.client, "transact_write_items", dies)
        with pytest.raises(Killed):
            steps[what]()
    sessions, found = items(at, "session#"), lines(at)
    began = {line["session"] for line in found if line["kind"] == "signed_in"}
    ended = {line["session"] for line in found if line["kind"] == "session_ended"}
    ended |= {name for line in found for name in line.get("sessions", ())}
    assert {item["sk"][:32] for item in sessions} == began
    assert {item["sk"][:32] for item in sessions if "ended" in item} == ended
    assert len(found) > 1 or not after


# A flood


def test_ten_sign_ins_of_a_person_are_lines_and_all_of_the_hour_are_a_number(at: Simulation) -> None:
    for _ in range(MOST_OF_PERSON + 5):
        assert at.store.sessions.find(begun(at))
    assert len(lines(at)) == MOST_OF_PERSON
    (number,) = items(at, "fact#sign-ins#")
    assert (number["count"], number["unsealed"]) == (str(MOST_OF_PERSON + 5), "yes")


def test_the_next_hour_and_another_person_have_lines_of_their_own(at: Simulation) -> None:
    for _ in range(MOST_OF_PERSON + 1):
        begun(at)
    begun(at, replace(ADA, user_id="8"))
    at.clock.now += HOUR
    begun(at)
    assert len(lines(at)) == MOST_OF_PERSON + 2


def test_strangers_share_a_bound_however_many_accounts_they_have(at: Simulation) -> None:
    for number in range(MOST_OF_OTHERS + 20):
        begun(at, replace(EVE, user_id=str(1_000 + number)))
    begun(at, ADA)
    found = lines(at)
    assert len(found) == MOST_OF_OTHERS + 1
    assert [line for line in found if line["by"]["user_id"] == "7"]
    (counter,) = [item for item in items(at, "fact#sign-ins#") if "counted" in item]
    assert counter["count"] == str(MOST_OF_OTHERS + 20)
    assert counter["counted"]["by"] == {"M": {"issuer": {"S": CORP}}}


def test_ending_what_one_began_is_bounded_too(at: Simulation) -> None:
    own = replace(BASIS, via="session", by={"issuer": CORP, "user_id": "666"})
    for _ in range(MOST_OF_OTHERS // 2 + 5):
        at.store.sessions.end(begun(at, EVE), EVE)
        begun(at, EVE)
        at.store.sessions.end_all(CORP, "666", own, EVE)
    kinds = [line["kind"] for line in lines(at)]
    assert kinds.count("session_ended") + kinds.count("sessions_ended") == MOST_OF_OTHERS
    assert kinds.count("signed_in") == MOST_OF_OTHERS


def test_refused_sign_ins_are_bounded_by_reason(at: Simulation) -> None:
    for _ in range(MOST_OF_PERSON + 1):
        at.store.sessions.refuse(ADA, "denied", "board")
    at.store.sessions.refuse(SessionUser(GATE, CORP, None), "token", "board", "nonce")
    found = lines(at)
    assert len(found) == MOST_OF_PERSON + 1
    (token,) = [line for line in found if line["code"] == "token"]
    assert (token["by"], token["check"]) == ({"issuer": CORP}, "nonce")


def test_the_sealer_waits_for_the_hour_and_seals_one_number(at: Simulation) -> None:
    sealer = SealerSimulation(at)
    at.clock.now = START - START % HOUR + 10
    for _ in range(MOST_OF_PERSON + 3):
        begun(at)
    assert sealer.run().sealed == MOST_OF_PERSON + 2  # with the gate file, and the line `sealed`
    for _ in range(4):
        begun(at)
    assert sealer.run().sealed == 0
    at.clock.now += HOUR + 120
    sealer.run()
    numbers = [one["line"] for one in sealer.segments() if one["line"]["kind"] == "sign_ins"]
    assert [(line["count"], line["by"]) for line in numbers] == [
        (MOST_OF_PERSON + 7, {"issuer": CORP, "user_id": "7"})
    ]
    assert numbers[0]["hour"] == "2026-05-28T20"


def test_a_clock_that_is_late_by_hours_does_not_change_what_is_sealed(at: Simulation) -> None:
    sealer = SealerSimulation(at)
    for _ in range(MOST_OF_PERSON + 1):
        begun(at)
    at.clock.now += 2 * HOUR
    sealer.run()
    before = sealer.segments()
    at.clock.now -= 2 * HOUR
    assert at.store.sessions.find(begun(at))
    at.clock.now += 2 * HOUR
    assert sealer.run().fork is None
    assert sealer.segments() == before


def test_a_number_that_only_one_line_is_short_of_is_never_both(at: Simulation) -> None:
    """Two sign-ins at once: of the last line, one gets it."""
    for _ in range(MOST_OF_PERSON - 1):
        begun(at)
    real = at.client.transact_write_items
    raced: list[bool] = []

    def race(**arguments: Any) -> Any:
        if not raced:
            raced.append(True)
            begun(at)
        return real(**arguments)

    at.client.transact_write_items = race
    begun(at)
    at.client.transact_write_items = real
    assert len(lines(at)) == MOST_OF_PERSON
    (number,) = items(at, "fact#sign-ins#")
    assert number["count"] == str(MOST_OF_PERSON + 1)
