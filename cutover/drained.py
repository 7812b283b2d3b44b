"""Whether a group has nothing left to read on a topic below a cut: asked of the cluster, never derived from lag.

`committed >= end` is wrong both ways: a transaction leaves a marker that nobody reads, an open one hides its records. Here no data
record may lie between position and cut; a cut is taken where the last stable offset was the high watermark, so nothing comes below it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cutover.errors import RangeUnreadable
from cutover.model import PENDING, Committed, Position, TopicPartition
from cutover.ports import Cluster, Reader

READ_SECONDS = 10.0
PENDING_WORDS = "its position is pending in a transaction, so nobody knows it"


@dataclass(frozen=True, slots=True)
class Look:
    """One look: why each partition is not drained."""

    left: Mapping[TopicPartition, str]
    offsets: int
    """How many are left on those partitions, markers counted."""

    def words(self) -> str:
        """The first reason; empty where nothing is left."""
        for where, why in sorted(self.left.items()):
            others = f" (and {len(self.left) - 1} partitions more)" if len(self.left) > 1 else ""
            return f"{where.topic}-{where.partition}: {why}{others}"
        return ""


def look(cluster: Cluster, reader: Reader, group: str, cut: Mapping[TopicPartition, int]) -> Look:
    """What is left for the group to read below the cut. A position that is pending is not known, and so is what lies beyond it."""
    positions, begins = cluster.committed([group], cut)[group], cluster.begin_offsets(cut)
    left, offsets = {}, 0
    for where, end in cut.items():
        begin = max(_next(positions[where]), begins[where])
        why = PENDING_WORDS if positions[where] is PENDING else _unread(reader, where, begin, end) if begin < end else ""
        if why:
            left[where] = why
            offsets += max(0, end - begin)
    return Look(left, offsets)


def _next(position: Position) -> int:
    return position.offset if isinstance(position, Committed) else 0


def _unread(reader: Reader, where: TopicPartition, begin: int, end: int) -> str:
    try:
        first = next(iter(reader.read({where: (begin, end)}, timeout_seconds=READ_SECONDS)), None)
    except RangeUnreadable:
        return "its end cannot be read yet"
    return f"the record at {first.offset:,} is not read" if first is not None else ""


@dataclass(slots=True)
class Draining:
    """How fast a group comes down to its end, from looks at it. Times are monotonic seconds."""

    window_seconds: float = 60.0
    looked_at: float = float("-inf")
    words: str = ""
    _seen: list[tuple[float, int]] = field(default_factory=list)

    def after(self, left: int, now: float) -> str:
        """Take in one look; the pace in words."""
        self._seen = [each for each in self._seen if now - each[0] <= self.window_seconds] + [(now, left)]
        began, first = self._seen[0]
        seconds = now - began
        if seconds <= 0:
            return "its pace is being measured"
        pace = (first - left) / seconds
        if pace <= 0:
            return f"it has not come closer for {seconds:.0f} s"
        return f"{pace:,.0f} offsets/s, about {left / pace:,.0f} s to go"
