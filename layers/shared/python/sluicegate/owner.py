"""The owner of a record, which sees it without a rule: a project, or a principal."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Owner:
    """A project of an issuer (`realm` is its URL), or a principal of an AWS account (`realm` is the account).

    Project 4213 of one GitLab is not project 4213 of another: ids are never compared alone.
    """

    kind: Literal["project", "principal"]
    realm: str
    id: str
