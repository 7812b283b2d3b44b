"""A pair that is flipped for real: records by key on whichever topic is primary, one crew per epoch, cuts as the flip takes them.

It holds no producer, since it is the only one; everything else is what the driver does.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer

from cutover import protocol, wiring
from cutover.connection import Connection
from cutover.engine import auditing
from cutover.engine.audit_events import Verdict, VerifiedCut
from cutover.engine.auditing import AuditConfiguration, Auditing, Happening
from cutover.engine.configuration import MirrorConfiguration, Start, Topic
from cutover.engine.control import Control
from cutover.engine.crew import Crew
from cutover.kafka.admin import KafkaCluster
from cutover.model import Isolation, Record, TopicPartition
from cutover.run import Run
from tests.conftest import MakeTopic

PATIENCE_SECONDS = 150.0
KEYS = 60
Vector = dict[int, int]


@dataclass(frozen=True)
class Taken:
    """A cut: what the pair held on both sides when an epoch ended."""

    source: Vector
    target: Vector

    def of(self, topic: str, source: str) -> Vector:
        return self.source if topic == source else self.target


@dataclass
class Flipped:
    """One pair through its epochs."""

    bootstrap: str
    connection: Connection
    cluster: KafkaCluster
    control: Control
    source: Topic
    target: Topic
    log: str
    name: str
    lanes: int = 2
    cuts: list[Taken] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def create(cls, bootstrap: str, cluster: KafkaCluster, control: Control, topic: MakeTopic, counts: tuple[int, int]) -> "Flipped":
        roomy = {"max.message.bytes": "2000000"}
        names = [topic(count, roomy, name=name) for count, name in zip(counts, "st", strict=True)]
        described = cluster.describe_topics(names)
        source, target = (
            Topic(name=each, id=described[each].topic_id, partitions=len(described[each].partitions), max_message_bytes=2_000_000)
            for each in names
        )
        name, log = f"run-{uuid.uuid4().hex[:8]}", topic(1, name="control")
        made = cls(bootstrap, Connection.load(bootstrap=bootstrap), cluster, control, source, target, log, name, min(counts[0], 2))
        told = [protocol.Topic(name=each.name, id=each.id, partitions=each.partitions) for each in (source, target)]
        made.say(protocol.Pair(pair=name, run=name, source=told[0], target=told[1], partitioner="murmur2"))
        return made

    def say(self, *messages: protocol.Message) -> None:
        """Append to the control log."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
        for each in messages:
            producer.produce(self.log, each.encoded())
        assert producer.flush(PATIENCE_SECONDS) == 0

    @property
    def epoch(self) -> int:
        return len(self.cuts)

    def run(self, epoch: int | None = None) -> Run:
        return Run.of(self.name, self.source.id, self.target.id, self.epoch if epoch is None else epoch)

    def sides(self, epoch: int | None = None) -> tuple[Topic, Topic]:
        """Origin and follower."""
        odd = (self.epoch if epoch is None else epoch) % 2
        return (self.target, self.source) if odd else (self.source, self.target)

    def began(self, topic: Topic) -> Vector:
        """Where the present epoch began on a topic; nothing in the first one."""
        return self.cuts[-1].of(topic.name, self.source.name) if self.cuts else {}

    def mirror(self, **changes: object) -> MirrorConfiguration:
        run, (origin, follower) = self.run(), self.sides()
        start = Start(kind="offsets", offsets=self.began(origin)) if self.cuts else Start()
        return MirrorConfiguration(
            connection=self.connection.engine(),
            run=run.name,
            run_id=run.run_id,
            epoch=run.epoch,
            group=run.group,
            origin=origin,
            follower=follower,
            partitioner="murmur2",
            null_keys="keep_partition",
            start=start,
            lanes=self.lanes,
            follower_start=self.began(follower),
            control_topic=self.log,
            pair=self.name,
        ).model_copy(update=changes)

    @contextmanager
    def crew(self, size: int = 1, **changes: object) -> Iterator[Crew]:
        """The workers of the present epoch."""
        made = Crew(self.mirror(**changes), size, prefix=f"e{self.epoch}")
        made.start()
        try:
            yield made
        finally:
            made.stop("the test is done with it")

    def audited(self, **changes: object) -> AuditConfiguration:
        """What judges the present epoch, as `cutover audit` prepares it."""
        origin, follower = (each.name for each in self.sides())
        wanted = auditing.Wanted(origin, follower, "murmur2", run=self.name, epoch=self.epoch, follow=bool(changes.pop("follow", False)))
        return auditing.prepare(self.cluster, self.connection, wanted).model_copy(update=changes)

    def write(self, count: int, *, transactional: bool = False, to: Topic | None = None) -> None:
        """Numbered records by key to the primary; in one transaction, after one that is aborted, if asked for."""
        settings: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 2}
        if transactional:
            settings |= {"transactional.id": f"app-{uuid.uuid4().hex}"}
        producer = Producer(settings)
        topic = to or self.sides()[0]
        if transactional:
            producer.init_transactions(PATIENCE_SECONDS)
            producer.begin_transaction()
            producer.produce(topic.name, b"aborted", b"key-0")
            producer.flush(PATIENCE_SECONDS)
            producer.abort_transaction(PATIENCE_SECONDS)
            producer.begin_transaction()
        for number in itertools.islice(self.numbers, count):
            producer.produce(topic.name, b"%d" % number, b"key-%d" % (number * 7 % KEYS), headers=[("n", b"%d" % number)])
            producer.poll(0)
        assert producer.flush(PATIENCE_SECONDS) == 0
        if transactional:
            producer.commit_transaction(PATIENCE_SECONDS)

    def where(self, topic: Topic) -> list[TopicPartition]:
        return [TopicPartition(topic.name, number) for number in range(topic.partitions)]

    def ends(self, topic: Topic, isolation: Isolation = Isolation.READ_COMMITTED) -> Vector:
        return {each.partition: end for each, end in self.cluster.end_offsets(self.where(topic), isolation).items()}

    def settled(self, topic: Topic) -> Vector:
        """The end of a topic once every marker is written."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (stands := self.ends(topic, Isolation.READ_UNCOMMITTED)) != self.ends(topic):
            assert time.monotonic() < deadline, f"a transaction on {topic.name} stays open"
        return stands

    def drain(self, crew: Crew) -> Taken:
        """Let the crew come to the end of the primary, and read the cut that this makes."""
        origin, follower = self.sides()
        walls = self.settled(origin)
        crew.drain_to(walls)
        assert crew.wait_drained(PATIENCE_SECONDS) == walls
        ends = {origin.name: walls, follower.name: self.settled(follower)}
        return Taken(ends[self.source.name], ends[self.target.name])

    def end_epoch(self, crew: Crew) -> Taken:
        """The flip: the lanes of the epoch are shut out, the next one has the other primary."""
        cut = self.drain(crew)
        crew.stop("its epoch has ended")
        self.begin_next(cut, crew.lane_ids)
        return cut

    def begin_next(self, cut: Taken, lane_ids: Iterable[str]) -> None:
        """The commit point: whoever has slept through it finds its lanes taken, and then the log against it."""
        self.control.fence(list(lane_ids))
        epoch = self.epoch + 1
        to = protocol.Mode.TARGET if epoch % 2 else protocol.Mode.SOURCE
        told = protocol.Cut(source=cut.source, target=cut.target)
        self.say(
            protocol.Hold(pair=self.name, term=epoch, epoch=epoch, to=to, budget_ms=2000),
            protocol.Release(type=to.value, pair=self.name, term=epoch, epoch=epoch, cut=told),
        )
        self.cuts.append(cut)

    def live(self, count: int, crew: Crew) -> Taken:
        """Write while the mirror copies, then flip."""
        self.write(count)
        self.write(count // 3, transactional=True)
        self.write(count)
        return self.end_epoch(crew)

    def epochs(self, number: int, count: int = 300) -> None:
        """So many epochs from start to end."""
        for _ in range(number):
            with self.crew() as crew:
                self.live(count, crew)

    def read(self, topic: Topic, spans: Mapping[int, tuple[int, int]] | None = None) -> list[Record]:
        begins = {each.partition: begin for each, begin in self.cluster.begin_offsets(self.where(topic)).items()}
        wanted = spans or {p: (begins[p], end) for p, end in self.settled(topic).items()}
        reader = wiring.reader(self.connection)
        return list(reader.read({TopicPartition(topic.name, p): span for p, span in wanted.items()}))

    def by_key(self, topic: Topic) -> dict[bytes | None, list[bytes | None]]:
        """The values of each key, in the order in which a reader of the topic meets them."""
        found: dict[bytes | None, list[bytes | None]] = {}
        for each in sorted(self.read(topic), key=lambda record: (record.partition, record.offset)):
            found.setdefault(each.key, []).append(each.value)
        return found


def numbered(count: int) -> dict[bytes | None, list[bytes | None]]:
    """What each key's records must be, in this order, after so many were written."""
    wanted: dict[bytes | None, list[bytes | None]] = {}
    for number in range(count):
        wanted.setdefault(b"key-%d" % (number * 7 % KEYS), []).append(b"%d" % number)
    return wanted


