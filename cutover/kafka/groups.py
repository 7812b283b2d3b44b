"""Groups of every protocol, their members, and their stable positions.

librdkafka describes a share group as a dead classic one and knows no state of a rebalancing KIP-848 group, so types and states
come from kafka-python's listing; members come from librdkafka, the subscriptions of classic members from kafka-python.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import ConsumerGroupDescription, MemberAssignment, MemberDescription
from kafka import TopicPartition as PartitionOfTopic
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from cutover.kafka.errors import Asked, some
from cutover.kafka.session import Deadline, Session
from cutover.model import (
    PENDING,
    Committed,
    GroupDescription,
    GroupListing,
    GroupState,
    GroupType,
    Member,
    Position,
    TopicPartition,
)

Word = TypeVar("Word", GroupType, GroupState)
Positions = dict[TopicPartition, Position]
UNTOLD = frozenset({GroupType.SHARE, GroupType.STREAMS})
"""Protocols whose members neither library can ask for."""

APPLICATION_PROTOCOL = "consumer"


class KafkaGroups(Session):
    """Implements cutover.ports.Groups."""

    def groups(self, *, timeout_seconds: float | None = None) -> dict[str, GroupListing]:
        """Every group of the cluster."""
        return {name: _listing(found) for name, found in self._groups_listed(self.deadline(timeout_seconds)).items()}

    def _groups_listed(self, deadline: Deadline) -> dict[str, dict[str, Any]]:
        asked = Asked("listing groups", "cluster", "describe")
        return {found["group_id"]: found for found in self.repeated(lambda second: second.list_groups(), asked, deadline)}

    def describe_groups(self, groups: Collection[str], *, timeout_seconds: float | None = None) -> dict[str, GroupDescription]:
        """Describe groups, all asked at once."""
        deadline = self.deadline(timeout_seconds)
        listed = {name: found for name, found in self._groups_listed(deadline).items() if name in set(groups)}
        listings = {name: _listing(found) for name, found in listed.items()}
        told = [name for name in groups if name not in listings or listings[name].type not in UNTOLD]
        classic = [name for name in told if name in listed and _has_subscriptions(listed[name])]
        described = deadline.retrying()(self._groups_described, told, deadline) if told else {}
        subscriptions = self._subscriptions(classic, deadline) if classic else {}
        return {name: _description(name, listings.get(name), described.get(name), subscriptions.get(name, {})) for name in groups}

    def _groups_described(self, groups: list[str], deadline: Deadline) -> dict[str, ConsumerGroupDescription]:
        asked = Asked("describing groups", some(groups), "describe")
        futures = self.ask(lambda admin: admin.describe_consumer_groups(groups, request_timeout=deadline.left_seconds), asked)
        return self.every_answer(futures, asked, deadline, str)

    def _subscriptions(self, groups: list[str], deadline: Deadline) -> dict[str, dict[str, frozenset[str]]]:
        """For each group and member id, the topics that the member asked for."""
        asked = Asked("reading subscriptions", some(groups), "describe")
        found = self.repeated(lambda second: second.describe_groups(groups), asked, deadline)
        return {
            name: {
                each["member_id"]: frozenset(each["member_metadata"]["topics"])
                for each in group["members"]
                if isinstance(each["member_metadata"], dict)
            }
            for name, group in found.items()
        }

    def committed(
        self,
        groups: Collection[str],
        partitions: Collection[TopicPartition] | None = None,
        *,
        patience_seconds: float = 0.0,
        timeout_seconds: float | None = None,
    ) -> dict[str, dict[TopicPartition, Position]]:
        """The stable positions of groups; a pending one is asked for again, it alone, until the patience is over."""
        wanted = None if partitions is None else list(partitions)
        found: dict[str, Positions] = {name: {} for name in groups}
        due: dict[str, list[TopicPartition] | None] = dict.fromkeys(groups, wanted)
        waiting = Retrying(
            stop=stop_after_delay(patience_seconds),
            wait=wait_exponential(multiplier=0.005, max=0.1),
            retry=retry_if_result(bool),
            retry_error_callback=lambda _: None,
        )
        waiting(self._fill_positions, found, due, timeout_seconds)
        return found

    def decided(
        self, group: str, partitions: Collection[TopicPartition], *, timeout_seconds: float | None = None
    ) -> dict[TopicPartition, Committed | None]:
        """The positions of a group as they were last decided."""
        wanted = [PartitionOfTopic(*where) for where in partitions]
        asked = Asked("reading positions", group, "read")
        found: Positions = self.repeated(lambda second: second.decided(group, wanted), asked, self.deadline(timeout_seconds))
        return {where: position if isinstance(position, Committed) else None for where, position in found.items()}

    def _fill_positions(
        self, found: dict[str, Positions], due: dict[str, list[TopicPartition] | None], timeout_seconds: float | None
    ) -> bool:
        """Ask for what is not known; what is pending stays due. A busy group may have no moment at which none of its positions is."""
        deadline = self.deadline(timeout_seconds)
        told = deadline.retrying()(self._positions, due, deadline)
        for name in list(due):
            found[name] |= told[name]
            due[name] = [where for where, position in told[name].items() if position is PENDING]
            if not due[name]:
                del due[name]
        return bool(due)

    def _positions(self, due: Mapping[str, list[TopicPartition] | None], deadline: Deadline) -> dict[str, Positions]:
        """One OffsetFetch per coordinator, whatever the number of groups."""
        if not due:
            return {}
        wanted = {name: None if where is None else [PartitionOfTopic(*each) for each in where] for name, where in due.items()}
        asked = Asked("reading positions", some(list(due)), "read")
        found: dict[str, Positions] = self.second(lambda second: second.list_group_offsets(wanted), asked, deadline)
        return found


def _listing(found: Mapping[str, Any]) -> GroupListing:
    return GroupListing(found["group_id"], _word(GroupType, found["group_type"]), _word(GroupState, found["group_state"]))


def _word(kind: type[Word], said: str) -> Word:
    """The broker's CamelCase as one of our words."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", said).lower()
    return kind(word) if word in set(kind) else kind("unknown")


def _has_subscriptions(found: Mapping[str, Any]) -> bool:
    return _listing(found).type is GroupType.CLASSIC and found["protocol_type"] == APPLICATION_PROTOCOL


def _description(
    name: str, listing: GroupListing | None, found: ConsumerGroupDescription | None, subscriptions: Mapping[str, frozenset[str]]
) -> GroupDescription:
    if found is None:
        return (
            GroupDescription(name, listing.type, listing.state, None)
            if listing
            else GroupDescription(name, GroupType.UNKNOWN, GroupState.DEAD, ())
        )
    members = tuple(_member(each, subscriptions.get(each.member_id)) for each in found.members)
    kind = _word(GroupType, found.type.name)
    state = _word(GroupState, found.state.name.lower())
    if found.state is ConsumerGroupState.UNKNOWN and listing is not None:
        state = listing.state if not (members and listing.state is GroupState.EMPTY) else GroupState.UNKNOWN
    if state is GroupState.DEAD and listing is None:
        kind = GroupType.UNKNOWN
    return GroupDescription(name, listing.type if listing else kind, state, members)


def _member(found: MemberDescription, subscribed: frozenset[str] | None) -> Member:
    return Member(
        member_id=found.member_id,
        client_id=found.client_id,
        host=found.host,
        instance_id=found.group_instance_id,
        subscribed=subscribed,
        assigned=_partitions(found.assignment),
        target=None if found.target_assignment is None else _partitions(found.target_assignment),
    )


def _partitions(assignment: MemberAssignment) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(each.topic, each.partition) for each in assignment.topic_partitions)
