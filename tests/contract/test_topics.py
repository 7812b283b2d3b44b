"""Topics, their ids and their configs, the same on the twin and on a real cluster."""

import pytest

from cutover.errors import ConfigDrifted, RejectedByBroker, TopicExists, TopicReplaced, UnknownTopic
from cutover.model import Committed, ConfigChange, ConfigSource, TopicPartition
from tests.contract.conftest import World


def test_a_created_topic_is_described_with_its_id_and_every_partition(world: World) -> None:
    topic = world.topic(3)
    found = world.cluster.describe_topics([topic])[topic]
    assert found.name == topic
    assert len(found.topic_id) == 22
    assert "+" not in found.topic_id
    assert "/" not in found.topic_id
    assert found.topic_partitions() == tuple(TopicPartition(topic, each) for each in range(3))
    assert not found.internal
    for each in found.partitions:
        assert each.leader in each.replicas
        assert each.isr == each.replicas
    assert topic in world.cluster.topic_names()


def test_no_topics_asked_is_no_topics_told(world: World) -> None:
    assert world.cluster.describe_topics([]) == {}
    assert world.cluster.topic_configs([]) == {}


def test_an_unknown_topic_is_named(world: World) -> None:
    unknown = world.name("unknown")
    with pytest.raises(UnknownTopic, match=unknown):
        world.cluster.describe_topics([unknown])
    with pytest.raises(UnknownTopic, match=unknown):
        world.cluster.topic_configs([unknown])


def test_a_topic_is_not_created_twice(world: World) -> None:
    topic = world.topic()
    with pytest.raises(TopicExists, match=topic):
        world.cluster.create_topic(topic, 1, replication_factor=1)


def test_more_replicas_than_brokers_are_refused(world: World) -> None:
    with pytest.raises(RejectedByBroker):
        world.cluster.create_topic(world.name("wide"), 1, replication_factor=9)


def test_an_unknown_config_is_refused_and_no_topic_made(world: World) -> None:
    topic = world.name("odd")
    with pytest.raises(RejectedByBroker):
        world.cluster.create_topic(topic, 1, replication_factor=1, configs={"no.such.config": "1"})
    assert topic not in world.cluster.topic_names()


def test_a_topic_is_deleted_by_its_id_once(world: World) -> None:
    topic = world.topic()
    topic_id = world.cluster.describe_topics([topic])[topic].topic_id
    world.cluster.delete_topic(topic, topic_id)
    with pytest.raises(UnknownTopic):
        world.cluster.describe_topics([topic])
    with pytest.raises(UnknownTopic):
        world.cluster.delete_topic(topic, topic_id)


def test_a_topic_made_again_has_another_id_and_is_safe_from_the_old_one(world: World) -> None:
    topic = world.topic()
    old = world.cluster.describe_topics([topic])[topic].topic_id
    world.cluster.delete_topic(topic, old)
    new = world.cluster.create_topic(topic, 2, replication_factor=1).topic_id
    assert new != old
    with pytest.raises(TopicReplaced):
        world.cluster.delete_topic(topic, old)
    with pytest.raises(TopicReplaced):
        world.cluster.alter_configs(topic, old, {"retention.ms": ConfigChange(None, "1000")})
    assert world.cluster.describe_topics([topic])[topic].topic_id == new


def test_deleting_a_topic_drops_the_positions_on_it(world: World) -> None:
    kept, gone = world.topic(), world.topic()
    group = world.name("group")
    positions = {TopicPartition(kept, 0): Committed(0, "kept"), TopicPartition(gone, 0): Committed(0, "gone")}
    world.actors.alter_offsets(group, positions)
    world.until(lambda: len(world.cluster.committed([group])[group]) == 2, "both positions are there")
    world.cluster.delete_topic(gone, world.cluster.describe_topics([gone])[gone].topic_id)
    world.until(lambda: world.cluster.committed([group])[group] == {TopicPartition(kept, 0): Committed(0, "kept")}, "one position is left")


def test_a_config_says_who_set_it(world: World) -> None:
    topic = world.topic(configs={"retention.ms": "123456"})
    found = world.cluster.topic_configs([topic])[topic]
    assert found["retention.ms"].value == "123456"
    assert found["retention.ms"].explicit
    assert found["min.compaction.lag.ms"].source is ConfigSource.DEFAULT
    assert found["max.message.bytes"].value == "1048588"
    assert not found["max.message.bytes"].explicit


def test_configs_are_set_and_unset_and_left_alone_when_they_are_as_wanted(world: World) -> None:
    topic = world.topic(configs={"retention.ms": "1000000"})
    topic_id = world.cluster.describe_topics([topic])[topic].topic_id
    change = {"retention.ms": ConfigChange("1000000", None), "min.compaction.lag.ms": ConfigChange(None, "60000")}
    assert world.cluster.alter_configs(topic, topic_id, change) == {"retention.ms", "min.compaction.lag.ms"}
    assert world.cluster.alter_configs(topic, topic_id, change) == frozenset()
    found = world.cluster.topic_configs([topic])[topic]
    assert not found["retention.ms"].explicit
    assert found["min.compaction.lag.ms"].value == "60000"


def test_a_config_that_somebody_else_changed_stops_the_whole_change(world: World) -> None:
    topic = world.topic(configs={"retention.ms": "777777"})
    topic_id = world.cluster.describe_topics([topic])[topic].topic_id
    changes = {"min.compaction.lag.ms": ConfigChange(None, "5"), "retention.ms": ConfigChange("1000000", "-1")}
    with pytest.raises(ConfigDrifted) as caught:
        world.cluster.alter_configs(topic, topic_id, changes)
    assert caught.value.fields["found"] == "777777"
    found = world.cluster.topic_configs([topic])[topic]
    assert found["retention.ms"].value == "777777"
    assert not found["min.compaction.lag.ms"].explicit


def test_an_unknown_config_cannot_be_set(world: World) -> None:
    topic = world.topic()
    topic_id = world.cluster.describe_topics([topic])[topic].topic_id
    with pytest.raises(RejectedByBroker):
        world.cluster.alter_configs(topic, topic_id, {"no.such.config": ConfigChange(None, "1")})


def test_the_cluster_says_who_it_is_and_which_transaction_protocol_it_speaks(world: World) -> None:
    assert world.cluster.cluster_id()
    assert world.cluster.features()["transaction.version"] >= 1
