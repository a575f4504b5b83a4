"""Draws gates that have much in common, and requests to them: for hypothesis."""

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from sluicegate.gate.decoding import GateError
from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Identity, Principal, Via
from sluicegate_cli.review.boxes import POWERS
from support import gate_documents as documents
from support.gate_documents import CORP, OTHER

ACCOUNT, ROLE, SSO = "111111111111", "AROACALLER11111111111", "AROASSO11111111111111"
STAGES = ("dev", "prod")
ACTIONS = tuple(sorted({action for actions in POWERS.values() for action in actions}))
BEGIN, PROPOSED = {"deploy", "promote"}, {"deploy", "promote", "rollback", "abort", "reject"}

HOURS = {"zone": "UTC", "days": ["mon"], "start": 540, "end": 1020}
NO_LIMITS = {"per_hour": None, "per_day": None, "unapproved_percent": None, "hours": None, "propose": False}
LIMITS = (
    None,
    NO_LIMITS | {"per_hour": 2},
    NO_LIMITS | {"per_hour": 5, "per_day": 20},
    NO_LIMITS | {"propose": True},
    NO_LIMITS | {"hours": HOURS, "unapproved_percent": 10},
)


def _some(values: tuple[str, ...], most: int = 2) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


def _claims(**wanted: tuple[str, ...]) -> st.SearchStrategy[dict[str, list[str]]]:
    return st.fixed_dictionaries({}, optional={name: _some(values) for name, values in wanted.items()})


jobs = st.tuples(
    _some(("4213", "77")),
    _some(("push", "web", "api")),
    _claims(
        ref=("v*", "v1.*", "main", "**", "*/x"), user_id=("7", "91"), project_path=("Acme/*", "acme/orders")
    ),
).map(lambda drawn: {"project_id": drawn[0], "pipeline_source": drawn[1], **drawn[2]})
principals = _claims(role=("ci*", "ci-deploy"), session_name=("ada", "b*")).map(
    lambda claims: {"account": [ACCOUNT], "principal_id": [ROLE], **claims}
)
people = st.tuples(_some(("acme/a", "acme/b")), _claims(user_id=("7", "8"))).map(
    lambda drawn: {"groups_direct": drawn[0], **drawn[1]}
)
actions = st.lists(st.sampled_from([one for one in ACTIONS if one != "approve"]), min_size=1, unique=True)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    via = draw(st.sampled_from(["id_token", "id_token", "iam", "session"]))
    claims = draw({"id_token": jobs, "iam": principals, "session": people}[via])
    granted = draw(actions)
    if via == "session":
        granted = [one for one in granted if one not in ("deploy", "override-strategy", "fix-forward")]
    if via == "iam":
        granted = [one for one in granted if one != "reject"]
    return documents.rule(
        issuer={"iam": ""}.get(via, draw(st.sampled_from([CORP, CORP, OTHER]))),
        via=via,
        claims=claims,
        actions=granted or ["read"],
        functions=draw(_some(("orders-*", "orders-api", "*", "bill*", "*-api"))),
        stages=draw(_some(STAGES)),
        limits=draw(st.sampled_from(LIMITS)),
    )


rollouts = st.sampled_from(
    [documents.rollout(), documents.rollout(steps=documents.CANARY), documents.rollout(ordered=True)]
)
entries = st.lists(
    st.builds(
        lambda pattern, alias, rollout: documents.entry(pattern, alias=alias, rollout=rollout),
        st.sampled_from(["orders-*", "orders-api", "*-api", "billing", "*"]),
        st.sampled_from([{}, {"dev": "other"}]),
        st.fixed_dictionaries({}, optional={"prod": rollouts}),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: str(each["pattern"]),
)
stages = st.builds(
    lambda one, two, agents: [
        documents.stage("dev", rollout=one),
        documents.stage("prod", rollout=two, agents=agents),
    ],
    rollouts,
    rollouts,
    st.sampled_from(
        [None, {"actions": ["deploy"], "propose": False}, {"actions": ["deploy"], "propose": True}]
    ),
)
denials = st.lists(
    st.sampled_from(
        [
            {"issuer": CORP, "claims": {"user_id": ["7"]}},
            {"issuer": CORP, "claims": {"user_id": ["7"], "project_id": ["4213", "77"]}},
            {"issuer": "", "claims": {"account": [ACCOUNT]}},
        ]
    ),
    max_size=2,
)
agents = st.sampled_from(
    [
        {"users": [], "principals": []},
        {"users": [{"issuer": CORP, "user_id": "91"}], "principals": []},
        {"users": [], "principals": [{"account": ACCOUNT, "principal_id": ROLE}]},
    ]
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Gate, Gate]:
    """Draw two gates that have much in common."""
    pool = draw(st.lists(rules(), min_size=1, max_size=4))
    parts = [(draw(entries), draw(stages), draw(denials), draw(agents)) for _ in range(2)]
    kept = [draw(st.booleans()) for _ in range(4)]
    found = []
    for number in range(2):
        chosen = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4))
        chosen = [rule | {"name": f"rule {i}"} for i, rule in enumerate(chosen)]
        mine = [parts[0 if same else number][i] for i, same in enumerate(kept)]
        found.append(_gate(chosen, *mine))
    return found[0], found[1]


def _gate(rules: list[dict[str, Any]], *parts: Any) -> Gate:
    names = ("functions", "stages", "deny", "agents")
    issuers = [each | {"groups": "trusted"} for each in documents.document()["issuers"]]
    try:
        return documents.gate(rules=rules, issuers=issuers, **dict(zip(names, parts, strict=True)))
    except GateError:
        assume(False)
        raise


@st.composite
def identities(draw: st.DrawFn) -> Identity:
    ways: tuple[Via, ...] = ("id_token", "id_token", "iam", "session")
    via, text = draw(st.sampled_from(ways)), st.sampled_from
    if via == "iam":
        name, session = draw(text(["ci-deploy", "other"])), draw(text(["ada", "bob", "carl"]))
        principal = Principal(ACCOUNT, ROLE, "role", "", "", name, session)
        return Identity("iam", "", principal.claims, None, 0, 0, principal=principal)
    claims: dict[str, Any] = {"user_id": draw(text(["7", "8", "91"]))}
    if via == "session":
        claims["groups_direct"] = draw(text([("acme/a",), ("acme/a", "acme/b"), ("acme/c",)]))
    else:
        claims |= {
            "project_id": draw(text(["4213", "77"])),
            "pipeline_source": draw(text(["push", "web", "api"])),
            "ref": draw(text(["v1.0", "v2", "main", "a/x", "v1.0/x"])),
            "project_path": draw(text(["ACME/orders", "acme/billing"])),
        }
    return Identity(via, draw(text([CORP, OTHER])), claims, None, 0, 0)


requests = st.tuples(
    identities(),
    st.sampled_from(sorted(POWERS.values(), key=sorted)),
    st.sampled_from(["orders-api", "orders-x", "billing", "bill-api", "other"]),
    st.sampled_from(STAGES),
)
