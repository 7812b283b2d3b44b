"""Reads topics and positions for the judge: read_committed, to ends at which no transaction is open any more."""

import time
from dataclasses import dataclass

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from cutover.partitioners import null_key_partition, partition
from tests.judge.verdict import Place, Record, Verdict, compare

_BATCH = 500
_PAUSE_SECONDS = 0.02
_PASSING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._TRANSPORT,
    KafkaError._WAIT_COORD,
}


@dataclass(frozen=True)
class Judged:
    """Which mirror is judged: its topics, the group of its positions, and the formula that places keys."""

    bootstrap: str
    origin: str
    follower: str
    group: str
    family: str = "murmur2"


def judge(what: Judged, seconds: float = 90.0) -> Verdict:
    """Read both topics and the committed positions, and compare them."""
    reader = position_reader(what.bootstrap, what.group)
    origin = read_settled(what.bootstrap, what.origin, seconds)
    follower = read_settled(what.bootstrap, what.follower, seconds)
    positions = committed_positions(reader, what.origin)
    counts = width(reader, what.origin), width(reader, what.follower)
    reader.close()

    def place(key: bytes | None, at: Place) -> int:
        if key is None:
            return null_key_partition("keep_partition", *at, *counts)
        return partition(what.family, key, counts[1])

    return compare(origin, follower, positions, place)


def position_reader(bootstrap: str, group: str) -> Consumer:
    """A client that reads a group's positions without becoming a member."""
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0})


def committed_positions(reader: Consumer, topic: str, seconds: float = 90.0) -> dict[int, int]:
    """The reader's group's committed positions on a topic; waits while any is pending. Partitions without one are absent."""
    found = committed(reader, [TopicPartition(topic, number) for number in range(width(reader, topic))], seconds)
    return {each.partition: each.offset for each in found if each.offset >= 0}


def committed(reader: Consumer, asked: list[TopicPartition], seconds: float) -> list[TopicPartition]:
    """Ask for positions until the group's coordinator knows them."""
    # A consumer, because librdkafka's admin client crashes when its OffsetFetch meets a coordinator that is still loading.
    deadline = time.monotonic() + seconds
    while True:
        try:
            return reader.committed(asked, timeout=seconds)
        except KafkaException as refused:
            if refused.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def width(reader: Consumer, topic: str) -> int:
    """How many partitions a topic has."""
    return len(reader.list_topics(topic, timeout=10).topics[topic].partitions)


def end_offsets(admin: AdminClient, topic: str, isolation: IsolationLevel) -> dict[int, int]:
    """High watermarks, or last stable offsets."""
    partitions = admin.list_topics(topic, timeout=10).topics[topic].partitions
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in partitions}
    answers = admin.list_offsets(asked, isolation_level=isolation)
    return {each.partition: future.result(60).offset for each, future in answers.items()}


def wait_settled(admin: AdminClient, topic: str, seconds: float) -> None:
    """Wait until no transaction is open on a topic: an EndTxn is answered before its markers are written."""
    deadline = time.monotonic() + seconds
    while (stable := end_offsets(admin, topic, IsolationLevel.READ_COMMITTED)) != (
        ends := end_offsets(admin, topic, IsolationLevel.READ_UNCOMMITTED)
    ):
        if time.monotonic() > deadline:
            raise TimeoutError(f"a transaction on {topic} is still open after {seconds} s: stable {stable}, ends {ends}")
        time.sleep(_PAUSE_SECONDS)


def read_settled(bootstrap: str, topic: str, seconds: float = 90.0) -> list[Record]:
    """Read all committed records of a topic once no transaction is open on it."""
    wait_settled(AdminClient({"bootstrap.servers": bootstrap}), topic, seconds)
    return read_committed(bootstrap, topic, seconds)


def read_committed(bootstrap: str, topic: str, seconds: float = 90.0) -> list[Record]:
    """Read all committed records of a topic as far as they are stable now."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "judge",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 20,
    }
    consumer = Consumer(settings)
    try:
        count = width(consumer, topic)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(count)])
        return _read_to_ends(consumer, count, time.monotonic() + seconds)
    finally:
        consumer.close()


def _read_to_ends(consumer: Consumer, partitions: int, deadline: float) -> list[Record]:
    records: list[Record] = []
    ended: set[int | None] = set()
    while len(ended) < partitions:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{partitions - len(ended)} partitions were not read to their end")
        for message in consumer.consume(_BATCH, 0.1):
            error = message.error()
            if error is None:
                records.append(_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(error)
    return records


def _record(message: Message) -> Record:
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        raise ValueError("a record without coordinates was read")
    headers = tuple((key, _raw(value)) for key, value in header_list(message))
    return Record(partition, offset, _raw(message.key()), _raw(message.value()), headers, message.timestamp()[1])


def header_list(message: Message) -> list[tuple[str, str | bytes | None]]:
    """A message's headers in order; librdkafka gives a list, its types speak of a dictionary too."""
    headers = message.headers() or []
    return list(headers.items()) if isinstance(headers, dict) else headers


def _raw(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
