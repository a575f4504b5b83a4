"""A deployment's page: its state, its steps, what was measured, its plan, and who asked by which rule."""

from typing import Any, Final

from markupsafe import Markup

from sluicegate.board.context import BoardContext, live_page
from sluicegate.board.line import line
from sluicegate.board.pages.missing import missing
from sluicegate.board.responses import BoardResponse
from sluicegate.board.visibility import Visibility, actions_for
from sluicegate.board.wording import (
    TONES,
    cloudwatch,
    deployed,
    gitlab_links,
    project_address,
    sentence,
    state_word,
    who,
)
from sluicegate.deployment.model import Deployment
from sluicegate.deployment.ulid import is_id
from sluicegate.deployment.views import observations_view, view
from sluicegate.documents import describe, observed
from sluicegate.documents.figures import figures
from sluicegate.gateway.http import GatewayRequest

EVERY: Final = 3
"""Seconds between two looks at a deployment that is under way."""

_WIDE: Final = (760, 240)
_NARROW: Final = (340, 240)

_MOST_LOOKS: Final = 40
"""Looks in the table beneath the plots, the newest ones."""


def show(
    context: BoardContext, request: GatewayRequest, viewer: Visibility, deployment_id: str
) -> BoardResponse:
    """Return the page; what there is not, and what the viewer may not see, are the same 404."""
    deployment = context.reads.deployment(deployment_id) if is_id(deployment_id) else None
    if deployment is None or not viewer.sees(deployment):
        return missing(context, viewer)
    document = {**view(deployment), "observations": observations_view(deployment)}
    return live_page(
        context,
        request,
        "deployment.html",
        "deployment_live.html",
        every=None if deployment.status.final else EVERY,
        viewer=viewer,
        here="",
        deployment=document,
        status=state_word(deployment),
        tone=TONES[deployment.status],
        sentence=sentence(deployment),
        line=line(deployment),
        facts=_facts(deployment, document),
        plan=_plan(document),
        project=project_address(context.gate, deployment.requested_by),
        links=gitlab_links(deployment.requested_by) | {"CloudWatch": cloudwatch(deployment)},
        plots=figures(document, wide=_WIDE, narrow=_NARROW, markup=Markup),
        looks=_looks(document),
        newest=observed.observations(document)[-1:],
        would_have=document["would_have"],
        alarms=_alarms(document),
        actions=actions_for(viewer, deployment, context.clock()),
        what=deployed(deployment),
        observed=observed,
        describe=describe,
    )


def _facts(deployment: Deployment, document: dict[str, Any]) -> dict[str, str]:
    """Return who asked, by which rule, and what moved; without what is unknown."""
    by, alias = document["requested_by"], document["alias"]
    source = deployment.promoted_from
    facts = {
        "Asked by": describe.marked(by, describe.requester(by)),
        "By rule": deployment.rule,
        "Action": deployment.action + (f" from {source}" if source else ""),
        "Release": deployment.release,
        "Description": deployment.description,
        "Commit": by.get("sha"),
        "Ref": by.get("ref"),
        "Approval": describe.approval(document["approval"]),
        "Proposed": f"{who(deployment.abort_proposed.by)} proposes to abort it"
        if deployment.abort_proposed
        else None,
        "Fix forward": describe.fix_forward(document["fix_forward"]),
        "Alias before": describe.serving(alias["original"]),
        "Alias now": describe.serving(alias["current"]),
        "Code (SHA-256)": deployment.sha256,
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _plan(document: dict[str, Any]) -> dict[str, str]:
    return {
        "Steps": describe.steps(document["steps"]),
        "Smoke test": "before any traffic" if document["smoke"] else "none",
        "Watched": "; ".join(describe.watch(document["watch"])) or "nothing",
        "Target": describe.target(document["target"]),
        "Alias": document["alias"]["name"],
        "Gate file": document["gate"],
    }


def _looks(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each finding of each look, the newest look first."""
    return [
        {"at": look["at"], "percent": look.get("percent"), "findings": observed.findings(look)}
        for look in reversed(observed.observations(document)[-_MOST_LOOKS:])
    ]


def _alarms(document: dict[str, Any]) -> list[str]:
    """Return each alarm that was not OK once, as it was seen last."""
    found = {
        str(alarm.get("name")): alarm
        for look in observed.observations(document)
        for alarm in observed.ringing(look)
    }
    return [observed.alarm(alarm) for alarm in found.values()]
