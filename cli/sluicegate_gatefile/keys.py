"""Every key that a gate file can have: the one declaration from which it is read and its schema is made."""

from types import MappingProxyType

from sluicegate.deployment import strategy
from sluicegate.deployment.plan import Metric, NoData
from sluicegate.gate import alarm_names, patterns, rollout_settings, webhooks
from sluicegate.gate.rules import ACTIONS
from sluicegate.oidc import claims
from sluicegate.oidc.identity import FEEDBACK_SECRETS
from sluicegate.text import clean
from sluicegate_gatefile.shape import (
    Choice,
    Flag,
    Items,
    Json,
    Later,
    Names,
    Number,
    OrNone,
    Record,
    Shape,
    Span,
    Text,
    Version,
)

ID = r"[1-9][0-9]*"

# For editors, what patterns.compile says with better messages.
_STARS = rf"(?![\s\S]*\*\*\*)[^*]*(?:\*+[^*]*){{0,{patterns.MAX_WILDCARDS}}}"


def _bad_pattern(text: str) -> str | None:
    try:
        patterns.compile(text)
    except patterns.PatternError as error:
        return str(error)
    return None


def _unprintable(text: str) -> str | None:
    return None if clean(text) == text else "has characters that do not print"


def _pattern(about: str) -> Text:
    return Text(
        about=f"{about} `*` is any run of characters but `/`, `**` any run; the whole value must match.",
        form=rf"(?=[\s\S]{{1,{patterns.MAX_LENGTH}}}$){_STARS}",
        wants="a pattern, which is never empty",
        complaint=_bad_pattern,
    )


_ALIAS = Text(
    about="The name of a Lambda alias.",
    form=r"(?![0-9]+$)[A-Za-z0-9_-]{1,128}",
    wants="a Lambda alias: letters, digits, `-` and `_`, and not digits alone",
)
_STAGE = Text(
    about="The name of a stage.",
    form="[A-Za-z0-9_-]{1,64}",
    wants="a stage's name: up to 64 letters, digits, `-` and `_`",
)
_SHORT_NAME = Text(
    about="A name to refer to it by.",
    form=webhooks.NAME,
    wants="a short name: letters, digits, `.`, `-` and `_`",
)
_TITLE = Text(
    about="A name for people, as records and refusals show it.",
    form=r"(?! )[\s\S]{1,128}(?<! )",
    wants="a name of up to 128 characters without spaces around it",
    complaint=_unprintable,
)
_FUNCTION = Text(
    about="The name of a Lambda function.",
    form=rollout_settings.FUNCTION,
    wants="a function's name: up to 64 letters, digits, `-` and `_`",
)
_FUNCTIONS = Text(
    about="A function's name, or a pattern of names with `*`.",
    form=rf"(?=[A-Za-z0-9_*-]{{1,{patterns.MAX_LENGTH}}}$){_STARS}",
    wants="a function's name or pattern: letters, digits, `-` and `_`, with `*` for any run of them",
    complaint=_bad_pattern,
)
_ISSUER = Text("The name of an issuer of this file; may be left out while there is only one.")
_ACTION = Choice("What is asked for.", ACTIONS)

_CLAIMS = MappingProxyType(
    {
        "project_id": "The project's id. Pin it: a path can be freed and taken by somebody else, an id not.",
        "namespace_id": "The id of the project's group or user.",
        "project_path": "The project's path; A-Z and a-z are equal. Never a pin.",
        "namespace_path": "The path of the project's group or user; A-Z and a-z are equal. Never a pin.",
        "ref": "The branch or tag; say which with `ref_type`.",
        "ref_type": "`branch` or `tag`.",
        "ref_path": "The full ref, such as `refs/tags/v1.0.0`.",
        "ref_protected": '"true" where the branch or tag is protected.',
        "pipeline_source": "What started the pipeline. Not named, it must be `push` or `web`.",
        "environment": "The job's environment. Anybody can write it: ask for `environment_protected` too.",
        "environment_protected": '"true" where the environment is protected.',
        "groups_direct": "Groups of which the user is a direct member; one that matches is enough.",
        "user_id": "The id of the user who runs the job.",
        "event": "Of a webhook's delivery only: `tag_push` or `pipeline`.",
        "sub": "The token's subject. A project can change what it is made of; never a pin.",
    }
)
_REFUSED_CLAIMS = dict.fromkeys(claims.NEVER_USABLE, "cannot be in a rule") | {
    "iss": "is checked for every token: name the issuer with `issuer`",
    "aud": "is checked for every token: see the issuer's `audience`",
    "jti": "is different in every token; to refuse one token, use `deny`",
}
_CLAIM_NAMES = (*_CLAIMS, *sorted(claims.READABLE - _CLAIMS.keys()))


