"""Groups of every client library and switch kind, moved to T and back under traffic; each test ends in the judge's verdict."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cutover import opening, requests
from cutover.drained import look
from cutover.lifecycle import Seen, Stage
from cutover.model import Isolation
from cutover.protocol import Role, Side
from cutover.rehearsal import judge
from cutover.rehearsal.consuming import Reading, ReadingProcess
from cutover.rehearsal.traffic import Sent, Traffic, TrafficProcess
from cutover.world import World
from tests.cutting import Cutting
from tests.primed import Library, Member, java, kafkajs

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
SLOW = pytest.mark.slow
SDK = {"name": "teller", "owner": "team-test", "switch": "sdk"}
PATIENCE_SECONDS = 300.0
Start = Callable[["Live", str], Any]


@dataclass
class Live:
    """A run whose source is written all the time, a group of real processes, and the people who act for it."""

    cutting: Cutting
    group: str
    start: Start
    ends: ExitStack
    members: list[Any] = field(default_factory=list)
    topic: str = ""
    partitioner: str = "murmur2_random"
    traffic: TrafficProcess = field(init=False)
    done: set[str] = field(default_factory=set)

    def begin(self, rate: float = 400) -> None:
        """Start the traffic and one member on the source."""
        name = f"{self.cutting.source}-teller-1"
        self.traffic = TrafficProcess(
            Traffic(
                self.cutting.bootstrap,
                self.cutting.source,
                name,
                rate,
                accounts=200,
                library="sdk",
                folder=str(self.cutting.folder),
                partitioner=self.partitioner,
            )
        )
        self.ends.callback(self.traffic.kill)
        self.become(self.cutting.source)

    def become(self, topic: str) -> None:
        """Stop every member, and start one on this topic; an empty one starts nobody."""
        for each in self.members:
            each.stop()
        self.members, self.topic = [], topic
        if topic:
            self.members.append(self.start(self, topic))
            self.ends.callback(self.members[-1].kill)

    def people(self, world: World, seen: Seen | None) -> None:
        """Do once what the run asks its owners for, and say so."""
        words = seen.waits_for if seen is not None else ""
        if self.group not in words or words in self.done:
            return
        if f"{self.group} stopped" in words:
            self.done.add(words)
            self.become("")
            requests.VERBS["confirm"](world, {"subject": self.group, "word": "stopped"}, "tester")
        elif f"{self.group} started" in words:
            self.done = {words}
            self.become(self._wanted(world))
            requests.VERBS["confirm"](world, {"subject": self.group, "word": "started"}, "tester")
        elif "to redeploy" in words and self.topic != self._wanted(world):
            self.become(self._wanted(world))

    def _wanted(self, world: World) -> str:
        back = world.history.standing.goal.back
        asked = world.fact(f"wanted:{self.group}")
        side = Side.SOURCE if back else Side(asked["side"]) if asked else Side.TARGET
        return str(world.topic(side).name)

    def go(self, opened: opening.Opened, to: Stage, *, back: bool = False) -> None:
        """Drive there, with people acting on the way."""
        patience = Acting(self, PATIENCE_SECONDS)
        (self.cutting.back if back else self.cutting.drive)(opened, to, patience=patience)

    def finish(self, opened: opening.Opened) -> Sent:
        """Stop the traffic and wait until the group has read everything."""
        sent = self.traffic.stop()
        assert sent.failed == 0
        deadline = time.monotonic() + 60
        while not self._has_read_all(opened):
            assert time.monotonic() < deadline, f"{self.group} does not reach the end of {self.topic}"
            opened.world.beat()
            time.sleep(0.05)
        for each in self.members:
            each.stop()
        return sent

    def _has_read_all(self, opened: opening.Opened) -> bool:
        cluster = opened.world.cluster
        where = cluster.describe_topics([self.topic])[self.topic].topic_partitions()
        ends = cluster.end_offsets(where, Isolation.READ_COMMITTED)
        return not look(cluster, opened.world.reader, self.group, ends).left

    def announced(self, opened: opening.Opened) -> int:
        entries = opened.tenure._journal.entries(self.cutting.plan.cutover)
        return sum(int(each.body["duplicates"] or 0) for each in entries if each.step == f"moved:{self.group}" and each.kind == "outcome")

    def verdict(self) -> judge.Verdict:
        acknowledged, failed = judge.read_acknowledged(self.cutting.folder)
        given = [*judge.read_given(self.cutting.folder).get(self.group, []), *foreign(self.cutting.folder)]
        return judge.judge(self.group, acknowledged, given, failed)


@dataclass
class Acting:
    """The patience of a test whose people act."""

    live: Live
    seconds: float
    began: float = field(default_factory=time.monotonic)
    last: str = ""

    def wait(self, seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return time.monotonic() - self.began > self.seconds

    def see(self, world: World, seen: Seen | None) -> None:
        self.last = f"{world.history.standing.stage}: {seen}"
        self.live.people(world, seen)


def foreign(folder: Path) -> Iterator[judge.Given]:
    """What members in other languages wrote down."""
    for log in folder.glob("*.log"):
        for line in log.read_text().splitlines():
            words = line.split(" ")
            if len(words) >= 8 and words[-1].isdigit():
                yield int(words[-1]) / 1000, int(words[4].rpartition("-")[2]), int(words[5]), int(words[6])


def python(protocol: str = "classic", library: str = "plain", session_ms: int = 6000) -> Start:
    def start(live: Live, topic: str) -> ReadingProcess:
        member = f"m{time.monotonic_ns()}"
        place = str(live.cutting.folder)
        return ReadingProcess(
            Reading(live.cutting.bootstrap, topic, live.group, member, place, library, 0, protocol, session_ms=session_ms)
        )

    return start


def other(library: Library) -> Start:
    from_the_beginning = replace(library, environment={**(library.environment or os.environ), "AUTO_OFFSET_RESET": "earliest"})

    def start(live: Live, topic: str) -> Member:
        return Member.start(from_the_beginning, live.cutting.bootstrap, live.group, topic, f"m{time.monotonic_ns()}", live.cutting.folder)

    return start


@pytest.fixture(scope="module")
def node_modules() -> Iterator[Path]:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "kafkajs@2.2.4"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"kafkajs cannot be installed: {done.stderr[-200:]}")
        yield Path(folder) / "node_modules"


def live_run(
    bootstrap: str,
    folder: Path,
    ends: ExitStack,
    start: Start,
    switch: str = "manual",
    partitions: int = 24,
    **wanted: Any,  # noqa: ANN401
) -> Live:
    group = f"g-{folder.name[-30:]}-{time.monotonic_ns() % 10**6}"
    exact = {"hand_off": "exact"} if switch == "sdk" else {"hand_off": "at_least_once", "max_duplicates": 1_000_000}
    told = {"name": group, "owner": "team-test", "switch": switch, "missing": "earliest", **exact}
    cutting = Cutting.of(bootstrap, folder, partitions=partitions, producers=[SDK], groups=[told], **wanted)
    return Live(cutting, group, start, ends)


def there_and_back(live: Live, times: int = 1) -> None:
    """To soaking and back, so often; then the judge."""
    live.begin()
    with live.cutting.world() as opened:
        for _ in range(times):
            live.go(opened, Stage.SOAKING)
            assert opened.world.pair.group(live.group).side is Side.TARGET
            live.go(opened, Stage.SYNCHRONIZED, back=True)
            assert opened.world.pair.group(live.group).side is Side.SOURCE
        sent = live.finish(opened)
        announced = live.announced(opened)
    found = live.verdict()
    assert (found.lost, found.disordered, found.unknown) == (0, 0, 0)
    assert found.twice == announced
    assert found.acknowledged == sent.acknowledged


@pytest.mark.parametrize("partitions", [24, pytest.param(9, marks=SLOW)], ids=["nested", "crossed"])
@pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=SLOW)])
def test_a_plain_python_group_goes_there_and_back(protocol: str, partitions: int, bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, python(protocol), partitions=partitions))


@pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=SLOW)])
def test_a_java_group_goes_there_and_back(protocol: str, bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, other(java(protocol))))


@SLOW
def test_a_kafkajs_group_goes_there_and_back(bootstrap: str, tmp_path: Path, ends: ExitStack, node_modules: Path) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, other(kafkajs(node_modules))))


@pytest.mark.parametrize("partitions", [pytest.param(24, marks=SLOW), 9], ids=["nested", "crossed"])
@pytest.mark.parametrize("order", ["groups_first", pytest.param("writes_first", marks=SLOW)])
def test_a_group_on_the_client_library_goes_there_and_back_exactly(
    order: str, partitions: int, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk", partitions, order=order)
    there_and_back(live)
    assert live.verdict().twice == 0


@SLOW
def test_a_primed_group_goes_there_and_back(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, python(), "primed"))


@SLOW
def test_a_group_goes_there_and_back_twice(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    there_and_back(live_run(bootstrap, tmp_path, ends, python()), times=2)


def test_one_group_is_moved_back_while_the_rest_of_the_run_goes_on(bootstrap: str, tmp_path: Path, ends: ExitStack) -> None:
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk"), "sdk")
    live.begin()
    with live.cutting.world() as opened:
        live.go(opened, Stage.MOVING_GROUPS)
        requests.VERBS["move"](opened.world, {"group": live.group, "to": "SOURCE", "reason": "its owner is not ready"}, "tester")
        live.go(opened, Stage.SOAKING)
        assert opened.world.pair.mode == "TARGET"
        assert opened.world.pair.group(live.group).side is Side.SOURCE
        live.topic = live.cutting.source
        requests.VERBS["move"](opened.world, {"group": live.group, "to": "TARGET", "reason": "it is now"}, "tester")
        live.go(opened, Stage.SOAKING)
        assert opened.world.pair.group(live.group).side == "TARGET"
        live.topic = live.cutting.target
        live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered) == (0, 0, 0)


def test_a_member_that_is_frozen_when_the_group_is_stopped_undoes_the_move(
    bootstrap: str, tmp_path: Path, ends: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.moves.sdk.STOP_SECONDS", 1.5)
    live = live_run(bootstrap, tmp_path, ends, python(library="sdk", session_ms=60_000), "sdk")  # nobody takes over while it is frozen
    live.begin()
    with live.cutting.world() as opened:
        live.go(opened, Stage.SYNCHRONIZED)
        while not opened.world.log.state.members(opened.world.run_id, Role.CONSUMER, live.group):
            opened.world.log.refresh(0.1)
        pid = live.members[0].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(Exception, match="did not stop"):
                live.go(opened, Stage.MOVING_GROUPS)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert opened.world.pair.group(live.group).side is Side.SOURCE
        live.go(opened, Stage.MOVING_GROUPS)
        assert opened.world.pair.group(live.group).side == "TARGET"
        live.topic = live.cutting.target
        live.finish(opened)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered) == (0, 0, 0)
