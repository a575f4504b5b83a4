"""What the store raises instead of writing. Nothing was written, except where an error says otherwise."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluicegate.store.requests import AcceptedRequest, CredentialUse


class StoreError(Exception):
    """Base class of the store's errors."""


class RequestKnown(StoreError):
    """This request was accepted before."""


class CredentialUsed(StoreError):
    """The token or session of `use` was used for another request to this alias: it is good for one only.

    guarantees.md#5-one-request-one-effect
    """

    def __init__(self, use: "CredentialUse", request: "AcceptedRequest") -> None:
        super().__init__(request.deployment)
        self.use = use
        self.request = request


class Busy(StoreError):
    """Another deployment has the lock."""

    def __init__(self, deployment: str) -> None:
        super().__init__(deployment)
        self.deployment = deployment


class TagMoved(StoreError):
    """A webhook has deployed this tag at another commit before."""


class Outdated(StoreError):
    """A newer pipeline of the same project has succeeded there."""


class Condemned(StoreError):
    """The version is being deleted, or has been: no deployment may begin to need it."""


class Spared(StoreError):
    """The version is another pass of the pruner's by now, or the record says that it is gone."""


class ServingChanged(StoreError):
    """The alias serves something else than when it was read."""


class LimitReached(StoreError):
    """A rule has started as many deployments as it may: `most` in `seconds`. A slot is free at `lifts_at`.

    `lifts_at` is in epoch milliseconds.
    """

    def __init__(self, seconds: int, most: int, lifts_at: int) -> None:
        super().__init__(seconds, most)
        self.seconds = seconds
        self.most = most
        self.lifts_at = lifts_at


class SlotTaken(StoreError):
    """Another request has just taken a slot that was free when it was read: pick another one."""


class StaleRevision(StoreError):
    """A record or a lock has changed since it was read: read it again, and decide again."""


class AliasLockLost(StaleRevision):
    """The deployment does not have the lock of its alias: it must not move it."""


class Contended(StoreError):
    """Other transactions were at the same items at every attempt."""
