"""The same over two pairs that are switched together: whenever the driver dies, both end on one side, with everything that was written."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cutover.journal import Journal
from cutover.rehearsal import judge
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from tests.crash.test_driver_killed import Command
from tests.cutting import CuttingTogether
from tests.judge import compare_topics, read_settled

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]
HISTORY = 300
FORWARD = ["after said:PAIR", "after said:HOLD", "before said:TARGET", "after said:TARGET", "before outcome:flip", "after said:CLOSE"]
BACK = ["after said:HOLD", "after said:SOURCE", "before outcome:end_mirror", "before outcome:delete_target"]


class Both:
    """Two sources that one producer writes all the time, in transactions, and the command that moves them."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        producers = [{"name": "teller", "owner": "team-test", "switch": "sdk"}]
        self.cutting = CuttingTogether.of_pairs(bootstrap, folder, producers=producers, mirror={"grace": "10s"})
        self.folders = [folder / source for source, _, _ in self.cutting.pairs]
        for each, (source, _, _) in zip(self.folders, self.cutting.pairs, strict=True):
            each.mkdir()
            self.cutting.write(HISTORY, topic=source)
        (topic, first), *others = ((source, str(each)) for each, (source, _, _) in zip(self.folders, self.cutting.pairs, strict=True))
        told = Traffic(bootstrap, topic, f"{topic}-teller-1", 300, library="sdk", folder=first, others=tuple(others), per_transaction=10)
        self.producer = TrafficProcess(told)
        plan = folder / "plan.yaml"
        plan.write_text(yaml.safe_dump(self.cutting.document()))
        self.command = Command(self.cutting, plan)

    def stopped(self) -> list[int]:
        """Stop the producer; how many records each source was given in all."""
        assert self.producer.stop().failed == 0
        return [HISTORY + sum(judge.read_acknowledged(each)[0].values()) for each in self.folders]  # accounts count their own, from 1

    def journal_holds(self) -> None:
        with Journal.open(self.cutting.journal) as journal:
            journal.verify(self.cutting.plan.cutover)


@pytest.fixture
def traffic(bootstrap: str, tmp_path: Path) -> Iterator[Both]:
    live = Both(bootstrap, tmp_path)
    yield live
    live.producer.kill()


@pytest.mark.parametrize("moment", FORWARD)
def test_a_driver_that_is_killed_going_forward_is_followed_by_one_that_finishes(moment: str, traffic: Both, bootstrap: str) -> None:
    command, late = traffic.command, moment.endswith("CLOSE")
    if late:
        assert command("run", "--until", "soaking") == 0, command.said
        written = traffic.stopped()
    assert command("run", kill_at=moment) == -signal.SIGKILL, command.said
    if not late:
        assert command("run", "--until", "soaking") == 0, command.said
        written = traffic.stopped()
    assert command("run") == 0, command.said
    for count, (source, target, _) in zip(written, traffic.cutting.pairs, strict=True):
        assert compare_topics(bootstrap, source, target, count) == []
    traffic.journal_holds()


@pytest.mark.parametrize("moment", BACK)
def test_a_driver_that_is_killed_going_back_is_followed_by_one_that_finishes(moment: str, traffic: Both, bootstrap: str) -> None:
    command, back = traffic.command, ("--reason", "a test", "--yes")
    assert command("run", "--until", "soaking") == 0, command.said
    assert command("rollback", *back, kill_at=moment) == -signal.SIGKILL, command.said
    assert command("run") == 6, command.said
    for count, (source, _, _) in zip(traffic.stopped(), traffic.cutting.pairs, strict=True):
        assert len(read_settled(bootstrap, source)) == count
    traffic.journal_holds()
