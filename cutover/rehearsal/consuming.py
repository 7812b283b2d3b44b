"""A consumer process of the rehearsal: reads a topic in a group and writes down what it was given, for the judge.

Knows nothing of the cutover but, where it is told so, the name of the client library. It lives on its standard input: when that
closes it finishes the record in hand, closes its consumer and ends.
"""

import logging
import struct
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from confluent_kafka import Consumer

from cutover.client import Consumer as FollowingConsumer
from cutover.rehearsal.child import Child, told

RECORD = struct.Struct("<dIII")
"""Monotonic time, writer, account, sequence."""

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """What one member reads. `rate` slows it down (records/s, 0: as fast as it can); `library` is plain or sdk."""

    bootstrap: str
    topic: str
    group: str
    member: str
    folder: str
    library: str = "plain"
    rate: float = 0.0
    protocol: str = "classic"
    reset: str = "earliest"
    session_ms: int = 6000
    """How long a classic group waits for a member that is silent."""
    others: tuple[tuple[str, str], ...] = ()
    """Further topics that it reads, each with the folder where it writes down what it was given of them."""

    @property
    def topics(self) -> dict[str, str]:
        """Every topic that it reads, and where it writes down what it was given."""
        return {self.topic: self.folder} | dict(self.others)


class ReadingProcess(Child):
    """One member process."""

    def __init__(self, reading: Reading) -> None:
        """Start it; it joins its group at once."""
        super().__init__(__name__, asdict(reading))
        self.reading = reading

    def stop(self) -> None:
        """Let it finish, commit and end."""
        self.wait()


def main() -> None:
    """Read what to read from the first line of standard input; read until that closes."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    wanted, closed = told()
    reading = Reading(**wanted)
    with ExitStack() as ends:
        logs = {
            topic: ends.enter_context((Path(folder) / f"{reading.group}.{reading.member}.read").open("ab", buffering=0))
            for topic, folder in reading.topics.items()
        }
        read(reading, closed, logs)


def read(reading: Reading, closed: threading.Event, logs: Mapping[str, BinaryIO]) -> None:
    """Read until `closed` is set, writing down each record before the next is asked for."""
    kind = FollowingConsumer if reading.library == "sdk" else Consumer
    consumer: Any = kind(settings(reading))
    consumer.subscribe(list(reading.topics))
    pause = 1 / reading.rate if reading.rate else 0.0
    try:
        while not closed.is_set():
            message = consumer.poll(POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            writer, account, sequence = _parsed(message.value())
            _log_of(message.topic(), logs).write(RECORD.pack(time.monotonic(), writer, account, sequence))
            if reading.library == "plain":
                consumer.store_offsets(message)
            if pause:
                closed.wait(pause)
    finally:
        consumer.close()


def _log_of(topic: str, logs: Mapping[str, BinaryIO]) -> BinaryIO:
    """Where what comes from a topic is written down; a consumer that follows reads the other topic of a pair, NAME or NAME.v2."""
    return next(
        log for name, log in logs.items() if len(logs) == 1 or f"{name}.".startswith(f"{topic}.") or f"{topic}.".startswith(f"{name}.")
    )


def _parsed(value: bytes) -> tuple[int, int, int]:
    """A record says `teller-3 1207 88 ...`: who wrote it, of which account, the account's own number."""
    writer, account, sequence, *_ = value.split(b" ")
    return int(writer.rpartition(b"-")[2]), int(account), int(sequence)


def settings(reading: Reading) -> dict[str, Any]:
    """Settings of an ordinary consumer that commits by itself."""
    classic = {"session.timeout.ms": reading.session_ms, "heartbeat.interval.ms": 500} if reading.protocol == "classic" else {}
    return {
        "bootstrap.servers": reading.bootstrap,
        "group.id": reading.group,
        "client.id": f"{reading.group}-{reading.member}",
        "group.protocol": reading.protocol,
        "auto.offset.reset": reading.reset,
        "enable.auto.commit": True,
        # What was worked on is stored by hand: librdkafka's own way loses records when a consumer of a transactional topic is closed.
        "enable.auto.offset.store": reading.library != "plain",
        "auto.commit.interval.ms": 1000,
        **classic,
    }


if __name__ == "__main__":
    main()
