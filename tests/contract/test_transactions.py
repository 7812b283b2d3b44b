"""Who writes, which transactions are open, and that a newer holder shuts an older one out."""

import pytest

from cutover.errors import ProducerFenced, UnknownTopic
from cutover.model import Committed, Isolation, TopicPartition, TransactionState, open_transactions
from tests.contract.conftest import World


def test_an_open_transaction_is_seen_in_its_partitions_alone(world: World) -> None:
    topic, name = world.topic(2), world.name("tx")
    touched, untouched = TopicPartition(topic, 0), TopicPartition(topic, 1)
    world.actors.produce(touched, [(b"k", b"before")])
    producer = world.actors.producer(name)
    producer.begin()
    producer.produce(touched, b"k", b"v")
    found = world.cluster.producers([touched, untouched])
    assert found[untouched] == ()
    [state] = open_transactions(found)[touched]
    assert state.transaction_start_offset == 1
    assert state.last_timestamp_ms > 0
    described = world.cluster.describe_transactions([name])[name]
    assert described.state is TransactionState.ONGOING
    assert described.partitions == {touched}
    assert described.started_at_ms is not None
    assert (described.producer_id, described.producer_epoch) == (state.producer_id, state.producer_epoch)
    listed = world.cluster.transactions()[name]
    assert (listed.producer_id, listed.state) == (state.producer_id, TransactionState.ONGOING)
    producer.commit()
    world.until(lambda: open_transactions(world.cluster.producers([touched])) == {}, "the transaction is closed in the partition")
    world.until(lambda: world.cluster.transactions()[name].state is TransactionState.COMPLETE_COMMIT, "the transaction is complete")
    after = world.cluster.describe_transactions([name])[name]
    assert after.partitions == frozenset()
    assert after.started_at_ms is None


def test_a_transaction_of_positions_alone_touches_no_partition_of_records(world: World) -> None:
    where, name = world.partition(), world.name("tx")
    producer = world.actors.producer(name)
    producer.begin()
    producer.send_offsets(world.name("group"), {where: Committed(1)})
    found = world.cluster.describe_transactions([name])[name]
    assert (found.state, found.partitions) == (TransactionState.ONGOING, frozenset())
    producer.abort()
    world.until(lambda: world.cluster.transactions()[name].state is TransactionState.COMPLETE_ABORT, "the abort is complete")
    assert world.cluster.end_offsets([where], Isolation.READ_UNCOMMITTED) == {where: 0}


def test_a_producer_without_transactions_is_seen_and_has_none_open(world: World) -> None:
    where = world.partition()
    world.actors.produce(where, [(b"k", b"1"), (b"k", b"2")])
    [state] = world.cluster.producers([where])[where]
    assert state.transaction_start_offset is None
    assert state.last_sequence == 1
    assert open_transactions({where: [state]}) == {}


def test_a_transactional_id_that_nobody_knows_is_left_out(world: World) -> None:
    known, unknown = world.name("tx"), world.name("unknown")
    world.actors.producer(known)
    assert set(world.cluster.describe_transactions([known, unknown])) == {known}
    assert world.cluster.transactions()[known].state is TransactionState.EMPTY
    assert world.cluster.describe_transactions([unknown]) == {}


def test_producers_of_an_unknown_partition_are_refused(world: World) -> None:
    with pytest.raises(UnknownTopic):
        world.cluster.producers([TopicPartition(world.name("unknown"), 0)])


def test_a_newer_holder_aborts_the_open_transaction_and_shuts_the_older_one_out(world: World) -> None:
    where, name = world.partition(), world.name("tx")
    older = world.actors.producer(name)
    older.begin()
    older.produce(where, b"k", b"older")
    before = world.cluster.describe_transactions([name])[name]
    newer = world.actors.producer(name)
    assert world.cluster.describe_transactions([name])[name].producer_epoch > before.producer_epoch
    with pytest.raises(ProducerFenced):
        older.commit()
    newer.begin()
    newer.produce(where, b"k", b"newer")
    newer.commit()
    world.until(lambda: world.cluster.end_offsets([where], Isolation.READ_COMMITTED)[where] == 4, "both markers are written")
    assert [record.value for record in world.reader.read({where: (0, 4)}, timeout_seconds=5)] == [b"newer"]
