"""Looks whether a record stands in a topic for everybody who reads committed records."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from cutover.client.dual import Entry
from cutover.stamps import STAMP

LOOK_SECONDS = 5.0


def sighted(connection: Mapping[str, Any], entry: Entry) -> bool | None:
    """Whether both records of an entry can be read (True), or neither (False); None if that cannot be told.

    Its transaction must have ended in its partitions: Transactor.open has returned.
    """
    if entry.source is None or entry.target is None:
        return None
    reader = Consumer({**connection, **_SETTINGS})
    try:
        found = {_stands(reader, each, entry.stamp, LOOK_SECONDS) for each in (entry.source, entry.target)}
    except KafkaException:
        return None
    finally:
        reader.close()
    return found.pop() if len(found) == 1 else None


_SETTINGS = {
    "group.id": "cutover-dual-look",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 20,
    "error_cb": lambda _: None,
}


def _stands(reader: Consumer, where: Message, stamp: bytes, seconds: float) -> bool | None:
    """Whether the record at these coordinates has the stamp; None while an open transaction hides them, or if they were removed."""
    topic, partition, offset = where.topic() or "", where.partition() or 0, where.offset() or 0
    if reader.get_watermark_offsets(TopicPartition(topic, partition), seconds)[0] > offset:
        return None
    reader.assign([TopicPartition(topic, partition, offset)])
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        message = reader.poll(left)
        if message is None or (message.offset() or 0) < offset:
            continue
        error = message.error()
        if error is None:
            return message.offset() == offset and (STAMP, stamp) in (message.headers() or [])
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if (message.offset() or 0) > offset:
            return False
    return None
