"""`sluicegate report`: one page that needs nothing else, whatever the record says."""

import errno
import os
import re
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sluicegate.documents.charts import charts
from sluicegate_cli.follow import ending
from sluicegate_cli.report.page import page
from support.cli_running import Run
from support.cli_server import BEGAN, ID, Reply, Server
from support.cli_terminal import NASTY
from support.observed import NASTY_HTML, alarm, finding, look, observed, series, went_back

VOID = {"meta", "br", "img", "link", "input"}
STRUCTURE = {
    "at",
    "verdict",
    "id",
    "seq",
    "since",
    "finished_at",
    "created_at",
    "updated_at",
    "status",
    "until",
    "mode",
    "state",
}
"""Members that decide what a page has, or that are no text: the others are hostile in the test."""


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def structure(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.elements if name in attributes]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return run


def written(deployment: Mapping[str, Any]) -> Page:
    return Page(page(deployment, ending(deployment), BEGAN + 600))


def full() -> dict[str, Any]:
    """A deployment that has everything that a page shows."""
    looks = series(6)
    for one in looks[3:]:
        one["alarms"] = [alarm()]
    looks[-1]["findings"].append(finding("judge", "judge", bound=None, new=None, old=None, ratio=None))
    rang = {**alarm("orders-slow"), "silent_at": None}
    overlooked = {"reason": "incident 77", "overlooked": [rang], "silent_by": looks[-1]["at"]}
    would_have = {"limit": "duration_p95", "at": looks[-1]["at"], "message": "duration_p95: bad", "step": 0}
    return {
        **went_back(looks),
        "release": "v1.4.0",
        "description": "change 812",
        "fix_forward": overlooked,
        "would_have": [would_have | {"look": 6, "percent": 10}],
        "watch": {"alarms": ["orders-5xx"], "limits": []},
    }


def hostile(value: Any, name: str, nasty: str) -> Any:
    """The same document with hostile text wherever the record has text."""
    if isinstance(value, Mapping):
        return {key: hostile(one, key, nasty) for key, one in value.items()}
    if isinstance(value, list):
        return [hostile(one, name, nasty) for one in value]
    return nasty + value if isinstance(value, str) and name not in STRUCTURE else value


def test_a_page_says_what_happened_who_by_which_rule_and_why() -> None:
    words = written(full()).words

    for text in (
        "orders-api in prod",
        "rolled back",
        ID,
        "ada, job 302 of acme/orders",
        "orders to prod",
        "errors: ×3.1 (1.8–4.4), limit ×2 [metric]",
        "v1.4.0",
        "change 812",
        "Shipped while an alarm rang",
        "incident 77",
        "overlooks alarm orders-slow, firing since 2026-09-21T14:13:40.000Z",
        "What would have stopped it",
        "at 10 %: duration_p95: bad",
        "orders-5xx is in ALARM since",
        "accepted by rule 'orders to prod'",
        "alias prod serves what it served before",
        "duration_p95 of the new and the old version",
        "good (observed)",
        "10 % of the traffic",
    ):
        assert text in words


def test_a_page_links_to_job_commit_and_pipeline_and_to_the_alarm() -> None:
    addresses = written(full()).values("href")

    assert addresses[:2] == [
        "https://gitlab.example.com/acme/orders/-/jobs/302",
        "https://gitlab.example.com/acme/orders/-/pipelines/574",
    ]
    assert addresses[-1].startswith("https://eu-central-1.console.aws.amazon.com/cloudwatch/")


@pytest.mark.parametrize(
    "deployment", [full(), went_back(), went_back([])], ids=["full", "series", "nothing"]
)
def test_a_page_has_no_script_and_loads_nothing(deployment: Mapping[str, Any]) -> None:
    html = page(deployment, ending(deployment), BEGAN)
    found = Page(html)

    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video"} & {
        tag for tag, _ in found.elements
    }
    for _, attributes in found.elements:
        assert not {
            name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")
        }
    assert all(address.startswith("https://") for address in found.values("href"))
    assert not re.search(r"url\((?!#plot-)", html)  # no font, no image; the clips of the plots
    assert "@import" not in html
    assert found.open == []


def test_the_policy_allows_exactly_the_pages_own_style() -> None:
    html = page(full(), "it ended", BEGAN)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    policies = [attributes["content"] for _, attributes in Page(html).elements if "http-equiv" in attributes]

    assert style is not None
    assert html.count("<style>") == 1
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


