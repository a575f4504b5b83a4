"""What a role's permissions let it call of the API. Pure: documents in, findings out.

In `execute-api:Invoke` a resource is `API/STAGE/METHOD/PATH`, where `*` also stands for `/` (API Gateway
developer guide, "Control access for invoking an API", read on 26 November 2026): `POST/iam/deployments/*`
takes `approve` of every deployment.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sluicegate_cli.doctor.findings import CheckVerdict, Finding
from sluicegate_cli.doctor.trust_policy import listed

CALLS: Final = "the role may call what it needs only"

_INVOKE: Final = "execute-api:invoke"
_DECISIONS: Final = {
    "POST/iam/deployments/01J00000000000000000000000/approve": "approve",
    "POST/iam/deployments/01J00000000000000000000000/reject": "reject",
    "POST/iam/deployments/01J00000000000000000000000/abort": "abort",
    "POST/iam/stages/prod/hold": "hold",
    "DELETE/iam/stages/prod/hold": "the release of a hold",
}
_NEEDED: Final = "POST/iam/artifacts, POST/iam/deployments, GET/iam/deployments/* and GET/iam/whoami"


def of_permissions(documents: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield what the policies allow beyond the calls of a job. A Deny is not subtracted."""
    statements = [
        one
        for document in documents
        for one in listed(document.get("Statement"))
        if isinstance(one, Mapping) and one.get("Effect") == "Allow"
    ]
    found = list(_of_statements(statements))
    yield from found
    if any(one.verdict is CheckVerdict.OK for one in found):
        return
    if not found:
        seen = "no statement allows execute-api:Invoke: the role cannot call the API"
        yield Finding(CALLS, CheckVerdict.WRONG, seen, f"Allow it on {_NEEDED}.")


def _of_statements(statements: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    wide = False
    invoked: list[str] = []
    for statement in statements:
        actions = [str(action).lower() for action in listed(statement.get("Action"))]
        if "NotAction" in statement or "*" in actions:
            wide = True
            seen = "a statement allows every action, or all but some, of every service"
            yield Finding(CALLS, CheckVerdict.WRONG, seen, f"Allow execute-api:Invoke alone, on {_NEEDED}.")
            continue
        others = sorted(action for action in actions if not action.startswith("execute-api:"))
        if others:
            wide = True
            seen = f"it also allows {', '.join(others[:5])}{' and more' if len(others) > 5 else ''}"
            yield Finding(CALLS, CheckVerdict.WARNING, seen, "Use another role for that: jobs hold this one.")
        if not any(matches(action, _INVOKE) for action in actions):
            continue
        if "NotResource" in statement:
            wide = True
            seen = "it may call every API but some (NotResource)"
            yield Finding(CALLS, CheckVerdict.WRONG, seen, f"Name the resources: {_NEEDED}.")
            continue
        invoked += map(str, listed(statement.get("Resource")))
    for resource in invoked:
        if finding := _of_resource(resource):
            wide = True
            yield finding
    if invoked and not wide:
        yield Finding(
            CALLS, CheckVerdict.OK, f"{len(invoked)} resources of execute-api, none of them a decision"
        )


def _of_resource(resource: str) -> Finding | None:
    """Report a resource that is more than a job needs."""
    parts = resource.split(":", 5)
    api, _, call = (parts[5] if len(parts) == 6 else "*").partition("/")
    if resource == "*" or api == "*" or (len(parts) == 6 and "*" in (parts[3], parts[4])):
        seen = f"{resource} lets it call every API"
        return Finding(CALLS, CheckVerdict.WRONG, seen, f"Name the API and its methods: {_NEEDED}.")
    # A wildcard in the place of the stage runs on over method and path.
    taken = [what for method, what in _DECISIONS.items() if matches(call, f"v1/{method}")]
    if not taken:
        return None
    crossing = "its * also stands for /, and so " if call.endswith("/*") else ""
    seen = f"{resource}: {crossing}it takes {', '.join(taken)} too"
    return Finding(CALLS, CheckVerdict.WARNING, seen, f"Name the methods that jobs need: {_NEEDED}.")


def matches(pattern: str, text: str) -> bool:
    """Return whether an IAM pattern matches: `*` is any run of characters, `?` is one."""
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
