"""An engine process that is missing, dead, hung, babbling, slow or adopted is an error of ours with a name, or works."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cutover import errors
from cutover.engine import binary, runtime
from cutover.engine.events import Progress, Ready
from cutover.engine.faults import FAULTS
from cutover.engine.process import EngineProcess

FAKE = Path(__file__).parents[1] / "fake_engine.py"


@pytest.fixture(autouse=True)
def private_runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path_factory.mktemp("r", numbered=True)
    directory.chmod(0o700)
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(directory))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "cutover-engine"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    path.chmod(0o755)
    return path


Start = Callable[..., EngineProcess]


@pytest.fixture
def start(engine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts fake engines that behave as told, and ends what is left of them."""
    started: list[EngineProcess] = []

    def start_one(behaviour: str = "works", *, grace_seconds: float = 30, quiet_seconds: float | None = 10, **env: str) -> EngineProcess:
        monkeypatch.setenv("FAKE_ENGINE", behaviour)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        process = EngineProcess.start("mirror", {"run": "r", "grace_seconds": grace_seconds}, engine=engine, quiet_seconds=quiet_seconds)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


@pytest.fixture
def adopt() -> Iterator[Callable[[Path], EngineProcess]]:
    adopted: list[EngineProcess] = []

    def adopt_one(socket: Path) -> EngineProcess:
        adopted.append(EngineProcess.adopt(socket))
        return adopted[-1]

    yield adopt_one
    for process in adopted:
        process.detach()


Adopt = Callable[[Path], EngineProcess]


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_says_that_it_is_ready_and_reports_progress(start: Start) -> None:
    process = start()
    assert process.wait_for(Ready, 5).role == "mirror"
    progress = process.wait_for(Progress, 5)
    assert progress.ends == {0: 100}
    assert progress.lanes[0].partitions == (0,)


def test_a_command_is_answered(start: Start) -> None:
    assert start().request("rate", records_per_second=50) == {"records_per_second": 50}


def test_a_command_that_the_engine_does_not_know_is_an_error_of_ours(start: Start) -> None:
    with pytest.raises(errors.EngineRefusedInput, match="no command jump") as caught:
        start().request("jump")
    assert caught.value.fields["command"] == "jump"


def test_a_stopped_process_says_where_it_stopped_and_leaves_nothing_behind(start: Start) -> None:
    process = start()
    process.wait_for(Progress, 5)
    stopped = process.stop("the test is over")
    assert stopped is not None
    assert stopped.reason == "the test is over"
    assert not is_alive(process.pid or 0)
    assert not list(runtime.sockets("r"))
    assert not process.socket.with_suffix(".log").exists()


def test_events_end_after_a_stop_that_somebody_else_asked_for(start: Start, adopt: Adopt) -> None:
    process = start()
    adopt(process.socket).request("stop", reason="another driver")
    assert [event.event for event in process.events(5)][-1] == "stopped"


def test_leaving_the_context_stops_the_process(start: Start) -> None:
    with start() as process:
        pid = process.pid
    assert pid is not None
    assert not is_alive(pid)


def test_a_deaf_process_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.engine.process._TERM_SECONDS", 0.2)
    process = start("deaf")
    process.wait_for(Progress, 5)
    assert process.stop("now", seconds=0.1) is None
    assert process.pid is not None
    assert not is_alive(process.pid)


def test_a_dead_process_is_named_with_its_exit_code_and_last_words(start: Start) -> None:
    process = start("dies")
    with pytest.raises(errors.EngineDied, match="exit code 3") as caught:
        list(process.events(10))
    assert "panic: index out of range" in caught.value.why
    assert caught.value.fields["pid"] == process.pid


def test_a_killed_process_is_named_with_its_signal(start: Start) -> None:
    process = start()
    process.wait_for(Progress, 5)
    os.kill(process.pid or 0, signal.SIGKILL)
    with pytest.raises(errors.EngineDied, match="SIGKILL"):
        list(process.events(10))


def test_a_command_to_a_dead_process_says_how_it_died(start: Start) -> None:
    process = start("dies")
    wait_until(lambda: not is_alive(process.pid or 0) or process._channel.closed)
    with pytest.raises(errors.EngineDied, match="exit code 3"):
        process.request("rate")


def test_a_process_that_is_ready_and_then_silent_is_hung(start: Start) -> None:
    process = start("hangs", quiet_seconds=0.3)
    with pytest.raises(errors.EngineHung, match="has said nothing for"):
        list(process.events(10))


def test_a_suspended_process_is_hung_and_well_again_when_continued(start: Start) -> None:
    process = start(quiet_seconds=0.3)
    process.wait_for(Progress, 5)
    os.kill(process.pid or 0, signal.SIGSTOP)
    try:
        with pytest.raises(errors.EngineHung):
            list(process.events(10))
    finally:
        os.kill(process.pid or 0, signal.SIGCONT)
    assert process.wait_for(Progress, 5).records > 0


def test_a_quiet_process_is_not_hung_where_quiet_is_allowed(start: Start) -> None:
    process = start("hangs", quiet_seconds=None)
    assert [event.event for event in process.events(0.6)] == ["ready"]


