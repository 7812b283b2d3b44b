"""Offsets and the records at them: markers take offsets, open transactions hold the last stable offset."""

import pytest

from cutover.errors import RangeExpired, RangeUnreadable, UnknownTopic
from cutover.model import Isolation, Record, TopicPartition
from tests.contract.conftest import World

KEPT = {"retention.ms": "-1"}  # a suite's cluster looks for expired records all the time, and old timestamps are expired on arrival
COMMITTED, UNCOMMITTED = Isolation.READ_COMMITTED, Isolation.READ_UNCOMMITTED


def ends(world: World, where: TopicPartition) -> tuple[int, int]:
    """LSO and high watermark."""
    return world.cluster.end_offsets([where], COMMITTED)[where], world.cluster.end_offsets([where], UNCOMMITTED)[where]


def read(world: World, where: TopicPartition, begin: int, end: int, isolation: Isolation = COMMITTED) -> list[Record]:
    return list(world.reader.read({where: (begin, end)}, isolation, timeout_seconds=5))


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_an_empty_topic_begins_and_ends_at_zero(world: World) -> None:
    topic = world.topic(3)
    every = [TopicPartition(topic, each) for each in range(3)]
    assert world.cluster.begin_offsets(every) == dict.fromkeys(every, 0)
    assert world.cluster.end_offsets(every, COMMITTED) == dict.fromkeys(every, 0)
    assert world.cluster.begin_offsets([]) == {}


