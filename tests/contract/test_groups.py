"""Groups of each protocol, and positions that are told only when they are stable."""

import pytest

from cutover.errors import RejectedByBroker
from cutover.model import PENDING, Committed, GroupDescription, GroupState, GroupType, TopicPartition
from tests.contract.actors import Joined
from tests.contract.conftest import World

BOTH = pytest.mark.parametrize("kind", [GroupType.CLASSIC, GroupType.CONSUMER])


def described(world: World, group: str) -> GroupDescription:
    return world.cluster.describe_groups([group])[group]


def everything(topic: str, partitions: int) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(topic, each) for each in range(partitions))


def settle(world: World, members: list[Joined], wanted: frozenset[TopicPartition]) -> None:
    world.until(
        lambda: sum(len(each.assigned()) for each in members) == len(wanted) and all(each.assigned() for each in members),
        "all are assigned",
    )


def test_a_group_that_nobody_knows_is_dead_and_has_no_positions(world: World) -> None:
    where = world.partition()
    group = world.name("nobody")
    assert described(world, group) == GroupDescription(group, GroupType.UNKNOWN, GroupState.DEAD, ())
    assert described(world, group).empty
    assert group not in world.cluster.groups()
    assert world.cluster.committed([group], [where]) == {group: {where: None}}
    assert world.cluster.committed([group]) == {group: {}}


def test_positions_alone_make_an_empty_group(world: World) -> None:
    where = world.partition()
    group = world.name("positions")
    world.actors.alter_offsets(group, {where: Committed(3, "by hand")})
    assert world.cluster.committed([group], [where]) == {group: {where: Committed(3, "by hand")}}
    assert world.cluster.groups()[group].state is GroupState.EMPTY
    assert described(world, group) == GroupDescription(group, GroupType.CLASSIC, GroupState.EMPTY, ())


@BOTH
def test_a_live_group_tells_its_members_and_what_they_hold(world: World, kind: GroupType) -> None:
    topic, group = world.topic(4), world.name("live")
    members = [world.actors.join(group, [topic], kind), world.actors.join(group, [topic], kind)]
    settle(world, members, everything(topic, 4))
    world.until(lambda: described(world, group).state is GroupState.STABLE, "the group is stable")
    found = described(world, group)
    assert found.type is kind
    assert not found.empty
    assert found.members is not None
    assert len({each.member_id for each in found.members}) == 2
    assert frozenset().union(*(each.assigned for each in found.members)) == everything(topic, 4)
    assert all(each.holds(topic) and not each.holds("other") for each in found.members)
    listed = world.cluster.groups()[group]
    assert (listed.type, listed.state) == (kind, GroupState.STABLE)


def test_a_classic_member_tells_its_subscription_and_no_target(world: World) -> None:
    topics = [world.topic(), world.topic()]
    group = world.name("classic")
    member = world.actors.join(group, topics, GroupType.CLASSIC, instance_id="static-1")
    settle(world, [member], everything(topics[0], 1) | everything(topics[1], 1))
    [found] = described(world, group).members or ()
    assert found.subscribed == frozenset(topics)
    assert found.target is None
    assert found.instance_id == "static-1"


def test_a_consumer_protocol_member_tells_what_it_is_to_get(world: World) -> None:
    topic, group = world.topic(2), world.name("kip848")
    member = world.actors.join(group, [topic], GroupType.CONSUMER)
    settle(world, [member], everything(topic, 2))
    [found] = described(world, group).members or ()
    assert found.target == everything(topic, 2)
    assert found.subscribed is None
    assert found.instance_id is None


def test_a_share_group_is_recognised_and_not_taken_for_an_empty_one(world: World) -> None:
    topic, group = world.topic(), world.name("share")
    member = world.actors.join(group, [topic], GroupType.SHARE)

    def live() -> bool:
        member.assigned()
        return group in world.cluster.groups() and described(world, group).state is GroupState.STABLE

    world.until(live, "the share group is stable")
    found = described(world, group)
    assert found.type is GroupType.SHARE
    assert found.members is None
    assert not found.empty


@BOTH
def test_a_group_is_empty_again_when_its_last_member_has_left(world: World, kind: GroupType) -> None:
    topic, group = world.topic(), world.name("leaving")
    member = world.actors.join(group, [topic], kind)
    settle(world, [member], everything(topic, 1))
    assert not described(world, group).empty
    member.close()
    world.until(lambda: described(world, group).empty, "the group is empty")
    assert described(world, group).members == ()


