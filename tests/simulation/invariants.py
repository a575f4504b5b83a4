"""What must hold after every step (1 to 13), in the words of guarantees.md.

Each check gets the ledger as it was before a step, and the step, and yields what is wrong.
"""

import json
from collections.abc import Callable, Iterator
from typing import Final

from simulation.ledger import Ledger, serves
from simulation.tables import Change
from simulation.world import Step, World
from sluicegate.deployment.model import Deployment, Status
from sluicegate.store.codec import deployment_of

Check = Callable[[World, Ledger, Step], Iterator[str]]

MAX_RECORD: Final = 64 * 1_024
"""Bytes of a record's item."""

SEEN_WITHIN: Final = 400
"""Seconds after which a decision is acted on, with all faults: the janitor looks every minute."""

CANARY: Final = "canary-5f1d"
"""A secret: the value of an environment variable of every function."""

TOKEN: Final = "eyJhbGciOi"
"""How a token begins."""


def records(ledger: Ledger, step: Step) -> list[tuple[Deployment | None, Deployment]]:
    """Return the records that a step changed, before and after. When one is due is no part of it."""
    if step.records is None:
        step.records = []
        for change in step.changes:
            if change.key[1] == "record" and change.after is not None:
                story = ledger.of(change.key[0].removeprefix("deployment#"))
                before, after = story.record if story else None, deployment_of(change.new)
                if before != after:
                    step.records.append((before, after))
    return step.records


