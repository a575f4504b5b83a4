"""What the API and the events show of a deployment (the shape is in docs/reference/openapi.yaml)."""

from dataclasses import asdict
from typing import Any

from sluicegate.deployment.durations import duration, timestamp
from sluicegate.deployment.fix_forward import FixForward
from sluicegate.deployment.model import AbortProposal, AliasState, Deployment, Origin, Requester, until
from sluicegate.deployment.observation_views import observation_view
from sluicegate.deployment.observations import WouldHave
from sluicegate.deployment.plan import OWN_TARGET_NAME, Plan, Target


def _alias_view(state: AliasState | None) -> dict[str, Any] | None:
    return {"version": state.version, "weights": dict(state.weights)} if state else None


def target_view(target: Target, name: str | None) -> dict[str, str]:
    """A target as the API shows it: the stack's own has no name in the record."""
    return {"name": name or OWN_TARGET_NAME, "account": target.account, "region": target.region}


def _mode(observe: bool) -> str:
    return "observe" if observe else "enforce"


def plan_view(plan: Plan) -> dict[str, Any]:
    """The plan as the API shows it: of a smoke test that there is one, not what is sent and expected."""
    watch = plan.watch
    judge = watch.judge if watch else None
    return {
        "target": target_view(plan.target, plan.target_name),
        "alias": plan.alias,
        "steps": [{"percent": step.percent, "bake": duration(step.bake)} for step in plan.steps],
        "smoke": plan.smoke is not None,
        "watch": watch
        and {
            "alarms": list(watch.alarms),
            "limits": [
                {
                    "metric": limit.metric.value,
                    "most": limit.most,
                    "max_ratio": limit.max_ratio,
                    "min_samples": limit.min_samples,
                    "mode": _mode(limit.observe),
                }
                for limit in watch.limits
            ],
            "metrics": [
                {
                    "name": metric.name,
                    "better": metric.better.value,
                    "most": metric.most,
                    "max_ratio": metric.max_ratio,
                    "preset": metric.preset,
                    "mode": _mode(metric.observe),
                }
                for metric in watch.metrics
            ],
            "judge": judge and {"function": judge.function, "timeout": duration(judge.timeout)},
            "false_rollbacks": watch.false_rollbacks,
            "unclear": watch.unclear.value,
            "end_early": watch.end_early,
            "fix_forward": {"silent_within": duration(watch.silent_within)},
            "mode": _mode(watch.observe),
        },
        "approval": None if plan.approval is None else duration(plan.approval),
        "unapproved_percent": None if plan.approval is None else plan.unapproved_percent,
        "proposed": plan.proposed,
        "requires": plan.requires,
        "order": "pipeline" if plan.ordered else None,
        "gate": plan.gate,
    }


def origin_view(origin: Origin | None) -> dict[str, Any] | None:
    """Who built a version, as the API shows it; None if that is unknown.

    A caller who may see a stage may see what code it serves. The person who asked for it is left out.
    """
    if origin is None:
        return None
    by = origin.by
    return {
        "via": _via(by),
        "issuer": by.issuer,
        "gitlab": by.gitlab,
        "project_id": by.project_id,
        "project_path": by.project_path,
        "pipeline_id": by.pipeline_id,
        "job_id": by.job_id,
        "ref": by.ref,
        "ref_type": by.ref_type,
        "sha": by.sha,
        "account": by.account,
        "role": by.role,
        "release": origin.release,
        "at": origin.at,
    }


def requester_view(by: Requester) -> dict[str, Any]:
    """Who asked, as the API and events show it: all but the access key, which is for the log.

    Records of earlier releases do not say by which way in; it was a job's token, or a webhook.
    """
    shown = asdict(by)
    del shown["access_key"]
    return {**shown, "via": _via(by), "actor": by.actor or "pipeline"}


