"""`sluicegate audit verify`: whatever is done to a file is named, and what is whole is believed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.deployment.durations import timestamp
from sluicegate.evidence.chain import genesis
from sluicegate.evidence.line import canonical
from sluicegate.evidence.notes import SignedHead
from sluicegate_cli.audit.lines import bounded
from sluicegate_cli.audit.verification import VerifiedEvidence, verify
from sluicegate_cli.commands.audit import command
from sluicegate_cli.exit_codes import ExitCode
from support.evidence_files import (
    BEGAN,
    FOREIGN,
    NAME,
    STACK,
    EvidenceFile,
    codes,
    evidence_file,
    key_text,
    public,
    signed,
)

KEY = public()
LAST = 16

Mutation = Callable[[EvidenceFile], None]


def checked(file: EvidenceFile) -> VerifiedEvidence:
    return verify(file.lines, [KEY])


def flip_line(file: EvidenceFile) -> None:
    file.entry(6)["line"]["stage"] = "dev"


def flip_line_and_hash(file: EvidenceFile) -> None:
    flip_line(file)
    from sluicegate.evidence.chain import leaf

    file.entry(6)["hash"] = leaf(canonical(file.entry(6)["line"]))


def flip_hash(file: EvidenceFile) -> None:
    file.entry(6)["hash"] = "0" * 64


def flip_head(file: EvidenceFile) -> None:
    file.entry(6)["head"] = "0" * 64


def drop(file: EvidenceFile) -> None:
    file.entries.remove(file.entry(6))


def drop_many(file: EvidenceFile) -> None:
    file.entries = [one for one in file.entries if one["seq"] not in (6, 7, 11)]


def drop_first(file: EvidenceFile) -> None:
    file.entries.pop(0)


def truncate(file: EvidenceFile) -> None:
    file.entries, file.end = file.entries[:10], None


def truncate_and_hide(file: EvidenceFile) -> None:
    """The file says that it ends there, but the signed head of more is still in it."""
    file.entries = file.entries[:14]
    file.header["last"] = 14
    file.end = {"last": 14, "head": file.entry(14)["head"]}
    file.notes[14] = file.notes.pop(16)


def reorder(file: EvidenceFile) -> None:
    file.entries[5], file.entries[6] = file.entries[6], file.entries[5]


def reorder_and_renumber(file: EvidenceFile) -> None:
    """Two lines change places; numbers, hashes and heads are made to fit."""
    one, other = file.entry(6), file.entry(7)
    one["line"], other["line"] = other["line"], one["line"]
    file.rechain(6)


def rechain(file: EvidenceFile) -> None:
    flip_line(file)
    file.rechain(6)


def rechain_without(file: EvidenceFile) -> None:
    """An entry is gone, and everything after it is renumbered."""
    drop(file)
    file.rechain(6)


def rechain_from_the_beginning(file: EvidenceFile) -> None:
    file.header["previous"] = genesis("another")
    file.rechain()


def insert(file: EvidenceFile) -> None:
    file.entries.insert(6, json.loads(json.dumps(file.entry(6))))
    file.rechain(6)


def repeat(file: EvidenceFile) -> None:
    file.entries.insert(6, file.entry(6))


def sign_with_another_key(file: EvidenceFile) -> None:
    rechain(file)
    for size in file.notes:
        head = SignedHead(STACK, size, file.entry(min(size, 16))["head"], timestamp(BEGAN))
        file.notes[size] = signed(head, FOREIGN)


def sign_with_another_key_under_our_name(file: EvidenceFile) -> None:
    """The key's id is of its name and its bytes: a forger can only copy it."""
    rechain(file)
    head = SignedHead(STACK, 8, file.entry(8)["head"], timestamp(BEGAN))
    forged = signed(head, FOREIGN, NAME)["note"]
    ours = signed(head)["note"].split(" ")[-1]
    from base64 import b64decode, b64encode

    ours_id = b64decode(ours)[:4]
    theirs = forged.rpartition(" ")[2]
    swapped = b64encode(ours_id + b64decode(theirs)[4:]).decode()
    file.notes[8] = {"note": forged.replace(theirs.strip(), swapped), "size": 8}


