"""What GitLab makes of the component: its inputs checked and pasted in, the YAML read, its job.

As `Gitlab::Ci::Config::Interpolation` does it: the file's text after the header is interpolated before it is
read as YAML; a string is pasted as it is, anything else as JSON. Source: gitlab-org/gitlab,
lib/gitlab/ci/config/interpolation (text_template.rb, inputs/*.rb) and docs.gitlab.com/ci/inputs.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from stand import places

FILE: Final = places.ROOT / "templates/deploy.yml"

_BLOCK: Final = re.compile(r"\$\[\[\s*inputs\.([A-Za-z0-9_-]+)\s*\]\]")
_TYPES: Final[Mapping[str, type]] = {"string": str, "boolean": bool, "array": list}


class _Loader(yaml.SafeLoader):
    """Reads GitLab's tag `!reference` too, as the list of keys that leads to what is meant."""


def _reference(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_Loader.add_constructor("!reference", _reference)


class InputError(ValueError):
    """GitLab does not create a pipeline of these inputs; the message names the input."""


@dataclass(frozen=True)
class Job:
    """The component's job: its keywords as GitLab reads them, and what its shell is given."""

    name: str
    keywords: Mapping[str, Any]

    @property
    def inputs(self) -> dict[str, str]:
        """What the script holds as text."""
        lines = self.keywords["script"][0].split("END_OF_SLUICEGATE_INPUTS")[1].splitlines()[1:]
        return dict(line.split("=", 1) for line in lines)

    @property
    def script(self) -> str:
        """The lines of `script`, as a runner joins them; it ends a job at the first one that fails."""
        return "\n".join(["set -e", *self.keywords["script"]])

    @property
    def after_script(self) -> str:
        return "\n".join(["set -e", *self.keywords["after_script"]])


def header() -> Mapping[str, Mapping[str, Any]]:
    """The component's inputs, as its `spec` describes them."""
    spec, _ = FILE.read_text().split("\n---\n", 1)
    inputs: Mapping[str, Mapping[str, Any]] = yaml.safe_load(spec)["spec"]["inputs"]
    return inputs


def job(**given: Any) -> Job:
    """The job that an include with these inputs adds to a pipeline.

    Raises InputError, and yaml.YAMLError where a value broke the file.
    """
    ((name, keywords),) = interpolated(FILE.read_text(), **given).items()
    return Job(name, keywords)


def pipeline(text: str, **given: Any) -> tuple[dict[str, Any], list[Job]]:
    """A `.gitlab-ci.yml` run with these inputs: what it says, and the jobs of its includes of the component.

    Raises as `job` does.
    """
    config = interpolated(text, **given)
    return config, [
        job(**include["inputs"]) for include in config.get("include", ()) if "component" in include
    ]


def interpolated(text: str, **given: Any) -> dict[str, Any]:
    """A file as GitLab reads it: its header's inputs checked and pasted in as text, then the YAML read."""
    spec, divided, body = text.partition("\n---\n")
    if not divided:
        spec, body = "{spec: {inputs: {}}}", text
    values = _checked(yaml.safe_load(spec)["spec"]["inputs"], given)

    def paste(block: re.Match[str]) -> str:
        value = values[block[1]]
        return value if isinstance(value, str) else json.dumps(value)

    config: dict[str, Any] = yaml.load(_BLOCK.sub(paste, body), _Loader)  # noqa: S506 (a safe loader)
    return config


def _checked(inputs: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := given.keys() - inputs.keys():
        raise InputError(f"{unknown} are not defined")
    return {name: _value(name, spec, given) for name, spec in inputs.items()}


def _value(name: str, spec: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """GitLab checks defaults as well. Its patterns are RE2's, and match no empty string."""
    if name not in given and "default" not in spec:
        raise InputError(f"`{name}` input: required value has not been provided")
    value: Any = given.get(name, spec.get("default"))
    if type(value) is not _TYPES[spec.get("type", "string")]:
        raise InputError(f"`{name}` input: value is not a {spec.get('type', 'string')}")
    if "options" in spec and value not in spec["options"]:
        raise InputError(f"`{name}` input: `{value}` is not in the list of allowed options")
    if "regex" in spec and not (isinstance(value, str) and re.search(_python(spec["regex"]), value)):
        raise InputError(f"`{name}` input: value does not match required RegEx pattern")
    return value


def _python(pattern: str) -> str:
    """RE2's `$` is the end of the text only; Python's would take a line break before it."""
    return re.sub(r"\$(?=\)?$)", r"\\Z", pattern)
