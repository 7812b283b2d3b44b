"""What the twin does beyond the contract that it shares with a real cluster: limits, fencing, expiry, its own writer."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import AclsUnavailable, ProducerFenced, RejectedByBroker, UnknownTopic
from cutover.model import (
    PENDING,
    Acl,
    Committed,
    ControlRecord,
    GroupType,
    Isolation,
    Permission,
    TopicPartition,
    TransactionState,
)
from cutover.ports import Cluster, ControlLog, Positions, Reader
from cutover.twin import Twin, TwinWriter

WHERE = TopicPartition("orders", 0)
COMMITTED = Isolation.READ_COMMITTED


@pytest.fixture
def twin() -> Twin:
    made = Twin()
    made.create_topic("orders", 2, replication_factor=1)
    return made


def test_it_is_what_the_ports_ask_for(twin: Twin) -> None:
    cluster: Cluster = twin
    reader: Reader = twin
    positions: Positions = TwinWriter(twin)
    control: ControlLog = TwinWriter(twin)
    assert {type(cluster), type(reader), type(positions), type(control)} == {Twin, TwinWriter}


def test_the_same_seed_gives_the_same_ids_and_another_seed_others() -> None:
    ids = [Twin(seed=seed).create_topic("t", 1, replication_factor=1).topic_id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert Twin(seed=1).cluster_id() != Twin(seed=2).cluster_id()


def test_positions_are_committed_by_the_writer_for_live_and_empty_groups(twin: Twin) -> None:
    writer = TwinWriter(twin)
    member = twin.join("live", ["orders"])
    writer.commit_positions("live", {WHERE: Committed(1)})
    writer.commit_positions("empty", {WHERE: Committed(2)})
    assert twin.committed(["live", "empty"], [WHERE]) == {"live": {WHERE: Committed(1)}, "empty": {WHERE: Committed(2)}}
    assert member.assigned() == {WHERE, TopicPartition("orders", 1)}


def test_control_records_are_appended_together_at_offsets_that_are_told(twin: Twin) -> None:
    writer = TwinWriter(twin)
    first = writer.write_control("orders", [ControlRecord(b"HOLD", b"1"), ControlRecord(b"HOLD", None, (("term", b"1"),))])
    second = writer.write_control("orders", [ControlRecord(b"TARGET", b"2")])
    assert (first, second) == ((0, 1), (3,))
    found = list(twin.read({WHERE: (0, 5)}))
    assert [(each.key, each.value, each.headers) for each in found] == [
        (b"HOLD", b"1", ()),
        (b"HOLD", None, (("term", b"1"),)),
        (b"TARGET", b"2", ()),
    ]


def test_a_deposed_writer_changes_nothing(twin: Twin) -> None:
    deposed = TwinWriter(twin)
    TwinWriter(twin)
    with pytest.raises(ProducerFenced):
        deposed.commit_positions("group", {WHERE: Committed(1)})
    with pytest.raises(ProducerFenced):
        deposed.write_control("orders", [ControlRecord(b"k", b"v")])
    assert twin.end_offsets([WHERE], Isolation.READ_UNCOMMITTED) == {WHERE: 0}
    assert twin.committed(["group"], [WHERE]) == {"group": {WHERE: None}}


def test_a_record_needs_a_transaction_that_was_begun(twin: Twin) -> None:
    with pytest.raises(RejectedByBroker):
        twin.producer("tx").produce(WHERE, b"k", b"v")


def test_an_ended_transaction_that_wrote_nothing_leaves_no_marker(twin: Twin) -> None:
    producer = twin.producer("tx")
    producer.begin()
    producer.commit()
    assert twin.end_offsets([WHERE], COMMITTED) == {WHERE: 0}
    assert twin.transactions()["tx"].state is TransactionState.EMPTY


def test_a_transaction_that_outlives_its_timeout_is_aborted_and_its_holder_shut_out() -> None:
    now = [1_000]
    twin = Twin(now_ms=lambda: now[0])
    twin.create_topic("orders", 1, replication_factor=1)
    producer = twin.producer("tx", timeout_ms=500)
    producer.begin()
    producer.produce(WHERE, b"k", b"v")
    producer.send_offsets("group", {WHERE: Committed(1)})
    assert twin.coordinator.expire(1_500) == frozenset()
    assert twin.committed(["group"], [WHERE])["group"][WHERE] is PENDING
    assert twin.coordinator.expire(1_501) == {"tx"}
    assert twin.committed(["group"], [WHERE])["group"][WHERE] is None
    assert twin.end_offsets([WHERE], COMMITTED) == {WHERE: 2}
    assert list(twin.read({WHERE: (0, 2)})) == []
    with pytest.raises(ProducerFenced):
        producer.commit()


def test_deleting_a_topic_lets_open_transactions_end(twin: Twin) -> None:
    producer = twin.producer("tx")
    producer.begin()
    producer.produce(WHERE, b"k", b"v")
    twin.delete_topic("orders", twin.describe_topics(["orders"])["orders"].topic_id)
    producer.commit()
    assert twin.transactions()["tx"].state is TransactionState.COMPLETE_COMMIT


def test_a_record_larger_than_the_topic_allows_is_refused(twin: Twin) -> None:
    twin.create_topic("small", 1, replication_factor=1, configs={"max.message.bytes": "100"})
    small = TopicPartition("small", 0)
    twin.append(small, b"k", b"x" * 20, (("h", b"1"), ("none", None)))
    with pytest.raises(RejectedByBroker):
        twin.append(small, b"k", b"x" * 40)


def test_a_compacted_topic_takes_no_record_without_a_key(twin: Twin) -> None:
    twin.create_topic("compacted", 1, replication_factor=1, configs={"cleanup.policy": "compact,delete"})
    with pytest.raises(RejectedByBroker):
        twin.append(TopicPartition("compacted", 0), None, b"v")
    assert twin.append(TopicPartition("compacted", 0), b"k", None) == 0


def test_log_append_time_replaces_the_timestamp(twin: Twin) -> None:
    twin.create_topic("stamped", 1, replication_factor=1, configs={"message.timestamp.type": "LogAppendTime"})
    where = TopicPartition("stamped", 0)
    twin.append(where, b"k", b"v", timestamp_ms=1)
    [record] = twin.read({where: (0, 1)})
    assert record.timestamp_ms > 1


def test_a_live_group_takes_members_of_its_own_protocol_alone(twin: Twin) -> None:
    member = twin.join("group", ["orders"])
    with pytest.raises(RejectedByBroker):
        twin.join("group", ["orders"], GroupType.CONSUMER)
    member.close()
    assert twin.join("group", ["orders"], GroupType.CONSUMER).assigned()


def test_a_member_that_has_left_commits_nothing(twin: Twin) -> None:
    member = twin.join("group", ["orders"])
    member.close()
    member.close()
    with pytest.raises(RejectedByBroker):
        member.commit({WHERE: Committed(1)})


def test_a_member_without_a_subscribed_topic_holds_nothing(twin: Twin) -> None:
    twin.join("group", ["orders"])
    assert twin.join("group", ["elsewhere"]).assigned() == frozenset()
    twin.create_topic("elsewhere", 1, replication_factor=1)
    found = twin.describe_groups(["group"])["group"].members or ()
    assert sorted(len(each.assigned) for each in found) == [1, 2]


def test_of_two_open_transactions_over_one_position_the_later_write_wins(twin: Twin) -> None:
    first, second = twin.producer("first"), twin.producer("second")
    for producer, offset in ((first, 1), (second, 2)):
        producer.begin()
        producer.send_offsets("group", {WHERE: Committed(offset)})
    second.commit()
    assert twin.committed(["group"], [WHERE])["group"][WHERE] is PENDING
    first.commit()
    assert twin.committed(["group"], [WHERE])["group"][WHERE] == Committed(2)


def test_an_idempotent_producer_that_begins_a_new_epoch_counts_from_zero(twin: Twin) -> None:
    producer_id, epoch = twin.idempotent_producer()
    for each in (epoch, epoch, epoch + 1):
        twin.append(WHERE, b"k", b"v", producer=(producer_id, each))
    [state] = twin.producers([WHERE])[WHERE]
    assert (state.producer_epoch, state.last_sequence) == (epoch + 1, 0)


def test_a_marker_in_a_partition_that_knows_no_such_producer_is_a_marker_all_the_same(twin: Twin) -> None:
    log = twin.log(WHERE)
    log.mark((1, 0), commit=False)
    assert (log.end, log.last_stable, log.producers) == (1, 1, {})


def test_a_partition_that_is_not_there_takes_no_record(twin: Twin) -> None:
    for where in (TopicPartition("orders", 2), TopicPartition("orders", -1), TopicPartition("unknown", 0)):
        with pytest.raises(UnknownTopic):
            twin.append(where, b"k", b"v")


def test_more_than_the_whole_log_is_never_trimmed(twin: Twin) -> None:
    twin.append(WHERE, b"k", b"v")
    twin.trim(WHERE, 5)
    assert twin.begin_offsets([WHERE]) == {WHERE: 1}
    assert twin.append(WHERE, b"k", b"v") == 1


def test_a_topic_needs_a_partition(twin: Twin) -> None:
    with pytest.raises(RejectedByBroker):
        twin.create_topic("none", 0, replication_factor=1)


def test_access_rules_need_an_authorizer() -> None:
    rule = Acl("User:legacy", "write", "topic", "orders", Permission.DENY)
    twin = Twin(authorizer=False)
    for call in (twin.acls, lambda: twin.create_acls([rule]), lambda: twin.delete_acls([rule])):
        with pytest.raises(AclsUnavailable):
            call()


@given(st.integers(0, 10_000))
def test_a_reader_of_committed_records_sees_exactly_those_of_committed_transactions_and_of_none(seed: int) -> None:
    """Random producers on one partition against a list kept by hand."""
    chance = random.Random(seed)
    twin = Twin()
    twin.create_topic("orders", 1, replication_factor=1)
    producers = [twin.producer(f"tx-{each}") for each in range(3)]
    inside: dict[int, list[int]] = {}
    committed: set[int] = set()
    for _ in range(40):
        number = chance.randrange(4)
        if number == 3:
            committed.add(twin.append(WHERE, b"k", b"v"))
        elif number not in inside:
            producers[number].begin()
            inside[number] = []
        elif chance.random() < 0.6:
            inside[number].append(twin_offset(twin.log(WHERE).end, producers[number].produce(WHERE, b"k", b"v")))
        elif chance.random() < 0.5:
            producers[number].commit()
            committed |= set(inside.pop(number))
        else:
            producers[number].abort()
            del inside[number]
    stable = min((offsets[0] for offsets in inside.values() if offsets), default=twin.log(WHERE).end)
    assert twin.end_offsets([WHERE], COMMITTED) == {WHERE: stable}
    assert {record.offset for record in twin.read({WHERE: (0, stable)})} == {offset for offset in committed if offset < stable}


def twin_offset(expected: int, offset: int) -> int:
    assert offset == expected
    return offset
