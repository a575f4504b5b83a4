"""Decide which deployments an environment in GitLab lacks, or lacks the end of.

Pure decisions over values; `report_deployments` sends them. GitLab's rules, from its
app/models/deployment.rb, app/services/deployments/create_service.rb and lib/api/deployments.rb
(gitlabhq/gitlabhq, read on 2026-11-26):

- A deployment can become `running` only before it was anything else, and each end from anything but itself.
- An environment serves its newest success, by the time at which GitLab learnt of it. So ends are sent in the
  order in which they happened, and an older deployment before a newer one.
- A creation that equals the last success (`ref`, `tag`, `sha`, `status`) makes nothing and answers with that.
  So a success is made as `running` first.
- The API cannot change the deployment that a job's keyword `environment` made, which is there for each such
  job whose action is `start` (app/models/concerns/ci/deployable.rb). None is made beside it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.deployment.model import Deployment, Requester
from sluicegate.deployment.ulid import created_at
from sluicegate.notifier.commit_status import STATES, CommitState
from sluicegate.store.keys import Key, digest

OPEN_SECONDS: Final = 7 * 86_400
"""How long after its start a deployment that GitLab lacks is kept in mind. No event waits for that long."""

MAX_OPEN: Final = 50
"""How many of one environment are kept in mind: the newest ones."""


@dataclass(frozen=True)
class GitLabDeployment:
    """The deployment in GitLab that mirrors one of ours, and its state.

    `number` is None when its creation was requested and no answer has arrived, or ever will: it is larger
    than `after`, the largest one at that time. `refused`: GitLab can never show it.
    """

    number: int | None
    state: CommitState
    refused: bool = False
    after: int = 0

    @property
    def exists(self) -> bool:
        """Whether GitLab is known to have it."""
        return self.number is not None


@dataclass(frozen=True)
class Environment:
    """An environment of a project. It has the name of the stage."""

    issuer: str
    project_id: str
    name: str

    @property
    def key(self) -> Key:
        """The key of its item in the ledger."""
        return {
            "pk": f"status#{digest('environment', self.issuer, self.project_id, self.name)}",
            "sk": "environment",
        }


def code_source(deployment: Deployment) -> Requester | None:
    """Return the request with the commit of the code that is deployed; None if nobody knows it.

    A promotion or a rollback serves a version whose code another request brought, often long ago, perhaps
    from another project. A person may ask for it, who has no commit at all.
    """
    if deployment.action == "deploy":
        by = deployment.requested_by
    elif deployment.built:
        by = deployment.built.by
    else:
        return None
    return by if has_commit(by) else None


def has_commit(by: Requester) -> bool:
    """Return whether a project's commit is known. All of it goes into the paths of requests."""
    project = re.fullmatch(r"[1-9][0-9]{0,18}", by.project_id)
    return bool(project and by.ref and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", by.sha or ""))


def has_own_deployment(by: Requester) -> bool:
    """Return whether GitLab made a deployment for the job that asked, by its keyword `environment`.

    The token of such a job has the claim `environment`. Older GitLabs leave `environment_action` out, which
    GitLab takes for `start` itself (lib/gitlab/ci/jwt.rb; gitlab-org/gitlab#363590).
    """
    return by.job_id is not None and by.environment is not None and by.environment_action in (None, "start")


def environment_of(deployment: Deployment) -> Environment | None:
    """Return the environment that shows the deployment; None if there is none, or a job's own does."""
    source = code_source(deployment)
    if source is None or has_own_deployment(deployment.requested_by):
        return None
    return Environment(source.issuer, source.project_id, deployment.stage)


def lacks(deployment: Deployment, mirror: GitLabDeployment | None) -> bool:
    """Return whether GitLab lacks the deployment, or its present state. Nothing is made before it runs."""
    state = STATES[deployment.status]
    if state is CommitState.PENDING or (mirror is not None and mirror.refused):
        return False
    return mirror is None or not mirror.exists or state.rank > mirror.state.rank


def is_over(deployment: Deployment, mirror: GitLabDeployment | None) -> bool:
    """Return whether nothing remains to be sent, ever."""
    return deployment.status.final and not lacks(deployment, mirror)


def first_state(deployment: Deployment) -> CommitState:
    """Return the state with which it is made."""
    state = STATES[deployment.status]
    return CommitState.RUNNING if state is CommitState.SUCCESS else state


def in_order_of_ends(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return those that ended, as they ended."""
    ended = [one for one in deployments if one.status.final]
    return sorted(ended, key=lambda one: (one.finished_at or "", one.id))


def kept_in_mind(ids: Iterable[str], now: float) -> list[str]:
    """Return the ids, oldest first, without those that are too old to wait for, or too many."""
    recent = {one for one in ids if created_at(one) > now - OPEN_SECONDS}
    return sorted(recent)[-MAX_OPEN:]


def deployment_fields(stage: str, source: Requester, state: CommitState) -> dict[str, Any]:
    """Return the body of GitLab's `POST /projects/:id/deployments`. The environment has the stage's name."""
    return {
        "environment": stage,
        "sha": source.sha,
        "ref": source.ref,
        "tag": source.ref_type == "tag",
        "status": state.value,
    }
