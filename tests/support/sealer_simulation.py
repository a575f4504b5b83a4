"""A sealer over models of the table, the bucket and the key, and what an auditor reads of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from sluicegate.aws.evidence_bucket import EvidenceBucket
from sluicegate.aws.kms import SigningKey
from sluicegate.evidence.facts import Fact
from sluicegate.evidence.line import line
from sluicegate.sealer.sealer import SealedGate, Sealer, SealingReport
from sluicegate.store.evidence_log import EvidenceLog
from sluicegate.store.facts import fact_item
from sluicegate.store.table import Table
from support.evidence_models import EvidenceBucketModel, KmsModel
from support.simulation import TABLE, Simulation, simulation

STACK = "111111111111/eu-central-1/sluicegate"
KEY = "arn:aws:kms:eu-central-1:111111111111:key/0b1c2d3e-0000-0000-0000-000000000000"
GATE = SealedGate("9" * 64, b'{"format":8}', (("commit", "abc"), ("pipeline", "81")))


@dataclass
class SealerSimulation:
    """`sealer` makes a process of its own, as Lambda does after a cold start."""

    at: Simulation
    bucket: EvidenceBucketModel = field(default_factory=EvidenceBucketModel)
    kms: KmsModel = field(default_factory=KmsModel)
    facts: int = 0

    def __post_init__(self) -> None:
        self.kms.add(KEY, b"\x01" * 32)
        self.table = Table(self.at.client, TABLE, self.at.clock.sleep)

    def log(self, name: str = "1") -> EvidenceLog:
        return EvidenceLog(self.table, name, self.at.clock)

    def sealer(
        self,
        *,
        stack: str = STACK,
        log: str = "1",
        gate: SealedGate = GATE,
        bucket: Any = None,
        keys: tuple[str, ...] = (KEY,),
    ) -> Sealer:
        return Sealer(
            self.log(log),
            EvidenceBucket(cast(Any, bucket or self.bucket), "evidence"),
            [SigningKey(cast(Any, self.kms), arn) for arn in keys],
            stack=stack,
            prefix="" if log == "1" else f"log-{log}/",
            gate=gate,
            clock=self.at.clock,
        )

    def run(self, **given: Any) -> SealingReport:
        return self.sealer(**given).run(self.at.clock() + 40)

    def write(self, number: int = 1, **fields: Any) -> None:
        """Write so many facts, each a moment after the other."""
        for _ in range(number):
            self.facts += 1
            self.at.clock.now += 0.001
            text = line("ended", self.at.clock(), {"deployment": f"D{self.facts}", **fields})
            fact = Fact(f"fact#D{self.facts}", "00000001#ended", text, json.loads(text)["time"])
            self.table.put(fact_item(fact))

    def segments(self, prefix: str = "") -> list[dict[str, Any]]:
        """Return all entries in the bucket, by their place."""
        keys = sorted(key for key in self.bucket.objects if key.startswith(f"{prefix}segments/"))
        bodies = [self.bucket.current(key) or b"" for key in keys]
        return [json.loads(text) for body in bodies for text in body.decode().splitlines()]

    def notes(self, prefix: str = "") -> list[str]:
        keys = sorted(key for key in self.bucket.objects if key.startswith(f"{prefix}heads/"))
        return [(self.bucket.current(key) or b"").decode() for key in keys]


@contextmanager
def sealer_simulation() -> Iterator[SealerSimulation]:
    with simulation() as at:
        yield SealerSimulation(at)
