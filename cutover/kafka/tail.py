"""Follows one partition from its start as it grows, read_committed, in no group: how the driver hears the control log."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Where

from cutover.connection import Connection
from cutover.errors import ControlUnreadable
from cutover.kafka.errors import Asked, of_librdkafka
from cutover.kafka.reader import PASSING
from cutover.kafka.session import LOG

BATCH_RECORDS = 500


class Tail:
    """The records of partition 0 of a topic, each once, in order."""

    def __init__(self, connection: Connection, topic: str) -> None:
        """Begin at offset 0: a topic that lost its first records cannot be followed (ControlUnreadable)."""
        self._topic = topic
        self._consumer = Consumer(
            connection.librdkafka()
            | {
                "client.id": "cutover-tail",
                "group.id": "cutover-tail",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 1,
                "fetch.error.backoff.ms": 5,
                "socket.nagle.disable": True,
                "error_cb": lambda _: None,
            },
            logger=LOG,
        )
        self._consumer.assign([Where(topic, 0, 0)])
        self._position = 0

    def read(self, seconds: float) -> Sequence[tuple[int, bytes | None]]:
        """What has come, with offsets; waits at most so long for the first. Raises ControlUnreadable, or what the cluster says."""
        message = self._consumer.poll(seconds)
        found: list[tuple[int, bytes | None]] = []
        while message is not None:
            error = message.error()
            if error is None:
                value = message.value()
                found.append((int(message.offset() or 0), value if isinstance(value, bytes) else None))
                self._position = found[-1][0] + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._position = max(self._position, int(message.offset() or 0))
                break
            else:
                self._assert_passing(error)
            if len(found) >= BATCH_RECORDS:
                break
            message = self._consumer.poll(0)
        return found

    def read_to_end(self, seconds: float) -> Sequence[tuple[int, bytes | None]]:
        """Everything up to the end as it is now, once all of it is decided; ControlUnreadable when that does not come in time."""
        deadline = time.monotonic() + seconds
        found: list[tuple[int, bytes | None]] = []
        end = self._end(seconds)
        while self._position < end:
            found += self.read(0.05)
            if time.monotonic() > deadline:
                raise ControlUnreadable(f"the end of {self._topic} was not reached within {seconds:g} s", topic=self._topic)
        return found

    def _end(self, seconds: float) -> int:
        try:
            _, end = self._consumer.get_watermark_offsets(Where(self._topic, 0), timeout=seconds)
        except KafkaException as error:
            raise of_librdkafka(error, Asked("reading the control log", self._topic, "describe")) from error
        return int(end)

    def _assert_passing(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise ControlUnreadable(
                f"{self._topic} no longer begins at offset 0", why="Records of the control log were removed.", topic=self._topic
            )
        if error.code() not in PASSING:
            raise of_librdkafka(error, Asked("reading the control log", self._topic, "read"))

    def close(self) -> None:
        """Let go of the client."""
        self._consumer.close()

    def __enter__(self) -> Self:
        """Use it in a with block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()
