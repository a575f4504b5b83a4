"""A plan: what acceptance fixes for a deployment, from the gate file in force at that moment.

Values only. `gate` holds them per stage and function, `rollout` decides by them.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Target:
    """Where functions live: the first part of every key and lock.

    guarantees.md#2-one-deployment-at-a-time
    """

    account: str
    region: str


OWN_TARGET_NAME = "default"
"""How the API calls the stack's own account and region."""


@dataclass(frozen=True)
class TrafficStep:
    """One step of a plan: `percent` (1 to 100) of the traffic, then `bake` seconds before the next."""

    percent: int
    bake: int


ALL_AT_ONCE = (TrafficStep(100, 0),)


@dataclass(frozen=True)
class Smoke:
    """The test that a new version must pass before traffic reaches it.

    The version itself is invoked with `payload`, and its answer must contain `expect` (both JSON texts; with
    an `expect` of None every answer but an error passes). Or the function `hook`, of the same target, is
    invoked with the version's number, and decides. `timeout` is in seconds.
    """

    timeout: int
    payload: str | None = None
    expect: str | None = None
    hook: str | None = None


class Metric(StrEnum):
    """What Lambda measures per version of an alias, by the gate file's names."""

    ERRORS = "errors"
    THROTTLES = "throttles"
    DURATION_P95 = "duration_p95"


@dataclass(frozen=True)
class Limit:
    """How bad one metric of the new version may be.

    `most` is in percent of the requests (errors, throttles) or in milliseconds (duration); `max_ratio` is
    against the version that is replaced. At least one of them is given. Fewer than `min_samples` requests of
    the new version say nothing.
    """

    metric: Metric
    min_samples: int
    most: int | float | None = None
    max_ratio: int | float | None = None


class NoData(StrEnum):
    """How a bake without enough requests ends."""

    PASS = "pass"  # noqa: S105 (not a password)
    FAIL = "fail"
    EXTEND = "extend"


@dataclass(frozen=True)
class Watch:
    """What is watched while a version bakes: CloudWatch alarms by name, limits on Lambda's own metrics."""

    alarms: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    no_data: NoData = NoData.PASS


@dataclass(frozen=True)
class Plan:
    """What acceptance fixed. A later edit of the gate file does not change it.

    `gate` is the digest of the gate file, `approval` the seconds within which a second person must agree
    (None: no approval is needed), `requires` the stage where the digest must have succeeded, `ordered`
    whether an older pipeline of the same project is refused. The version may have `unapproved_percent` of the
    traffic before the approval; with 0, none of the new code reaches the target before it. `proposed`: the
    request only proposes this, so it ends no other deployment before the approval.

    `role` is the one by which the deployer enters a target of the gate file, with `external_id`, and
    `target_name` that target's name. All three are None for the stack's own account, region and role.
    """

    target: Target
    alias: str
    steps: tuple[TrafficStep, ...]
    gate: str
    smoke: Smoke | None = None
    watch: Watch | None = None
    approval: int | None = None
    requires: str | None = None
    ordered: bool = False
    unapproved_percent: int = 0
    proposed: bool = False
    role: str | None = None
    external_id: str | None = None
    target_name: str | None = None
