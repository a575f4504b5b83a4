"""Verify an export of the evidence: offline, with nothing but the file and public keys.

Everything is judged by hashes and signatures. What a file says of itself, such as its last number, only
serves to name what is missing (docs/reference/evidence.md).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sluicegate.deployment.durations import seconds
from sluicegate.evidence.chain import genesis, leaf, next_head
from sluicegate.evidence.line import canonical
from sluicegate.evidence.notes import NoteError, PublicKey, SignedHead, read_note
from sluicegate_cli.audit.lines import LONGEST, NotEvidence

_BEGINNINGS: Final = (b'{"evidence":', b'{"hash":', b'{"note":', b'{"end":')
"""How the lines of an export begin, also those of which the rest was changed."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")

LATE: Final = 300
"""Seconds between a line's time and its sealing from which on it is late."""

MAX_FINDINGS: Final = 1_000
"""Findings that are listed. A file has as many as it has lines, if all of it is changed."""


@dataclass(frozen=True)
class EvidenceFinding:
    """What is wrong, by a code of docs/guides/audit.md, and where: entries from `seq` to `to`."""

    code: str
    detail: str
    seq: int | None = None
    to: int | None = None


@dataclass
class VerifiedEvidence:
    """What a file has, and what is wrong with it. `signed_to` is 0 where nothing is proven.

    `late` are entries that were sealed late, `open` deployments that have not ended, `older` those that began
    before the file does; none of these is wrong.
    """

    stack: str = ""
    first: int = 0
    last: int = 0
    entries: int = 0
    omitted: int = 0
    signed_to: int = 0
    signed_at: str | None = None
    signed_by: str | None = None
    findings: list[EvidenceFinding] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    older: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def add(self, code: str, detail: str, seq: int | None = None, to: int | None = None) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(EvidenceFinding(code, detail, seq, to))


@dataclass(slots=True)
class _Entry:
    """An entry as the file has it. `computed` is the hash of its line; of a stub, what it says itself."""

    seq: int
    hash: str
    head: str
    computed: str
    line: tuple[Any, Any, Any, Any] | None
    """Kind, time, deployment and number: all that is looked at of so many lines."""


class _Reader:
    """Reads a file into its parts. What is not as it was written is a finding, and left out."""

    def __init__(self, found: VerifiedEvidence) -> None:
        self._found = found
        self.header: Mapping[str, Any] | None = None
        self.end: Mapping[str, Any] | None = None
        self.entries: list[_Entry] = []
        self.notes: list[tuple[int, str]] = []
        self.is_export = False
        """Whether any line has the shape of one that an export has."""

    def read(self, lines: Iterable[bytes]) -> None:
        """Read all lines of a file."""
        for number, data in enumerate(lines, 1):
            self.is_export = self.is_export or _has_shape(data)
            if len(data) > LONGEST:
                self._found.add("flipped", f"line {number} of the file is longer than any of an export")
                return
            try:
                text = data.decode("ascii").removesuffix("\n")
                value = json.loads(text)
                if not isinstance(value, dict) or canonical(value) != text:
                    raise ValueError
                self._take(value, text)
            except (ValueError, KeyError, TypeError, RecursionError):
                if data.endswith(b"\n"):
                    self._found.add("flipped", f"line {number} of the file is not as it was written")
                else:
                    self._found.add("truncated", f"the file ends within its line {number}")

    def _take(self, value: dict[str, Any], text: str) -> None:
        if "seq" in value and set(value) in ({"hash", "head", "seq"}, {"hash", "head", "line", "seq"}):
            line = value.get("line")
            if line is not None and not isinstance(line, dict):
                raise ValueError
            hashes = (str(value["hash"]), str(value["head"]))
            if not all(map(_HASH.fullmatch, hashes)) or type(value["seq"]) is not int:
                raise ValueError
            # The text is canonical, so the line is where the other fields leave it.
            rest = len(f'{{"hash":"{hashes[0]}","head":"{hashes[1]}","line":')
            computed = hashes[0] if line is None else leaf(text[rest : text.rindex(",")])
            known = (
                None
                if line is None
                else (line.get("kind"), line.get("time"), line.get("deployment"), line.get("n"))
            )
            self.entries.append(_Entry(value["seq"], *hashes, computed, known))
        elif set(value) == {"note", "size"}:
            self.notes.append((int(value["size"]), str(value["note"])))
        elif "evidence" in value and self.header is None and not self.entries:
            if not _HASH.fullmatch(value["previous"]):
                raise ValueError
            self.header = {**value, "first": int(value["first"]), "last": int(value["last"])}
        elif set(value) == {"end"} and self.end is None:
            self.end = {**value["end"], "last": int(value["end"]["last"])}
        else:
            raise ValueError


