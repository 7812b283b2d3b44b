"""A producer process that writes accounts' movements at a steady rate, and what its owner holds of it.

Each record names its writer, account and the account's own sequence number, so that anybody can judge loss and order later.
The process lives on its standard input: when that closes, it flushes, says what was acknowledged, and ends.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Self

from confluent_kafka import KafkaError, Message, Producer

TICK_SECONDS = 0.005
FLUSH_SECONDS = 30.0
PADDING = "." * 120


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one producer writes: `rate` records/s over `accounts` keys, to one topic, placed as Java places keys."""

    bootstrap: str
    topic: str
    writer: str
    rate: float
    accounts: int = 2000


@dataclass(frozen=True, slots=True)
class Sent:
    """What the brokers acknowledged to one producer."""

    writer: str
    acknowledged: int
    failed: int


class TrafficProcess:
    """One producer process. It ends when it is asked to, or when its owner is gone."""

    def __init__(self, traffic: Traffic, child: subprocess.Popen[str]) -> None:
        """Take over a started process; use `start`."""
        self.traffic = traffic
        self._child = child

    @classmethod
    def start(cls, traffic: Traffic) -> Self:
        """Start the process; it begins to write at once."""
        child = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if child.stdin is None:
            raise RuntimeError("a process started with a pipe has none")
        child.stdin.write(json.dumps(asdict(traffic)) + "\n")
        child.stdin.flush()
        return cls(traffic, child)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def stop(self) -> Sent:
        """Ask it to flush and end; what was acknowledged to it."""
        said, _ = self._child.communicate(timeout=FLUSH_SECONDS * 2)
        return Sent(**json.loads(said))

    def kill(self) -> None:
        """End it without asking; nothing to do when it has ended."""
        self._child.kill()
        self._child.wait()


def main() -> None:
    """Read what to write from the first line of standard input; write until that closes."""
    traffic = Traffic(**json.loads(sys.stdin.readline()))
    closed = threading.Event()
    threading.Thread(target=_await_end, args=(closed,), daemon=True).start()
    sent = write(traffic, closed)
    sys.stdout.write(json.dumps(asdict(sent)) + "\n")


def _await_end(closed: threading.Event) -> None:
    sys.stdin.read()
    closed.set()


def write(traffic: Traffic, closed: threading.Event) -> Sent:
    """Write at the rate until `closed` is set, then flush."""
    outcomes: Counter[bool] = Counter()
    producer = Producer(settings(traffic))
    sequences: Counter[int] = Counter()
    chance = random.Random(traffic.writer)

    def told(error: KafkaError | None, _: Message) -> None:
        outcomes[error is None] += 1

    began, written = time.monotonic(), 0
    while not closed.wait(TICK_SECONDS):
        due = int((time.monotonic() - began) * traffic.rate)
        for _ in range(due - written):
            account = chance.randrange(traffic.accounts)
            sequences[account] += 1
            value = f"{traffic.writer} {account} {sequences[account]} {PADDING}"
            producer.produce(traffic.topic, key=f"{traffic.writer}-{account:06d}", value=value, on_delivery=told)
        written = due
        producer.poll(0)
    unflushed = producer.flush(FLUSH_SECONDS)
    return Sent(traffic.writer, outcomes[True], outcomes[False] + unflushed)


def settings(traffic: Traffic) -> dict[str, Any]:
    """The librdkafka properties of the producer: idempotent, and placing keys as Java does."""
    return {
        "bootstrap.servers": traffic.bootstrap,
        "client.id": traffic.writer,
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        "log_level": 2,  # a broker that is still starting is no news
    }


if __name__ == "__main__":
    main()
