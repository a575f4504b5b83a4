"""What the tests of presets have in common: a function's front door, and a release that goes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx2

from stand.api import Stand
from stand.background import Background
from stand.paths import Path

ANSWERS_500: Final = 'return {"statusCode": 500, "body": "no stock"}'
"""The invocation succeeds."""

PAUSE: Final = 0.2
"""Seconds between two requests."""


def goes_back(path: Path, deployment: str, metric: str) -> None:
    """See a deployment go back for a metric, and the alias with it."""
    done = path.done(deployment, patience=120)
    assert (done["status"], done["alias"]["outcome"]) == ("rolled_back", "restored"), done["timeline"]
    assert (done["reason"]["code"], done["reason"]["data"]["metric"]) == ("metric", metric), done["reason"]
    assert path.serves == {"version": "1", "weights": {}}


@contextmanager
def url_of(stand: Stand, path: Path) -> Iterator[str]:
    """A function URL of the path's alias, which anyone may call."""
    lambda_ = stand.client("lambda")
    name = {"FunctionName": path.function, "Qualifier": path.stage}
    url = lambda_.create_function_url_config(**name, AuthType="NONE")["FunctionUrl"]
    lambda_.add_permission(
        **name,
        StatementId="url",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    try:
        identifier = httpx2.URL(url).host.partition(".")[0]
        yield f"{stand.aws_endpoint_url}/_aws/lambda-url/{identifier}/"
    finally:
        lambda_.delete_function_url_config(**name)


def ask(url: str, times: int) -> list[int]:
    """Ask that often; the statuses."""
    return [httpx2.get(url, timeout=30, trust_env=False).status_code for _ in range(times)]


class Asking(Background):
    """Asks all the time, as a function's callers do, until the block ends.

    A minute in which a version gets its first traffic is compared as if the other's requests were spread over
    all of it: requests that all come after the shift, and before the minute's end, would count for little.
    """

    def __init__(self, url: str) -> None:
        super().__init__(f"asking {url}")
        self._url = url
        self.statuses: set[int] = set()

    def _run(self) -> None:
        while not self._end.wait(PAUSE):
            self.statuses.update(ask(self._url, 1))