@BOTH
def test_the_admin_call_cannot_move_a_live_group_and_a_transaction_can(world: World, kind: GroupType) -> None:
    topic, group = world.topic(), world.name("live")
    where = TopicPartition(topic, 0)
    member = world.actors.join(group, [topic], kind)
    settle(world, [member], everything(topic, 1))
    with pytest.raises(RejectedByBroker):
        world.actors.alter_offsets(group, {where: Committed(1)})
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.send_offsets(group, {where: Committed(2, "ours")})
    producer.commit()
    world.until(lambda: world.cluster.committed([group], [where])[group][where] == Committed(2, "ours"), "the position is there")
    assert member.assigned() == everything(topic, 1)


def test_a_pending_position_is_not_known_and_the_others_are(world: World) -> None:
    topic, group = world.topic(2), world.name("pending")
    here, there = TopicPartition(topic, 0), TopicPartition(topic, 1)
    world.actors.alter_offsets(group, {here: Committed(1), there: Committed(1)})
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.send_offsets(group, {here: Committed(5)})
    assert world.cluster.committed([group], [here, there], patience_seconds=0.1) == {group: {here: PENDING, there: Committed(1)}}
    assert world.cluster.committed([group])[group] == {here: PENDING, there: Committed(1)}
    producer.commit()
    world.until(lambda: world.cluster.committed([group], [here])[group][here] == Committed(5), "the position is committed")


def test_a_pending_position_leaves_what_was_decided_to_be_read(world: World) -> None:
    topic, group = world.topic(2), world.name("decided")
    here, there = TopicPartition(topic, 0), TopicPartition(topic, 1)
    world.actors.alter_offsets(group, {here: Committed(1, "decided")})
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.send_offsets(group, {here: Committed(5)})
    assert world.cluster.decided(group, [here, there]) == {here: Committed(1, "decided"), there: None}
    producer.commit()
    world.until(lambda: world.cluster.decided(group, [here])[here] == Committed(5), "the position is committed")


def test_an_aborted_position_leaves_the_old_one(world: World) -> None:
    where = world.partition()
    group = world.name("aborted")
    world.actors.alter_offsets(group, {where: Committed(1)})
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.send_offsets(group, {where: Committed(5)})
    producer.abort()
    world.until(lambda: world.cluster.committed([group], [where])[group][where] == Committed(1), "the old position is there")


def test_a_first_position_that_is_pending_shows_only_when_its_partition_is_asked_for(world: World) -> None:
    where = world.partition()
    group = world.name("first")
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.send_offsets(group, {where: Committed(5)})
    assert world.cluster.committed([group], [where])[group] == {where: PENDING}
    assert world.cluster.committed([group])[group] == {}
    producer.abort()
    world.until(lambda: world.cluster.committed([group], [where])[group] == {where: None}, "nothing is committed")


@BOTH
def test_of_two_writes_the_later_in_the_log_wins_whenever_its_transaction_ends(world: World, kind: GroupType) -> None:
    topic, group = world.topic(), world.name("race")
    where = TopicPartition(topic, 0)
    member = world.actors.join(group, [topic], kind)
    settle(world, [member], everything(topic, 1))
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.send_offsets(group, {where: Committed(3, "ours")})
    member.commit({where: Committed(9, "theirs")})
    producer.commit()
    world.until(lambda: world.cluster.committed([group], [where])[group][where] is not PENDING, "the transaction has ended")
    assert world.cluster.committed([group], [where])[group][where] == Committed(9, "theirs")


def test_many_groups_are_asked_at_once(world: World) -> None:
    topic = world.topic(3)
    partitions = sorted(everything(topic, 3))
    groups = [world.name("many") for _ in range(5)]
    for number, group in enumerate(groups):
        world.actors.alter_offsets(group, {partitions[0]: Committed(number)})
    found = world.cluster.committed(groups, partitions)
    assert found == {
        group: {partitions[0]: Committed(number), partitions[1]: None, partitions[2]: None} for number, group in enumerate(groups)
    }
    assert set(world.cluster.describe_groups(groups)) == set(groups)
    assert all(each.empty for each in world.cluster.describe_groups(groups).values())
