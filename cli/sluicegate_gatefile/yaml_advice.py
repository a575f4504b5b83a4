"""What a parser's error means: where the mistake is, and what to write instead.

The parser stops where it can read no further, often lines below the mistake, and says so in the words of
YAML's grammar. What is looked at here is the text around the two places that it names.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sluicegate_gatefile.diagnostics import Mark

UNSEEN: Final = re.compile(r"[\u00a0\u1680\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff]")
"""Characters that look like a space, or like nothing, and are none to YAML."""

_INDENTATION: Final = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*(?:-[\s\u200b-\u200f\u2060\ufeff]+)*")
_SPACES: Final = "replace it with spaces, as YAML has no others"
_CLOSES: Final = {"[": "]", "{": "}"}
_CONFLICT: Final = re.compile(r"<{7} |={7}$|>{7} ")


@dataclass(frozen=True)
class Advice:
    """A mistake's place, and what it is and what to do in one sentence."""

    mark: Mark
    message: str


def unseen(character: str) -> str:
    """Say what an invisible character is, and what to do."""
    what = "a no-break space" if character == "\u00a0" else "an invisible character"
    return f"{what} (U+{ord(character):04X}) stands here, which no editor shows; replace it with a space"


def advice(text: str, error: yaml.MarkedYAMLError, loader: Any) -> Advice:
    """Return what is wrong in a text that the loader's parser refuses."""
    lines = text.splitlines() or [""]
    stopped = _mark(error.problem_mark) or Mark()
    began = _mark(error.context_mark) or stopped
    context, problem = error.context or "", error.problem or ""
    mistake = _Mistake(lines, began, stopped)
    return (
        _conflict(lines, stopped.line)
        or _indenting(lines, stopped.line)
        or mistake.of_scanning(context, problem)
        or mistake.of_structure(context, problem, _opened(text, stopped, loader))
        or Advice(stopped, f"not YAML: {' '.join(part for part in (context, problem) if part)}")
    )


def _conflict(lines: list[str], until: int) -> Advice | None:
    for number, line in enumerate(lines[:until], 1):
        if _CONFLICT.match(line):
            return Advice(
                Mark(number), "a merge left this conflict marker: decide for one side, and remove it"
            )
    return None


def _indenting(lines: list[str], until: int) -> Advice | None:
    """Find the first tab or invisible character in the indentation of a line.

    It looks as far as the line after the one where the parser stopped.
    """
    for number, line in enumerate(lines[: until + 1], 1):
        found = _INDENTATION.match(line)
        indentation = found[0] if found and found.end() < len(line) else ""
        for column, character in enumerate(indentation, 1):
            if character == "\t" and "-" not in indentation[:column]:
                return Advice(Mark(number, column), f"a tab indents this line; {_SPACES}")
            if UNSEEN.match(character):
                return Advice(Mark(number, column), unseen(character))
    return None


@dataclass(frozen=True)
class _Opened:
    """What is open where the parser stopped: brackets, and a quoted text that may have ended too late."""

    brackets: tuple[tuple[str, Mark], ...]
    quote: tuple[str, Mark] | None
    after: Mark
    """Where the last token ends."""


def _opened(text: str, stopped: Mark, loader: Any) -> _Opened:
    brackets: list[tuple[str, Mark]] = []
    last: Any = None
    for token in _tokens(text, stopped, loader):
        if isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)):
            sign = "[" if isinstance(token, yaml.FlowSequenceStartToken) else "{"
            brackets.append((sign, _mark(token.start_mark) or Mark()))
        elif isinstance(token, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)) and brackets:
            brackets.pop()
        last = token
    quote = None
    if isinstance(last, yaml.ScalarToken) and last.style in ("'", '"'):
        start, end = _mark(last.start_mark) or Mark(), _mark(last.end_mark) or Mark()
        if end == stopped or start.line < end.line == stopped.line:
            quote = (last.style, start)
    return _Opened(tuple(brackets), quote, (_mark(last.end_mark) if last else None) or Mark())


