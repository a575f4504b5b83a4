"""Types of single values: read from YAML's scalars, with messages that say what to write instead.

A field gets a `yaml_source.Value` and makes a plain value of it. Each type also gives its JSON Schema, for
editors.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from sluicegate.deployment.durations import DURATION, duration, parse_duration
from sluicegate_gatefile.yaml_source import Path, Scalar, described, quoted

NONE: Final = "none"

# JSON's spellings (RFC 8259), of numbers that every reader takes.
_JSON = re.compile(r"true|false|null|-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?")


def problem(code: str, message: str) -> PydanticCustomError:
    """Return an error whose message is for the user as it is; `code` is a diagnostic's."""
    return PydanticCustomError(code, "{message}", {"message": message})


def details(error: ValidationError) -> list[InitErrorDetails]:
    """Return what an error holds, to raise it again with changes."""
    return [
        InitErrorDetails(
            type=problem(found["type"], found["ctx"]["message"])
            if "message" in found.get("ctx", {})
            else found["type"],
            loc=found["loc"],
            input=found["input"],
            ctx=found.get("ctx", {}),
        )
        for found in error.errors(include_url=False)
    ]


def _text(value: object) -> str:
    if isinstance(value, str):  # a key
        return value
    if isinstance(value, Scalar) and value.kind == "string":
        return value.text
    if isinstance(value, Scalar) and value.kind != "null":
        raise problem(
            "unquoted", f"expected a string, but without quotes this is {described(value)}: {quoted(value)}"
        )
    raise problem("unquoted", f"expected a string, but this is {described(value)}")


def _flag(value: object) -> bool:
    if isinstance(value, Scalar) and value.kind == "boolean" and value.text in ("true", "false"):
        return value.text == "true"
    raise problem("type", "write true or false here, without quotes")


TEXT: Final = BeforeValidator(_text)
"""For `str` and `Literal`: the text of a scalar that no reader takes for something else."""

FLAG: Final = BeforeValidator(_flag)
"""For `bool`: true or false, without quotes."""


@dataclass(frozen=True)
class Form:
    """For a TEXT whose whole is of a form. `complaint` says what else is wrong with one, for the message."""

    pattern: str = r"[\s\S]+"
    wants: str = "a non-empty string"
    complaint: Callable[[str], str | None] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, text: str) -> str:
        wrong = self.complaint(text) if self.complaint else None
        if not wrong and not re.fullmatch(self.pattern, text):
            wrong = f"is not {self.wants}"
        if wrong:
            raise problem("value", f"`{text}` {wrong}")
        return text


@dataclass(frozen=True)
class Exactly:
    """For an `int` literal: one whole number, without quotes."""

    number: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def _read(self, value: object) -> int:
        if isinstance(value, Scalar) and value.kind == "number" and value.text == str(self.number):
            return self.number
        raise problem("type", f"write {self.number} here, without quotes; there is no other version")


@dataclass(frozen=True)
class Number:
    """For `int`, or for `float` with up to three decimals: from `least` to `most`, without quotes."""

    least: float
    most: float
    whole: bool = True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.least, "maximum": self.most}

    def _read(self, value: object) -> int | float:
        form = r"0|[1-9][0-9]{0,8}" if self.whole else r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?"
        kind = "a whole number" if self.whole else "a number with at most three decimals,"
        wants = f"{kind} from {self.least:g} to {self.most:.0f}"
        if not (isinstance(value, Scalar) and value.kind == "number" and re.fullmatch(form, value.text)):
            raise problem("type", f"write {wants} here, without quotes")
        number = int(value.text) if self.whole else float(value.text)
        if not self.least <= number <= self.most:
            raise problem("value", f"`{value.text}` is not {wants}")
        return number