def test_a_process_that_does_not_answer_a_command_is_hung(start: Start) -> None:
    with pytest.raises(errors.EngineHung, match=r"did not answer rate within 0\.2 s"):
        start("deaf").request("rate", seconds=0.2)


def test_a_process_that_is_not_ready_in_time_is_hung(start: Start) -> None:
    with pytest.raises(errors.EngineHung, match=r"no ready event within 0\.3 s"):
        start("never_ready").wait_for(Ready, 0.3)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("babbles", "not json"), ("invents", "surprise"), ("floods", "more than 4194304 bytes")],
    ids=lambda each: str(each),
)
def test_what_is_not_an_event_is_babble_and_ends_the_process(start: Start, behaviour: str, words: str) -> None:
    process = start(behaviour)
    with pytest.raises(errors.EngineBabbling, match=words):
        list(process.events(20))
    assert not is_alive(process.pid or 0)


def test_a_first_line_that_is_not_the_listening_event_is_babble(start: Start) -> None:
    with pytest.raises(errors.EngineBabbling, match="instead of its listening event"):
        start("greets_wrongly")


def test_a_slow_start_is_waited_for(start: Start) -> None:
    assert start("slow").wait_for(Ready, 5)


def test_a_process_that_never_listens_is_hung_and_does_not_stay(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_ENGINE", "never_listens")
    with pytest.raises(errors.EngineHung, match=r"does not listen after 0\.2 s") as caught:
        EngineProcess.start("mirror", {"run": "r"}, engine=engine, listen_seconds=0.2)
    assert not is_alive(caught.value.fields["pid"])


def test_a_refused_configuration_is_the_fault_on_stderr(start: Start) -> None:
    with pytest.raises(errors.EngineRefusedInput, match="no socket"):
        start("refuses")


@pytest.mark.parametrize("behaviour", ["fails", "fails_on_stderr"])
@pytest.mark.parametrize("name", [*FAULTS, "a_fault_of_tomorrow"])
def test_each_fault_is_an_error_of_ours_wherever_it_is_read(start: Start, behaviour: str, name: str) -> None:
    process = start(behaviour, FAKE_ENGINE_FAULT=name)
    kind, why = FAULTS.get(name, FAULTS["engine_failed"])
    with pytest.raises(kind, match="as the test wants") as caught:
        list(process.events(10))
    assert type(caught.value) is kind
    assert caught.value.fields["fault"] == name
    assert (caught.value.why, bool(caught.value.next), bool(caught.value.traffic_now)) == (why, True, True)


def test_a_detached_process_goes_on_and_is_adopted(start: Start, adopt: Adopt) -> None:
    first = start()
    first.wait_for(Progress, 5)
    first.detach()
    assert first.pid is not None
    second = adopt(first.socket)
    assert second.pid == first.pid
    assert second.wait_for(Progress, 5).records > 0
    assert second.stop("the adopter is done") is not None
    wait_until(lambda: not is_alive(first.pid or 0))


def test_a_detached_process_ends_itself_after_its_grace_time(start: Start) -> None:
    process = start(grace_seconds=0.3)
    process.wait_for(Progress, 5)
    process.detach()
    assert is_alive(process.pid or 0)
    wait_until(lambda: not is_alive(process.pid or 0))


def test_nobody_at_the_socket_is_said_and_the_leftover_removed(tmp_path: Path) -> None:
    socket = tmp_path / "gone.sock"
    socket.touch()
    with pytest.raises(errors.EngineDied, match="no engine process listens"):
        EngineProcess.adopt(socket)
    assert not socket.exists()


def test_an_adopted_process_that_dies_is_named(start: Start, adopt: Adopt) -> None:
    process = start()
    other = adopt(process.socket)
    process.kill()
    with pytest.raises(errors.EngineDied, match="closed its connection"):
        list(other.events(10))


def test_a_missing_engine_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_ENGINE", "/nonexistent/cutover-engine")
    with pytest.raises(errors.EngineMissing, match="there is no engine at /nonexistent/cutover-engine") as caught:
        binary.find()
    assert caught.value.next == "Correct or unset CUTOVER_ENGINE."


def test_a_file_that_cannot_be_run_is_no_engine(tmp_path: Path) -> None:
    path = tmp_path / "cutover-engine"
    path.touch()
    with pytest.raises(errors.EngineMissing, match="not executable"):
        binary.find({"CUTOVER_ENGINE": str(path)})


def test_an_engine_of_another_version_is_refused(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert binary.check_version(engine) == "unknown"
    monkeypatch.setenv("FAKE_ENGINE_VERSION", "9.9.9")
    with pytest.raises(errors.EngineMissing, match=r"is of version 9\.9\.9"):
        binary.check_version(engine)


def test_a_runtime_directory_that_others_may_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(open_to_all))
    with pytest.raises(errors.RuntimeDirectoryUnusable, match="not a private directory"):
        runtime.directory("r")


def test_a_socket_path_beyond_the_limit_of_the_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(tmp_path / ("d" * 90)))
    with pytest.raises(errors.RuntimeDirectoryUnusable, match="too long"):
        runtime.socket_path("r", "mirror-1")
