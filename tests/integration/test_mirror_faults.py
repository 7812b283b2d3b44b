"""The mirror under what happens to clusters and workers: it goes on and stays exact, or it stops with a fault that names the place."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from cutover.engine.process import EngineProcess
from cutover.errors import CutoverError
from cutover.kafka.embedded import EmbeddedKafka
from cutover.protocol import Cut, Hold, Mode, Release, Topic
from cutover.protocol import Pair as Opened
from tests.conftest import MakeTopic, WaitUntil
from tests.judge import Verdict
from tests.kafka_options import BRISK
from tests.mirroring import (
    ROOMY,
    Pair,
    Written,
    alter,
    fault_of,
    hear,
    how_it_ends,
    name_of,
    numbered,
    status,
    wait_lane,
    write,
)

pytestmark = pytest.mark.kafka

SESSION_SECONDS = 6.0


def made(bootstrap: str, topic: MakeTopic, origins: int = 2, followers: int = 4, **wanted: Any) -> Pair:  # noqa: ANN401
    return Pair.of(bootstrap, topic(origins, name="s"), topic(followers, ROOMY, name="t"), **wanted)


@contextmanager
def frozen(worker: EngineProcess) -> Iterator[None]:
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


def test_a_worker_that_slept_through_its_succession_harms_nothing_and_takes_part_again(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic, 4, 8, lanes=4).but(transaction_timeout_ms=2000)
    write(bootstrap, pair.origin, numbered(1000))
    with pair.worker("sleeper") as sleeper:
        pair.wait_caught_up(sleeper)
        write(bootstrap, pair.origin, numbered(20_000))
        with frozen(sleeper):
            time.sleep(SESSION_SECONDS + 0.5)
            with pair.worker("successor") as successor:
                for _ in range(4):
                    wait_lane(successor, "recovered")
                write(bootstrap, pair.origin, numbered(2000))
                pair.wait_caught_up(successor)
                os.kill(sleeper.pid or 0, signal.SIGCONT)
                write(bootstrap, pair.origin, numbered(5000))
                deadline = time.monotonic() + 90
                while not all(status(each)["lanes"] for each in (sleeper, successor)):
                    hear(sleeper, successor)
                    assert time.monotonic() < deadline, "the sleeper has no lanes again"
                    time.sleep(0.05)
                pair.wait_caught_up(sleeper, successor)
    assert pair.verdict() == Verdict()


def test_a_worker_that_is_killed_in_mid_copy_leaves_nothing_twice_and_nothing_out(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic, 4, 8, lanes=2)
    write(bootstrap, pair.origin, numbered(150_000), **{"linger.ms": 20})
    worker = pair.worker()
    deadline = time.monotonic() + 90
    while status(worker)["records"] == 0:
        assert time.monotonic() < deadline
    worker.kill()
    pair.copy()
    assert pair.verdict() == Verdict()


def test_a_lane_that_somebody_else_fenced_is_taken_again_while_the_group_says_it_is_ours(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic, lanes=1)

    def intrude() -> None:
        intruder = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{pair.told.group}.0"})
        intruder.init_transactions(60)
        write(bootstrap, pair.origin, numbered(50))

    with pair.worker() as worker:
        wait_lane(worker, "recovered")
        intrude()
        wait_lane(worker, "fenced")
        pair.wait_caught_up(worker)

        def again_and_again() -> None:
            for _ in range(10):
                intrude()
                wait_lane(worker, "recovered")

        with pytest.raises(CutoverError) as ended:
            again_and_again()
        assert name_of(ended.value) == "lane_contested"
    pair.copy()
    assert pair.verdict() == Verdict()


def test_a_topic_that_is_deleted_or_made_anew_or_widened_stops_the_worker(
    bootstrap: str, topic: MakeTopic, admin: AdminClient, wait_until: WaitUntil
) -> None:
    deleted, anew, widened = (made(bootstrap, topic, lanes=1) for _ in range(3))
    for each in (deleted, anew, widened):
        write(bootstrap, each.origin, numbered(20))
    workers = [each.worker() for each in (deleted, anew, widened)]
    for pair, worker in zip((deleted, anew, widened), workers, strict=True):
        pair.wait_caught_up(worker)

    admin.create_partitions([NewPartitions(widened.follower, 5)])[widened.follower].result(60)
    for future in admin.delete_topics([deleted.origin, anew.origin]).values():
        future.result(60)
    wait_until(lambda: anew.origin not in admin.list_topics(timeout=5).topics, 10, "the topic is gone")
    admin.create_topics([NewTopic(anew.origin, 2)])[anew.origin].result(60)
    write(bootstrap, anew.origin, numbered(500))

    ended = [how_it_ends(worker) for worker in workers]
    assert [name_of(each) for each in ended] == ["topic_gone", "topic_recreated", "partitions_changed"]
    assert [each.exit_code for each in ended] == [7, 7, 7]
    assert len(anew.copies()) == 20, "nothing of the new topic was copied"
    assert name_of(fault_of(anew)) == "topic_recreated"
    assert name_of(fault_of(deleted)) == "unknown_topic"


def test_retention_that_overtakes_the_mirror_stops_it(bootstrap: str, topic: MakeTopic, admin: AdminClient) -> None:
    pair = made(bootstrap, topic, 1, 4, lanes=1)
    write(bootstrap, pair.origin, numbered(20))
    with pair.worker() as worker:
        pair.wait_caught_up(worker)
        worker.request("pause")
        time.sleep(0.3)  # the fetch that was under way is thrown away or copied
        before = status(worker)["positions"]["0"]
        write(bootstrap, pair.origin, numbered(500))
        admin.delete_records([TopicPartition(pair.origin, 0, before + 400)])[TopicPartition(pair.origin, 0)].result(60)
    ended = fault_of(pair)
    assert name_of(ended) == "retention_overtook"
    assert (ended.fields["partition"], ended.fields["position"], ended.fields["log_start"]) == (0, before, before + 400)


def test_retention_of_what_was_copied_already_stops_nothing(bootstrap: str, topic: MakeTopic, admin: AdminClient) -> None:
    pair = made(bootstrap, topic, 1, 4, lanes=1)
    write(bootstrap, pair.origin, numbered(50))
    pair.copy()
    admin.delete_records([TopicPartition(pair.origin, 0, 50)])[TopicPartition(pair.origin, 0)].result(60)
    pair.copy()
    write(bootstrap, pair.origin, numbered(10))
    pair.copy()
    assert pair.positions() == {0: 60}
    assert len(pair.copies()) == 60


def test_a_follower_with_foreign_records_is_refused(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic)
    write(bootstrap, pair.origin, numbered(10))
    write(bootstrap, pair.follower, [Written(b"somebody's", partition=3)])
    ended = fault_of(pair)
    assert name_of(ended) == "foreign_records"
    assert (ended.fields["partition"], ended.fields["offset"]) == (3, 0)
    assert pair.positions() == {}, "nothing was begun"


def test_positions_of_another_run_are_refused(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic)
    write(bootstrap, pair.origin, numbered(10))
    pair.mark({0: 1}, run_id="ff" * 8)
    assert name_of(fault_of(pair)) == "foreign_positions"


def test_a_worker_of_an_ended_epoch_fences_reads_the_control_topic_and_stops(bootstrap: str, topic: MakeTopic) -> None:
    control = topic(1, name="control")
    pair = made(bootstrap, topic).but(control_topic=control, pair="p")
    write(bootstrap, pair.origin, numbered(100))
    sides = {side: Topic(name=side, id=side, partitions=1) for side in ("source", "target")}
    opened = [Opened(pair=name, run="r", partitioner="murmur2", **sides) for name in ("p", "another")]
    hold = Hold(pair="another", term=1, epoch=1, to=Mode.TARGET, budget_ms=1)
    undone = [Hold(pair="p", term=1, epoch=1, to=Mode.TARGET, budget_ms=1), Release(type="SOURCE", pair="p", term=1, epoch=0)]
    cut = Cut(source={0: 1}, target={0: 1})
    release = Release(type="TARGET", pair="another", term=1, epoch=1, cut=cut)
    write(bootstrap, control, [Written(None, each.encoded()) for each in [*opened, *undone, hold, release]])
    with pair.worker() as worker:
        pair.wait_caught_up(worker)
    again = [Hold(pair="p", term=2, epoch=1, to=Mode.TARGET, budget_ms=1), Release(type="TARGET", pair="p", term=2, epoch=1, cut=cut)]
    write(bootstrap, control, [Written(None, each.encoded()) for each in again])
    write(bootstrap, pair.origin, numbered(100))
    before = len(pair.copies())
    ended = fault_of(pair)
    assert (name_of(ended), ended.fields["epoch"], ended.exit_code) == ("epoch_ended", 1, 1)
    assert len(pair.copies()) == before


def test_a_record_that_the_follower_does_not_take_is_named_by_its_place_on_the_origin(
    bootstrap: str, topic: MakeTopic, admin: AdminClient
) -> None:
    narrow = made(bootstrap, topic, 1, 4, lanes=1)
    write(bootstrap, narrow.origin, [*numbered(5), Written(b"big", os.urandom(50_000)), *numbered(5)])
    alter(admin, narrow.follower, max_message_bytes="20000")
    ended = fault_of(narrow)
    assert name_of(ended) == "record_too_large"
    with_limit = narrow.but(follower=narrow.told.follower.model_copy(update={"max_message_bytes": 20_000}))
    ended = fault_of(with_limit)
    assert (name_of(ended), ended.fields["origin_partition"], ended.fields["origin_offset"]) == ("record_too_large", 0, 5)

    compacted = Pair.of(bootstrap, topic(1, name="s"), topic(4, ROOMY | {"cleanup.policy": "compact"}, name="t"), lanes=1)
    write(bootstrap, compacted.origin, [Written(None, b"no key")])
    ended = fault_of(compacted)
    assert (name_of(ended), ended.fields["origin_partition"], ended.fields["origin_offset"]) == ("record_refused", 0, 0)


def test_positions_beyond_what_is_on_the_follower_are_a_hole_with_its_place(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic, 1, 4, lanes=1)
    write(bootstrap, pair.origin, numbered(40))
    pair.copy()
    write(bootstrap, pair.origin, numbered(10))
    pair.mark({0: 50}, since=30)
    ended = fault_of(pair)
    assert name_of(ended) == "hole"
    assert ended.fields["origin_partition"] == 0
    assert set(ended.fields["origin_offsets"]) <= set(range(40, 50))


def test_positions_moved_back_copy_nothing_twice(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic, 2, 4, lanes=2)
    write(bootstrap, pair.origin, numbered(4000))
    pair.copy()
    ends = pair.positions()
    pair.mark({number: end // 3 for number, end in ends.items()}, since=5)
    write(bootstrap, pair.origin, numbered(100))
    pair.copy()
    assert pair.verdict() == Verdict()


def test_positions_that_were_lost_are_made_good_from_the_follower(bootstrap: str, topic: MakeTopic, admin: AdminClient) -> None:
    pair = made(bootstrap, topic, 2, 4, lanes=1)
    write(bootstrap, pair.origin, numbered(3000))
    pair.copy()
    admin.delete_consumer_groups([pair.told.group])[pair.told.group].result(60)
    write(bootstrap, pair.origin, numbered(100))
    pair.copy()
    assert pair.verdict() == Verdict()


def test_workers_that_count_other_lanes_cannot_share_a_group(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic, lanes=1)
    with pair.worker() as worker:
        wait_lane(worker, "recovered")
        assert name_of(fault_of(pair.but(lanes=2))) == "lanes_differ"
        hear(worker)


@pytest.mark.slow
@pytest.mark.xdist_group("mirror-brokers")
def test_a_broker_that_dies_and_comes_back_is_waited_for_and_said() -> None:
    """It dies between transactions: Kafka 4.3.1 alone on its cluster forgets the markers that it still owed (docs/mirror-faults.md)."""
    with EmbeddedKafka(config=BRISK) as kafka:
        pair = pair_on(kafka)
        write(kafka.bootstrap_servers, pair.origin, numbered(20_000))
        with pair.worker() as worker:
            pair.wait_caught_up(worker)
            pair.copies()  # reads once nothing is open
            kafka.broker(1).kill()
            wait_slowed(worker, "the cluster has not answered")
            kafka.broker(1).start()
            write(kafka.bootstrap_servers, pair.origin, numbered(1000))
            pair.wait_caught_up(worker)
            assert "has not answered" not in status(worker)["slowed_by"]
        assert pair.verdict() == Verdict()


@pytest.mark.slow
@pytest.mark.xdist_group("mirror-brokers")
def test_a_leader_that_dies_in_mid_copy_is_followed_by_another() -> None:
    with EmbeddedKafka(brokers=3, config=BRISK, heap_mb=256) as kafka:
        pair = pair_on(kafka)
        write(kafka.bootstrap_servers, pair.origin, numbered(60_000), **{"linger.ms": 20})
        with pair.worker() as worker:
            wait_lane(worker, "recovered")
            kafka.broker(1).kill()
            write(kafka.bootstrap_servers, pair.origin, numbered(1000), **{"enable.idempotence": True, "log_level": 0})
            pair.wait_caught_up(worker)
        verdict = pair.verdict()
        assert (verdict, verdict.records) == (Verdict(), 61_000)


def pair_on(kafka: EmbeddedKafka) -> Pair:
    """Two topics on a cluster of the test's own, with as many copies as it has brokers."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    for future in admin.create_topics([NewTopic("s", 6), NewTopic("t", 12, config=ROOMY)]).values():
        future.result(30)
    return Pair.of(kafka.bootstrap_servers, "s", "t", lanes=3)


def wait_slowed(worker: EngineProcess, words: str) -> None:
    deadline = time.monotonic() + 90
    while words not in (said := status(worker)["slowed_by"]):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def test_a_worker_whose_driver_is_gone_ends_by_itself(bootstrap: str, topic: MakeTopic) -> None:
    pair = made(bootstrap, topic).but(grace_seconds=1)
    write(bootstrap, pair.origin, numbered(100))
    worker = pair.worker()
    pair.wait_caught_up(worker)
    pid = worker.pid
    worker.detach()
    deadline = time.monotonic() + 90
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert pair.verdict() == Verdict()