def _has_shape(data: bytes) -> bool:
    """Return whether a line is one of an export, or was."""
    if data.startswith(_BEGINNINGS):
        return True
    try:
        value = json.loads(data) if len(data) <= LONGEST else None
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and not value.keys().isdisjoint(("evidence", "hash", "note", "end"))


def verify(lines: Iterable[bytes], keys: Sequence[PublicKey]) -> VerifiedEvidence:
    """Return what a file has and what is wrong with it. Each line has its newline.

    Raises NotEvidence if no line has the shape of one that an export has.
    """
    found = VerifiedEvidence()
    reader = _Reader(found)
    reader.read(lines)
    if not reader.is_export:
        raise NotEvidence("CSV cannot be verified: export with --format ndjson")
    header = reader.header
    if header is None:
        found.add("truncated", "the file has no header: its beginning is missing")
        return found
    found.stack, found.first = str(header.get("stack", "")), header["first"]
    for key in header.get("replaced", ()):
        found.add("replaced", f"{key} has more than one version in the bucket: the first one is in this file")
    entries = _in_order(reader.entries, found)
    _check_complete(entries, reader, found)
    found.last = max(entries, default=0)
    found.entries = sum(one.line is not None for one in entries.values())
    found.omitted = len(entries) - found.entries
    heads = _follow(entries, header, found)
    if reader.end is not None and reader.end.get("head") != heads.get(reader.end["last"]):
        found.add("flipped", "the file's last line has another head than its last entry")
    _check_notes(reader.notes, heads, keys, found)
    _check_lines(entries, found)
    return found


def _in_order(entries: Sequence[_Entry], found: VerifiedEvidence) -> dict[int, _Entry]:
    """Return the entries by number; report those that are out of their order, or there twice."""
    by_number: dict[int, _Entry] = {}
    highest = 0
    for one in entries:
        if one.seq in by_number:
            same = (by_number[one.seq].hash, by_number[one.seq].head) == (one.hash, one.head)
            found.add(
                "duplicated", f"entry {one.seq} is there twice{'' if same else ', and differs'}", one.seq
            )
            continue
        if one.seq < highest:
            found.add("reordered", f"entry {one.seq} comes after entry {highest}", one.seq)
        by_number[one.seq] = one
        highest = max(highest, one.seq)
    return dict(sorted(by_number.items(), key=lambda one: one[0]))


def _check_complete(entries: Mapping[int, _Entry], reader: _Reader, found: VerifiedEvidence) -> None:
    """Report what is missing: within the entries, before them, and after them."""
    header = reader.header or {}
    before = header["first"] - 1
    for number in entries:
        if number > before + 1:
            found.add("dropped", _range(before + 1, number - 1, "missing"), before + 1, number - 1)
        if number < header["first"]:
            found.add("reordered", f"entry {number} comes before the first one", number)
        before = max(before, number)
    last = max(header["last"], reader.end["last"] if reader.end else 0)
    if before < last:
        found.add("truncated", f"{_range(before + 1, last, 'missing')} at the end", before + 1, last)
    if reader.end is None:
        found.add("truncated", "the file's last line is missing")
    elif before > last:
        found.add("reordered", f"there are entries after {last}, which the file calls its last", last + 1)


def _range(first: int, last: int, what: str) -> str:
    return f"entry {first} is {what}" if first == last else f"entries {first} to {last} are {what}"


def _follow(
    entries: Mapping[int, _Entry], header: Mapping[str, Any], found: VerifiedEvidence
) -> dict[int, str]:
    """Return the head after each entry, as computed; report where the chain does not lead to what is there.

    After a gap the chain goes on from what the file says: a signed head shows whether that is right.
    """
    heads: dict[int, str] = {}
    head, number = str(header["previous"]), header["first"] - 1
    if number == 0 and head != genesis(found.stack):
        found.add("rechained", "the chain does not begin as that of this stack does", 1)
    heads[number] = head
    numbers = list(entries)
    for place, seq in enumerate(numbers):
        one = entries[seq]
        if one.computed != one.hash:
            found.add("flipped", f"entry {seq} is not what was sealed", seq)
        head = _next(entries, numbers, place, head, found) if seq == number + 1 else one.head
        heads[seq], number = head, seq
    return heads