def _about(claim: str) -> str:
    return _CLAIMS.get(claim, f"GitLab's claim `{claim}`.")


_RULE_CLAIMS = Record(
    about="What the token must say: for each claim a pattern, or a list of which one must match.",
    members={
        name: Items(_about(name), _pattern(_about(name)), single=True, least=1) for name in _CLAIM_NAMES
    },
    refused=_REFUSED_CLAIMS,
)

_BAKE = Span("How long the new version is watched before the next step.", most=strategy.MAX_BAKE)
_STRATEGY_KEYS: dict[str, Shape] = {
    "type": Choice(
        "`all-at-once`: the alias is moved in one step. `canary`: a share first, then all. `linear`: a share "
        "more each time. `steps`: as they are listed.",
        strategy.TYPES,
    ),
    "percent": Number("The canary's share of the traffic; of `linear`, how much more each time.", 1, 99),
    "bake": _BAKE,
    "every": Span("Of `linear`: the time between two moves.", most=strategy.MAX_BAKE),
    "steps": Items(
        "Of `steps`: each with more percent than the one before, the last with 100.",
        Record(
            about="A step; only the last may go without a `bake`.",
            members={"percent": Number("The new version's share of the traffic.", 1, 100), "bake": _BAKE},
            required=("percent",),
        ),
        least=1,
        most=strategy.MAX_STEPS,
    ),
}
_ABOUT_STRATEGY = "How traffic moves to the new version."

_SMOKE = Record(
    about="What has to go well before traffic reaches a new version: it answers a payload, or a hook agrees.",
    members={
        "payload": Json(
            "The event that the version is invoked with; `{}` if left out.", rollout_settings.MAX_PAYLOAD
        ),
        "expect": Json("What its answer must contain.", rollout_settings.MAX_PAYLOAD),
        "hook": Text("A function that is told the version, and decides.", _FUNCTION.form, _FUNCTION.wants),
        "timeout": Span("How long it may take; 10s if left out.", most=rollout_settings.MAX_SMOKE),
    },
)


def _limit(about: str, metric: Metric, key: str, about_key: str) -> Record:
    most, ratio = rollout_settings.MOST[metric], rollout_settings.MAX_RATIO
    return Record(
        about=about,
        members={
            key: Number(about_key, rollout_settings.LEAST, most, whole=False),
            "max_ratio": Number("The most, against the version that is replaced.", 1, ratio, whole=False),
            "min_samples": Number(
                "Fewer requests of the new version say nothing; 100 if left out.",
                1,
                rollout_settings.MAX_SAMPLES,
            ),
        },
    )


_WATCH = Record(
    about="What rolls a deployment back while it bakes: alarms, and limits on Lambda's own metrics.",
    members={
        "alarms": Items(
            "CloudWatch alarms, by name.",
            Text(
                "An alarm's name. `{function}`, `{stage}` and `{alias}` are filled in.",
                form=alarm_names.FORM,
                wants="an alarm's name",
                complaint=lambda name: alarm_names.complaint(name) or _unprintable(name),
            ),
            most=alarm_names.MAX_ALARMS,
        ),
        "errors": _limit(
            "Failed invocations.", Metric.ERRORS, "max_percent", "The most, of all invocations."
        ),
        "throttles": _limit(
            "Throttled requests.", Metric.THROTTLES, "max_percent", "The most, of all requests."
        ),
        "duration_p95": _limit(
            "How long 95 of 100 invocations take at most.", Metric.DURATION_P95, "max_ms", "Milliseconds."
        ),
        "no_data": Choice(
            "A bake that ends with too few requests: `pass` (the default), `fail`, or `extend` it.",
            tuple(each.value for each in NoData),
        ),
    },
)
_ROLLOUT: dict[str, Shape] = {
    "smoke": _SMOKE,
    "watch": _WATCH,
    "approval": Record(
        about="A second person has to agree before anything of the new code reaches the target.",
        members={
            "expires": Span(
                "How long it waits for them; 24h if left out.",
                rollout_settings.APPROVAL[0],
                rollout_settings.APPROVAL[1],
            )
        },
    ),
    "requires": Record(
        about="What must have succeeded first.",
        members={
            "succeeded_in": Text("The stage where the digest must have succeeded.", _STAGE.form, _STAGE.wants)
        },
        required=("succeeded_in",),
    ),
    "order": Choice(
        "`pipeline`: an older pipeline of the same project cannot overwrite a newer one.", ("pipeline",)
    ),
}
_MAX_AGE = Span("Oldest ID token, counted from `iat`, that is accepted here.")
_OF_THE_STAGE = "belongs to the stage itself, under `stages`: it cannot differ from function to function"