def flip_note(file: EvidenceFile) -> None:
    file.notes[8]["note"] = file.notes[8]["note"].replace("size 8", "size 9")


def damage_note(file: EvidenceFile) -> None:
    file.notes[8]["note"] = "sluicegate"


def unsign(file: EvidenceFile) -> None:
    file.notes = {}


def sign_for_another_stack(file: EvidenceFile) -> None:
    """A signer that is confused about its stack."""
    head = SignedHead("111111111111/eu-central-1/other", 8, file.entry(8)["head"], timestamp(BEGAN))
    file.notes[8] = signed(head)


def fork(file: EvidenceFile) -> None:
    """Two heads at one number, both signed by the key: moved to a place of its own, as one file has it."""
    head = SignedHead(STACK, 8, "0" * 64, timestamp(BEGAN))
    file.notes[7] = {"note": signed(head)["note"], "size": 8}


def replace_object(file: EvidenceFile) -> None:
    file.header["replaced"] = ["segments/000000000005.ndjson"]


def lose_a_line(file: EvidenceFile) -> None:
    """It never was sealed: the chain is whole, and the deployment's numbers are not."""
    del file.entries[6]
    file.rechain(6)
    for size in (8, 16):
        file.notes.pop(size)
    head = SignedHead(STACK, 15, file.entry(15)["head"], timestamp(BEGAN))
    file.notes[15] = signed(head)


MUTATIONS: dict[str, tuple[Mutation, set[str]]] = {
    "an entry's line": (flip_line, {"flipped"}),
    "an entry's line and hash": (flip_line_and_hash, {"flipped"}),
    "an entry's hash": (flip_hash, {"flipped"}),
    "an entry's head": (flip_head, {"flipped"}),
    "an entry dropped": (drop, {"dropped", "gap"}),
    "entries dropped": (drop_many, {"dropped", "gap"}),
    "the first entry dropped": (drop_first, {"dropped"}),
    "the end cut off": (truncate, {"truncated"}),
    "the end cut off and hidden": (truncate_and_hide, {"truncated"}),
    "two entries change places": (reorder, {"reordered"}),
    "two lines change places": (reorder_and_renumber, {"rechained"}),
    "chained again": (rechain, {"rechained"}),
    "chained again without an entry": (rechain_without, {"rechained", "unsigned", "gap"}),
    "chained again from the beginning": (rechain_from_the_beginning, {"rechained", "unsigned"}),
    "an entry added": (insert, {"rechained", "duplicated"}),
    "an entry repeated": (repeat, {"duplicated"}),
    "signed by another key": (sign_with_another_key, {"foreign_key", "unsigned"}),
    "signed by another key under ours": (sign_with_another_key_under_our_name, {"flipped", "rechained"}),
    "a signed head": (flip_note, {"flipped"}),
    "a signed head, damaged": (damage_note, {"flipped"}),
    "no signed head": (unsign, {"unsigned"}),
    "a head of another stack": (sign_for_another_stack, {"foreign_stack"}),
    "two heads at one number": (fork, {"forked", "rechained"}),
    "an object replaced in the bucket": (replace_object, {"replaced"}),
    "a line that never was sealed": (lose_a_line, {"gap"}),
}


def test_a_whole_file_is_believed() -> None:
    found = checked(evidence_file())
    assert found.findings == []
    assert (found.first, found.last, found.signed_to, found.entries) == (1, LAST, LAST, LAST)
    assert (found.signed_by, found.omitted, found.late, found.open) == (NAME, 0, [], [])


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_done_to_a_file_is_named(name: str) -> None:
    mutate, expected = MUTATIONS[name]
    file = evidence_file()
    mutate(file)
    found = checked(file)
    assert codes(found.findings) >= expected, found.findings
    assert not found.ok


@pytest.mark.parametrize("name", list(MUTATIONS)[:4])
def test_a_flip_is_named_once_and_where_it_is(name: str) -> None:
    file = evidence_file()
    MUTATIONS[name][0](file)
    assert [(one.code, one.seq) for one in checked(file).findings] == [("flipped", 6)]


