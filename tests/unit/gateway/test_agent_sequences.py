"""Whatever an agent asks for, in whatever order: it exceeds no limit, approves nothing, and moves no traffic
where a person has to agree.

The agent has two ways in and three rules, and may use a new job or session for each call. People deploy,
approve and reject meanwhile, and time passes. Everything is the real gateway, state machine and deployer.
"""

import json
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.model import AliasState, Deployment, Requester, Status
from sluicegate.deployment.plan import TrafficStep
from sluicegate.gate.rollout_settings import Rollout
from sluicegate.gateway.app import endpoint
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.problems import Problem
from sluicegate.oidc.identity import Identity, Principal
from sluicegate.store.keys import ALL_DEPLOYMENTS
from support import gateway_simulation as simulations
from support.gateway_simulation import GatewaySimulation, artifact, gate_of, gateway_simulation, rule_limits
from support.signing import ISSUER

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

HOUR = 3_600
PER_HOUR = {"assistant": 2, "nightly": 2, "role": 1}
FUNCTIONS = ("orders", "orders-2", "orders-3")
ACTIONS = ("deploy", "promote", "rollback", "abort", "reject", "approve", "hold", "override-strategy")
PRINCIPAL = Principal(
    account="111111111111",
    principal_id="AROAAGENT111111111111",
    principal_type="role",
    arn="arn:aws:sts::111111111111:assumed-role/agent/session",
    access_key="ASIAAAAAAAAAAAAAAAAA",
    role="agent",
    session_name="session",
)
CANARY = Rollout(steps=(TrafficStep(10, 600), TrafficStep(100, 0)))


def _rules() -> tuple[Any, ...]:
    agent = simulations.PERSON | {"user_id": ["91"]}
    return (
        simulations.rule(
            "assistant", *ACTIONS, claims=agent | {"ref": ["main"]}, limits=rule_limits(per_hour=2, per_day=8)
        ),
        simulations.rule(
            "nightly",
            *ACTIONS,
            claims=agent | {"ref": ["nightly"]},
            limits=rule_limits(per_hour=2, unapproved_percent=20),
        ),
        {
            "name": "role",
            "issuer": "",
            "via": "iam",
            "claims": {"account": ["111111111111"], "principal_id": [PRINCIPAL.principal_id]},
            "actions": ["deploy", "promote", "rollback", "abort", "hold"],
            "functions": ["orders*"],
            "stages": ["dev", "prod"],
            "limits": rule_limits(per_hour=1, propose=True),
        },
        simulations.RELEASERS | {"claims": simulations.RELEASERS["claims"] | {"user_id": ["7"]}},
        simulations.APPROVERS,
    )


GATE = gate_of(
    {"dev": CANARY, "prod": CANARY},
    _rules(),
    of_agents={"actions": ["deploy", "promote", "rollback", "abort", "reject"], "propose": True},
    agents={
        "users": [{"issuer": ISSUER, "user_id": "91"}],
        "principals": [{"account": "111111111111", "principal_id": PRINCIPAL.principal_id}],
    },
)

ways_in = st.sampled_from(["main", "nightly", "role"])
stages = st.sampled_from(["dev", "prod"])


