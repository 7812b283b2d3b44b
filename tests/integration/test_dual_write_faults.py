"""Strategy dual_write when a producer is frozen or killed inside a transaction that writes both topics, and the real driver goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from cutover.lifecycle import Stage
from cutover.model import Isolation
from cutover.opening import Opened
from cutover.protocol import Mode
from cutover.rehearsal import judge
from cutover.stamps import Stamp, stamp_of
from cutover.stamps import stamped as stamped_headers
from tests.conftest import MakeTopic
from tests.integration.test_flip import undone
from tests.integration.test_moves import Live, live_run, python
from tests.judge import read_settled

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]
SLOW = pytest.mark.slow
Stamped = dict[bytes, list[tuple[Stamp, bytes | None]]]


def dual_run(
    bootstrap: str, folder: Path, ends: ExitStack, stage: Stage, opened: ExitStack, begin: Callable[[Live], object] = Live.begin
) -> tuple[Live, Opened]:
    """A run with live producers in DUAL, at a stage."""
    live = live_run(bootstrap, folder, ends, python(library="sdk"), "sdk", 24, strategy="dual_write", budgets={"hold": "1500ms"})
    begin(live)
    run = opened.enter_context(live.cutting.world())
    live.go(run, stage)
    assert run.world.pair.mode is Mode.DUAL
    return live, run


def freeze_in_transaction(pid: int, run: Opened) -> None:
    """Stop the process while a transaction of its is open on the source."""
    cluster, source = run.world.cluster, run.world.pair.told.source.name
    where = cluster.describe_topics([source])[source].topic_partitions()

    def hidden() -> bool:
        return cluster.end_offsets(where, Isolation.READ_COMMITTED) != cluster.end_offsets(where, Isolation.READ_UNCOMMITTED)

    deadline = time.monotonic() + 90
    while True:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)  # markers that are on their way
        if hidden():
            return
        os.kill(pid, signal.SIGCONT)
        assert time.monotonic() < deadline, "it was never stopped inside a transaction"
        time.sleep(0.013)


def stamped(bootstrap: str, topic: str) -> Stamped:
    """What was written to both topics, as one of them has it."""
    found: Stamped = defaultdict(list)
    for each in read_settled(bootstrap, topic):
        stamp = stamp_of(each.headers)
        if stamp is not None:
            found[each.key or b""].append((stamp, each.value))
    return found


def require_equal(bootstrap: str, *topics: str) -> None:
    """Key by key both topics have the same of what was written to both."""
    source, target = (stamped(bootstrap, each) for each in topics)
    assert source == target
    assert sum(len(each) for each in source.values()) > 0


@pytest.mark.parametrize("planted", [b"1 2", b"2 1", b"1", b"1 2 2"])
def test_what_is_not_equal_is_seen(planted: bytes, bootstrap: str, topic: MakeTopic) -> None:
    topics = topic(1), topic(1)
    producer = Producer({"bootstrap.servers": bootstrap})
    for name, numbers in zip(topics, (b"1 2", planted), strict=True):
        for number in numbers.split():
            producer.produce(name, number, b"key", headers=stamped_headers(None, Stamp("a", "7f", 1, int(number))))
    assert producer.flush(60) == 0
    with nullcontext() if planted == b"1 2" else pytest.raises(AssertionError):
        require_equal(bootstrap, *topics)


@pytest.mark.parametrize("to", [Mode.TARGET, pytest.param(Mode.SOURCE, marks=SLOW)])
def test_who_is_frozen_inside_a_transaction_is_shut_out_and_goes_on_where_the_others_are(
    to: Mode, bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    with ExitStack() as opened:
        live, run = dual_run(bootstrap, tmp_path, ends, Stage.MOVING_GROUPS if to is Mode.TARGET else Stage.DUAL_WRITING, opened)
        freeze_in_transaction(live.traffic.pid, run)
        back = to is Mode.SOURCE
        live.go(run, Stage.SYNCHRONIZED if back else Stage.SWITCHING_WRITES, back=back)
        assert run.world.pair.mode is to
        failed = [each for each in undone(run) if "did not answer" in each["what"]]
        assert len(failed) == 1, "the first attempt is undone, the second shuts it out"
        os.kill(live.traffic.pid, signal.SIGCONT)
        wait_writes(run, to)
        sent = live.traffic.stop()
        live.topic = live.cutting.target if to is Mode.TARGET else live.cutting.source
        wait_read(live, run)
    require_equal(bootstrap, live.cutting.source, live.cutting.target)
    found = live.verdict()
    assert (found.lost, found.twice, found.disordered, found.unknown, found.acknowledged) == (0, 0, 0, 0, sent.acknowledged)


def wait_writes(run: Opened, to: Mode) -> None:
    """Until somebody has written a good deal on the side that is now the primary."""
    cluster, topic = run.world.cluster, run.world.pair.primary.name
    where = cluster.describe_topics([topic])[topic].topic_partitions()
    before = sum(cluster.end_offsets(where, Isolation.READ_COMMITTED).values())
    deadline = time.monotonic() + 90
    while sum(cluster.end_offsets(where, Isolation.READ_COMMITTED).values()) < before + 500:
        assert time.monotonic() < deadline, f"it does not go on in {to}"
        run.world.beat()
        time.sleep(0.05)


def wait_read(live: Live, run: Opened) -> None:
    """Until the group has read everything, then end it."""
    deadline = time.monotonic() + 60
    while not live._has_read_all(run):
        assert time.monotonic() < deadline, f"{live.group} does not reach the end of {live.topic}"
        run.world.beat()
        time.sleep(0.05)
    for each in live.members:
        each.stop()


APPLICATION = """
import json, os, sys, time
from cutover.client import Producer
told = json.loads(sys.stdin.readline())
producer = Producer(told["settings"])
def hear(number, error, _):
    if error is None:
        with open(told["book"], "a") as book:
            book.write(f"{number}\\n")
