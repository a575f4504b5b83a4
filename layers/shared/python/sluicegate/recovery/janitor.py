"""Restart deployments whose execution never began or died (guarantees.md#3-exactly-one-end)."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sluicegate.aws.stepfunctions import Executions
from sluicegate.deployment.deaths import one_more
from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import Deployment
from sluicegate.rollout.transitions import force_fail
from sluicegate.store.codec import STUCK_AFTER
from sluicegate.store.errors import StaleRevision
from sluicegate.store.store import Store

GIVES_UP_AFTER: Final = 6 * 3_600
"""Seconds in which no execution of a deployment got any further, before the janitor gives it up.

An outage of a region ends sooner as a rule, and what has stopped with shared traffic had better go on.
"""

SOON: Final = 5
"""Executions that are started again at once. Those after them are a quarter of an hour apart."""

RESTART_EVERY: Final = 900
"""Seconds between two of the later ones."""

TRUSTED: Final = 900
"""Seconds that a wait may still take for which nobody looks at its execution: nothing is due before."""

SWEEP_SECONDS: Final = 40
"""Seconds that a sweep takes at most; the next one continues with those that are due the longest."""

AGAIN_AFTER: Final = 60
"""Seconds until a deployment is looked at again that runs, or at which a look failed."""


@dataclass
class Swept:
    """The result of one sweep: ids that were started, records that were given up, and errors by id."""

    started: list[str] = field(default_factory=list)
    abandoned: list[Deployment] = field(default_factory=list)
    running: int = 0
    failed: list[tuple[str, Exception]] = field(default_factory=list)


@dataclass(frozen=True)
class Janitor:
    """Sweeps the unfinished deployments: each that is due, and no other.

    One whose executions die is started again until none has got any further for hours.

    A change makes a deployment due soon after it. A look that finds it running puts that off, until its wait
    is over where it waits: ten thousand open bakes cost a few looks a minute.
    """

    store: Store
    executions: Executions
    clock: Callable[[], float] = time.time

    def sweep(self) -> Swept:
        """Start every deployment that does not run; give up those that got no further for hours.

        An error with one deployment does not keep the others from being swept, in this sweep or the next.
        """
        swept = Swept()
        began = self.clock()
        for deployment_id in self.store.deployments.due(began):
            if self.clock() - began > SWEEP_SECONDS:
                break
            try:
                self._look(deployment_id, swept)
            except StaleRevision:
                continue  # it moves
            except Exception as error:
                swept.failed.append((deployment_id, error))
                self._put_off(deployment_id)
        return swept

    def _look(self, deployment_id: str, swept: Swept) -> None:
        deployment = self.store.deployments.get(deployment_id)  # the index lags behind
        if deployment is None or deployment.status.final:
            return
        now, wait = self.clock(), self.store.waits.last(deployment_id)
        waits_for = wait.until - now if wait and wait.lasts(deployment, now) else 0
        if 0 < waits_for <= TRUSTED:
            swept.running += 1
            self.store.deployments.put_off(deployment, now + waits_for + STUCK_AFTER)
            return
        state = self.executions.state(deployment)
        if state == "RUNNING":
            swept.running += 1
            if wait and deployment.has_unseen_decision:
                # The gateway may have died before it did.
                self.executions.wake(wait.token, rollback=deployment.goes_back)
            self.store.deployments.put_off(deployment, now + (TRUSTED if waits_for else AGAIN_AFTER))
        elif state is None:
            swept.started.append(self._start(deployment))
        else:
            self._start_again(deployment, state, swept)

    def _put_off(self, deployment_id: str) -> None:
        """Let the others go first: one that fails each time must not be the first each time."""
        with suppress(Exception):
            if deployment := self.store.deployments.get(deployment_id):
                self.store.deployments.put_off(deployment, self.clock() + AGAIN_AFTER)

    def _start(self, deployment: Deployment) -> str:
        """Start the execution of the current attempt."""
        self.executions.start(deployment)
        self.store.deployments.put_off(deployment, self.clock() + AGAIN_AFTER)
        return deployment.id

    def _start_again(self, deployment: Deployment, state: str, swept: Swept) -> None:
        """Start the next execution after one that ended as `state`, or give up."""
        now = self.clock()
        deaths = one_more(deployment.deaths, deployment.revision, now)
        lasted = now - seconds(deaths.since)
        if deaths.number > SOON and lasted >= GIVES_UP_AFTER:
            message = (
                f"the rollout's execution ended {_said(state)} {deaths.number} times in"
                f" {int(lasted / 3_600)} hours"
            )
            after = force_fail(deployment, message, now)
            self.store.deployments.save(deployment, after)
            swept.abandoned.append(after)
            return
        next_start = seconds(deployment.updated_at) + RESTART_EVERY
        if deaths.number > SOON and now < next_start:
            self.store.deployments.put_off(deployment, next_start)
            return
        message = f"the rollout's execution ended {_said(state)}; starting it again"
        after = deployment.changed(now, message, retry=True, attempt=deployment.attempt + 1, deaths=deaths)
        self.store.deployments.save(deployment, after)
        swept.started.append(self._start(after))


def _said(state: str) -> str:
    """Step Functions' word for how an execution ended, in a sentence: `timed out`."""
    return state.lower().replace("_", " ")
