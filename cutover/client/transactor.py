"""A transactional producer that is thrown away for a new one whenever a frame of its may still be on its way.

librdkafka numbers no transactions: an EndTxn that a slow connection delivers late ends whatever transaction is open by then, with every
call a success (docs/late-frames.md). A new instance under the same transactional.id raises the epoch, which makes such a frame void. It
would make the fence of a driver void as well, so it writes only after the control log was read up to after its beginning.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cutover.client.deliveries import Callback
from cutover.client.dual import FENCED
from cutover.client.log import LOG

SLOW_SECONDS = 0.05
"""A call that takes longer may have met a connection that broke: a clean one takes below 10 ms, one that was repeated 80 and more."""
SLOW_WRITE_SECONDS = 0.5
"""The same of a flush. What it sends cannot end a later transaction, and brokers sort out what comes twice: under load it is just slow."""


HELD = KafkaError(KafkaError._TIMED_OUT, "the control log does not let this instance write both topics just now", False, True)


class Alarm(logging.Logger):
    """Rings at whatever librdkafka has to say: its log is the only place where it tells that a connection broke."""

    def __init__(self) -> None:
        super().__init__("cutover.client.transactor")
        self.rung = False

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:  # noqa: ANN401 - as the logger's own
        """Ring, and pass it on."""
        self.rung = True
        LOG.log(level, msg, *args, **more)


class Transactor:
    """One transaction after another under one transactional.id. All calls raise KafkaException as the plain client's do.

    `may_write` says whether the log, read to its end as it is now, lets this instance write: asked after each new epoch, before the
    first transaction of it. A driver that fences has said HOLD before, so who finds no HOLD after its own beginning was not fenced
    before it; and who is fenced later is refused by the brokers. `fenced` is set once that has happened: every begin() raises it, until
    somebody calls open().
    """

    def __init__(self, configuration: Mapping[str, Any], topics: Sequence[str], may_write: Callable[[float], bool]) -> None:
        self._configuration = dict(configuration)
        self._topics = topics
        self._producer: Producer | None = None
        self._alarm = Alarm()
        self._may_write = may_write
        self._trusted = self._allowed = False
        self._sent = self._reported = 0
        self._failed: KafkaError | None = None
        self.fenced: KafkaError | None = None

    def open(self, seconds: float) -> None:
        """A new instance with a new epoch: what the old one began is ended, and what it sent is void.

        When this returns, no transaction of an earlier epoch is open or half ended (KIP-98, KIP-360).
        """
        deadline = time.monotonic() + seconds
        self._forget()
        alarm = Alarm()
        producer = Producer(self._configuration, logger=alarm)
        for topic in self._topics:  # before init_transactions, which then takes 4 ms instead of 56 to 507
            producer.list_topics(topic, max(0.01, deadline - time.monotonic()))
        producer.init_transactions(max(0.01, deadline - time.monotonic()))
        producer.poll(0)
        alarm.rung = False
        self._alarm, self._producer, self._trusted, self._allowed, self.fenced = alarm, producer, True, False, None

    @property
    def needs_epoch(self) -> bool:
        """Whether the next transaction begins on a new instance."""
        return self._producer is None or not self._trusted or self._alarm.rung

    def _forget(self) -> None:
        """The old instance is over: its successor shuts it out, which it may say in whatever it reports from now on."""
        old, self._producer = self._producer, None
        if old is not None:
            with contextlib.suppress(KafkaException, SystemError):
                old.purge()
                old.poll(0)

    def begin(self, seconds: float) -> None:
        """Begin a transaction, on a new instance if anything about the last one was unclean. Raises HELD if the log forbids to write."""
        with contextlib.suppress(KafkaException):  # a new instance is the answer, or `fenced` has it
            self.poll(0)
        if self.fenced is not None:
            raise KafkaException(self.fenced)
        if self.needs_epoch:
            self.open(seconds)
        self._allowed = self._allowed or self._may_write(seconds)
        if not self._allowed:
            raise KafkaException(HELD)
        with self._watched(SLOW_SECONDS) as producer:
            producer.begin_transaction()
        self._sent = self._reported = 0
        self._failed = None

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int, callback: Callback, **more: Any) -> None:  # noqa: ANN401
        """As the plain client's; the report is counted, then handed to `callback`."""
        assert self._producer is not None
        reported = partial(self._report, self._producer, callback)
        try:
            self._producer.produce(topic, value, key, partition, reported, **more)
        except KafkaException as failed:
            self._note(failed.args[0])
            raise
        self._sent += 1

    def spoil(self, error: KafkaError) -> None:
        """This transaction can only be aborted: complete() raises."""
        self._failed = self._failed or error

    def _report(self, by: Producer, callback: Callback, error: KafkaError | None, message: Message) -> None:
        if by is self._producer:
            self._reported += 1
            if error is not None:
                self._failed = self._failed or error
                self._note(error)
        callback(error, message)

    def poll(self, seconds: float) -> int:
        """Serve reports; how many."""
        producer = self._producer  # another thread may be making a new one
        if producer is None:
            return 0
        with self._watched(float("inf"), producer):
            return int(producer.poll(seconds))

    def flush(self, seconds: float) -> int:
        """As the plain client's: how many are still on their way."""
        with self._watched(SLOW_WRITE_SECONDS) as producer:
            return int(producer.flush(seconds))

    def __len__(self) -> int:
        producer = self._producer
        return 0 if producer is None else len(producer)

    def send_offsets(self, positions: Any, group: Any, seconds: float) -> None:  # noqa: ANN401 - the plain client's
        """As the plain client's send_offsets_to_transaction."""
        with self._watched(SLOW_SECONDS) as producer:
            producer.send_offsets_to_transaction(positions, group, seconds)

    def complete(self, seconds: float) -> None:
        """Wait for a good report of everything that was produced; raises an error that requires an abort otherwise.

        librdkafka commits without the records that it gave up: it must never be asked to.
        """
        left = self.flush(seconds)
        if left or self._reported != self._sent or self._failed:
            words = self._failed.str() if self._failed else f"{self._sent - self._reported} of {self._sent} records were not acknowledged"
            code = self._failed.code() if self._failed else KafkaError._TIMED_OUT
            raise KafkaException(KafkaError(code, words, False, False, True))

    def commit(self, seconds: float) -> None:
        """Commit what is complete. After an error nobody knows what became of it until open() has returned."""
        with self._watched(SLOW_SECONDS) as producer:
            producer.commit_transaction(seconds)

    def abort(self, seconds: float) -> None:
        """As the plain client's."""
        with self._watched(SLOW_SECONDS) as producer:
            producer.abort_transaction(seconds)

    def abandon(self, seconds: float) -> None:
        """Abort as well as it goes; the next transaction has a new instance. One that has timed out by now was not shut out by anybody."""
        self._trusted = False
        if self._producer is not None:
            with contextlib.suppress(KafkaException, SystemError):
                self._producer.abort_transaction(seconds)

    @contextlib.contextmanager
    def _watched(self, slow_seconds: float, instance: Producer | None = None) -> Iterator[Producer]:
        """The instance for one call; it is not trusted with another transaction if that was slow or failed.

        confluent_kafka raises a fatal error out of poll() and flush(), as the cause of a SystemError if a callback came after it.
        """
        producer = self._producer if instance is None else instance
        assert producer is not None
        began = time.monotonic()
        try:
            yield producer
        except (KafkaException, SystemError) as failed:
            self._trusted = False
            told = failed if isinstance(failed, KafkaException) else failed.__cause__
            if not isinstance(told, KafkaException):
                raise
            if producer is self._producer:
                self._note(told.args[0])
            raise told from failed
        finally:
            self._trusted = self._trusted and time.monotonic() - began < slow_seconds

    def _note(self, error: KafkaError) -> None:
        if error.code() in FENCED and self.fenced is None:
            LOG.error("this instance is shut out of both topics: %s", error.str())
            self.fenced = error
