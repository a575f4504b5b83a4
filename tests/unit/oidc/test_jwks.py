"""The issuers' keys: security.md#keys. The wall clock is held; the network of test_fetch.py is real."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.http_client import FetchError
from sluicegate.oidc.identity import Issuer
from sluicegate.oidc.jwks import InvalidKeySet, Keyring, KeysUnavailable, UnknownKey, parse_jwks
from support.signing import AUDIENCE, ISSUER, NOW, jwk, jwks, key, number

CORP = Issuer(name="corp", url=ISSUER, audience=AUDIENCE)
OTHER = Issuer(name="other", url="https://gitlab.example.org", audience=AUDIENCE)


# Which keys are usable


@pytest.mark.parametrize(
    "usable",
    [
        jwk(),
        jwk(use=None),
        jwk(alg=None),
        jwk(key_ops=["verify"]),
        jwk(key_ops=["encrypt", "verify"]),
        jwk(x5t="abc", more={"a": [1]}),
        jwk(n=number(2**2048 - 1)),
        jwk(n=number(2**4096 - 1)),
    ],
)
def test_a_usable_key_is_read(usable: dict[str, Any]) -> None:
    assert list(parse_jwks(jwks(usable))) == ["k1"]


def test_a_key_that_was_read_is_the_key_that_was_published() -> None:
    assert parse_jwks(jwks(jwk())) == {"k1": key().public_key()}


@pytest.mark.parametrize(
    "odd",
    [
        jwk(kty="EC"),
        jwk(kty=None),
        jwk(n=number(2**2047 - 1)),
        jwk(n=number(2**4096 + 1)),
        jwk(kid=None),
        jwk(kid=""),
        jwk(kid=7),
        jwk(kid=["k1"]),
        jwk(use="enc"),
        jwk(use=["sig"]),
        jwk() | {"use": None},
        jwk(alg="RS384"),
        jwk(alg="PS256"),
        jwk() | {"alg": None},
        jwk(key_ops=["sign"]),
        jwk(key_ops=[]),
        jwk(key_ops="verify"),
        jwk() | {"key_ops": None},
        *(jwk() | {private: "AQAB"} for private in ("d", "p", "q", "dp", "dq", "qi", "oth", "k")),
        jwk() | {"d": None},
        jwk(n=None),
        jwk(e=None),
        jwk(n=1),
        jwk(e=""),
        jwk(n=jwk()["n"] + "="),
        jwk(n=jwk()["n"][:-1] + "!"),
        jwk(e=number(4)),
        jwk(e=number(1)),
        jwk(n=jwk()["n"][:-2]),
        "k1",
        ["k1"],
        None,
    ],
    ids=lambda entry: str({**entry, "n": "modulus"}) if isinstance(entry, dict) else str(entry),
)
def test_a_key_that_is_not_usable_is_left_out(odd: object) -> None:
    assert list(parse_jwks(jwks(odd, jwk("k2")))) == ["k2"]
    with pytest.raises(InvalidKeySet, match=r"^no usable key$"):
        parse_jwks(jwks(odd))


@pytest.mark.parametrize("twin", [jwk("k2", kid="k1"), {"kid": "k1", "kty": "EC"}, jwk(use="enc")])
def test_of_two_different_keys_with_one_kid_neither_is_usable(twin: dict[str, Any]) -> None:
    assert list(parse_jwks(jwks(jwk(), twin, jwk("k2")))) == ["k2"]
    assert list(parse_jwks(jwks(twin, jwk(), jwk("k2")))) == ["k2"]
    assert list(parse_jwks(jwks(jwk(), jwk(), twin, jwk("k2")))) == ["k2"]


@pytest.mark.parametrize("again", [jwk(), jwk(use=None), jwk(alg=None, x5t="abc")])
def test_one_key_twice_is_one(again: dict[str, Any]) -> None:
    """As when a bucket's set is put together from two exports."""
    assert parse_jwks(jwks(jwk(), again, jwk("k2"))) == {
        "k1": key().public_key(),
        "k2": key("k2").public_key(),
    }


