"""Webhook secrets, from Secrets Manager: the current one, and for a day the previous one.

Nothing here is logged, and a secret leaves this module only to be compared.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws.errors import error_code

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHE_SECONDS: Final = 5 * 60
"""Seconds that a fetched secret is used without fetching it again."""

FETCH_COOLDOWN: Final = 30
"""Seconds between two fetches of one secret, so that wrong signatures do not cost a fetch each."""

ROTATION_OVERLAP: Final = 24 * 3_600
"""Seconds after a rotation in which the previous secret is still valid, by the current one's CreatedDate."""


class SecretsUnavailable(Exception):
    """A signature cannot be verified at the moment (503). `reason` is a word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, repr=False)
class _CachedSecret:
    current: str
    previous: str | None
    rotated_at: float
    fetched_at: float

    def valid_at(self, now: float) -> tuple[str, ...]:
        in_overlap = self.previous is not None and now < self.rotated_at + ROTATION_OVERLAP
        return tuple(filter(None, (self.current, self.previous if in_overlap else None)))


class Secrets:
    """`client` makes a Secrets Manager client at first use. `clock` is the wall clock, as for key sets."""

    def __init__(
        self, client: "Callable[[], SecretsManagerClient]", clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._clock = clock
        self._cache: dict[str, _CachedSecret] = {}
        self._attempted_at: dict[str, float] = {}

    def verifies(self, name: str, check: Callable[[str], bool]) -> bool:
        """Return whether `check` passes with a secret of that name that is valid now.

        If none passes, the secret may have been rotated since: it is fetched again, at most once in
        FETCH_COOLDOWN seconds. Raises SecretsUnavailable if it cannot be fetched, and whatever `check`
        raises.
        """
        cached = self._cache.get(name)
        fetched = cached is None or not self._within(CACHE_SECONDS, cached.fetched_at)
        if cached is None or fetched:
            cached = self._fetch(name)
        if any(map(check, cached.valid_at(self._clock()))):
            return True
        if fetched or self._within(FETCH_COOLDOWN, cached.fetched_at):
            return False
        return any(map(check, self._fetch(name).valid_at(self._clock())))

    def _fetch(self, name: str) -> _CachedSecret:
        if name in self._attempted_at and self._within(FETCH_COOLDOWN, self._attempted_at[name]):
            raise SecretsUnavailable("tried a moment ago")
        now = self._attempted_at[name] = self._clock()  # before the call: failures count too
        try:
            current = self._version(name, "AWSCURRENT")
            previous = self._version(name, "AWSPREVIOUS", required=False)
        except (ClientError, BotoCoreError) as error:
            raise SecretsUnavailable(error_code(error)) from None
        if current is None or not current[0]:
            raise SecretsUnavailable("empty")
        cached = _CachedSecret(current[0], previous and previous[0], current[1], now)
        self._cache[name] = cached
        return cached

    def _version(self, name: str, stage: str, *, required: bool = True) -> tuple[str, float] | None:
        """Return the secret without a trailing line break, and when it was created."""
        try:
            response = self._client().get_secret_value(SecretId=name, VersionStage=stage)
        except ClientError as error:
            if not required and error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return response.get("SecretString", "").strip(), response["CreatedDate"].timestamp()

    def _within(self, seconds: float, moment: float) -> bool:
        # abs: a clock that was set back must not extend a secret or a cooldown.
        return abs(self._clock() - moment) < seconds
