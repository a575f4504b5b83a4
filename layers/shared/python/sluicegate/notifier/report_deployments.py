"""Report a deployment as one of GitLab's own, in the environment that has the stage's name.

An event is about one deployment. Others of the same environment that GitLab still lacks are sent before it
where they come first: a GitLab that was down learns of all in the order in which they happened.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sluicegate.deployment.model import Deployment, Requester
from sluicegate.notifier import gitlab_deployments
from sluicegate.notifier.commit_status import STATES
from sluicegate.notifier.gitlab_api import GitLab
from sluicegate.notifier.gitlab_deployments import Environment, GitLabDeployment
from sluicegate.notifier.reporting import Reporting, Sent
from sluicegate.store.update_expression import Without


def report_deployments(reporting: Reporting, deployment: Deployment, deadline: float) -> None:
    """Send what the deployment's environment lacks of it, after what it lacks of others."""
    environment = gitlab_deployments.environment_of(deployment)
    source = gitlab_deployments.code_source(deployment)
    receiver = reporting.receiver(source) if source else None
    if environment is None or receiver is None or not receiver[1].deployment:
        return
    if not gitlab_deployments.lacks(deployment, reporting.ledger.gitlab_deployment(deployment.id)):
        return
    ledger = reporting.ledger
    ledger.keep_in_mind(environment.key, deployment.id)
    entry = ledger.entry(environment.key)
    pending = {*entry.values.get("open", ()), deployment.id}
    kept = gitlab_deployments.kept_in_mind(pending, reporting.clock())

    def act(gitlab: GitLab) -> Sent:
        session = _Session(reporting, gitlab, environment, int(entry.values.get("newest", 0)))
        session.read(kept)
        session.send()
        return {"newest": session.newest, "open": Without(frozenset(pending - set(session.left())))}

    reporting.under_lease(environment.key, entry, receiver, deadline, act)


@dataclass
class _Session:
    """What is sent to one environment under one lease.

    `newest` is the highest number that GitLab gave us: of the deployments that are kept in mind, and of those
    that were. The same write takes a deployment out of mind and keeps the number.
    """

    reporting: Reporting
    gitlab: GitLab
    environment: Environment
    newest: int
    deployments: dict[str, Deployment] = field(default_factory=dict)
    mirrors: dict[str, GitLabDeployment | None] = field(default_factory=dict)

    def read(self, ids: list[str]) -> None:
        """Read the records and what GitLab has of them, oldest first."""
        for one in ids:
            if found := self.reporting.find(one):
                self.deployments[one] = found
                self.mirrors[one] = mirror = self.reporting.ledger.gitlab_deployment(one)
                self.newest = max(self.newest, mirror.number or 0 if mirror else 0)

    def send(self) -> None:
        """Make what is missing, oldest first, and then end what has ended, in the order of the ends."""
        lacking = [one for one in self.deployments.values() if self._lacks(one)]
        for one in lacking:
            mirror, source = self.mirrors[one.id], gitlab_deployments.code_source(one)
            if source and not (mirror and mirror.exists):
                self._report(one, partial(self._make, one, source, mirror))
        for one in gitlab_deployments.in_order_of_ends(lacking):
            mirror = self.mirrors[one.id]
            if mirror and mirror.number is not None and self._lacks(one):
                self._report(one, partial(self._end, one, mirror.number))

    def left(self) -> list[str]:
        """Return the ids of those that are to be sent again, or have not ended."""
        pairs = ((one, self.mirrors[one.id]) for one in self.deployments.values())
        return [one.id for one, mirror in pairs if not gitlab_deployments.is_over(one, mirror)]

    def _lacks(self, one: Deployment) -> bool:
        return gitlab_deployments.lacks(one, self.mirrors[one.id])

    def _report(self, one: Deployment, act: Callable[[], None]) -> None:
        state = STATES[one.status]
        if not self.reporting.send("deployment", one, state.value, act):
            self._record(one, GitLabDeployment(None, state, refused=True))

    def _make(self, one: Deployment, source: Requester, mirror: GitLabDeployment | None) -> None:
        """Create it, unless an earlier request did whose answer was lost."""
        project, state = self.environment.project_id, gitlab_deployments.first_state(one)
        number = None
        if mirror:
            fields = gitlab_deployments.deployment_fields(one.stage, source, mirror.state)
            others = {other.number for other in self.mirrors.values() if other and other.number is not None}
            number = self.gitlab.find_deployment(project, fields, mirror.after, others)
            state = state if number is None else mirror.state
        if number is None:
            self._record(one, GitLabDeployment(None, state, after=self.newest))
            fields = gitlab_deployments.deployment_fields(one.stage, source, state)
            number = self.gitlab.create_deployment(project, fields)
        self._record(one, GitLabDeployment(number, state))
        self.newest = max(self.newest, number)

    def _end(self, one: Deployment, number: int) -> None:
        state = STATES[one.status]
        self.gitlab.update_deployment(self.environment.project_id, number, state)
        self._record(one, GitLabDeployment(number, state))

    def _record(self, one: Deployment, mirror: GitLabDeployment) -> None:
        self.reporting.ledger.record_gitlab_deployment(one.id, mirror)
        self.mirrors[one.id] = mirror
