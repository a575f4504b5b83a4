"""Read and check paths, query strings and headers. A malformed path is None: the endpoint answers 404."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, get_args

from sluicegate.deployment.model import Status
from sluicegate.deployment.ulid import is_id
from sluicegate.gateway.problems import invalid_request
from sluicegate.gateway.requests.fields import (
    FUNCTION,
    STAGE,
    FieldCheck,
    check_cursor,
    check_function,
    check_hold,
    check_limit,
    check_number,
    check_stage,
    one_of,
    text_of,
)
from sluicegate.oidc.identity import Actor

MAX_WAIT: Final = 20
"""Seconds that `GET /deployments/{id}` may wait for a new revision."""

PathParameters: TypeAlias = Mapping[str, str]
QueryParameters: TypeAlias = Mapping[str, Sequence[str]]

_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)


@dataclass(frozen=True)
class ReadRequest:
    """A deployment, as soon as its revision is past `after`; `wait` in seconds."""

    id: str
    after: int
    wait: int
    observations: bool = False


@dataclass(frozen=True)
class ListRequest:
    """Deployments, newest first; those after the cursor."""

    function: str | None
    stage: str | None
    status: Status | None
    release: str | None
    actor: str | None
    limit: int
    cursor: str | None


def deployment_id(path: PathParameters) -> str | None:
    """Return the deployment id from the path, or None if it is malformed."""
    return path["id"] if is_id(path.get("id", "")) else None


def stage_name(path: PathParameters) -> str | None:
    """Return the stage from the path, or None if it is malformed."""
    name = path.get("stage", "")
    return name if STAGE.fullmatch(name) else None


def function_name(path: PathParameters) -> str | None:
    """Return the function from the path, or None if it is malformed."""
    name = path.get("name", "")
    return name if FUNCTION.fullmatch(name) else None


def idempotency_key(values: Sequence[str]) -> str | None:
    """Return the header `Idempotency-Key`: at most one value, 1 to 128 printable ASCII characters."""
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise invalid_request(
            [("", "Idempotency-Key must be one value of 1 to 128 printable ASCII characters")]
        )
    return values[0]


def read(path: PathParameters, query: QueryParameters) -> ReadRequest | None:
    """Read the query of `GET /deployments/{id}`; None if the id is malformed."""
    after, wait, observations = _values(
        query, after=check_number, wait=check_number, observations=one_of("all")
    )
    if not is_id(path.get("id", "")):
        return None
    return ReadRequest(path["id"], int(after or 0), min(int(wait or 0), MAX_WAIT), observations is not None)


def listing(query: QueryParameters) -> ListRequest:
    """Read the query of `GET /deployments`."""
    function, stage, status, release, actor, limit, cursor = _values(
        query,
        function=check_function,
        stage=check_stage,
        status=one_of(*Status),
        release=text_of(128),
        actor=one_of(*get_args(Actor)),
        limit=check_limit,
        cursor=check_cursor,
    )
    wanted = Status(status) if status else None
    return ListRequest(function, stage, wanted, release, actor, int(limit or 20), cursor)


def functions(query: QueryParameters) -> tuple[str | None, str | None]:
    """Read the query of `GET /functions`: the stage, and the cursor."""
    stage, cursor = _values(query, stage=check_stage, cursor=check_cursor)
    return stage, cursor


def release(query: QueryParameters) -> tuple[str | None, bool]:
    """Read the query of `DELETE /stages/{stage}/hold`: the hold to release, and whether it is a dry run."""
    named, dry_run = _values(query, id=check_hold, dry_run=one_of("true", "false"))
    return named, dry_run == "true"


def issuer(query: QueryParameters) -> str | None:
    """Read the query of `DELETE /sessions/{user}`: an issuer's name or URL."""
    return _values(query, issuer=text_of(256))[0]


def no_query(query: QueryParameters) -> None:
    """Refuse every parameter."""
    _values(query)


def _values(query: QueryParameters, **checks: FieldCheck) -> tuple[str | None, ...]:
    errors = [(name, "is not a known parameter") for name in query if name not in checks]
    values = []
    for name, check in checks.items():
        given = query.get(name, [])
        wrong = "is given more than once" if len(given) > 1 else check(given[0]) if given else None
        if wrong:
            errors.append((name, wrong))
        values.append(given[0] if given else None)
    if errors:
        raise invalid_request(errors)
    return tuple(values)
