"""The cluster in memory: implements Cluster and Reader, and lets outside actors (producers, members, retention) act."""
# ruff: noqa: ARG002  (it answers at once: timeouts and patience are part of the port, with nothing to do here)

import base64
import itertools
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from cutover.errors import (
    AclsUnavailable,
    RangeExpired,
    RangeUnreadable,
    RejectedByBroker,
    TopicExists,
    TopicReplaced,
    UnknownTopic,
)
from cutover.model import (
    Acl,
    Committed,
    ConfigChange,
    ConfigSource,
    ConfigValue,
    GroupDescription,
    GroupListing,
    GroupState,
    GroupType,
    Header,
    Isolation,
    PartitionDescription,
    Position,
    ProducerState,
    Record,
    TopicDescription,
    TopicPartition,
    TransactionDescription,
    TransactionListing,
    due_changes,
)
from cutover.twin.groups import Group, TwinMember
from cutover.twin.log import PartitionLog
from cutover.twin.transactions import Coordinator, TwinProducer

DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "delete.retention.ms": "86400000",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "unclean.leader.election.enable": "false",
}
"""The topic configs that this cluster knows, with their defaults."""

BATCH_OVERHEAD_BYTES = 68


def _assert_known_configs(topic: str, names: Collection[str]) -> None:
    for name in names:
        if name not in DEFAULTS:
            raise RejectedByBroker(f"{name} is no topic config", topic=topic, config=name)


@dataclass(slots=True)
class Topic:
    """A topic, its explicit configs and its logs."""

    name: str
    topic_id: str
    configs: dict[str, str]
    logs: list[PartitionLog]
    replicas: tuple[int, ...]

    def config(self, name: str) -> str:
        """The effective value."""
        return self.configs.get(name, DEFAULTS[name])

    def description(self) -> TopicDescription:
        """As the cluster describes it."""
        partitions = tuple(PartitionDescription(each, self.replicas[0], self.replicas, self.replicas) for each in range(len(self.logs)))
        return TopicDescription(self.name, self.topic_id, partitions)


