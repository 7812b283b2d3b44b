"""A producer process that writes accounts' movements at a steady rate, and what its owner holds of it.

Each record names its writer, account and the account's own sequence number, so that anybody can judge loss and order later.
The process lives on its standard input: when that closes, it flushes, says what was acknowledged, and ends.
"""

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Producer

from cutover.client import Producer as FollowingProducer
from cutover.rehearsal.child import Child, told

TICK_SECONDS = 0.005
BURST = 500
NOTED_GAP_MS = 15.0
PACE_SECONDS = 0.5
FLUSH_SECONDS = 30.0
PADDING = "." * 120


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one producer writes: `rate` records/s over `accounts` keys, to one topic, placed as Java places keys unless said otherwise.

    With a `folder` it leaves its books there for the judge; `library` is plain or sdk.
    """

    bootstrap: str
    topic: str
    writer: str
    rate: float
    accounts: int = 2000
    library: str = "plain"
    folder: str = ""
    history: int = 0
    """Written at once, before the rate holds."""
    partitioner: str = "murmur2_random"
    also: str = ""
    """A second topic that it writes by its own code, each record after the first one's and in no transaction with it."""
    others: tuple[tuple[str, str], ...] = ()
    """Further topics that it writes in turn, each with the folder for its books; the client library follows all of them."""
    per_transaction: int = 0
    """How many records a transaction has; 0: it has none."""
    pace: str = ""
    """A file with the share of the rate that is to be written now, looked at twice a second; none: all of it."""

    @property
    def topics(self) -> dict[str, str]:
        """Every topic that it writes, and where its books go."""
        return {self.topic: self.folder} | dict(self.others)


@dataclass(frozen=True, slots=True)
class Sent:
    """What the brokers acknowledged to one producer."""

    writer: str
    acknowledged: int
    failed: int


class TrafficProcess(Child):
    """One producer process."""

    def __init__(self, traffic: Traffic) -> None:
        """Start it; it begins to write at once."""
        super().__init__(__name__, asdict(traffic), answers=True)
        self.traffic = traffic

    def stop(self) -> Sent:
        """Ask it to flush and end; what was acknowledged to it."""
        return Sent(**self.answer())


def main() -> None:
    """Read what to write from the first line of standard input; write until that closes."""
    wanted, closed = told()
    sys.stdout.write(json.dumps(asdict(write(Traffic(**wanted), closed))) + "\n")


@dataclass(slots=True)
class Books:
    """What was acknowledged to one writer, by account; sequence numbers begin at 1."""

    acknowledged: int = 0
    accounts: dict[int, int] = field(default_factory=dict)
    failed: list[tuple[int, int]] = field(default_factory=list)
    longest_gap_ms: float = 0.0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """The longer ones: when each ended (monotonic seconds), and its milliseconds."""
    _last: float = 0.0

    def told(self, account: int, sequence: int, error: KafkaError | None) -> None:
        """A delivery report."""
        if error is not None:
            self.failed.append((account, sequence))
            return
        now = time.monotonic()
        if self._last:
            self._waited(now, (now - self._last) * 1000)
        self._last = now
        self.acknowledged += 1
        self.accounts[account] = max(sequence, self.accounts.get(account, 0))

    def also_told(self, account: int, sequence: int, error: KafkaError | None) -> None:
        """A delivery report of the second topic: what failed there alone failed."""
        if error is not None:
            self.failed.append((account, sequence))

    def _waited(self, now: float, gap_ms: float) -> None:
        self.longest_gap_ms = max(self.longest_gap_ms, gap_ms)
        if gap_ms >= NOTED_GAP_MS:
            self.gaps.append((round(now, 4), round(gap_ms, 1)))

    def save(self, path: Path) -> None:
        """Leave them for the judge."""
        told = {"accounts": self.accounts, "failed": self.failed, "longest_gap_ms": round(self.longest_gap_ms, 1), "gaps": self.gaps}
        path.write_text(json.dumps(told))


