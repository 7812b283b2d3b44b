"""The mirror on a real Kafka: what it copies is equal, in its place and in order, and it does what its driver says."""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterable

import pytest
from confluent_kafka import Producer

from cutover.engine.configuration import Rate, Start
from cutover.engine.events import Cut, Event, Progress
from cutover.engine.process import EngineProcess
from cutover.errors import CutoverError
from cutover.partitioners import FAMILIES
from tests.conftest import MakeTopic, WaitUntil
from tests.judge import Place, Verdict, read_settled
from tests.judge.verdict import PROVENANCE_KEY, stamp
from tests.mirroring import (
    ROOMY,
    Pair,
    Written,
    hear,
    name_of,
    numbered,
    produce,
    status,
    wait_for,
    wait_lane,
    wait_ready,
    write,
)

pytestmark = pytest.mark.kafka

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
KEYS = [b"", b"k", b"key-1", bytes(range(256)), b"\xff\xfe", "schlüssel".encode(), *(b"%d" % number for number in range(60))]


def variety(partitions: int) -> Iterable[Written]:
    """Records of every kind that Kafka allows, in every partition."""
    now = int(time.time() * 1000)
    for partition in range(partitions):
        yield Written(None, b"no key", partition=partition)
        yield Written(b"", b"empty key", partition=partition)
        yield Written(None, b"", partition=partition)
        yield Written(None, None, partition=partition)
        yield Written(b"at-%d" % partition, b"one", [("a", b"1"), ("b", None), ("a", b""), ("a", b"1"), ("é", b"\x00\xff")])
        yield Written(b"at-%d" % partition, b"old", timestamp_ms=1)
        yield Written(b"at-%d" % partition, b"then", timestamp_ms=now - 86_400_000)
        yield Written(b"at-%d" % partition, b"earlier", timestamp_ms=now - 90_000_000)
        yield Written(b"at-%d" % partition, None)


def test_every_kind_of_record_in_every_codec_arrives_as_it_was(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(6, name="s"), topic(24, ROOMY, name="t"), lanes=4)
    written = sum(write(bootstrap, pair.origin, variety(6), **{"compression.type": codec}) for codec in CODECS)
    rng = random.Random(1)
    big = [Written(b"big-%d" % number, rng.randbytes(1_000_000)) for number in range(3)]
    big += [Written(b"big-%d" % number, b"x" * 1_000_000) for number in range(3)]
    written += sum(write(bootstrap, pair.origin, big, **{"compression.type": codec, "message.max.bytes": 1_048_588}) for codec in CODECS)

    pair.copy()

    verdict = pair.verdict()
    assert (verdict, verdict.records) == (Verdict(), written)


def test_records_without_a_key_are_spread_over_the_children_in_a_way_that_a_second_copy_repeats(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(3, name="s"), topic(9, ROOMY, name="t"), null_keys="spread", lanes=3)
    write(bootstrap, pair.origin, (Written(None, b"%d" % number, partition=number % 3) for number in range(90)))

    pair.copy()

    assert pair.verdict() == Verdict()
    assert {each.partition for each in pair.copies()} == set(range(9))


@pytest.mark.parametrize("partitioner", sorted(FAMILIES))
def test_keys_go_where_the_formula_puts_them(bootstrap: str, topic: MakeTopic, partitioner: str) -> None:
    formula = FAMILIES[partitioner]
    pair = Pair.of(bootstrap, topic(6, name="s"), topic(24, ROOMY, name="t"), partitioner, lanes=2)
    placed = [key for key in KEYS if formula.decides(key)]
    write(bootstrap, pair.origin, (Written(key, b"v%d" % turn, partition=formula.place(key, 6)) for turn in range(3) for key in placed))

    pair.copy()

    verdict = pair.verdict()
    assert (verdict, verdict.records) == (Verdict(), 3 * len(placed))


@pytest.mark.parametrize(("origins", "followers"), [(6, 9), (24, 6)])
def test_topics_whose_partition_counts_cross_or_shrink_are_copied_in_order(
    bootstrap: str, topic: MakeTopic, origins: int, followers: int
) -> None:
    pair = Pair.of(bootstrap, topic(origins, name="s"), topic(followers, ROOMY, name="t"), lanes=3, allow_shrink=True)
    write(bootstrap, pair.origin, [*numbered(3000, keys=200), *variety(origins)])

    for _ in range(2):  # the second worker recovers from tails that several lanes share
        pair.copy()
        write(bootstrap, pair.origin, numbered(300, keys=200))
    pair.copy()

    assert pair.verdict() == Verdict()


