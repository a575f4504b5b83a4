"""The pruner, pass after pass, and what it may never delete (13)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from simulation.invariants import records
from simulation.ledger import Ledger, Story
from simulation.processes import Process
from simulation.world import Step, World
from sluicegate.aws.lambda_versions import CodeStorage, NumberedVersion, VersionDeleter, VersionsApi
from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Target
from sluicegate.pruning.places import PruneLook
from sluicegate.pruning.pruner import Pruner
from sluicegate.store.store import Store
from support.cloudwatch_model import CloudWatchModel
from support.simulation import OWN, TABLE

PAUSES: Final = (150.0, 60.0, 45.0)
"""Seconds between two passes: more than a deletion takes whose client has given up. On AWS it is an hour."""

FIRST_PAUSE: Final = (30.0, 5.0, 0.5)
"""Seconds until the first pass."""

LAST_PASSES: Final = 2
"""Passes of the pruner after all faults: the first takes up what was left, and the second finds nothing."""

LAST_PAUSE: Final = 200.0
"""Seconds before each of the last passes: longer than any lease."""

RIVALS: Final = 0.2
"""How often somebody else needs an old version just after the pruner has looked, or as it condemns it."""

RIVAL_READS: Final = 0.05
RIVAL_WRITES: Final = 0.3
"""Seconds after which such a request has read the table, and after which it is accepted."""

Rival = Callable[..., None]
"""Asks for an old version of a function: that of the number, if there is one."""

HAND: Final = 30.0
"""Seconds within which somebody may give a version a weight unseen: the pruner has looked before."""


@dataclass(frozen=True)
class Place:
    """The stack's own account and region, for one process.

    `rival` asks for an old version of a function, just when the pruner has seen what its aliases need.
    """

    world: World
    process: Process
    rival: Rival

    @property
    def target(self) -> Target:
        return OWN

    def storage(self) -> CodeStorage:
        return VersionsApi(self._client).code_storage()

    def look(self) -> PruneLook:
        quiet = self.world.client(self.process, "cloudwatch", CloudWatchModel())
        return PruneLook(self._client, quiet)

    def deleter(self, function: str, number: NumberedVersion) -> VersionDeleter:
        return VersionDeleter(self._client, function, number)

    @property
    def _client(self) -> Any:
        client = self.world.client(self.process, "lambda")
        list_aliases = client.list_aliases

        def looked(**arguments: Any) -> Any:
            answer = list_aliases(**arguments)
            if self.world.faults.chances and self.world.choices.chance(RIVALS):
                self.rival(arguments["FunctionName"])
            return answer

        client.list_aliases = looked
        return client


class Pruning:
    """The pruner's schedule. `last_passes` are those that ran to their end after all faults had stopped.

    A pass is `under_way` from its beginning to its end: until then, a version may be condemned.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.rival: Rival = lambda *_: None
        self.began = 0.0
        self.passes = self.last_passes = 0
        self.under_way = False
        self._pause = PAUSES[0]
        world.makers["pruner"] = self._pruner
        world.engine.spawn("pruning", self._for_ever, world.choices.one_of(FIRST_PAUSE))

    @property
    def is_over(self) -> bool:
        """Whether it had its last passes, and is at rest."""
        return self.last_passes >= LAST_PASSES and not self.under_way

    def start(self, rival: Rival) -> None:
        """Let passes follow each other as quickly as this seed has it, and somebody else need a version."""
        self.rival = rival
        choices, lambdas = self.world.choices, self.world.lambdas
        self._pause = choices.one_of(PAUSES)
        if choices.chance(0.4):  # somebody tries an old version behind an alias of their own
            lambdas.set_alias(f"orders-{choices.below(3)}", "hand", "6", {choices.one_of(("2", "3")): 0.1})
            lambdas.moves.clear()

    def check(self, step: Step, ledger: Ledger) -> None:
        """13. No version is deleted that must be kept, and nothing is accepted that needs a deleted one."""
        for before, after in records(ledger, step):
            if before is None and (after.function, after.version) in self.world.lambdas.deleted:
                what = f"{after.id} is accepted, and version {after.version} is deleted"
                raise AssertionError(f"13. no_deleted_version_needed: {what}")
        for function, version in step.deletions:
            for wrong in self._needed(ledger, function, version):
                raise AssertionError(
                    f"13. no_needed_version_deleted: {function}:{version} is deleted: {wrong}"
                )

    def _for_ever(self) -> None:
        while True:
            calm = not self.world.faults.chances
            self.began = self.world.engine.now
            self.under_way = True
            task = self.world.invoke("pruner", {})
            self.world.engine.wait(task.done)
            self.under_way = False
            self.passes += 1
            if calm and task.error is None and not task.killed and task.result["finished"]:
                self.last_passes += 1
            self.world.engine.sleep(self._pause if self.world.faults.chances else LAST_PAUSE)

    def _pruner(self, process: Process) -> Pruner:
        place = cast(Any, Place(self.world, process, self.rival))
        table = self.world.client(process, "dynamodb")
        write = table.transact_write_items

        def writes(**arguments: Any) -> Any:
            for one in arguments["TransactItems"]:
                item = one.get("Put", {}).get("Item", {})
                if item.get("pk") == {"S": "condemned"} and self._has_rival():
                    function, version = item["name"]["S"], item["version"]["S"]
                    self.world.faults.held_up["gateway", "transact_write_items"] = RIVAL_WRITES
                    self.world.engine.spawn("rival", partial(self.rival, function, version))
                    self.world.engine.sleep(RIVAL_READS)
            return write(**arguments)

        table.transact_write_items = writes
        store = Store(table, TABLE, process.clock, process.sleep)
        return Pruner(store, self.world.gates[-1], place, process.clock, process.sleep)

    def _has_rival(self) -> bool:
        return bool(self.world.faults.chances) and self.world.choices.chance(RIVALS)

    # What must be kept

    def _needed(self, ledger: Ledger, function: str, version: str) -> Iterator[str]:
        now, stories = (
            self.world.engine.now,
            [s for s in ledger.stories.values() if s.record.function == function],
        )
        for alias, entry in self.world.lambdas.functions[function]["aliases"].items():
            weights = entry["RoutingConfig"]["AdditionalVersionWeights"]
            if version in weights and not ledger.moved_by_hand_since((function, alias), now - HAND):
                yield f"alias {alias} gives it a weight"
        for story in stories:
            if not story.record.status.final and version in _named(story.record):
                yield f"{story.record.id} is {story.record.status}, and names it"
        prune = self.world.gates[-1].prune(function)
        assert prune is not None, "13. nobody wants anything deleted"
        by_hand = any(name == function for name, _ in self.world.pruned)
        if by_hand or any(story.final_at and story.final_at >= self.began - HAND for story in stories):
            return  # it was decided by what was so a moment ago
        there = {*self.world.lambdas.functions[function]["versions"], version}
        ours = sorted({s.record.version or "" for s in stories if s.record.version in there}, key=int)
        if version in ours[-prune.keep :]:
            yield f"it is one of the newest {prune.keep} of {ours}"
        for alias in {story.alias for story in stories}:
            if ledger.by_hand[alias]:
                continue
            serving, candidates = _ways_back([story for story in stories if story.alias == alias])
            candidates = [one for one in candidates if one in there][: prune.rollbacks]
            if version == serving or version in candidates:
                yield f"{alias[1]} serves {serving}, and can be rolled back to {candidates}"


