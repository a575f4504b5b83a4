"""Webhook secrets: which are valid when, how often they are fetched, and when they are unavailable."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from sluicegate.aws.secrets import (
    CACHE_SECONDS,
    FETCH_COOLDOWN,
    ROTATION_OVERLAP,
    Secrets,
    SecretsUnavailable,
)
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
    return Secrets(lambda: cast(Any, manager), clock)


def accepts(secrets: Secrets, text: str) -> bool:
    return secrets.verifies(NAME, lambda secret: secret == text)


def test_the_current_secret_verifies_and_no_other(secrets: Secrets) -> None:
    assert accepts(secrets, "now")
    assert not accepts(secrets, "before")
    assert not accepts(secrets, "")


def test_it_is_fetched_once_in_five_minutes(secrets: Secrets, manager: Manager, clock: Clock) -> None:
    for _ in range(20):
        assert accepts(secrets, "now")
        clock.sleep(CACHE_SECONDS / 20 - 1)
    assert manager.calls == ["AWSCURRENT", "AWSPREVIOUS"]
    clock.sleep(30)
    assert accepts(secrets, "now")
    assert len(manager.calls) == 4


@pytest.mark.parametrize(("hours", "valid"), [(0, True), (23.9, True), (24, False), (25, False)])
def test_the_previous_secret_is_valid_for_a_day(
    secrets: Secrets, manager: Manager, clock: Clock, hours: float, valid: bool
) -> None:
    manager.rotate("new", clock.now)
    clock.sleep(hours * 3_600)
    assert accepts(secrets, "new")
    assert accepts(secrets, "now") is valid


def test_the_day_ends_for_a_cached_secret_too(secrets: Secrets, manager: Manager, clock: Clock) -> None:
    manager.rotate("new", clock.now)
    clock.sleep(ROTATION_OVERLAP - 10)
    assert accepts(secrets, "now")
    clock.sleep(20)
    assert not accepts(secrets, "now")
    assert len(manager.calls) == 2


def test_a_rotation_is_noticed_when_nothing_verifies(
    secrets: Secrets, manager: Manager, clock: Clock
) -> None:
    assert accepts(secrets, "now")
    clock.sleep(FETCH_COOLDOWN + 1)
    manager.rotate("new", clock.now)
    assert accepts(secrets, "new")
    assert accepts(secrets, "now")


def test_wrong_signatures_cost_one_fetch_in_thirty_seconds(
    secrets: Secrets, manager: Manager, clock: Clock
) -> None:
    for _ in range(100):
        assert not accepts(secrets, "wrong")
        clock.sleep(1)
    assert manager.calls.count("AWSCURRENT") == 4


@pytest.mark.parametrize(
    "code", ["ResourceNotFoundException", "AccessDeniedException", "InternalServiceError"]
)
def test_a_secret_that_cannot_be_fetched_is_unavailable(
    secrets: Secrets, manager: Manager, clock: Clock, code: str
) -> None:
    manager.failing = code
    for _ in range(3):
        with pytest.raises(SecretsUnavailable):
            accepts(secrets, "now")
    assert len(manager.calls) == 1
    manager.failing = None
    clock.sleep(FETCH_COOLDOWN + 1)
    assert accepts(secrets, "now")


def test_a_failed_refetch_is_unavailable(secrets: Secrets, manager: Manager, clock: Clock) -> None:
    assert accepts(secrets, "now")
    clock.sleep(FETCH_COOLDOWN + 1)
    manager.failing = "InternalServiceError"
    assert accepts(secrets, "now")
    for _ in range(2):
        with pytest.raises(SecretsUnavailable):
            accepts(secrets, "new")
    clock.sleep(CACHE_SECONDS)
    with pytest.raises(SecretsUnavailable):
        accepts(secrets, "now")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_secret_is_unavailable(secrets: Secrets, manager: Manager, text: str) -> None:
    manager.versions["AWSCURRENT"] = (text, START)
    with pytest.raises(SecretsUnavailable):
        accepts(secrets, text)


def test_an_empty_previous_secret_is_ignored(secrets: Secrets, manager: Manager) -> None:
    manager.versions["AWSPREVIOUS"] = ("", START)
    assert not accepts(secrets, "")


def test_a_trailing_line_break_is_ignored(secrets: Secrets, manager: Manager) -> None:
    manager.versions["AWSCURRENT"] = ("now\n", START)
    assert accepts(secrets, "now")


def test_a_clock_that_is_set_back_extends_nothing(secrets: Secrets, manager: Manager, clock: Clock) -> None:
    assert accepts(secrets, "now")
    clock.now -= 10 * CACHE_SECONDS
    assert accepts(secrets, "now")
    assert len(manager.calls) == 4


def test_an_error_of_the_check_is_raised(secrets: Secrets) -> None:
    def check(_: str) -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        secrets.verifies(NAME, check)


def test_no_secret_is_in_a_repr(secrets: Secrets) -> None:
    assert accepts(secrets, "now")
    assert "now" not in repr(vars(secrets)["_cache"])
