"""Writes to both topics of a pair for an application that has no transactions of its own: batch after batch, each in one.

A thread of its own writes; what became of each record waits in Answers until the application polls. Nothing is told as written before
its transaction has committed. What an unanswered commit became is looked up once its epoch is over, never tried again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from cutover.client.both import Both
from cutover.client.deliveries import Callback, Deliveries
from cutover.client.dual import (
    BATCH_BYTES,
    BATCH_RECORDS,
    WRITE_MS,
    Dual,
    Entry,
    Limits,
    Outcome,
    again,
    batching,
    outcome,
    refusal,
    wait_seconds,
)
from cutover.client.log import LOG
from cutover.client.settings import Settings
from cutover.client.sighting import sighted
from cutover.client.transactor import Transactor

OPEN_SECONDS = 5.0
WRITE_SECONDS = WRITE_MS / 1000
COMMIT_SECONDS = 3.0
ABORT_SECONDS = 1.0
SETTLE_SECONDS = 30.0
PAUSE_SECONDS = 0.1
REFUSED = (KafkaException, BufferError, TypeError, ValueError, NotImplementedError)


class Answers:
    """What is known of records and not told yet. The application's callbacks run where it polls, flushes or closes."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries = deliveries
        self._known: deque[tuple[Callback, KafkaError | None, Message]] = deque()
        self._came = threading.Condition()

    def put(self, given: Callback | None, error: KafkaError | None, message: Message) -> None:
        """What became of one record."""
        theirs = self.deliveries.theirs(given)
        if theirs is not None:
            with self._came:
                self._known.append((theirs, error, message))
                self._came.notify_all()

    def __len__(self) -> int:
        return len(self._known)

    def wait(self, seconds: float) -> None:
        """Until there is one, at most so long."""
        with self._came:
            if not self._known:
                self._came.wait(seconds)

    def serve(self) -> int:
        """Call the callbacks of what is known now; how many. What one of them raises goes to the caller, the rest stays."""
        for served in range(len(self._known)):
            try:
                theirs, error, message = self._known.popleft()
            except IndexError:  # another thread polls as well
                return served
            self.deliveries.arrival_and(theirs, error, message, arrived=True)
            if served >= 10_000:
                return served
        return len(self._known)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a transaction ended, and the first error of it."""

    became: Outcome
    why: KafkaError


CLEAN = Ended(Outcome.WRITTEN, KafkaError(KafkaError.NO_ERROR))


class DualWriter:
    """The batches of one pair. `put` is called with the gate's lock held, the rest by the writer's own thread."""

    def __init__(self, dual: Dual, settings: Settings, may_write: Callable[[float], bool], answers: Answers) -> None:
        self.dual = dual
        self._transactor = Transactor(batching(settings.plain, dual.instance), (dual.source, dual.target), may_write)
        self._both = Both(settings.partitioner)
        self._connection = settings.connection
        self._answers = answers
        self._deliveries = answers.deliveries
        self._limits = Limits.of(settings.plain)
        self._queue: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._size = 0
        self._hurry = self._ended = False
        self._committed_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"cutover-dual-{dual.pair}", daemon=True)

    def prepare(self, seconds: float) -> str | None:
        """Be ready to write; what stands against it, if anything does."""
        try:
            self._transactor.open(seconds)
        except KafkaException as error:
            return _cause(error).str()
        return None

    def start(self) -> None:
        """Begin to write what is put."""
        self._thread.start()

    def end(self) -> None:
        """Write nothing more that is not begun yet."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def put(self, entry: Entry) -> None:
        """Take a record; BufferError if there is no room."""
        with self._changed:
            self._limits.take(entry)
            self._queue.append(entry)
            self._size += entry.size
            if len(self._queue) == 1 or len(self._queue) >= BATCH_RECORDS or self._size >= BATCH_BYTES:
                self._changed.notify_all()

    def recall(self) -> list[Entry]:
        """Give back what is not begun, in its order: it stands nowhere, and waits with the callers until producers are let go on."""
        with self._changed:
            back = list(self._queue)
            self._queue.clear()
            self._size = 0
            for entry in back:
                self._limits.let_go(entry)
        return back

    def hurry(self) -> None:
        """What is there now waits for no more."""
        with self._changed:
            self._hurry = bool(self._queue)
            self._changed.notify_all()

    def __len__(self) -> int:
        return self._limits.waiting

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self._settle(batch, self._ended_of(batch))
        self._drop()

    def _ended_of(self, batch: Sequence[Entry]) -> Ended:
        try:
            return self._attempt(batch)
        except Exception as error:  # noqa: BLE001 - the outermost frame: without it what is queued would wait for ever
            LOG.exception("a transaction to both topics went wrong in a way that was not foreseen")
            self._transactor.abandon(ABORT_SECONDS)
            return Ended(Outcome.UNKNOWN, KafkaError(KafkaError._FAIL, str(error)))

    def _take(self) -> list[Entry] | None:
        """The next batch, once it is due; None when it is all over."""
        with self._changed:
            while not self._ended:
                due = self._due_seconds()
                if due == 0:
                    return self._cut()
                self._changed.wait(due)
        return None

    def _due_seconds(self) -> float | None:
        if not self._queue:
            return None
        now = time.monotonic()
        return wait_seconds(len(self._queue), self._size, now - self._queue[0].at, now - self._committed_at, hurry=self._hurry)

    def _cut(self) -> list[Entry]:
        """The first of the queue, within the limits of a batch."""
        batch: list[Entry] = []
        size = 0
        while self._queue and len(batch) < BATCH_RECORDS and size < BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        self._size -= size
        self._hurry = self._hurry and bool(self._queue)
        return batch

    def _attempt(self, batch: Sequence[Entry]) -> Ended:
        try:
            if self._transactor.fenced is not None:  # by a driver, or after a freeze: with a new epoch the log says what it may do now
                self._transactor.open(OPEN_SECONDS)
            self._transactor.begin(OPEN_SECONDS)
            for entry in batch:
                self._produce(entry)
            self._transactor.complete(WRITE_SECONDS)
        except KafkaException as error:
            if self._transactor.fenced is None:
                self._transactor.abandon(ABORT_SECONDS)
            return Ended(outcome(asked=False, answered=False, seen=None), self._transactor.fenced or _cause(error))
        return self._commit(batch)

    def _produce(self, entry: Entry) -> None:
        """Both records; what is refused at once (too large, no such partition) is that record's own error and ends the transaction."""
        try:
            self._both.write(self._transactor, entry, partial(_reported, entry))
        except REFUSED as error:
            entry.error = _cause(error)
            raise KafkaException(entry.error) from error

    def _commit(self, batch: Sequence[Entry]) -> Ended:
        try:
            self._transactor.commit(COMMIT_SECONDS)
        except KafkaException as error:
            LOG.warning("a commit to both topics was not answered: %s", _cause(error).str())
            seen = sighted(self._connection, batch[0]) if self._is_over() else None
            return Ended(outcome(asked=True, answered=False, seen=seen), _cause(error))
        self._committed_at = time.monotonic()
        return CLEAN

    def _is_over(self) -> bool:
        """Raise the epoch, so that what was sent before cannot count any more; whether that was possible in time."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            try:
                self._transactor.open(OPEN_SECONDS)
            except KafkaException as error:
                LOG.warning("the last transaction to both topics cannot be ended yet: %s", _cause(error).str())
                time.sleep(PAUSE_SECONDS)
            else:
                return True
        return False

    def _settle(self, batch: Sequence[Entry], ended: Ended) -> None:
        """Tell what is certain, and put back what may be tried again, in front and in its order."""
        back = []
        for entry in batch:
            age = time.monotonic() - entry.at
            if not self._ended and again(ended.became, entry.error, age, self._limits.patience_seconds):
                entry.afresh()
                back.append(entry)
            else:
                self._tell(entry, ended)
        if back:
            self._put_back(back)
            self._pause_after(ended)

    def _tell(self, entry: Entry, ended: Ended) -> None:
        error, message = refusal(ended.became, entry.error, ended.why), entry.told()
        self._answers.put(entry.callback, error, message)
        with self._changed:
            self._limits.let_go(entry)
        self._deliveries.arrival(error, message, certain=ended.became is not Outcome.UNKNOWN)

    def _put_back(self, entries: list[Entry]) -> None:
        with self._changed:
            self._queue.extendleft(reversed(entries))
            self._size += sum(each.size for each in entries)

    def _pause_after(self, ended: Ended) -> None:
        LOG.info("a transaction to both topics was given up and is tried again: %s", ended.why.str())
        time.sleep(PAUSE_SECONDS)

    def _drop(self) -> None:
        """The mode has ended with records in the queue: this instance did not acknowledge in time, and they stand nowhere."""
        over = Ended(Outcome.ABORTED, KafkaError(KafkaError._STATE, "producers were let go on without this one"))
        with self._changed:
            left = list(self._queue)
            self._queue.clear()
        for entry in left:
            self._tell(entry, over)


def _reported(entry: Entry, error: KafkaError | None, message: Message) -> None:
    entry.reported(error, message)


def _cause(error: BaseException) -> KafkaError:
    told = error.args[0] if error.args else None
    return told if isinstance(told, KafkaError) else KafkaError(KafkaError._INVALID_ARG, str(error))
