"""The demo: a live copy from 6 to 24 partitions on a real Kafka, one worker killed and one frozen on the way, then the audit.

Each step waits for what it can observe, never for time to pass; what it saw is told as it happens.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from cutover.connection import Connection
from cutover.engine import auditing
from cutover.engine.audit_events import Verdict
from cutover.engine.configuration import MirrorConfiguration
from cutover.engine.crew import Crew, Restart, Worker
from cutover.engine.events import LaneChange
from cutover.engine.mirroring import Happening, Mirroring, Wanted, prepare
from cutover.engine.status import MirrorStatus
from cutover.errors import AuditViolation, RehearsalStuck
from cutover.kafka.embedded import EmbeddedKafka
from cutover.model import Isolation, TopicPartition
from cutover.ports import Cluster
from cutover.rehearsal.traffic import Sent, Traffic, TrafficProcess

ORIGIN, FOLLOWER = "orders", "orders.v2"
ORIGIN_PARTITIONS, FOLLOWER_PARTITIONS = 6, 24
PRODUCERS = 3
RECORDS_PER_SECOND = 5000
HISTORY_RECORDS = 10_000
WORKERS = 2
TRANSACTION_TIMEOUT_SECONDS = 5.0
FROZEN_SECONDS = TRANSACTION_TIMEOUT_SECONDS + 2
STEP_SECONDS = 45.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the story, and when; `status` instead of words for the line that is renewed in place."""

    at_seconds: float
    words: str
    status: MirrorStatus | None = None


