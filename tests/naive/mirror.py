"""A transactional consume-transform-produce loop on librdkafka, by the book of its examples, one call at a time.

Every error is raised, so a test that sees none has seen every call succeed. What it lacks is what this project is about:
it trusts the client's word about the outcome of a transaction.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from cutover.partitioners import partition
from tests.judge.reading import committed, header_list, width
from tests.judge.verdict import PROVENANCE_KEY, Place, stamp

RUN_ID = bytes.fromhex("6e61697665000000")
CALL_SECONDS = 20.0


class NaiveMirror(AbstractContextManager["NaiveMirror"]):
    """Copies one origin topic to a follower by murmur2 of the key; its positions are the group's committed ones on the origin.

    `bootstrap` is where the transactions go (through a proxy), `reading` where the origin is read.
    """

    def __init__(self, bootstrap: str, reading: str, origin: str, follower: str, *, group: str, socket_timeout_ms: int = 1000) -> None:
        """Open the loop and fence its predecessor; it goes on at the group's committed positions."""
        self.origin, self.follower = origin, follower
        self._consumer = Consumer({"bootstrap.servers": reading, "group.id": group, "enable.auto.commit": False})
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": group,
                "socket.timeout.ms": socket_timeout_ms,
                "transaction.timeout.ms": 60_000,
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(CALL_SECONDS)
        self._width = width(self._consumer, follower)
        self.rewind()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave as a process does that ends: nothing is committed or aborted any more."""
        self._producer.purge()
        self._consumer.close()

    def rewind(self) -> None:
        """Go back to the committed positions, as a loop does after an abort and at its start."""
        asked = [TopicPartition(self.origin, number) for number in range(width(self._consumer, self.origin))]
        found = committed(self._consumer, asked, CALL_SECONDS)
        self._consumer.assign(
            [TopicPartition(each.topic, each.partition, each.offset if each.offset >= 0 else OFFSET_BEGINNING) for each in found]
        )

    def take(self, count: int) -> list[Message]:
        """Read exactly so many records of the origin."""
        taken: list[Message] = []
        deadline = time.monotonic() + CALL_SECONDS
        while len(taken) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(taken)} of {count} records came")
            for message in self._consumer.consume(count - len(taken), 0.1):
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                taken.append(message)
        return taken

    def begin(self) -> None:
        """Begin a transaction."""
        self._producer.begin_transaction()

    def copy(self, records: Sequence[Message]) -> None:
        """Produce the copies and wait for their acknowledgements; raises the first that failed."""
        failed: list[KafkaError] = []
        for each in records:
            key = each.key()
            at = place_of(each)
            self._producer.produce(
                self.follower,
                value=each.value(),
                key=key,
                partition=partition("murmur2", key if isinstance(key, bytes) else b"", self._width),
                timestamp=each.timestamp()[1],
                headers=[*header_list(each), (PROVENANCE_KEY, stamp(RUN_ID, 0, at))],
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
        if self._producer.flush(CALL_SECONDS):
            raise TimeoutError("records are still not acknowledged")
        if failed:
            raise KafkaException(failed[0])

    def send_positions(self, records: Sequence[Message]) -> None:
        """Add the positions after these records to the transaction."""
        nexts: dict[int, int] = {}
        for each in records:
            at = place_of(each)
            nexts[at.partition] = at.offset + 1
        positions = [TopicPartition(self.origin, number, offset) for number, offset in nexts.items()]
        self._producer.send_offsets_to_transaction(positions, self._consumer.consumer_group_metadata(), CALL_SECONDS)

    def commit(self) -> None:
        """Commit the transaction."""
        self._producer.commit_transaction(CALL_SECONDS)

    def abort(self) -> None:
        """Abort the transaction and go back to the committed positions."""
        self._producer.abort_transaction(CALL_SECONDS)
        self.rewind()

    def run(self, count: int) -> Self:
        """Copy so many records in one transaction, from where it stands."""
        self.begin()
        records = self.take(count)
        self.copy(records)
        self.send_positions(records)
        self.commit()
        return self


def place_of(record: Message) -> Place:
    """Where a record stands on the origin."""
    number, offset = record.partition(), record.offset()
    if number is None or offset is None:
        raise ValueError("a record without coordinates was read")
    return Place(number, offset)
