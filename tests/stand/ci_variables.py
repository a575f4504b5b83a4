"""Which variables a job gets, as GitLab decides it: where they may come from, which wins, what is expanded.

Source: docs.gitlab.com/ci/variables/ ("CI/CD variable precedence", "Use pipeline variables"), and
gitlab-org/gitlab, lib/gitlab/ci/variables/builder.rb and app/models/ci/build.rb (`base_variables`), as of
GitLab 18.9, read on 2026-11-26.
Policies of GitLab Ultimate rank above all of these, and are not modelled.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

_REFERENCE: Final = re.compile(r"%(\w+)%|\$(\w+)|\$\{(\w+)\}")

_PREDEFINED: Final[Mapping[str, str]] = {
    "CI": "true",
    "CI_COMMIT_REF_NAME": "v1.0.0",
    "CI_COMMIT_TAG": "v1.0.0",
    "CI_JOB_TOKEN": "glcbt-64_job",
    "CI_PROJECT_PATH": "acme/stock",
    "CI_PROJECT_URL": "https://gitlab.example.com/acme/stock",
    "CI_SERVER_FQDN": "gitlab.example.com",
}


@dataclass(frozen=True)
class Variables:
    """What is set beside the job's own `variables`, from the lowest rank to the highest."""

    default: Mapping[str, str] = field(default_factory=dict)
    """The file's global `variables`."""

    job: Mapping[str, str] = field(default_factory=dict)
    """What the including file adds to the job, or the job has by `extends` or `parallel: matrix`."""

    dotenv: Mapping[str, str] = field(default_factory=dict)
    """Reports of earlier jobs."""

    instance: Mapping[str, str] = field(default_factory=dict)
    group: Mapping[str, str] = field(default_factory=dict)
    project: Mapping[str, str] = field(default_factory=dict)

    pipeline: Mapping[str, str] = field(default_factory=dict)
    """Given when the pipeline is run by hand, by the API or a trigger, by push option, or from an upstream
    pipeline; or for one manual job. They have the same rank."""

    schedule: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: "Variables") -> "Variables":
        return Variables(
            **{each.name: {**getattr(self, each.name), **getattr(other, each.name)} for each in fields(self)}
        )


WAYS: Final = tuple(each.name for each in fields(Variables))
"""The ways in which somebody can set a variable, from the lowest rank to the highest."""


def of_job(
    keywords: Mapping[str, Any],
    id_tokens: Mapping[str, str],
    predefined: Mapping[str, str],
    given: Variables,
) -> dict[str, str]:
    """The variables that the runner gives to a job, expanded.

    Predefined variables and ID tokens rank lowest, so any other variable of their name replaces them.
    """
    ranked = {**_PREDEFINED, **predefined, **id_tokens, **given.default, **keywords.get("variables", {})}
    for way in WAYS[1:]:
        ranked |= getattr(given, way)
    return {name: _expanded(name, ranked, ()) for name in ranked}


def _expanded(name: str, ranked: Mapping[str, str], within: tuple[str, ...]) -> str:
    """References, and those in their values too. What is not known becomes nothing, as the runner expands
    the rest with Go's `os.Expand`. A variable that leads to itself is left as it is (`Collection::Sort`)."""

    def value(reference: re.Match[str]) -> str:
        other = reference[1] or reference[2] or reference[3]
        if other == name or other in within:
            return reference[0]
        return _expanded(other, ranked, (*within, name)) if other in ranked else ""

    return _REFERENCE.sub(value, ranked[name])
