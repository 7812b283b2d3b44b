"""Appends to the control log without a transaction: for words that a deposed driver may say without harm (docs/protocol.md)."""

from confluent_kafka import KafkaException, Producer

from cutover.connection import Connection
from cutover.errors import WriteUnknown
from cutover.kafka.errors import Asked, of_librdkafka
from cutover.kafka.session import LOG

WRITE_SECONDS = 5.0


class Appender:
    """An idempotent producer to partition 0 of one topic, kept connected so that a word takes one round trip."""

    def __init__(self, connection: Connection, topic: str) -> None:
        """Make the client; `ready` connects it."""
        self._topic = topic
        self._producer = Producer(
            connection.librdkafka()
            | {
                "client.id": "cutover-appender",
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "socket.nagle.disable": True,
                "message.timeout.ms": round(WRITE_SECONDS * 1000),
                "error_cb": lambda _: None,
            },
            logger=LOG,
        )
        self._asked = Asked("writing the control log", topic, "write", write=True)

    def ready(self) -> None:
        """Know who leads the topic, with a connection open; raises why nobody answers."""
        try:
            self._producer.list_topics(self._topic, timeout=WRITE_SECONDS)
        except KafkaException as error:
            raise of_librdkafka(error, Asked("writing the control log", self._topic, "describe")) from error

    def append(self, key: bytes, value: bytes) -> int:
        """Append one record and give its offset. Raises WriteUnknown when nobody answers, or why it was refused."""
        offsets: list[int] = []
        failures: list[KafkaException] = []

        def told(error: object, message: object) -> None:
            if error is not None:
                failures.append(KafkaException(error))
            else:
                offsets.append(int(message.offset()))  # type: ignore[attr-defined]

        self._producer.produce(self._topic, value, key, 0, on_delivery=told)
        self._producer.flush(WRITE_SECONDS + 1)
        for failure in failures:
            raise of_librdkafka(failure, self._asked) from failure
        if not offsets:
            raise WriteUnknown(f"a word to {self._topic} was not answered", topic=self._topic)
        return offsets[0]
