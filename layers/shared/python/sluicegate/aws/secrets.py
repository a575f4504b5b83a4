"""Webhooks' secrets, from Secrets Manager: the present one, and for a day the one before it.

Nothing here is logged, and no secret leaves this module but to be compared.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from sluicegate.aws import clients

FRESH: Final = 5 * 60
"""Seconds that a fetched secret is believed."""

COOL_DOWN: Final = 30
"""Seconds between two fetches of one secret: what does not verify must not cost a fetch each."""

OVERLAP: Final = 24 * 3_600
"""Seconds after a rotation in which the secret before is valid too, by the present one's CreatedDate."""


class SecretsUnavailable(Exception):
    """Nobody can say now whether it verifies (503). `reason` is a word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, repr=False)
class _Held:
    current: str
    previous: str | None
    rotated_at: float
    fetched_at: float

    def usable(self, now: float) -> tuple[str, ...]:
        rotated = self.previous is not None and now < self.rotated_at + OVERLAP
        return tuple(filter(None, (self.current, self.previous if rotated else None)))


class Secrets:
    """`client` makes a Secrets Manager client at the first use; `clock` is the wall clock (see `keys`)."""

    def __init__(self, client: Callable[[], Any], clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._attempted_at: dict[str, float] = {}

    def verifies(self, name: str, check: Callable[[str], bool]) -> bool:
        """Whether the check passes with a secret of that name that is valid now.

        One that was rotated since it was fetched is fetched again, at most once in COOL_DOWN seconds. Raises
        SecretsUnavailable where it cannot be had, or could not be had again; and whatever `check` raises.
        """
        held = self._held.get(name)
        fetched = held is None or not self._within(FRESH, held.fetched_at)
        if held is None or fetched:
            held = self._fetch(name)
        if any(map(check, held.usable(self._clock()))):
            return True
        if fetched or self._within(COOL_DOWN, held.fetched_at):
            return False
        return any(map(check, self._fetch(name).usable(self._clock())))

    def _fetch(self, name: str) -> _Held:
        if name in self._attempted_at and self._within(COOL_DOWN, self._attempted_at[name]):
            raise SecretsUnavailable("tried a moment ago")
        now = self._attempted_at[name] = self._clock()  # before: failing may not cost less than success
        try:
            current = self._version(name, "AWSCURRENT")
            previous = self._version(name, "AWSPREVIOUS", needed=False)
        except (ClientError, BotoCoreError) as error:
            raise SecretsUnavailable(clients.error_code(error)) from None
        if current is None or not current[0]:
            raise SecretsUnavailable("empty")
        held = _Held(current[0], previous and previous[0], current[1], now)
        self._held[name] = held
        return held

    def _version(self, name: str, stage: str, *, needed: bool = True) -> tuple[str, float] | None:
        """The secret's text, without the line break that files end in, and when it was made."""
        try:
            answer = self._client().get_secret_value(SecretId=name, VersionStage=stage)
        except ClientError as error:
            if not needed and clients.error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return answer.get("SecretString", "").strip(), answer["CreatedDate"].timestamp()

    def _within(self, seconds: float, moment: float) -> bool:
        # abs: a clock that was set back must not keep a secret, or a cool-down, alive for longer.
        return abs(self._clock() - moment) < seconds
