"""A group's position on the other topic while producers write both: found by what the two records of a produce() have in common.

That is the stamp; where there is none, the key and how many records of it came since the cut: both topics have a key's records in one
order. Two writers may stand in another order on the other topic, so the answer is the first record there that the group has not read;
the records behind it that it has read are counted.
"""

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cutover.errors import RangeUnreadable, TranslationsDiffer
from cutover.model import Isolation, Record, TopicPartition
from cutover.ports import Cluster, Reader
from cutover.stamps import stamp_of

Vector = Mapping[int, int]
SETTLE_SECONDS = 15.0
LOOK_SECONDS = 0.01


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
    """An answer: `given` on `here` is `positions` on `there`, of which everything below `ends` was looked at."""

    here: Side
    there: Side
    given: Vector
    positions: Vector
    duplicates: int
    ends: Vector


def translate(cluster: Cluster, reader: Reader, here: Side, there: Side, given: Vector) -> Twinned:
    """The first counterparts of what a group at or past the cut has not read; raises RangeExpired, RangeUnreadable.

    Whatever the group has read stands below the ends that are taken here, since a transaction has written both topics before either is
    readable. A record there that has no counterpart at all counts as unread: rather read again than lost.
    """
    ends = _decided(cluster, there)
    read = {identity for _, identity in _identified(reader.read(here.spans(here.cut, given)))}
    found = _identified(reader.read(there.spans(there.cut, ends)))
    positions, duplicates = _first(((each, identity not in read) for each, identity in found), ends)
    return Twinned(here, there, given, positions, duplicates, ends)


def verify(cluster: Cluster, reader: Reader, found: Twinned) -> None:
    """Derive the answer again, from what was not read instead of what was; raises TranslationsDiffer.

    By now the counterpart of every record below the ends there is readable here.
    """
    identities = _identified(reader.read(found.here.spans(found.here.cut, _decided(cluster, found.here))))
    unread = {identity for each, identity in identities if each.offset >= found.given[each.partition]}
    records = _identified(reader.read(found.there.spans(found.there.cut, found.ends)))
    positions, duplicates = _first(((each, identity in unread) for each, identity in records), found.ends)
    if (positions, duplicates) != (found.positions, found.duplicates):
        raise TranslationsDiffer(
            f"two derivations of positions on {found.there.topic} differ",
            differences={str(p): [found.positions[p], positions[p]] for p in positions if positions[p] != found.positions[p]},
        )


def _first(marked: Iterable[tuple[Record, bool]], ends: Vector) -> tuple[dict[int, int], int]:
    """Per partition the first unread record, else the end; and how many records behind it were read."""
    positions: dict[int, int] = {}
    duplicates = 0
    for each, is_unread in marked:
        if each.partition in positions:
            duplicates += not is_unread
        elif is_unread:
            positions[each.partition] = each.offset
    return {**ends, **positions}, duplicates


def _decided(cluster: Cluster, side: Side) -> dict[int, int]:
    """The ends as they are now, once every transaction below them has ended."""
    where = [TopicPartition(side.topic, p) for p in side.cut]
    ends, deadline = cluster.end_offsets(where, Isolation.READ_UNCOMMITTED), time.monotonic() + SETTLE_SECONDS
    while any(stable < ends[at] for at, stable in cluster.end_offsets(where, Isolation.READ_COMMITTED).items()):
        if time.monotonic() > deadline:
            raise RangeUnreadable(f"a transaction on {side.topic} stays open", why=f"It has not ended within {SETTLE_SECONDS:g} s.")
        time.sleep(LOOK_SECONDS)
    return {at.partition: end for at, end in ends.items()}


def _identified(records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
    """Each record with what its twin has in common with it, hashed."""
    counted: Counter[Hashable] = Counter()
    for each in records:
        stamp = stamp_of(each.headers)
        if stamp is not None:
            yield each, hash(stamp)
        else:
            key = (each.value, each.headers) if each.key is None else each.key
            counted[key] += 1
            yield each, hash((key, counted[key]))
