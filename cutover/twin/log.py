"""The log of one partition: records and control markers at offsets, open and aborted transactions, retention."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cutover.model import Isolation, ProducerState, Record


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at an offset: a data record, or a transaction's marker (`record` is None)."""

    record: Record | None
    producer_id: int | None


@dataclass(slots=True)
class PartitionLog:
    """Entries from `begin` on; offsets are never used twice and markers take offsets too."""

    begin: int = 0
    entries: list[Entry] = field(default_factory=list)
    first: int = 0
    open: dict[int, int] = field(default_factory=dict)
    aborted: set[int] = field(default_factory=set)
    producers: dict[int, ProducerState] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The high watermark."""
        return self.first + len(self.entries)

    @property
    def last_stable(self) -> int:
        """The LSO: the first offset of the oldest open transaction, else the end."""
        return min(self.open.values(), default=self.end)

    def end_offset(self, isolation: Isolation) -> int:
        """The end as a reader of this isolation level sees it."""
        return self.last_stable if isolation is Isolation.READ_COMMITTED else self.end

    def append(self, record: Record, producer: tuple[int, int] | None = None, *, transactional: bool = False) -> int:
        """Append a record, as (producer id, epoch) if it has one; returns its offset."""
        offset = self.end
        self.entries.append(Entry(replace(record, offset=offset), producer[0] if producer and transactional else None))
        if producer is not None:
            self._remember(producer, record.timestamp_ms, offset, transactional=transactional)
        return offset

    def _remember(self, producer: tuple[int, int], timestamp_ms: int, offset: int, *, transactional: bool) -> None:
        producer_id, epoch = producer
        if transactional:
            self.open.setdefault(producer_id, offset)
        before = self.producers.get(producer_id)
        same = before is not None and before.producer_epoch == epoch
        self.producers[producer_id] = ProducerState(
            producer_id=producer_id,
            producer_epoch=epoch,
            last_sequence=before.last_sequence + 1 if before is not None and same else 0,
            last_timestamp_ms=timestamp_ms,
            coordinator_epoch=before.coordinator_epoch if before is not None else -1,
            transaction_start_offset=self.open.get(producer_id),
        )

    def mark(self, producer: tuple[int, int], *, commit: bool) -> None:
        """End a producer's open transaction here with a marker; an abort hides its records from read_committed."""
        producer_id, epoch = producer
        start = self.open.pop(producer_id, None)
        if not commit and start is not None:
            self.aborted |= {offset for offset in range(start, self.end) if self._at(offset).producer_id == producer_id}
        self.entries.append(Entry(None, producer_id))
        before = self.producers.get(producer_id)
        if before is not None:
            self.producers[producer_id] = replace(before, producer_epoch=epoch, coordinator_epoch=0, transaction_start_offset=None)

    def _at(self, offset: int) -> Entry:
        return self.entries[offset - self.first]

    def trim(self, before: int) -> None:
        """Retention: remove everything below an offset."""
        self.begin = max(self.begin, min(before, self.end))
        del self.entries[: self.begin - self.first]
        self.first = self.begin

    def records(self, begin: int, end: int, isolation: Isolation) -> Iterator[Record]:
        """The data records in [begin, end) that a reader of this isolation level is given."""
        for offset in range(begin, end):
            record = self._at(offset).record
            if record is not None and not (isolation is Isolation.READ_COMMITTED and offset in self.aborted):
                yield record

    def offset_at(self, timestamp_ms: int) -> int | None:
        """The first offset of a record whose timestamp is at or after the given one."""
        found = (each.record for each in self.entries if each.record is not None and each.record.timestamp_ms >= timestamp_ms)
        return next((record.offset for record in found), None)
