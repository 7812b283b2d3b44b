"""The control process against real Kafka: pending positions, who wins, who is refused, and outcomes that are not known."""

import threading
import uuid
from collections.abc import Iterator, Mapping

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Where

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.control import Control
from cutover.errors import CutoverError, EngineRefusedInput, ProducerFenced, TopicRecreated, TransactionExpired, WriteUnknown
from cutover.kafka.admin import KafkaCluster
from cutover.model import PENDING, Committed, ControlRecord, GroupType, Isolation, Record, TopicPartition
from tests.conftest import MakeTopic, WaitUntil
from tests.contract.actors import RealActors, RealJoined
from tests.proxied import ON_BOTH_VERSIONS, ProxiedKafka
from tests.proxy import Proxy

pytestmark = pytest.mark.kafka

PATIENCE_SECONDS = 90
LIVE = pytest.mark.parametrize("kind", [GroupType.CLASSIC, GroupType.CONSUMER])


def unique(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def cluster(bootstrap: str) -> Iterator[KafkaCluster]:
    with wiring.cluster(Connection.load(bootstrap=bootstrap)) as made:
        yield made


@pytest.fixture
def control(bootstrap: str, cluster: KafkaCluster) -> Iterator[Control]:
    with Control(Connection.load(bootstrap=bootstrap), cluster, transactional_id=unique("driver"), transaction_timeout_ms=20_000) as made:
        yield made


@pytest.fixture
def where(topic: MakeTopic) -> TopicPartition:
    return TopicPartition(topic(1), 0)


@pytest.fixture
def actors(bootstrap: str) -> Iterator[RealActors]:
    made = RealActors(bootstrap)
    yield made
    made.close()


def committed(cluster: KafkaCluster, group: str, where: TopicPartition) -> object:
    return cluster.committed([group], [where], timeout_seconds=PATIENCE_SECONDS)[group][where]


def visible_now(bootstrap: str, group: str, where: TopicPartition) -> int:
    """What a client that does not ask for stability sees."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "isolation.level": "read_uncommitted"})
    found = consumer.committed([Where(*where)], timeout=PATIENCE_SECONDS)[0].offset
    consumer.close()
    return int(found)


def join(actors: RealActors, wait_until: WaitUntil, group: str, where: TopicPartition, kind: GroupType) -> RealJoined:
    member = actors.join(group, [where.topic], kind)
    assert isinstance(member, RealJoined)
    wait_until(member.assigned, PATIENCE_SECONDS, "the member has its partition")
    return member


@LIVE
def test_pending_positions_hold_stable_readers_up_until_they_are_committed(
    control: Control, cluster: KafkaCluster, actors: RealActors, wait_until: WaitUntil, where: TopicPartition, kind: GroupType
) -> None:
    group = unique("group")
    join(actors, wait_until, group, where, kind)
    control.write_positions(group, {where: Committed(0, "seed")})
    assert control.prepare_positions(group, {where: Committed(1, "first")}) > 0
    assert committed(cluster, group, where) is PENDING
    control.prepare_positions(group, {where: Committed(0, "second")})
    assert committed(cluster, group, where) is PENDING
    written = control.finish_positions(where.topic, commit=True)
    assert written is not None
    assert (written.positions, written.superseded) == ({where: Committed(0, "second")}, frozenset())
    assert committed(cluster, group, where) == Committed(0, "second")


@LIVE
def test_a_members_commit_made_while_ours_is_pending_wins(
    control: Control, cluster: KafkaCluster, actors: RealActors, wait_until: WaitUntil, where: TopicPartition, kind: GroupType
) -> None:
    group = unique("group")
    actors.produce(where, [(b"k", b"v")] * 30)
    member = join(actors, wait_until, group, where, kind)
    control.prepare_positions(group, {where: Committed(6, "ours")})
    member.commit({where: Committed(20)})
    written = control.finish_positions(where.topic, commit=True)
    assert written is not None
    assert (written.positions[where].offset, written.superseded) == (20, frozenset({where}))
    now = committed(cluster, group, where)
    assert isinstance(now, Committed)  # librdkafka ends metadata with a NUL, so offsets alone are compared
    assert now.offset == 20


@LIVE
def test_aborted_positions_leave_the_members_own(
    control: Control,
    cluster: KafkaCluster,
    actors: RealActors,
    wait_until: WaitUntil,
    where: TopicPartition,
    kind: GroupType,
    bootstrap: str,
) -> None:
    group = unique("group")
    actors.produce(where, [(b"k", b"v")] * 30)
    join(actors, wait_until, group, where, kind).commit({where: Committed(10)})
    control.prepare_positions(group, {where: Committed(5)})
    assert visible_now(bootstrap, group, where) == 10
    assert control.finish_positions(where.topic, commit=False) is None
    wait_until(lambda: committed(cluster, group, where) == Committed(10), 30, "the member's own position, once the markers are written")


def test_while_positions_are_pending_nothing_else_is_begun(control: Control, where: TopicPartition) -> None:
    control.prepare_positions(unique("group"), {where: Committed(0)})
    with pytest.raises(EngineRefusedInput, match="pending"):
        control.write_control(where.topic, [ControlRecord(b"k", b"v")])
    with pytest.raises(EngineRefusedInput, match="pending"):
        control.prepare_positions(unique("other"), {where: Committed(0)})
    control.finish_positions(where.topic, commit=False)
    assert control.write_control(where.topic, [ControlRecord(b"k", b"v")]) == (0,)


def test_records_are_appended_as_they_were_read_all_or_none(
    bootstrap: str, control: Control, cluster: KafkaCluster, topic: MakeTopic
) -> None:
    to = TopicPartition(topic(3, {"retention.ms": "-1"}), 2)  # its records are years old
    headers = (("h", b"1"), ("h", None), ("_cutover", b"not ours"))
    given = [
        Record("elsewhere", 7, 70, 1_600_000_000_000, b"k", b"v", headers),
        Record("elsewhere", 7, 71, 1_600_000_000_500, None, b"", ()),
        Record("elsewhere", 7, 72, 1_599_999_999_000, b"k", None, ()),
    ]
    assert control.append_records(to, given) == (0, 1, 2)
    assert control.append_records(to, given[:1]) == (4,), "a marker stands between"
    read = list(wiring.reader(Connection.load(bootstrap=bootstrap)).read({to: (0, 5)}))
    written = [(each.timestamp_ms, each.key, each.value, each.headers) for each in read]
    assert written == [(each.timestamp_ms, each.key, each.value, each.headers) for each in [*given, given[0]]]
    with pytest.raises(EngineRefusedInput, match="no partition 3"):
        control.append_records(TopicPartition(to.topic, 3), given)
    with pytest.raises(CutoverError, match="3 partitions, not 1"):
        control.write_control(to.topic, [ControlRecord(b"k", b"v")])
    assert cluster.end_offsets([to], Isolation.READ_UNCOMMITTED) == {to: 6}


def test_pending_positions_that_were_left_too_long_are_aborted_and_said_to_be(
    bootstrap: str, cluster: KafkaCluster, where: TopicPartition, wait_until: WaitUntil
) -> None:
    group = unique("group")
    with Control(Connection.load(bootstrap=bootstrap), cluster, transactional_id=unique("driver"), transaction_timeout_ms=1000) as short:
        short.write_positions(group, {where: Committed(0, "seed")})
        short.prepare_positions(group, {where: Committed(0, "late")})
        wait_until(lambda: committed(cluster, group, where) is not PENDING, PATIENCE_SECONDS, "the coordinator aborts it")
        with pytest.raises(TransactionExpired):
            short.finish_positions(where.topic, commit=True)
        assert committed(cluster, group, where) == Committed(0, "seed")
        short.commit_positions(group, {where: Committed(0, "again")})
        assert committed(cluster, group, where) == Committed(0, "again")


def test_a_deposed_process_cannot_finish_what_it_prepared(bootstrap: str, cluster: KafkaCluster, where: TopicPartition) -> None:
    group, name = unique("group"), unique("driver")
    connection = Connection.load(bootstrap=bootstrap)
    with Control(connection, cluster, transactional_id=name, transaction_timeout_ms=60_000) as old:
        old.prepare_positions(group, {where: Committed(0, "old")})
        with Control(connection, cluster, transactional_id=name) as new:
            with pytest.raises(ProducerFenced):
                old.finish_positions(where.topic, commit=True)
            assert committed(cluster, group, where) is None
            new.commit_positions(group, {where: Committed(0, "new")})
            with pytest.raises(ProducerFenced):
                old.write_positions(group, {where: Committed(0, "old again")})
            new.commit_positions(group, {where: Committed(0, "new again")})
        assert committed(cluster, group, where) == Committed(0, "new again")


def test_fencing_ends_open_transactions_and_shuts_their_holders_out(
    control: Control, bootstrap: str, cluster: KafkaCluster, where: TopicPartition, wait_until: WaitUntil
) -> None:
    holders: Mapping[str, Producer] = {
        name: Producer({"bootstrap.servers": bootstrap, "transactional.id": name}) for name in (unique("lane"), unique("lane"))
    }
    for producer in holders.values():
        producer.init_transactions(PATIENCE_SECONDS)
        producer.begin_transaction()
        producer.produce(where.topic, b"v", partition=0)
        assert producer.flush(PATIENCE_SECONDS) == 0
    assert cluster.end_offsets([where], Isolation.READ_COMMITTED)[where] == 0
    fenced = control.fence([*holders, unique("never-used")])
    assert len(fenced) == 3
    assert {each.producer_epoch >= 0 for each in fenced.values()} == {True}
    high = cluster.end_offsets([where], Isolation.READ_UNCOMMITTED)[where]
    wait_until(lambda: cluster.end_offsets([where], Isolation.READ_COMMITTED)[where] >= high, PATIENCE_SECONDS, "both are aborted")
    for producer in holders.values():
        with pytest.raises(Exception, match=r"(?i)fenced|epoch"):
            producer.commit_transaction(PATIENCE_SECONDS)


def test_without_a_transactional_id_nothing_is_written(bootstrap: str, cluster: KafkaCluster, where: TopicPartition) -> None:
    with wiring.control(Connection.load(bootstrap=bootstrap), cluster) as reading, pytest.raises(EngineRefusedInput):
        reading.write_positions(unique("group"), {where: Committed(0)})


def test_a_topic_that_was_made_again_gets_no_positions(bootstrap: str, cluster: KafkaCluster, where: TopicPartition) -> None:
    other = {where.topic: "AAAAAAAAAAAAAAAAAAAAAA"}
    with (
        Control(Connection.load(bootstrap=bootstrap), cluster, transactional_id=unique("driver"), topic_ids=other) as control,
        pytest.raises(TopicRecreated),
    ):
        control.write_positions(unique("group"), {where: Committed(0)})


def test_a_translation_is_answered_while_a_write_waits(control: Control, where: TopicPartition) -> None:
    answers: list[object] = []
    writing = threading.Thread(target=lambda: answers.append(control.write_positions(unique("group"), {where: Committed(0)})))
    writing.start()
    with pytest.raises(EngineRefusedInput):
        control.translate([], "origin_to_follower", {})
    writing.join(PATIENCE_SECONDS)
    assert len(answers) == 1


@ON_BOTH_VERSIONS
@pytest.mark.parametrize("api", ["TxnOffsetCommit", "EndTxn"])
def test_a_broken_connection_is_ambiguous_only_once_the_commit_was_asked_for(proxied: ProxiedKafka, proxy: Proxy, api: str) -> None:
    topic, group = unique("t"), unique("group")
    proxied.create_topics({topic: 1})
    where = TopicPartition(topic, 0)
    through = Connection.load(bootstrap=proxy.bootstrap)
    with (
        wiring.cluster(Connection.load(bootstrap=proxied.bootstrap)) as cluster,
        Control(through, cluster, transactional_id=unique("driver"), transaction_timeout_ms=60_000) as control,
    ):
        control.commit_positions(group, {where: Committed(0, "before")})
        held = proxy.hold(api, mode="close")
        with pytest.raises(CutoverError) as raised:
            control.commit_positions(group, {where: Committed(0, "cut off")})
        held.wait()
        assert isinstance(raised.value, WriteUnknown) == (api == "EndTxn")
        control.commit_positions(group, {where: Committed(0, "after")})
        held.release()  # the late frame meets a newer epoch
        assert committed(cluster, group, where) == Committed(0, "after")


@ON_BOTH_VERSIONS
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("api", ["TxnOffsetCommit", "EndTxn"])
def test_whoever_took_over_after_a_doubt_is_not_deposed_by_it(proxied: ProxiedKafka, proxy: Proxy, api: str, *, prepared: bool) -> None:
    topic, group, name = unique("t"), unique("group"), unique("driver")
    proxied.create_topics({topic: 1})
    where = TopicPartition(topic, 0)
    direct = Connection.load(bootstrap=proxied.bootstrap)
    with (
        wiring.cluster(direct) as cluster,
        Control(Connection.load(bootstrap=proxy.bootstrap), cluster, transactional_id=name, transaction_timeout_ms=60_000) as old,
    ):
        proxy.hold(api, mode="close")
        with pytest.raises(CutoverError):
            old.commit_positions(group, {where: Committed(0, "cut off")})
        with Control(direct, cluster, transactional_id=name, transaction_timeout_ms=60_000) as new:
            if prepared:
                new.prepare_positions(group, {where: Committed(0, "new")})
            with pytest.raises(ProducerFenced):
                old.commit_positions(group, {where: Committed(0, "old")})
            if prepared:
                new.finish_positions(topic, commit=True)
            else:
                new.commit_positions(group, {where: Committed(0, "new")})
            assert committed(cluster, group, where) == Committed(0, "new")
