"""Chromium on the board. The tests skip where there is no Chromium, and say so."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sluicegate.deployment.model import Deployment
from support.board import looked_at
from support.browsers import ADA, CHROMIUM, GATE, Person, Story, watched
from support.gateway_simulation import artifact
from support.loopback_board import LoopbackBoard, loopback_board
from support.template import ROOT

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave them out of `make test`, and skip them without Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.extended)
            item.add_marker(pytest.mark.filterwarnings("ignore:No application metrics"))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="there is no chromium on the PATH"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    # For a module: as long as Playwright runs, its event loop keeps `asyncio.run` from every test after it.
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served() -> Iterator[LoopbackBoard]:
    """A board with the demo's story: a release that serves, one by canary, one that waits."""
    with loopback_board(**GATE) as made:
        yield made


@pytest.fixture
def people(chromium: Any) -> Iterator[Callable[..., Person]]:
    """Makes people with browsers of their own. Nothing may be wrong in any of them at the end."""
    made: list[Person] = []

    def person(board: LoopbackBoard, username: str | None = "grace", **options: Any) -> Person:
        context = chromium.new_context(**{"viewport": {"width": 1180, "height": 800}, **options})
        context.set_default_timeout(20_000)
        one = watched(Person(board, context, context.new_page()))
        made.append(one)
        if username:
            one.sign_in(username)
        return one

    yield person
    for one in made:
        one.context.close()
    assert [wrong for one in made for wrong in one.wrong] == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, of the version and integrity that package-lock.json pins."""
    kept = ROOT / ".cache" / "axe"
    source = kept / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is not here, and there is no npm to get it")
        kept.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(Path(__file__).parent / name, kept / name)
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=kept, check=True
        )
    return source.read_text()


@pytest.fixture(scope="module")
def story(served: LoopbackBoard) -> Story:
    with served.lock:
        at = served.site.gateway

        def sha(text: str) -> str:
            return (text.encode().hex() * 20)[:40]

        def promote(sha256: str, release: str) -> Deployment:
            claims = at.job(**ADA, ref=release, sha=sha(release))
            made = at.promote(claims, release=release, artifact={"sha256": sha256})
            at.decide("approve", made)
            return at.now(made)

        def deploy(sha256: str, release: str, **more: Any) -> Deployment:
            claims = at.job(**ADA, ref=release, sha=sha(release))
            return at.deploy(sha256, claims, release=release, **more)

        first, second = artifact(at, b"first"), artifact(at, b"second")
        at.finish(deploy(first, "v1.0.0", stage="dev"))
        released = at.finish(promote(first, "v1.0.0"))
        at.clock.now += 7_200
        at.finish(deploy(second, "v1.1.0", stage="dev"))
        at.model.add("orders-mail", b"of somebody")
        at.release(artifact(at, b"mail 1", "orders-mail"), function="orders-mail", release="v1.9.0")
        baking = at.run_until(promote(second, "v1.1.0"), "baking")
        looked = baking.changed(at.clock(), "looked", observations=looked_at(baking))
        at.store.deployments.save(baking, looked)
        mail = artifact(at, b"mail", "orders-mail")
        waits = deploy(mail, "v2.0.0", function="orders-mail")
        waiting = at.run_until(waits, "awaiting_approval")
    return Story(served, released, looked, waiting)