def _named(record: Deployment) -> set[str | None]:
    """Return the versions that a deployment has, found, or may go back to."""
    states = [state for state in (record.original, record.current) if state]
    return {record.version, *(one for state in states for one in (state.version, *state.weights))}


def _ways_back(stories: list[Story]) -> tuple[str | None, list[str]]:
    """Return what an alias serves by the record, and what a rollback may go to, the next one first."""
    past: dict[str, bool] = {}
    serving: str | None = None
    for story in sorted(stories, key=lambda one: one.final_at or 0.0):
        record = story.record
        if record.status is not Status.SUCCEEDED or record.version is None:
            continue
        if record.action == "rollback" and serving is not None and serving != record.version:
            past[serving] = True
        serving = record.version
        past.pop(serving, None)
        past[serving] = False
    return serving, [one for one, withdrawn in reversed(past.items()) if not withdrawn and one != serving]


def nothing_condemned(at: Pruning) -> Iterator[str]:
    """15. No version is left condemned, and each that was deleted is noted as pruned."""
    gone = {}
    for (pk, sk), item in at.world.table.items.items():
        if pk == "condemned":
            yield f"{sk} is left condemned"
        if pk.startswith("versions#") and sk.startswith("gone#") and "S" in item.get("pruned", {}):
            gone[pk.split("#")[3], sk.removeprefix("gone#")] = item
    for deleted in at.world.lambdas.deleted:
        if deleted not in gone:
            yield f"{':'.join(deleted)} was deleted, and the record does not say so"
    facts = {pk for pk, _ in at.world.table.items if pk.startswith("fact#pruned#")}
    for function, version in gone:
        if version in at.world.lambdas.functions[function]["versions"]:
            yield f"{function}:{version} is there, and the record says that it was pruned"
        if not facts:
            yield "no deletion is in the evidence"
