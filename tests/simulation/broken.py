"""The product, deliberately broken in one place: the simulation must notice each of these."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from simulation.broken_around import AROUND
from sluicegate.aws import lambda_
from sluicegate.aws.lambda_ import FunctionApi
from sluicegate.deployer import publish, restore
from sluicegate.deployer.restore import AliasRestorer
from sluicegate.deployer.shift import AliasMover
from sluicegate.deployer.worker import Deployer
from sluicegate.deployment.model import AliasOutcome, AliasState, Deployment, Status
from sluicegate.gateway import decisions
from sluicegate.gateway.admission import commit, supersede
from sluicegate.gateway.endpoints import deployments as deployment_calls
from sluicegate.oidc import token
from sluicegate.recovery.janitor import Janitor
from sluicegate.relay.relay import Relay
from sluicegate.rollout import transitions
from sluicegate.rollout.outcomes import Published, Restored
from sluicegate.store import deployments, locks
from sluicegate.store.errors import CredentialUsed
from sluicegate.store.locks import Locks
from sluicegate.store.requests import Requests
from sluicegate.store.table import Condition, Resolution
from sluicegate.store.versions import Versions
from sluicegate.store.waits import Wait

Break = Callable[[pytest.MonkeyPatch], None]

_ANYTHING: Final = Condition("attribute_exists(pk) OR attribute_not_exists(pk)")


def no_revision_condition(patch: pytest.MonkeyPatch) -> None:
    """A record is written whatever its revision is."""
    patch.setattr(deployments, "_unchanged", lambda _: _ANYTHING)


def lock_freed_early(patch: pytest.MonkeyPatch) -> None:
    """The alias' lock is freed when the way back begins, and not at the end."""
    save = deployments.Deployments.save

    def early(self: Any, before: Deployment, after: Deployment, *args: Any, **more: Any) -> Any:
        waiting = save(self, before, after, *args, **more)
        if after.status is Status.ROLLING_BACK:
            tx = self._table.transaction()
            self._locks.release_alias(tx, after, set())
            tx.commit()
        return waiting

    patch.setattr(deployments.Deployments, "save", early)


def no_alias_lock(patch: pytest.MonkeyPatch) -> None:
    """An acceptance takes the alias' lock from anybody."""

    def take(_: Any, tx: Any, deployment: Deployment, __: Any) -> None:
        tx.put(locks._alias_item(deployment, locks.AliasLock(deployment.id)))

    patch.setattr(Locks, "take_alias", take)


def lock_never_freed(patch: pytest.MonkeyPatch) -> None:
    """The alias' lock stays after the end."""
    patch.setattr(Locks, "release_alias", lambda *_: None)


def successor_ignored(patch: pytest.MonkeyPatch) -> None:
    """A lock is deleted at the end, whether somebody inherits it or not."""
    patch.setattr(
        Locks, "release_alias", lambda _, tx, deployment, __: tx.delete(locks._alias_key(deployment))
    )


def no_revision_of_alias(patch: pytest.MonkeyPatch) -> None:
    """An alias is moved whatever its revision is."""

    def update(self: Any, name: str, state: Any, _: str) -> Any:
        return original(self, name, state, self.alias(name).revision)

    original = FunctionApi.update_alias
    patch.setattr(FunctionApi, "update_alias", update)


def restore_without_looking(patch: pytest.MonkeyPatch) -> None:
    """A way back takes the alias for restored."""
    patch.setattr(AliasRestorer, "restore", lambda *args: Restored(AliasOutcome.RESTORED, args[3].original))


def restore_over_a_foreign_move(patch: pytest.MonkeyPatch) -> None:
    """A way back moves the alias from whatever it serves."""

    def back(_: Any, deployment: Deployment, function: FunctionApi, action: Any) -> Any:
        alias = function.alias(deployment.plan.alias)
        if action.original is None or alias is None:
            return original(_, deployment, function, action)
        function.update_alias(deployment.plan.alias, action.original, alias.revision)
        return Restored(AliasOutcome.RESTORED, action.original)

    original = AliasRestorer.restore
    patch.setattr(AliasRestorer, "restore", back)