def test_what_was_chained_again_is_narrowed_down_by_the_heads() -> None:
    file = evidence_file()
    flip = file.entry(12)["line"]
    flip["stage"] = "dev"
    file.rechain(12)
    [found] = checked(file).findings
    assert (found.code, found.seq, found.to) == ("rechained", 9, 16)
    assert checked(file).signed_to == 8


def test_a_shorter_file_says_up_to_where_it_goes() -> None:
    """An honestly older file looks the same as one that was cut at a signed head."""
    found = checked(evidence_file(2))
    assert (found.ok, found.signed_to, found.signed_at) == (True, 8, timestamp(BEGAN + 150))


def test_entries_after_the_last_signed_head_are_said_not_to_be_signed() -> None:
    file = evidence_file()
    del file.notes[16]
    found = checked(file)
    assert (found.ok, found.last, found.signed_to) == (True, 16, 8)


def test_a_part_of_the_log_is_verified_by_the_head_before_it() -> None:
    file = evidence_file()
    file.header |= {"first": 5, "previous": file.entry(4)["head"]}
    file.entries = file.entries[4:]
    found = checked(file)
    assert (found.ok, found.first, found.signed_to) == (True, 5, 16)
    file.header["previous"] = "0" * 64
    assert not checked(file).ok


def test_an_export_with_filters_has_hashes_for_the_rest() -> None:
    file = evidence_file()
    for seq in (2, 3, 6, 10):
        del file.entry(seq)["line"]
    found = checked(file)
    assert (found.ok, found.omitted, found.entries) == (True, 4, 12)
    assert found.older == ["D0", "D1", "D2"]
    file.entry(6)["hash"] = "0" * 64
    assert not checked(file).ok


def test_what_was_sealed_late_is_said_and_is_no_forgery() -> None:
    file = evidence_file(1)
    file.entry(1)["line"]["time"] = timestamp(BEGAN + 700)
    file.rechain()
    file.notes[4] = signed(SignedHead(STACK, 4, file.entry(4)["head"], timestamp(BEGAN)))
    found = checked(file)
    assert (found.ok, found.late) == (True, [2, 3, 4])


def test_a_deployment_that_has_not_ended_is_open() -> None:
    file = evidence_file(1)
    file.entries.pop()
    file.header["last"] = 3
    file.end = {"last": 3, "head": file.entry(3)["head"]}
    file.notes = {3: signed(SignedHead(STACK, 3, file.entry(3)["head"], timestamp(BEGAN)))}
    assert (checked(file).ok, checked(file).open) == (True, ["D0"])


def test_either_key_will_do_after_a_change_of_keys() -> None:
    file = evidence_file()
    head = SignedHead(STACK, 16, file.entry(16)["head"], timestamp(BEGAN))
    file.notes[16] = signed(head, FOREIGN, "new")
    assert codes(checked(file).findings) == {"foreign_key"}
    found = verify(file.lines, [KEY, public(FOREIGN, None)])
    assert (found.ok, found.signed_to, found.signed_by) == (True, 16, "new")