def only_accepted_code(at: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """1. An alias serves only versions whose code some accepted record names, or what somebody else set."""
    for move in step.moves:
        story = ledger.of(step.by)
        if story is None or move.after is None or move.before == move.after:
            continue
        own = story.record
        for version in (move.after[0], *dict(move.after[1])):
            if version in ledger.foreign[move.function, move.alias]:
                continue
            code = at.lambdas.code_of(move.function, version)
            accepted = {
                one.record.sha256 for one in ledger.stories.values() if one.record.function == move.function
            }
            if code not in accepted:
                yield f"{move.function}:{move.alias} serves version {version}, whose code nobody accepted"
            if version == own.version and code != own.sha256:
                yield f"{own.id} serves version {version}, which has other code than was accepted"


def one_owner(at: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """2. One deployment moves an alias: a record that is not final has its lock, or inherits it."""
    looked: set[str] = set()
    for change in step.changes:
        if change.key[1] == "record" and change.after:
            looked.add(change.key[0].removeprefix("deployment#"))
        if change.key[0].startswith("lock#") and change.key[1].startswith("alias#"):
            looked |= {one.id for one in _of_lock(change, ledger)}
    written = {after.id: after for _, after in records(ledger, step)}
    for each in sorted(looked):
        story = ledger.of(each)
        record = written.get(each) or (story.record if story else None)
        if record is None or record.status.final:
            continue
        plan = record.plan
        lock = at.table.items.get(
            (
                f"lock#{plan.target.account}#{plan.target.region}#{record.function}",
                f"alias#{plan.alias}",
            ),
            {},
        )
        owners = {lock.get("deployment", {}).get("S"), lock.get("successor", {}).get("S")}
        if record.id not in owners:
            yield f"{record.id} is {record.status} without its alias' lock"


def _of_lock(change: Change, ledger: Ledger) -> list[Deployment]:
    function, alias = change.key[0].split("#")[3], change.key[1].removeprefix("alias#")
    return [one.record for one in ledger.stories.values() if one.alias == (function, alias)]


def one_end(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """3. A final record never changes, revisions go up by one, and the timeline numbers them."""
    for before, after in records(ledger, step):
        if before is None:
            if after.revision != 1:
                yield f"{after.id} begins with revision {after.revision}"
            continue
        if before.status.final:
            yield f"{after.id} was {before.status}, and was written again"
        if after.revision != before.revision + 1:
            yield f"{after.id} goes from revision {before.revision} to {after.revision}"
        numbers = [entry.seq for entry in after.timeline]
        if numbers[-1] != after.revision or numbers != sorted(set(numbers)) or numbers[0] != 1:
            yield f"{after.id}: the timeline has the entries {numbers} at revision {after.revision}"
        kept = {entry.seq for entry in after.timeline if not (entry.retry or entry.progress)}
        lost = {e.seq for e in before.timeline if not (e.retry or e.progress)} - kept
        if lost:
            yield f"{after.id}: the timeline has lost the entries {sorted(lost)}"


def recorded_before(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """4. Nothing moves without a record that is shifting or rolling back, and nothing after the end."""
    for move in step.moves:
        story = ledger.of(step.by)
        if story is None or move.before == move.after:
            continue
        if not {Status.SHIFTING, Status.ROLLING_BACK} & set(story.statuses):
            yield f"{story.record.id} moves {move.function}:{move.alias} while {story.record.status}"
        if story.record.status.final:
            yield f"{story.record.id} moves {move.function}:{move.alias} after it was {story.record.status}"


def original_is_found(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """5. The recorded original is what the alias served just before the first move.

    Somebody else may have made the very move that was next: nothing tells it from one whose answer was lost.
    """
    for move in step.moves:
        story = ledger.of(step.by)
        if story is None or story.moved or move.before == move.after:
            continue
        if move.before not in (serves(story.record.original), serves(story.record.current)):
            yield f"{story.record.id} recorded {story.record.original}, and moves from {move.before}"


def no_foreign_move_overwritten(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """6. What somebody else made an alias serve is never overwritten. DeleteAlias takes no revision."""
    for move in step.moves:
        story = ledger.of(step.by)
        if story is None or move.before == move.after or move.call == "delete":
            continue
        own = {serves(story.record.original), serves(story.record.current), *story.applied}
        if move.before not in own:
            yield f"{story.record.id} overwrites {move.before} of {move.function}:{move.alias}"


def one_request_one_effect(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """7. One deployment for each request, and for each use of a token."""
    for change in step.changes:
        if not change.key[0].startswith(("request#", "token#")) or change.before is None:
            continue
        before, after = change.old.get("deployment"), change.new.get("deployment")
        if before != after:
            yield f"{change.key[0][:20]}: {before}, then {after}"
    for before_, after_ in records(ledger, step):
        by = after_.requested_by
        if before_ is not None or by.job_id is None:
            continue
        same = [
            one.record
            for one in ledger.stories.values()
            if one.record.requested_by.job_id == by.job_id
            and one.alias == (after_.function, after_.plan.alias)
        ]
        if same and (after_.action != "rollback" or len(same) > 1):
            yield f"job {by.job_id} has {same[0].id} and {after_.id} on one alias"


def noted_with_success(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """8. What is noted as served, and the order of pipelines, change only with a success."""
    succeeded = [after for _, after in records(ledger, step) if after.status is Status.SUCCEEDED]
    for change in step.changes:
        kind = change.key[0].partition("#")[0]
        if kind in ("serving", "served", "newest-pipeline") and not succeeded:
            yield f"{change.key} changes without a deployment that succeeds"


def allowed_and_unchanged(at: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """9. A rule in force allows each acceptance, and no plan changes afterwards."""
    for before, after in records(ledger, step):
        story = ledger.of(after.id)
        if story is not None and story.first is not None and story.first.plan != after.plan:
            yield f"{after.id}: the plan has changed"
        if before is not None:
            if (
                after.approval
                and not before.approval
                and after.approval.by.user_id == after.requested_by.user_id
            ):
                yield f"{after.id} was approved by the person who asked for it"
            continue
        rules = [rule for gate in at.gates for rule in gate.rules if rule.name == after.rule]
        if not any(after.action in rule.actions for rule in rules):
            yield f"{after.id}: no gate file in force allows {after.action} by rule {after.rule!r}"
        if after.requested_by.project_id != "4213":
            yield f"{after.id} was accepted of project {after.requested_by.project_id}"


def no_traffic_without_a_person(_: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """9. What a person must approve gets no more traffic before than its plan allows."""
    for move in step.moves:
        story = ledger.of(step.by)
        if story is None or move.after is None or story.record.plan.approval is None:
            continue
        record = story.record
        if move.before == move.after or record.is_approved or move.after == serves(record.original):
            continue
        version = record.version or ""
        percent = 100 * dict(move.after[1]).get(version, float(move.after[0] == version))
        if percent > record.plan.unapproved_percent:
            yield f"{record.id} gives version {version} {percent:.0f} % of the traffic, and nobody approved"


def small_and_secretless(_: World, __: Ledger, step: Step) -> Iterator[str]:
    """12. A record has less than 64 KB, and nothing that is written contains a secret."""
    for change in step.changes:
        if change.after is None:
            continue
        text = json.dumps(change.after, default=str)
        if change.key[1] == "record" and len(text) > 2 * MAX_RECORD:
            yield f"{change.key[0]} has {len(text)} bytes"
        if CANARY in text or TOKEN in text:
            yield f"{change.key[0]} contains a secret"


def _is_decided(record: Deployment) -> bool:
    """Return whether somebody has decided about what the record waits for."""
    approved = record.status is Status.AWAITING_APPROVAL and record.is_approved
    return approved or (record.abort is not None and record.status is not Status.ROLLING_BACK)


def decisions_are_seen(at: World, ledger: Ledger, step: Step) -> Iterator[str]:
    """14. An approval or an abort is acted on soon, however long the rollout meant to wait."""
    for before, after in records(ledger, step):
        story = ledger.of(after.id)
        if before is None or story is None or not _is_decided(before):
            continue
        waited = at.engine.now - story.written_at
        if waited > SEEN_WITHIN:
            yield f"{after.id} went on {waited:.0f} s after a decision about it"


INVARIANTS: Final[tuple[Check, ...]] = (
    only_accepted_code,
    one_owner,
    one_end,
    recorded_before,
    original_is_found,
    no_foreign_move_overwritten,
    one_request_one_effect,
    noted_with_success,
    allowed_and_unchanged,
    no_traffic_without_a_person,
    small_and_secretless,
    decisions_are_seen,
)