def test_a_set_may_begin_with_a_byte_order_mark() -> None:
    assert list(parse_jwks(b"\xef\xbb\xbf" + jwks(jwk()))) == ["k1"]


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "AA"},
        {"kty": "oct", "kid": "secret", "k": "AA"},
        {"kty": "quantum", "kid": "q"},
        jwk("k2", use="enc"),
        {},
    ],
)
def test_keys_for_others_beside_ours_do_no_harm(other: dict[str, Any]) -> None:
    assert list(parse_jwks(jwks(other, jwk(), other))) == ["k1"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON: Expecting value at character 0"),
        (b"[]", "no list `keys`"),
        (b"{}", "no list `keys`"),
        (b'{"keys": {}}', "no list `keys`"),
        (b'{"keys": []}', "no usable key"),
        (b'{"keys": [], "keys": []}', "'keys' occurs twice in one object"),
        (jwks(*[jwk(kid=f"k{n}") for n in range(21)]), "more than 20 keys"),
        (jwks(jwk(), *[None] * 20), "more than 20 keys"),
        (b'{"x": ' + b"[" * 8 + b"]" * 8 + b"}", "nested too deep"),
    ],
)
def test_what_is_no_key_set_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidKeySet) as refused:
        parse_jwks(data)
    assert str(refused.value) == reason


def test_a_set_may_have_20_keys() -> None:
    assert len(parse_jwks(jwks(*[jwk(kid=f"k{n}") for n in range(20)]))) == 20


