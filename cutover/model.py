"""The values that the rest of the code speaks of: topics, partitions, offsets, groups.

Frozen, without behaviour that reaches the world. Offsets are Kafka offsets; a *position* is the next offset to read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Literal, NamedTuple

from cutover.errors import ConfigDrifted


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """Where a partition lives, as broker ids; `leader` is None while it has none."""

    partition: int
    leader: int | None
    replicas: tuple[int, ...]
    isr: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as the cluster describes it; `topic_id` is the URL-safe base64 that Kafka's tools print."""

    name: str
    topic_id: str
    partitions: tuple[PartitionDescription, ...]
    internal: bool = False

    def topic_partitions(self) -> tuple[TopicPartition, ...]:
        """Every partition, in order."""
        return tuple(TopicPartition(self.name, found.partition) for found in self.partitions)


class ConfigSource(StrEnum):
    """Who set a topic's config value."""

    TOPIC = "topic"
    BROKER = "broker"
    CLUSTER = "cluster"
    STATIC = "static"
    DEFAULT = "default"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """An effective config value of a topic; `value` is None where the broker hides it."""

    value: str | None
    source: ConfigSource

    @property
    def explicit(self) -> bool:
        """Whether it was set on the topic itself."""
        return self.source is ConfigSource.TOPIC


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """From one explicit value of a topic's config to another; None means not set on the topic."""

    expected: str | None
    wanted: str | None


def due_changes(topic: str, explicit: Mapping[str, str], changes: Mapping[str, ConfigChange]) -> dict[str, str | None]:
    """What is left to set (None: to unset); raises ConfigDrifted, before anything is changed, for a third value."""
    due: dict[str, str | None] = {}
    for name, change in changes.items():
        found = explicit.get(name)
        if found == change.wanted:
            continue
        if found != change.expected:
            raise ConfigDrifted(
                f"{name} of {topic} was changed by somebody else", config=name, expected=change.expected, wanted=change.wanted, found=found
            )
        due[name] = change.wanted
    return due


class Isolation(StrEnum):
    """Which end of a partition is meant: the high watermark, or the last stable offset (LSO)."""

    READ_UNCOMMITTED = "read_uncommitted"
    READ_COMMITTED = "read_committed"


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's committed position on a partition: the next offset to read, and the committer's metadata."""

    offset: int
    metadata: str = ""


class NotKnown(Enum):
    """Why a position cannot be told."""

    PENDING = "pending"  # a transaction that may move it is open; an older value would be a guess


PENDING: Final = NotKnown.PENDING
Position = Committed | Literal[NotKnown.PENDING] | None
"""None: nothing is committed. PENDING: not known."""


class GroupType(StrEnum):
    """The protocol that a group speaks."""

    CLASSIC = "classic"
    CONSUMER = "consumer"
    SHARE = "share"
    STREAMS = "streams"
    UNKNOWN = "unknown"


class GroupState(StrEnum):
    """What a group is doing, in the broker's words."""

    EMPTY = "empty"
    STABLE = "stable"
    PREPARING_REBALANCE = "preparing_rebalance"
    COMPLETING_REBALANCE = "completing_rebalance"
    ASSIGNING = "assigning"
    RECONCILING = "reconciling"
    NOT_READY = "not_ready"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A group that the cluster knows."""

    group: str
    type: GroupType
    state: GroupState


@dataclass(frozen=True, slots=True)
class Member:
    """A live member; `subscribed` and `target` are None where the group's protocol does not tell them."""

    member_id: str
    client_id: str
    host: str
    instance_id: str | None
    subscribed: frozenset[str] | None
    assigned: frozenset[TopicPartition]
    target: frozenset[TopicPartition] | None

    def holds(self, topic: str) -> bool:
        """Whether the member has, or is to get, a partition of the topic."""
        return any(held.topic == topic for held in self.assigned | (self.target or frozenset()))


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A group and its members; `members` is None where they cannot be told (share and streams groups)."""

    group: str
    type: GroupType
    state: GroupState
    members: tuple[Member, ...] | None

    @property
    def empty(self) -> bool:
        """Whether the broker says that nobody is in it; False while that is not known."""
        return self.state in {GroupState.EMPTY, GroupState.DEAD}


class Permission(StrEnum):
    """Whether an ACL grants or refuses."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, order=True, slots=True)
class Acl:
    """One access rule, in the words of Kafka's tools: operation `write`, resource_type `topic`, pattern `literal`."""

    principal: str
    operation: str
    resource_type: str
    resource: str
    permission: Permission = Permission.ALLOW
    pattern: str = "literal"
    host: str = "*"


@dataclass(frozen=True, slots=True)
class ProducerState:
    """An idempotent or transactional producer that a partition's leader remembers."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_start_offset: int | None


class TransactionState(StrEnum):
    """Where a transactional id stands."""

    EMPTY = "empty"
    ONGOING = "ongoing"
    PREPARE_COMMIT = "prepare_commit"
    PREPARE_ABORT = "prepare_abort"
    PREPARE_EPOCH_FENCE = "prepare_epoch_fence"
    COMPLETE_COMMIT = "complete_commit"
    COMPLETE_ABORT = "complete_abort"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TransactionListing:
    """A transactional id that some coordinator knows."""

    transactional_id: str
    producer_id: int
    state: TransactionState


@dataclass(frozen=True, slots=True)
class TransactionDescription:
    """A transactional id and the partitions of its open transaction; `started_at_ms` is None when none is open."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    state: TransactionState
    timeout_ms: int
    started_at_ms: int | None
    partitions: frozenset[TopicPartition]


def open_transactions(producers: Mapping[TopicPartition, Iterable[ProducerState]]) -> dict[TopicPartition, tuple[ProducerState, ...]]:
    """The producers that have a transaction open, oldest first, for the partitions that have any."""
    found = {
        where: tuple(
            sorted(
                (each for each in states if each.transaction_start_offset is not None), key=lambda each: each.transaction_start_offset or 0
            )
        )
        for where, states in producers.items()
    }
    return {where: states for where, states in found.items() if states}


Header = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands in a partition; a None value is a tombstone, headers keep order and repetition."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """A record of ours for a control topic, not yet written."""

    key: bytes
    value: bytes | None
    headers: tuple[Header, ...] = ()
