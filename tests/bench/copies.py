"""A copy of one topic into another, seen from outside: the same watch for everybody who copies."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from cutover.engine.configuration import Topic
from tests.bench.ground import Ground
from tests.bench.measured import Watched, busy_seconds, cpu_seconds


@dataclass(frozen=True, slots=True)
class Copy:
    """One repetition. `seconds` run from the first record on the follower to the last position committed on the origin,
    `warm_seconds` over the last `warm_records` of them, `whole_seconds` from the start of the process. CPU is that of the client's
    processes, from their start; `others_cores` is what everything else on the machine used meanwhile."""

    records: int
    seconds: float
    warm_records: int
    warm_seconds: float
    whole_seconds: float
    cpu_seconds: float
    warm_cpu_seconds: float
    peak_bytes: int
    broker_cpu_seconds: float
    others_cores: float

    @property
    def rate(self) -> float:
        return self.records / self.seconds

    @property
    def warm_rate(self) -> float:
        return self.warm_records / self.warm_seconds if self.warm_seconds > 0 else self.rate

    @property
    def whole_rate(self) -> float:
        return self.records / self.whole_seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the client per record."""
        return self.cpu_seconds / self.records * 1e6

    @property
    def warm_cpu_us(self) -> float:
        return self.warm_cpu_seconds / self.warm_records * 1e6 if self.warm_records else self.cpu_us

    @property
    def broker_cpu_us(self) -> float:
        return self.broker_cpu_seconds / self.records * 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a copy was at a moment (seconds since 1970): the sum of high watermarks, the sum of committed positions."""

    at: float
    written: int
    committed: int


@dataclass(frozen=True, slots=True)
class Moments:
    """When a copy began to be seen, when it was half done, and when all of it was committed."""

    first: Sample
    half: Sample
    end: Sample


def moments(samples: Sequence[Sample], records: int) -> Moments:
    """Find them; ValueError when the watch does not cover the copy."""
    if samples[0].written or samples[0].committed:
        raise ValueError("the watch began when something was copied already")
    if samples[-1].committed < records:
        raise ValueError("the watch ended before the copy")
    first = next(each for each in samples if each.written)
    half = next(each for each in samples if each.committed * 2 >= records)
    return Moments(first, half, samples[-1])


def observe(
    ground: Ground, origin: Topic, follower: Topic, group: str, records: int, copier: AbstractContextManager[Sequence[int]]
) -> Copy:
    """Let somebody copy, whose processes `copier` gives, and watch until all is committed."""
    options = {"topic": origin.name, "follower": follower.name, "group": group, "records": records, "partitions": follower.partitions}
    with ground.peer("watch", **options) as watching:
        broker, busy, began = cpu_seconds(ground.broker_pid), busy_seconds(), time.time()
        with copier as pids, Watched(pids) as watched:
            said = watching.result()
            used = watched.usage()
            broker, busy = cpu_seconds(ground.broker_pid) - broker, busy_seconds() - busy
            seen = moments([Sample(**each) for each in said.answer], records)
            warm_cpu = watched.cpu_since(seen.half.at)
    whole = seen.end.at - began
    return Copy(
        records=records,
        seconds=seen.end.at - seen.first.at,
        warm_records=records - seen.half.committed,
        warm_seconds=seen.end.at - seen.half.at,
        whole_seconds=whole,
        cpu_seconds=used.cpu_seconds,
        warm_cpu_seconds=warm_cpu,
        peak_bytes=used.peak_bytes,
        broker_cpu_seconds=broker,
        others_cores=max(0.0, busy - used.cpu_seconds - broker - said.usage.cpu_seconds) / whole,
    )
