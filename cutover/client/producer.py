"""A confluent_kafka.Producer that follows its topics: it writes where the control log says, and waits while that is being changed.

Without a pair produce() is the plain client's own method. With one, records go through the gate; at HOLD a thread of its own
flushes, so that the watch goes on hearing the log whatever the application's callbacks do, and then appends ACK.
"""

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from cutover import __version__
from cutover.client.deliveries import Callback, Deliveries
from cutover.client.dual import Dual
from cutover.client.duals import Duals
from cutover.client.errors import Held, NotSupported, SettingsWrong
from cutover.client.gate import Gate, Route
from cutover.client.log import LOG
from cutover.client.routes import duals_of, entering, route_of, starting
from cutover.client.settings import Settings, split, truth
from cutover.client.shortcut import Shortcut
from cutover.client.transactor import HELD, Transactor
from cutover.client.watch import View, Watch, leave_at_exit
from cutover.protocol import Ack, Join, Mode, PairState, Role

PLAIN_PRODUCE = confluent_kafka.Producer.produce
PLAIN_POLL = confluent_kafka.Producer.poll
UNFOLLOWED = Route("")
PUSH_SECONDS = 0.02
EXIT_SECONDS = 5.0
EXPLICIT = "explicit partitions are used: a partition number of the source means nothing on the target"
KEPT_POLL = "the application still holds the poll method that it took before the pair was there; it must be restarted"
KEPT = "the application still holds the produce method that it took before the pair was there; it must be restarted"
UNACKNOWLEDGED = "acks=0: nothing tells which records were written"


@dataclass(frozen=True, slots=True)
class Holding:
    """A HOLD as this instance met it."""

    state: PairState
    term: int
    to: Mode | None
    deadline: float
    doubtful: int

    @property
    def topic(self) -> str:
        """The topic that is to be quiet."""
        return self.state.primary.name

    @property
    def other(self) -> str:
        """The topic that may be written next."""
        return self.state.told.source.name if self.state.mode is Mode.TARGET else self.state.told.target.name


@dataclass(frozen=True, slots=True)
class Deferred:
    """A record that a delivery callback produced while its topic was held."""

    topic: str
    arguments: tuple[Any, ...]
    callback: Callback | None