@dataclass(slots=True)
class Twin:
    """A cluster of `brokers` brokers; the same seed gives the same ids. `now_ms` is the cluster's clock."""

    brokers: int = 1
    seed: int = 0
    now_ms: Callable[[], int] = field(default_factory=lambda: itertools.count(1_700_000_000_000).__next__)
    authorizer: bool = True
    coordinator: Coordinator = field(init=False)
    _topics: dict[str, Topic] = field(default_factory=dict, init=False)
    _groups: dict[str, Group] = field(default_factory=dict, init=False)
    _acls: set[Acl] = field(default_factory=set, init=False)
    _random: random.Random = field(init=False)
    _places: "itertools.count[int]" = field(default_factory=itertools.count, init=False)

    def __post_init__(self) -> None:
        """Wire the coordinator to this cluster."""
        self._random = random.Random(self.seed)
        self.coordinator = Coordinator(self)

    # What the rest of the twin needs.

    def topic(self, name: str) -> Topic:
        """A topic; raises UnknownTopic."""
        if name not in self._topics:
            raise UnknownTopic(f"there is no topic {name}", topic=name)
        return self._topics[name]

    def log(self, where: TopicPartition) -> PartitionLog:
        """A partition's log; raises UnknownTopic."""
        logs = self.topic(where.topic).logs
        if not 0 <= where.partition < len(logs):
            raise UnknownTopic(f"{where.topic} has no partition {where.partition}", topic=where.topic, partition=where.partition)
        return logs[where.partition]

    def group(self, name: str) -> Group:
        """A group, made when it is first spoken of."""
        return self._groups.setdefault(name, Group(name))

    def next_place(self) -> int:
        """The next place in the log of group positions."""
        return next(self._places)

    def _new_id(self) -> str:
        return base64.urlsafe_b64encode(self._random.randbytes(16)).decode().rstrip("=")

    # Topics.

    def cluster_id(self, *, timeout_seconds: float | None = None) -> str:
        """The same for the same seed."""
        return f"twin-{self.seed}"

    def features(self, *, timeout_seconds: float | None = None) -> dict[str, int]:
        """As a new cluster of today has them."""
        return {"group.version": 1, "transaction.version": 2}

    def topic_names(self, *, timeout_seconds: float | None = None) -> frozenset[str]:
        """All topics."""
        return frozenset(self._topics)

    def describe_topics(self, topics: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, TopicDescription]:
        """Describe topics."""
        return {name: self.topic(name).description() for name in topics}

    def create_topic(
        self,
        topic: str,
        partitions: int,
        *,
        replication_factor: int,
        configs: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> TopicDescription:
        """Create a topic."""
        if topic in self._topics:
            raise TopicExists(f"there is a topic {topic} already", topic=topic)
        if partitions < 1 or not 1 <= replication_factor <= self.brokers:
            raise RejectedByBroker(f"{partitions} partitions with {replication_factor} replicas do not fit", topic=topic)
        _assert_known_configs(topic, configs or {})
        replicas = tuple(range(1, replication_factor + 1))
        self._topics[topic] = Topic(topic, self._new_id(), dict(configs or {}), [PartitionLog() for _ in range(partitions)], replicas)
        return self._topics[topic].description()

    def delete_topic(self, topic: str, topic_id: str, *, timeout_seconds: float | None = None) -> None:
        """Delete a topic by id, and with it every group's position on it."""
        self._assert_same(topic, topic_id)
        del self._topics[topic]
        self.coordinator.forget(topic)
        for group in self._groups.values():
            group.forget(topic)

    def _assert_same(self, topic: str, topic_id: str) -> Topic:
        found = self.topic(topic)
        if found.topic_id != topic_id:
            raise TopicReplaced(f"{topic} is another topic now", topic=topic, expected=topic_id, found=found.topic_id)
        return found

    def topic_configs(self, topics: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, dict[str, ConfigValue]]:
        """The effective configs."""
        return {name: self._configs(self.topic(name)) for name in topics}

    @staticmethod
    def _configs(topic: Topic) -> dict[str, ConfigValue]:
        defaults = {name: ConfigValue(value, ConfigSource.DEFAULT) for name, value in DEFAULTS.items()}
        return defaults | {name: ConfigValue(value, ConfigSource.TOPIC) for name, value in topic.configs.items()}

    def alter_configs(
        self, topic: str, topic_id: str, changes: Mapping[str, ConfigChange], *, timeout_seconds: float | None = None
    ) -> frozenset[str]:
        """Compare, then set or unset."""
        found = self._assert_same(topic, topic_id)
        _assert_known_configs(topic, changes)
        due = due_changes(topic, found.configs, changes)
        for name, wanted in due.items():
            if wanted is None:
                del found.configs[name]
            else:
                found.configs[name] = wanted
        return frozenset(due)

    # Offsets.

    def begin_offsets(self, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None) -> dict[TopicPartition, int]:
        """Log start offsets."""
        return {where: self.log(where).begin for where in partitions}

    def end_offsets(
        self, partitions: Collection[TopicPartition], isolation: Isolation, *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, int]:
        """High watermarks or last stable offsets."""
        return {where: self.log(where).end_offset(isolation) for where in partitions}

    def offsets_at(
        self, partitions: Collection[TopicPartition], timestamp_ms: int, *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, int | None]:
        """First offsets at or after a time."""
        return {where: self.log(where).offset_at(timestamp_ms) for where in partitions}

    # Groups.

    def groups(self, *, timeout_seconds: float | None = None) -> dict[str, GroupListing]:
        """Every group."""
        return {name: group.listing() for name, group in self._groups.items()}

    def describe_groups(self, groups: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, GroupDescription]:
        """Describe groups; the unknown are DEAD."""
        counts = self.partition_counts()
        return {
            name: self._groups[name].description(counts)
            if name in self._groups
            else GroupDescription(name, GroupType.UNKNOWN, GroupState.DEAD, ())
            for name in groups
        }

    def committed(
        self,
        groups: Collection[str],
        partitions: Collection[TopicPartition] | None = None,
        *,
        patience_seconds: float = 0.0,
        timeout_seconds: float | None = None,
    ) -> dict[str, dict[TopicPartition, Position]]:
        """Stable positions; nothing changes while one waits here, so patience has nothing to wait for."""
        return {name: self._groups.get(name, Group(name)).told(partitions) for name in groups}

    def decided(
        self, group: str, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, Committed | None]:
        """Positions as they were last decided."""
        return {where: self._groups.get(group, Group(group)).decided(where) for where in partitions}

    # Access rules.

    def acls(self, *, timeout_seconds: float | None = None) -> frozenset[Acl]:
        """Every rule."""
        self._assert_authorizer()
        return frozenset(self._acls)

    def create_acls(self, acls: Collection[Acl], *, timeout_seconds: float | None = None) -> None:
        """Add rules."""
        self._assert_authorizer()
        self._acls |= set(acls)

    def delete_acls(self, acls: Collection[Acl], *, timeout_seconds: float | None = None) -> frozenset[Acl]:
        """Remove exactly these."""
        self._assert_authorizer()
        gone = self._acls & set(acls)
        self._acls -= gone
        return frozenset(gone)

    def _assert_authorizer(self) -> None:
        if not self.authorizer:
            raise AclsUnavailable("the cluster has no authorizer")

    # Transactions.

    def producers(
        self, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, tuple[ProducerState, ...]]:
        """What each partition remembers of its producers."""
        return {where: tuple(self.log(where).producers.values()) for where in partitions}

    def transactions(self, *, timeout_seconds: float | None = None) -> dict[str, TransactionListing]:
        """Every transactional id."""
        return {name: known.listing() for name, known in self.coordinator.ids.items()}

    def describe_transactions(
        self, transactional_ids: Collection[str], *, timeout_seconds: float | None = None
    ) -> dict[str, TransactionDescription]:
        """Describe those that are known."""
        ids = self.coordinator.ids
        return {name: ids[name].description() for name in transactional_ids if name in ids}

    # Reading.

    def read(
        self,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        isolation: Isolation = Isolation.READ_COMMITTED,
        *,
        timeout_seconds: float | None = None,
    ) -> Iterator[Record]:
        """The data records of ranges."""
        for where, (begin, end) in ranges.items():
            log = self.log(where)
            if begin < log.begin and begin < end:
                raise RangeExpired(
                    f"{where.topic}-{where.partition} begins at {log.begin}", partition=where.partition, begin=begin, log_begin=log.begin
                )
            yield from log.records(begin, min(end, log.end_offset(isolation)), isolation)
            if end > log.end_offset(isolation):
                raise RangeUnreadable(f"{where.topic}-{where.partition} cannot be read up to {end}", partition=where.partition, end=end)

    # Outside actors.

    def append(
        self,
        where: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[Header, ...] = (),
        *,
        timestamp_ms: int | None = None,
        producer: tuple[int, int] | None = None,
        transactional: bool = False,
    ) -> int:
        """Append a record as a broker does: the topic's limits hold. Returns its offset."""
        topic, log = self.topic(where.topic), self.log(where)
        size = (
            BATCH_OVERHEAD_BYTES + len(key or b"") + len(value or b"") + sum(len(name) + len(content or b"") for name, content in headers)
        )
        if size > int(topic.config("max.message.bytes")):
            raise RejectedByBroker(f"a record of {size} bytes is too large for {where.topic}", topic=where.topic, bytes=size)
        if key is None and "compact" in topic.config("cleanup.policy"):
            raise RejectedByBroker(f"{where.topic} is compacted and takes no record without a key", topic=where.topic)
        stamp = self.now_ms() if timestamp_ms is None or topic.config("message.timestamp.type") == "LogAppendTime" else timestamp_ms
        record = Record(where.topic, where.partition, -1, stamp, key, value, headers)
        return log.append(record, producer, transactional=transactional)

    def producer(self, transactional_id: str, timeout_ms: int = 60_000) -> TwinProducer:
        """A transactional producer; an earlier one of the same id is shut out and its transaction aborted."""
        known = self.coordinator.initialize(transactional_id, timeout_ms)
        return TwinProducer(self, known, known.epoch)

    def idempotent_producer(self) -> tuple[int, int]:
        """A producer id and epoch for `append`."""
        return next(self.coordinator.next_producer_id), 0

    def join(self, group: str, topics: Collection[str], kind: GroupType = GroupType.CLASSIC, instance_id: str | None = None) -> TwinMember:
        """A new live member; an empty group takes the protocol of the one who joins, another one refuses it."""
        joined = self.group(group)
        if joined.members and joined.type is not kind:
            raise RejectedByBroker(f"{group} speaks the {joined.type} protocol", group=group)
        joined.type = kind
        member = TwinMember(joined, f"member-{self._new_id()}", frozenset(topics), self.partition_counts, self.next_place, instance_id)
        joined.members[member.member_id] = member
        return member

    def alter_offsets(self, group: str, positions: Mapping[TopicPartition, Committed]) -> None:
        """The admin call that sets positions: refused while the group has members."""
        if self.group(group).members:
            raise RejectedByBroker(f"{group} has members (UNKNOWN_MEMBER_ID)", group=group)
        self.group(group).write(positions, self.next_place())

    def trim(self, where: TopicPartition, before: int) -> None:
        """Retention, or DeleteRecords: the log begins at an offset from now on."""
        self.log(where).trim(before)

    def partition_counts(self) -> dict[str, int]:
        """The number of partitions of each topic, now."""
        return {name: len(topic.logs) for name, topic in self._topics.items()}