@dataclass(slots=True)
class Story:
    """One telling. `tell` hears every line at once."""

    tell: Callable[[Told], None]
    _began: float = field(default_factory=time.monotonic)
    _renewed: int = 0

    def play(self, connect: Callable[[Connection], AbstractContextManager[Cluster]]) -> None:
        """Play it whole; raises what went wrong, and Violation when the audit is not green."""
        with ExitStack() as ends:
            kafka = ends.enter_context(EmbeddedKafka())
            connection = Connection.of({"bootstrap.servers": kafka.bootstrap_servers})
            self._say(f"Apache Kafka is up at {kafka.bootstrap_servers}")
            cluster = ends.enter_context(connect(connection))
            cluster.create_topic(ORIGIN, ORIGIN_PARTITIONS, replication_factor=1)
            cluster.create_topic(
                FOLLOWER, FOLLOWER_PARTITIONS, replication_factor=1, configs={"retention.ms": "-1", "max.message.bytes": "1049000"}
            )
            self._say(f"topics {ORIGIN} ({ORIGIN_PARTITIONS} partitions) and {FOLLOWER} ({FOLLOWER_PARTITIONS}) are made")
            producers = self._start_producers(kafka.bootstrap_servers, ends)
            self._wait(lambda: _written(cluster) >= HISTORY_RECORDS, f"{HISTORY_RECORDS:,} records on {ORIGIN}")
            mirroring, crew = self._start_mirror(cluster, connection, ends)
            live = self._live(mirroring)
            self._kill_one(live, crew)
            self._freeze_one(live, crew)
            sent = [each.stop() for each in producers]
            self._say(f"the producers stopped: {sum(each.acknowledged for each in sent):,} records acknowledged, {_failed(sent)} failed")
            self._drain(live, cluster, crew)
            self._judge(cluster, connection, sum(each.acknowledged for each in sent))

    def _start_producers(self, bootstrap: str, ends: ExitStack) -> list[TrafficProcess]:
        each_rate = RECORDS_PER_SECOND / PRODUCERS
        started = [TrafficProcess.start(Traffic(bootstrap, ORIGIN, f"teller-{number}", each_rate)) for number in range(1, PRODUCERS + 1)]
        for one in started:
            ends.callback(one.kill)
        self._say(f"{PRODUCERS} producer processes write {RECORDS_PER_SECOND:,} records/s to {ORIGIN}")
        return started

    def _start_mirror(self, cluster: Cluster, connection: Connection, ends: ExitStack) -> tuple[Mirroring, Crew]:
        prepared = prepare(cluster, connection, Wanted(ORIGIN, FOLLOWER, "murmur2", workers=WORKERS))
        crew = Crew(_hurried(prepared.configuration), WORKERS)
        ends.callback(crew.stop, "the demo is over")
        crew.start()
        self._say(f"a mirror of {WORKERS} workers copies {ORIGIN} to {FOLLOWER}, {prepared.configuration.lanes} lanes")
        return Mirroring(cluster, prepared, crew), crew

    def _live(self, mirroring: Mirroring) -> Iterator[Happening]:
        for happening in mirroring.happenings(_pause, until_caught_up=False):
            if isinstance(happening, MirrorStatus):
                self.tell(Told(self._now(), "", happening))
            yield happening

    def _kill_one(self, live: Iterator[Happening], crew: Crew) -> None:
        self._until(live, lambda _: _shared(crew), "both workers copying")
        victim, lanes = _pid(crew.workers[0]), _lanes(crew.workers[0])
        os.kill(victim, signal.SIGKILL)
        self._say(f"worker 1 is killed with -9 while it copies lanes {lanes}")
        self._until(live, lambda seen: isinstance(seen, Restart), "the death noticed")
        self._say("its death was noticed; a new worker is started in its place")
        self._until(live, lambda _: _shared(crew) and _pid(crew.workers[0]) != victim, "the lanes of the dead taken over")
        self._say("the dead worker's lanes are fenced, recovered from the follower's log and copied on")

    def _freeze_one(self, live: Iterator[Happening], crew: Crew) -> None:
        frozen, lanes = _pid(crew.workers[1]), _lanes(crew.workers[1])
        since = time.monotonic()
        os.kill(frozen, signal.SIGSTOP)
        try:
            self._say(f"worker 2 is frozen while it copies lanes {lanes}; transactions time out after {TRANSACTION_TIMEOUT_SECONDS:g} s")
            everything = tuple(range(crew.configuration.lanes))
            self._until(live, lambda _: _lanes(crew.workers[0]) == everything, "worker 1 holding all lanes")
            self._say("worker 1 has taken over all lanes")
            self._until(live, lambda _: time.monotonic() - since > FROZEN_SECONDS, "the frozen one's transaction timed out")
        finally:
            os.kill(frozen, signal.SIGCONT)
        self._say(f"worker 2 wakes up after {time.monotonic() - since:.1f} s, as a zombie that still believes in its lanes")
        self._until(live, lambda seen: isinstance(seen, LaneChange) and seen.change in {"fenced", "released"}, "the zombie found out")
        self._until(live, lambda _: _shared(crew), "both workers copying again")
        self._say("the zombie was refused by the brokers, joined again and was given lanes")

    def _drain(self, live: Iterator[Happening], cluster: Cluster, crew: Crew) -> None:
        ends = _ends(cluster)

        def reached(seen: Happening) -> bool:
            return isinstance(seen, MirrorStatus) and all(seen.committed.get(p, -1) >= end for p, end in ends.items())

        self._until(live, reached, "everything copied")
        crew.stop("everything is copied")
        self._say("everything is copied; the workers stopped")

    def _judge(self, cluster: Cluster, connection: Connection, acknowledged: int) -> None:
        audit = auditing.Auditing(auditing.prepare(cluster, connection, auditing.Wanted(ORIGIN, FOLLOWER, "murmur2")))
        try:
            verdict = next(seen for seen in audit.happenings(STEP_SECONDS) if isinstance(seen, Verdict))
        finally:
            audit.stop("the verdict is there")
        auditing.require_proved(verdict, ORIGIN, FOLLOWER)
        proved = verdict.coverage.proved
        if proved != acknowledged:
            raise AuditViolation(
                f"{proved:,} records are proved equal and {acknowledged:,} were acknowledged", why="The two counts must agree."
            )
        self._say(
            f"audit: green. All {proved:,} acknowledged records are in {FOLLOWER} once, in order, byte for byte"
            f" ({verdict.pairs_equal} of {verdict.pairs_total} partition pairs equal, read in {verdict.seconds:.1f} s)"
        )

    def _until(self, live: Iterator[Happening], seen: Callable[[Happening], bool], what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        for happening in live:
            if seen(happening):
                return
            if time.monotonic() > deadline:
                break
        raise RehearsalStuck(f"waited {STEP_SECONDS:g} s in vain for: {what}", step=what)

    def _wait(self, seen: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not seen():
            if time.monotonic() > deadline:
                raise RehearsalStuck(f"waited {STEP_SECONDS:g} s in vain for: {what}", step=what)
            time.sleep(LOOK_SECONDS)

    def _say(self, words: str) -> None:
        self.tell(Told(self._now(), words))

    def _now(self) -> float:
        return time.monotonic() - self._began


def _hurried(configuration: MirrorConfiguration) -> MirrorConfiguration:
    return configuration.model_copy(update={"transaction_timeout_ms": int(TRANSACTION_TIMEOUT_SECONDS * 1000)})


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _shared(crew: Crew) -> bool:
    """Every worker copies, and together they hold each lane once."""
    held = [lane for worker in crew.workers for lane in _lanes(worker)]
    copying = all(worker.progress and worker.progress.lanes for worker in crew.workers)
    settled = all(lane.state == "copying" for worker in crew.workers if worker.progress for lane in worker.progress.lanes)
    return copying and settled and sorted(held) == list(range(crew.configuration.lanes))


def _lanes(worker: Worker) -> tuple[int, ...]:
    return tuple(lane.lane for lane in worker.progress.lanes) if worker.progress else ()


def _pid(worker: Worker) -> int:
    if worker.process is None or worker.process.pid is None:
        raise RehearsalStuck(f"worker {worker.name} has no process", step="harming a worker")
    return worker.process.pid


def _ends(cluster: Cluster) -> Mapping[int, int]:
    partitions = [TopicPartition(ORIGIN, number) for number in range(ORIGIN_PARTITIONS)]
    return {where.partition: end for where, end in cluster.end_offsets(partitions, Isolation.READ_COMMITTED).items()}


def _written(cluster: Cluster) -> int:
    return sum(_ends(cluster).values())


def _failed(sent: list[Sent]) -> int:
    return sum(each.failed for each in sent)