number = told["first"]
while not os.path.exists(told["end"]):
    account = number % 20
    value = f"{told['writer']} {account} {number // 20 + 1} ."
    producer.produce(told["topic"], value, str(account), on_delivery=lambda *heard, number=number: hear(number, *heard))
    number += 1
    producer.poll(0.003)
producer.flush(30)
producer.close()
"""


class Application:
    """A producer process that writes numbers and notes each acknowledged one at once; started again it begins after those."""

    def __init__(self, live: Live, ends: ExitStack) -> None:
        self._live, self._ends = live, ends
        self._name = f"{live.cutting.source}-teller-1"
        self._book, self._end = live.cutting.folder / "book", live.cutting.folder / "end"
        self._book.touch()
        self.start()

    def start(self) -> None:
        cutting = self._live.cutting
        settings = {"bootstrap.servers": cutting.bootstrap, "cutover.topic": cutting.source, "cutover.instance": self._name}
        told: dict[str, Any] = {
            "settings": {**settings, "partitioner": "murmur2", "log_level": 2},
            "topic": cutting.source,
            "writer": self._name,
        }
        told |= {"first": self.acknowledged, "book": str(self._book), "end": str(self._end)}
        self.process = subprocess.Popen([sys.executable, "-c", APPLICATION], stdin=subprocess.PIPE, text=True)
        self._ends.callback(self.kill)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()

    @property
    def acknowledged(self) -> int:
        """How many; they are the first ones, without a gap."""
        numbers = sorted(int(each) for each in self._book.read_text().split())
        assert numbers == list(range(len(numbers)))
        return len(numbers)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        self._end.touch()
        assert self.process.wait(60) == 0

    def accounts(self) -> dict[tuple[int, int], int]:
        """The last acknowledged number of each account."""
        return {(1, number % 20): number // 20 + 1 for number in range(self.acknowledged)}


@pytest.mark.slow
def test_who_is_killed_inside_a_transaction_is_followed_by_another_of_its_name_and_the_run_goes_on(
    bootstrap: str, tmp_path: Path, ends: ExitStack
) -> None:
    made: list[Application] = []

    def begin(live: Live) -> None:
        made.append(Application(live, ends))
        live.become(live.cutting.source)

    with ExitStack() as opened:
        live, run = dual_run(bootstrap, tmp_path, ends, Stage.DUAL_WRITING, opened, begin)
        [application] = made
        freeze_in_transaction(application.process.pid, run)
        application.kill()
        application.start()
        live.go(run, Stage.SOAKING)
        assert run.world.pair.mode is Mode.TARGET
        wait_writes(run, Mode.TARGET)
        application.stop()
        live.topic = live.cutting.target
        wait_read(live, run)
    require_equal(bootstrap, live.cutting.source, live.cutting.target)
    given = judge.read_given(tmp_path)[live.group]
    found = judge.judge(live.group, application.accounts(), given)
    assert (found.lost, found.twice, found.disordered, found.unknown) == (0, 0, 0, 0)
    assert found.acknowledged == application.acknowledged > 0
