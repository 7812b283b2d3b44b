"""A whole run in one test process: topics, a plan, a world and its driver, against the suite's Kafka."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import uuid4

from confluent_kafka import Producer

from cutover import goals, opening, wiring
from cutover.connection import Connection
from cutover.lifecycle import Halt, Seen, Stage
from cutover.plan import Plan
from cutover.world import World

PATIENCE_SECONDS = 180.0
DRIVER_LEASE_SECONDS = 8.0
opening.LEASE_SECONDS = 180.0  # a driver in the process of a test waits while its people act, on a machine that may be slow
"""Of drivers in processes of their own: a test waits for the lease of the dead, and a busy machine takes seconds over one step."""

BRISK: Mapping[str, Any] = {"quarantine": "0s", "mirror_lag_for": "200ms", "stage": "10m", "hold": "5s"}
ACCEPTED = ("CUT-PRE-005", "CUT-PRE-008", "CUT-PRE-010", "CUT-PRE-015", "CUT-PRE-003", "CUT-PRE-029", "CUT-PRE-033", "CUT-PRE-047")


@dataclass(slots=True)
class Cutting:
    """One run against one cluster."""

    bootstrap: str
    folder: Path
    source: str
    target: str
    partitions: int = 24
    wanted: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, bootstrap: str, folder: Path, *, source_partitions: int = 6, partitions: int = 24, **wanted: Any) -> Self:  # noqa: ANN401
        """A fresh source topic with unique names."""
        source = f"cut-{uuid4().hex[:10]}"
        made = cls(bootstrap, folder, source, f"{source}.v2", partitions, dict(wanted))
        with wiring.cluster(made.connection) as cluster:
            cluster.create_topic(source, source_partitions, replication_factor=1)
        return made

    @property
    def connection(self) -> Connection:
        return Connection.of({"bootstrap.servers": self.bootstrap})

    @property
    def journal(self) -> str:
        return f"sqlite:///{self.folder / 'journal.db'}"

    def document(self) -> dict[str, Any]:
        """The plan, with times of a test."""
        given = dict(self.wanted)
        budgets = {**BRISK, **given.pop("budgets", {})}
        target = given.pop("target", {})
        return {
            "cutover": f"run-{self.source}",
            "cluster": {"bootstrap": self.bootstrap},
            "source": {"topic": self.source},
            "target": {"topic": self.target, "partitions": self.partitions, **target},
            "partitioner": "murmur2",
            "budgets": budgets,
            "soak": {"for": "0s", "max_group_lag": 1_000_000},
            "acknowledged": list(ACCEPTED),
            **given,
        }

    @property
    def plan(self) -> Plan:
        return Plan.model_validate(self.document())

    def write(
        self, records: int, *, keys: int = 200, topic: str | None = None, prefix: str = "", partitioner: str = "murmur2_random"
    ) -> None:
        """Write records of some keys, numbered from 0, and wait until they are acknowledged."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "partitioner": partitioner, "linger.ms": 5})
        for number in range(records):
            producer.produce(topic or self.source, key=f"k{number % keys}", value=f"{prefix}{number}")
            producer.poll(0)
        assert producer.flush(30) == 0

    @contextmanager
    def world(self) -> Iterator[opening.Opened]:
        """The run, opened; its mirror is ended with it and not left running."""
        with opening.world(self.plan, self.connection, self.journal, "tester", tell=self.said.append) as opened:
            try:
                yield opened
            finally:
                for each in opened.world.pairs:
                    mirror = getattr(each.keeper, "_crew", None)
                    if mirror is not None:
                        mirror.stop("the test is over")

    def drive(self, opened: opening.Opened, to: Stage = Stage.COMPLETED, *, patience: "Waiting | None" = None) -> Halt:
        """Drive forward until the stage is done; fails the test when it takes too long."""
        goals.go_forward(opened.world, to)
        return self.go_on(opened, patience=patience)

    def back(self, opened: opening.Opened, to: Stage = Stage.PLANNED, *, patience: "Waiting | None" = None) -> Halt:
        """Roll back to a stage."""
        goals.turn_back(opened.world, to, "the test goes back")
        return self.go_on(opened, patience=patience)

    def go_on(self, opened: opening.Opened, *, patience: "Waiting | None" = None) -> Halt:
        """Drive until it halts."""
        waiting = patience or Patience(PATIENCE_SECONDS)
        halt = opened.driver(waiting.wait, waiting.see).drive()
        assert halt is not None, f"not within {waiting.seconds:g} s: {waiting.last}; {self.said[-8:]}"
        return halt


@dataclass(slots=True)
class CuttingTogether(Cutting):
    """One run over several pairs; `source` and `target` are the first one's."""

    pairs: list[tuple[str, str, int]] = field(default_factory=list)
    """Source, target, and the target's partitions."""

    @classmethod
    def of_pairs(cls, bootstrap: str, folder: Path, counts: Sequence[tuple[int, int]] = ((6, 24), (4, 12)), **wanted: Any) -> Self:  # noqa: ANN401
        """Fresh source topics with unique names; counts of source and target of each."""
        names = [f"set-{uuid4().hex[:10]}" for _ in counts]
        pairs = [(name, f"{name}.v2", count[1]) for name, count in zip(names, counts, strict=True)]
        made = cls(bootstrap, folder, names[0], f"{names[0]}.v2", counts[0][1], dict(wanted), [], pairs)
        with wiring.cluster(made.connection) as cluster:
            for name, count in zip(names, counts, strict=True):
                cluster.create_topic(name, count[0], replication_factor=1)
        return made

    def document(self) -> dict[str, Any]:
        """The plan, with times of a test."""
        told = Cutting.document(self)
        del told["source"], told["target"]
        pairs = [{"source": {"topic": source}, "target": {"topic": target, "partitions": count}} for source, target, count in self.pairs]
        return {**told, "pairs": pairs}


class Waiting(Protocol):
    """How long a test waits, and what happens meanwhile."""

    seconds: float
    last: str

    def wait(self, seconds: float, /) -> bool:
        """Sleep a little; True once the time is over."""

    def see(self, world: World, seen: Seen | None, /) -> None:
        """What the driver shows."""


@dataclass(slots=True)
class Patience:
    """Lets a driver go on for so long; remembers what it waited for."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    last: str = ""

    def wait(self, seconds: float) -> bool:
        """Sleep a little; True once the time is over."""
        time.sleep(min(seconds, 0.05))
        return time.monotonic() - self.began > self.seconds

    def see(self, world: World, seen: Seen | None) -> None:
        """What the driver shows."""
        self.last = f"{world.history.standing.stage}: {seen}"


def kill_environment() -> dict[str, str]:
    """The environment of a driver process of a test."""
    return {**os.environ, "NO_COLOR": "1"}
