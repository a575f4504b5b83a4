"""`sluicegate replay`: recorded requests are decided again, or it says what it lacks for that."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.evidence.basis import basis
from sluicegate.evidence.chain import genesis, leaf, next_head
from sluicegate.evidence.line import canonical, line
from sluicegate.evidence.notes import SignedHead
from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Identity, Principal
from sluicegate_cli.audit.export import EvidenceFilter
from sluicegate_cli.review.recorded import RecordedRequest, Redecider
from sluicegate_cli.review.replay import Replayed, replay
from support import gate_documents as documents
from support.aws_account import ENDINGS, Answer, AwsAccount
from support.cli_running import Run
from support.evidence_files import FOREIGN, PRIVATE, public, signed
from support.gate_documents import CORP
from support.gate_strategies import ACCOUNT, NO_LIMITS, ROLE, pairs, requests

MONDAY = 1_764_583_200.0
"""2025-12-01T10:00:00Z."""

STACK = f"{ACCOUNT}/eu-central-1/sluicegate"
CLAIMS: dict[str, Any] = {
    "project_id": "4213",
    "user_id": "7",
    "user_login": "ada",
    "ref_type": "tag",
    "ref": "v1.0",
    "ref_protected": "true",
    "pipeline_source": "push",
    "job_id": "1",
}


def recorded(
    identity: Identity,
    actions: Sequence[str] = ("deploy",),
    kind: str = "accepted",
    at: float = MONDAY,
    **fields: Any,
) -> dict[str, Any]:
    """A line, as the gateway writes it."""
    rests_on = basis(identity, gate="0" * 64, actor="pipeline", actions=actions, rule="orders", now=at).fields
    about = {"function": "orders-api", "stage": "prod", "action": (*actions, None)[0], "deployment": "01K"}
    owner = {"issuer": identity.issuer, "project_id": identity.text("project_id")}
    plan = {"plan": {"steps": [[100, 0]], "approval": False, "proposed": False}}
    known = {**rests_on, **about, "owner": owner, **plan, **fields}
    return dict(json.loads(line(kind, at, known)))


def job(**claims: str) -> Identity:
    return Identity("id_token", CORP, CLAIMS | claims, "jti", int(MONDAY) - 60, int(MONDAY) + 240)


def refused(code: str, identity: Identity, actions: Sequence[str] = ("deploy",)) -> dict[str, Any]:
    return recorded(identity, actions, kind="refused", rule=None, code=code, plan=None)


def replayed(gate: Gate, *lines: dict[str, Any]) -> Replayed:
    return replay(gate, lines)


def outcomes(gate: Gate, *lines: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.outcome, one.reason) for one in replayed(gate, *lines).changed]


@given(pairs(), st.lists(requests, min_size=5, max_size=12))
@settings(max_examples=30, deadline=None)
def test_it_decides_as_the_gate_would_have_with_all_claims(
    gates: tuple[Gate, Gate], asked: list[tuple[Identity, frozenset[str], str, str]]
) -> None:
    gate, redecider = gates[0], Redecider(gates[0])
    for identity, actions, function, stage in asked:
        written = recorded(identity, sorted(actions), function=function, stage=stage)
        request = RecordedRequest.of(written, gate.principals)
        assert request is not None
        now = redecider.decide(request)
        rule = gate.decide(identity, actions=actions, function=function, stage=stage).rule
        if identity.via == "session":  # nobody signs in by these gate files
            assert now.allowed is False
        elif now.allowed is None:
            assert set(now.unknown) <= set(written["withheld"])
        elif now.allowed:
            assert rule is not None
            assert rule.name in {each.name for each in now.rules}
        else:
            covered = gate.place(function, stage) or not actions & {"deploy", "promote", "rollback"}
            assert rule is None or not covered


def test_nothing_changes_where_the_same_rule_decides() -> None:
    found = replayed(documents.gate(), recorded(job()))
    assert (found.decided, found.changed, found.ends_otherwise) == (1, [], False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rules": [documents.rule(claims=documents.claims(ref=["v2*"]))]}, "no rule grants it"),
        ({"deny": [{"issuer": CORP, "claims": {"user_id": ["7"]}}]}, "an entry of `deny` refuses the caller"),
        ({"functions": [documents.entry("billing")]}, "no entry of `functions` matches orders-api"),
        (
            {"stages": [documents.stage("dev"), documents.stage("prod", max_age=30)]},
            "the token was 60 s old, and 30s is the limit",
        ),
        (
            {
                "rules": [
                    documents.rule(
                        limits=NO_LIMITS
                        | {"hours": {"zone": "UTC", "days": ["sun"], "start": 540, "end": 1020}}
                    )
                ]
            },
            "rule 'orders' begins deployments only on sun from 09:00 to 17:00 (UTC)",
        ),
        (
            {"agents": {"users": [{"issuer": CORP, "user_id": "7"}], "principals": []}}
            | {
                "stages": [
                    documents.stage("dev"),
                    documents.stage("prod", agents={"actions": [], "propose": False}),
                ]
            },
            "the caller is an agent, and agents may not do this there",
        ),
    ],
)
def test_accepted_before_and_refused_now(changes: dict[str, Any], reason: str) -> None:
    assert outcomes(documents.gate(**changes), recorded(job())) == [("refused", reason)]


def test_a_stage_or_an_issuer_that_is_gone_refuses() -> None:
    gate = documents.gate()
    assert outcomes(gate, recorded(job(), stage="staging")) == [("refused", "there is no stage staging")]
    other = replace(job(), issuer="https://gone.example.com")
    assert outcomes(gate, recorded(other)) == [("refused", "https://gone.example.com is no issuer")]


def test_refused_before_and_allowed_now() -> None:
    gate = documents.gate()
    assert outcomes(gate, refused("not_allowed", job())) == [("allowed", "")]
    assert outcomes(gate, refused("not_allowed", job(ref="main"))) == []
    found = replayed(gate, refused("busy", job()))
    assert (found.decided, found.other, found.changed) == (0, 1, [])


def test_a_refused_approval_is_not_told_by_the_gate_file_alone() -> None:
    rule = documents.rule(
        actions=["approve"], claims=documents.claims(ref_protected=["true"], pipeline_source=["web"])
    )
    found = replayed(
        documents.gate(rules=[rule]), refused("not_allowed", job(pipeline_source="web"), ("approve",))
    )
    assert (found.changed, sum(found.unknown.values())) == ([], 1)


def test_another_rule_alone_ends_nothing_otherwise() -> None:
    found = replayed(documents.gate(rules=[documents.rule("renamed")]), recorded(job()))
    assert [(one.outcome, one.rule) for one in found.changed] == [("rule", "renamed")]
    assert not found.ends_otherwise


def test_an_approval_that_is_needed_now_or_no_more() -> None:
    asking = documents.gate(
        stages=[documents.stage("dev"), documents.stage("prod", rollout=documents.rollout(approval=3600))]
    )
    proposing = documents.gate(rules=[documents.rule(limits=NO_LIMITS | {"propose": True})])
    approved = recorded(job(), plan={"steps": [[100, 0]], "approval": True, "proposed": False})
    assert outcomes(asking, recorded(job())) == [("approval", "")]
    assert outcomes(proposing, recorded(job())) == [("approval", "")]
    assert outcomes(documents.gate(), approved) == [("no_approval", "")]
    assert outcomes(asking, approved) == []
    back = documents.gate(rules=[documents.rule(actions=["rollback"])])
    assert outcomes(back, recorded(job(), ("rollback",))) == []


def test_numbers_count_what_the_rule_would_have_begun() -> None:
    gate = documents.gate(rules=[documents.rule(limits=NO_LIMITS | {"per_hour": 2})])
    lines = [recorded(job(), at=MONDAY + minutes * 60, age=9) for minutes in (0, 10, 20, 61)]
    other = recorded(job(), at=MONDAY + 21 * 60, age=9, owner={"project_id": "4214"})
    assert outcomes(gate, *lines[:3], other, lines[3]) == [("refused", "rule 'orders' allows 2 in an hour")]


def test_what_depends_on_a_login_cannot_be_decided() -> None:
    gate = documents.gate(rules=[documents.rule(claims=documents.claims(user_login=["ada"]))])
    found = replayed(gate, recorded(job()), refused("not_allowed", job(user_login="bob")))
    assert (found.changed, dict(found.unknown)) == ([], {"user_login": 2})
    plain = documents.rule("plain")
    gate = documents.gate(rules=[documents.rule(claims=documents.claims(user_login=["ada"])), plain])
    assert replayed(gate, recorded(job())).changed == []  # one of the two, and `orders` is one of them
    without = {name: value for name, value in CLAIMS.items() if name != "user_login"}
    assert outcomes(
        documents.gate(rules=[documents.rule(claims=documents.claims(user_login=["ada"]))]),
        recorded(replace(job(), claims=without)),
    ) == [("refused", "no rule grants it")]


def test_a_branch_with_the_login_in_it_is_withheld() -> None:
    found = replayed(documents.gate(), recorded(job(ref="ada/fix")))
    assert dict(found.unknown) == {"ref": 1}


def test_a_sessions_name_is_compared_by_its_digest() -> None:
    def signed(name: str) -> dict[str, Any]:
        by = Principal(ACCOUNT, ROLE, "role", "", "ASIA", "ci", name)
        return recorded(Identity("iam", "", by.claims, None, 0, 0, principal=by))

    def gate(*names: str, **changes: Any) -> Gate:
        claims = {"account": [ACCOUNT], "principal_id": [ROLE], "session_name": list(names)}
        stages = [documents.stage("dev"), documents.stage("prod")]
        rule = documents.rule(issuer="", via="iam", claims=claims)
        return documents.gate(rules=[rule], stages=stages, **changes)

    assert outcomes(gate("ada", "eve"), signed("ada")) == []
    assert outcomes(gate("eve"), signed("ada")) == [("refused", "no rule grants it")]
    assert dict(replayed(gate("a*"), signed("ada")).unknown) == {"session_name": 1}
    denied = [{"issuer": "", "claims": {"session_name": ["ada"]}}]
    assert outcomes(gate("ada", deny=denied), signed("ada")) == [
        ("refused", "an entry of `deny` refuses the caller")
    ]


def test_a_hold_is_about_a_stage() -> None:
    held = recorded(job(), ("hold",), kind="held", function=None, plan=None)
    holding = documents.gate(rules=[documents.rule(actions=["hold"])])
    assert outcomes(holding, held) == []
    assert outcomes(documents.gate(), held) == [("refused", "no rule grants it")]


def test_what_nobody_asked_for_is_not_decided_again() -> None:
    superseded = recorded(job(), (), kind="decided", by=None, code="superseded")
    assert replayed(documents.gate(), superseded) == Replayed()


def test_lines_that_say_too_little_are_counted() -> None:
    broken = recorded(job()) | {"claims": 7}
    found = replayed(documents.gate(), {"kind": "accepted", "cut": True}, broken, {"kind": "ended"})
    assert (found.decided, found.unread) == (0, 2)


# The command


GATE_FILE = """\
version: 1
issuers: {corp: {url: "https://gitlab.example.com", audience: https://deploy.example.com}}
stages: {dev: {}, prod: {protected: true}}
functions: {orders-*: {}}
rules:
  - name: orders
    claims: {project_id: "4213", ref_type: tag, ref: v*, ref_protected: "true"}
    allow: {actions: [deploy], functions: [orders-*], stages: [dev, prod]}
deny:
  - {jti: leaked}
"""


UNVERIFIED = (
    "NOT VERIFIED: no signature was checked, so these requests may not be what was decided. Add --key:"
    " `sluicegate audit key` prints it"
)


def export(
    path: Path, lines: Sequence[dict[str, Any] | None], private: Ed25519PrivateKey | None = None
) -> Path:
    """Write an export with these lines; None is one that a filter left out. `private` signs its head."""
    head = genesis(STACK)
    written = [{"evidence": 1, "stack": STACK, "first": 1, "last": len(lines), "previous": head}]
    for seq, each in enumerate(lines, 1):
        digest = leaf(canonical(each or {}))
        head = next_head(head, digest)
        entry: dict[str, Any] = {"hash": digest, "head": head, "seq": seq}
        written.append(entry | ({"line": each} if each else {}))
    note: dict[str, Any] = {"note": "a signed head", "size": len(lines)}
    if private is not None:
        note = signed(SignedHead(STACK, len(lines), head, "2026-12-01T11:00:00.000Z"), private)
    written += [note, {"end": {"last": len(lines), "head": head}}]
    path.write_text("".join(f"{canonical(each)}\n" for each in written))
    return path


@pytest.fixture
def gate_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sluicegate.yaml"
    path.write_text(GATE_FILE)
    return path


def test_the_command_says_what_would_change(run: Run, gate_file: Path, tmp_path: Path) -> None:
    lines = [recorded(job(), at=MONDAY + i) for i in range(3)]
    file = export(tmp_path / "all.ndjson", [*lines, None, refused("busy", job())])

    ended = run("replay", "--from", str(file))
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "3 recorded requests decided again",
        "not looked at: 1 refused for a reason that no gate file decides alone, such as busy",
        "not looked at: 1 left out of the file by a filter",
        "not looked at: 1 entry of `deny` by jti or access_key, which no line has",
        "nothing is decided otherwise",
        UNVERIFIED,
    ]

    gate_file.write_text(GATE_FILE.replace("ref: v*", "ref: v2*"))
    ended = run("replay", "--gate", str(gate_file), "--from", str(file))
    assert ended.code == 1
    rows = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in ended.out.splitlines()]
    assert [
        "accepted before, refused now",
        "deploy orders-api prod, project 4213, user 7",
        "rule 'orders'",
        "no rule grants it",
        "3",
        "2025-12-01T10:00:02.000Z",
    ] in rows
    assert ended.out.splitlines()[-2:] == ["accepted before, refused now: 3", UNVERIFIED]

    ended = run("replay", "--from", str(file), "--json")
    assert UNVERIFIED in ended.err
    found = json.loads(ended.out)
    assert found["verified"] is None
    assert [one["outcome"] for one in found["changes"]] == ["refused"] * 3
    assert (found["decided"], found["omitted"], found["skipped_denials"]) == (3, 1, 1)


@pytest.mark.usefixtures("gate_file")
def test_since_reads_the_evidence_in_aws(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = export(tmp_path / "all.ndjson", [recorded(job())])
    asked: list[Any] = []

    def lines(source: object, wanted: EvidenceFilter, name: str) -> list[str]:
        asked.append((source, wanted.since, name))
        return file.read_text().splitlines()

    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: "calls")
    source = lambda aws, stack, log: ((aws, stack, log), STACK)  # noqa: E731
    monkeypatch.setattr("sluicegate_cli.commands.replay.evidence_source", source)
    monkeypatch.setattr("sluicegate_cli.audit.export.export", lines)

    ended = run("replay", "--since", "2025-12-01")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "1 recorded request decided again")
    assert asked == [(("calls", "sluicegate", None), MONDAY - 36_000, STACK)]


@pytest.mark.usefixtures("gate_file")
def test_with_the_key_it_says_up_to_where_it_is_proven(run: Run, tmp_path: Path) -> None:
    file = export(tmp_path / "all.ndjson", [recorded(job())], PRIVATE)
    key = tmp_path / "evidence.pub"
    key.write_text(str(public()))

    ended = run("replay", "--from", str(file), "--key", str(key))
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith(
        "verified: signed up to entry 1, at 2026-12-01T11:00:00.000Z"
    )
    assert "NOT VERIFIED" not in ended.out

    found = json.loads(run("replay", "--from", str(file), "--key", str(public()), "--json").out)
    assert (found["verified"]["signed_to"], found["verified"]["unsigned"]) == (1, 0)
    assert found["decided"] == 1


@pytest.mark.usefixtures("gate_file")
def test_what_was_decided_after_the_signed_head_is_said_to_be_unproven(run: Run, tmp_path: Path) -> None:
    file = export(tmp_path / "all.ndjson", [recorded(job())], PRIVATE)
    first = [json.loads(text) for text in file.read_text().splitlines()]
    line = recorded(job(), at=MONDAY + 1)
    digest = leaf(canonical(line))
    head = next_head(first[1]["head"], digest)
    entry = {"hash": digest, "head": head, "seq": 2, "line": line}
    longer = [{**first[0], "last": 2}, first[1], first[2], entry, {"end": {"last": 2, "head": head}}]
    file.write_text("".join(f"{canonical(each)}\n" for each in longer))

    ended = run("replay", "--from", str(file), "--key", str(public()))
    assert (ended.code, ended.out.splitlines()[0]) == (0, "2 recorded requests decided again")
    assert ended.out.splitlines()[-1] == "NOT VERIFIED: 1 entry after that, which no head covers yet"


@pytest.mark.parametrize("attack", ["another key", "a changed line", "no signature", "cut"])
@pytest.mark.usefixtures("gate_file")
def test_what_does_not_verify_is_not_decided(run: Run, tmp_path: Path, attack: str) -> None:
    signer = {"another key": FOREIGN, "no signature": None}.get(attack, PRIVATE)
    file = export(tmp_path / "all.ndjson", [recorded(job()), recorded(job(), at=MONDAY + 1)], signer)
    if attack == "a changed line":
        file.write_text(file.read_text().replace('"ref":"v1.0"', '"ref":"v2.0"', 1))
    if attack == "cut":
        file.write_text("\n".join(file.read_text().splitlines()[:2]) + "\n")

    ended = run("replay", "--from", str(file), "--key", str(public()))
    assert (ended.code, ended.out) == (4, "")
    assert "The evidence does not verify: nothing was decided again" in ended.err
    assert run("replay", "--from", str(file), "--key", str(public()), "--json").code == 4


@pytest.mark.usefixtures("gate_file")
def test_the_evidence_in_aws_is_verified_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export(tmp_path / "all.ndjson", [recorded(job())], PRIVATE)
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: "calls")
    monkeypatch.setattr("sluicegate_cli.commands.replay.evidence_source", lambda *_: ("source", STACK))
    monkeypatch.setattr("sluicegate_cli.audit.export.export", lambda *_: file.read_text().splitlines())
    assert "verified: signed up to entry 1" in run("replay", "--since", "30d", "--key", str(public())).out
    foreign = run("replay", "--since", "30d", "--key", str(public(FOREIGN)))
    assert (foreign.code, foreign.out) == (4, "")


@pytest.mark.usefixtures("gate_file")
@pytest.mark.parametrize(("answer", "code"), ENDINGS)
def test_how_it_ends_where_aws_gives_no_evidence(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: Answer, code: int
) -> None:
    account = AwsAccount({"cloudformation:DescribeStacks": answer})
    monkeypatch.setattr("sluicegate_cli.doctor.aws_calls.connect", lambda *_, **__: account.calls())
    ended = run("replay", "--since", "30d")
    assert (ended.code, ended.out) == (code, "")
    assert "The evidence cannot be read" in ended.err


@pytest.mark.usefixtures("gate_file")
def test_one_source_of_requests_is_needed(run: Run, tmp_path: Path) -> None:
    file = export(tmp_path / "all.ndjson", [])
    assert run("replay").code == 2
    ended = run("replay", "--since", "30d", "--from", str(file))
    assert (ended.code, "either --since TIME or --from EXPORT" in ended.err) == (2, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}\n",
        '{"evidence":2}\n',
        "no json\n",
        '{"evidence":1}\n{"seq":1,"line":7}\n{"end":{}}\n',
        '{"evidence":1}\n{"seq":1,"line":{}}\n',
    ],
)
@pytest.mark.usefixtures("gate_file")
def test_what_is_no_export_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    ended = run("replay", "--from", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert "export of the evidence" in ended.err


@pytest.mark.parametrize("special", ["/dev/zero", "fifo"])
@pytest.mark.usefixtures("gate_file")
def test_what_never_ends_is_not_read(run: Run, tmp_path: Path, special: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    for options in ((), ("--key", str(public()))):
        ended = run("replay", "--from", str(tmp_path / special), *options)
        assert (ended.code, "not a regular file" in ended.err) == (2, True)


@pytest.mark.usefixtures("gate_file")
def test_hostile_text_in_a_line_ends_no_line_of_the_output(run: Run, tmp_path: Path) -> None:
    written = recorded(job()) | {"function": "x\ny\x1b[2J"}
    ended = run("replay", "--from", str(export(tmp_path / "file", [written])))
    assert ended.code == 1
    assert "\x1b" not in ended.out
    assert "\ny" not in ended.out
