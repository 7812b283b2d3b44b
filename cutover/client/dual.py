"""What mode DUAL is made of: when a batch is due, what became of it and what each record is told. Pure.

Who writes is dual_writer.py, with the transactions of transactor.py; the rules stand on docs/protocol.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from confluent_kafka import KafkaError, Message

from cutover.client.deliveries import DOUBTFUL, Callback
from cutover.protocol import DUAL_ID
from cutover.stamps import Headers, Stamp

BATCH_RECORDS = 500
BATCH_BYTES = 512 * 1024
BATCH_SECONDS = 0.005
"""How long the first record of a batch waits for more, and how long the markers of the last transaction get before the next begins:
sooner, and the broker answers CONCURRENT_TRANSACTIONS, after which librdkafka waits for 20 ms."""
PATIENCE_MS = 300_000
TRANSACTION_MS = 5000
WRITE_MS = 3000
FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
PASSING = (
    DOUBTFUL
    | FENCED
    | {
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError._PURGE_QUEUE,
        KafkaError._ALL_BROKERS_DOWN,
    }
)
"""Errors of a record that may be gone the next time: the same records are written again in another transaction."""


@dataclass(frozen=True, slots=True)
class Dual:
    """A pair whose both topics are written, and the name under which this instance does it."""

    pair: str
    source: str
    target: str
    epoch: int
    instance: str
    session: str
    partitions: tuple[int, int]
    """How many source and target have."""
    null_keys: str
    """The plan's policy for records without a key."""

    def stamp(self, sequence: int) -> Stamp:
        """The stamp of this instance's record number `sequence`."""
        return Stamp(self.instance, self.session, self.epoch, sequence)


@dataclass(slots=True, eq=False)
class Entry:
    """One produce() in mode DUAL: what goes to both topics, and what the brokers said of it. Times are monotonic, in seconds."""

    dual: Dual
    value: bytes | None
    key: bytes | None
    partition: int
    """For the source, or -1: Both says the rest."""
    timestamp: int
    headers: Headers
    callback: Callback | None
    at: float
    source: Message | None = None
    target: Message | None = None
    error: KafkaError | None = None

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return len(self.key or b"") + len(self.value or b"") + sum(len(name) + len(value or b"") for name, value in self.headers)

    @property
    def stamp(self) -> bytes:
        """The value of the stamp, which is the last header."""
        return bytes(self.headers[-1][1] or b"")  # type: ignore[arg-type]

    def reported(self, error: KafkaError | None, message: Message) -> bool:
        """Note what became of one of the two; whether both are known now."""
        if message.topic() == self.dual.source:
            self.source = message
        else:
            self.target = message
        self.error = self.error or error
        return self.source is not None and self.target is not None

    def told(self) -> Message:
        """The source's record, as the application's callback gets it."""
        if self.source is not None:  # a tombstone's report is false
            return self.source
        return Message(topic=self.dual.source, key=self.key, value=self.value, headers=self.headers)

    def arguments(self) -> tuple[Any, ...]:
        """What produce() was called with, and when; without the stamp."""
        return (self.value, self.key, self.partition, self.timestamp, self.headers[:-1] or None)

    def afresh(self) -> None:
        """Forget what was said: it is written again."""
        self.source = self.target = self.error = None


def as_bytes(what: str, given: object) -> bytes | None:
    """A key or value as librdkafka would take it; TypeError for anything else."""
    if given is None or isinstance(given, bytes):
        return given
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, (bytearray, memoryview)):
        return bytes(given)
    raise TypeError(f"{what} must be str or bytes, not {type(given).__name__}")


def wait_seconds(count: int, size_bytes: int, oldest_seconds: float, since_commit_seconds: float, *, hurry: bool) -> float:
    """How long a batch may still grow; 0 when it is due. At a hold, or when the application flushes, it is due at once."""
    if hurry or count >= BATCH_RECORDS or size_bytes >= BATCH_BYTES:
        return 0.0
    return max(0.0, BATCH_SECONDS - oldest_seconds, BATCH_SECONDS - since_commit_seconds)


class Outcome(StrEnum):
    """What became of a transaction."""

    WRITTEN = "WRITTEN"
    """It committed: both topics have every record."""
    ABORTED = "ABORTED"
    """Nobody ever asked for its commit, and its epoch is over or will be before anything else is written: neither topic has a record."""
    ABSENT = "ABSENT"
    """Its commit was asked for and not answered; its epoch is over, and a read_committed reader does not find its records."""
    UNKNOWN = "UNKNOWN"
    """Its commit was asked for and not answered, and nobody could look."""


