"""Something that happens at one call to Lambda or to the table, or while a rollout waits."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sluicegate.deployment.model import Deployment, Status
from sluicegate.rollout.transitions import request_abort
from sluicegate.store.errors import StaleRevision
from support.plans import ABORTED
from support.simulation import Simulation


class Interruption:
    """Does something at one call, by its number: before it, after it, or both. There may be several."""

    def __init__(self, at: Simulation, point: int | None, *, before: Any = None, after: Any = None) -> None:
        self.names: list[str] = []
        self._point, self._before, self._after = point, before, after
        self._inside = False
        at.model.before = in_turn(at.model.before, self._called)
        at.model.after = in_turn(at.model.after, lambda _: self._answered())
        at.listen("before-call.dynamodb", lambda model, **_: self._called(model.name))
        at.listen("after-call.dynamodb", lambda **_: self._answered())

    def _called(self, name: str) -> None:
        if self._inside:
            return
        self.names.append(name)
        if self._before and len(self.names) - 1 == self._point:
            self._run(self._before)

    def _answered(self) -> None:
        if not self._inside and self._after and len(self.names) - 1 == self._point:
            self._run(self._after)

    def _run(self, what: Callable[[], None]) -> None:
        self._inside = True
        try:
            what()
        finally:
            self._inside = False


def in_turn(*several: Callable[[str], None]) -> Callable[[str], None]:
    def called(name: str) -> None:
        for each in several:
            each(name)

    return called


def abort_when_baking(at: Simulation) -> Callable[[Deployment], None]:
    def meanwhile(deployment: Deployment) -> None:
        if deployment.status is Status.BAKING:
            abort(at, deployment)

    return meanwhile


def abort(at: Simulation, deployment: Deployment) -> None:
    """Abort as the gateway does: a record that was changed is read again."""
    while not (current := at.now(deployment)).status.final:
        after = request_abort(current, ABORTED, "aborted by job 9", at.clock())
        if after is current:
            return
        with suppress(StaleRevision):
            at.store.deployments.save(current, after)
            return