def shift_over_a_foreign_move(patch: pytest.MonkeyPatch) -> None:
    """An alias is moved from whatever it serves."""

    def move(self: Any, deployment: Deployment, function: FunctionApi, action: Any) -> Any:
        alias = function.alias(deployment.plan.alias)
        return self._move(deployment, function, action, alias.revision if alias else None)

    patch.setattr(AliasMover, "shift", move)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """An alias that was not moved yet keeps its revision when its deployment ends."""
    patch.setattr(restore, "_fence", lambda *_: None)


def no_time_to_settle(patch: pytest.MonkeyPatch) -> None:
    """A way back to no alias ends at once, although a call may be on its way."""
    patch.setattr(restore, "SETTLE_SECONDS", 0)


def moved_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    """The alias is moved as soon as the version is there, before a record says so."""
    original = publish.Publisher.publish

    def early(self: Any, deployment: Deployment, function: FunctionApi, *args: Any) -> Any:
        result = original(self, deployment, function, *args)
        outcome = result.outcome
        if isinstance(outcome, Published) and outcome.revision and outcome.ready:
            function.update_alias(deployment.plan.alias, AliasState(outcome.version), outcome.revision)
        return result

    patch.setattr(publish.Publisher, "publish", early)


def second_final_status(patch: pytest.MonkeyPatch) -> None:
    """A final record may be ended once more by the janitor."""
    patch.setattr(Status, "final", property(lambda self: self in (Status.SUCCEEDED,)))


def abort_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A deployment that is stopped while it has traffic ends without restoring the alias."""
    patch.setattr(
        transitions, "aborted", lambda d, now: transitions._end_aborted(d, d.abort, d.abort.message, now)
    )


def request_without_key(patch: pytest.MonkeyPatch) -> None:
    """A repeated request is not recognised."""
    patch.setattr(Requests, "get", lambda *_: None)
    patch.setattr(Requests, "add", lambda *_: None)
    patch.setattr(commit, "uses_of", lambda *_: ())


def token_bound_outside(patch: pytest.MonkeyPatch) -> None:
    """A token's use is looked up before the transaction, and is no part of it."""

    def use(self: Any, _: Any, deployment: str, use: Any) -> None:
        if (known := self.use_of(use)) is not None:
            raise CredentialUsed(use, known)
        tx = self._table.transaction()
        original(self, tx, deployment, use)
        tx._writes[-1] = replace(tx._writes[-1], on_conflict=Resolution.TOOK_EFFECT)
        tx.commit()

    original = Requests.use
    patch.setattr(Requests, "use", use)


def order_written_early(patch: pytest.MonkeyPatch) -> None:
    """What an alias serves is noted when it begins to move."""
    save = deployments.Deployments.save

    def early(self: Any, before: Deployment, after: Deployment, *args: Any, **more: Any) -> Any:
        waiting = save(self, before, after, *args, **more)
        if after.status is Status.SHIFTING and before.status is not Status.SHIFTING:
            tx = self._table.transaction()
            self._versions.add_success(tx, after, None)
            tx.commit()
        return waiting

    patch.setattr(deployments.Deployments, "save", early)


def no_janitor(patch: pytest.MonkeyPatch) -> None:
    """Nobody restarts what has died."""
    patch.setattr(Janitor, "_start", lambda *_: "")


def wait_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """A token is noted, and nobody looks whether there is news already; the janitor does not either."""

    def register(self: Any, deployment: str, revision: int, token: str, seconds: int) -> None:
        del revision
        self.store.waits.add(deployment, Wait(token, 0, int(self.clock()) + seconds))

    patch.setattr(Deployer, "register_wait", register)
    patch.setattr(Deployment, "has_unseen_decision", False)


def plan_read_again(patch: pytest.MonkeyPatch) -> None:
    """A plan changes half-way."""
    original = transitions.published

    def published(deployment: Deployment, outcome: Any, now: float) -> Deployment:
        after = original(deployment, outcome, now)
        return replace(after, plan=replace(after.plan, steps=after.plan.steps[-1:]), step=0)

    patch.setattr(transitions, "published", published)


