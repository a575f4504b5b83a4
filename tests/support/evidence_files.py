"""Exports of the evidence, made in memory, and what can be done to them."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.deployment.durations import timestamp
from sluicegate.evidence.chain import ChainState, entries, genesis, leaf, next_head
from sluicegate.evidence.line import canonical, line
from sluicegate.evidence.notes import PublicKey, SignedHead, note, signature_line

STACK = "111111111111/eu-central-1/sluicegate"
NAME = "arn:aws:kms:eu-central-1:111111111111:key/0b1c2d3e-0000-0000-0000-000000000000"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
FOREIGN = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
BEGAN = 1_790_000_000.0


def public(private: Ed25519PrivateKey = PRIVATE, name: str | None = NAME) -> PublicKey:
    return PublicKey(private.public_key().public_bytes_raw(), name)


def signed(head: SignedHead, private: Ed25519PrivateKey = PRIVATE, name: str = NAME) -> dict[str, Any]:
    """Return the record of a signed head."""
    text = note(head, [signature_line(name, public(private), private.sign(head.text.encode()))])
    return {"note": text, "size": head.size}


@dataclass
class EvidenceFile:
    """The parts of a file, as Python's values: change them as you like, then `data`."""

    header: dict[str, Any]
    entries: list[dict[str, Any]]
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    end: dict[str, Any] | None = None

    @property
    def lines(self) -> list[bytes]:
        found = [self.header]
        for entry in self.entries:
            found.append(entry)
            if entry["seq"] in self.notes:
                found.append(self.notes[entry["seq"]])
        if self.end is not None:
            found.append({"end": self.end})
        return [f"{canonical(one)}\n".encode() for one in found]

    def entry(self, seq: int) -> dict[str, Any]:
        return next(one for one in self.entries if one["seq"] == seq)

    def rechain(self, start: int = 1) -> None:
        """Compute all hashes and heads again from an entry on, as somebody without the key can."""
        head = self.header["previous"] if start == 1 else self.entry(start - 1)["head"]
        for number, one in enumerate(self.entries[start - 1 :], start):
            one["seq"] = number
            one["hash"] = leaf(canonical(one["line"])) if "line" in one else one["hash"]
            one["head"] = head = next_head(head, one["hash"])
        if self.end is not None:
            self.end.update(last=self.entries[-1]["seq"], head=head)
        self.header["last"] = self.entries[-1]["seq"]


def life(deployment: str, at: float, **fields: Any) -> list[str]:
    """Return the lines of a deployment that was accepted, approved and ended."""
    by = {"issuer": "https://gitlab.example.com", "project_id": "4213", "user_id": "7"}
    shared = {"deployment": deployment, "function": "orders-api", "stage": "prod", "by": by, **fields}
    kinds = (("accepted", None), ("decided", "approved"), ("ended", None))
    return [
        line(kind, at + number, {**shared, "n": number + 1, "code": code, "owner": by})
        for number, (kind, code) in enumerate(kinds)
    ]


def evidence_file(
    segments: int = 4, *, stack: str = STACK, private: Ed25519PrivateKey = PRIVATE
) -> EvidenceFile:
    """Return a file of so many segments: each has 4 entries of one deployment. Every other head is signed."""
    state = ChainState(0, genesis(stack))
    found: list[dict[str, Any]] = []
    notes = {}
    for number in range(segments):
        at = BEGAN + number * 60
        lines = [line("sealed", at + 60, {"stack": stack, "count": 3}), *life(f"D{number}", at)]
        found += [json.loads(text) for text in entries(state, lines)]
        state = ChainState(found[-1]["seq"], found[-1]["head"])
        if number % 2 or number == segments - 1:
            head = SignedHead(stack, state.size, state.head, timestamp(at + 90))
            notes[state.size] = signed(head, private)
    header = {
        "evidence": 1,
        "stack": stack,
        "first": 1,
        "last": state.size,
        "previous": genesis(stack),
    }
    return EvidenceFile(header, found, notes, {"head": state.head, "last": state.size})


def key_text() -> str:
    """Return the key as `aws kms get-public-key --output text` prints it."""
    der = bytes.fromhex("302a300506032b6570032100") + public().data
    return b64encode(der).decode()


def codes(found: Sequence[Any]) -> set[str]:
    return {one.code for one in found}
