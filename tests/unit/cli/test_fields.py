"""`--field`: names are those of the API's documents, and a wrong one is said."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sluicegate.deployment.views import view
from sluicegate_cli.field_shapes import LIMITS, TRAIL, Shape
from sluicegate_cli.fields import of_command, wrong
from support.cli_running import Run
from support.cli_server import ID, Reply, Server, baking, failed, succeeded
from support.template import ROOT

API: Any = yaml.safe_load((ROOT / "docs/reference/openapi.yaml").read_text())
LINKS: dict[str, Shape] = {"job": {}, "commit": {}, "pipeline": {}}
"""What the command line adds: addresses in GitLab."""

ORIGIN = {"sha": "714a629c", "ref": "v1.4.0"}
SERVED: dict[str, Any] = {
    "version": "42",
    "artifact": {"sha256": "ab" * 32},
    "weights": {},
    "alias": "prod",
    "target": {"name": "default", "account": "000000000000", "region": "eu-central-1"},
    "deployment": ID,
    "built": ORIGIN,
    "since": "2026-01-01T00:00:00.000Z",
    "by": {"project_path": "acme/orders", "user_login": "ada"},
}
WHO = {
    "via": "id_token",
    "actor": "pipeline",
    "issuer": "https://gitlab.example.com",
    "project_id": "4213",
    "expires_at": "2036-01-01T00:00:00.000Z",
    "claims": {"ref": "v1", "groups_direct": ["a"]},
    "rules": [],
}


@pytest.fixture
def api(server: Server) -> Server:
    """An API that has something of everything."""
    would_have: dict[str, Any] = {"limit": "errors", "at": "2026-01-01T00:00:00.000Z", "message": "x"}
    would_have |= {"step": 0, "look": 1, "percent": 10}
    listed = [{**view(succeeded()), "would_have": [would_have]}, view(failed()), baking()]
    function = {"function": "orders", "stages": {"prod": SERVED}}
    for path, document in (
        (f"/deployments/{ID}", view(succeeded())),
        ("/deployments", {"items": listed, "next_cursor": None}),
        ("/functions/orders", {**function, "pruning": []}),
        ("/functions", {"items": [function], "next_cursor": None}),
        ("/stages/prod/hold", {"stage": "prod", "holds": []}),
        ("/whoami", WHO),
    ):
        server.on("GET", path, Reply(200, document))
    return server


def shape_of(schema: Mapping[str, Any]) -> Shape:
    """The shape of a schema of openapi.yaml; what may be null is as if it never were."""
    if reference := schema.get("$ref"):
        return shape_of(API["components"]["schemas"][reference.rpartition("/")[2]])
    found: dict[str, Shape] = {}
    for one in (*schema.get("oneOf", ()), *schema.get("allOf", ())):
        found |= shape_of(one)
    for name in schema.get("required", ()):
        found[name] = {}
    for name, member in schema.get("properties", {}).items():
        found[name] = shape_of(member)
    if "items" in schema:
        found["0"] = shape_of(schema["items"])
    if isinstance(more := schema.get("additionalProperties"), dict):
        found["*"] = shape_of(more)
    if schema.get("type") == "object" and not found:
        found["*"] = found
    return found


def plain(shape: Shape, depth: int = 12) -> Any:
    """The shape to a depth that every document is within: some go on for ever."""
    return {name: plain(member, depth - 1) for name, member in shape.items()} if depth else "…"


@pytest.mark.parametrize(
    ("command", "arguments", "name", "own"),
    [
        ("deploy", {}, "Deployment", {"links": LINKS}),
        ("rollback", {"request": SimpleNamespace(dry_run=True)}, "DryRun", {}),
        ("history", {}, "Deployment", {"links": LINKS}),
        ("hold", {}, "Holds", {}),
        ("status", {"what": ID}, "Deployment", {"links": LINKS}),
        ("status", {"what": None}, "Function", {}),
        ("watch", {}, "Deployment", {"links": LINKS}),
        ("whoami", {}, "Identity", {"credentials": {"source": {}, "expires_at": {}}}),
    ],
)
def test_the_fields_of_a_command_are_those_of_the_api(
    command: str, arguments: dict[str, Any], name: str, own: dict[str, dict[str, Shape]]
) -> None:
    known = plain(shape_of(API["components"]["schemas"][name]))
    for member, more in own.items():
        known[member] = {**known.get(member, {}), **more}
    if command == "whoami":  # a claim is a text or a list
        known["claims"] = {"*": {"0": {}}}
    assert plain(of_command(command, arguments)) == known


def test_a_function_has_what_its_path_says() -> None:
    answer = API["paths"]["/functions/{name}"]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    assert plain(of_command("status", {"what": "orders"})) == plain(shape_of(schema))
    assert plain(of_command("versions", {})["pruning"]) == plain(shape_of(schema)["pruning"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", ID),
        ("status", "orders"),
        ("status",),
        ("history",),
        ("history", "--would-have"),
        ("versions", "orders"),
        ("hold", "prod"),
        ("whoami",),
        ("watch", ID),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("api")
def test_what_json_prints_is_a_field(run: Run, arguments: tuple[str, ...]) -> None:
    document = json.loads(run(*arguments, "--json").out)

    names = {name for name in document if name != "items"}
    for item in document.get("items", ()):
        names |= item.keys()
    for name in names:
        ended = run(*arguments, "--field", name, "--json")
        assert (ended.code, ended.err.count("no field")) == (0, 0), (name, ended.err)


@pytest.mark.parametrize(
    ("arguments", "name", "said"),
    [
        (("status", ID), "sttus", "there is no field sttus; did you mean `status`?"),
        (("status", ID), "alias.curent.version", "there is no field alias.curent; did you mean `current`?"),
        (("status", ID), "status.x", "there is no field status.x"),
        (
            ("status", ID),
            "steps.percent",
            "no field steps.percent: steps.0 is the first of the list",
        ),
        (("status", ID), "steps.0.percnt", "no field steps.0.percnt; did you mean `percent`?"),
        (("status", ID), "stages", "there is no field stages"),
        (("status", ID), "", "there is no field"),
        (("status", "orders"), "status", "there is no field status"),
        (
            ("status", "orders"),
            "stages.prod.vresion",
            "stages.prod.vresion; did you mean `version`?",
        ),
        (("status",), "pruning", "there is no field pruning"),
        (("whoami",), "claim", "did you mean `claims`?"),
        (("whoami",), "claims.ref.x", "there is no field claims.ref.x"),
        (("history",), "limits", "there is no field limits"),
        (("deploy", "f", "prod", "--artifact", "ab" * 32), "plan", "there is no field plan"),
        (("rollback", "f", "prod", "--dry-run"), "plan.stps", "did you mean `steps`?"),
        (("rollback", "f", "prod"), "id.x", "there is no field id.x"),
        (("hold", "prod"), "holds.0.rul", "did you mean `rule`?"),
        (("watch", ID), "nope", "there is no field nope"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_requested(
    run: Run, api: Server, arguments: tuple[str, ...], name: str, said: str
) -> None:
    ended = run(*arguments, "--field", name)

    assert (ended.code, ended.out, api.asked) == (2, "", [])
    assert said in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("arguments", "name", "code", "out"),
    [
        (("whoami",), "claims.ref", 0, "v1\n"),
        (("whoami",), "claims.groups_direct.0", 0, "a\n"),
        (("whoami",), "claims.nope", 4, "\n"),
        (("status", "orders"), "stages.prod.version", 0, "42\n"),
        (("status", "orders"), "stages.prd.version", 4, "\n"),
        (("status", ID), "requested_by.nope", 4, "\n"),
        (("status", ID), "reason.data.x", 0, "\n"),  # it has no reason
        (("status", ID), "observation.verdict", 0, "\n"),
        (("status", ID), "steps.7.percent", 0, "\n"),
        (("watch", ID), "requested_by.nope", 0, "\n"),  # whose exit code is the deployment's
        (("history", "--would-have"), "limits.0.limit", 0, "errors\n"),
    ],
)
@pytest.mark.usefixtures("api")
def test_a_name_that_the_api_leaves_open_may_have_no_value(
    run: Run, arguments: tuple[str, ...], name: str, code: int, out: str
) -> None:
    ended = run(*arguments, "--field", name)

    assert (ended.code, ended.out) == (code, out), ended.err
    assert (f"there is no value {name} here" in ended.err) == (code == 4 or arguments[0] == "watch")


@pytest.mark.usefixtures("api")
def test_fields_of_the_list_and_of_its_items_are_asked_for_apart(run: Run) -> None:
    ended = run("history", "--would-have", "--field", "limits", "--field", "id")
    assert (ended.code, "ask for them apart" in ended.err) == (2, True)


def test_a_trail_and_limits_have_fields_too() -> None:
    assert not wrong("trail", ["deployment.id", "calls.0.details.weights", "unexplained.0.why"], {})
    assert wrong("trail", ["calls.0.nope"], {})
    assert set(LIMITS["limits"]["0"]) == {"limit", "rollouts", "would_have_stopped"}
    assert "unexplained" in TRAIL


@pytest.mark.usefixtures("api")
def test_versions_as_json_print_no_table(run: Run) -> None:
    assert run("versions", "orders", "--json").err == ""


def test_a_server_of_tools_prints_no_document(run: Run) -> None:
    said = run("mcp", "--help").out
    assert "--field" not in said
    assert "--json" not in said
    assert "--token-file" in said
    for option in ("--json", "--field=id"):
        assert run("mcp", option).code == 2
