"""What the core asks of the world, as Protocols: the cluster's control plane, reading ranges, our own transactional writes.

Adapters: cutover.kafka (librdkafka and kafka-python), cutover.engine (the writes), cutover.twin (in memory). One contract
suite holds them all. Every call takes `timeout_seconds` (None: the adapter's default) and raises errors of cutover.errors
alone: a read that timed out is Unreachable, a change that timed out is Ambiguous.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from cutover.model import (
    Acl,
    Committed,
    ConfigChange,
    ConfigValue,
    ControlRecord,
    GroupDescription,
    GroupListing,
    Isolation,
    Position,
    ProducerState,
    Record,
    TopicDescription,
    TopicPartition,
    TransactionDescription,
    TransactionListing,
)


class Topics(Protocol):
    """Topics, their ids and their configs."""

    def cluster_id(self, *, timeout_seconds: float | None = None) -> str:
        """The id that tells this cluster from any other."""

    def features(self, *, timeout_seconds: float | None = None) -> dict[str, int]:
        """The finalized feature levels, for example `transaction.version`."""

    def topic_names(self, *, timeout_seconds: float | None = None) -> frozenset[str]:
        """The names of all topics that this principal may describe."""

    def describe_topics(self, topics: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, TopicDescription]:
        """Describe topics in one call; raises UnknownTopic for the first one that is not there."""

    def create_topic(
        self,
        topic: str,
        partitions: int,
        *,
        replication_factor: int,
        configs: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> TopicDescription:
        """Create a topic and return once every partition can be used; raises TopicExists."""

    def delete_topic(self, topic: str, topic_id: str, *, timeout_seconds: float | None = None) -> None:
        """Delete the topic that has this id, and no other: raises TopicReplaced if the name has another id now."""

    def topic_configs(self, topics: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, dict[str, ConfigValue]]:
        """The effective configs of topics, with who set them."""

    def alter_configs(
        self, topic: str, topic_id: str, changes: Mapping[str, ConfigChange], *, timeout_seconds: float | None = None
    ) -> frozenset[str]:
        """Set, or unset, configs that are as expected; returns the names that were changed.

        What is already as wanted is left alone. Raises TopicReplaced and, before anything is changed, ConfigDrifted.
        """


class Offsets(Protocol):
    """Offsets of partitions, each call one question whatever the number of partitions."""

    def begin_offsets(self, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None) -> dict[TopicPartition, int]:
        """The log start offsets; raises UnknownTopic."""

    def end_offsets(
        self, partitions: Collection[TopicPartition], isolation: Isolation, *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, int]:
        """The high watermarks (read_uncommitted) or last stable offsets (read_committed); raises UnknownTopic."""

    def offsets_at(
        self, partitions: Collection[TopicPartition], timestamp_ms: int, *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, int | None]:
        """The first offsets whose timestamp is at or after the given one; None where there is none."""


class Groups(Protocol):
    """Consumer groups of every protocol, and where they are."""

    def groups(self, *, timeout_seconds: float | None = None) -> dict[str, GroupListing]:
        """Every group of the cluster, share groups too."""

    def describe_groups(self, groups: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, GroupDescription]:
        """Describe groups in one call; a group that the cluster does not know is DEAD and of UNKNOWN type."""

    def committed(
        self,
        groups: Collection[str],
        partitions: Collection[TopicPartition] | None = None,
        *,
        patience_seconds: float = 0.0,
        timeout_seconds: float | None = None,
    ) -> dict[str, dict[TopicPartition, Position]]:
        """The stable positions of groups, all asked at once.

        With `partitions`, every one of them has an entry: None where nothing is committed, PENDING where a transaction is
        still open after the patience. Without, the partitions that have a position (one that was never committed and is
        pending now is not among them).
        """

    def decided(
        self, group: str, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, Committed | None]:
        """The positions of a group as they were last decided, whatever is pending: what a client that asks for no stability sees."""


class Acls(Protocol):
    """Access rules; raises AclsUnavailable where the cluster has no authorizer."""

    def acls(self, *, timeout_seconds: float | None = None) -> frozenset[Acl]:
        """Every access rule of the cluster."""

    def create_acls(self, acls: Collection[Acl], *, timeout_seconds: float | None = None) -> None:
        """Add rules; a rule that is there already stays."""

    def delete_acls(self, acls: Collection[Acl], *, timeout_seconds: float | None = None) -> frozenset[Acl]:
        """Remove exactly these rules; returns those that were there."""


class Transactions(Protocol):
    """Who writes, and which transactions are open."""

    def producers(
        self, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, tuple[ProducerState, ...]]:
        """The idempotent and transactional producers that each partition's leader remembers; raises UnknownTopic."""

    def transactions(self, *, timeout_seconds: float | None = None) -> dict[str, TransactionListing]:
        """Every transactional id that the coordinators know."""

    def describe_transactions(
        self, transactional_ids: Collection[str], *, timeout_seconds: float | None = None
    ) -> dict[str, TransactionDescription]:
        """Describe transactional ids; one that no coordinator knows is left out."""


class Cluster(Topics, Offsets, Groups, Acls, Transactions, Protocol):
    """The control plane: everything that is asked of, or changed on, a cluster without reading or writing records."""


class Reader(Protocol):
    """Reads the records of ranges."""

    def read(
        self,
        ranges: Mapping[TopicPartition, tuple[int, int]],
        isolation: Isolation = Isolation.READ_COMMITTED,
        *,
        timeout_seconds: float | None = None,
    ) -> Iterator[Record]:
        """The data records at [begin, end) of each partition, in order within a partition.

        Raises RangeExpired if retention has passed a begin, RangeUnreadable if an open transaction hides an end (or
        fewer records are there than end says) for longer than the timeout, which starts anew with each record.
        """


class Positions(Protocol):
    """Writes group positions by a transactional commit: accepted for live and for empty groups, fenced by the driver's id."""

    def commit_positions(self, group: str, positions: Mapping[TopicPartition, Committed], *, timeout_seconds: float | None = None) -> None:
        """Commit all positions or none; visible when this returns. Raises ProducerFenced, WriteUnknown."""


class ControlLog(Protocol):
    """Appends to a control topic under the driver's fence."""

    def write_control(self, topic: str, records: Sequence[ControlRecord], *, timeout_seconds: float | None = None) -> tuple[int, ...]:
        """Append all records to partition 0 in one transaction or none; returns their offsets. Raises ProducerFenced, WriteUnknown."""
