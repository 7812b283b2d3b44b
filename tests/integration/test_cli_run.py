"""The commands of a run as an operator types them: a driver in one process, everybody else asking and watching from others."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cutover.journal import Journal
from cutover.rehearsal.traffic import Traffic, TrafficProcess
from tests.conftest import WaitUntil
from tests.cutting import Cutting
from tests.judge import compare_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
RECORDS = 400
SECONDS = 90


class Terminal:
    """Commands on one plan and one journal."""

    def __init__(self, cutting: Cutting) -> None:
        self.cutting = cutting
        self.plan = cutting.folder / "plan.yaml"
        self.plan.write_text(yaml.safe_dump(cutting.document()))
        self.run = cutting.plan.cutover
        self.drivers: list[subprocess.Popen[str]] = []
        self._environment = {**os.environ, "CUTOVER_JOURNAL": cutting.journal, "NO_COLOR": "1"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        command = [sys.executable, "-m", "cutover", *words]
        pipe = subprocess.PIPE
        self.drivers.append(subprocess.Popen(command, env=self._environment, stdout=pipe, stderr=pipe, text=True))
        return self.drivers[-1]

    def __call__(self, *words: str, code: int = 0) -> str:
        """A command to its end; what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "cutover", *words], env=self._environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self("status", self.run, "--output", "json"))
        return told

    def sees(self, seen: Callable[[dict[str, Any]], bool]) -> bool:
        """Whether what the driver has published last is so."""
        with Journal.open(self.cutting.journal) as journal:
            told = journal.board(self.run)
        return told is not None and seen(dict(told.body))


