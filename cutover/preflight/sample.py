"""Which keys sit where: the oldest and the newest records of each partition, bounded in number and in bytes.

The oldest too: a topic that was altered shows it where its first keys sit, long before its newest records.
"""

from collections.abc import Iterator, Mapping

from cutover.errors import RangeExpired
from cutover.model import Record, TopicPartition
from cutover.partitioners import Fit, fit
from cutover.ports import Cluster, Reader

OFFSETS = 1000
"""At each end of each partition."""

OFFSETS_TOTAL = 100_000
"""At each end, over all partitions."""

BYTES = 64 * 2**20
"""At each end: a sample of great records is one of fewer."""

Offsets = Mapping[TopicPartition, int]
Ranges = Mapping[TopicPartition, tuple[int, int]]
Placed = tuple[bytes | None, int]


def sample(cluster: Cluster, reader: Reader, ends: Offsets) -> Fit:
    """Which partitioners explain the sampled keys. Reads below `ends`, which are stable; retention may pass a begin while it reads."""
    try:
        return _sample(cluster, reader, ends)
    except RangeExpired:
        return _sample(cluster, reader, ends)


def _sample(cluster: Cluster, reader: Reader, ends: Offsets) -> Fit:
    begins = cluster.begin_offsets(list(ends))
    placed = [one for ranges in spans(begins, ends) for one in _placed(reader.read(ranges))]
    return fit(placed, len(ends))


def spans(begins: Offsets, ends: Offsets) -> tuple[Ranges, Ranges]:
    """The oldest offsets of each partition and its newest ones; they never overlap."""
    most = min(OFFSETS, max(1, OFFSETS_TOTAL // max(1, len(ends))))
    oldest = {where: (begin, min(begin + most, ends[where])) for where, begin in begins.items() if begin < ends[where]}
    newest = {where: (max(ends[where] - most, stop), ends[where]) for where, (_, stop) in oldest.items() if stop < ends[where]}
    return oldest, newest


def _placed(records: Iterator[Record]) -> Iterator[Placed]:
    taken = 0
    for record in records:
        yield record.key, record.partition
        taken += len(record.key or b"") + len(record.value or b"")
        if taken > BYTES:
            return
