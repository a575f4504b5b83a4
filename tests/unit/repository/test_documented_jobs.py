"""The pipelines that the pages give to copy, as GitLab would read them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluicegate import __version__
from stand import component
from stand.api import package
from stand.ci_variables import Variables
from stand.shells import Machine
from support.pages import PAGES, ROOT, name
from support.thief import WRONG, serve

CONNECT = ROOT / "docs/start/connect.md"
FENCES = [
    (page, text)
    for page in PAGES
    for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.S | re.M)
    if "component:" in text
]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_job_hands_its_token_to_what_nobody_has_reviewed(page: Any) -> None:
    """A variable as the address, a package without a hash, or a token where every process can see it."""
    text = page.read_text()
    assert "git+" not in text
    assert not re.search(
        r"(?:-H|--header|--oauth2-bearer|--token) [\"']?(?:Authorization: )?(?:Bearer )?\$", text
    )
    for fence in re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M):
        assert "SLUICEGATE_URL" not in fence
        if "id_tokens" in fence:
            assert all("@sha256:" in image for image in re.findall(r"^ *image: (.+)", fence, re.M))
            for line in re.findall(r"pip install.*", fence):
                assert "--require-hashes" in line
                assert "--isolated" in line


@pytest.mark.parametrize(("page", "text"), FENCES, ids=[name(page) for page, _ in FENCES])
def test_gitlab_takes_every_documented_include(page: Any, text: str) -> None:
    config, jobs = component.pipeline(text)
    names = [job.name for job in jobs]
    assert jobs, page
    assert len(names) == len(set(names))
    for key in config.keys() - {"include", "stages", "variables", "workflow"}:
        assert key in names or "script" in config[key], f"{key} is no job of the includes"


def test_every_include_names_this_version_at_a_literal_address() -> None:
    """GitLab expands variables in `include`: `$CI_SERVER_FQDN` could lead to somebody else's component."""
    for page in PAGES:
        for address in re.findall(r"component: (\S+)", page.read_text()):
            assert re.fullmatch(rf"[A-Za-z.]+/[A-Za-z/]*sluicegate/deploy@{__version__}", address), name(page)


def test_the_page_has_every_input_with_its_default() -> None:
    table = CONNECT.read_text().split("\n## Inputs\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`( \*)? \| (?:`([^|]*)`)? ?\| (.+) \|$", table, re.M)
    documented = {row[0]: yaml.safe_load(row[2]) if row[2] else "" for row in rows}
    assert documented == {each: spec.get("default", "") for each, spec in component.header().items()}
    script = component.FILE.read_text()
    assert {row[0] for row in rows if row[1]} == set(re.findall(r"\$\(expand (\w+)\)", script))


APPROVAL = next(text for page, text in FENCES if page == CONNECT and "spec:" in text)


def test_the_approval_takes_the_id_and_the_reason_of_the_pipeline() -> None:
    id_ = "01M83C6AM7KY87WNER1QH3A4Y7"
    _, (job,) = component.pipeline(APPROVAL, deployment=id_, reason="change 812 (ada)")
    assert job.inputs["deployment"] == id_
    assert job.inputs["reason"] == "change 812 (ada)"
    assert job.keywords["rules"] == [{"if": f'$CI_PIPELINE_SOURCE == "web" && "{id_}" != "none"'}]
    assert component.pipeline(APPROVAL)[1][0].keywords["rules"][0]["if"].endswith('"none" != "none"')


@pytest.mark.parametrize(
    "reason",
    ["$SLUICEGATE_ID_TOKEN", "a\n      url: https://evil.example.com/v1", 'a"', "a # b$", "%CI_JOB_TOKEN%"],
)
def test_a_persons_input_stays_a_value(reason: str) -> None:
    """Pasted as text, it could be any job: only its pattern prevents that."""
    with pytest.raises(component.InputError):
        component.pipeline(APPROVAL, reason=reason)
    unchecked = re.sub(r"\n      regex: .*", "", APPROVAL)
    if "url" in reason:
        assert (
            component.pipeline(unchecked, reason=reason)[1][0].inputs["url"] == "https://evil.example.com/v1"
        )


# The guides' pipelines, run


def run(tmp_path: Path, job: component.Job, **variables: str) -> list[Any]:
    """What the job asks of the API, in dash, with these variables of its own."""
    headers = {
        "Sluicegate-Id": "01M83C6AM7KY87WNER1QH3A4Y7",
        "Sluicegate-Status": "succeeded",
        "Sluicegate-Revision": "4",
        "Sluicegate-Final": "true",
        "Sluicegate-Upload": "present",
    }
    machine = Machine.with_shell("dash", tmp_path)
    (machine.directory / "dist").mkdir()
    for file in ("orders-api", "dist/orders-api", "dist/orders-search", "dist/orders-mail"):
        (machine.directory / f"{file}.zip").write_bytes(package("x = 1\n"))
    with serve(tmp_path, "api", WRONG, headers, tls=False) as api:
        script = [re.sub(r"(?m)^url=.*", f"url={api.url}", line) for line in job.keywords["script"]]
        local = component.Job(job.name, {**job.keywords, "script": script})
        ended = machine.start(local, "a.b.c", given=Variables(job=variables)).wait()
        asked = [request for request in api.received if request.startswith("POST /v1/deployments ")]
    return [ended.code, *(json.loads(request.rsplit("\n\n", 1)[1]) for request in asked)]


def guide(page: str) -> tuple[dict[str, Any], list[component.Job]]:
    (text,) = [text for found, text in FENCES if found == ROOT / "docs/guides" / page]
    return component.pipeline(text)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_matrix_deploys_each_function_of_a_monorepo(tmp_path: Path, number: int) -> None:
    config, (deploy, promote) = guide("monorepo.md")
    assert config[deploy.name] == config[promote.name] == {"parallel": [".functions", "parallel"]}
    ((name, functions),) = config[".functions"]["parallel"]["matrix"][0].items()
    for index, (job, stage) in enumerate(((deploy, "staging"), (promote, "prod"))):
        directory = tmp_path / str(index)
        directory.mkdir()
        code, asked = run(directory, job, **{name: functions[number]})
        assert code == 0
        assert (asked["function"], asked["stage"]) == (functions[number], stage)
        assert re.fullmatch("[0-9a-f]{64}", asked["artifact"]["sha256"])


def test_a_preview_is_made_by_the_merge_request_and_put_back_by_its_end(tmp_path: Path) -> None:
    config, (deploy, promote) = guide("previews.md")
    assert config[deploy.name]["environment"]["on_stop"] == promote.name
    assert config[promote.name]["environment"] == {"name": "preview", "action": "stop"}
    code, asked = run(tmp_path, deploy, CI_MERGE_REQUEST_IID="77")
    assert (code, asked["stage"], asked["release"], asked["on_busy"]) == (0, "preview", "!77", "supersede")
    assert (promote.inputs["from"], promote.inputs["stage"]) == ("staging", "preview")
