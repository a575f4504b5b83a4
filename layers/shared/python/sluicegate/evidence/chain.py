"""The hash chain: each head stands for all lines up to it, in their order.

    leaf = SHA-256(0x00 || line)
    head = SHA-256(0x01 || previous head || leaf)

The first head stands for the stack alone: the lines of one stack never fit another one's.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.evidence.line import canonical

SIZE_DIGITS: Final = 12
"""Digits of a number in the name of an object: so they sort by number."""


def leaf(line: str) -> str:
    """Return the hash of a line, in hex."""
    return hashlib.sha256(b"\x00" + line.encode()).hexdigest()


def genesis(stack: str) -> str:
    """Return the head before the first line of a stack's log."""
    return hashlib.sha256(b"\x02" + stack.encode()).hexdigest()


def next_head(head: str, leaf_hash: str) -> str:
    """Return the head after one more line. Both are in hex."""
    return hashlib.sha256(b"\x01" + bytes.fromhex(head) + bytes.fromhex(leaf_hash)).hexdigest()


@dataclass(frozen=True)
class ChainState:
    """How many lines there are, and the head that stands for them."""

    size: int
    head: str


def extend(state: ChainState, lines: Iterable[str]) -> ChainState:
    """Return the state after these lines."""
    size, head = state.size, state.head
    for text in lines:
        size, head = size + 1, next_head(head, leaf(text))
    return ChainState(size, head)


def entries(state: ChainState, lines: Sequence[str]) -> list[str]:
    """Return the NDJSON texts of the lines that come after a state: `hash`, `head`, `line`, `seq`."""
    texts = []
    size, head = state.size, state.head
    for text in lines:
        leaf_hash = leaf(text)
        size, head = size + 1, next_head(head, leaf_hash)
        # The same text as `canonical` would make of the whole: a line is canonical already.
        texts.append(f'{{"hash":"{leaf_hash}","head":"{head}","line":{text},"seq":{size}}}')
    return texts


def stub(entry: Mapping[str, Any]) -> str:
    """Return what stands for an entry that an export leaves out: without its line."""
    return canonical({name: entry[name] for name in ("hash", "head", "seq")})


def segment_key(first: int) -> str:
    """Return the object's name of the segment that begins with a number."""
    return f"segments/{first:0{SIZE_DIGITS}d}.ndjson"
