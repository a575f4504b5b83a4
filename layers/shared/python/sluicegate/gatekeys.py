"""Every key that a gate file can have: the one declaration from which it is read and its schema is made."""

from types import MappingProxyType

from sluicegate import gitlab, patterns
from sluicegate.gateshape import Choice, Flag, Items, Later, Names, Record, Shape, Span, Text, Version
from sluicegate.rules import ACTIONS
from sluicegate.text import clean

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
    form=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
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
    form="[A-Za-z0-9_-]{1,64}",
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
        "sub": "The token's subject. A project can change what it is made of; never a pin.",
    }
)
_REFUSED_CLAIMS = dict.fromkeys(gitlab.NEVER_USABLE, "cannot be in a rule") | {
    "iss": "is checked for every token: name the issuer with `issuer`",
    "aud": "is checked for every token: see the issuer's `audience`",
    "jti": "is different in every token; to refuse one token, use `deny`",
}
_CLAIM_NAMES = (*_CLAIMS, *sorted(gitlab.READABLE - _CLAIMS.keys()))


def _about(claim: str) -> str:
    return _CLAIMS.get(claim, f"GitLab's claim `{claim}`.")


_RULE_CLAIMS = Record(
    about="What the token must say: for each claim a pattern, or a list of which one must match.",
    members={
        name: Items(_about(name), _pattern(_about(name)), single=True, least=1) for name in _CLAIM_NAMES
    },
    refused=_REFUSED_CLAIMS,
)

_STRATEGY = Record(
    about="How traffic moves to the new version.",
    members={
        "type": Choice(
            "`all-at-once`: the alias is moved in one step.", ("all-at-once",), ("canary", "linear")
        ),
        "percent": Later("percent", "Share of traffic per step."),
        "bake": Later("bake", "How long a step is watched."),
    },
    required=("type",),
)
_OVERRIDABLE: dict[str, Shape] = {
    "alias": _ALIAS,
    "max_age": Span("Oldest ID token, counted from `iat`, that is accepted here."),
    "strategy": _STRATEGY,
    "requires": Later("requires", "What must have succeeded first."),
    "smoke": Later("smoke", "An invocation of the new version before traffic reaches it."),
    "watch": Later("watch", "Alarms and metrics that roll a deployment back."),
    "approval": Later("approval", "Wait for a second person."),
    "order": Later("order", "Which pipeline may overwrite which."),
}
_OF_THE_STAGE = "belongs to the stage itself, under `stages`: it cannot differ from function to function"

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
    },
    required=("url", "audience"),
)

_STAGE_ENTRY = Record(
    about="A stage: a named alias on functions.",
    members={
        "alias": Text("The Lambda alias; the stage's name if left out.", _ALIAS.form, _ALIAS.wants),
        "target": Later("target", "Another account, region or role; left out, it is the stack's own."),
        "protected": Flag('Rules that grant it must pin project_id and ref_protected: "true".'),
        **{name: shape for name, shape in _OVERRIDABLE.items() if name != "alias"},
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
                _OVERRIDABLE,
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
        "via": Choice("How the identity is proven.", ("id_token",), ("iam", "webhook")),
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

_CLAIM_VALUE = Text("What the token says.")
_TEST = Record(
    about="A question to the rules, and the answer that it must have.",
    members={
        "name": _TITLE,
        "identity": Record(
            about="The token: its issuer and claims. A claim that is not here is not in the token.",
            members={
                "issuer": _ISSUER,
                "jti": Text("The token's id."),
                **{name: _CLAIM_VALUE for name in _CLAIM_NAMES if name not in gitlab.LISTS},
                **{name: Items(_about(name), _CLAIM_VALUE, single=True) for name in sorted(gitlab.LISTS)},
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
        "webhooks": Later("webhooks", "Webhooks that start deployments.", section=True),
        "tests": Items("Questions to the rules, asked by `sluicegate check` and before each build.", _TEST),
    },
    required=("version", "issuers", "stages", "functions", "rules"),
)