class Producer(confluent_kafka.Producer):
    """Drop-in for confluent_kafka.Producer. `cutover.topic` names the topics that it follows; docs/client.md has the other settings.

    The first produce() or begin_transaction() waits until the instance has joined the control log (ControlUnavailable after
    `cutover.start.timeout`); while producers are held it waits for `cutover.hold.timeout` at most (Held).
    """

    def __init__(self, *arguments: dict[str, Any], **named: Any) -> None:  # noqa: ANN401 - the plain client's own signature
        settings = split(arguments, named)
        if not settings.topics:
            raise SettingsWrong("cutover.topic is not set", why="The topics to follow must be known before the first record.")
        plain = dict(settings.plain)
        only_errors = truth(plain.pop("delivery.report.only.error", False))
        super().__init__(plain)
        self._settings = settings
        self._gate = Gate({topic: starting(settings) for topic in settings.topics})
        self._deliveries = Deliveries(plain.get("on_delivery"), only_errors=only_errors)
        self._shortcut = None if only_errors else Shortcut(super().produce)
        self._plain_poll = Shortcut(super().poll)
        self._pen: Transactor | None = None
        self._plain_left = False
        self._kept = False
        self._explicit: set[str] = set()
        self._transaction: Mapping[str, Route] | None = None
        self._deferred: list[Deferred] = []
        self._drains: dict[tuple[str, int], threading.Thread] = {}
        self._closed = False
        self._watch = Watch(settings, self._heard, _join(settings))
        self._duals = Duals(settings, self._deliveries, self._watch)
        self._watch.start(*settings.topics)
        leave_at_exit(self)
        weakref.finalize(self, self._duals.end).atexit = False  # at the end of the interpreter there is a flush first

    def produce(
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        partition: int = -1,
        callback: Callback | None = None,
        on_delivery: Callback | None = None,
        timestamp: int = 0,
        headers: Any = None,  # noqa: ANN401 - the plain client's own signature
    ) -> None:
        """As the plain client's, to the topic that the control log names; waits while producers are held."""
        given = callback or on_delivery
        with self._gate.lock:
            route = self._gate.routes.get(topic, UNFOLLOWED)
            if route.direct and partition < 0 and self._transaction is None:
                wrapped = self._deliveries.callback(given)  # the shortest way, for almost every record
                PLAIN_PRODUCE(self, route.topic, value, key, -1, wrapped, None, timestamp, headers)
                self._deliveries.sent[route.topic] += 1
            else:
                self._produce_otherwise(topic, (value, key, partition, timestamp, headers), given)

    def _produce_otherwise(self, topic: str, arguments: tuple[Any, ...], given: Callback | None) -> None:
        if self._transaction is not None:
            self._send(self._transaction.get(topic) or Route(topic), arguments, given)
        elif self._deliveries.inside and self._gate.look(topic).shut is not None:
            self._deferred.append(Deferred(topic, arguments, given))
        else:
            self._send(self._gate.passage(topic), arguments, given)

    def _send(self, route: Route, arguments: tuple[Any, ...], given: Callback | None) -> None:
        """With the gate's lock held: nobody is between check and enqueue once it is let go."""
        value, key, partition, timestamp, headers = arguments
        self._note_partition(route, partition)
        if route.place is not None:
            partition = route.place(key)
            arguments = (value, key, partition, timestamp, headers)
        if self._pen is not None:
            self._send_in(self._pen, route, arguments, given)
        elif route.dual is not None:
            self._duals.put(self._duals.entry(route.dual, arguments, given))
        else:
            PLAIN_PRODUCE(self, route.topic, value, key, partition, self._deliveries.callback(given), None, timestamp, headers)
            self._deliveries.sent[route.topic] += 1

    def _send_in(self, pen: Transactor, route: Route, arguments: tuple[Any, ...], given: Callback | None) -> None:
        """In a transaction of the application's that writes both topics of a pair, and whatever else it writes."""
        if route.dual is not None:
            self._duals.write(pen, self._duals.entry(route.dual, arguments, given))
            return
        value, key, partition, timestamp, headers = arguments
        more = {"timestamp": timestamp} | ({"headers": headers} if headers else {})
        pen.produce(route.topic, value, key, partition, self._deliveries.callback(given), **more)
        self._deliveries.sent[route.topic] += 1

    def _note_partition(self, route: Route, partition: int) -> None:
        if partition < 0 or not route.followed:
            return
        if route.moved:
            raise NotSupported(
                "a partition was named in produce()", why="Producers write the target, where the key alone says the partition."
            )
        self._explicit.add(route.topic)

    def produce_batch(
        self,
        topic: str,
        messages: list[dict[str, Any]],
        partition: int = -1,
        callback: Callback | None = None,
        on_delivery: Callback | None = None,
    ) -> int:
        """As the plain client's, to the topic that the control log names."""
        with self._gate.lock:
            route = self._batch_route(topic)
            for number in (partition, *(each.get("partition", -1) for each in messages)):
                self._note_partition(route, number)
            if route.dual is not None or self._pen is not None:
                return self._send_each(route, messages, partition, callback or on_delivery)
            theirs = [each.get("callback") for each in messages]
            for each, given in zip(messages, theirs, strict=True):
                each["callback"] = self._deliveries.callback(given or callback or on_delivery)
                if route.place is not None:
                    each["partition"] = route.place(each.get("key"))
            try:
                taken = super().produce_batch(route.topic, messages, partition)
                self._deliveries.sent[route.topic] += taken
            finally:
                _put_back(messages, theirs, placed=route.place is not None)
        return taken

    def _send_each(self, route: Route, messages: list[dict[str, Any]], partition: int, given: Callback | None) -> int:
        """A batch in DUAL, record by record; as the plain client's, it goes on after one that is refused."""
        taken = 0
        for each in messages:
            arguments = (
                each.get("value"),
                each.get("key"),
                each.get("partition", partition),
                each.get("timestamp", 0),
                each.get("headers"),
            )
            try:
                self._send(route, arguments, each.get("callback") or given)
                taken += 1
            except BufferError:
                each["_error"] = KafkaError(KafkaError._QUEUE_FULL)
            except KafkaException as error:
                each["_error"] = error.args[0]
        return taken

    def _batch_route(self, topic: str) -> Route:
        if self._transaction is not None:
            return self._transaction.get(topic) or Route(topic)
        if self._deliveries.inside and self._gate.look(topic).shut is not None:
            raise Held("producers are held", why="A batch from inside a delivery callback cannot wait.")
        return self._gate.passage(topic)

    def begin_transaction(self) -> None:
        """As the plain client's; waits while producers are held. What is produced until its end goes where it began."""
        deadline = time.monotonic() + self._settings.hold_seconds
        while True:
            with self._gate.lock:
                routes = dict(self._gate.all_open())
                duals = {each.dual.pair: each.dual for each in routes.values() if each.dual is not None}
                if not duals:
                    super().begin_transaction()
                self._transaction = routes
            if not duals or self._begin_dual(duals, deadline):
                return

    def _begin_dual(self, duals: Mapping[str, Dual], deadline: float) -> bool:
        """Begin a transaction that writes both topics; not if producers are held by now. Without the gate's lock: the watch needs it."""
        try:
            self._pen = self._duals.begin(duals)
        except KafkaException as error:
            self._end_transaction()
            if error.args[0] is not HELD or time.monotonic() >= deadline:
                raise
        return self._pen is not None

    def send_offsets_to_transaction(self, positions: list[TopicPartition], group_metadata: object, timeout: float = -1) -> None:
        """As the plain client's."""
        if self._pen is None:
            super().send_offsets_to_transaction(positions, group_metadata, timeout)
        else:
            self._pen.send_offsets(positions, group_metadata, timeout)

    def commit_transaction(self, timeout: float = -1) -> None:
        """As the plain client's."""
        if self._pen is None:
            super().commit_transaction(timeout)
        else:
            self._pen.complete(timeout)
            self._pen.commit(timeout)
        self._end_transaction()

    def abort_transaction(self, timeout: float = -1) -> None:
        """As the plain client's."""
        if self._pen is None:
            super().abort_transaction(timeout)
        else:
            self._pen.abort(timeout)
        self._end_transaction()

    def _end_transaction(self) -> None:
        with self._gate.lock:
            self._transaction = self._pen = None
            self._gate.changed.notify_all()

    def poll(self, timeout: float = -1) -> int:
        """As the plain client's."""
        if not self._duals.active:
            return int(PLAIN_POLL(self, timeout))
        return self._duals.poll(partial(PLAIN_POLL, self), timeout)

    def flush(self, timeout: float = -1) -> int:
        """As the plain client's; what callbacks produced during a hold is waited for as well."""
        deadline = None if timeout < 0 else time.monotonic() + timeout
        while True:
            before = len(self._deferred)  # what is sent meanwhile needs another round
            left = super().flush(_left(deadline)) + self._duals.flush(_left(deadline))
            with self._gate.lock:
                if not before and not self._deferred:
                    return left
                if deadline is not None and time.monotonic() >= deadline:
                    return left + len(self._deferred)
                self._gate.changed.wait(PUSH_SECONDS)

    def __len__(self) -> int:
        return super().__len__() + len(self._deferred) + len(self._duals)

    def close(self) -> bool:
        """As the plain client's, then LEAVE: whoever drives a switch need not wait for this instance."""
        if self._closed:
            return True
        if self._deferred or len(self._duals):
            self.flush(self._settings.hold_seconds)
        self._closed = True
        self._duals.end()
        for thread in list(self._drains.values()):
            thread.join()
        closed = super().close()
        self._watch.leave(self._last_offsets)
        return closed

    def close_at_exit(self) -> None:
        """Say LEAVE when the interpreter ends, if everything was delivered by then."""
        if not self._closed and self._transaction is None and self.flush(EXIT_SECONDS) == 0:
            self._closed = True
            self._watch.leave(self._last_offsets)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _last_offsets(self, topic: str) -> dict[int, int]:
        pair = self._watch.view.pair(topic)
        return {} if pair is None else self._deliveries.offsets(pair.primary.name)

    def _heard(self, view: View) -> None:
        """The control log has more to say; called by the watch's thread."""
        with self._gate.lock:
            self._choose_method(view)
            self._duals.turn(duals_of(view), entering(view))
            self._gate.turn({topic: route_of(view, topic, self._settings) for topic in self._settings.topics})
            failed = self._send_deferred()
        for each, why in failed:
            self._refuse(each, why)
        self._begin_drains(view)

    def _choose_method(self, view: View) -> None:
        """The plain method where nothing concerns the instance, the gated one else."""
        plain = self._shortcut is not None and view.trouble is None
        plain = plain and all(topic in view.joined and view.pair(topic) is None for topic in self._settings.topics)
        if plain and self._shortcut is not None:
            self.__dict__["produce"] = self._shortcut.method
            self.__dict__["poll"] = self._plain_poll.method
        elif self.__dict__.pop("produce", None) is not None:
            self._plain_left = True
            self.__dict__.pop("poll", None)

    def _send_deferred(self) -> list[tuple[Deferred, str]]:
        """What callbacks produced during the hold goes first; returns what the plain client refused."""
        waiting = self._deferred
        due = [each for each in waiting if self._gate.look(each.topic).shut is None]
        self._deferred = [each for each in waiting if self._gate.look(each.topic).shut is not None]
        failed: list[tuple[Deferred, str]] = []
        for each in due:
            try:
                self._send(self._gate.look(each.topic), each.arguments, each.callback)
            except (BufferError, KafkaException) as error:
                failed.append((each, str(error)))
        return failed

    def _refuse(self, record: Deferred, why: str) -> None:
        value, key, *_ = record.arguments
        LOG.error("a record that a delivery callback produced during a hold was refused: %s", why)
        callback = record.callback or self._settings.plain.get("on_delivery")
        if callback is not None:
            callback(KafkaError(KafkaError._FAIL, why), Message(topic=record.topic, key=key, value=value))

    def _begin_drains(self, view: View) -> None:
        pairs = {found.pair: found for topic in view.joined if (found := view.pair(topic)) is not None}
        together = entering(view)
        for state in pairs.values():
            hold = state.hold
            if hold is not None and (state.pair, hold.term) not in self._drains and not self._closed:
                held = Holding(
                    state, hold.term, hold.to, self._watch.deadline(state.pair, hold), self._deliveries.doubtful[state.primary.name]
                )
                thread = threading.Thread(target=self._drain, args=(held, together), name=f"cutover-hold-{hold.term}", daemon=True)
                self._drains = {key: each for key, each in self._drains.items() if each.is_alive()} | {(state.pair, hold.term): thread}
                thread.start()

    def _drain(self, hold: Holding, together: Mapping[str, Dual]) -> None:
        """Until everything that was taken is acknowledged, then ACK; nothing if the budget ends before that."""
        same_topic = self._watch.same_topic()
        problem = self._prepare(hold, together)
        with self._deliveries.own_thread():
            while self._is_held(hold) and time.monotonic() < hold.deadline:
                if self._stands_still(hold.topic):
                    if same_topic():
                        self._acknowledge(hold, problem)
                    return
                self._recall(hold.state)
                self._push()

    def _prepare(self, hold: Holding, together: Mapping[str, Dual]) -> str | None:
        """Be ready to write both topics, so that the release costs nothing; what stands against it."""
        if hold.to is not Mode.DUAL or hold.state.mode is Mode.DUAL:
            return None
        if self._plain_poll.in_other_hands():
            return KEPT_POLL
        problem = self._duals.prepare(hold.state.pair, together, max(0.01, hold.deadline - time.monotonic()))
        return problem and f"this instance cannot write both topics: {problem}"

    def _is_held(self, hold: Holding) -> bool:
        state = self._watch.view.state.pairs.get(hold.state.pair)
        return not self._closed and state is not None and state.hold is not None and state.hold.term == hold.term

    def _stands_still(self, topic: str) -> bool:
        with self._gate.lock:
            # Before the counts: whoever lets go of the plain method after this has put its record into them.
            self._kept = self._shortcut is not None and "produce" not in self.__dict__ and self._shortcut.in_other_hands()
            if self._transaction is not None or self._deliveries.pending(topic):
                return False
            self._plain_left = self._plain_left and super().__len__() > self._deliveries.pending()
            return not self._plain_left

    def _recall(self, state: PairState) -> None:
        """Only the open transaction of DUAL is ended in a hold; what has not begun goes first after the release."""
        named = next((topic for topic in self._watch.view.joined if self._governs(state, topic)), None)
        if named is None:  # it was said to have left
            return
        with self._gate.lock:
            back = [Deferred(named, each.arguments(), each.callback) for each in self._duals.recall(state.pair)]
            self._deferred = back + self._deferred

    def _governs(self, state: PairState, topic: str) -> bool:
        found = self._watch.view.pair(topic)
        return found is not None and found.pair == state.pair

    def _push(self) -> None:
        if self._transaction is None:
            super().flush(PUSH_SECONDS)
        with self._gate.lock:
            self._gate.changed.wait(0.001 if self._transaction is None else PUSH_SECONDS)

    def _acknowledge(self, hold: Holding, unprepared: str | None) -> None:
        problem = "; ".join([*self._problems(hold), *([unprepared] if unprepared else [])]) or None
        offsets = self._deliveries.offsets(hold.topic)
        for name in self._watch.view.names(hold.state.pair):
            self._watch.topic.append(Ack(instance=name, pair=hold.state.pair, term=hold.term, offsets=offsets, problem=problem), name)
        self._watch.topic.flush(max(0.0, hold.deadline - time.monotonic()))
        with contextlib.suppress(KafkaException):  # so that the first record on the other side need not wait for its metadata
            super().list_topics(hold.other, 1.0)

    def _problems(self, hold: Holding) -> list[str]:
        """What speaks against letting this instance go on elsewhere."""
        doubtful = self._deliveries.doubtful[hold.topic] - hold.doubtful
        said = {
            EXPLICIT: hold.topic in self._explicit and hold.to is Mode.TARGET,
            KEPT: self._kept,
            UNACKNOWLEDGED: str(self._settings.plain.get("acks", self._settings.plain.get("request.required.acks", "all"))) == "0",
            f"what became of {doubtful} records is not known": doubtful > 0,
        }
        return [words for words, true in said.items() if true]


def _left(deadline: float | None) -> float:
    return -1 if deadline is None else max(0.0, deadline - time.monotonic())


def _put_back(messages: list[dict[str, Any]], callbacks: list[Callback | None], *, placed: bool) -> None:
    for each, given in zip(messages, callbacks, strict=True):
        if placed:
            del each["partition"]
        if given is None:
            del each["callback"]
        else:
            each["callback"] = given


def _join(settings: Settings) -> Join:
    return Join(
        instance=settings.instance,
        session="",
        topic="",
        role=Role.PRODUCER,
        client_id=settings.client_id,
        host=socket.gethostname(),
        partitioner=settings.partitioner,
        transactional_id=settings.plain.get("transactional.id"),
        library=f"cutover-python/{__version__}",
    )