def outcome(*, asked: bool, answered: bool, seen: bool | None) -> Outcome:
    """What became of a transaction: was its commit asked for, answered with success, were its records seen once its epoch was over."""
    if not asked:
        return Outcome.ABORTED
    if answered or seen:
        return Outcome.WRITTEN
    return Outcome.UNKNOWN if seen is None else Outcome.ABSENT


def again(became: Outcome, error: KafkaError | None, age_seconds: float, patience_seconds: float) -> bool:
    """Whether a record goes into another transaction: only one that is known to stand nowhere, for a reason that may pass."""
    passing = error is None or error.code() in PASSING
    return became is Outcome.ABORTED and passing and age_seconds < patience_seconds


def refusal(became: Outcome, own: KafkaError | None, why: KafkaError) -> KafkaError | None:
    """What the application's callback is told: None when both are written, else an error with the code of the cause."""
    if became is Outcome.WRITTEN:
        return None
    if became is Outcome.UNKNOWN:
        return KafkaError(KafkaError._TIMED_OUT, f"it is not known whether both topics have the record or neither: {why.str()}")
    cause = own or why
    return KafkaError(cause.code(), f"neither topic has the record: {cause.str()}")


_OURS = frozenset(
    {
        *("acks", "request.required.acks", "retries", "message.send.max.retries", "queuing.strategy", "enable.gapless.guarantee"),
        *("max.in.flight", "max.in.flight.requests.per.connection", "enable.idempotence", "linger.ms", "queue.buffering.max.ms"),
        *("message.timeout.ms", "delivery.timeout.ms", "socket.timeout.ms", "transaction.timeout.ms", "transactional.id"),
        *("retry.backoff.ms", "socket.nagle.disable", "queue.buffering.max.messages", "queue.buffering.max.kbytes"),
    }
)
_THEIRS = frozenset(
    {"on_delivery", "delivery.report.only.error", "error_cb", "stats_cb", "throttle_cb", "logger", "statistics.interval.ms"}
)


_MOST = 2**31 - 1


def batching(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration of the transactions that the library makes itself: the application's, with what a transaction needs."""
    kept = {key: value for key, value in plain.items() if key not in _OURS | _THEIRS}
    if "default.topic.config" in kept:
        kept["default.topic.config"] = {key: value for key, value in kept["default.topic.config"].items() if key not in _OURS}
    return kept | {
        "transactional.id": DUAL_ID + name,
        "transaction.timeout.ms": TRANSACTION_MS,
        "message.timeout.ms": WRITE_MS,
        "socket.timeout.ms": WRITE_MS,
        "retry.backoff.ms": 5,
        "socket.nagle.disable": True,
    }


def applications(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the transactions of an application that has its own: its own, under an id of ours, with room for two of each."""
    kept = {key: value for key, value in plain.items() if key not in _THEIRS}
    limits = Limits.of(plain)
    return kept | {
        "transactional.id": DUAL_ID + str(plain["transactional.id"]),
        "queue.buffering.max.messages": min(2 * limits.records, _MOST),
        "queue.buffering.max.kbytes": min(2 * limits.size_bytes // 1024, _MOST),
    }


@dataclass(slots=True)
class Limits:
    """How much may wait, as the application configured its plain client; and for how long a record is tried."""

    records: int
    size_bytes: int
    patience_seconds: float
    waiting: int = field(default=0)
    waiting_bytes: int = field(default=0)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Limits":
        """From `queue.buffering.max.messages`, `queue.buffering.max.kbytes` and `message.timeout.ms`; 0 means no limit."""
        topic = plain.get("default.topic.config", {})
        timeout = next(
            (int(each[key]) for each in (plain, topic) for key in ("message.timeout.ms", "delivery.timeout.ms") if key in each), PATIENCE_MS
        )
        return cls(
            records=int(plain.get("queue.buffering.max.messages", 100_000)),
            size_bytes=int(plain.get("queue.buffering.max.kbytes", 1_048_576)) * 1024,
            patience_seconds=timeout / 1000 if timeout else float("inf"),
        )

    def take(self, entry: Entry) -> None:
        """Count an entry in; BufferError if there is no room for it."""
        if (self.records and self.waiting >= self.records) or self.waiting_bytes + entry.size > self.size_bytes:
            raise BufferError("Local: Queue full")
        self.waiting += 1
        self.waiting_bytes += entry.size

    def let_go(self, entry: Entry) -> None:
        """Count an entry out."""
        self.waiting -= 1
        self.waiting_bytes -= entry.size