def _next(
    entries: Mapping[int, _Entry],
    numbers: Sequence[int],
    place: int,
    head: str,
    found: VerifiedEvidence,
) -> str:
    """Return the head after the entry at a place, which comes right after that head."""
    one = entries[numbers[place]]
    flipped = one.computed != one.hash
    if one.head in (next_head(head, one.hash), next_head(head, one.computed)):
        return one.head
    expected = next_head(head, one.hash)
    following = entries.get(one.seq + 1)
    if following is not None and following.head == next_head(expected, following.hash):
        if not flipped:
            found.add("flipped", f"the head of entry {one.seq} is not what was sealed", one.seq)
        return expected
    if not flipped:
        found.add("flipped", f"entry {one.seq} does not lead to its head: it was changed", one.seq)
    return one.head


def _check_notes(
    notes: Sequence[tuple[int, str]],
    heads: Mapping[int, str],
    keys: Sequence[PublicKey],
    found: VerifiedEvidence,
) -> None:
    """Compare the signed heads with the computed ones, and say how far signatures reach."""
    signed: dict[int, SignedHead] = {}
    trusted = 0
    for head, signer in _verified_notes(notes, keys, found):
        if head.stack != found.stack:
            found.add("foreign_stack", f"the head at {head.size} is of {head.stack}", head.size)
            continue
        known = signed.setdefault(head.size, head)
        if known.head != head.head:
            found.add("forked", f"two different heads are signed at {head.size}", head.size)
        if head.size not in heads:
            if head.size > found.last:
                found.add(
                    "truncated", f"entries up to {head.size} are signed, and not in the file", head.size
                )
            continue
        if heads[head.size] != head.head:
            detail = f"entries {trusted + 1} to {head.size} are not those that were signed at {head.time}"
            found.add("rechained", detail, trusted + 1, head.size)
            continue
        trusted = max(trusted, head.size)
        if head.size >= found.signed_to:
            found.signed_to, found.signed_at, found.signed_by = head.size, head.time, signer
    if not found.signed_to:
        found.add("unsigned", "no head in the file is signed by the key: nothing is proven")


def _verified_notes(
    notes: Sequence[tuple[int, str]], keys: Sequence[PublicKey], found: VerifiedEvidence
) -> Iterator[tuple[SignedHead, str]]:
    """Yield the heads whose signatures verify, by size, each with its key's name; report the others."""
    for size, text in sorted(notes):
        try:
            head, signatures = read_note(text)
        except NoteError as error:
            found.add("flipped", f"the signed head at {size} is not as it was written: {error}", size)
            continue
        ours = [(key, one) for key in keys for one in signatures if key.signed(one)]
        if not ours:
            names = ", ".join(one.name for one in signatures)
            found.add("foreign_key", f"the head at {head.size} is signed by another key: {names}", head.size)
        elif not all(key.verifies(one, head.text) for key, one in ours):
            found.add("flipped", f"the signed head at {size} was changed: it does not verify", size)
        else:
            if head.size != size:
                found.add("flipped", f"the signed head at {head.size} is in the file as that at {size}", size)
            yield head, ours[0][1].name


# What the lines say


def _check_lines(entries: Mapping[int, _Entry], found: VerifiedEvidence) -> None:
    """Look at each deployment's lines: numbered without a gap, and sealed in time."""
    numbers: dict[str, dict[int, int]] = {}
    ended: dict[str, int] = {}
    sealed_at: float | None = None
    for seq, one in entries.items():
        if one.line is None:
            continue
        kind, moment, deployment, number = one.line
        made = _time(moment)
        if kind == "sealed":
            sealed_at = made
            continue
        if sealed_at and made and sealed_at - made > LATE and kind != "refusals":
            found.late.append(seq)
        if not isinstance(deployment, str) or not isinstance(number, int) or kind == "refused":
            continue
        before = numbers.setdefault(deployment, {})
        if number in before:
            detail = (
                f"line {number} of deployment {deployment} is there twice, first as entry {before[number]}"
            )
            found.add("duplicated", detail, seq)
        before[number] = seq
        if kind == "ended":
            ended[deployment] = number
    for deployment, known in numbers.items():
        _check_numbers(deployment, known, ended.get(deployment), found)


def _check_numbers(
    deployment: str, known: Mapping[int, int], end: int | None, found: VerifiedEvidence
) -> None:
    """Report a deployment's lines that are missing. Omitted entries, and what came before, may be those."""
    least, most = min(known), max(known)
    if least > 1 and (found.first > 1 or found.omitted):
        found.older.append(deployment)
    start = 1 if found.first == 1 else least
    if most - start + 1 > len(known) and not found.omitted:
        absent = next(number for number in range(start, most + 1) if number not in known)
        found.add("gap", f"deployment {deployment} has no line {absent}", known[most])
    if end is None:
        found.open.append(deployment)
    elif most > end:
        found.add("gap", f"deployment {deployment} has a line after its end", known[most])


def _time(moment: Any) -> float | None:
    try:
        return seconds(str(moment))
    except ValueError:
        return None
