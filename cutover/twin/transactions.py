"""Transactional ids in memory: producer ids, epochs, fencing, and transactions over records and group positions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cutover.errors import ProducerFenced, RejectedByBroker
from cutover.model import Committed, Header, TopicPartition, TransactionDescription, TransactionListing, TransactionState

if TYPE_CHECKING:
    from cutover.twin.cluster import Twin


@dataclass(slots=True)
class TransactionalId:
    """What the coordinator knows of one transactional id."""

    name: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    started_at_ms: int | None = None
    partitions: set[TopicPartition] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)

    def listing(self) -> TransactionListing:
        """As a listing shows it."""
        return TransactionListing(self.name, self.producer_id, self.state)

    def description(self) -> TransactionDescription:
        """As a description shows it."""
        return TransactionDescription(
            self.name, self.producer_id, self.epoch, self.state, self.timeout_ms, self.started_at_ms, frozenset(self.partitions)
        )


@dataclass(slots=True)
class Coordinator:
    """All transactional ids; ends transactions by markers in the partitions and verdicts in the groups."""

    twin: "Twin"
    ids: dict[str, TransactionalId] = field(default_factory=dict)
    next_producer_id: Iterator[int] = field(default_factory=lambda: iter(range(1000, 2**31)))

    def initialize(self, name: str, timeout_ms: int) -> TransactionalId:
        """InitProducerId: abort what an earlier holder left open, and raise the epoch so that it is shut out."""
        known = self.ids.get(name)
        if known is None:
            known = self.ids[name] = TransactionalId(name, next(self.next_producer_id), -1, timeout_ms)
        known.epoch += 1
        known.timeout_ms = timeout_ms
        if known.state is TransactionState.ONGOING:
            self.end(known, commit=False)
        known.state = TransactionState.EMPTY
        return known

    def end(self, known: TransactionalId, *, commit: bool) -> None:
        """EndTxn: a marker in each partition, the pending positions of each group settled."""
        for where in sorted(known.partitions):
            self.twin.log(where).mark((known.producer_id, known.epoch), commit=commit)
        for group in known.groups:
            self.twin.group(group).settle(known.producer_id, commit=commit)
        known.partitions.clear()
        known.groups.clear()
        known.started_at_ms = None
        known.state = TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT

    def expire(self, now_ms: int) -> frozenset[str]:
        """Abort every transaction that is older than its timeout and shut its holder out; returns their ids."""
        late = [each for each in self.ids.values() if each.started_at_ms is not None and now_ms - each.started_at_ms > each.timeout_ms]
        for known in late:
            known.epoch += 1
            self.end(known, commit=False)
        return frozenset(known.name for known in late)

    def forget(self, topic: str) -> None:
        """A topic was deleted: no transaction touches it any more."""
        for known in self.ids.values():
            known.partitions = {where for where in known.partitions if where.topic != topic}


@dataclass(slots=True)
class TwinProducer:
    """A transactional producer as an application holds it; every call of a fenced one raises ProducerFenced."""

    twin: "Twin"
    known: TransactionalId
    epoch: int
    open: bool = False

    def _assert_current(self) -> None:
        if self.known.epoch != self.epoch:
            raise ProducerFenced(f"{self.known.name} has a newer holder", transactional_id=self.known.name, epoch=self.known.epoch)

    def _enlist(self) -> None:
        if not self.open:
            raise RejectedByBroker("no transaction has been begun", transactional_id=self.known.name)
        self._assert_current()
        if self.known.state is not TransactionState.ONGOING:
            self.known.state = TransactionState.ONGOING
            self.known.started_at_ms = self.twin.now_ms()

    def begin(self) -> None:
        """Begin a transaction; like the real call it does not reach the cluster."""
        self.open = True

    def produce(self, where: TopicPartition, key: bytes | None, value: bytes | None, headers: tuple[Header, ...] = ()) -> int:
        """Append a record to the open transaction; returns its offset."""
        self._enlist()
        offset = self.twin.append(where, key, value, headers, producer=(self.known.producer_id, self.epoch), transactional=True)
        self.known.partitions.add(where)
        return offset

    def send_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None:
        """Write group positions that become visible when the transaction commits; no membership is asked for."""
        self._enlist()
        self.twin.group(group).hold(self.known.producer_id, positions, self.twin.next_place())
        self.known.groups.add(group)

    def _end(self, *, commit: bool) -> None:
        self._assert_current()
        self.open = False
        if self.known.state is TransactionState.ONGOING:
            self.twin.coordinator.end(self.known, commit=commit)

    def commit(self) -> None:
        """Make everything of the transaction visible."""
        self._end(commit=True)

    def abort(self) -> None:
        """Make nothing of the transaction visible to read_committed."""
        self._end(commit=False)
