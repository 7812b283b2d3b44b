"""What a cluster shows of a topic that is to be moved: its shape, who reads it, who writes it, which partitioner its keys obey.

Looks and changes nothing. What cannot be seen (producers that are not idempotent, readers without a group) is left to a person.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from cutover.errors import NotAuthorized, RangeExpired
from cutover.model import (
    GroupDescription,
    GroupListing,
    GroupType,
    Isolation,
    Member,
    Position,
    ProducerState,
    TopicPartition,
)
from cutover.partitioners import Fit, fit
from cutover.ports import Cluster, Reader

SAMPLE_OFFSETS: Final = 2000
"""How far back from its end each partition is sampled."""

SAMPLE_OFFSETS_TOTAL: Final = 200_000
FEWEST_PARTITIONS: Final = 12
MANY_PARTITIONS: Final = 100
OURS: Final = "cutover."
PATIENCE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class SeenGroup:
    """A group that reads the topic now, or has a position on it."""

    name: str
    type: GroupType
    members: int
    """Live members that hold or ask for the topic."""

    client_ids: tuple[str, ...]
    positions: int
    """Partitions of the topic with a position."""

    lag_offsets: int | None
    """Offsets behind the ends (markers of transactions count, as in every lag); None where a position is not known."""

    @property
    def movable(self) -> bool:
        """Whether its positions can be translated at all; a share group has none."""
        return self.type not in {GroupType.SHARE, GroupType.STREAMS}

    @property
    def streams(self) -> bool:
        """Whether it looks like Kafka Streams, whose inputs cannot change their partitions under a live application id."""
        return self.type is GroupType.STREAMS or any("-StreamThread-" in each for each in self.client_ids)


@dataclass(frozen=True, slots=True)
class SeenProducer:
    """An idempotent producer that partition leaders remember; `transactional_id` is empty where it has none."""

    producer_id: int
    transactional_id: str
    partitions: int
    last_write_ms: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen. `producers` is None where this principal may not ask."""

    topic: str
    partitions: int
    replication: int
    groups: tuple[SeenGroup, ...]
    producers: tuple[SeenProducer, ...] | None
    keys: Fit


def survey(cluster: Cluster, reader: Reader, topic: str) -> Survey:
    """Look at a topic and everybody around it; raises UnknownTopic."""
    described = cluster.describe_topics([topic])[topic]
    partitions = described.topic_partitions()
    ends = cluster.end_offsets(partitions, Isolation.READ_COMMITTED)
    return Survey(
        topic=topic,
        partitions=len(partitions),
        replication=len(described.partitions[0].replicas),
        groups=_groups(cluster, topic, ends),
        producers=_producers(cluster, partitions),
        keys=fit(_sample(cluster, reader, ends), len(partitions)),
    )


def suggested_partitions(partitions: int) -> int:
    """A multiple of today's partitions, so that positions translate exactly: four times as many and at least 12, from 100 on twice.

    Four leaves room to grow without another move; 12 divides among 2, 3, 4, 6 and 12 consumers; every partition costs the brokers.
    """
    factor = 2 if partitions >= MANY_PARTITIONS else 4
    while partitions * factor < FEWEST_PARTITIONS:
        factor += 1
    return partitions * factor


def _groups(cluster: Cluster, topic: str, ends: Mapping[TopicPartition, int]) -> tuple[SeenGroup, ...]:
    listed = {name: found for name, found in cluster.groups().items() if not name.startswith(OURS)}
    described = cluster.describe_groups(listed)
    asked = [name for name, found in listed.items() if found.type not in {GroupType.SHARE, GroupType.STREAMS}]
    positions = cluster.committed(asked, list(ends), patience_seconds=PATIENCE_SECONDS) if asked else {}
    seen = (_group(listed[name], described[name], topic, positions.get(name, {}), ends) for name in sorted(listed))
    return tuple(each for each in seen if each.members or each.positions or not each.movable)


def _group(
    listed: GroupListing,
    described: GroupDescription,
    topic: str,
    positions: Mapping[TopicPartition, Position],
    ends: Mapping[TopicPartition, int],
) -> SeenGroup:
    here = [each for each in described.members or () if _reads(each, topic)]
    held = {where: position for where, position in positions.items() if position is not None}
    return SeenGroup(
        name=listed.group,
        type=listed.type,
        members=len(here),
        client_ids=tuple(sorted({each.client_id for each in here})),
        positions=len(held),
        lag_offsets=_lag(held, ends),
    )


def _reads(member: Member, topic: str) -> bool:
    return member.holds(topic) or topic in (member.subscribed or ())


def _lag(held: Mapping[TopicPartition, Position], ends: Mapping[TopicPartition, int]) -> int | None:
    lag = 0
    for where, position in held.items():
        offset = getattr(position, "offset", None)
        if offset is None:
            return None
        lag += max(0, ends[where] - offset)
    return lag if held else None


def _producers(cluster: Cluster, partitions: Collection[TopicPartition]) -> tuple[SeenProducer, ...] | None:
    try:
        found = cluster.producers(partitions)
    except NotAuthorized:
        return None
    names = _transactional_ids(cluster)
    by_id: dict[int, list[ProducerState]] = {}
    for states in found.values():
        for each in states:
            by_id.setdefault(each.producer_id, []).append(each)
    seen = (
        SeenProducer(number, names.get(number, ""), len(states), max(each.last_timestamp_ms for each in states))
        for number, states in by_id.items()
    )
    return tuple(sorted(seen, key=lambda each: (-each.last_write_ms, each.producer_id)))


def _transactional_ids(cluster: Cluster) -> dict[int, str]:
    try:
        return {each.producer_id: name for name, each in cluster.transactions().items()}
    except NotAuthorized:
        return {}


def _sample(cluster: Cluster, reader: Reader, ends: Mapping[TopicPartition, int]) -> list[tuple[bytes | None, int]]:
    """Keys and partitions of the newest records; retention may pass a begin once while they are read."""
    try:
        return _keys(cluster, reader, ends)
    except RangeExpired:
        return _keys(cluster, reader, ends)


def _keys(cluster: Cluster, reader: Reader, ends: Mapping[TopicPartition, int]) -> list[tuple[bytes | None, int]]:
    most = min(SAMPLE_OFFSETS, max(1, SAMPLE_OFFSETS_TOTAL // len(ends)))
    begins = cluster.begin_offsets(list(ends))
    ranges = {where: (max(begins[where], end - most), end) for where, end in ends.items() if begins[where] < end}
    return [(record.key, record.partition) for record in reader.read(ranges)] if ranges else []
