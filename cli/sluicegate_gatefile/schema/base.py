"""What the parts of the gate file's schema share: sections with known keys, and texts of a form."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from sluicegate.gate import alarm_names, patterns, rollout_settings, webhooks
from sluicegate.gate.rules import RuleAction
from sluicegate.text import clean
from sluicegate_gatefile.diagnostics import did_you_mean, nearest
from sluicegate_gatefile.fields import FLAG, TEXT, Form, details, problem
from sluicegate_gatefile.yaml_source import Scalar

ID: Final = r"[1-9][0-9]*"

# For editors, what patterns.compile says with better messages.
_STARS = rf"(?![\s\S]*\*\*\*)[^*]*(?:\*+[^*]*){{0,{patterns.MAX_WILDCARDS}}}"
ABOUT_PATTERN = "`*` is any run of characters except `/`, `**` any run; the whole value must match."


def _bad_pattern(text: str) -> str | None:
    try:
        patterns.compile(text)
    except patterns.PatternError as error:
        return str(error)
    return None


def unprintable(text: str) -> str | None:
    return None if clean(text) == text else "has unprintable characters"


AnyText = Annotated[str, TEXT, Form()]
Flag = Annotated[bool, FLAG]
Id = Annotated[str, TEXT, Form(ID, 'an id, which is digits such as "4213"')]
AliasName = Annotated[
    str,
    TEXT,
    Form(
        r"(?![0-9]+$)[A-Za-z0-9_-]{1,128}",
        "a Lambda alias: letters, digits, `-` and `_`, and not digits alone",
    ),
]
StageName = Annotated[
    str,
    TEXT,
    Form("[A-Za-z0-9_-]{1,64}", "a stage's name: up to 64 letters, digits, `-` and `_`"),
    Field(description="The name of a stage."),
]
ShortName = Annotated[
    str,
    TEXT,
    Form(webhooks.NAME, "a short name: letters, digits, `.`, `-` and `_`"),
    Field(description="A name to refer to it by."),
]
Title = Annotated[
    str,
    TEXT,
    Form(
        r"(?! )[\s\S]{1,128}(?<! )",
        "a name of up to 128 characters without spaces around it",
        unprintable,
    ),
    Field(description="A name for people, as shown in records and refusals."),
]
FunctionName = Annotated[
    str,
    TEXT,
    Form(rollout_settings.FUNCTION, "a function's name: up to 64 letters, digits, `-` and `_`"),
    Field(description="The name of a Lambda function."),
]
FunctionPattern = Annotated[
    str,
    TEXT,
    Form(
        rf"(?=[A-Za-z0-9_*-]{{1,{patterns.MAX_LENGTH}}}$){_STARS}",
        "a function's name or pattern: letters, digits, `-` and `_`, with `*` for any run of them",
        _bad_pattern,
    ),
    Field(description="A function's name, or a pattern of names with `*`."),
]
ClaimPattern = Annotated[
    str,
    TEXT,
    Form(
        rf"(?=[\s\S]{{1,{patterns.MAX_LENGTH}}}$){_STARS}",
        "a pattern, which is never empty",
        _bad_pattern,
    ),
]
AlarmName = Annotated[
    str,
    TEXT,
    Form(alarm_names.FORM, "an alarm's name", lambda name: alarm_names.complaint(name) or unprintable(name)),
    Field(description="An alarm's name. `{function}`, `{stage}` and `{alias}` are filled in."),
]
IssuerName = Annotated[
    str,
    TEXT,
    Form(),
    Field(description="The name of an issuer of this file; may be omitted while there is only one."),
]
ActionName = Annotated[RuleAction, TEXT, Field(description="What is asked for.")]


class Section(BaseModel):
    """A mapping with known keys. `refused` says of keys that do not belong here why not."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    refused: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler["Section"]) -> "Section":
        """Read a mapping, or nothing where no key is required, and say what is known here."""
        optional = not any(field.is_required() for field in cls.model_fields.values())
        try:
            return handler({} if optional and isinstance(value, Scalar) and value.empty else value)
        except ValidationError as error:
            found = details(error)
        meant = []
        for each in found:
            if each["type"] == "extra_forbidden" and len(each.get("loc", ())) == 1:
                name = str(each["loc"][0])
                each["type"] = cls._unknown(name)
                meant.append((nearest(name, cls._known()),))
        left = [each for each in found if each["type"] != "missing" or each.get("loc") not in meant]
        raise ValidationError.from_exception_data(cls.__name__, left)

    @classmethod
    def _known(cls) -> tuple[str, ...]:
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def _unknown(cls, name: str) -> Any:
        if name in cls.refused:
            return problem("key", f"`{name}` {cls.refused[name]}")
        known = cls._known()
        hint = did_you_mean(name, known) or f"; known keys: {', '.join(known)}"
        return problem("unknown_key", f"there is no key `{name}` here{hint}")

    def given(self) -> dict[str, Any]:
        """Return the keys that the file gives, as plain values."""
        return self.model_dump(exclude_unset=True)