def test_aborted_transactions_are_not_copied_and_positions_pass_their_markers(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(2, name="s"), topic(4, ROOMY, name="t"))
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": pair.origin, "partitioner": "murmur2_random"})
    producer.init_transactions(30)
    for turn in range(6):
        producer.begin_transaction()
        for each in numbered(20):
            produce(producer, pair.origin, each, [])
        (producer.abort_transaction if turn % 2 else producer.commit_transaction)(30)

    with pair.worker() as worker:
        pair.wait_caught_up(worker)
        verdict = pair.verdict()
        assert (verdict, verdict.records) == (Verdict(), 60)

        producer.begin_transaction()
        produce(producer, pair.origin, Written(b"open"), [])
        producer.flush(60)
        walls = {**pair.ends()}
        worker.request("drain_to", offsets=walls)
        cut = worker.wait_for(Cut, 20)
        assert dict(cut.positions) == walls, "an open transaction is past the last stable offset, the wall"
        producer.abort_transaction(30)
    assert pair.verdict() == Verdict()


def test_a_compacted_origin_is_copied_with_its_tombstones_and_gaps(bootstrap: str, topic: MakeTopic, wait_until: WaitUntil) -> None:
    compacted = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "600000"}
    pair = Pair.of(bootstrap, topic(1, compacted, name="s"), topic(4, ROOMY, name="t"), lanes=1)
    write(bootstrap, pair.origin, numbered(500, keys=10))
    time.sleep(1.1)  # a segment is rolled by its age, and cleaned only when it is not the newest
    write(bootstrap, pair.origin, [*(Written(b"key-%d" % number, None) for number in range(5)), Written(b"last")])
    wait_until(lambda: len(read_settled(bootstrap, pair.origin)) < 20, 40, "the cleaner has been there")

    pair.copy()

    verdict = pair.verdict()
    assert (verdict, verdict.lost) == (Verdict(), ())
    assert sum(each.value is None for each in pair.copies()) == 5


def test_provenance_of_an_earlier_run_is_stripped_and_counted(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(2, name="s"), topic(4, ROOMY, name="t"))
    earlier = stamp(b"earlier!", 0, Place(0, 7))
    headers: list[tuple[str, str | bytes | None]] = [
        ("a", b"1"),
        (PROVENANCE_KEY, earlier),
        ("b", b"2"),
        (PROVENANCE_KEY, b"not of that form"),
    ]
    write(bootstrap, pair.origin, [Written(b"k%d" % number, headers=headers) for number in range(10)])

    with pair.worker() as worker:
        pair.wait_caught_up(worker)
        assert status(worker)["foreign_provenance"] == 10

    for each in pair.copies():
        assert [name for name, _ in each.headers] == ["a", "b", PROVENANCE_KEY, PROVENANCE_KEY]
        assert each.headers[2][1] == b"not of that form", "what only has the same name belongs to the application"
        assert each.headers[3][1] == stamp(bytes.fromhex(pair.told.run_id), 0, each.origin or Place(-1, -1))


def test_times_past_what_nanoseconds_can_count_arrive_exactly(bootstrap: str, topic: MakeTopic) -> None:
    lenient = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    pair = Pair.of(bootstrap, topic(1, lenient, name="s"), topic(4, ROOMY | lenient, name="t"))
    write(bootstrap, pair.origin, [Written(b"k", b"microseconds", timestamp_ms=1_700_000_000_000_000), Written(b"k", timestamp_ms=1)])

    pair.copy()

    assert pair.verdict() == Verdict()
    assert sorted(each.timestamp_ms for each in pair.copies()) == [1, 1_700_000_000_000_000]


