"""The guides' gate files, played through the gateway and real rollouts: their jobs do what the pages say."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sluicegate.deployment.model import Status
from sluicegate.gate import codec
from sluicegate.gate.policy import Gate
from sluicegate_gatefile import compile as gatefile
from support.gateway_simulation import ROOT, GatewaySimulation, gateway_simulation, keys, problem
from support.signing import AUDIENCE, ISSUER

FUNCTION = "orders-api"


def gate_of_page(page: str, directory: Path) -> Gate:
    """The gate file on a page, for the tests' issuer."""
    text = (ROOT / "docs" / "guides" / page).read_text()
    (file,) = [
        fence for fence in re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M) if "issuers:" in fence
    ]
    file = file.replace("https://gitlab.example.com", ISSUER).replace("https://deploy.example.com", AUDIENCE)
    path = directory / "sluicegate.yaml"
    path.write_text(file)
    report = gatefile.check(path)
    assert report.ok
    assert report.document is not None
    document = json.loads(report.document)
    document["issuers"][0] |= {"jwks": keys().decode(), "max_age": None}
    return codec.parse(json.dumps(document).encode(), own_functions=())


@pytest.fixture
def previews(tmp_path: Path) -> Iterator[GatewaySimulation]:
    with gateway_simulation(gate=gate_of_page("previews.md", tmp_path)) as made:
        made.model.add(FUNCTION, b"code of somebody")
        yield made


MAIN = {"ref": "main", "ref_type": "branch", "ref_protected": "true", "pipeline_source": "push"}
MERGE_REQUEST = {
    "ref": "topic",
    "ref_type": "branch",
    "ref_protected": "false",
    "pipeline_source": "merge_request_event",
}


def test_a_merge_request_has_the_preview_and_gives_it_back(
    previews: GatewaySimulation,
) -> None:
    at = previews
    merged = at.upload(FUNCTION, b"merged")
    topic = at.upload(FUNCTION, b"topic")
    about = {"function": FUNCTION}
    for code, claims in ((merged, MAIN), (topic, MERGE_REQUEST)):
        size = len(b"merged" if code is merged else b"topic")
        answer = at.ask("POST", "/artifacts", at.job(**claims), {**about, "sha256": code, "size": size})
        assert answer.status == 200
    staging = at.finish(at.deploy(merged, at.job(**MAIN), **about, stage="staging"))
    preview = at.finish(at.deploy(topic, at.job(**MERGE_REQUEST), **about, stage="preview"))
    assert (staging.status, preview.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert staging.version != preview.version
    stop = at.job(**MERGE_REQUEST)
    stages = at.ask("GET", "/functions/{name}", stop, name=FUNCTION).value["stages"]
    assert stages["preview"]["version"] == preview.version
    version = stages["staging"]["version"]  # as the component looks it up
    stopped = at.promote(stop, **about, stage="preview", version=version, **{"from": "staging"})
    assert at.finish(stopped).status is Status.SUCCEEDED
    assert stopped.version == staging.version
    assert at.now(stopped).current is not None
    assert at.now(stopped).current.version == staging.version  # type: ignore[union-attr]


def test_a_merge_request_reaches_no_other_stage_and_a_fork_none(previews: GatewaySimulation) -> None:
    at = previews
    code = at.upload(FUNCTION, b"topic")
    about = {"function": FUNCTION, "action": "deploy", "artifact": {"sha256": code}}
    assert problem(at.request, at.job(**MERGE_REQUEST), **about, stage="staging").status == 403
    fork = at.job(**MERGE_REQUEST, project_id="9999")
    assert problem(at.request, fork, **about, stage="preview").status == 403


# Parts to add to a gate file


def with_parts(page: str, directory: Path) -> gatefile.Report:
    """The repository's own gate file with the parts that a page adds, its rules first."""
    file = yaml.safe_load((ROOT / "sluicegate.yaml").read_text())
    text = (ROOT / "docs" / "guides" / page).read_text()
    for fence in re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M):
        part = yaml.safe_load(fence)
        if {"include", "version"} & part.keys():
            continue
        for section, given in part.items():
            if isinstance(given, list):
                file[section] = given + file.get(section, [])
                continue
            for name, keys_of in given.items():
                one = file.setdefault(section, {}).setdefault(name, {})
                one |= keys_of
    written = yaml.safe_dump(file, sort_keys=False).replace("issuer: corp", "issuer: gitlab")
    path = directory / "sluicegate.yaml"
    path.write_text(written)
    return gatefile.check(path)


@pytest.mark.parametrize("page", ["agents.md", "iam.md", "targets.md"])
def test_the_parts_of_a_guide_go_into_the_gate_file_without_a_warning(page: str, tmp_path: Path) -> None:
    report = with_parts(page, tmp_path)

    assert report.ok
    # The file itself has one function in protected and other stages of one account.
    assert {one.code for one in report.diagnostics} <= {"shared_target"}


def test_the_commands_of_a_clone_find_the_command_line() -> None:
    text = (ROOT / "docs" / "guides" / "targets.md").read_text()
    commands = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    assert not re.search(r"(?m)(?:^|[ =])sluicegate (?:target|doctor)", "".join(commands))
