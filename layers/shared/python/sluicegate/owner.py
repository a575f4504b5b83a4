"""The owner of a record, which sees it without a rule: a project, a principal, or a user."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Owner:
    """A project or a user of an issuer (`realm` is its URL), or a principal of an AWS account (the `realm`).

    Project 4213 of one GitLab is not project 4213 of another: ids are never compared alone.
    """

    kind: Literal["project", "principal", "user"]
    realm: str
    id: str