def test_each_partition_has_its_own_end(world: World) -> None:
    topic = world.topic(2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    world.actors.produce(first, [(b"a", b"1"), (b"b", b"2")])
    world.actors.produce(second, [(b"c", b"3")])
    assert world.cluster.end_offsets([first, second], UNCOMMITTED) == {first: 2, second: 1}


def test_an_unknown_partition_is_named(world: World) -> None:
    where = world.partition()
    with pytest.raises(UnknownTopic):
        world.cluster.end_offsets([where, TopicPartition(where.topic, 7)], UNCOMMITTED)
    with pytest.raises(UnknownTopic):
        world.cluster.begin_offsets([TopicPartition(world.name("unknown"), 0)])


def test_a_committed_transaction_takes_an_offset_for_its_marker(world: World) -> None:
    where = world.partition()
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.produce(where, b"k", b"one")
    producer.produce(where, b"k", b"two")
    assert ends(world, where) == (0, 2)
    producer.commit()
    world.until(lambda: ends(world, where) == (3, 3), "the marker is written")
    assert values(read(world, where, 0, 3)) == [b"one", b"two"]


def test_an_open_transaction_holds_the_last_stable_offset_for_later_records_too(world: World) -> None:
    where = world.partition()
    world.actors.produce(where, [(b"k", b"before")])
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.produce(where, b"k", b"inside")
    world.actors.produce(where, [(b"k", b"after")])
    assert ends(world, where) == (1, 3)
    assert values(read(world, where, 0, 1)) == [b"before"]
    assert values(read(world, where, 0, 3, UNCOMMITTED)) == [b"before", b"inside", b"after"]
    producer.abort()
    world.until(lambda: ends(world, where) == (4, 4), "the marker is written")
    assert values(read(world, where, 0, 4)) == [b"before", b"after"]
    assert values(read(world, where, 0, 4, UNCOMMITTED)) == [b"before", b"inside", b"after"]


def test_the_older_of_two_open_transactions_holds_the_last_stable_offset(world: World) -> None:
    where = world.partition()
    older, newer = world.actors.producer(world.name("tx")), world.actors.producer(world.name("tx"))
    older.begin()
    older.produce(where, b"k", b"older")
    newer.begin()
    newer.produce(where, b"k", b"newer")
    newer.commit()
    world.until(lambda: ends(world, where)[1] == 3, "the newer one's marker is written")
    assert ends(world, where) == (0, 3)
    older.commit()
    world.until(lambda: ends(world, where) == (4, 4), "the older one's marker is written")
    assert values(read(world, where, 0, 4)) == [b"older", b"newer"]


def test_a_range_is_read_exactly_and_ends_before_its_end(world: World) -> None:
    where = world.partition()
    world.actors.produce(where, [(b"k", b"%d" % each) for each in range(10)])
    assert [record.offset for record in read(world, where, 3, 7)] == [3, 4, 5, 6]
    assert read(world, where, 5, 5) == []


def test_ranges_of_several_partitions_are_read_together(world: World) -> None:
    topic = world.topic(2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    for where in (first, second):
        world.actors.produce(where, [(b"k", b"%d" % each) for each in range(5)])
    found = list(world.reader.read({first: (1, 3), second: (4, 5)}, timeout_seconds=5))
    assert sorted((record.partition, record.offset) for record in found) == [(0, 1), (0, 2), (1, 4)]


def test_a_record_is_read_as_it_was_written(world: World) -> None:
    where = world.partition(KEPT)
    headers = (("trace", b"1"), ("trace", b"2"), ("none", None), ("empty", b""))
    world.actors.produce(where, [(None, b"no key"), (b"", b""), (b"tombstone", None)], headers, timestamp_ms=1_234_567)
    found = read(world, where, 0, 3)
    assert [(record.key, record.value) for record in found] == [(None, b"no key"), (b"", b""), (b"tombstone", None)]
    assert {record.headers for record in found} == {headers}
    assert {record.timestamp_ms for record in found} == {1_234_567}
    assert found[1] == Record(where.topic, 0, 1, 1_234_567, b"", b"", headers)


def test_a_range_whose_end_is_only_a_marker_can_be_read_to_its_end(world: World) -> None:
    where = world.partition()
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.produce(where, b"k", b"v")
    producer.abort()
    world.until(lambda: ends(world, where) == (2, 2), "the marker is written")
    assert read(world, where, 0, 2) == []


def test_a_range_behind_an_open_transaction_is_unreadable(world: World) -> None:
    where = world.partition()
    producer = world.actors.producer(world.name("tx"))
    producer.begin()
    producer.produce(where, b"k", b"v")
    with pytest.raises(RangeUnreadable):
        list(world.reader.read({where: (0, 1)}, timeout_seconds=1))
    producer.abort()


def test_a_range_beyond_the_end_is_unreadable(world: World) -> None:
    where = world.partition()
    world.actors.produce(where, [(b"k", b"v")])
    with pytest.raises(RangeUnreadable):
        list(world.reader.read({where: (5, 9)}, timeout_seconds=1))


def test_a_range_of_an_unknown_topic_is_refused(world: World) -> None:
    with pytest.raises(UnknownTopic):
        list(world.reader.read({TopicPartition(world.name("unknown"), 0): (0, 1)}, timeout_seconds=5))
    with pytest.raises(UnknownTopic):
        list(world.reader.read({TopicPartition(world.topic(), 1): (0, 1)}, timeout_seconds=5))


def test_retention_moves_the_beginning_and_what_expired_is_never_skipped(world: World) -> None:
    where = world.partition()
    world.actors.produce(where, [(b"k", b"%d" % each) for each in range(6)])
    world.actors.trim(where, 4)
    world.until(lambda: world.cluster.begin_offsets([where])[where] == 4, "the beginning has moved")
    assert world.cluster.end_offsets([where], UNCOMMITTED)[where] == 6
    assert values(read(world, where, 4, 6)) == [b"4", b"5"]
    with pytest.raises(RangeExpired) as caught:
        read(world, where, 2, 6)
    assert caught.value.fields["log_begin"] == 4


def test_a_time_leads_to_the_first_record_at_or_after_it(world: World) -> None:
    where = world.partition(KEPT)
    for stamp in (1_000, 2_000, 3_000):
        world.actors.produce(where, [(b"k", b"v")], timestamp_ms=stamp)
    assert world.cluster.offsets_at([where], 1_500) == {where: 1}
    assert world.cluster.offsets_at([where], 2_000) == {where: 1}
    assert world.cluster.offsets_at([where], 3_001) == {where: None}