def supersede_unseen(patch: pytest.MonkeyPatch) -> None:
    """What is superseded is not ended with the acceptance: its successor takes the lock at once."""
    original = supersede.supersede

    def unseen(*args: Any, **more: Any) -> Any:
        return replace(original(*args, **more), changes=(), at_once=True)

    patch.setattr(commit, "supersede", unseen)


def served_before_it_succeeded(patch: pytest.MonkeyPatch) -> None:
    """A version that failed counts as served."""
    save = deployments.Deployments.save

    def early(self: Any, before: Deployment, after: Deployment, *args: Any, **more: Any) -> Any:
        waiting = save(self, before, after, *args, **more)
        if after.status.final and after.version:
            tx = self._table.transaction()
            Versions.add_success(self._versions, tx, after, None)
            tx.commit()
        return waiting

    patch.setattr(deployments.Deployments, "save", early)


def weights_kept(patch: pytest.MonkeyPatch) -> None:
    """A move without weights leaves those that the alias has."""

    def update(self: Any, name: str, state: Any, revision: str) -> Any:
        request: dict[str, Any] = {"FunctionVersion": state.version, "RevisionId": revision}
        if state.weights:
            request["RoutingConfig"] = {"AdditionalVersionWeights": dict(state.weights)}
        return lambda_.read_alias(self._client.update_alias(FunctionName=self._name, Name=name, **request))

    patch.setattr(FunctionApi, "update_alias", update)


def original_read_again(patch: pytest.MonkeyPatch) -> None:
    """After a move, what the alias serves counts as what it served before."""
    original = transitions.shifted

    def shifted(deployment: Deployment, outcome: Any, now: float) -> Deployment:
        return replace(original(deployment, outcome, now), original=deployment.current)

    patch.setattr(transitions, "shifted", shifted)


def approval_ignored(patch: pytest.MonkeyPatch) -> None:
    """Traffic moves without the person that the plan asks for."""
    patch.setattr(Deployment, "needs_approval", lambda *_: False)


def gives_up_early(patch: pytest.MonkeyPatch) -> None:
    """A way back that fails once is given up."""
    patch.setattr(transitions, "_restore_timed_out", lambda *_: True)


def publishing_lock_never_freed(patch: pytest.MonkeyPatch) -> None:
    """The publishing lock stays until its lease is over."""
    patch.setattr(Locks, "release_publish_lock", lambda *_: None)


def rules_unchecked(patch: pytest.MonkeyPatch) -> None:
    """The first rule allows everything."""
    patch.setattr(deployment_calls, "authorize", lambda context, *_: context.gate.rules[0])


def signature_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A token says who somebody is, and its signature is not looked at."""
    patch.setattr(token, "verify_signature", lambda *_: None)


def relay_goes_past_a_failure(patch: pytest.MonkeyPatch) -> None:
    """What could not be published is not delivered again."""
    original = Relay.relay

    def relayed(self: Any, given: Any) -> None:
        original(self, given)

    patch.setattr(Relay, "relay", relayed)


def approves_itself(patch: pytest.MonkeyPatch) -> None:
    """The person who asked may approve."""
    patch.setattr(decisions, "check_approver", lambda *_: None)


VARIANTS: Final[Mapping[str, Break]] = {
    one.__name__.replace("_", "-"): one
    for one in (
        no_revision_condition,
        lock_freed_early,
        no_alias_lock,
        lock_never_freed,
        successor_ignored,
        no_revision_of_alias,
        restore_without_looking,
        restore_over_a_foreign_move,
        shift_over_a_foreign_move,
        no_fence,
        no_time_to_settle,
        moved_before_it_is_written,
        second_final_status,
        abort_forgotten,
        request_without_key,
        token_bound_outside,
        order_written_early,
        no_janitor,
        wait_without_a_look,
        plan_read_again,
        supersede_unseen,
        served_before_it_succeeded,
        weights_kept,
        original_read_again,
        approval_ignored,
        gives_up_early,
        publishing_lock_never_freed,
        rules_unchecked,
        signature_unchecked,
        approves_itself,
        relay_goes_past_a_failure,
        *AROUND,
    )
}


@contextmanager
def broken(variant: str | None) -> Iterator[None]:
    """Break the product for a while, or leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        if variant is not None:
            VARIANTS[variant](patch)
        yield