def write(traffic: Traffic, closed: threading.Event) -> Sent:
    """Write at the rate until `closed` is set, then flush."""
    books = {topic: Books() for topic in traffic.topics}
    producer: Any = FollowingProducer(settings(traffic)) if traffic.library == "sdk" else Producer(settings(traffic))
    pen = Transactions(producer, traffic.per_transaction)
    sequences: Counter[int] = Counter()
    chance = random.Random(traffic.writer)
    pace, written = Pace(traffic.rate, Path(traffic.pace) if traffic.pace else None, traffic.history), 0
    while not closed.wait(TICK_SECONDS):
        for _ in range(min(pace.due(time.monotonic()) - written, BURST)):
            account = chance.randrange(traffic.accounts)
            sequences[account] += 1
            pen.begin()
            _produce(producer, traffic, account, sequences[account], books)
            pen.end()
            written += 1
        producer.poll(0)
    pen.end(at_once=True)
    unflushed = producer.flush(FLUSH_SECONDS)
    if traffic.library == "sdk":
        producer.close()
    for topic, folder in traffic.topics.items():
        if folder:
            books[topic].save(Path(folder) / f"{traffic.writer}.acknowledged")
    failed = sum(len(each.failed) for each in books.values())
    return Sent(traffic.writer, sum(each.acknowledged for each in books.values()), failed + unflushed)


@dataclass(slots=True)
class Pace:
    """How many records are due by now, at a rate of which others may ask for a share alone."""

    rate: float
    path: Path | None
    due_before: float = 0.0
    _share: float = 1.0
    _at: float = field(default_factory=time.monotonic)
    _looked_at: float = float("-inf")

    def due(self, now: float) -> int:
        """The number in all, at this monotonic time in seconds."""
        if self.path is not None and now - self._looked_at >= PACE_SECONDS:
            self._looked_at = now
            self._share = float(self.path.read_text()) if self.path.exists() else 1.0
        self.due_before += (now - self._at) * self.rate * self._share
        self._at = now
        return int(self.due_before)


@dataclass(slots=True)
class Transactions:
    """Puts so many records into each transaction; 0: there are none."""

    producer: Any
    records: int
    _written: int = 0

    def __post_init__(self) -> None:
        if self.records:
            self.producer.init_transactions(FLUSH_SECONDS)

    def begin(self) -> None:
        """Before a record."""
        if self.records and not self._written:
            self.producer.begin_transaction()

    def end(self, *, at_once: bool = False) -> None:
        """After a record."""
        self._written += self.records > 0 and not at_once
        if self._written and (at_once or self._written == self.records):
            self.producer.commit_transaction(FLUSH_SECONDS)
            self._written = 0


def _produce(producer: Any, traffic: Traffic, account: int, sequence: int, books: dict[str, Books]) -> None:  # noqa: ANN401
    value = f"{traffic.writer} {account} {sequence} {PADDING}"
    key = f"{traffic.writer}-{account:06d}"
    topic = list(books)[account % len(books)]
    book = books[topic]
    _sent(producer, topic, key, value, lambda error, _: book.told(account, sequence, error))
    if traffic.also:
        _sent(producer, traffic.also, key, value, lambda error, _: book.also_told(account, sequence, error))


def _sent(producer: Any, topic: str, key: str, value: str, told: Callable[[KafkaError | None, Any], None]) -> None:  # noqa: ANN401
    """Wait while the queue is full, as any application does."""
    while True:
        try:
            producer.produce(topic, key=key, value=value, on_delivery=told)
        except BufferError:
            producer.poll(TICK_SECONDS)
        else:
            return


def settings(traffic: Traffic) -> dict[str, Any]:
    """The librdkafka properties of the producer: idempotent."""
    following = {"cutover.topic": ",".join(traffic.topics), "cutover.instance": traffic.writer} if traffic.library == "sdk" else {}
    return {
        **following,
        **({"transactional.id": traffic.writer} if traffic.per_transaction else {}),
        "bootstrap.servers": traffic.bootstrap,
        "client.id": traffic.writer,
        "enable.idempotence": True,
        "partitioner": traffic.partitioner,
        "linger.ms": 5,
        "log_level": 2,  # a broker that is still starting is no news
    }


if __name__ == "__main__":
    main()
