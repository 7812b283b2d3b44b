"""A mirror for tests: copies as the engine does (transactions, provenance, positions with marks), with room to plant faults.

It is written from the formats' description alone, so it shares no code with the engine or with the audit.
"""

import dataclasses
import hashlib
import json
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient

from cutover.partitioners import family, null_key_partition

PROVENANCE = "_cutover"
Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Native:
    """A record of the origin."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


@dataclass(frozen=True)
class Mirrored:
    """A record on its way to the follower."""

    partition: int
    origin: tuple[int, int]
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    def but(self, **changes: object) -> "Mirrored":
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


Fault = Callable[[list[Mirrored]], Iterable[Mirrored]]


def as_they_are(records: list[Mirrored]) -> list[Mirrored]:
    return records


class Copying:
    """One run over one pair."""

    def __init__(
        self, bootstrap: str, origin: str, follower: str, *, null_keys: str = "keep_partition", partitioner: str = "murmur2"
    ) -> None:
        self.bootstrap = bootstrap
        self.origin, self.follower = origin, follower
        self.null_keys, self.family = null_keys, family(partitioner)
        described = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics
        self.origins, self.followers = len(described[origin].partitions), len(described[follower].partitions)
        self.run = f"test-{uuid.uuid4().hex[:8]}"
        self.group = f"cutover.{self.run}.0"
        self.run_id = hashlib.sha256(f"{self.run}|{_topic_id(bootstrap, origin)}|{_topic_id(bootstrap, follower)}".encode()).digest()[:8]
        self.positions = dict.fromkeys(range(self.origins), 0)
        self._producer: Producer | None = None
        self._producer_id = -1

    def copy(self, fault: Fault = as_they_are, *, until: dict[int, int] | None = None, batches: int = 2) -> list[Native]:
        """Copy what is there and commit; `fault` may change what is written, the positions say that nothing was changed."""
        natives = read_committed(self.bootstrap, self.origin, self.origins, self.positions)
        natives = [each for each in natives if until is None or each.offset < until[each.partition]]
        records = list(fault([self.mirrored(each) for each in natives]))
        size = max(1, -(-len(records) // batches))
        for at in range(0, len(records), size) or (0,):
            last = at + size >= len(records)
            self._transaction(records[at : at + size], self._ends(until) if last else None)
        return natives

    def mirrored(self, native: Native) -> Mirrored:
        decides = native.key is not None and self.family.decides(native.key)
        where = (
            self.family.place(native.key or b"", self.followers)
            if decides
            else null_key_partition(self.null_keys, native.partition, native.offset, self.origins, self.followers)
        )
        return Mirrored(where, (native.partition, native.offset), native.key, native.value, native.headers, native.timestamp_ms)

    def provenance(self, origin: tuple[int, int]) -> bytes:
        return struct.pack(">B8sIIQ", 1, self.run_id, 0, *origin)

    def _ends(self, until: dict[int, int] | None) -> dict[int, int]:
        return until or end_offsets(self.bootstrap, self.origin, self.origins)

    def _transaction(self, records: Sequence[Mirrored], ends: dict[int, int] | None) -> None:
        producer = self.producer()
        producer.begin_transaction()
        for each in records:
            headers: list[tuple[str, str | bytes | None]] = [*each.headers, (PROVENANCE, self.provenance(each.origin))]
            producer.produce(self.follower, each.value, each.key, partition=each.partition, timestamp=each.timestamp_ms, headers=headers)
        if ends is not None:
            mark = {"r": self.run_id.hex(), "e": 0, "a": 0, "f": 0, "p": [self._producer_id]}
            where = [TopicPartition(self.origin, number, offset, metadata=json.dumps(mark)) for number, offset in ends.items()]
            consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
            producer.send_offsets_to_transaction(where, consumer.consumer_group_metadata(), 30)
            consumer.close()
            self.positions |= ends
        producer.commit_transaction(30)

    def producer(self) -> Producer:
        """The lane's own producer."""
        if self._producer is None:
            name = f"{self.group}.0"
            self._producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": name, "compression.type": "lz4"})
            self._producer.init_transactions(30)
            self._producer_id = producer_id(self.bootstrap, name)
        return self._producer


def producer_id(bootstrap: str, transactional_id: str) -> int:
    """The coordinator's word for who writes under the id."""
    asking = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        return int(asking.describe_transactions([transactional_id])[transactional_id].producer_id)
    finally:
        asking.close()


def read_committed(bootstrap: str, topic: str, partitions: int, starts: dict[int, int] | None = None) -> list[Native]:
    """Every committed record from the starts to the ends of now, by partition and offset."""
    ends = end_offsets(bootstrap, topic, partitions)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "copying",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, number, (starts or {}).get(number, 0)) for number in range(partitions)])
    found: list[Native] = []
    open_ = {number for number in range(partitions) if ends[number] > (starts or {}).get(number, 0)}
    deadline = time.monotonic() + 90
    while open_:
        assert time.monotonic() < deadline, f"{topic} could not be read to its end"
        for message in consumer.consume(1000, 0.05):
            number = message.partition() or 0
            if message.error() is not None:
                open_.discard(number)
                continue
            headers = tuple(message.headers() or ())
            found.append(
                Native(number, message.offset() or 0, message.key(), message.value(), headers, message.timestamp()[1])  # type: ignore[arg-type]
            )
    consumer.close()
    return sorted(found, key=lambda each: (each.partition, each.offset))


def end_offsets(bootstrap: str, topic: str, partitions: int) -> dict[int, int]:
    """Last stable offsets."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "copying", "isolation.level": "read_committed"})
    try:
        return {number: consumer.get_watermark_offsets(TopicPartition(topic, number), 10)[1] for number in range(partitions)}
    finally:
        consumer.close()


def _topic_id(bootstrap: str, topic: str) -> str:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    told = str(admin.describe_topics(TopicCollection([topic]))[topic].result(60).topic_id)
    return told.translate(str.maketrans("+/", "-_"))  # librdkafka prints plain base64, Kafka's tools the URL-safe one
