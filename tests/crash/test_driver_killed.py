"""The driver dies with SIGKILL at chosen moments while producers write; the next one ends in the same state as if it had lived."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cutover.journal import Journal
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from tests.cutting import Cutting
from tests.judge import compare_topics, read_settled

pytestmark = pytest.mark.kafka
SECONDS = 300

FORWARD = [
    pytest.param("after intent:pin_source", marks=pytest.mark.slow),
    pytest.param("before outcome:create_target", marks=pytest.mark.slow),
    pytest.param("after outcome:create_target", marks=pytest.mark.slow),
    pytest.param("after said:PAIR", marks=pytest.mark.slow),
    pytest.param("after note:mirror", marks=pytest.mark.slow),
    pytest.param("after intent:flip", marks=pytest.mark.slow),
    pytest.param("after said:HOLD", marks=pytest.mark.slow),
    pytest.param("before said:TARGET", marks=pytest.mark.slow),
    "after said:TARGET",
    pytest.param("before outcome:flip", marks=pytest.mark.slow),
    pytest.param("before outcome:end_mirror", marks=pytest.mark.slow),
    pytest.param("before outcome:release_target", marks=pytest.mark.slow),
    pytest.param("after said:CLOSE", marks=pytest.mark.slow),
]
BACK = [
    pytest.param("after said:HOLD", marks=pytest.mark.slow),
    "after said:SOURCE",
    pytest.param("before outcome:end_mirror", marks=pytest.mark.slow),
    pytest.param("before outcome:delete_target", marks=pytest.mark.slow),
    pytest.param("before outcome:restore_source", marks=pytest.mark.slow),
]


DUAL_FORWARD = ["before said:DUAL", "after said:DUAL", "before outcome:flip", "before said:TARGET", "after said:TARGET"]
DUAL_BACK = ["before said:DUAL", "after said:DUAL", "after said:SOURCE", "before outcome:end_mirror"]


class Command:
    """`cutover` on one plan, as processes of its own."""

    def __init__(self, cutting: Cutting, plan: Path) -> None:
        self._cutting, self._plan = cutting, plan

    def __call__(self, verb: str, *words: str, kill_at: str = "never") -> int:
        command = [sys.executable, "-m", "tests.crash.driver_main", verb, str(self._plan), *words, "--output", "ndjson"]
        environment = {**os.environ, "KILL_AT": kill_at, "CUTOVER_JOURNAL": self._cutting.journal}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
        self.said = done.stdout[-3000:] + done.stderr[-3000:]
        return done.returncode


class Live:
    """A source that is written all the time, and the command that moves it."""

    def __init__(self, bootstrap: str, folder: Path, strategy: str = "mirror") -> None:
        producers = [{"name": "teller", "owner": "team-test", "switch": "sdk"}]
        self.cutting = Cutting.of(bootstrap, folder, producers=producers, mirror={"grace": "10s"}, strategy=strategy)
        self.cutting.write(500)
        self.producer = TrafficProcess(
            Traffic(bootstrap, self.cutting.source, f"{self.cutting.source}-teller-1", 300, library="sdk", folder=str(folder))
        )
        plan = folder / "plan.yaml"
        plan.write_text(yaml.safe_dump(self.cutting.document()))
        self.command = Command(self.cutting, plan)

    def stopped(self) -> int:
        """Stop the producer; everything that was written, ours and its own."""
        sent = self.producer.stop()
        assert sent.failed == 0
        return 500 + sent.acknowledged

    def journal_holds(self) -> None:
        with Journal.open(self.cutting.journal) as journal:
            journal.verify(self.cutting.plan.cutover)


@pytest.fixture
def traffic(bootstrap: str, tmp_path: Path) -> Iterator[Live]:
    live = Live(bootstrap, tmp_path)
    yield live
    live.producer.kill()


@pytest.fixture
def dual(bootstrap: str, tmp_path: Path) -> Iterator[Live]:
    live = Live(bootstrap, tmp_path, "dual_write")
    yield live
    live.producer.kill()


LATE = ("end_mirror", "release_target", "CLOSE")


@pytest.mark.parametrize("moment", FORWARD)
def test_a_driver_that_is_killed_going_forward_is_followed_by_one_that_finishes(moment: str, traffic: Live, bootstrap: str) -> None:
    killed_going_forward(moment, traffic, bootstrap)


@pytest.mark.slow
@pytest.mark.parametrize("moment", DUAL_FORWARD)
def test_a_driver_that_is_killed_while_both_topics_are_written_is_followed_by_one_that_finishes(
    moment: str, dual: Live, bootstrap: str
) -> None:
    killed_going_forward(moment, dual, bootstrap)


def killed_going_forward(moment: str, traffic: Live, bootstrap: str) -> None:
    command, late = traffic.command, moment.endswith(LATE)
    if late:
        assert command("run", "--until", "soaking") == 0, command.said
        written = traffic.stopped()
    assert command("run", kill_at=moment) == -signal.SIGKILL, command.said
    if not late:
        assert command("run", "--until", "soaking") == 0, command.said
        written = traffic.stopped()
    assert command("run") == 0, command.said
    assert compare_topics(bootstrap, traffic.cutting.source, traffic.cutting.target, written) == []
    traffic.journal_holds()


@pytest.mark.parametrize("moment", BACK)
def test_a_driver_that_is_killed_going_back_is_followed_by_one_that_finishes(moment: str, traffic: Live, bootstrap: str) -> None:
    killed_going_back(moment, traffic, bootstrap)


@pytest.mark.slow
@pytest.mark.parametrize("moment", DUAL_BACK)
def test_a_driver_that_is_killed_going_back_through_dual_is_followed_by_one_that_finishes(moment: str, dual: Live, bootstrap: str) -> None:
    killed_going_back(moment, dual, bootstrap)


def killed_going_back(moment: str, traffic: Live, bootstrap: str) -> None:
    command = traffic.command
    back = ("rollback", "--reason", "the test goes back", "--yes")
    assert command("run", "--until", "soaking") == 0, command.said
    assert command(*back, kill_at=moment) == -signal.SIGKILL, command.said
    assert command("run") == 6, command.said
    written = traffic.stopped()
    assert len(read_settled(bootstrap, traffic.cutting.source)) == written
    traffic.journal_holds()
