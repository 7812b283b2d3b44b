"""What became of the records of a producer: how many are on their way, and the last acknowledged offset of each partition.

Every record on the way through the gate is counted by a wrapper around its delivery callback, which then calls the application's.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, Message

from cutover.client.log import LOG

Callback = Callable[[KafkaError | None, Message], Any]
DOUBTFUL = {
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._PURGE_INFLIGHT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
}
"""After these the record may stand in the log all the same, now or a little later."""


class _Thread(threading.local):
    serving = 0
    ours = False


class Deliveries:
    """Counts by topic. `sent` is raised with the gate's lock held, the rest changes in any thread that serves callbacks."""

    def __init__(self, default: Callback | None, *, only_errors: bool) -> None:
        self._default = default
        self._only_errors = only_errors
        self._lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        self._arrived: Counter[str] = Counter()
        self._offsets: dict[str, dict[int, int]] = {}
        self._thread = _Thread()
        self.doubtful: Counter[str] = Counter()
        """Failures, by topic, that leave open whether the record was written."""

    def callback(self, given: Callback | None) -> Callback:
        """The delivery callback for one record of the application's."""
        theirs = self.theirs(given)
        return self.arrival if theirs is None else partial(self.arrival_and, theirs)

    def theirs(self, given: Callback | None) -> Callback | None:
        """The application's own callback for a record: the one that came with it, else that of the configuration."""
        return given or self._default

    def pending(self, topic: str | None = None) -> int:
        """How many are on their way: to one topic, or to all."""
        with self._lock:
            return self.sent.total() - self._arrived.total() if topic is None else self.sent[topic] - self._arrived[topic]

    def offsets(self, topic: str) -> dict[int, int]:
        """The greatest acknowledged offset of each partition of a topic."""
        with self._lock:
            return dict(self._offsets.get(topic, {}))

    @property
    def inside(self) -> bool:
        """Whether this thread is in a delivery callback, or is the library's own: it must not wait for a release."""
        return self._thread.serving > 0 or self._thread.ours

    @contextmanager
    def own_thread(self) -> Iterator[None]:
        """This thread is the library's: what a callback of the application's raises in it is logged."""
        self._thread.ours = True
        yield

    def arrival(self, error: KafkaError | None, message: Message, certain: bool = False) -> None:
        """What became of a record is known; `certain` where an error of any code means that it stands nowhere."""
        topic = message.topic() or ""
        with self._lock:
            self._arrived[topic] += 1
            if error is not None:
                self.doubtful[topic] += not certain and error.code() in DOUBTFUL
            else:
                self._acknowledged(topic, message.partition() or 0, message.offset())

    def _acknowledged(self, topic: str, partition: int, offset: int | None) -> None:
        known = self._offsets.get(topic)
        if known is None:
            known = self._offsets[topic] = {}
        if offset is not None and offset > known.get(partition, -1):
            known[partition] = offset

    def arrival_and(self, theirs: Callback, error: KafkaError | None, message: Message, arrived: bool = False) -> None:
        """The same, and tell the application; only the latter if it has `arrived` before."""
        if not arrived:
            self.arrival(error, message)
        if error is None and self._only_errors:
            return
        self._thread.serving += 1
        try:
            theirs(error, message)
        except Exception:
            if not self._thread.ours:
                raise
            LOG.exception("a delivery callback of the application failed while producers are held")
        finally:
            self._thread.serving -= 1
