"""A client of a stand-in GitLab: tokens, and the faults that tests want."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2


@dataclass(frozen=True)
class Issuer:
    """One running stand-in GitLab, at its own address."""

    url: str

    def token(self, claims: Mapping[str, Any], *, audience: str | list[str] | None = None) -> str:
        """A job's ID token with these claims in the place of the usual ones; None leaves one out."""
        return str(
            self._ask("token", claims=dict(claims), **({"aud": audience} if audience else {}))["token"]
        )

    def sign(self, payload: str, *, header: str | None = None) -> str:
        """A token of exactly this payload (and header), signed with the current key."""
        return str(self._ask("sign", payload=payload, header=header)["token"])

    def rotate(self, *, keep: int = 1) -> str:
        """Sign with a new key from now on, with `keep` older ones still published; its `kid`."""
        return str(self._ask("rotate", keep=keep)["kid"])

    def deliver(self, url: str, event: str, **given: Any) -> dict[str, Any]:
        """Have it send a webhook's delivery (`stand.webhooks.deliver`): its key, and each answer."""
        return self._ask("webhook", url=url, event=event, **given)

    def requests(self) -> dict[str, int]:
        """How often each of GitLab's paths was asked for since the start."""
        return {path: int(count) for path, count in self._ask("requests").items()}

    def new_api_token(self) -> str:
        """An access token for its REST API; those before it are revoked."""
        return str(self._ask("api-token")["token"])

    def add_application(self, uid: str, secret: str, *redirect_uris: str, **more: Any) -> None:
        """An OAuth application of this id; in the place of an earlier one (`gitlab_oauth.Application`)."""
        self._ask("application", uid=uid, secret=secret, redirect_uris=list(redirect_uris), **more)

    def change_user(self, username: str, **changes: Any) -> None:
        """A user is another one from now on: `state="blocked"`, `groups=[...]` (`gitlab_oauth.User`)."""
        self._ask("user", username=username, **changes)

    @contextmanager
    def signing_in_with(self, **claims: Any) -> Iterator[None]:
        """Have the ID tokens of people other claims until the block ends; None leaves one out."""
        self._ask("claims-of-people", **claims)
        try:
            yield
        finally:
            self._ask("claims-of-people")

    def statuses(self, sha: str, name: str) -> list[dict[str, Any]]:
        """All statuses of this name that the commit ever had, oldest first, each with its `history`."""
        found: list[dict[str, Any]] = self._ask("reported")["statuses"]
        return [one for one in found if (one["sha"], one["name"]) == (sha, name)]

    def deployments(self, sha: str) -> list[dict[str, Any]]:
        """GitLab's own deployments of the commit, oldest first, each with its `history`."""
        found: list[dict[str, Any]] = self._ask("reported")["deployments"]
        return [one for one in found if one["sha"] == sha]

    def merge_request(self, number: int, *shas: str, project: str = "4213") -> None:
        """A merge request with these commits."""
        self._ask("merge-request", project=project, number=number, shas=shas)

    def notes(self, number: int, project: str = "4213") -> list[dict[str, Any]]:
        """All notes of a merge request, each with its `versions`."""
        found: list[dict[str, Any]] = self._ask("reported")["notes"]
        return [one for one in found if one["of"] == {"project_id": int(project), "iid": number}]

    @contextmanager
    def failing(self, mode: str, **how: Any) -> Iterator[None]:
        """Fail in one of the ways of `stand.gitlab.Fault` until the block ends."""
        self._ask("fault", mode=mode, **how)
        try:
            yield
        finally:
            self._ask("fault")

    def answers(self) -> bool:
        try:
            return bool(self._ask("health")["address"] == self.url)
        except httpx2.HTTPError:
            return False

    def _ask(self, verb: str, **content: Any) -> dict[str, Any]:
        answer = httpx2.post(f"{self.url}/-/stand/{verb}", json=content, timeout=60, trust_env=False)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result