@pytest.mark.parametrize(
    "nasty", [NASTY_HTML, NASTY, "javascript:alert(1)//", "&lt;b&gt;", "]]><!--", "{{ 7*7 }}{% x %}"]
)
def test_hostile_text_changes_no_element_of_the_page(nasty: str) -> None:
    benign, attacked = full(), hostile(full(), "", nasty)
    by = attacked["requested_by"]
    attacked["requested_by"] = by | {"issuer": "https://gitlab.example.com", "gitlab": None}
    for one in attacked["observations"]:
        one["alarms"] = [{**entry, "link": alarm()["link"]} for entry in one["alarms"]]

    found = written(attacked)

    assert found.structure == written(benign).structure
    assert not {"\x1b", "\u202e", "\u2028"} & set(found.words)
    assert "49" not in found.words.replace("{{ 7*7 }}", "").replace("0.49", "").split()


def test_hostile_verdicts_and_statuses_stay_within_their_attributes() -> None:
    nasty = '"><script>alert(1)</script>'
    looks = [
        look(20, finding() | {"verdict": nasty, "mode": nasty, "unit": nasty}, finding("x"))
        | {"verdict": nasty}
    ]
    attacked = {**went_back(looks), "status": nasty, "final": False}

    found = written(attacked)

    assert "script" not in {tag for tag, _ in found.elements}
    assert [nasty] * 3 == [value for value in found.values("class") if "script" in value]


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "http://console.aws.amazon.com/",
        "https://user@evil.example/",
        "https://[",
        "https:///x",
        "//evil.example",
        "https://evil.example/\u202e",
        "https://evil.example/\n",
        "HTTPS",
        7,
        None,
    ],
)
def test_an_alarms_address_that_is_no_plain_https_is_no_link(link: object) -> None:
    looks = series(2)
    looks[-1]["alarms"] = [alarm(link=link)]

    addresses = written(went_back(looks)).values("href")

    assert not [address for address in addresses if "gitlab.example.com" not in address]


@pytest.mark.parametrize("gitlab", ["javascript:alert(1)//", "data:text/html,x", "https://a\u202eb", ""])
def test_a_gitlab_that_is_no_address_gives_no_link(gitlab: str) -> None:
    deployment = went_back(series(2))
    by = deployment["requested_by"] | {"issuer": gitlab, "gitlab": gitlab}

    assert written({**deployment, "requested_by": by}).values("href") == []


def test_hundreds_of_looks_make_one_page_of_bounded_size() -> None:
    looks = series(300)

    html = page(went_back(looks), "it ended", BEGAN)

    assert len(html) < 2_000_000
    assert html.count("<svg") == 4  # two limits, each for wide and for narrow screens
    assert len({*re.findall(r' id="([^"]+)"', html)}) == len(re.findall(r' id="([^"]+)"', html))


def test_without_an_observation_the_page_says_so() -> None:
    found = written(went_back([]))

    assert "Nothing was observed." in found.words
    assert "svg" not in {tag for tag, _ in found.elements}


def test_a_deployment_of_an_older_api_has_a_page_too() -> None:
    old = dict(went_back([]))
    for name in ("observation", "observations", "fix_forward", "watch", "approval", "release", "description"):
        old.pop(name, None)

    assert "orders-api in prod" in written(old).words


def test_a_step_at_100_percent_and_a_second_step_are_labelled() -> None:
    looks = [look(20), look(40), look(340, step=1, percent=50), look(400, step=1, percent=50)]
    deployment = went_back(looks)
    baking = {"seq": 5, "at": looks[2]["at"].replace("19:00", "18:50"), "status": "baking", "message": "50%"}
    deployment = {
        **deployment,
        "timeline": [*deployment["timeline"][:-2], baking, *deployment["timeline"][-2:]],
    }

    words = written(deployment).words

    assert "50 % of the traffic" in words


# The command


def test_the_page_is_written_beside_and_never_over_a_file(run: Run, server: Server, tmp_path: Path) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))

    first = run("report", ID)
    path = tmp_path / f"sluicegate-{ID}.html"
    page_of_it = path.read_text()
    second = run("report", ID)

    assert (first.code, first.out) == (0, "")
    assert f"wrote sluicegate-{ID}.html" in first.err
    assert page_of_it.startswith("<!doctype html>")
    assert server.asked[0].query == "observations=all"
    assert second.code == 2
    assert "--force" in second.err
    assert len(server.asked) == 1  # refused before anything is requested
    assert path.read_text() == page_of_it


