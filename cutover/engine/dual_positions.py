"""A group's position on the other topic while producers write both: found by what the two records of a produce() have in common.

That is the stamp; where there is none, the key and how many records of it came since the cut: both topics have a key's records in one
order. Two writers may stand in another order on the other topic, so the answer is the first record there that the group has not read;
the records behind it that it has read are counted.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from cutover.errors import RangeUnreadable, TranslationsDiffer
from cutover.model import Isolation, Record, TopicPartition
from cutover.ports import Cluster, Reader
from cutover.stamps import stamp_of

Vector = Mapping[int, int]
SETTLE_SECONDS = 15.0
LOOK_SECONDS = 0.01
BEAT_RECORDS = 2000
Beat = Callable[[], None]
"""What must go on while much is read."""
Identified = Generator[tuple[Record, int], None, None]
_Counted = Counter[Hashable]
"""How many records of each key came."""


def _no_beat() -> None:
    """Nothing has to."""


@dataclass(frozen=True, slots=True)
class Side:
    """One topic of the pair, and a verified cut on it."""

    topic: str
    cut: Vector

    def spans(self, begin: Vector, until: Vector) -> dict[TopicPartition, tuple[int, int]]:
        """The range of each partition."""
        return {TopicPartition(self.topic, p): (begin[p], until[p]) for p in until}


@dataclass(frozen=True, slots=True)
class Twinned:
    """An answer: `given` on `here` is `positions` on `there`, of which everything below `looked_at` was looked at."""

    here: Side
    there: Side
    given: Vector
    positions: Vector
    duplicates: int
    looked_at: Vector


def translate(cluster: Cluster, reader: Reader, here: Side, there: Side, given: Vector, beat: Beat = _no_beat) -> Twinned:
    """The first counterparts of what a group at or past the cut has not read; raises RangeExpired, RangeUnreadable.

    Whatever the group has read stands below the ends that are taken here, since a transaction has written both topics before either is
    readable: once all of it is found there, everything behind is unread. A record there that has no counterpart at all counts as unread:
    rather read again than lost.
    """
    ends = _decided(cluster, there, beat)
    read = {identity for _, identity in _identified(reader.read(here.spans(here.cut, given)), beat)}
    missing, seen, looked_at = set(read), list[tuple[Record, bool]](), dict(there.cut)
    with closing(_identified(reader.read(there.spans(there.cut, ends)), beat)) as records:
        while missing and (found := next(records, None)) is not None:
            each, identity = found
            seen.append((each, identity not in read))
            missing.discard(identity)
            looked_at[each.partition] = each.offset + 1
    if missing:
        looked_at = ends
    positions, duplicates = _first(seen, looked_at)
    return Twinned(here, there, given, positions, duplicates, looked_at)


def verify(cluster: Cluster, reader: Reader, found: Twinned, beat: Beat = _no_beat) -> None:
    """Derive the answer again, from what was not read instead of what was; raises TranslationsDiffer.

    By now the counterpart of every record that was looked at there is readable here.
    """
    here, there, on_here, on_there = found.here, found.there, _Counted(), _Counted()
    records = list(_identified(reader.read(there.spans(there.cut, found.looked_at)), beat, on_there))
    read = {identity for _, identity in _identified(reader.read(here.spans(here.cut, found.given)), beat, on_here)}
    looked_at, unread = {identity for _, identity in records}, set[int]()
    if others := looked_at - read:
        later = _identified(reader.read(here.spans(found.given, _decided(cluster, here, beat))), beat, on_here)
        unread = _come(later, others)
    positions, duplicates = _first(((each, identity in unread) for each, identity in records), found.looked_at)
    if overlooked := read - looked_at:
        behind = _identified(reader.read(there.spans(found.looked_at, _decided(cluster, there, beat))), beat, on_there)
        duplicates += sum(identity in overlooked for _, identity in behind)
    if (positions, duplicates) != (found.positions, found.duplicates):
        raise TranslationsDiffer(
            f"two derivations of positions on {there.topic} differ",
            differences={str(p): [found.positions[p], positions[p]] for p in positions if positions[p] != found.positions[p]},
            duplicates=[found.duplicates, duplicates],
        )


def _come(records: Identified, wanted: set[int]) -> set[int]:
    """Those of the wanted that come; nothing is read behind the last of them."""
    left = set(wanted)
    with closing(records):
        while left and (found := next(records, None)) is not None:
            left.discard(found[1])
    return wanted - left


def _first(marked: Iterable[tuple[Record, bool]], looked_at: Vector) -> tuple[dict[int, int], int]:
    """Per partition the first unread record, else where nobody looked any more; and how many records behind it were read."""
    positions: dict[int, int] = {}
    duplicates = 0
    for each, is_unread in marked:
        if each.partition in positions:
            duplicates += not is_unread
        elif is_unread:
            positions[each.partition] = each.offset
    return {**looked_at, **positions}, duplicates


def _decided(cluster: Cluster, side: Side, beat: Beat) -> dict[int, int]:
    """The ends as they are now, once every transaction below them has ended."""
    where = [TopicPartition(side.topic, p) for p in side.cut]
    ends, deadline = cluster.end_offsets(where, Isolation.READ_UNCOMMITTED), time.monotonic() + SETTLE_SECONDS
    while any(stable < ends[at] for at, stable in cluster.end_offsets(where, Isolation.READ_COMMITTED).items()):
        if time.monotonic() > deadline:
            raise RangeUnreadable(f"a transaction on {side.topic} stays open", why=f"It has not ended within {SETTLE_SECONDS:g} s.")
        beat()
        time.sleep(LOOK_SECONDS)
    return {at.partition: end for at, end in ends.items()}


def _identified(records: Iterable[Record], beat: Beat, counted: _Counted | None = None) -> Identified:
    """Each record with what its twin has in common with it, hashed; `counted` goes on with what was read before of the same topic."""
    counted = _Counted() if counted is None else counted
    for number, each in enumerate(records):
        if number % BEAT_RECORDS == 0:
            beat()
        stamp = stamp_of(each.headers)
        if stamp is not None:
            yield each, hash(stamp)
        else:
            key = (each.value, each.headers) if each.key is None else each.key
            counted[key] += 1
            yield each, hash((key, counted[key]))