def _tokens(text: str, stopped: Mark, loader: Any) -> Iterator[Any]:
    """Yield the tokens with a text that begin before the parser stopped."""
    try:
        for token in yaml.scan(text, Loader=loader):
            if (_mark(token.start_mark) or stopped) >= stopped:
                return
            if token.start_mark.index < token.end_mark.index:
                yield token
    except yaml.YAMLError:
        return


@dataclass(frozen=True)
class _Mistake:
    """The lines of a text, where what could not be read began, and where the parser stopped."""

    lines: list[str]
    began: Mark
    stopped: Mark

    def of_scanning(self, context: str, problem: str) -> Advice | None:
        """What is wrong with a single value or key."""
        if "mapping values" in problem:
            return self._second_colon()
        if "unexpected ':'" in problem:
            return Advice(self.stopped, "a space is missing after this `:`")
        if "sequence entries" in problem:
            return Advice(
                self.stopped, "an item of a list begins on a line of its own: write it below the key"
            )
        if "simple key" in context:
            return self._no_colon(self.began.line)
        if "start any token" in problem:
            return self._needs_quotes(self.stopped)
        if any(each in context for each in ("an alias", "an anchor", "a tag", "block scalar")):
            return self._needs_quotes(self.began)
        if "directive" in context or "incompatible" in problem:
            return Advice(self.began, "a line that begins with `%` is no part of a gate file: remove it")
        if "escape" in problem:
            what = r"`\` begins an escape in double quotes: write `\\`, or put the text in single quotes"
            return Advice(self.stopped, what)
        if "end of stream" in problem:
            return self._open_quote(self._at(self.began), self.began, "the end of the file")
        return None

    def of_structure(self, context: str, problem: str, opened: _Opened) -> Advice | None:
        """What is wrong with how values stand in lists and mappings."""
        here = self._at(self.stopped)
        if here == "," and not opened.brackets:
            return Advice(self.stopped, "no comma belongs here, as each key has a line of its own: remove it")
        if opened.quote:
            return self._wrong_quote(*opened.quote)
        if opened.brackets and ("',' or" in problem or here in ("", "]", "}")):
            return self._open_bracket(*opened.brackets[-1])
        if here and here in "]}":
            return Advice(self.stopped, f"nothing is open that this `{here}` closes: remove it")
        if "content" in problem:
            return self._no_content(here)
        if "document start" in problem:
            what = "the file could end before this, and has one mapping only: begin a comment with `#`"
            return Advice(self.stopped, what)
        if opened.after.line == self.stopped.line and self._at(opened.after, -1) in ('"', "'", "]", "}"):
            what = "something follows a value that is complete: put quotes around the whole text"
            return Advice(self.stopped, f"{what}, and write a quote in single quotes twice")
        return self._indented(context) if "a block" in context else None

    # Keys and their colons

    def _second_colon(self) -> Advice | None:
        """A colon where no key can be: the text is a value already, or goes on from a line above."""
        line = self._line(self.stopped.line)
        key, colon, value = line[: self.stopped.column - 1].partition(": ")
        if colon:
            begin = Mark(self.stopped.line, len(key) + 3 + len(value) - len(value.lstrip()))
            whole = line[begin.column - 1 :].split(" #")[0].strip()
            return Advice(begin, f"a text with `: ` in it needs quotes{_instead(whole)}")
        above = self._above(self.stopped.line)
        if above and not re.search(r":( |$)", self._line(above).lstrip("- ")):
            return self._no_colon(above)
        what = "this line is indented deeper than the key above, which has a value already"
        return Advice(self.stopped, f"{what}: give both the same indentation")

    def _no_colon(self, number: int) -> Advice:
        """A line that should be a key with its value."""
        line = self._line(number)
        start = len(line) - len(line.lstrip(" -"))
        key, colon, value = line[start:].split(" #")[0].rstrip().partition(":")
        mark = Mark(number, start + 1)
        if colon and UNSEEN.match(value):
            return Advice(Mark(number, start + len(key) + 2), unseen(value[0]))
        if colon:
            return Advice(mark, f"a space is missing after `:`: write `{key}: {value}`")
        return Advice(
            mark, f"`{key}` is a key without a value: write `{key}: ` and its value, or `{key}: {{}}`"
        )

    # Values

    def _needs_quotes(self, mark: Mark) -> Advice:
        sign = self._at(mark)
        if sign == "\t":
            return Advice(mark, f"a tab stands here; {_SPACES}")
        found = re.match(r"[^\s,\[\]{}]+", self._line(mark.line)[mark.column - 1 :])
        what = "pattern" if sign == "*" else "text"
        what += " that begins with " + ("a backtick" if sign == "`" else f"`{sign}`")
        return Advice(mark, f"a {what} needs quotes{_instead(found[0] if found else '')}")

    def _no_content(self, here: str) -> Advice:
        if here == ",":
            return Advice(self.stopped, "there is no value before this comma: remove it, or write one")
        if here == ":":
            return Advice(self.stopped, "there is no key before this `:`: remove it, or write one")
        return self._needs_quotes(self.stopped)

    def _open_quote(self, quote: str, mark: Mark, until: str) -> Advice:
        what = f"the quote {quote} that opens here is not closed on its line"
        return Advice(mark, f"{what}, so the text reaches as far as {until}: close it")

    def _wrong_quote(self, quote: str, mark: Mark) -> Advice:
        if mark.line < self.stopped.line:
            return self._open_quote(quote, mark, f"line {self.stopped.line}")
        what = f"the quote {quote} that opens here closes before column {self.stopped.column}"
        return Advice(mark, f"{what}, and text follows: close it earlier, or use other quotes for the whole")

    def _open_bracket(self, sign: str, mark: Mark) -> Advice:
        closing, here = _CLOSES[sign], self._at(self.stopped)
        open_here = f"the `{sign}` that opens here is not closed"
        if here in ("", "]", "}"):
            return Advice(mark, f"{open_here}: write `{closing}` after its last value")
        if self.stopped.line > mark.line:
            what = f"{open_here} before line {self.stopped.line}, or a comma is missing there"
            return Advice(mark, f"{what}: write `{closing}` after its last value")
        what = f"a comma is missing here, or the `{closing}` of the `{sign}` in column {mark.column}"
        return Advice(self.stopped, f"{what}; a text with `: ` in it needs quotes")

    def _indented(self, context: str) -> Advice:
        if "collection" in context or "sequence" in context:
            what = "this line is no item of the list above: begin it with `- `, or else"
        elif self._at(self.stopped) == "-":
            what = "an item of a list begins here, among the keys of a mapping:"
        else:
            spaces = self.stopped.column - 1
            what = f"this line is indented by {spaces}, and no line that it could belong to is:"
        return Advice(self.stopped, f"{what} indent it as the lines that it belongs to")

    # The text

    def _line(self, number: int) -> str:
        return self.lines[number - 1] if number <= len(self.lines) else ""

    def _at(self, mark: Mark, offset: int = 0) -> str:
        column = mark.column - 1 + offset
        return self._line(mark.line)[column : column + 1]

    def _above(self, number: int) -> int:
        """The number of the line above, without empty lines and comments; 0 if there is none."""
        for above in range(number - 1, 0, -1):
            if self._line(above).split("#")[0].strip():
                return above
        return 0


def _instead(text: str) -> str:
    """Return the end of a message: the text in quotes, if that is short and simple."""
    return f': write "{text}"' if text and len(text) <= 80 and not re.search(r"[\"\\\[\]{}]", text) else ""


def _mark(mark: Any) -> Mark | None:
    return None if mark is None else Mark(mark.line + 1, mark.column + 1)