_FEEDBACK = Record(
    about="What this GitLab is told of its projects' deployments; left out, nothing.",
    members={
        "secret": Text(
            "The secret in AWS Secrets Manager that holds an access token with the scope `api`.",
            form=rf"{FEEDBACK_SECRETS}[A-Za-z0-9/_+=.@-]{{1,128}}",
            wants=f"the name of a secret, which begins with {FEEDBACK_SECRETS}",
        ),
        "commit_status": Flag("Whether each deployment is a status of its commit; true if left out."),
        "deployment": Flag(
            "Whether what a webhook started is a deployment of the environment that is called after the "
            "stage; true if left out."
        ),
    },
    required=("secret",),
)

_ISSUER_ENTRY = Record(
    about="A GitLab whose ID tokens are accepted.",
    members={
        "url": Text(
            "The GitLab's URL, exactly as its tokens say in `iss`: https, no slash at the end.",
            form=r"https?://[^\s?#@]*[^\s?#@/]",
            wants="an https URL without a slash at the end, user, query or fragment",
            complaint=_unprintable,
        ),
        "audience": Text(
            "The `aud` that jobs ask their token for: a text of your own that no other service accepts.",
            form=r"[\x21-\x7e]{1,256}",
            wants="an audience: up to 256 printable ASCII characters without spaces",
        ),
        "jwks": Text(
            "`discovery` (the default): keys are fetched from the issuer. Or a file beside this one with its "
            "JWK set, for a GitLab that AWS cannot reach.",
            form=r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))(?!.*:)[^\\\x00-\x1f]+",
            wants="`discovery` or the path of a file beside this one",
        ),
        "max_age": Span("Oldest ID token, counted from `iat`, that is accepted; `exp` limits it too."),
        "feedback": _FEEDBACK,
    },
    required=("url", "audience"),
)

_STAGE_ENTRY = Record(
    about="A stage: a named alias on functions.",
    members={
        "alias": Text("The Lambda alias; the stage's name if left out.", _ALIAS.form, _ALIAS.wants),
        "target": Later("target", "Another account, region or role; left out, it is the stack's own."),
        "protected": Flag('Rules that grant it must pin project_id and ref_protected: "true".'),
        "max_age": _MAX_AGE,
        "strategy": Record(_ABOUT_STRATEGY, _STRATEGY_KEYS, required=("type",)),
        **_ROLLOUT,
    },
)

_FUNCTION_ENTRY = Record(
    about="What is different for these functions.",
    members={
        "stages": Names(
            "By stage, what replaces the stage's own; mappings merge, lists replace.",
            key=_STAGE,
            item=Record(
                "What replaces the stage's own.",
                {
                    "alias": _ALIAS,
                    "max_age": _MAX_AGE,
                    "strategy": Record(_ABOUT_STRATEGY, _STRATEGY_KEYS),
                    **{name: OrNone(shape) for name, shape in _ROLLOUT.items()},
                },
                refused={"protected": _OF_THE_STAGE, "target": _OF_THE_STAGE},
            ),
        ),
        "images": Later("images", "Repositories of which images may be deployed."),
    },
)

_RULE = Record(
    about="Grants actions to the identities that match it.",
    members={
        "name": _TITLE,
        "issuer": _ISSUER,
        "via": Choice("How the identity is proven.", ("id_token", "webhook"), ("iam",)),
        "claims": _RULE_CLAIMS,
        "allow": Record(
            about="What it grants: each of the actions on each of the functions in each of the stages.",
            members={
                "actions": Items("Actions; each includes reading.", _ACTION, least=1),
                "functions": Items("Functions' names or patterns.", _FUNCTIONS, least=1),
                "stages": Items("Stages' names.", _STAGE, least=1),
            },
            required=("actions", "functions", "stages"),
        ),
    },
    required=("name", "claims", "allow"),
)


