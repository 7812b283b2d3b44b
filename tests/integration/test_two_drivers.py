"""Two drivers on one run: one wins; one that slept through the end of its lease changes nothing when it wakes up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cutover.journal import Journal
from tests.conftest import WaitUntil
from tests.cutting import DRIVER_LEASE_SECONDS, Cutting
from tests.judge import compare_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
RECORDS = 500


class Drivers:
    """`cutover run` processes on one plan; leases are short."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.cutting = Cutting.of(bootstrap, folder, soak={"for": "4s"}, mirror={"grace": "5s"})
        self.cutting.write(RECORDS)
        self._plan = folder / "plan.yaml"
        self._plan.write_text(yaml.safe_dump(self.cutting.document()))
        self.started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.crash.driver_main", "run", str(self._plan), "--output", "ndjson", "--no-wait"]
        environment = {**os.environ, "KILL_AT": "never", "CUTOVER_JOURNAL": self.cutting.journal}
        pipe = subprocess.PIPE
        self.started.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
        return self.started[-1]

    def entries(self) -> int:
        with Journal.open(self.cutting.journal) as journal:
            return len(journal.entries(self.cutting.plan.cutover)) if journal.runs() else 0

    def holders(self) -> set[str]:
        with Journal.open(self.cutting.journal) as journal:
            return {each.holder for each in journal.entries(self.cutting.plan.cutover)}

    def stands_in(self, stage: str) -> bool:
        with Journal.open(self.cutting.journal) as journal:
            entries = journal.entries(self.cutting.plan.cutover) if journal.runs() else ()
        return any(each.kind == "state" and each.body["stage"] == stage for each in entries)


@pytest.fixture
def drivers(bootstrap: str, tmp_path: Path) -> Iterator[Drivers]:
    made = Drivers(bootstrap, tmp_path)
    yield made
    for each in made.started:
        each.kill()
        each.communicate()


def test_of_two_drivers_that_start_together_one_wins_and_the_other_says_who(drivers: Drivers, bootstrap: str) -> None:
    both = [drivers.start(), drivers.start()]
    told = [each.communicate(timeout=90) for each in both]
    codes = sorted(each.returncode for each in both)
    assert codes == [0, 8], told
    loser = next(err for each, (_, err) in zip(both, told, strict=True) if each.returncode == 8)
    assert "CUT-LEA-001" in loser
    assert f"{os.uname().nodename}:" in loser
    assert compare_topics(bootstrap, drivers.cutting.source, drivers.cutting.target, RECORDS) == []


@pytest.mark.slow
def test_a_driver_that_slept_through_the_end_of_its_lease_changes_nothing_when_it_wakes_up(
    drivers: Drivers, bootstrap: str, wait_until: WaitUntil
) -> None:
    sleeper = drivers.start()
    wait_until(lambda: drivers.stands_in("soaking"), 60, "the first driver soaking")
    os.kill(sleeper.pid, signal.SIGSTOP)
    asleep = time.monotonic()
    try:
        wait_until(lambda: time.monotonic() - asleep > DRIVER_LEASE_SECONDS + 1, 20, "the end of its lease")
        successor = drivers.start()
        out, err = successor.communicate(timeout=90)
        assert successor.returncode == 0, out + err
        before = drivers.entries()
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    out, err = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 8, out + err
    assert drivers.entries() == before
    with Journal.open(drivers.cutting.journal) as journal:
        journal.verify(drivers.cutting.plan.cutover)
    assert compare_topics(bootstrap, drivers.cutting.source, drivers.cutting.target, RECORDS) == []
