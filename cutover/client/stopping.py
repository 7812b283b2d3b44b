"""A consumer's part in STOP and UNTIL: which records it may hand out, how far it has come, and when it has acknowledged."""

import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from cutover.client.following import Stop, Where
from cutover.client.log import LOG
from cutover.client.watch import View, Watch
from cutover.protocol import Ack

COMMITTED_SECONDS = 5.0
APPEND_SECONDS = 5.0
OWED_SECONDS = 30.0
BY_HAND = "partitions are assigned by hand: the instance would go on reading them"
Commit = Callable[..., object]
Committed = Callable[..., list[TopicPartition]]


class Stopping:
    """Knows what is stopped; everything is called from inside poll() and consume()."""

    def __init__(self, watch: Watch, commit: Commit | None, committed: Committed) -> None:
        self.by_hand = False
        self.paused: set[Where] = set()
        """What the library has paused."""
        self._watch = watch
        self._commit = commit
        self._committed = committed
        self._stops: Mapping[str, Stop] = {}
        self._answered: set[tuple[str, int, int]] = set()
        self._positions: dict[Where, int] = {}
        self._ends: dict[Where, int] = {}
        self._owed: dict[Where, tuple[int, float]] = {}
        self._view = View()
        self._left: frozenset[str] = frozenset()

    def look(self, view: View, stops: Sequence[Stop], left: frozenset[str]) -> None:
        """What is asked now, and which topics the group does not read; with `trouble` nothing is known and everything is held."""
        self._view = view
        self._left = left
        self._stops = {each.topic: each for each in stops}
        self._answered &= {each.key for each in stops}

    def handed_out(self, positions: Mapping[Where, int]) -> None:
        """The application has got everything below these."""
        self._positions.update(positions)
        self._ends = {where: offset for where, offset in self._ends.items() if where not in positions}

    def positions(self) -> list[TopicPartition]:
        """What was handed out of partitions that are still held."""
        return [TopicPartition(*where, offset) for where, offset in self._positions.items()]

    def forget(self, gone: set[Where]) -> None:
        """Partitions were taken away."""
        now = time.monotonic()
        self._owed = {where: known for where, known in self._owed.items() if now - known[1] < OWED_SECONDS}
        self._owed |= {where: (offset, now) for where, offset in self._positions.items() if where in gone}
        self._positions = {where: offset for where, offset in self._positions.items() if where not in gone}
        self._ends = {where: offset for where, offset in self._ends.items() if where not in gone}
        self.paused -= gone

    def holds(self, where: Where) -> bool:
        """Whether a partition must hand nothing out now."""
        if self.by_hand:
            return False
        stop = self._stops.get(where[0])
        stopped = stop is not None and (stop.asked.until is None or self._reached(stop, where))
        return stopped or where[0] in self._left or self._view.trouble is not None

    def admits(self, where: Where, offset: int) -> bool:
        """Whether a record may be handed out."""
        stop = self._stops.get(where[0])
        if stop is not None and stop.asked.until is not None and offset >= stop.asked.until.get(where[1], 0):
            self._ends[where] = max(offset, self._ends.get(where, offset))  # nothing is left below the limit
            return self.by_hand
        return not self.holds(where)

    def ended(self, where: Where, offset: int) -> bool:
        """The partition's end was met; whether that matters now."""
        self._ends[where] = offset
        return where[0] in self._stops

    def _reached(self, stop: Stop, where: Where) -> bool:
        limit = (stop.asked.until or {}).get(where[1], 0)
        return max(self._positions.get(where, 0), self._ends.get(where, 0)) >= limit

    def answer(self, held: Sequence[TopicPartition], positions: list[TopicPartition] | None) -> bool:
        """Commit and acknowledge what is due; False if it has to be tried again."""
        due = [each for each in self._stops.values() if each.key not in self._answered]
        answered = [self._answer(each, held, positions) for each in due]
        return all(answered)

    def _answer(self, stop: Stop, held: Sequence[TopicPartition], positions: list[TopicPartition] | None) -> bool:
        if time.monotonic() >= self._watch.deadline(stop.pair.pair, stop.asked):
            return True  # EXPIRED is about to be said: an acknowledgement now would say the contrary
        here = [each for each in held if each.topic == stop.topic]
        reads_on = stop.asked.until is not None and not all(self._reached(stop, (each.topic, each.partition)) for each in here)
        if reads_on and not self.by_hand:
            return False
        try:
            self._commit_all(positions)
            self._commit_owed(stop.topic)
            offsets = {each.partition: each.offset for each in self._committed(here, COMMITTED_SECONDS) if each.offset >= 0} if here else {}
        except KafkaException as error:
            LOG.warning("the group's positions could not be committed for term %d: %s", stop.asked.term, error)
            return False
        self._acknowledge(stop, offsets)
        return True

    def _commit_all(self, positions: list[TopicPartition] | None) -> None:
        if self._commit is None or positions == []:
            return
        try:
            if positions is None:
                self._commit(asynchronous=False)
            else:
                self._commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise

    def _commit_owed(self, topic: str) -> None:
        """What was handed out of partitions that a rebalance took away: the commit that goes with it fails now and then, unseen."""
        now = time.monotonic()
        owed = {where: offset for where, (offset, at) in self._owed.items() if where[0] == topic and now - at < OWED_SECONDS}
        if self._commit is None or not owed:
            return
        found = self._committed([TopicPartition(*where) for where in owed], COMMITTED_SECONDS)
        due = [each for each in found if each.offset < owed[(each.topic, each.partition)]]
        if due:
            offsets = [TopicPartition(each.topic, each.partition, owed[(each.topic, each.partition)]) for each in due]
            self._commit(offsets=offsets, asynchronous=False)

    def _acknowledge(self, stop: Stop, offsets: Mapping[int, int]) -> None:
        problem = BY_HAND if self.by_hand else None
        for name in self._view.names(stop.pair.pair):
            ack = Ack(
                instance=name,
                pair=stop.pair.pair,
                term=stop.asked.term,
                offsets=offsets,
                until=stop.asked.until is not None,
                problem=problem,
            )
            self._watch.topic.append(ack, name)
        self._watch.topic.flush(APPEND_SECONDS)
        self._answered.add(stop.key)