def _ids(about: str) -> Items:
    number = Text(about, ID, 'an id, which is digits such as "4213"')
    return Items(about, number, single=True, least=1)


_DENY = Record(
    about="Refuses the identities that have all of these, before any rule is read.",
    members={
        "issuer": _ISSUER,
        "project_id": _ids("The project's id, or a list of them."),
        "user_id": _ids("The user's id, or a list of them."),
        "pipeline_id": _ids("The pipeline's id, or a list of them."),
        "jti": Items(
            "The token's id, or a list of them.",
            Text("A token's id.", r"[^*]+", "a token's id; there are no patterns here"),
            single=True,
            least=1,
        ),
    },
)

_WEBHOOK_ENTRY = Record(
    about="A webhook of GitLab's, and what its deliveries deploy.",
    members={
        "issuer": _ISSUER,
        "project_id": Text("The project's id.", ID, 'an id, which is digits such as "4213"'),
        "scheme": Choice(
            "How a delivery proves where it is from; no other is tried. `signature`: GitLab's signing token. "
            "`token`: its secret token, in the clear. `id_token`: a job's ID token.",
            webhooks.SCHEMES,
        ),
        "secret": Text(
            "The secret's name in Secrets Manager, under `sluicegate/webhooks/`; not for `id_token`.",
            webhooks.SECRET,
            "a name such as `sluicegate/webhooks/orders`: that prefix, then letters, digits and `_+=.@-`",
        ),
        "event": Choice(
            "`tag_push`: a tag is pushed, or its pipeline succeeds. `pipeline`: a pipeline succeeds.",
            webhooks.EVENTS,
        ),
        "status": Choice("Of `pipeline`: its status.", (webhooks.STATUS,)),
        "ref": _pattern("The tag, or of `pipeline` the branch or tag, without `refs/tags/`."),
        "deploy": Record(
            about="What is deployed: the artifact that a job of the project uploaded for that commit.",
            members={"function": _FUNCTION, "stage": _STAGE},
            required=("function", "stage"),
        ),
    },
    required=("project_id", "scheme", "event", "ref", "deploy"),
)

_CLAIM_VALUE = Text("What the token says.")
_TEST = Record(
    about="A question to the rules, and the answer that it must have.",
    members={
        "name": _TITLE,
        "identity": Record(
            about="The token, or the delivery: its issuer and claims. A claim that is not here is not in it.",
            members={
                "issuer": _ISSUER,
                "jti": Text("The token's id."),
                "via": Choice("How the identity is proven.", ("id_token", "webhook")),
                **{name: _CLAIM_VALUE for name in _CLAIM_NAMES if name not in claims.LISTS},
                **{name: Items(_about(name), _CLAIM_VALUE, single=True) for name in sorted(claims.LISTS)},
            },
        ),
        "request": Record(
            about="What it asks for.",
            members={"action": _ACTION, "function": _FUNCTION, "stage": _STAGE},
            required=("action", "function", "stage"),
        ),
        "expect": Record(
            about="The answer.",
            members={"allowed": Flag("Whether a rule allows it."), "rule": Text("The rule that decides.")},
            required=("allowed",),
        ),
    },
    required=("identity", "request", "expect"),
)

GATE_FILE = Record(
    about="Sluicegate's gate file: who may deploy which function to which stage.",
    members={
        "version": Version("The format of this file.", 1),
        "issuers": Names("GitLabs whose ID tokens are accepted.", _SHORT_NAME, _ISSUER_ENTRY, least=1),
        "targets": Later("targets", "Other accounts, regions and roles.", section=True),
        "stages": Names("Stages, by name.", _STAGE, _STAGE_ENTRY, least=1),
        "functions": Names(
            "The functions that can be deployed. An exact name beats the longest pattern.",
            _FUNCTIONS,
            _FUNCTION_ENTRY,
        ),
        "rules": Items("Who may do what. The first rule that grants all that is asked decides.", _RULE),
        "deny": Items("Who may do nothing at all, whatever the rules say.", _DENY),
        "webhooks": Names("Webhooks that start deployments, by name.", _SHORT_NAME, _WEBHOOK_ENTRY),
        "tests": Items("Questions to the rules, asked by `sluicegate check` and before each build.", _TEST),
    },
    required=("version", "issuers", "stages", "functions", "rules"),
)
