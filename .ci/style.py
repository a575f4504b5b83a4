"""Check what ruff and mypy cannot: plain words, sizes, and one meaning for each type name.

    python .ci/style.py            # exit 1 and a line for each finding
    python .ci/style.py --figures  # the largest modules and classes

`WORDS` lists phrases that a native engineer would not write. A module over 400 lines, or a class over 250,
says why in its docstring, in a sentence that begins "Long because".
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MAX_MODULE, MAX_CLASS = 400, 250
"""Lines."""

EXCUSE = "Long because"

PRODUCT = ("layers/", "cli/", "functions/")
PROSE = {".md", ".py", ".yaml", ".yml", ".toml", ".sh", ".json"}
EXEMPT = {
    ".ci/style.py",
    "tests/unit/repository/test_style.py",
    "LICENSE",
    "sluicegate.schema.json",
}

WORDS: dict[str, str] = {
    r"whoever\b": "name the subject: the caller, the job, the person who …",
    r"(?:^|[.;:] |\"\"\"|# )Who \w+s\b[^?]*$": "name the subject: the caller who …",
    r"\b(?:to|by|of|from|for|with) who (?!is\b.*\?)\w+": "name the person: to the person who …",
    r"\bcomes? to (?!an? |the |light)(?:be|have|nothing|serve|what)\b": "say what happens",
    r"\bwhat (?:\w+ ){1,4}comes to\b": "say what it means or what happens",
    r"\b(?:is|are|was|were|be|been|being) told\b": "is notified, receives, is passed",
    r"\banew\b": "again",
    r"\bof theirs\b": "their",
    r"\b(?:can|could) ?not be had\b": "is unavailable",
    r"\bas it should\b(?! be\b)": "say what was expected",
    r"\bthe present [a-z]+": "the current",
    r"\btroubles?\b(?!shoot)": "failure, error",
    r"\btold\b": "reported, notified, recorded",
    r"\b(?:has|have) to do with\b": "concerns",
    r"\bheirs?\b": "successor",
}


def main() -> int:
    if "--figures" in sys.argv[1:]:
        return figures()
    findings = [*words(), *sizes(), *type_names()]
    for finding in findings:
        print(finding)
    print(f"style: {len(findings)} findings" if findings else "style: no findings")
    return 1 if findings else 0


def files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 (whichever git runs this checkout)
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return [Path(name) for name in listed if name and name not in EXEMPT and (ROOT / name).is_file()]


def product() -> list[Path]:
    return [path for path in files() if path.suffix == ".py" and str(path).startswith(PRODUCT)]


def words() -> Iterator[str]:
    rules = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, advice in WORDS.items()]
    for path in files():
        if path.suffix not in PROSE or path.parts[0] == "requirements":
            continue
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            yield from (f"{path}:{number}: {said} ({advice})" for said, advice in banned(line, rules))


def banned(line: str, rules: list[tuple[re.Pattern[str], str]]) -> Iterator[tuple[str, str]]:
    """Each banned phrase of a line, with what to write instead."""
    for pattern, advice in rules:
        if found := pattern.search(line):
            yield f'"{found[0].strip()}"', advice


def sizes() -> Iterator[str]:
    for kind, name, lines, doc in measured():
        if lines > (MAX_CLASS if kind == "class" else MAX_MODULE) and EXCUSE not in doc:
            yield f"{name}: {kind} of {lines} lines; split it, or say why in its docstring ({EXCUSE} …)"


def measured() -> Iterator[tuple[str, str, int, str]]:
    """(module or class, where it is, lines, docstring)."""
    for path in product():
        text = (ROOT / path).read_text()
        tree = ast.parse(text)
        yield "module", str(path), text.count("\n"), ast.get_docstring(tree) or ""
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield "class", f"{path}:{node.lineno} {node.name}", lines, ast.get_docstring(node) or ""


def type_names() -> Iterator[str]:
    """A public type name that two modules of the product define."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path in product():
        for node in ast.parse((ROOT / path).read_text()).body:
            for name in defined(node):
                if re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name):
                    homes[name].append(f"{path}:{node.lineno}")
    yield from (
        f"{' and '.join(at)}: both define {name}" for name, at in sorted(homes.items()) if len(at) > 1
    )


def defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def figures() -> int:
    found = list(measured())
    for kind in ("module", "class"):
        for _, name, lines, _ in sorted((one for one in found if one[0] == kind), key=lambda one: -one[2])[
            :10
        ]:
            print(f"{lines:5} {kind:6} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