def test_json_around_the_keys_may_be_eight_levels_deep() -> None:
    assert parse_jwks(jwks(jwk())[:-1] + b', "x": ' + b"[" * 7 + b"]" * 7 + b"}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*jwk(), "key_ops", "d"]), json_values, max_size=3))
def test_any_key_is_read_or_left_out(odd: dict[str, Any]) -> None:
    assert "k2" in parse_jwks(jwks(jwk() | odd, jwk("k2")))


@given(st.binary() | json_values.map(lambda value: json.dumps({"keys": value}).encode()))
def test_any_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        parse_jwks(data)


# How long they are believed, and when they are fetched


@dataclass
class GitLab:
    """What an issuer publishes, how often it was asked, and what time it is."""

    published: bytes | Exception = field(default_factory=lambda: jwks(jwk()))
    asked: list[str] = field(default_factory=list)
    now: float = NOW

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if isinstance(self.published, Exception):
            raise self.published
        return self.published

    def keyring(self) -> Keyring:
        return Keyring(fetch=self.fetch, clock=lambda: self.now)

    def after(self, seconds: float) -> None:
        self.now += seconds


DOWN = FetchError("status 502")
MINUTE = 60
HOUR = 60 * MINUTE


@pytest.fixture
def gitlab() -> GitLab:
    return GitLab()


@pytest.fixture
def keyring(gitlab: GitLab) -> Keyring:
    return gitlab.keyring()


@pytest.fixture
def warm(gitlab: GitLab, keyring: Keyring) -> Keyring:
    """A keyring that fetched k1 just now."""
    keyring.key(CORP, "k1")
    gitlab.asked.clear()
    return keyring


def test_nothing_is_fetched_or_started_at_import() -> None:
    # SnapStart freezes what an import left behind, and thaws it in many sandboxes at once.
    script = """
import sys, threading
sys.addaudithook(lambda event, _: sys.exit(event) if event.startswith("socket.") else None)
import sluicegate.oidc.jwks, sluicegate.oidc.token
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})


def test_nothing_is_fetched_before_a_key_is_asked_for(gitlab: GitLab, keyring: Keyring) -> None:
    assert gitlab.asked == []
    assert keyring.key(CORP, "k1") == key().public_key()
    assert gitlab.asked == [ISSUER]


@pytest.mark.parametrize("age", [0, 1, 5 * MINUTE - 0.01])
def test_keys_are_not_fetched_again_for_five_minutes(gitlab: GitLab, warm: Keyring, age: float) -> None:
    gitlab.after(age)
    assert warm.key(CORP, "k1")
    assert gitlab.asked == []


@pytest.mark.parametrize("age", [5 * MINUTE, 10 * MINUTE - 0.01, 10 * MINUTE, HOUR, 100 * HOUR])
def test_from_five_minutes_on_keys_are_fetched_again(gitlab: GitLab, warm: Keyring, age: float) -> None:
    gitlab.after(age)
    gitlab.published = jwks(jwk("k2", kid="k1"))
    assert warm.key(CORP, "k1") == key("k2").public_key()
    assert gitlab.asked == [ISSUER]


@pytest.mark.parametrize(
    "failure",
    [DOWN, b"{}", jwks(), jwks(jwk(use="enc")), jwks(*[jwk(kid=f"k{n}") for n in range(21)])],
    ids=["status 502", "no member keys", "no key", "none that signs", "too many"],
)
@pytest.mark.parametrize("age", [5 * MINUTE, 10 * MINUTE, HOUR - 0.01])
def test_a_good_set_outlives_failed_fetches_for_an_hour(
    gitlab: GitLab, warm: Keyring, failure: bytes | Exception, age: float
) -> None:
    gitlab.published = failure
    gitlab.after(age)
    assert warm.key(CORP, "k1") == key().public_key()
    assert gitlab.asked == [ISSUER]


def test_after_an_hour_keys_are_not_believed_any_more(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.published = DOWN
    gitlab.after(HOUR)
    with pytest.raises(KeysUnavailable, match=r"^no keys of this issuer could be fetched$"):
        warm.key(CORP, "k1")
    assert gitlab.asked == [ISSUER]


def test_the_hour_counts_from_the_beginning_of_the_fetch(gitlab: GitLab) -> None:
    def slow(url: str) -> bytes:
        answer = gitlab.fetch(url)
        gitlab.after(3)
        return answer

    keyring = Keyring(fetch=slow, clock=lambda: gitlab.now)
    keyring.key(CORP, "k1")
    gitlab.published = DOWN
    gitlab.after(HOUR - 3)
    with pytest.raises(KeysUnavailable):
        keyring.key(CORP, "k1")


def test_a_refetch_renews_the_hour(gitlab: GitLab, warm: Keyring) -> None:
    for _ in range(5):
        gitlab.after(HOUR)
        assert warm.key(CORP, "k1")
    assert len(gitlab.asked) == 5


def test_while_an_issuer_is_down_it_is_asked_every_30_seconds_at_most(
    gitlab: GitLab, keyring: Keyring
) -> None:
    gitlab.published = DOWN
    for _ in range(3):
        for wait, left in ((0, 30), (0.4, 30), (9.6, 20), (19.9, 1)):
            gitlab.after(wait)
            with pytest.raises(KeysUnavailable) as later:
                keyring.key(CORP, "k1")
            assert later.value.retry_after == left
        gitlab.after(0.1)
    assert len(gitlab.asked) == 3


def test_the_cool_down_is_armed_before_the_fetch(gitlab: GitLab) -> None:
    def crash(url: str) -> bytes:
        gitlab.fetch(url)
        raise RuntimeError("not foreseen")

    keyring = Keyring(fetch=crash, clock=lambda: gitlab.now)
    with pytest.raises(RuntimeError):
        keyring.key(CORP, "k1")
    with pytest.raises(KeysUnavailable):
        keyring.key(CORP, "k1")
    assert len(gitlab.asked) == 1


def test_during_the_cool_down_stale_keys_are_served_at_once(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.published = DOWN
    gitlab.after(20 * MINUTE)
    for _ in range(10):
        gitlab.after(1)
        assert warm.key(CORP, "k1")
    assert len(gitlab.asked) == 1


def test_an_unknown_kid_is_refused_after_a_good_refetch(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.after(30)
    with pytest.raises(UnknownKey, match=r"^the issuer has no such key: it publishes 1 other\. "):
        warm.key(CORP, "k2")
    assert gitlab.asked == [ISSUER]


def test_an_unknown_kid_among_several_is_refused_with_their_number(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.after(30)
    gitlab.published = jwks(jwk(), jwk("k2"))
    with pytest.raises(UnknownKey, match=r"it publishes 2 others\. "):
        warm.key(CORP, "k3")


def test_a_new_key_is_found_by_a_refetch(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.after(30)
    gitlab.published = jwks(jwk(), jwk("k2"))
    assert warm.key(CORP, "k2") == key("k2").public_key()
    assert warm.key(CORP, "k1")
    assert gitlab.asked == [ISSUER]


def test_unknown_kids_cannot_make_every_request_a_fetch(gitlab: GitLab, warm: Keyring) -> None:
    for n in range(60):
        gitlab.after(1)
        with pytest.raises(UnknownKey):
            warm.key(CORP, f"made-up-{n}")
    assert len(gitlab.asked) == 2


def test_an_unknown_kid_soon_after_a_good_fetch_is_refused_without_another(
    gitlab: GitLab, warm: Keyring
) -> None:
    gitlab.after(29.9)
    with pytest.raises(UnknownKey):
        warm.key(CORP, "k2")
    assert gitlab.asked == []


def test_an_unknown_kid_is_not_refused_when_no_refetch_was_possible(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.after(MINUTE)
    gitlab.published = DOWN
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match=r"^this issuer's keys could not be fetched again$"):
            warm.key(CORP, "k2")
    assert len(gitlab.asked) == 1
    assert warm.key(CORP, "k1")


def test_a_key_that_is_gone_is_refused_at_once(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.after(5 * MINUTE)
    gitlab.published = jwks(jwk("k2"))
    with pytest.raises(UnknownKey):
        warm.key(CORP, "k1")
    assert len(gitlab.asked) == 1


def test_a_clock_that_is_set_back_keeps_nothing_alive(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.after(-2)
    assert warm.key(CORP, "k1")
    assert gitlab.asked == []
    gitlab.after(-2 * HOUR)
    gitlab.published = DOWN
    with pytest.raises(KeysUnavailable):
        warm.key(CORP, "k1")
    assert len(gitlab.asked) == 1


def test_one_issuers_trouble_is_not_anothers(gitlab: GitLab, keyring: Keyring) -> None:
    gitlab.published = DOWN
    with pytest.raises(KeysUnavailable):
        keyring.key(OTHER, "k1")
    gitlab.published = jwks(jwk())
    assert keyring.key(CORP, "k1")
    with pytest.raises(KeysUnavailable):
        keyring.key(OTHER, "k1")
    assert gitlab.asked == [OTHER.url, ISSUER]


def test_one_issuers_keys_are_not_anothers(gitlab: GitLab, warm: Keyring) -> None:
    gitlab.published = jwks(jwk("k2"))
    assert warm.key(OTHER, "k2")
    with pytest.raises(UnknownKey):
        warm.key(CORP, "k2")


def test_trouble_is_logged_with_its_reason(
    gitlab: GitLab, warm: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    gitlab.published = DOWN
    gitlab.after(5 * MINUTE)
    warm.key(CORP, "k1")
    assert caplog.messages == [f"keys of {ISSUER} not fetched: status 502"]


# A key set in the gate file


def test_a_key_set_from_a_file_is_never_fetched(gitlab: GitLab, keyring: Keyring) -> None:
    issuer = Issuer(name="corp", url=ISSUER, audience=AUDIENCE, jwks=jwks(jwk()))
    gitlab.after(100 * HOUR)
    assert keyring.key(issuer, "k1") == key().public_key()
    assert keyring.key(issuer, "k1") is keyring.key(issuer, "k1")
    with pytest.raises(UnknownKey, match=r"^the issuer's key set has no such key: fetch that file again"):
        keyring.key(issuer, "k2")
    assert gitlab.asked == []


def test_a_file_without_a_usable_key_denies(keyring: Keyring) -> None:
    issuer = Issuer(name="corp", url=ISSUER, audience=AUDIENCE, jwks=b"{}")
    with pytest.raises(KeysUnavailable, match=r"^the issuer's key set: no list `keys`$") as later:
        keyring.key(issuer, "k1")
    assert later.value.retry_after == 30


# Threads


@dataclass
class SlowGitLab(GitLab):
    """Answers when `may_answer` is set."""

    may_answer: threading.Event = field(default_factory=threading.Event)
    is_asked: threading.Event = field(default_factory=threading.Event)

    def fetch(self, url: str) -> bytes:
        answer = super().fetch(url)
        self.is_asked.set()
        assert self.may_answer.wait(10)
        return answer


@contextmanager
def running(*work: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_one_fetch_is_in_flight_however_many_ask() -> None:
    gitlab = SlowGitLab()
    keyring = gitlab.keyring()
    found: list[object] = []
    with running(*[lambda: found.append(keyring.key(CORP, "k1"))] * 8) as threads:
        assert gitlab.is_asked.wait(10)
        threads[0].join(0.1)
        assert found == []
        gitlab.may_answer.set()
    assert found == [key().public_key()] * 8
    assert len(gitlab.asked) == 1


def test_who_waited_for_a_fetch_that_failed_does_not_fetch_again() -> None:
    gitlab = SlowGitLab(published=b"{}")
    keyring = gitlab.keyring()
    outcomes: list[str] = []

    def ask() -> None:
        with pytest.raises(KeysUnavailable):
            keyring.key(CORP, "k1")
        outcomes.append("later")

    with running(*[ask] * 4):
        assert gitlab.is_asked.wait(10)
        gitlab.may_answer.set()
    assert outcomes == ["later"] * 4
    assert len(gitlab.asked) == 1


def test_one_fetch_is_in_flight_for_all_issuers() -> None:
    gitlab = SlowGitLab()
    keyring = gitlab.keyring()
    with running(lambda: keyring.key(CORP, "k1"), lambda: keyring.key(OTHER, "k1")) as threads:
        assert gitlab.is_asked.wait(10)
        threads[1].join(0.1)
        assert len(gitlab.asked) == 1
        gitlab.may_answer.set()
    assert len(gitlab.asked) == 2


@pytest.mark.parametrize("age", [5 * MINUTE, 10 * MINUTE - 0.01])
def test_refreshing_ahead_keeps_nobody_else_waiting(age: float) -> None:
    gitlab = SlowGitLab()
    keyring = gitlab.keyring()
    gitlab.may_answer.set()
    keyring.key(CORP, "k1")
    gitlab.may_answer.clear()
    gitlab.is_asked.clear()
    gitlab.after(age)
    found: list[object] = []
    with running(lambda: keyring.key(CORP, "k1")):
        assert gitlab.is_asked.wait(10)
        with running(lambda: found.append(keyring.key(CORP, "k1"))) as (other,):
            other.join(5)
            assert found == [key().public_key()]
            gitlab.may_answer.set()
    assert len(gitlab.asked) == 2


def test_past_ten_minutes_everybody_waits_for_the_news() -> None:
    gitlab = SlowGitLab()
    keyring = gitlab.keyring()
    gitlab.may_answer.set()
    keyring.key(CORP, "k1")
    gitlab.may_answer.clear()
    gitlab.is_asked.clear()
    gitlab.after(10 * MINUTE)
    gitlab.published = jwks(jwk("k2", kid="k1"))
    found: list[object] = []
    with running(*[lambda: found.append(keyring.key(CORP, "k1"))] * 4) as threads:
        assert gitlab.is_asked.wait(10)
        threads[0].join(0.1)
        assert found == []
        gitlab.may_answer.set()
    assert found == [key("k2").public_key()] * 4
    assert len(gitlab.asked) == 2
