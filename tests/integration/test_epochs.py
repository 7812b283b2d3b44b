"""Mirror and audit through real flips: the reverse mirror starts beside older records, and every epoch is proved or named."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.audit_events import Straggler, Stragglers, Verdict
from cutover.engine.auditing import Auditing
from cutover.engine.crew import Crew, Restart
from cutover.engine.events import LaneChange
from cutover.engine.process import EngineProcess
from cutover.errors import EpochEnded
from cutover.model import TopicPartition
from cutover.partitioners import partition
from tests.conftest import MakeTopic
from tests.epochs import PATIENCE_SECONDS, Flipped, Taken, audit, kinds, numbered, places, until, verdict_of, verified

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("epochs")]

MakeStory = Callable[[int, int], Flipped]


@pytest.fixture
def story(
    bootstrap: str, topic: MakeTopic, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeStory]:
    """Makes pairs of so many partitions."""
    runtime = tmp_path_factory.mktemp("e")
    runtime.chmod(0o700)
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(runtime))
    connection = Connection.load(bootstrap=bootstrap)
    with wiring.cluster(connection) as cluster, wiring.control(connection, cluster) as control:
        yield lambda origins, followers: Flipped.create(bootstrap, cluster, control, topic, (origins, followers))


@pytest.mark.parametrize("counts", [(2, 4), (3, 4)])
def test_both_topics_hold_every_record_in_order_after_each_flip_and_every_epoch_is_proved(
    story: MakeStory, counts: tuple[int, int]
) -> None:
    pair = story(*counts)
    for epoch in range(3):
        with pair.crew() as crew:
            pair.write(200)
            pair.write(50, transactional=True)
            cut = pair.drain(crew)
            verdict = verdict_of(pair.audited())
            assert (verdict.result, kinds(verdict), verdict.coverage.proved) == ("proved", {}, 250)
            assert pair.end_epoch(crew) == cut
        wanted = numbered(250 * (epoch + 1))
        assert pair.by_key(pair.source) == wanted
        assert pair.by_key(pair.target) == wanted


def backlog(pair: Flipped) -> None:
    """One epoch is over, and the next primary holds what no mirror has copied."""
    pair.epochs(1)
    pair.write(3000)


def killed_when(crew: Crew, change: str) -> None:
    """Kill the only worker when a lane of it says this."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for happened in crew.poll():
            process = crew.workers[0].process
            if isinstance(happened, LaneChange) and happened.change == change and process is not None:
                os.kill(process.pid or 0, signal.SIGKILL)
                return
    raise TimeoutError(f"no lane was {change}")


def restarted(crew: Crew) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(isinstance(happened, Restart) for happened in crew.poll()):
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_a_worker_killed_while_it_recovers_in_a_later_epoch_leaves_both_topics_equal(story: MakeStory) -> None:
    pair = story(2, 4)
    backlog(pair)
    with pair.crew() as crew:
        for change in ("taken", "recovered", "taken"):
            killed_when(crew, change)
            restarted(crew)
        pair.write(300)
        pair.drain(crew)
        verdict = verdict_of(pair.audited())
    assert (verdict.result, kinds(verdict), verdict.coverage.proved) == ("proved", {}, 3300)
    assert pair.by_key(pair.source) == pair.by_key(pair.target)


def test_a_worker_frozen_before_a_flip_wakes_after_it_and_copies_nothing_more(story: MakeStory) -> None:
    pair = story(2, 4)
    frozen = EngineProcess.start("mirror", pair.mirror(worker="frozen"))
    try:
        pair.write(500)
        wait_copied(pair, frozen)
        os.kill(frozen.pid or 0, signal.SIGSTOP)
        cut = Taken(pair.settled(pair.source), pair.settled(pair.target))
        pair.begin_next(cut, Crew(pair.mirror(), 1).lane_ids)
        with pair.crew() as crew:
            pair.write(500)
            pair.drain(crew)
            crew.drain_to(None)
            os.kill(frozen.pid or 0, signal.SIGCONT)
            with pytest.raises(EpochEnded):
                for _ in frozen.events(PATIENCE_SECONDS):
                    pass
            pair.write(100)
            pair.drain(crew)
            verdict = verdict_of(pair.audited())
        assert (verdict.result, kinds(verdict), verdict.coverage.proved) == ("proved", {}, 600)
        assert pair.by_key(pair.source) == pair.by_key(pair.target) == numbered(1100)
    finally:
        frozen.kill()


def wait_copied(pair: Flipped, worker: EngineProcess) -> None:
    """Everything that is on the origin now is committed."""
    wanted, deadline = pair.settled(pair.sides()[0]), time.monotonic() + PATIENCE_SECONDS
    while {int(p): offset for p, offset in worker.request("status")["committed"].items()} != wanted:
        assert time.monotonic() < deadline, worker.stderr_tail()


def test_a_driver_that_starts_anew_goes_on_with_the_workers_that_the_dead_one_left(story: MakeStory) -> None:
    pair = story(2, 4)
    pair.epochs(1)
    dead = Crew(pair.mirror(), 1, prefix="e1")
    dead.start()
    pair.write(200)
    pair.drain(dead)
    dead.pause()
    left = dead.workers[0].process
    assert left is not None
    dead.detach()
    with pair.crew(2) as crew:
        assert left.pid in {each.process.pid for each in crew.workers if each.process is not None}
        pair.write(200)
        pair.drain(crew)
        crew.drain_to(None)
        verdict = verdict_of(pair.audited())
        pair.live(100, crew)
    assert (verdict.result, verdict.coverage.proved) == ("proved", 400)
    assert pair.by_key(pair.source) == pair.by_key(pair.target)