def test_two_workers_share_the_lanes_and_a_third_takes_its_part(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(6, name="s"), topic(12, ROOMY, name="t"), lanes=6)
    write(bootstrap, pair.origin, numbered(2000))
    with contextlib.ExitStack() as stack:
        workers = []
        for count in (1, 2, 3):
            workers.append(stack.enter_context(pair.worker(f"w{count}")))
            held = wait_shared(pair, workers, 6 // count)
            assert sorted(lane for lanes in held for lane in lanes) == list(range(6))
        write(bootstrap, pair.origin, numbered(2000))
        pair.wait_caught_up(*workers)
        workers[0].kill()
        workers.pop(0)
        write(bootstrap, pair.origin, numbered(500))
        pair.wait_caught_up(*workers)
    assert pair.verdict() == Verdict()


def wait_shared(pair: Pair, workers: list[EngineProcess], each: int) -> list[list[int]]:
    """Wait until each worker copies so many lanes; gives them."""
    deadline = time.monotonic() + 90
    while True:
        hear(*workers)
        held = [[lane["lane"] for lane in status(worker)["lanes"] or () if lane["state"] == "copying"] for worker in workers]
        if [len(lanes) for lanes in held] == [each] * len(workers):
            return held
        assert time.monotonic() < deadline, f"{held}, each should hold {each} of {pair.told.lanes}"
        time.sleep(0.05)


def test_a_drained_mirror_copies_nothing_at_or_past_its_walls_under_live_traffic(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(4, name="s"), topic(8, ROOMY, name="t"), lanes=2)
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5})
    records = iter(numbered(1_000_000))

    def traffic(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            produce(producer, pair.origin, next(records), [])
            time.sleep(0.001)

    with pair.worker() as worker:
        wait_lane(worker, "recovered", 0)
        traffic(0.5)
        walls = {number: end + 30 for number, end in pair.ends().items()}
        worker.request("drain_to", offsets=walls)
        cut = None
        for _ in range(200):
            traffic(0.1)
            cut = next((each for each in hear(worker) if isinstance(each, Cut)), cut)
            if cut:
                break
        assert cut is not None
        assert dict(cut.positions) == walls == pair.positions()
        traffic(0.3)
        producer.flush(60)
        copied = {(each.origin.partition, each.origin.offset) for each in pair.copies() if each.origin}
        assert copied == {(number, offset) for number, wall in walls.items() for offset in range(wall)}
        assert status(worker)["slowed_by"] == ""

        with pytest.raises(CutoverError) as refused:
            worker.request("drain_to", offsets={number: wall - 1 for number, wall in walls.items()})
        assert name_of(refused.value) == "wall_passed"
        assert {lane["state"] for lane in status(worker)["lanes"]} == {"drained"}, "a refused command changes nothing"

        further = pair.ends()
        worker.request("drain_to", offsets=further)
        assert dict(worker.wait_for(Cut, 20).positions) == further, "walls can be moved on, without a hole at the old ones"
        worker.request("drain_to", offsets=None)
        traffic(0.2)
        producer.flush(60)
        pair.wait_caught_up(worker)
    assert pair.verdict() == Verdict()


def test_walls_in_the_configuration_hold_from_the_start_and_must_not_lie_behind(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(2, name="s"), topic(4, ROOMY, name="t"))
    write(bootstrap, pair.origin, (Written(b"k", partition=number % 2) for number in range(40)))
    with pair.but(walls={0: 7, 1: 0}).worker() as worker:
        assert dict(worker.wait_for(Cut, 20).positions) == {0: 7, 1: 0}
    assert len(pair.copies()) == 7
    with pair.but(walls={0: 6, 1: 0}).worker() as worker, pytest.raises(CutoverError) as ended:
        worker.wait_for(Cut, 20)
    assert name_of(ended.value) == "wall_passed"


def test_pause_resume_and_a_rate_that_changes_while_it_runs(bootstrap: str, topic: MakeTopic, wait_until: WaitUntil) -> None:
    pair = Pair.of(bootstrap, topic(4, name="s"), topic(8, ROOMY, name="t"), lanes=2, rate=Rate(records_per_second=4000))
    write(bootstrap, pair.origin, numbered(30_000))
    with pair.worker() as worker:
        wait_lane(worker, "recovered")
        wait_for(worker, copying, "records are copied")
        reaches(4000, 0.1, lambda: speed(worker, 1.5))
        assert "rate limit" in status(worker)["slowed_by"]

        worker.request("pause")
        wait_until(lambda: speed(worker, 0.3) == 0, 10, "what was read already is committed")
        before = status(worker)["records"]
        assert speed(worker, 0.5) == 0
        assert (status(worker)["slowed_by"], status(worker)["records"]) == ("paused", before)

        worker.request("rate", records_per_second=0, bytes_per_second=0)
        worker.request("resume")
        pair.wait_caught_up(worker)
    assert pair.verdict() == Verdict()


def test_a_limit_on_bytes_is_kept(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(2, name="s"), topic(4, ROOMY, name="t"), rate=Rate(bytes_per_second=1_000_000))
    write(bootstrap, pair.origin, numbered(20_000, size=1000))
    with pair.worker() as worker:
        wait_for(worker, copying, "records are copied")
        reaches(1_000_000, 0.12, lambda: speed(worker, 2, "bytes"))


def copying(event: Event) -> bool:
    return isinstance(event, Progress) and event.records > 0


def reaches(limit: float, within: float, measure: Callable[[], float], tries: int = 4) -> None:
    """No measurement is above the limit, and one is as near to it as wanted: a busy machine may be slower for a while."""
    measured: list[float] = []
    while not measured or measured[-1] != pytest.approx(limit, rel=within):
        measured.append(measure())
        assert measured[-1] < limit * (1 + within)
        assert len(measured) <= tries, f"{measured}, the limit is {limit}"


def speed(worker: EngineProcess, seconds: float, what: str = "records") -> float:
    """Records (or bytes) per second over so long a time."""
    began, before = time.monotonic(), status(worker)[what]
    time.sleep(seconds)
    return float((status(worker)[what] - before) / (time.monotonic() - began))


def test_a_follower_that_takes_small_batches_gets_small_batches(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(2, {"max.message.bytes": "10000"}, name="s"), topic(4, {"max.message.bytes": "12000"}, name="t"))
    write(bootstrap, pair.origin, numbered(2000, size=500), **{"batch.size": 8000})
    pair.copy()
    assert pair.verdict() == Verdict()


def test_a_backlog_of_many_records_takes_little_memory(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(6, name="s"), topic(24, ROOMY, name="t"), lanes=6)
    many = {"compression.type": "zstd", "batch.size": 1_000_000, "linger.ms": 50, "queue.buffering.max.messages": 500_000, "acks": "1"}
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", **many})
    value = b"the same words over and over, " * 7
    for number in range(600_000):
        while True:
            try:
                producer.produce(pair.origin, value, b"%d" % (number % 5000))
            except BufferError:
                producer.poll(0.05)
            else:
                break
    assert producer.flush(60) == 0
    write(
        bootstrap,
        pair.origin,
        (Written(b"big-%d" % number, os.urandom(1000) * 990) for number in range(60)),
        **{"compression.type": "zstd"},
    )

    most = 0
    with pair.worker() as worker:
        ends = pair.ends()
        for event in worker.events(60):
            if isinstance(event, Progress):
                most = max(most, event.resident_bytes)
                if dict(event.committed) == ends:
                    break
        assert status(worker)["records"] == 600_060
    assert 0 < most < 300_000_000


def test_start_latest_copies_only_what_is_written_afterwards_also_when_it_is_started_again(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(2, name="s"), topic(4, ROOMY, name="t"), start=Start(kind="latest"))
    write(bootstrap, pair.origin, numbered(50))
    begin = pair.ends()
    with pair.worker() as worker:
        pair.wait_caught_up(worker)
    assert pair.positions() == begin, "the start is pinned although nothing was copied"
    write(bootstrap, pair.origin, numbered(30))
    pair.copy()
    assert len(pair.copies()) == 30
    assert set(pair.verdict().lost) == {Place(number, offset) for number, end in begin.items() for offset in range(end)}


def test_ready_says_which_protocol_is_spoken(bootstrap: str, topic: MakeTopic) -> None:
    pair = Pair.of(bootstrap, topic(1, name="s"), topic(2, ROOMY, name="t"))
    with pair.worker() as worker:
        ready = wait_ready(worker)
        assert ready.transaction_version >= 2
        assert ready.kip890_part2
        wait_lane(worker, "recovered")
        with pytest.raises(CutoverError) as unknown:
            worker.request("dance")
        assert name_of(unknown.value) == "bad_command"
        with pytest.raises(CutoverError) as partial:
            worker.request("drain_to", offsets={})
        assert name_of(partial.value) == "bad_command"
