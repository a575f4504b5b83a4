"""JSON (RFC 8259) in which every text has one meaning for every reader.

Of two equal names Python's parser takes the last, and another one the first: what was checked is then not
what is used. Here a text that two readers could read differently is no JSON at all.
"""

import json
import re
from math import isfinite
from typing import Any, NoReturn, TypeAlias

from sluicegate.text import clean

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

_TOO_DEEP = "nested too deep"
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class StrictJsonError(ValueError):
    """Not JSON as we read it. The message says what is wrong, in bounded and printable text."""


def loads(data: bytes, *, max_depth: int, control_characters: bool = True) -> JsonValue:
    """Parse strict UTF-8 JSON; raise StrictJsonError for everything else.

    Refused besides what the grammar refuses: a byte order mark, two equal names in one object at any depth,
    NaN, infinities (also a number that overflows into one), lone surrogates, and containers nested deeper
    than `max_depth` (`{}` is one level). `control_characters=False` refuses U+0000 to U+001F and U+007F to
    U+009F in names and strings, escaped or not.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        raise StrictJsonError("starts with a byte order mark")
    try:
        text = data.decode("utf-8")
        value: JsonValue = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise StrictJsonError("not UTF-8") from None
    except RecursionError:
        raise StrictJsonError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"not JSON: {clean(error.msg)} at character {error.pos}") from None
    except StrictJsonError:
        raise
    except ValueError:  # Python refuses to turn thousands of digits into an int
        raise StrictJsonError("a number is too long") from None
    if not _is_plain(text, max_depth):
        _check(value, max_depth, control_characters)
    return value


def _is_plain(text: str, max_depth: int) -> bool:
    """Return whether `_check` cannot find anything: no character that it refuses, and too few brackets.

    Without a backslash no string has another character than the text. Most texts are like that, and the walk
    takes longer than the parser.
    """
    opened = text.count("{") + text.count("[")
    return opened <= max_depth and text.isascii() and text.isprintable() and "\\" not in text


def _check(value: JsonValue, levels: int, control_characters: bool) -> None:
    """Walks the value once, for what the parser does not look at."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise StrictJsonError("a string holds a lone surrogate")
        if not control_characters and _CONTROL.search(value):
            raise StrictJsonError("a string holds a control character")
    elif isinstance(value, list | dict):
        if levels == 0:
            raise StrictJsonError(_TOO_DEEP)
        for item in value:  # an object's names
            _check(item, levels - 1, control_characters)
        if isinstance(value, dict):
            for item in value.values():
                _check(item, levels - 1, control_characters)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise StrictJsonError(f"{clean(name, 64)!r} occurs twice in one object")
            seen.add(name)
    return members


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):  # 1e999 is within the grammar and becomes infinity
        raise StrictJsonError("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise StrictJsonError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