def test_a_straggler_on_the_old_side_stops_no_mirror_and_is_named_as_foreign(story: MakeStory) -> None:
    pair = story(2, 4)
    pair.epochs(1)
    ends = pair.ends(pair.source)
    at = partition("murmur2", b"late", 2)
    late = Producer({"bootstrap.servers": pair.bootstrap, "partitioner": "murmur2_random"})
    late.produce(pair.source.name, b"after the flip", b"late")
    assert late.flush(PATIENCE_SECONDS) == 0
    with pair.crew() as crew:
        pair.write(100)
        pair.drain(crew)
        verdict = verdict_of(pair.audited())
    assert (verdict.result, kinds(verdict)) == ("violated", {"foreign": 1})
    assert list(places(verdict, "foreign")) == [(pair.source.name, at, ends[at])]


def test_a_lane_of_an_ended_epoch_that_writes_past_the_cut_is_named_as_a_loop(story: MakeStory) -> None:
    pair = story(2, 4)
    with pair.crew() as crew:
        lane = crew.lane_ids[0]
        cut = pair.live(100, crew)
    zombie = Producer({"bootstrap.servers": pair.bootstrap, "transactional.id": lane, "partitioner": "murmur2_random"})
    zombie.init_transactions(PATIENCE_SECONDS)
    zombie.begin_transaction()
    at = partition("murmur2", b"undead", 4)
    zombie.produce(pair.target.name, b"past the cut", b"undead")
    zombie.commit_transaction(PATIENCE_SECONDS)
    with pair.crew() as crew:
        pair.write(100)
        pair.drain(crew)
        verdict = verdict_of(pair.audited())
    assert kinds(verdict) == {"loop": 1}
    assert list(places(verdict, "loop")) == [(pair.target.name, at, cut.target[at])]


def test_an_audit_that_follows_proves_exactly_the_cut_of_each_epoch(story: MakeStory) -> None:
    pair = story(2, 4)
    for _ in range(3):
        origin, follower = pair.sides()
        with pair.crew() as crew:
            pair.write(100)
            pair.drain(crew)
            crew.drain_to(None)
            with audit(pair.audited(follow=True, interval_ms=60_000)) as judge:
                until(judge, lambda happened: isinstance(happened, Verdict))
                pair.write(200)
                cut = pair.drain(crew)
                names = {"origin": cut.of(origin.name, pair.source.name), "follower": cut.of(follower.name, pair.source.name)}
                assert verified(judge, names).exact
            pair.end_epoch(crew)


def test_stragglers_are_named_exactly_and_can_be_carried_over_while_the_audit_stays_green(story: MakeStory, bootstrap: str) -> None:
    pair = story(2, 4)
    pair.epochs(1)
    ends = pair.ends(pair.source)
    late = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    sure = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True})
    with (
        wiring.control(pair.connection, pair.cluster, transactional_id=f"driver-{pair.name}") as forwarder,
        pair.crew() as crew,
        audited_once_it_copies(pair, crew) as judge,
    ):
        pair.write(100)
        for number, producer in enumerate((late, sure)):
            producer.produce(pair.source.name, b"straggler", b"late-%d" % number, partition=1, timestamp=1_700_000_000_000 + number)
            assert producer.flush(PATIENCE_SECONDS) == 0
        records = named(judge, 2)
        assert [(each.partition, each.timestamp_ms, each.producer_id == -1) for each in records] == [
            (1, 1_700_000_000_000, True),
            (1, 1_700_000_000_001, False),
        ]
        assert all(each.offset >= ends[1] for each in records)
        for each in records:
            (found,) = pair.read(pair.source, {each.partition: (each.offset, each.offset + 1)})
            where = TopicPartition(pair.target.name, partition("murmur2", found.key or b"", 4))
            forwarder.append_records(where, [found])
        cut = pair.drain(crew)
        assert verified(judge, {"origin": cut.target, "follower": cut.source}).exact
        assert judge.verdict is not None
        assert (judge.verdict.standing, judge.verdict.stragglers) == ("proved", 0)
    assert pair.by_key(pair.target)[b"late-0"] == [b"straggler"]
    assert pair.by_key(pair.source)[b"late-0"] == [b"straggler"] * 2, "as a straggler, and carried over"


@contextmanager
def audited_once_it_copies(pair: Flipped, crew: Crew) -> Iterator[Auditing]:
    """An audit that reports stragglers; it needs a position of the mirror on every partition."""
    pair.drain(crew)
    crew.drain_to(None)
    with audit(pair.audited(follow=True, stragglers="report", interval_ms=50)) as judge:
        yield judge


def named(judge: Auditing, count: int) -> list[Straggler]:
    """The first stragglers that an audit names."""
    found: list[Straggler] = []
    for each in judge.happenings(PATIENCE_SECONDS):
        if isinstance(each, Stragglers):
            assert each.complete
            found += each.records
        if len(found) == count:
            return found
    raise TimeoutError(f"{len(found)} were named")