def test_force_replaces_a_file_and_not_what_a_link_points_at(
    run: Run, server: Server, tmp_path: Path
) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))
    precious, link = tmp_path / "precious", tmp_path / "report.html"
    precious.write_text("precious")
    link.symlink_to(precious)

    refused = run("report", ID, "--output", "report.html")
    forced = run("report", ID, "--output", "report.html", "--force")

    assert (refused.code, forced.code) == (2, 0)
    assert precious.read_text() == "precious"
    assert link.read_text().startswith("<!doctype html>")
    assert not stat.S_IMODE(link.stat().st_mode) & 0o111
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "report.html"]


def test_a_dangling_link_is_a_file_that_exists(run: Run, server: Server, tmp_path: Path) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))
    (tmp_path / "report.html").symlink_to(tmp_path / "elsewhere")

    assert run("report", ID, "--output", "report.html").code == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("special", ["folder", "/dev/null", "pipe"])
def test_what_is_no_plain_file_is_never_replaced(
    run: Run, server: Server, tmp_path: Path, special: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    ended = run("report", ID, "--output", special, "--force")

    assert ended.code == 2
    assert "no plain file" in ended.err
    assert server.asked == []
    assert not Path("/dev/null").is_file()


def test_standard_output_gets_the_page_alone(run: Run, server: Server, tmp_path: Path) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))

    ended = run("report", ID, "--output", "-")

    assert ended.out.startswith("<!doctype html>")
    assert ended.out.rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == []


def test_json_is_the_document_with_all_observations(run: Run, server: Server, tmp_path: Path) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))

    assert '"observations": [' in run("report", ID, "--json").out
    assert list(tmp_path.iterdir()) == []
    assert run("report", ID, "--json", "--output", "-").code == 2


def test_what_still_runs_has_a_page_that_says_so(run: Run, server: Server) -> None:
    looks = series(3)
    server.on("GET", f"/deployments/{ID}", Reply(200, observed(looks, observations=looks)))

    ended = run("report", ID, "--output", "-")

    assert ended.code == 0
    assert "still baking" in Page(ended.out).words


@pytest.mark.parametrize("identifier", ["../../etc/passwd", "x", "01KAQ3ZV6N8T4R1F0C2H7M5XW/"])
def test_an_id_that_is_none_never_becomes_a_files_name(run: Run, server: Server, identifier: str) -> None:
    ended = run("report", identifier)

    assert ended.code == 2
    assert server.asked == []


def test_a_folder_that_does_not_exist_is_an_error_that_says_so(run: Run, server: Server) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))

    (Path.cwd() / "file").touch()
    for path in ("nowhere/report.html", "file/report.html"):
        for arguments in (("report", ID), ("audit", "key"), ("audit", "export", "--from", "1d")):
            for force in ((), ("--force",)):
                ended = run(*arguments, "--output", path, *force)

                assert ended.code == 5
                assert f"cannot write {path}: " in ended.err
    assert server.asked == []


def test_a_disk_that_is_full_leaves_no_file(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", f"/deployments/{ID}", Reply(200, went_back(series(3))))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("sluicegate_cli.output_file._create", fail)
    ended = run("report", ID)

    assert ended.code == 5
    assert f"cannot write sluicegate-{ID}.html: No space left on device" in ended.err


def test_only_a_report_imports_its_templates() -> None:
    modules = "sluicegate_cli.commands.report, sluicegate_cli.commands.watch, sluicegate_cli.commands.status"
    code = f"import sys, {modules}; print('jinja2' in sys.modules)"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


def test_the_limits_of_one_metric_share_a_chart() -> None:
    new, old = ({"value": value, "low": value, "high": value} for value in (431, 402))
    compared = finding("duration_p95", unit="ms", new=new, old=old)
    most = finding("duration_p95", "max_ms", unit="ms", bound=800, new=new, old=None)
    [chart] = charts(went_back([look(at, compared, most) for at in (20, 40)]))

    assert (chart.title, chart.unit) == ("duration_p95 of the new and the old version", " ms")
    assert [bound.name for bound in chart.bounds] == ["limit ×2 the old version's", "limit 800 ms"]
