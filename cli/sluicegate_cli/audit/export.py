"""Read the evidence from its bucket, with the auditor's own AWS credentials, into a file to verify.

Each object is written once. If one has several versions, the first is the one that was sealed, and the file
says that it was replaced.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sluicegate.deployment.durations import seconds
from sluicegate.evidence.chain import stub
from sluicegate.evidence.line import canonical
from sluicegate.text import clean

if TYPE_CHECKING:
    from sluicegate_cli.doctor.aws_calls import AwsCalls

_SLACK: Final = 86_400
"""Seconds after the wanted time in which segments are read: a line is sealed after it was written."""

_MAX_OBJECT: Final = 16 * 1024 * 1024

COLUMNS: Final = (
    *("seq", "time", "kind", "code", "status", "deployment", "n", "function", "stage", "action"),
    *("rule", "gate", "via", "actor", "artifact"),
)
BY: Final = ("issuer", "project_id", "user_id", "pipeline_id", "job_id", "account", "principal_id")
"""Ids of `by` that have a column of their own in CSV."""


@dataclass(frozen=True)
class EvidenceFilter:
    """Which lines are wanted: written from `since` to `until` (epoch seconds), and of these."""

    since: float
    until: float
    project: str | None = None
    stage: str | None = None
    actor: str | None = None

    def wants(self, line: Mapping[str, Any]) -> bool:
        """Return whether a line is wanted. What says when lines were sealed always is."""
        if line.get("kind") == "sealed":
            return True
        owners = (line.get("owner", {}), line.get("by", {}))
        return (
            self.since <= seconds(line["time"]) <= self.until
            and self.stage in (None, line.get("stage"))
            and self.actor in (None, line.get("actor"))
            and (self.project is None or any(one.get("project_id") == self.project for one in owners))
        )


@dataclass(frozen=True)
class StoredObject:
    """An object by its first version; `replaced` if there is another one."""

    key: str
    version: str
    written: float
    replaced: bool


@dataclass
class EvidenceSource:
    """The bucket, and the objects of a log in it: segments and signed heads by the number in their names."""

    aws: "AwsCalls"
    bucket: str
    prefix: str = ""
    segments: dict[int, StoredObject] = field(default_factory=dict)
    notes: dict[int, list[StoredObject]] = field(default_factory=dict)

    def load(self) -> None:
        """List what is there. Raises CouldNotCheck."""
        for one in self._list(f"{self.prefix}segments/"):
            self.segments[_number(one.key)] = one
        for one in self._list(f"{self.prefix}heads/"):
            self.notes.setdefault(_number(one.key), []).append(one)

    def read(self, stored: StoredObject) -> bytes:
        """Return an object's first version. Raises CouldNotCheck."""
        from botocore.exceptions import BotoCoreError

        from sluicegate_cli.doctor.aws_calls import without_answer

        answer = self.aws.call(
            "s3", "GetObject", Bucket=self.bucket, Key=stored.key, VersionId=stored.version
        )
        try:
            data: bytes = answer["Body"].read(_MAX_OBJECT)
        except BotoCoreError as error:  # the connection ends within the object
            raise without_answer("s3", "GetObject", error) from None
        return data

    def _list(self, prefix: str) -> Iterator[StoredObject]:
        versions: dict[str, list[Mapping[str, Any]]] = {}
        markers = set()
        for kind in ("Versions", "DeleteMarkers"):
            found = self.aws.pages(
                "s3", "ListObjectVersions", kind, most=100_000, Bucket=self.bucket, Prefix=prefix
            )
            for one in found:
                if kind == "Versions":
                    versions.setdefault(one["Key"], []).append(one)
                else:
                    markers.add(one["Key"])
        for key, all_ in sorted(versions.items()):
            first = min(all_, key=lambda one: (one["LastModified"], not one.get("IsLatest")))
            yield StoredObject(
                key, first["VersionId"], first["LastModified"].timestamp(), len(all_) > 1 or key in markers
            )


def export(source: EvidenceSource, wanted: EvidenceFilter, stack: str) -> Iterator[str]:
    """Yield the lines of an export, without their newlines: header, entries, stubs and signed heads, end.

    It goes on, with stubs, to the first signed head after the wanted time, so that this covers all before
    it. Where there is no segment of that time, only the header and the end are yielded. Raises CouldNotCheck.
    """
    numbers = sorted(source.segments)
    chosen = [
        number
        for number in numbers
        if wanted.since <= source.segments[number].written
        and source.segments[number].written - _SLACK <= wanted.until
    ]
    if chosen:
        signed = min((size for size in source.notes if size >= chosen[-1]), default=None)
        chosen += [one for one in numbers if one > chosen[-1] and signed is not None and one <= signed]
    entries = [json.loads(text) for one in chosen for text in _texts(source, source.segments[one])]
    first = int(entries[0]["seq"]) if entries else 1
    last = int(entries[-1]["seq"]) if entries else 0
    replaced = [source.segments[one].key for one in chosen if source.segments[one].replaced]
    replaced += [
        note.key for size in source.notes for note in source.notes[size] if note.replaced and size >= first
    ]
    yield canonical(
        {
            "evidence": 1,
            "stack": stack,
            "first": first,
            "last": last,
            "previous": _previous(source, numbers, first, stack),
            **({"replaced": replaced} if replaced else {}),
        }
    )
    for entry in entries:
        yield canonical(entry) if wanted.wants(entry["line"]) else stub(entry)
        for note in source.notes.get(entry["seq"], ()):
            yield canonical({"note": source.read(note).decode(errors="replace"), "size": entry["seq"]})
    head = entries[-1]["head"] if entries else _previous(source, numbers, first, stack)
    yield canonical({"end": {"head": head, "last": last}})


def as_csv(lines: Iterable[str]) -> str:
    """Return the entries of an export as CSV, for reading: no cell is a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow((*COLUMNS, *BY))
    for text in lines:
        entry = json.loads(text)
        line = entry.get("line")
        if line is None:
            continue
        known = {**line, "seq": entry["seq"]}
        by = line.get("by", {})
        writer.writerow([_cell(known.get(name)) for name in COLUMNS] + [_cell(by.get(name)) for name in BY])
    return out.getvalue()


def _cell(value: Any) -> str:
    """Return a cell's text.

    A spreadsheet runs what begins with `=`, `+`, `-` or `@` (OWASP, "CSV Injection").
    """
    text = "" if value is None else clean(str(value))
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") and text else text


def _texts(source: EvidenceSource, segment: StoredObject) -> Sequence[str]:
    return source.read(segment).decode("ascii").splitlines()


def _previous(source: EvidenceSource, numbers: Sequence[int], first: int, stack: str) -> str:
    """Return the head before an entry: that of the last entry of the segment before, or the stack's first."""
    from sluicegate.evidence.chain import genesis

    before = [number for number in numbers if number < first]
    if not before:
        return genesis(stack)
    head: str = json.loads(_texts(source, source.segments[before[-1]])[-1])["head"]
    return head


def _number(key: str) -> int:
    """Return the number in an object's name."""
    return int(key.rpartition("/")[2][:12])
