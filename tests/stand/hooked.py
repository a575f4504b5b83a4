"""A gate file with webhooks of every scheme, for tests that send deliveries to them."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from stand.api import Stand, package
from stand.say import StandError

SIGNING: Final = {
    "sluicegate/webhooks/stand-a": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "sluicegate/webhooks/stand-b": "whsec_c29tZWJvZHkgZWxzZSdzIGhvb2s=",
}
CLEAR: Final = {"sluicegate/webhooks/stand-c": "a token in the clear"}
ROTATED: Final = "sluicegate/webhooks/stand-d"

HOOKS: Final = {
    "hooks-tags": "scheme: signature, secret: sluicegate/webhooks/stand-a, event: tag_push, ref: v*",
    "hooks-any": 'scheme: signature, secret: sluicegate/webhooks/stand-a, event: tag_push, ref: "**"',
    "hooks-main": "scheme: signature, secret: sluicegate/webhooks/stand-a, event: pipeline, ref: main",
    "hooks-other": "scheme: signature, secret: sluicegate/webhooks/stand-b, event: tag_push, ref: v*",
    "hooks-clear": "scheme: token, secret: sluicegate/webhooks/stand-c, event: tag_push, ref: v*",
    "hooks-late": "scheme: token, secret: sluicegate/webhooks/stand-d, event: tag_push, ref: v*",
    "hooks-jobs": "scheme: id_token, event: tag_push, ref: v*",
}
"""The entries; each deploys the function of its own name to `dev`."""

_RULES: Final = """
  - name: hooks
    issuer: stand
    via: webhook
    claims: {project_id: "4213", ref_type: [tag, branch], ref: "**"}
    allow: {actions: [deploy], functions: [hooks-*], stages: [dev]}
  - name: jobs of hooks
    issuer: stand
    claims: {project_id: "4213"}
    allow: {actions: [deploy], functions: [hooks-*], stages: [dev]}
"""


@dataclass(frozen=True)
class Hooks:
    """The stand with these webhooks, and deliveries to them."""

    stand: Stand

    def deliver(self, hook: str = "hooks-tags", event: str = "tag_push", **given: Any) -> dict[str, Any]:
        """Send a delivery, signed with the first secret by default; return the (last) answer.

        `given` as for `stand.webhooks.deliver`. The answer has `status`, and what it says.
        """
        if not {"signing_token", "token", "bearer"} & given.keys():
            given["signing_token"] = SIGNING["sluicegate/webhooks/stand-a"]
        url = f"{self.stand.endpoint}/webhooks/gitlab/{hook}"
        answer = self.stand.gitlab.deliver(url, event, **given)["answers"][-1]
        result = answer["body"] if isinstance(answer["body"], dict) else {"text": answer["body"]}
        return {**result, "status": answer["status"]}

    def upload(self, sha: str, *, hook: str = "hooks-tags", text: str | None = None, **claims: Any) -> str:
        """What a job of that commit uploads for the hook's function; its SHA-256."""
        code = package(f"def handler(event, context):\n    return {text or sha!r}\n")
        return self.stand.upload(hook, code, token=self.stand.token(sha=sha, **claims))

    def done(self, result: dict[str, Any]) -> dict[str, Any]:
        """The deployment that an answer names, once it is final."""
        return self.stand.wait(result["deployment"], token=self.stand.token())


def new_tag() -> tuple[str, str]:
    """A tag and a commit that no test has had."""
    return f"v{uuid4().hex[:10]}", uuid4().hex + uuid4().hex[:8]


def prepare(stand: Stand) -> Hooks:
    """Put the secrets there and make the functions, for a stand whose gate file is `with_hooks`."""
    for name, secret in {**SIGNING, **CLEAR}.items():
        stand.put_secret(name, secret)
    for hook in HOOKS:
        stand.create_function(hook)
    return Hooks(stand)


def with_hooks(text: str) -> str:
    """A gate file's text with these webhooks and their rules."""
    entries = [
        f'  {hook}: {{issuer: stand, project_id: "4213", {how}, deploy: {{function: {hook}, stage: dev}}}}\n'
        for hook, how in HOOKS.items()
    ]
    for old, new in (
        ("\nrules:", "\n  hooks-*: {}\nrules:"),
        ("\nwebhooks:\n", f"\nwebhooks:\n{''.join(entries)}"),
        ("\ndeny:", f"{_RULES.rstrip()}\ndeny:"),
    ):
        if text.count(old) != 1:
            raise StandError(f"the gate file in force has no place for {old.strip()}")
        text = text.replace(old, new)
    return text
