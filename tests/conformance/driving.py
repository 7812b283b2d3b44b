"""A driver for tests: it writes the control log as the real one does, in transactions, and hears it as everybody does."""

import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import confluent_kafka
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from cutover.protocol import (
    Ack,
    Close,
    ControlState,
    Cut,
    Expired,
    Hold,
    Leave,
    Message,
    Mode,
    Pair,
    PairState,
    Read,
    Record,
    Release,
    Side,
    Stop,
    Topic,
    Until,
    parse,
)

CUT = Cut(source={0: 0}, target={0: 0})


class Driver:
    """Opens a pair over two topics, asks and decides; `state` is the log as far as it was heard."""

    def __init__(self, bootstrap: str, control: str) -> None:
        self.bootstrap, self.control = bootstrap, control
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.state = ControlState()
        self.records: list[tuple[int, Record]] = []
        self.pair = ""
        self._writer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": f"driver-{control}",
                "linger.ms": 0,
                "retry.backoff.ms": 5,
                "socket.nagle.disable": True,
            }
        )
        self._writer.init_transactions(30)
        self._reader = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "driver",
                "auto.offset.reset": "error",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 1,
                "fetch.error.backoff.ms": 5,
                "socket.nagle.disable": True,
            }
        )
        self._reader.assign([TopicPartition(control, 0, 0)])

    def say(self, record: Message) -> None:
        """Append a record in a transaction of its own."""
        self._writer.begin_transaction()
        self._writer.produce(self.control, record.encoded(), partition=0)
        self._writer.commit_transaction(30)

    def whisper(self, value: bytes) -> None:
        """Append any bytes, plainly."""
        plain = Producer({"bootstrap.servers": self.bootstrap})
        plain.produce(self.control, value, partition=0)
        assert plain.flush(30) == 0

    def listen(self, seconds: float = 0.05) -> None:
        """Hear what has come."""
        message = self._reader.poll(seconds)
        while message is not None:
            error = message.error()
            if error is None:
                record = parse(message.value())
                self.records.append((message.offset() or 0, record))
                self.state = self.state.then(message.offset() or 0, record)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise AssertionError(error.str())
            message = self._reader.poll(0)

    def until(self, seen: Callable[[], object], what: str, seconds: float = 90.0) -> None:
        """Hear the log until something is seen; AssertionError naming it otherwise."""
        deadline = time.monotonic() + seconds
        while not seen():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            self.listen()

    @property
    def here(self) -> PairState:
        """The pair as the log has it."""
        return self.state.pairs[self.pair]

    def open(self, source: str, target: str, null_keys: str = "keep_partition") -> None:
        """Open a pair; mode SOURCE."""
        self.pair = f"pair-{uuid.uuid4().hex[:8]}"
        told = {"source": self._told(source), "target": self._told(target), "partitioner": "murmur2", "null_keys": null_keys}
        self.say(Pair.model_validate({"pair": self.pair, "run": "test", **told}))
        self.until(lambda: self.pair in self.state.pairs, "the pair stands in the log")

    def _told(self, topic: str) -> Topic:
        deadline = time.monotonic() + 90
        while True:
            try:
                found = self.admin.describe_topics(TopicCollection([topic]))[topic].result(60)
                break
            except KafkaException as error:  # a broker may not have heard of a new topic yet
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                    raise
        return Topic(name=topic, id=str(found.topic_id), partitions=len(found.partitions))

    def joined(self, count: int) -> None:
        """So many instances have joined."""
        self.until(lambda: len(self.state.instances) >= count, f"{count} instances have joined")

    def hold(self, to: Mode = Mode.TARGET, budget_ms: int = 5000) -> int:
        """Ask producers to stop; the term."""
        self.listen()
        term = self.here.term + 1
        self.say(Hold(pair=self.pair, term=term, epoch=self.here.epoch + 1, to=to, budget_ms=budget_ms))
        self.until(lambda: self.here.term >= term, "HOLD stands in the log")
        return term

    def all_held(self) -> Mapping[str, Ack]:
        """Everybody who must has acknowledged; what they said."""
        self.until(lambda: self.here.hold is None or not self.state.missing(self.pair), "all have acknowledged")
        assert self.here.hold is not None, f"the hold was decided: {self.here.outcomes}"
        return self.here.hold.acks

    def release(self, term: int, to: Mode = Mode.TARGET) -> None:
        """The commit point of a switch."""
        self.say(Release(type=to.value, pair=self.pair, term=term, epoch=self.here.epoch + 1, cut=CUT))
        self.until(lambda: term in self.here.outcomes, "the term is decided")

    def undo(self, term: int) -> None:
        """Let producers go on where they were."""
        self.say(Release(type=self.here.mode.value, pair=self.pair, term=term, epoch=self.here.epoch))
        self.until(lambda: term in self.here.outcomes, "the term is decided")

    def flip(self, to: Mode = Mode.TARGET, budget_ms: int = 10000) -> Mapping[str, Ack]:
        """Hold, hear everybody, release."""
        term = self.hold(to, budget_ms)
        acks = self.all_held()
        self.release(term, to)
        return acks

    def stop(self, group: str, budget_ms: int = 20000) -> int:
        """Ask a group's members to stop; the term."""
        self.listen()
        term = self.here.term + 1
        self.say(Stop(pair=self.pair, group=group, term=term, budget_ms=budget_ms))
        self.until(lambda: self.here.term >= term, "STOP stands in the log")
        return term

    def all_stopped(self, group: str) -> Mapping[str, Ack]:
        """Every member has acknowledged; what they said."""
        self.until(lambda: self.here.group(group).stop is None or not self.state.missing(self.pair, group), "all have stopped", 40)
        stop = self.here.group(group).stop
        assert stop is not None, f"the stop was decided: {self.here.outcomes}"
        return stop.acks

    def until_offsets(self, group: str, term: int, offsets: Mapping[int, int], budget_ms: int | None = None) -> None:
        """Have the stopped members read on to these offsets."""
        self.say(Until(pair=self.pair, group=group, term=term, offsets=offsets, budget_ms=budget_ms))
        self.until(lambda: (stop := self.here.group(group).stop) is not None and stop.until is not None, "UNTIL stands in the log")

    def read(self, group: str, term: int, side: Side) -> None:
        """Let a group go on, on a side."""
        self.say(Read(pair=self.pair, group=group, term=term, side=side))
        self.until(lambda: term in self.here.outcomes, "the term is decided")

    def commit_positions(self, group: str, positions: list[TopicPartition]) -> None:
        """Write a group's positions in a transaction: a live group takes them."""
        stranger = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        self._writer.begin_transaction()
        self._writer.send_offsets_to_transaction(positions, stranger.consumer_group_metadata(), 30)
        self._writer.commit_transaction(30)
        stranger.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """A group's positions on a topic, as the cluster has them: a partition may have changed hands since its holder acknowledged."""
        count = len(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition) for partition in range(count)])
        found = self.admin.list_consumer_group_offsets([asked], require_stable=True)[group].result(60)
        return {each.partition: each.offset for each in found.topic_partitions if each.offset >= 0}

    def close_pair(self) -> None:
        """The pair is done with."""
        self.say(Close(pair=self.pair))
        self.until(lambda: self.here.closed, "the pair is closed")

    def forget(self, instance: str) -> None:
        """A person says that an instance is gone."""
        self.say(Leave(instance=instance, by="team-orders", reason="its host is gone"))

    def expired(self) -> list[Expired]:
        """Every EXPIRED heard."""
        return [record for _, record in self.records if isinstance(record, Expired)]

    def close(self) -> None:
        """Let go of the clients."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def make_topic(admin: AdminClient, name: str, partitions: int, config: Mapping[str, str] | None = None) -> str:
    """Create a topic with a name of its own."""
    unique = f"{name}-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(unique, partitions, 1, config=dict(config or {}))])[unique].result(30)
    return unique


def make_control_topic(admin: AdminClient) -> str:
    """A control topic as the real one is."""
    return make_topic(admin, "_control", 1, {"retention.ms": "-1", "cleanup.policy": "delete"})


def _await_markers(bootstrap: str, partitions: list[TopicPartition], seconds: float = 1.0) -> None:
    """EndTxn is answered before its markers are written: wait until none is missing, or for so long if a transaction stays open."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    asked = {each: OffsetSpec.latest() for each in partitions}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ends = [admin.list_offsets(dict(asked), isolation_level=each) for each in IsolationLevel]
        stable, high = ({where: future.result(60).offset for where, future in each.items()} for each in ends)
        if stable == high:
            return
        time.sleep(0.005)


def read_committed(bootstrap: str, topic: str, partitions: int) -> list[confluent_kafka.Message]:
    """Everything that stands in a topic now, committed."""
    _await_markers(bootstrap, [TopicPartition(topic, partition) for partition in range(partitions)])
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reads-all",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[confluent_kafka.Message] = []
    ended: set[int | None] = set()
    while len(ended) < partitions:
        for message in consumer.consume(1000, 0.2):
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error.str()
                ended.add(message.partition())
    consumer.close()
    return found