@pytest.mark.parametrize(
    "data",
    [
        b'{"evidence":1}\n',
        b'{"evidence":1,"first":1,"last":"x","previous":"00","stack":""}\n',
        b'{"hash":"","head":"","seq":1}\n',
        b'{"hash":"cut',
        b'{ "hash": 1, "head": 2 }\r\n',
        b'{"end":' + b"x" * (1 << 24) + b"\n" + b"y" * 100,
        b"".join(evidence_file().lines[1:]),
        b"".join(evidence_file().lines[4:5]),
    ],
)
def test_what_is_left_of_an_export_is_no_evidence_and_a_finding(data: bytes) -> None:
    assert not verify(bounded(BytesIO(data)), [KEY]).ok


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"{" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b"seq,time,kind\n1,2026-11-01,accepted\n",
        b"<!doctype html>\n<p>Not found</p>\n",
        b'{"hello": 1}\n',
        "für später\n".encode("latin-1"),
        b"\0" * 5_000,
        b"\0" * (1 << 24) + b"\0",
    ],
    ids=range(12),
)
def test_what_is_no_export_is_a_mistake(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(data)
    for name, piped in ((str(path), None), ("-", data)):
        done = CliRunner().invoke(command, ["verify", name, "--key", key_text()], input=piped)
        assert done.exit_code == ExitCode.USAGE
        assert (
            "is no export of the evidence (CSV cannot be verified: export with --format ndjson)"
            in done.output
        )


@pytest.mark.parametrize("special", ["/dev/zero", "fifo"])
def test_what_never_ends_is_not_read(tmp_path: Path, special: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    done = CliRunner().invoke(command, ["verify", special, "--key", key_text()])
    assert (done.exit_code, "not a regular file" in done.output) == (ExitCode.USAGE, True)


def test_one_finding_is_one(tmp_path: Path) -> None:
    file = evidence_file()
    flip_line(file)
    assert "1 finding:\n" in run(tmp_path, file)[1]


@pytest.mark.parametrize("field", ["n", "seq", "last", "size"])
def test_a_number_that_is_huge_costs_nothing(field: str) -> None:
    file = evidence_file(1)
    huge = 10**17
    match field:
        case "n":
            file.entry(3)["line"]["n"] = huge
        case "seq":
            file.entry(3)["seq"] = huge
        case "last":
            file.header["last"] = huge
        case _:
            file.notes[4]["size"] = huge
    began = time.process_time()
    assert not checked(file).ok
    assert time.process_time() - began < 5


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    whole = b"".join(evidence_file(2).lines)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    found = verify(bytes(changed).splitlines(keepends=True), [KEY])
    assert not found.ok or found.signed_to < 8


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(8)), st.sets(st.integers(0, 7), max_size=3))
def test_no_other_order_and_no_selection_is_believed(order: list[int], without: set[int]) -> None:
    file = evidence_file(2)
    entries = [file.entries[place] for place in order if place not in without]
    whole = entries == file.entries
    file.entries = entries
    assert checked(file).ok == whole


# The command


def run(tmp_path: Path, file: EvidenceFile, *options: str) -> tuple[int, str]:
    path, key = tmp_path / "file.ndjson", tmp_path / "evidence.pub"
    path.write_bytes(b"".join(file.lines))
    key.write_text(key_text())
    done = CliRunner().invoke(command, ["verify", str(path), "--key", str(key), *options])
    return done.exit_code, done.output


def test_the_command_says_up_to_which_head_and_time(tmp_path: Path) -> None:
    code, output = run(tmp_path, evidence_file())
    assert code == ExitCode.OK
    assert "signed up to entry 16" in output
    assert "nothing was changed" in output


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    file = evidence_file()
    flip_line(file)
    code, output = run(tmp_path, file)
    assert code == ExitCode.UNACCEPTABLE
    assert "flipped" in output
    code, output = run(tmp_path, file, "--json")
    assert code == ExitCode.UNACCEPTABLE
    assert json.loads(output)["findings"][0]["code"] == "flipped"


def test_what_a_file_says_reaches_no_terminal_as_it_is(tmp_path: Path) -> None:
    file = evidence_file(1)
    file.header["stack"] = "\x1b[2Jx\nall is well"
    _, output = run(tmp_path, file)
    assert "\x1b" not in output
    assert "\nall is well" not in output


@pytest.mark.parametrize("key", ["", "nothing", "a+b+c"])
def test_a_key_that_is_none_is_a_mistake(tmp_path: Path, key: str) -> None:
    path = tmp_path / "file.ndjson"
    path.write_bytes(b"".join(evidence_file(1).lines))
    assert CliRunner().invoke(command, ["verify", str(path), "--key", key]).exit_code == ExitCode.USAGE


def test_nothing_but_verify_imports_cryptography() -> None:
    code = "import sys, sluicegate_cli.commands.audit; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.extended
def test_a_hundred_thousand_entries_take_seconds() -> None:
    file = evidence_file(25_000)
    file.notes = {size: note for size, note in file.notes.items() if size % 800 == 0}  # one in a few hours
    lines = file.lines
    began = time.process_time()
    assert verify(lines, [KEY]).ok
    took = time.process_time() - began
    print(f"{len(file.entries)} entries in {took:.1f} s")
    assert took < 30
