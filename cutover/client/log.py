"""The control topic as an instance reaches it: one reader that is in no group, one small producer, one question for its id.

It raises Unfollowable where nothing can be said any more; what a record means is for cutover.protocol.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, TopicDescription

from cutover.client.settings import Settings
from cutover.protocol import Message as ControlMessage

LOG = logging.getLogger("cutover.client")
LOG.addHandler(logging.NullHandler())
BATCH_RECORDS = 500
NEAR_RECORDS = 500
ANSWER_SECONDS = 10.0
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_SILENT = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.REQUEST_TIMED_OUT}
_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}


class Unfollowable(Exception):
    """The control log cannot be followed from here on; the words say why."""


class Unanswered(Unfollowable):
    """Nobody has answered in time, which says nothing of the topic."""


class LookAgain(Exception):
    """The reader met what may be a topic that is gone: ask for its id."""


class ControlTopic:
    """Reads partition 0 from an offset on, appends to it, and tells the topic's id."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.control_topic
        common = {"client.id": f"{settings.client_id}-cutover", "error_cb": lambda _: None, **settings.connection}
        self._common: dict[str, Any] = common | {"socket.nagle.disable": True}
        self._group = f"cutover-control-{settings.instance}"
        self._writer = Producer(
            self._common
            | {
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "allow.auto.create.topics": False,
                "message.timeout.ms": 10000,
                "retry.backoff.ms": 20,
            },
            logger=LOG,
        )
        self._admin = self._new_admin()
        self._reader: Consumer | None = None
        self.caught_up = False
        """Whether the reader has met the end since it was opened."""
        self._end, self._position = 0, 0

    def _new_admin(self) -> AdminClient:
        return AdminClient(self._common, logger=LOG)

    def ask_identity(self) -> "Future[TopicDescription]":
        """Ask for the topic's description; nothing is ever created by asking."""
        found: dict[str, Future[TopicDescription]] = self._admin.describe_topics(
            TopicCollection([self._name]), request_timeout=ANSWER_SECONDS
        )
        return found[self._name]

    def identity(self, asked: "Future[TopicDescription]") -> str:
        """The topic's id; Unfollowable if it is missing, hidden or not of one partition, Unanswered if nobody says.

        librdkafka goes on asking a controller that died for as long as it asks nothing else: the next question has a new client.
        """
        try:
            found = asked.result(ANSWER_SECONDS + 5)
        except (KafkaException, TimeoutError) as error:
            words = f"the control topic {self._name} cannot be described: {_words(error)}"
            if isinstance(error, TimeoutError) or error.args[0].code() in _SILENT:
                self._admin = self._new_admin()
                raise Unanswered(words) from error
            raise Unfollowable(words) from error
        if len(found.partitions) != 1:
            raise Unfollowable(f"the control topic {self._name} has {len(found.partitions)} partitions, and must have one")
        return str(found.topic_id)

    def open(self, offset: int) -> None:
        """Begin to read at an offset: it must be there, nothing is reset."""
        if self._reader is None:
            self._reader = Consumer(
                self._common
                | {
                    "group.id": self._group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed",
                    "fetch.queue.backoff.ms": 1,
                    "fetch.error.backoff.ms": 5,
                },
                logger=LOG,
            )
        self.caught_up = False
        try:
            _, self._end = self._reader.get_watermark_offsets(TopicPartition(self._name, 0), ANSWER_SECONDS)
        except KafkaException as error:
            raise Unfollowable(f"the end of the control topic {self._name} cannot be read: {_words(error)}") from error
        self._position = offset
        self._reader.assign([TopicPartition(self._name, 0, offset)])

    @property
    def near_end(self) -> bool:
        """Whether little is left to read of what stood there when it was opened: the end itself shows only half a second later."""
        return self.caught_up or self._position >= self._end - NEAR_RECORDS

    def read(self, seconds: float) -> Sequence[tuple[int, bytes | None]]:
        """What has come, with offsets; waits at most so long for the first."""
        assert self._reader is not None
        found: list[tuple[int, bytes | None]] = []
        message = self._reader.poll(seconds)
        while message is not None and len(found) < BATCH_RECORDS:
            error = message.error()
            if error is None:
                found.append((int(message.offset() or 0), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:
                self.caught_up = True
            else:
                self._require_passing(error)
            message = self._reader.poll(0) if len(found) < BATCH_RECORDS else None
        self._writer.poll(0)
        self._position = found[-1][0] + 1 if found else self._position
        return found

    def _require_passing(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise Unfollowable(f"records of the control topic {self._name} were removed before they were read")
        if error.code() in _REFUSED:
            raise Unfollowable(f"the control topic {self._name} may not be read: {error.str()}")
        if error.code() in _GONE:
            raise LookAgain

    def append(self, record: ControlMessage, key: str) -> None:
        """Append a record; what becomes of it is seen by reading, or by flush()."""
        self._writer.produce(self._name, value=record.encoded(), key=key.encode(), partition=0, on_delivery=_report)

    def append_and_hear(self, record: ControlMessage, key: str, seconds: float) -> int | None:
        """Append a record; the offset where it stands, None if that is not known in time."""
        found: list[int | None] = []

        def reported(error: KafkaError | None, message: Message) -> None:
            found.append(None if error is not None else message.offset())

        self._writer.produce(self._name, value=record.encoded(), key=key.encode(), partition=0, on_delivery=reported)
        deadline = time.monotonic() + seconds
        while not found and (left := deadline - time.monotonic()) > 0:
            self._writer.poll(min(left, 0.01))  # the reader's thread serves reports as well
        return found[0] if found else None

    def flush(self, seconds: float) -> bool:
        """Wait until what was appended is acknowledged; whether it is."""
        return self._writer.flush(seconds) == 0

    def close(self) -> None:
        """Let go of the reader; the writer goes with the object."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _report(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        LOG.warning("a record was not appended to the control log: %s", error.str())


def _words(error: Exception) -> str:
    told = error.args[0] if error.args else error
    return told.str() if isinstance(told, KafkaError) else str(error) or "no answer"
