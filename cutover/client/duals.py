"""A producer's part in mode DUAL: who writes both topics for it, and what the application's calls become meanwhile.

Without transactions of its own an application gets a DualWriter for each pair; with them, its transactions go to one Transactor for as
long as any pair is in DUAL. Nothing here is made, or costs anything, before a HOLD asks for DUAL or a pair is found in it.
"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from cutover.client.both import Both
from cutover.client.deliveries import Callback, Deliveries
from cutover.client.dual import Dual, Entry, Limits, applications, as_bytes
from cutover.client.dual_writer import OPEN_SECONDS, Answers, DualWriter
from cutover.client.settings import Settings
from cutover.client.transactor import HELD, Transactor
from cutover.client.watch import Watch
from cutover.protocol import Mode
from cutover.stamps import stamped

SERVE_SECONDS = 0.02


class Duals:
    """What one producer has for the pairs that are in DUAL or about to be."""

    def __init__(self, settings: Settings, deliveries: Deliveries, watch: Watch) -> None:
        self._settings = settings
        self._watch = watch
        self._deliveries = deliveries
        self._answers = Answers(deliveries)
        self._writers: dict[str, DualWriter] = {}
        self._pen: Transactor | None = None
        self._pen_writes: Sequence[str] = ()
        """The pairs that the application's present transaction writes twice."""
        self._prepared_for: Mapping[str, Dual] | None = None
        self._problem: str | None = None
        self._preparing = threading.Lock()
        self._both = Both(settings.partitioner)
        self._limits = Limits.of(settings.plain)
        self._sequence = itertools.count()
        self._lock = threading.Lock()
        self._transactional = "transactional.id" in settings.plain
        self._leaving: list[DualWriter] = []
        self.active = False
        """Whether poll() and flush() have to look here as well."""

    def prepare(self, pair: str, entering: Mapping[str, Dual], seconds: float) -> str | None:
        """At HOLD with to=DUAL: be ready before the release; what stands against it, if anything does.

        The pairs of one hold are prepared side by side, each with the same `entering`: a transaction of the application's writes them all.
        """
        dual = entering[pair]
        if self._transactional:
            with self._preparing:
                if self._prepared_for is not entering:
                    self._prepared_for, self._problem = entering, self._prepare_pen(entering, seconds)
                return self._problem
        writer = self._writer(dual)
        problem = writer.prepare(seconds)
        if problem is None:
            with self._lock:
                before, self._writers[dual.pair], self.active = self._writers.get(dual.pair), writer, True
            writer.start()
            if before is not None:
                before.end()
        return problem

    def _prepare_pen(self, duals: Mapping[str, Dual], seconds: float) -> str | None:
        pen = self._new_pen(duals)
        try:
            pen.open(seconds)
        except KafkaException as error:
            return str(error.args[0])
        with self._lock:
            self._pen, self.active = pen, True
        return None

    def turn(self, duals: Mapping[str, Dual], entering: Mapping[str, Dual]) -> None:
        """These pairs are in DUAL, and those are held for it: have what they need, and nothing for any other."""
        with self._lock:
            gone = [self._writers.pop(pair) for pair in list(self._writers) if pair not in duals and pair not in entering]
            made = [] if self._transactional else [self._writer(each) for pair, each in duals.items() if pair not in self._writers]
            self._writers |= {each.dual.pair: each for each in made}
            if self._transactional and not duals and not entering:
                self._pen = None
            self._leaving += gone
            self.active = self.active or bool(duals)
        for writer in made:
            writer.start()
        for writer in gone:
            writer.end()

    def _writer(self, dual: Dual) -> DualWriter:
        return DualWriter(dual, self._settings, partial(self._may_write, (dual.pair,)), self._answers)

    def _new_pen(self, duals: Mapping[str, Dual]) -> Transactor:
        topics = [topic for each in duals.values() for topic in (each.source, each.target)]
        return Transactor(applications(self._settings.plain), topics, lambda seconds: self._may_write(self._pen_writes, seconds))

    def _may_write(self, pairs: Sequence[str], seconds: float) -> bool:
        """Whether the log, read to its end as it is now, has the pairs in DUAL and asks for nothing."""
        view = self._watch.hear_on(pairs[0], seconds)
        states = [None if view is None else view.state.pairs.get(each) for each in pairs]
        return all(state is not None and state.mode is Mode.DUAL and state.hold is None for state in states)

    def entry(self, dual: Dual, arguments: tuple[Any, ...], given: Callback | None) -> Entry:
        """What a produce() in DUAL is; both records get the time of the call unless the application gave one."""
        value, key, partition, timestamp, headers = arguments
        stamp = dual.stamp(next(self._sequence))
        return Entry(
            dual,
            as_bytes("value", value),
            as_bytes("key", key),
            partition,
            timestamp or int(time.time() * 1000),
            stamped(headers, stamp),
            given,
            time.monotonic(),
        )

    def put(self, entry: Entry) -> None:
        """Into the batches of its pair; BufferError if there is no room."""
        self._writers[entry.dual.pair].put(entry)
        self._deliveries.sent[entry.dual.source] += 1

    def recall(self, pair: str) -> list[Entry]:
        """What was put and is not begun, in its order. With the gate's lock held."""
        writer = self._writers.get(pair)
        back = [] if writer is None else writer.recall()
        for entry in back:
            self._deliveries.sent[entry.dual.source] -= 1
        return back

    def begin(self, duals: Mapping[str, Dual]) -> Transactor:
        """Begin a transaction of the application's that writes both topics of these pairs. Raises what the plain client would, and HELD."""
        with self._lock:
            self._pen_writes = tuple(duals)
            pen = self._pen
            if pen is None:
                pen = self._pen = self._new_pen(duals)
        if pen.needs_epoch and pen.fenced is None:
            self._require_own_id(self._pen_writes[0])
        pen.begin(OPEN_SECONDS)
        return pen

    def _require_own_id(self, pair: str) -> None:
        """An application that another has replaced under its transactional.id must not take that back with a new epoch."""
        view = self._watch.hear_on(pair, OPEN_SECONDS)
        if view is None:
            raise KafkaException(HELD)
        if view.state.successors(view.joined.values()):
            raise KafkaException(KafkaError(KafkaError._FENCED, "another instance has joined under this transactional.id", True))

    def write(self, pen: Transactor, entry: Entry) -> None:
        """Both records into the application's transaction. Its callback comes when both are acknowledged: before the commit, as ever."""

        def reported(error: KafkaError | None, message: Message) -> None:
            if entry.reported(error, message):
                self._let_go(entry)
                self._deliveries.callback(entry.callback)(entry.error, entry.told())

        with self._lock:
            self._limits.take(entry)
        try:
            self._both.write(pen, entry, reported)
        except BaseException:
            self._let_go(entry)
            raise
        self._deliveries.sent[entry.dual.source] += 1

    def _let_go(self, entry: Entry) -> None:
        with self._lock:
            self._limits.let_go(entry)

    def __len__(self) -> int:
        return (
            sum(len(each) for each in (*self._writers.values(), *self._leaving))
            + len(self._answers)
            + (0 if self._pen is None else len(self._pen))
        )

    def serve(self, seconds: float) -> int:
        """Call callbacks of what is known; waits for the first at most so long. How many."""
        pen = self._pen
        if pen is not None:
            return pen.poll(seconds) + self._answers.serve()
        self._answers.wait(seconds)
        return self._answers.serve()

    def poll(self, plain: Callable[[float], int], seconds: float) -> int:
        """The plain client's poll(), and ours."""
        deadline = float("inf") if seconds < 0 else time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            served = plain(0) + self.serve(min(left, SERVE_SECONDS))
            if served or left == 0:
                self._rest()
                return served

    def _rest(self) -> None:
        """Give poll() back to the plain client once nothing of DUAL is left."""
        with self._lock:
            if not self._writers and self._pen is None and not len(self):
                self._leaving, self.active = [], False

    def flush(self, seconds: float) -> int:
        """Have everything written and told; how much is not, after so long."""
        deadline = float("inf") if seconds < 0 else time.monotonic() + seconds
        while len(self):
            self.hurry()
            self.serve(SERVE_SECONDS)
            if time.monotonic() >= deadline:
                return len(self)
        return 0

    def hurry(self) -> None:
        """Batches wait for no more."""
        for each in list(self._writers.values()):
            each.hurry()

    def end(self) -> None:
        """Nothing is written any more."""
        for each in list(self._writers.values()):
            each.end()