@dataclass(frozen=True)
class Duration:
    """For `int`: a text such as "300s", "5m", "1h" or "2d", read as seconds, from `least` to `most`."""

    least: int = 1
    most: int = 31 * 86_400

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "type": "string", "pattern": f"^{DURATION.pattern}$"}

    def _read(self, value: object) -> int:
        if isinstance(value, Scalar) and value.kind != "string":
            raise problem("type", 'a duration is a string with a unit, such as "5m"')
        text = _text(value)
        seconds = parse_duration(text) or 0
        if not self.least <= seconds <= self.most:
            wants = 'a duration such as "300s", "5m", "1h" or "2d"'
            limits = f"from {duration(self.least)} to {duration(self.most)}"
            raise problem("duration", f"`{text}` is not {wants}, {limits}")
        return seconds


@dataclass(frozen=True)
class Json:
    """For `str`: any value that JSON has, read as compact JSON text of at most `longest` ASCII characters.

    Numbers, true, false and null are themselves without quotes, spelled as JSON spells them.
    """

    longest: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {}

    def _read(self, value: object) -> str:
        wrong: list[InitErrorDetails] = []
        text = json.dumps(_json(value, (), wrong), separators=(",", ":"))
        if wrong:
            raise ValidationError.from_exception_data("JSON", wrong)
        if len(text) > self.longest:
            raise problem("value", f"this is {len(text)} characters of JSON, and the limit is {self.longest}")
        return text


def _json(value: object, path: Path, wrong: list[InitErrorDetails]) -> Any:
    """Return the value as JSON's types; errors go to `wrong`."""
    if isinstance(value, dict):
        return {name: _json(member, (*path, name), wrong) for name, member in value.items()}
    if isinstance(value, list):
        return [_json(item, (*path, i), wrong) for i, item in enumerate(value)]
    if isinstance(value, Scalar) and value.kind == "string":
        return value.text
    if isinstance(value, Scalar) and _JSON.fullmatch(value.text):
        found = json.loads(value.text)
        if not isinstance(found, float) or isfinite(found):
            return found
    if isinstance(value, Scalar) and value.kind != "null":
        message = f"this is not a valid JSON {value.kind}: {quoted(value)}"
        error = problem("unquoted", message)
    else:
        error = problem("type", "there is no value here: write null, or a value")
    wrong.append(InitErrorDetails(type=error, loc=path, input=value))
    return None


@dataclass(frozen=True)
class OrEmpty:
    """For a `list` or `dict`: empty also where nothing is written after the key."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        empty = get_origin(source) or source
        return core_schema.no_info_before_validator_function(
            lambda value: empty() if isinstance(value, Scalar) and value.empty else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        return {**found, "type": [found["type"], "null"]} if "type" in found else found


@dataclass(frozen=True)
class OneOrMany:
    """For a `list`: also one item, without the list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: [value] if isinstance(value, Scalar) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        return {"anyOf": [found["items"], found]}


@dataclass(frozen=True)
class AtMost:
    """For a `list`: how many items it may have. All are read in any case, to report all errors at once."""

    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "maxItems": self.most}

    def _read(self, value: object, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, list) or len(value) <= self.most:
            return handler(value)
        long = problem("value", f"the list has {len(value)} entries; the limit is {self.most}")
        try:
            handler(value)
        except ValidationError as error:
            found = [InitErrorDetails(type=long, input=value), *details(error)]
            raise ValidationError.from_exception_data("list", found) from None
        raise long


@dataclass(frozen=True)
class OrName:
    """For a section with a `name`: also its name alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: {"name": value} if isinstance(value, Scalar) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        name = handler.resolve_ref_schema(found)["properties"]["name"]
        return {"anyOf": [name, found]}


@dataclass(frozen=True)
class OrNone:
    """For a union with `Literal["none"]`: the word `none` takes away what else would be there."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._read,
            handler.generate_schema(get_args(source)[0]),
            serialization=core_schema.plain_serializer_function_ser_schema(_plain),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"const": NONE}, handler(schema)]}

    def _read(self, value: object, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Scalar) and value.kind == "string" and value.text == NONE:
            return NONE
        return handler(value)


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


@dataclass(frozen=True)
class Later:
    """For a key of a later version, which `schema` reports: anything. A `section` may be there if empty."""

    section: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": ["object", "null"], "maxProperties": 0} if self.section else {"not": {}}
