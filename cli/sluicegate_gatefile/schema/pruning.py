"""Pruning: which old versions of a function are deleted."""

from typing import Annotated

from pydantic import Field

from sluicegate.gate import pruning
from sluicegate_gatefile.fields import Duration, Number
from sluicegate_gatefile.schema.base import Flag, Section


class PruneSection(Section):
    """Which old versions are deleted. Only what Sluicegate published, and nothing uses, ever is."""

    keep: Annotated[int, Number(*pruning.KEEP)] = Field(
        description="How many of the newest versions stay in any case."
    )
    rollbacks: Annotated[int, Number(*pruning.ROLLBACKS)] = Field(
        description="How many of the newest versions that a rollback may go to stay, for each stage."
    )
    older_than: Annotated[int, Duration(*pruning.OLDER_THAN)] = Field(
        description="The age from which a version may be deleted, such as `30d`."
    )
    dry_run: Flag = Field(False, description="Whether to list what would be deleted, and delete nothing.")
