"""Reads the records of ranges with librdkafka: assigned, never in a group, and never jumping over what is missing."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Where

from cutover.connection import Connection
from cutover.errors import CutoverError, InvalidConnection, RangeExpired, RangeUnreadable, UnknownTopic
from cutover.kafka.errors import Asked, of_librdkafka
from cutover.kafka.session import LOG
from cutover.model import Isolation, Record, TopicPartition

BATCH_RECORDS = 5_000
POLL_SECONDS = 0.01
"""librdkafka waits so long for a full batch, also when the range has fewer records."""

FETCH_WAIT_MS = 20
"""How long a broker holds a fetch at the end of a partition, and so how late the end is known."""

PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE})
"""What librdkafka goes on after by itself; the deadline decides when it is over."""


class KafkaReader:
    """Implements Reader for one connection; each read has a client of its own."""

    def __init__(self, connection: Connection, *, timeout_seconds: float = 15.0) -> None:
        """Nothing is opened before a read."""
        self._connection = connection
        self._timeout_seconds = timeout_seconds

    def read(
        self,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        isolation: Isolation = Isolation.READ_COMMITTED,
        *,
        timeout_seconds: float | None = None,
    ) -> Iterator[Record]:
        """The data records at [begin, end) of each partition, in order within a partition."""
        wanted = {where: span for where, span in ranges.items() if span[0] < span[1]}
        if not wanted:
            return
        consumer = self._consumer(isolation)
        try:
            yield from _Reading(consumer, wanted, self._timeout_seconds if timeout_seconds is None else timeout_seconds).records()
        finally:
            consumer.close()

    def _consumer(self, isolation: Isolation) -> Consumer:
        try:
            return Consumer(
                self._connection.librdkafka()
                | {
                    "client.id": "cutover-reader",
                    "group.id": "cutover-reader",  # asked for by the library; nothing joins or commits
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "enable.partition.eof": True,
                    "isolation.level": isolation.value,
                    "check.crcs": True,
                    "fetch.queue.backoff.ms": 2,
                    "fetch.wait.max.ms": FETCH_WAIT_MS,
                    "error_cb": lambda _: None,  # errors that matter come with the records
                },
                logger=LOG,
            )
        except (KafkaException, ValueError, TypeError) as error:
            raise InvalidConnection("the connection cannot be used", why=str(error)) from error


class _Reading:
    """One read: what is still open, and when something last came."""

    def __init__(self, consumer: Consumer, ranges: Mapping[TopicPartition, tuple[int, int]], timeout_seconds: float) -> None:
        self._consumer = consumer
        self._ranges = dict(ranges)
        self._open = set(ranges)
        self._timeout_seconds = timeout_seconds

    def records(self) -> Iterator[Record]:
        self._assert_partitions_exist()
        self._consumer.assign([Where(*where, begin) for where, (begin, _) in self._ranges.items()])
        moved = time.monotonic()
        while self._open:
            messages = self._consumer.consume(BATCH_RECORDS, POLL_SECONDS)
            before = len(self._open)
            for message in messages:
                record = self._record(message)
                if record is not None:
                    yield record
                    moved = time.monotonic()
            moved = time.monotonic() if len(self._open) < before else moved
            if time.monotonic() - moved > self._timeout_seconds:
                raise self._stuck()

    def _assert_partitions_exist(self) -> None:
        """Asked first: librdkafka would wait half a minute for a topic that is not there to appear."""
        for topic in {where.topic for where in self._ranges}:
            asked = Asked("reading records", topic, "read")
            try:
                found = self._consumer.list_topics(topic, timeout=self._timeout_seconds).topics[topic]
            except KafkaException as error:
                raise of_librdkafka(error, asked) from error
            if found.error is not None:
                raise of_librdkafka(found.error, asked)
            unknown = {where.partition for where in self._ranges if where.topic == topic} - set(found.partitions)
            if unknown:
                raise UnknownTopic(f"{topic} has no partition {min(unknown)}", topic=topic, partition=min(unknown))

    def _record(self, message: Message) -> Record | None:
        """The record, if it is one of the range; notes when a partition has been read to its end."""
        where = TopicPartition(str(message.topic()), int(message.partition() or 0))
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._assert_passing(error, where)
            return None
        offset = int(message.offset() or 0)
        end = self._ranges[where][1]
        wanted = where in self._open and error is None and offset < end
        if offset >= end or (error is None and offset == end - 1):
            self._finish(where)
        return _record(message, where, offset) if wanted else None

    def _finish(self, where: TopicPartition) -> None:
        if where in self._open:
            self._open.remove(where)
            self._consumer.pause([Where(*where)])

    def _assert_passing(self, error: KafkaError, where: TopicPartition) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise self._out_of_range(where, error)
        if error.code() not in PASSING:
            raise of_librdkafka(error, Asked("reading records", where.topic, "read"))

    def _out_of_range(self, where: TopicPartition, error: KafkaError) -> CutoverError:
        begin = self._ranges[where][0]
        try:
            low, high = self._consumer.get_watermark_offsets(Where(*where), timeout=self._timeout_seconds)
        except KafkaException as unanswered:
            return of_librdkafka(unanswered, Asked("reading offsets", where.topic, "describe"))
        fields: dict[str, Any] = {
            "topic": where.topic,
            "partition": where.partition,
            "begin": begin,
            "log_begin": low,
            "log_end": high,
        }
        if begin < low:
            return RangeExpired(f"{where.topic}-{where.partition} begins at {low} now", why=error.str(), **fields)
        return RangeUnreadable(f"{where.topic}-{where.partition} ends at {high}", why=error.str(), **fields)

    def _stuck(self) -> CutoverError:
        where = min(self._open)
        begin, end = self._ranges[where]
        return RangeUnreadable(
            f"{where.topic}-{where.partition} cannot be read up to {end}",
            why=f"nothing came for {self._timeout_seconds:g} s; {len(self._open)} partitions are not read to their ends",
            topic=where.topic,
            partition=where.partition,
            begin=begin,
            end=end,
        )


def _record(message: Message, where: TopicPartition, offset: int) -> Record:
    headers: Any = message.headers() or ()  # typed as one header by the library, it is a list of them
    return Record(
        topic=where.topic,
        partition=where.partition,
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value)) for name, value in headers),
    )


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
