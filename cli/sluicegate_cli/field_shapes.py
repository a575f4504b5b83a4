"""The shapes of the documents that commands print, for `--field`. A test compares them with openapi.yaml."""

from collections.abc import Mapping
from typing import Final, TypeAlias

Shape: TypeAlias = Mapping[str, "Shape"]
"""A document's members, each with its own; empty for a value.

`*` is a member of any name, and `0` one at any place of a list.
"""

VALUE: Final[Shape] = {}


def _of(names: str = "", **members: Shape) -> Shape:
    """Return the shape of values with these names, and of the other members."""
    return {**dict.fromkeys(names.split(), VALUE), **members}


def _list(item: Shape = VALUE) -> Shape:
    return {"0": item}


def _open(known: Shape = VALUE, other: Shape = VALUE) -> Shape:
    return {**known, "*": other}


def _anything() -> Shape:
    found: dict[str, Shape] = {}
    found["*"] = found
    return found


_ANYTHING: Final = _anything()
_TARGET: Final = _of("name account region")
_ARTIFACT: Final = _of("sha256")
_STEPS: Final = _list(_of("percent bake"))
_WEIGHTS: Final = _open()
_ALIAS_STATE: Final = _of("version", weights=_WEIGHTS)
_REQUESTER: Final = _open(
    _of(
        "issuer project_id project_path user_id user_login job_id pipeline_id ref ref_type sha webhook gitlab"
        " via actor account principal_id principal_type role session_name org arn environment"
        " environment_action"
    )
)
_ORIGIN: Final = _of(
    "via issuer gitlab project_id project_path pipeline_id job_id ref ref_type sha account role release at"
)
_WATCH: Final = _of(
    "false_rollbacks unclear end_early mode",
    alarms=_list(),
    limits=_list(_of("metric most max_ratio min_samples mode")),
    metrics=_list(_of("name better most max_ratio preset mode")),
    judge=_of("function timeout"),
    fix_forward=_of("silent_within"),
)
_MEASURED: Final = _of("value low high requests hits")
_OBSERVATION: Final = _of(
    "at step percent verdict spend",
    alarms=_list(_of("name state since reason link")),
    findings=_list(
        _of(
            "limit rule bound unit mode verdict message needed",
            new=_MEASURED,
            old=_MEASURED,
            ratio=_of("value low high"),
        )
    ),
)

DEPLOYMENT: Final[Shape] = {
    **_of(
        "id revision status final action function stage from release description version weight rule gate"
        " step smoke created_at updated_at since until finished_at"
    ),
    "target": _TARGET,
    "artifact": _ARTIFACT,
    "built": _ORIGIN,
    "unusable": _list(_of("version code message")),
    "alias": _of("name outcome", original=_ALIAS_STATE, current=_ALIAS_STATE),
    "steps": _STEPS,
    "watch": _WATCH,
    "approval": _of("expires unapproved_percent proposed decision rule reason", by=_REQUESTER),
    "fix_forward": _of("reason silent_by", overlooked=_list(_of("name since reason link silent_at"))),
    "would_have": _list(_of("limit at message step look percent")),
    "abort_proposed": _of("at reason", by=_REQUESTER),
    "requested_by": _REQUESTER,
    "reason": _of("code message", data=_ANYTHING),
    "observation": _OBSERVATION,
    "observations": _list(_OBSERVATION),
    "timeline": _list(_of("seq at status message")),
    # The last three are the client's own.
    "links": _of("self board job commit pipeline"),
}

DRY_RUN: Final = _of(
    "dry_run allowed rule action version busy deployment",
    plan=_of(
        "alias smoke approval unapproved_percent proposed requires order gate",
        target=_TARGET,
        steps=_STEPS,
        watch=_WATCH,
    ),
    fix_forward=_of("reason", alarms=_list()),
    not_checked=_list(),
)

_DRIFT: Final = _of("since", findings=_list(_of("kind code message", data=_ANYTHING)))
_PRUNING: Final = _list(
    _of(
        "at dry_run left_out",
        target=_TARGET,
        versions=_list(_of("version", keep=_list(_of("reason alias")))),
        deleted=_list(),
    )
)
_SERVING: Final = _of(
    "version alias deployment sha ref release since",
    drift=_DRIFT,
    artifact=_ARTIFACT,
    weights=_WEIGHTS,
    target=_TARGET,
    built=_ORIGIN,
    moved_by=_of(
        "action via actor issuer gitlab project_path user_login job_id ref sha account principal_id role"
        " session_name"
    ),
    by=_of("project_path user_login"),
)

LISTED_FUNCTION: Final = _of("function", stages=_open(other=_SERVING))

FUNCTION: Final = {**LISTED_FUNCTION, "pruning": _PRUNING}

VERSIONS: Final = _of("function", pruning=_PRUNING)

HOLDS: Final = _of(
    "stage",
    holds=_list(
        _of(
            "id rule reason since",
            functions=_list(),
            by=_open(
                _of("via actor project_path user_login job_id account principal_id role session_name"),
            ),
        )
    ),
)

ENDED: Final = _of("ended")

IDENTITY: Final = _of(
    "via actor issuer project_id expires_at signed_in_at principal principal_id principal_type account org"
    " role session access_key",
    claims=_open(other=_list()),
    rules=_list(_of("name", actions=_list(), functions=_list(), stages=_list())),
    # The client's own: the API does not know when they expire.
    credentials=_of("source expires_at"),
)

LIMITS: Final = _of(limits=_list(_of("limit rollouts would_have_stopped")))
"""What `history --would-have` says of the whole list."""

_CALL: Final = _of(
    "id at operation event_name source user principal role source_identity error address agent",
    details=_open(),
)
_JUDGED: Final = {**_CALL, **_of("deployment why")}

TRAIL: Final = _of(
    "role source_identity complete",
    deployment=DEPLOYMENT,
    target=_TARGET,
    window=_of("since until"),
    sessions=_list(_CALL),
    calls=_list(_JUDGED),
    others=_list(_JUDGED),
    unexplained=_list(_JUDGED),
    notes=_list(),
)