class AgentSequences(RuleBasedStateMachine):
    """Three functions, two stages: in `prod` agents propose, in `dev` only their rules limit them."""

    @initialize()
    def begin(self) -> None:
        self.ended = ExitStack()
        self.at: GatewaySimulation = self.ended.enter_context(gateway_simulation(gate=gate_of()))
        for name in FUNCTIONS[1:]:
            self.at.model.add(name, b"code of somebody")
        codes = (b"1", b"2", b"3")
        self.artifacts = {name: [artifact(self.at, code, name) for code in codes] for name in FUNCTIONS}
        for code, stage in ((0, "dev"), (0, "prod"), (1, "prod")):
            self.at.release(self.artifacts["orders"][code], stage=stage)
        self.known = {one.id for one in self.deployments()}
        self.at.gate = GATE
        self.numbers = count(5_000)
        self.bodies: list[tuple[str, Any]] = []

    def teardown(self) -> None:
        if hasattr(self, "ended"):
            self.ended.close()

    # Callers

    def agent(self, way: str) -> Identity:
        number = str(next(self.numbers))
        if way == "role":
            return Identity("iam", "", PRINCIPAL.claims, None, 0, 0, principal=PRINCIPAL)
        return self.user("91", number, ref=way)

    def user(self, user_id: str, number: str, ref: str = "main") -> Identity:
        claims = {
            "project_id": "4213",
            "user_id": user_id,
            "user_login": f"user-{user_id}",
            "job_id": number,
            "pipeline_id": number,
            "pipeline_source": "web",
            "ref": ref,
            "ref_type": "branch",
            "ref_protected": "true",
        }
        now = int(self.at.clock())
        return Identity("id_token", ISSUER, claims, f"jti-{number}", now, now + HOUR)

    def person(self, user_id: str) -> Identity:
        return self.user(user_id, str(next(self.numbers)))

    def call(self, identity: Identity, resource: str, body: Any, **path: str) -> GatewayResponse | None:
        self.at.clock.now += 0.002
        data = json.dumps(body).encode()
        call = GatewayRequest("POST", resource, path, {}, {}, data, "request")
        try:
            return endpoint(("POST", resource))(self.at.context, call, identity)
        except Problem as problem:
            if problem.status >= 500:
                raise
            return None

    def deployments(self) -> list[Deployment]:
        return list(self.at.store.deployments.newest("by_time", ALL_DEPLOYMENTS, None))

    def body(self, stage: str, code: int, function: str = "orders") -> dict[str, Any]:
        sha256 = self.artifacts[function][code]
        return {"action": "deploy", "function": function, "stage": stage, "artifact": {"sha256": sha256}}

    def pick(self, number: int) -> Deployment | None:
        new = [one for one in self.deployments() if one.id not in self.known]
        return new[number % len(new)] if new else None

    # What the agent does

    @rule(way=ways_in, stage=stages, code=st.integers(0, 2), busy=st.sampled_from(["fail", "supersede"]))
    def deploys(self, way: str, stage: str, code: int, busy: str) -> None:
        body = self.body(stage, code) | {"on_busy": busy, "release": str(next(self.numbers))}
        self.bodies.append((way, body))
        self.call(self.agent(way), "/deployments", body)

    @rule(way=ways_in, stage=stages, code=st.integers(0, 2))
    def deploys_everything(self, way: str, stage: str, code: int) -> None:
        for function in FUNCTIONS:
            self.call(self.agent(way), "/deployments", self.body(stage, code, function))

    @rule(way=ways_in, stage=stages, code=st.integers(0, 2))
    def wants_all_traffic_at_once(self, way: str, stage: str, code: int) -> None:
        body = self.body(stage, code) | {"strategy": {"type": "all-at-once"}}
        assert self.call(self.agent(way), "/deployments", body) is None

    @rule(number=st.integers(0, 20), dry_run=st.booleans())
    def repeats_or_rehearses(self, number: int, dry_run: bool) -> None:
        if self.bodies:
            way, body = self.bodies[number % len(self.bodies)]
            self.call(self.agent(way), "/deployments", body | {"dry_run": dry_run})

    @rule(way=ways_in, stage=stages)
    def rolls_back(self, way: str, stage: str) -> None:
        body = {"action": "rollback", "function": "orders", "stage": stage}
        self.call(self.agent(way), "/deployments", body | {"release": str(next(self.numbers))})

    @rule(way=ways_in, version=st.integers(1, 5))
    def promotes(self, way: str, version: int) -> None:
        body = {"action": "promote", "function": "orders", "stage": "prod", "from": "dev"}
        self.call(self.agent(way), "/deployments", body | {"version": str(version)})

    @rule(way=ways_in, action=st.sampled_from(["approve", "reject", "abort"]), number=st.integers(0, 20))
    def decides(self, way: str, action: str, number: int) -> None:
        if one := self.pick(number):
            answer = self.call(self.agent(way), f"/deployments/{{id}}/{action}", {}, id=one.id)
            assert action != "approve" or answer is None
            after = self.at.store.deployments.get(one.id)
            assert after
            if (one.stage == "prod" or way == "role") and not is_own(one, way):
                # It may only propose here: what others asked for goes on until a person decides.
                assert (after.abort, after.approval) == (one.abort, one.approval)
                assert (
                    answer is None
                    or one.abort
                    or (after.abort_proposed and is_agent(after.abort_proposed.by))
                )

    @rule(way=ways_in, stage=stages)
    def holds(self, way: str, stage: str) -> None:
        answer = self.call(self.agent(way), "/stages/{stage}/hold", {"reason": "mine"}, stage=stage)
        assert answer is None

    # What others do

    @rule(stage=stages, code=st.integers(0, 2), busy=st.sampled_from(["fail", "supersede"]))
    def a_pipeline_deploys(self, stage: str, code: int, busy: str) -> None:
        self.call(self.person("7"), "/deployments", self.body(stage, code) | {"on_busy": busy})

    @rule(action=st.sampled_from(["approve", "approve", "reject"]), number=st.integers(0, 20))
    def a_person_decides(self, action: str, number: int) -> None:
        if one := self.pick(number):
            self.call(self.person("8"), f"/deployments/{{id}}/{action}", {}, id=one.id)

    @rule(minutes=st.sampled_from([1, 15, 59, 60, 300]))
    def time_passes(self, minutes: int) -> None:
        until = self.at.clock.now + minutes * 60
        self.at.machine.later(minutes * 60, lambda: None)
        self.at.machine.run(lambda: self.at.clock.now >= until)
        self.at.clock.now = max(self.at.clock.now, until)
        self.at.sweep()

    # What must hold

    @invariant()
    def it_is_held_to_its_scope(self) -> None:
        if hasattr(self, "known"):
            found = [one for one in self.deployments() if one.id not in self.known]
            check_limits(found)
            for one in found:
                check_decision(one)
                if one.rule in PER_HOUR:
                    check_traffic(one)
            check_others({one.id: one for one in found})


