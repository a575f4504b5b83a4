"""Approve, reject, abort: what people decide about a deployment that is under way.

security.md#approvals. Whatever is decided is written to the record first; then the rollout is woken.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, get_args

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import AliasOutcome, Approval, Deployment, Reason, Status, until
from sluicegate.gate import patterns
from sluicegate.gate.policy import Gate, Rule
from sluicegate.gateway.admission import Acceptance, held, token_key
from sluicegate.gateway.problems import Problem, conflict, not_allowed, unavailable
from sluicegate.gateway.requester import named, requester
from sluicegate.oidc.identity import Identity, Via
from sluicegate.rollout.transitions import WAITING_STATUSES, request_abort
from sluicegate.store.codec import Item
from sluicegate.store.errors import StaleRevision, TokenUsed
from sluicegate.store.keys import digest
from sluicegate.store.requests import TokenUse
from sluicegate.store.store import Store
from sluicegate.text import clean

_TRIES: Final = 6
_BOTS: Final = tuple(map(patterns.compile, ("project_*_bot*", "group_*_bot*", "service_account_*")))


@dataclass(frozen=True)
class Decisions:
    """Writes decisions to the record. Each answers with the record as it is then, and whether it is news."""

    gate: Gate
    store: Store
    acceptance: Acceptance
    clock: Callable[[], float]

    def approve(
        self, deployment: Deployment, identity: Identity, rule: Rule, reason: str | None
    ) -> tuple[Deployment, bool]:
        """A second person's yes. Raises a Problem: 403 where it is none, 409 where it comes too late."""
        for current in self._tries(deployment):
            if _decided(current, "approved", identity):
                return current, False
            self._check_open(current)
            self._check_approver(current, identity, rule)
            self._check_requester(current)
            if hold := self.acceptance.held(current.function, current.stage):
                raise held(hold)
            approval = self._approval("approved", identity, rule, reason)
            message = f"approved by {named(approval.by)}, by rule {clean(rule.name)!r}{_because(reason)}"
            after = current.changed(self.clock(), clean(message), approval=approval)
            binding = self._binding(current, identity)
            try:
                self.store.deployments.save(current, after, token_use=binding)
            except StaleRevision:
                continue
            except TokenUsed:
                raise conflict(
                    "token_used", "this token has asked for something of this stage: approve with another job"
                ) from None
            return after, True
        raise _contended()

    def reject(
        self, deployment: Deployment, identity: Identity, rule: Rule, reason: str | None
    ) -> tuple[Deployment, bool]:
        """A no, which ends it: nothing of the target has been touched."""
        for current in self._tries(deployment):
            if _decided(current, "rejected", identity):
                return current, False
            self._check_open(current)
            approval = self._approval("rejected", identity, rule, reason)
            message = clean(f"rejected by {named(approval.by)}{_because(reason)}")
            after = current.changed(
                self.clock(),
                message,
                Status.REJECTED,
                approval=approval,
                reason=Reason("rejected", message),
                outcome=AliasOutcome.UNTOUCHED,
            )
            try:
                self.store.deployments.save(current, after)
            except StaleRevision:
                continue
            return after, True
        raise _contended()

    def abort(
        self, deployment: Deployment, identity: Identity, reason: str | None
    ) -> tuple[Deployment, bool]:
        """No further, from whatever state; what was moved goes back."""
        for current in self._tries(deployment):
            if current.abort is not None:
                return current, False
            if current.status.final:
                raise conflict("wrong_state", f"the deployment is {current.status} and stays so")
            message = clean(f"aborted by {named(requester(identity))}{_because(reason)}")
            after = request_abort(current, Reason("aborted", message), message, self.clock())
            if after is current:
                return current, False
            try:
                self.store.deployments.save(current, after)
            except StaleRevision:
                continue
            return after, True
        raise _contended()

    def _tries(self, deployment: Deployment) -> Iterator[Deployment]:
        """The record, and again as it is by then, a few times: somebody else may write in between."""
        yield deployment
        for _ in range(_TRIES):
            if current := self.store.deployments.get(deployment.id):
                yield current

    def _check_open(self, deployment: Deployment) -> None:
        """There is a question, and nobody has answered it."""
        if deployment.plan.approval is None:
            raise conflict("wrong_state", "this deployment needs no approval")
        if deployment.status not in WAITING_STATUSES:
            raise conflict("wrong_state", f"the deployment is {deployment.status}: it is too late for that")
        if deployment.approval is not None:
            raise conflict("wrong_state", f"the deployment is {deployment.approval.decision} already")
        ends = until(deployment)
        if ends is not None and self.clock() >= ends:
            raise conflict("wrong_state", "the time for an approval is over")

    def _check_approver(self, deployment: Deployment, identity: Identity, rule: Rule) -> None:
        """Another person, from another pipeline, and no bot that the rule does not name."""
        asked, by = deployment.requested_by, requester(identity)
        if not _is_user(by.user_id):
            raise not_allowed("an approval needs a user, and this identity has none")
        if not _is_user(asked.user_id):
            raise not_allowed("who asked for this deployment is no user: nobody can approve it")
        if (by.issuer, by.user_id) == (asked.issuer, asked.user_id):
            raise not_allowed("this user asked for the deployment: somebody else must approve it")
        if (by.issuer, by.pipeline_id) == (asked.issuer, asked.pipeline_id):
            raise not_allowed("this is the pipeline that asked for the deployment: approve from another one")
        login = identity.text("user_login") or ""
        is_bot = any(pattern.matches(login) for pattern in _BOTS)
        if is_bot and by.user_id not in rule.pinned("user_id"):
            raise not_allowed("this user is a bot, and the rule does not list its user_id")

    def _check_requester(self, deployment: Deployment) -> None:
        """The gate file in force still allows it to who asked."""
        kept = self.store.deployments.identity(deployment.id)
        decision = kept and self.gate.decide(
            _identity(kept),
            actions=kept.get("actions") or (deployment.action,),
            function=deployment.function,
            stage=deployment.stage,
        )
        if not decision or decision.rule is None:
            raise not_allowed("the gate file in force does not allow this deployment to who asked for it")

    def _approval(self, decision: str, identity: Identity, rule: Rule, reason: str | None) -> Approval:
        at = timestamp(self.clock())
        return Approval(decision, requester(identity), rule.name, at, reason and clean(reason))

    def _binding(self, deployment: Deployment, identity: Identity) -> TokenUse | None:
        """A token that approved is good for nothing else there."""
        key = token_key(identity, deployment)
        return None if key is None else TokenUse(key, digest("approve", deployment.id), identity.expires_at)


def _identity(kept: Item) -> Identity:
    """Who asked, as they were verified then."""
    via = next(via for via in get_args(Via) if via == kept["via"])
    claims = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept["claims"].items()
    }
    return Identity(via, kept["issuer"], claims, kept["jti"], issued_at=0, expires_at=0)


def _decided(deployment: Deployment, decision: str, identity: Identity) -> bool:
    """Whether it was this very job that decided so."""
    given, by = deployment.approval, requester(identity)
    return (
        given is not None
        and given.decision == decision
        and (given.by.issuer, given.by.project_id, given.by.job_id) == (by.issuer, by.project_id, by.job_id)
    )


def _is_user(user_id: str | None) -> bool:
    return user_id is not None and re.fullmatch(r"[1-9][0-9]*", user_id, re.ASCII) is not None


def _because(reason: str | None) -> str:
    return f": {clean(reason)}" if reason else ""


def _contended() -> Problem:
    return unavailable("the deployment is changing too fast: send the same request again", 1)