@pytest.fixture
def terminal_on(bootstrap: str, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def on(**wanted: Any) -> Terminal:  # noqa: ANN401
        cutting = Cutting.of(bootstrap, tmp_path, **{"mirror": {"grace": "5s"}, **wanted})
        cutting.write(RECORDS)
        made.append(Terminal(cutting))
        return made[-1]

    yield on
    for terminal in made:
        for each in terminal.drivers:
            each.kill()
            each.communicate()


def test_a_run_is_watched_paused_resumed_limited_and_rolled_back_from_other_terminals(
    terminal_on: Callable[..., Terminal], wait_until: WaitUntil
) -> None:
    terminal = terminal_on(soak={"for": "10m"})
    driver = terminal.start("run", str(terminal.plan))
    wait_until(lambda: terminal.sees(lambda told: told["stage"] == "soaking"), 60, "soaking")
    told = terminal.status()
    assert (told["schema_version"], told["pair"]["mode"], told["stale"]) == (1, "TARGET", False)
    assert told["driver"]["holder"].split(":")[1] == str(driver.pid)
    assert "soaking" in told["can_go_back_to"] or "switching_writes" in told["can_go_back_to"]
    assert "soaking: state advance" in terminal("watch", terminal.run, "--for", "1") or "state advance" in terminal(
        "watch", terminal.run, "--for", "0"
    )
    assert "paused: lunch" in terminal("pause", terminal.run, "--reason", "lunch")
    wait_until(lambda: terminal.sees(lambda now: now["paused"] == "lunch"), 20, "the pause is seen")
    assert "resumed" in terminal("resume", terminal.run)
    assert "5,000 records/s" in terminal("rate", terminal.run, "5000/s")
    assert "0.5 s" in terminal("prime", terminal.run, "0.5")
    said = terminal("rollback", str(terminal.plan), "--reason", "the test goes back", "--yes", code=6)
    assert "lost: nothing" in said
    assert "is asked to roll back" in said
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == 6, err
    assert "rolled back to planned" in err


def test_an_interrupted_run_stops_at_a_safe_point_says_what_is_so_and_goes_on(
    terminal_on: Callable[..., Terminal], wait_until: WaitUntil, bootstrap: str
) -> None:
    terminal = terminal_on(soak={"for": "10m"})
    driver = terminal.start("run", str(terminal.plan))
    wait_until(lambda: terminal.sees(lambda told: told["stage"] == "soaking"), 60, "soaking")
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert "stopped in soaking, at a safe point" in err
    assert f"producers write {terminal.cutting.target}" in err
    assert "cutover run PLAN goes on" in err
    assert "price" not in terminal("rollback", str(terminal.plan), "--reason", "look", "--dry-run")
    terminal("rollback", str(terminal.plan), "--to", "synchronized", "--reason", "half way", "--yes", code=6)
    assert "synchronized is done" in terminal("run", str(terminal.plan), "--until", "synchronized")
    assert compare_topics(bootstrap, terminal.cutting.source, terminal.cutting.target, RECORDS) == []


def test_a_missing_approval_ends_with_3_and_an_approval_of_this_very_plan_lets_it_pass(terminal_on: Callable[..., Terminal]) -> None:
    terminal = terminal_on(approvals={"gates": {"run": 2}})
    assert "CUT-APR-001" in terminal("run", str(terminal.plan), "--until", "provisioned", code=3)
    for name in ("first", "first", "second"):
        terminal("approve", str(terminal.plan), "--gate", "run", "--name", name, "--reason", "seen in staging")
        if name != "second":
            terminal("run", str(terminal.plan), "--until", "provisioned", code=3)
    assert "run: 2 of 2 by first, second" in terminal("approvals", str(terminal.plan))
    assert "provisioned is done" in terminal("run", str(terminal.plan), "--until", "provisioned")


def test_a_red_preflight_ends_with_4_and_nothing_was_touched(terminal_on: Callable[..., Terminal], bootstrap: str) -> None:
    terminal = terminal_on(partitioner="crc32")
    said = terminal("run", str(terminal.plan), code=4)
    assert "CUT-PRE-004" in said
    assert "Traffic is as it was" in said
    with terminal_cluster(bootstrap) as cluster:
        assert terminal.cutting.target not in cluster.topic_names()


def terminal_cluster(bootstrap: str) -> Any:  # noqa: ANN401
    from cutover import wiring
    from cutover.connection import Connection

    return wiring.cluster(Connection.of({"bootstrap.servers": bootstrap}))


def test_a_flip_that_cannot_be_made_pauses_the_run_and_with_no_wait_ends_with_7(
    terminal_on: Callable[..., Terminal], wait_until: WaitUntil
) -> None:
    terminal = terminal_on(
        producers=[{"name": "teller", "owner": "team-test", "switch": "sdk"}], budgets={"hold": "2s", "flip_attempts": 1}
    )
    name = f"{terminal.cutting.source}-teller-1"
    traffic = TrafficProcess(
        Traffic(terminal.cutting.bootstrap, terminal.cutting.source, name, 100, library="sdk", folder=str(terminal.cutting.folder))
    )
    try:
        terminal("run", str(terminal.plan), "--until", "moving_groups")
        os.kill(traffic.pid, signal.SIGSTOP)
        assert "CUT-FLP-002" in terminal("run", str(terminal.plan), "--no-wait", "--until", "switching_writes", code=7)
        driver = terminal.start("run", str(terminal.plan), "--until", "switching_writes")
        wait_until(lambda: terminal.sees(lambda told: "CUT-FLP-002" in told["paused"]), 60, "the pause")
        os.kill(traffic.pid, signal.SIGCONT)
        assert "resumed" in terminal("resume", terminal.run)
        _, err = driver.communicate(timeout=60)
        assert driver.returncode == 0, err
    finally:
        os.kill(traffic.pid, signal.SIGCONT)
        traffic.kill()


@pytest.mark.slow
def test_an_aborted_run_leaves_both_topics_and_cannot_go_on(terminal_on: Callable[..., Terminal], wait_until: WaitUntil) -> None:
    terminal = terminal_on(soak={"for": "10m"})
    driver = terminal.start("run", str(terminal.plan))
    wait_until(lambda: terminal.sees(lambda told: told["stage"] == "soaking"), 60, "soaking")
    said = terminal("abort", terminal.run, "--reason", "the test ends", "--yes")
    assert terminal.cutting.source in said
    assert "offsets in all" in said
    driver.communicate(timeout=30)
    assert driver.returncode == 7
    assert "CUT-JRN-003" in terminal("run", str(terminal.plan), code=1)


def test_what_the_control_log_says_is_shown(terminal_on: Callable[..., Terminal]) -> None:
    terminal = terminal_on()
    terminal("run", str(terminal.plan), "--until", "provisioned")
    told = json.loads(terminal("control", "show", "--bootstrap", terminal.cutting.bootstrap, "--output", "json"))
    assert any(not pair["closed"] and pair["mode"] == "SOURCE" for pair in told["pairs"].values())
