"""Consumer groups in memory: members and their assignment, committed and pending positions.

Of two writes of a position the one that stands later in the coordinator's log wins, also when it is transactional and
was written long before its transaction ended.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from cutover.errors import RejectedByBroker
from cutover.model import PENDING, Committed, GroupDescription, GroupListing, GroupState, GroupType, Member, Position, TopicPartition


@dataclass(frozen=True, slots=True)
class Written:
    """A position and its place in the coordinator's log."""

    committed: Committed
    place: int


@dataclass(slots=True)
class Group:
    """One group."""

    name: str
    type: GroupType = GroupType.CLASSIC
    members: dict[str, "TwinMember"] = field(default_factory=dict)
    positions: dict[TopicPartition, Written] = field(default_factory=dict)
    pending: dict[int, dict[TopicPartition, Written]] = field(default_factory=dict)

    @property
    def state(self) -> GroupState:
        """Stable while somebody is in it: this cluster rebalances at once."""
        return GroupState.STABLE if self.members else GroupState.EMPTY

    def write(self, positions: Mapping[TopicPartition, Committed], place: int) -> None:
        """Commit positions at a place of the log; a later one stays."""
        for where, committed in positions.items():
            self._settle(where, Written(committed, place))

    def _settle(self, where: TopicPartition, written: Written) -> None:
        before = self.positions.get(where)
        if before is None or before.place < written.place:
            self.positions[where] = written

    def hold(self, producer_id: int, positions: Mapping[TopicPartition, Committed], place: int) -> None:
        """Keep positions of an open transaction apart."""
        held = self.pending.setdefault(producer_id, {})
        held |= {where: Written(committed, place) for where, committed in positions.items()}

    def settle(self, producer_id: int, *, commit: bool) -> None:
        """End a transaction: its positions count, each at the place where it was written, or are forgotten."""
        held = self.pending.pop(producer_id, {})
        if commit:
            for where, written in held.items():
                self._settle(where, written)

    def forget(self, topic: str) -> None:
        """Drop every position on a topic: it was deleted."""
        self.positions = {where: written for where, written in self.positions.items() if where.topic != topic}

    def position(self, where: TopicPartition) -> Position:
        """The stable position on a partition."""
        if any(where in held for held in self.pending.values()):
            return PENDING
        return self.decided(where)

    def decided(self, where: TopicPartition) -> Committed | None:
        """The position as it was last decided, whatever is pending."""
        written = self.positions.get(where)
        return written.committed if written is not None else None

    def told(self, partitions: Collection[TopicPartition] | None) -> dict[TopicPartition, Position]:
        """The positions on the given partitions, or on all that have one."""
        return {where: self.position(where) for where in (sorted(self.positions) if partitions is None else partitions)}

    def listing(self) -> GroupListing:
        """The group as a listing shows it."""
        return GroupListing(self.name, self.type, self.state)

    def description(self, topics: Mapping[str, int]) -> GroupDescription:
        """The group with its members; `topics` maps each topic to its number of partitions."""
        if self.type is GroupType.SHARE:
            return GroupDescription(self.name, self.type, self.state, None)
        shares = assign(self.members.values(), topics)
        members = tuple(each.member(shares[each.member_id], self.type) for each in self.members.values())
        return GroupDescription(self.name, self.type, self.state, members)


def assign(members: Collection["TwinMember"], topics: Mapping[str, int]) -> dict[str, frozenset[TopicPartition]]:
    """Each subscribed topic's partitions, dealt in turn over the members that want it."""
    shares: dict[str, set[TopicPartition]] = {each.member_id: set() for each in members}
    for topic, count in topics.items():
        wanting = sorted(each.member_id for each in members if topic in each.subscribed)
        for partition in range(count if wanting else 0):
            shares[wanting[partition % len(wanting)]].add(TopicPartition(topic, partition))
    return {member: frozenset(share) for member, share in shares.items()}


@dataclass(slots=True)
class TwinMember:
    """A live member of a group, as an application holds it."""

    group: Group
    member_id: str
    subscribed: frozenset[str]
    topics: Callable[[], Mapping[str, int]]
    next_place: Callable[[], int]
    instance_id: str | None = None

    def member(self, share: frozenset[TopicPartition], kind: GroupType) -> Member:
        """The member as a description shows it; a KIP-848 group also tells the target, a classic one the subscription."""
        classic = kind is GroupType.CLASSIC
        return Member(
            member_id=self.member_id,
            client_id="twin",
            host="/127.0.0.1",
            instance_id=self.instance_id,
            subscribed=self.subscribed if classic else None,
            assigned=share,
            target=None if classic else share,
        )

    def assigned(self) -> frozenset[TopicPartition]:
        """What the member holds now."""
        return assign(self.group.members.values(), self.topics())[self.member_id]

    def commit(self, positions: Mapping[TopicPartition, Committed]) -> None:
        """Commit as a consumer does: refused once the member has left."""
        if self.member_id not in self.group.members:
            raise RejectedByBroker(f"{self.member_id} is no member of {self.group.name}")
        self.group.write(positions, self.next_place())

    def close(self) -> None:
        """Leave the group."""
        self.group.members.pop(self.member_id, None)
