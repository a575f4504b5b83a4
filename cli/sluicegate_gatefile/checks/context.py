"""What every check gets: the gate file, its functions' own names, and where findings go."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from sluicegate.gate.model import OWN_NAME
from sluicegate_gatefile.checks.grants import Entries
from sluicegate_gatefile.diagnostics import did_you_mean, listed
from sluicegate_gatefile.schema.file import GateFile
from sluicegate_gatefile.yaml_source import Path, Reporter


@dataclass(frozen=True)
class CheckContext:
    """One gate file that has its shape. `own_functions` are those of Sluicegate's stack."""

    file: GateFile
    report: Reporter
    own_functions: tuple[str, ...]

    @cached_property
    def entries(self) -> Entries:
        """The entries of `functions`, to compare patterns with."""
        return Entries(tuple(self.file.functions))

    def error(self, code: str, at: Path, message: str) -> None:
        """Report an error about the value at a path."""
        self.report("error", code, at, message)

    def warning(self, code: str, at: Path, message: str) -> None:
        """Report a warning about the value at a path."""
        self.report("warning", code, at, message)

    def alias(self, stage: str) -> str:
        """Return the alias of a stage of the file."""
        return self.file.stages[stage].alias or stage

    def target(self, stage: str) -> str:
        """Return the name of the target of a stage of the file."""
        return self.file.stages[stage].target or OWN_NAME

    def protected(self, stages: Collection[str]) -> list[str]:
        """Return those of the stages that are protected."""
        known = self.file.stages
        return [stage for stage in stages if stage in known and known[stage].protected]

    def check_stage(self, at: Path, stage: str) -> None:
        """Report a stage that is not in the file."""
        if stage not in self.file.stages:
            self.error("stage", at, no_stage(stage, self.file.stages))

    def issuer(self, at: Path, name: str | None) -> str:
        """Return the url of the issuer that an entry names, or that it need not name."""
        issuers = self.file.issuers
        if name is None and len(issuers) > 1:
            self.error("issuer", at, f"specify the `issuer`: {listed(issuers)}")
        elif name is not None and name not in issuers:
            hint = did_you_mean(name, issuers)
            self.error("issuer", (*at, "issuer"), f"there is no issuer `{name}`{hint}")
        found = issuers.get(name) if name is not None else None
        return (found or next(iter(issuers.values()))).url


def no_stage(stage: str, stages: Collection[str]) -> str:
    """Return what to say of a stage that is not in the file."""
    return f"there is no stage `{stage}`{did_you_mean(stage, tuple(stages))}"