def is_agent(by: Requester) -> bool:
    """Whether it is the agent, by its user or by its principal: the role has no user."""
    return by.user_id == "91" or by.principal_id == PRINCIPAL.principal_id


def is_own(one: Deployment, way: str) -> bool:
    """Whether the agent has asked for it by this way in, and may withdraw it there."""
    by = one.requested_by
    return by.principal_id == PRINCIPAL.principal_id if way == "role" else by.user_id == "91"


def check_decision(one: Deployment) -> None:
    """An agent approves nothing, and rejects its own proposals. In `dev` a rule lets it end what it likes."""
    if one.approval is None or not is_agent(one.approval.by):
        return
    assert one.approval.decision == "rejected"
    by, asked = one.approval.by, one.requested_by
    assert one.stage == "dev" or (by.owner, by.user_id) == (asked.owner, asked.user_id)


def check_limits(found: list[Deployment]) -> None:
    """No window, wherever it begins, has more deployments than the limit."""
    for name, most in PER_HOUR.items():
        begun = sorted(
            seconds(one.created_at) for one in found if one.rule == name and one.action != "rollback"
        )
        for first, last in zip(begun, begun[most:], strict=False):
            assert last - first >= HOUR - 1e-6


def check_traffic(one: Deployment) -> None:
    """What an agent asked for moves no more traffic than it may before a person has approved it."""
    assert is_agent(one.requested_by)
    assert one.plan.proposed == (one.stage == "prod" or one.rule == "role")
    if one.is_approved:
        return
    if one.plan.proposed:
        assert (one.weight, one.traffic_since) == (0, None)
        assert one.status not in (Status.PUBLISHING, Status.SUCCEEDED)
    elif one.rule == "nightly" and one.action != "rollback" and one.traffic_since:
        assert one.weight <= 20 or one.original == AliasState(one.version or "")


def check_others(found: dict[str, Deployment]) -> None:
    """In the stage where a person decides, an agent ends nothing that others asked for."""
    for one in found.values():
        if one.abort is None or one.rule in PER_HOUR or one.stage != "prod":
            continue
        assert one.abort.code in ("superseded", "rejected")
        ended_by = found.get(str(one.abort.data.get("by")))
        assert ended_by is None or ended_by.rule not in PER_HOUR or ended_by.is_approved


TestAgentSequences = AgentSequences.TestCase
TestAgentSequences.settings = settings(max_examples=6, stateful_step_count=20, deadline=None)
