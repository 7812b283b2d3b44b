"""A crew of fake engines: what dies is started again, what keeps dying or says something about the data ends the mirror."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cutover import errors
from cutover.connection import Connection
from cutover.engine import crew as crews
from cutover.engine import present
from cutover.engine.configuration import Rate
from cutover.engine.crew import Crew, Restart
from cutover.engine.events import Progress, Ready
from cutover.engine.mirroring import Abandoned, CaughtUp, Happening, Mirroring, Wanted, prepare
from cutover.engine.status import MirrorStatus
from cutover.model import TopicPartition
from cutover.twin.cluster import Twin

FAKE = Path(__file__).parents[1] / "fake_engine.py"
HERE = Connection.of({"bootstrap.servers": "127.0.0.1:9092"})
RUN = "orders--orders.v2"


@pytest.fixture
def twin() -> Twin:
    """What the fake engine copies: 100 records in one partition."""
    twin = Twin()
    twin.create_topic("orders", 1, replication_factor=1)
    twin.create_topic("orders.v2", 4, replication_factor=1, configs={"max.message.bytes": "1048652"})
    for number in range(100):
        twin.append(TopicPartition("orders", 0), b"k", b"%d" % number)
    return twin


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


MakeCrew = Callable[..., tuple[Crew, Mirroring]]


@pytest.fixture
def start(
    twin: Twin, told: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeCrew]:
    """Starts a crew of fake engines that behave as told; they are stopped at the end."""
    runtime = tmp_path_factory.mktemp("r")
    runtime.chmod(0o700)
    engine = tmp_path / "cutover-engine"
    engine.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    engine.chmod(0o755)
    for name, value in (
        ("CUTOVER_RUNTIME_DIR", str(runtime)),
        ("FAKE_ENGINE_TOLD", str(told)),
        ("FAKE_ENGINE_MARKER", str(tmp_path / "m")),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(crews, "FIRST_PAUSE_SECONDS", 0.01)
    started: list[Crew] = []

    def start_one(behaviour: str = "works", workers: int = 1, prefix: str = "", **env: str) -> tuple[Crew, Mirroring]:
        monkeypatch.setenv("FAKE_ENGINE", behaviour)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        prepared = prepare(twin, HERE, Wanted("orders", "orders.v2", "murmur2", workers=workers, rate=Rate(records_per_second=100)))
        crew = Crew(prepared.configuration, workers, engine=engine, prefix=prefix)
        started.append(crew)
        crew.start()
        return crew, Mirroring(twin, prepared, crew)

    yield start_one
    for crew in started:
        crew.stop("the test is over")


def until(
    mirroring: Mirroring, true: Callable[[Happening], object], *, until_caught_up: bool = False, seconds: float = 60
) -> list[Happening]:
    """The happenings up to and with the first for which it is true."""
    seen: list[Happening] = []
    deadline = time.monotonic() + seconds

    def wait(pause: float) -> bool:
        time.sleep(min(pause, 0.02))
        return time.monotonic() > deadline

    for happened in mirroring.happenings(wait, until_caught_up=until_caught_up):
        seen.append(happened)
        if true(happened):
            return seen
    raise AssertionError(f"it did not happen: {seen[-3:]}")


def configurations(told: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in told.read_text().splitlines()]


def test_it_ends_when_everything_below_the_frozen_ends_is_committed(start: MakeCrew) -> None:
    _, mirroring = start()
    last = until(mirroring, lambda happened: isinstance(happened, CaughtUp), until_caught_up=True)[-1]
    assert isinstance(last, CaughtUp)
    assert (last.status.done_offsets, last.status.total_offsets, last.status.share) == (100, 100, 1)


def test_workers_share_the_rate_and_have_names_of_their_own(start: MakeCrew, told: Path) -> None:
    start(workers=2)
    given = configurations(told)
    assert [each["rate"] for each in given] == [{"records_per_second": 50.0, "bytes_per_second": 0.0}] * 2
    assert len({each["worker"] for each in given}) == 2


def test_a_dead_worker_is_started_again_and_said(start: MakeCrew) -> None:
    _, mirroring = start("dies_once")
    seen = until(mirroring, lambda happened: isinstance(happened, MirrorStatus) and happened.done_offsets == 100)
    restarts = [each for each in seen if isinstance(each, Restart)]
    assert [(each.restarts, each.because.id) for each in restarts] == [(1, "CUT-ENG-002")]


def test_a_worker_that_keeps_dying_ends_the_mirror(start: MakeCrew) -> None:
    _, mirroring = start("dies")
    with pytest.raises(errors.WorkersKeepDying, match="died 6 times") as caught:
        until(mirroring, lambda _: False)
    assert caught.value.fields["last"]["id"] == "CUT-ENG-002"


@pytest.mark.parametrize(
    ("fault", "kind"), [("hole", errors.FollowerHole), ("foreign_records", errors.ForeignRecords), ("epoch_ended", errors.EpochEnded)]
)
def test_a_fault_about_the_data_is_not_met_by_starting_again(start: MakeCrew, fault: str, kind: type[errors.CutoverError]) -> None:
    _, mirroring = start("fails", FAKE_ENGINE_FAULT=fault)
    with pytest.raises(kind):
        until(mirroring, lambda happened: isinstance(happened, Restart))


def test_a_fault_of_the_engine_itself_is(start: MakeCrew) -> None:
    _, mirroring = start("fails", FAKE_ENGINE_FAULT="engine_failed")
    assert isinstance(until(mirroring, lambda happened: isinstance(happened, Restart))[-1], Restart)


def test_a_suspended_worker_is_silent_and_comes_back_by_itself(start: MakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    crew, mirroring = start()
    until(mirroring, lambda happened: isinstance(happened, MirrorStatus) and happened.ready)
    process = crew.workers[0].process
    assert process is not None
    monkeypatch.setattr(process, "_quiet_seconds", 0.2)
    os.kill(process.pid or 0, signal.SIGSTOP)
    try:
        until(mirroring, lambda happened: isinstance(happened, MirrorStatus) and "silent" in happened.workers[0].state)
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
    until(mirroring, lambda happened: isinstance(happened, MirrorStatus) and happened.workers[0].state == "running")


def test_a_worker_that_stays_silent_is_replaced(start: MakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    crew, mirroring = start("hangs")
    process = crew.workers[0].process
    assert process is not None
    monkeypatch.setattr(process, "_quiet_seconds", 0.1)
    monkeypatch.setattr(crews, "KILL_SILENT_SECONDS", 0.3)
    last = until(mirroring, lambda happened: isinstance(happened, Restart))[-1]
    assert isinstance(last, Restart)
    assert last.because.id == "CUT-ENG-003"


def test_workers_that_somebody_else_stopped_are_not_started_again(start: MakeCrew) -> None:
    _, mirroring = start(workers=2)
    until(mirroring, lambda happened: isinstance(happened, Ready))
    with present.workers(RUN) as found:
        for each in found:
            each.request("stop", reason="another driver")
    until(mirroring, lambda happened: isinstance(happened, Abandoned))


def test_a_limit_set_from_outside_holds_for_those_that_are_started_again(start: MakeCrew, told: Path) -> None:
    crew, mirroring = start(workers=2)
    until(mirroring, lambda happened: isinstance(happened, MirrorStatus) and happened.ready)
    assert len(present.limit(RUN, Rate(records_per_second=8))) == 2
    process = crew.workers[0].process
    assert process is not None
    os.kill(process.pid or 0, signal.SIGKILL)
    until(mirroring, lambda _: len(configurations(told)) == 3)
    assert configurations(told)[-1]["rate"] == {"records_per_second": 4.0, "bytes_per_second": 0.0}


def test_the_workers_of_a_run_are_found_by_its_name(start: MakeCrew) -> None:
    crew, _ = start(workers=2)
    assert sorted(present.progress(RUN)) == sorted(each.name for each in crew.workers)
    assert all(isinstance(each, Progress) for _, each in present.progress(RUN).values())
    with pytest.raises(errors.NoWorkers, match="another"), present.workers("another"):
        pass


def test_stopping_leaves_no_process_and_no_socket(start: MakeCrew) -> None:
    crew, _ = start(workers=2)
    processes = [each.process for each in crew.workers]
    crew.stop("enough")
    assert all(each is not None and each.ended for each in processes)
    with pytest.raises(errors.NoWorkers), present.workers(RUN):
        pass


def heard(crew: Crew, true: Callable[[], object], seconds: float = 60) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + seconds
    while not true():
        list(crew.poll())
        assert time.monotonic() < deadline, [each.status() for each in crew.workers]
        time.sleep(0.005)


def pids(crew: Crew) -> set[int | None]:
    return {each.process.pid for each in crew.workers if each.process is not None}


def test_workers_that_a_dead_driver_left_are_adopted_and_the_missing_are_started(start: MakeCrew, told: Path) -> None:
    dead, _ = start(workers=2, prefix="e0")
    heard(dead, lambda: len(dead.held_partitions()) == 1)
    lost, left = dead.workers
    assert lost.process is not None
    assert left.process is not None
    lost.process.kill()
    dead.detach()
    crew, _ = start(workers=3, prefix="e0")
    assert left.process.pid in pids(crew)
    assert (len(pids(crew)), len({each.name for each in crew.workers})) == (3, 3)
    assert len(configurations(told)) == 4


def test_an_adopted_worker_goes_on_and_has_the_walls_that_hold_now(start: MakeCrew) -> None:
    dead, _ = start(prefix="e0")
    dead.drain_to({0: 40})
    assert dead.wait_drained(20) == {0: 40}
    dead.pause()
    dead.detach()
    crew, _ = start(prefix="e0")
    heard(crew, lambda: crew.positions == {0: 100})
    assert crew.lag_records == 0


def test_workers_of_another_epoch_are_stopped_and_not_adopted(start: MakeCrew) -> None:
    dead, _ = start(prefix="e10")
    heard(dead, lambda: dead.positions)
    process = dead.workers[0].process
    assert process is not None
    dead.detach()
    crew, _ = start(prefix="e1")
    assert process.pid not in pids(crew)
    with present.workers(RUN) as found:
        assert [each.name for each in found] == [crew.workers[0].name]


def test_too_many_workers_are_stopped(start: MakeCrew) -> None:
    dead, _ = start(workers=2, prefix="e0")
    heard(dead, lambda: all(each.progress for each in dead.workers))
    dead.detach()
    crew, _ = start(workers=1, prefix="e0")
    with present.workers(RUN) as found:
        assert [each.name for each in found] == [crew.workers[0].name]


def test_a_wall_is_reached_and_said_and_nothing_goes_on_until_it_is_taken_away(start: MakeCrew) -> None:
    crew, _ = start(workers=2)
    crew.drain_to({0: 60})
    assert crew.wait_drained(20) == {0: 60}
    crew.drain_to(None)
    heard(crew, lambda: crew.positions == {0: 100})


def test_a_wall_that_is_not_reached_in_time_gives_what_is_known(start: MakeCrew) -> None:
    crew, _ = start()
    crew.pause()
    crew.drain_to({0: 60})
    assert crew.wait_drained(0.2) == {}


def test_a_worker_started_in_the_place_of_a_dead_one_has_its_walls(start: MakeCrew, told: Path) -> None:
    crew, _ = start()
    crew.drain_to({0: 60})
    process = crew.workers[0].process
    assert process is not None
    os.kill(process.pid or 0, signal.SIGKILL)
    heard(crew, lambda: len(configurations(told)) == 2)
    assert configurations(told)[-1]["walls"] == {"0": 60}
    assert crew.wait_drained(20) == {0: 60}


def test_a_wall_holds_for_partitions_of_other_hosts_once_it_is_committed_there(start: MakeCrew) -> None:
    crew, _ = start()
    committed = {0: 60, 1: 6}
    crew.ask_committed = lambda: dict(committed)
    crew.drain_to({0: 60, 1: 7})
    assert crew.wait_drained(1) == {0: 60}
    committed[1] = 7
    assert crew.wait_drained(20) == {0: 60, 1: 7}


def test_all_lanes_of_the_epoch_are_named_whoever_holds_them(start: MakeCrew) -> None:
    crew, _ = start()
    assert crew.lane_ids == (f"cutover.{RUN}.0.0",)
    assert Crew(crew.configuration.model_copy(update={"epoch": 1, "lanes": 2}), 1).lane_ids == (f"cutover.{RUN}.1.0", f"cutover.{RUN}.1.1")


def test_the_lag_is_not_known_before_every_partition_is_accounted_for(start: MakeCrew) -> None:
    crew, _ = start()
    assert (crew.lag_records, crew.lag_seconds) == (None, None)
    heard(crew, lambda: crew.lag_records == 0)
    assert crew.lag_seconds == 0


def test_a_stopped_worker_does_not_keep_the_others_from_hearing(start: MakeCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    crew, _ = start(workers=2)
    monkeypatch.setattr(crews, "TELL_SECONDS", 0.1)
    process = crew.workers[0].process
    assert process is not None
    os.kill(process.pid or 0, signal.SIGSTOP)
    try:
        crew.drain_to({0: 60})
        assert crew.wait_drained(20) == {0: 60}
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