def mover_view(by: Requester) -> dict[str, Any]:
    """Who moved an alias, as the API shows it."""
    return {
        "via": _via(by),
        "actor": by.actor or "pipeline",
        "issuer": by.issuer,
        "gitlab": by.gitlab,
        "project_path": by.project_path,
        "user_login": by.user_login,
        "job_id": by.job_id,
        "ref": by.ref,
        "sha": by.sha,
        "account": by.account,
        "principal_id": by.principal_id,
        "role": by.role,
        "session_name": by.session_name,
    }


def _via(by: Requester) -> str:
    return by.via or ("webhook" if by.webhook and by.job_id is None else "id_token")


def view(deployment: Deployment) -> dict[str, Any]:
    """The deployment as the API shows it (the shape is in docs/reference/openapi.yaml)."""
    plan = plan_view(deployment.plan)
    reason = deployment.reason
    ends = until(deployment)
    return {
        "id": deployment.id,
        "revision": deployment.revision,
        "status": deployment.status.value,
        "final": deployment.status.final,
        "action": deployment.action,
        "function": deployment.function,
        "stage": deployment.stage,
        "from": deployment.promoted_from,
        "release": deployment.release,
        "description": deployment.description,
        "target": plan["target"],
        "artifact": {"sha256": deployment.sha256},
        "version": deployment.version,
        "built": origin_view(deployment.built),
        "unusable": [
            {"version": one.version, "code": one.code, "message": one.message} for one in deployment.unusable
        ],
        "weight": deployment.weight,
        "alias": {
            "name": deployment.plan.alias,
            "original": _alias_view(deployment.original),
            "current": _alias_view(deployment.current),
            "outcome": deployment.outcome and deployment.outcome.value,
        },
        "rule": deployment.rule,
        "gate": plan["gate"],
        "steps": plan["steps"],
        "step": deployment.step if deployment.in_steps else None,
        "smoke": plan["smoke"],
        "watch": plan["watch"],
        "approval": _approval_view(deployment),
        "fix_forward": _fix_forward_view(deployment.fix_forward),
        "would_have": [_would_have_view(deployment.plan, one) for one in deployment.would_have],
        "observation": observation_view(deployment.observations[-1], deployment.plan)
        if deployment.observations
        else None,
        "abort_proposed": _abort_proposed_view(deployment.abort_proposed),
        "requested_by": requester_view(deployment.requested_by),
        "created_at": deployment.created_at,
        "updated_at": deployment.updated_at,
        "since": deployment.since,
        "until": None if ends is None else timestamp(ends),
        "finished_at": deployment.finished_at,
        "reason": reason and {"code": reason.code, "message": reason.message, "data": dict(reason.data)},
        "timeline": [
            {"seq": entry.seq, "at": entry.at, "status": entry.status.value, "message": entry.message}
            for entry in deployment.timeline
        ],
        "links": {"self": f"/v1/deployments/{deployment.id}"},
    }


def _fix_forward_view(fix: FixForward | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {
        "reason": fix.reason,
        "overlooked": [asdict(alarm) for alarm in fix.overlooked],
        "silent_by": fix.silent_by,
    }


def _would_have_view(plan: Plan, one: WouldHave) -> dict[str, Any]:
    percent = None if one.step is None else plan.steps[one.step].percent
    return {**asdict(one), "percent": percent}


def observations_view(deployment: Deployment) -> list[dict[str, Any]]:
    """All observations that the record keeps, oldest first, as the API shows them."""
    return [observation_view(one, deployment.plan) for one in deployment.observations]


def _abort_proposed_view(proposal: AbortProposal | None) -> dict[str, Any] | None:
    if proposal is None:
        return None
    return {"by": requester_view(proposal.by), "at": proposal.at, "reason": proposal.reason}


def _approval_view(deployment: Deployment) -> dict[str, Any] | None:
    if deployment.plan.approval is None:
        return None
    given = deployment.approval
    return {
        "expires": duration(deployment.plan.approval),
        "unapproved_percent": deployment.plan.unapproved_percent,
        "proposed": deployment.plan.proposed,
        "decision": given and given.decision,
        "rule": given and given.rule,
        "by": given and requester_view(given.by),
        "reason": given and given.reason,
    }