@contextmanager
def audit(configuration: AuditConfiguration) -> Iterator[Auditing]:
    """A judge that is gone when the block is left."""
    made = Auditing(configuration)
    try:
        yield made
    finally:
        made.stop("the test is done with it")


def verdict_of(configuration: AuditConfiguration) -> Verdict:
    """What one reading of both topics shows."""
    with audit(configuration) as judge:
        found = [each for each in judge.happenings(PATIENCE_SECONDS) if isinstance(each, Verdict)]
    assert len(found) == 1
    return found[0]


def verified(judge: Auditing, cut: Mapping[str, Vector], seconds: float = PATIENCE_SECONDS) -> VerifiedCut:
    """Have exactly this cut proved: vectors by `origin` and `follower`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        judge.judge_now(seconds)
        for each in list(judge.happenings(0)):
            if isinstance(each, VerifiedCut) and (each.origin, each.follower) == (cut["origin"], cut["follower"]):
                return each
    raise TimeoutError("the cut was not proved")


def until(judge: Auditing, true: Callable[[Happening], bool], seconds: float = PATIENCE_SECONDS) -> Happening:
    """The first happening for which it is true."""
    for each in judge.happenings(seconds):
        if true(each):
            return each
    raise TimeoutError("it did not happen")


def kinds(verdict: Verdict) -> dict[str, int]:
    return dict(verdict.violations)


def places(verdict: Verdict, kind: str) -> Iterable[tuple[str, int, int]]:
    """Topic, partition and offset of the samples of a kind."""
    for each in verdict.samples:
        place = each.follower or each.origin
        if each.kind == kind and place is not None:
            yield place.topic, place.partition, place.offset
