"""Webhooks' secrets: what is valid when, how often it is fetched, and what cannot be had."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.secrets import COOL_DOWN, FRESH, OVERLAP, Secrets, SecretsUnavailable
from support.simulation import START, Clock

NAME = "sluicegate/webhooks/orders"


@dataclass
class Manager:
    """Secrets Manager, as far as it goes: versions of one secret by stage, and what fails."""

    versions: dict[str, tuple[str, float]] = field(default_factory=lambda: {"AWSCURRENT": ("now", START)})
    failing: str | None = None
    calls: list[str] = field(default_factory=list)

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:  # noqa: N803
        self.calls.append(VersionStage)
        assert SecretId == NAME
        if self.failing:
            raise self._error(self.failing)
        if VersionStage not in self.versions:
            raise self._error("ResourceNotFoundException")
        text, created = self.versions[VersionStage]
        return {"SecretString": text, "CreatedDate": datetime.fromtimestamp(created, UTC)}

    def rotate(self, text: str, at: float) -> None:
        self.versions = {"AWSCURRENT": (text, at), "AWSPREVIOUS": self.versions["AWSCURRENT"]}

    def _error(self, code: str) -> ClientError:
        return ClientError({"Error": {"Code": code}}, "GetSecretValue")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def secrets(manager: Manager, clock: Clock) -> Secrets:
    return Secrets(lambda: manager, clock)


def knows(secrets: Secrets, text: str) -> bool:
    return secrets.verifies(NAME, lambda secret: secret == text)


def test_the_present_secret_verifies_and_no_other(secrets: Secrets) -> None:
    assert knows(secrets, "now")
    assert not knows(secrets, "before")
    assert not knows(secrets, "")


def test_it_is_fetched_once_in_five_minutes(secrets: Secrets, manager: Manager, clock: Clock) -> None:
    for _ in range(20):
        assert knows(secrets, "now")
        clock.sleep(FRESH / 20 - 1)
    assert manager.calls == ["AWSCURRENT", "AWSPREVIOUS"]
    clock.sleep(30)
    assert knows(secrets, "now")
    assert len(manager.calls) == 4


@pytest.mark.parametrize(("hours", "valid"), [(0, True), (23.9, True), (24, False), (25, False)])
def test_the_secret_before_is_valid_for_a_day(
    secrets: Secrets, manager: Manager, clock: Clock, hours: float, valid: bool
) -> None:
    manager.rotate("new", clock.now)
    clock.sleep(hours * 3_600)
    assert knows(secrets, "new")
    assert knows(secrets, "now") is valid


def test_the_day_ends_even_for_what_is_cached(secrets: Secrets, manager: Manager, clock: Clock) -> None:
    manager.rotate("new", clock.now)
    clock.sleep(OVERLAP - 10)
    assert knows(secrets, "now")
    clock.sleep(20)
    assert not knows(secrets, "now")
    assert len(manager.calls) == 2


def test_a_rotation_is_noticed_when_nothing_verifies(
    secrets: Secrets, manager: Manager, clock: Clock
) -> None:
    assert knows(secrets, "now")
    clock.sleep(COOL_DOWN + 1)
    manager.rotate("new", clock.now)
    assert knows(secrets, "new")
    assert knows(secrets, "now")


def test_what_never_verifies_costs_a_fetch_in_thirty_seconds(
    secrets: Secrets, manager: Manager, clock: Clock
) -> None:
    for _ in range(100):
        assert not knows(secrets, "wrong")
        clock.sleep(1)
    assert manager.calls.count("AWSCURRENT") == 4


@pytest.mark.parametrize(
    "code", ["ResourceNotFoundException", "AccessDeniedException", "InternalServiceError"]
)
def test_a_secret_that_cannot_be_had_is_nobodys_fault(
    secrets: Secrets, manager: Manager, clock: Clock, code: str
) -> None:
    manager.failing = code
    for _ in range(3):
        with pytest.raises(SecretsUnavailable):
            knows(secrets, "now")
    assert len(manager.calls) == 1
    manager.failing = None
    clock.sleep(COOL_DOWN + 1)
    assert knows(secrets, "now")


def test_where_it_cannot_be_had_again_nobody_can_say(
    secrets: Secrets, manager: Manager, clock: Clock
) -> None:
    assert knows(secrets, "now")
    clock.sleep(COOL_DOWN + 1)
    manager.failing = "InternalServiceError"
    assert knows(secrets, "now")
    for _ in range(2):
        with pytest.raises(SecretsUnavailable):
            knows(secrets, "new")
    clock.sleep(FRESH)
    with pytest.raises(SecretsUnavailable):
        knows(secrets, "now")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_secret_is_none(secrets: Secrets, manager: Manager, text: str) -> None:
    manager.versions["AWSCURRENT"] = (text, START)
    with pytest.raises(SecretsUnavailable):
        knows(secrets, text)


def test_an_empty_secret_before_is_none(secrets: Secrets, manager: Manager) -> None:
    manager.versions["AWSPREVIOUS"] = ("", START)
    assert not knows(secrets, "")


def test_the_line_break_that_a_file_ends_in_is_no_part_of_it(secrets: Secrets, manager: Manager) -> None:
    manager.versions["AWSCURRENT"] = ("now\n", START)
    assert knows(secrets, "now")


def test_a_clock_that_is_set_back_keeps_nothing_alive(
    secrets: Secrets, manager: Manager, clock: Clock
) -> None:
    assert knows(secrets, "now")
    clock.now -= 10 * FRESH
    assert knows(secrets, "now")
    assert len(manager.calls) == 4


def test_what_the_check_refuses_passes_through(secrets: Secrets) -> None:
    def check(_: str) -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        secrets.verifies(NAME, check)


def test_no_secret_shows(secrets: Secrets) -> None:
    assert knows(secrets, "now")
    assert "now" not in repr(vars(secrets)["_held"])
