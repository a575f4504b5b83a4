"""`POST /deployments/{id}/approve`, `/reject` and `/abort`."""

from dataclasses import replace

from sluicegate.gateway import decisions, execution
from sluicegate.gateway.authorization import authorize, check_age, check_fresh, visible_deployment
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import not_found
from sluicegate.gateway.rehearsals import decision_rehearsal
from sluicegate.gateway.render import deployment_response
from sluicegate.gateway.requester import log_fields
from sluicegate.gateway.requests import bodies, queries
from sluicegate.oidc.identity import Identity


def decide(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Record the decision that the path names, then wake the rollout.

    A repetition wakes it only while the record shows that the rollout has not seen the decision. Otherwise
    every holder of a token could cut its waits short, and so use up its retries, by repeating a call.
    A dry run decides and refuses the same, writes nothing and wakes nobody.
    """
    queries.no_query(call.query)
    action = call.resource.rpartition("/")[2]
    request = bodies.decision(bodies.parse(call.body))
    identity = replace(identity, agent=identity.agent or request.agent)
    deployment_id = queries.deployment_id(call.path)
    deployment = visible_deployment(context, deployment_id, identity) if deployment_id else None
    if deployment is None:
        raise not_found()
    # Ending a rollback keeps what it is about to take away, so it needs the right to roll back as well.
    actions = (action, "rollback") if (action, deployment.action) == ("abort", "rollback") else (action,)
    rule = authorize(context, identity, actions, deployment.function, deployment.stage)
    placement = context.gate.place(deployment.function, deployment.stage)
    check_age(context, identity, placement)
    if identity.via == "session" and action == "approve" and placement and placement.protected:
        check_fresh(context, identity)
    match action:
        case "approve":
            decided = decisions.approve(context, deployment, identity, rule, request)
        case "reject":
            decided = decisions.reject(context, deployment, identity, rule, request)
        case _:
            decided = decisions.abort(context, deployment, identity, rule, request)
    if request.dry_run:
        return decision_rehearsal(action, rule.name, decided)
    context.log(
        "decision_recorded",
        decision=action,
        deployment=decided.deployment.id,
        rule=rule.name,
        replayed=decided.replayed,
        **log_fields(context.gate, identity),
    )
    if not decided.replayed or decided.deployment.has_unseen_decision:
        execution.wake(context, decided.deployment)
    return deployment_response(
        call,
        decided.deployment,
        200 if decided.replayed else 202,
        replayed=decided.replayed,
        board=context.gate.signs_in,
    )
