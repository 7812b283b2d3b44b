"""A process that is frozen when HOLD comes and wakes up after a driver has let the others go on elsewhere, without its word.

The real driver does not do that: it undoes, or fences a transactional instance first. Here it is done on purpose, to see where the
records end that such a process still had.
"""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.conformance.driving import Driver
from tests.conformance.fixtures import ReadAll, control, driver, read_all, settings  # noqa: F401 - fixtures
from tests.conftest import MakeTopic

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]
SETTLED_SECONDS = 0.7
FROZEN_SECONDS = 2.5
Start = Callable[..., "subprocess.Popen[str]"]


@dataclass(frozen=True, slots=True)
class Woken:
    """What is where after the process has ended: its own report, the records of both topics, and the source's ends at release."""

    told: dict[str, Any]
    source: list[Message]
    target: list[Message]
    ends: dict[int, int]

    @property
    def stragglers(self) -> set[str]:
        """Values that stand on the source at or past its end at the release."""
        return {text(each) for each in self.source if (each.offset() or 0) >= self.ends[each.partition() or 0]}

    @property
    def written(self) -> set[str]:
        """Every value that stands anywhere."""
        return {text(each) for each in (*self.source, *self.target)}


def text(message: Message) -> str:
    return (message.value() or b"").decode()


@pytest.fixture
def pair(topic: MakeTopic) -> tuple[str, str]:
    return topic(3, name="source"), topic(6, name="target")


@pytest.fixture
def process(settings: dict[str, Any], pair: tuple[str, str]) -> Iterator[Start]:
    """Starts the writer; killed after the test."""
    made: list[subprocess.Popen[str]] = []

    def start(**more: Any) -> subprocess.Popen[str]:  # noqa: ANN401
        command = [sys.executable, "-m", "tests.conformance.writer"]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.append(writer)
        assert writer.stdin is not None
        assert writer.stdout is not None
        configuration = {**settings, "cutover.topic": pair[0], "partitioner": "murmur2", **more}
        writer.stdin.write(json.dumps({"configuration": configuration, "topic": pair[0]}) + "\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "writing\n"
        return writer

    yield start
    for each in made:
        each.kill()
        each.wait(60)
        for stream in (each.stdin, each.stdout):
            if stream is not None:
                stream.close()


def ends_of(bootstrap: str, topic: str, partitions: int) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends"})
    found = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in range(partitions)}
    consumer.close()
    return found


def settled_ends(driver: Driver, topic: str) -> dict[int, int]:
    """Where the topic ends once the broker has taken in what was on its way when the process was frozen."""
    before: dict[int, int] = {}
    ends = ends_of(driver.bootstrap, topic, 3)
    while ends != before:
        driver.listen(SETTLED_SECONDS)
        ends, before = ends_of(driver.bootstrap, topic, 3), ends
    return ends


def freeze_and_wake(
    driver: Driver, writer: "subprocess.Popen[str]", pair: tuple[str, str], read_all: ReadAll, fence: str | None = None
) -> Woken:
    """Freeze it before HOLD, let the others go on, wake it, end it."""
    driver.joined(1)
    driver.open(*pair)
    driver.until(lambda: sum(ends_of(driver.bootstrap, pair[0], 3).values()) > 100, "it writes")
    os.kill(writer.pid, signal.SIGSTOP)
    term = driver.hold(budget_ms=30000)
    driver.listen(0.3)
    assert driver.state.missing(driver.pair)
    if fence is not None:
        Producer({"bootstrap.servers": driver.bootstrap, "transactional.id": fence}).init_transactions(30)
    ends = settled_ends(driver, pair[0])
    driver.release(term)
    frozen_until = time.monotonic() + FROZEN_SECONDS
    while time.monotonic() < frozen_until:
        driver.listen(0.1)
    assert ends_of(driver.bootstrap, pair[0], 3) == ends, "somebody writes while the process is frozen"
    os.kill(writer.pid, signal.SIGCONT)
    woken_at = time.monotonic()
    while time.monotonic() - woken_at < 1.5 and writer.poll() is None:
        driver.listen(0.1)
    writer.terminate()
    output, _ = writer.communicate(timeout=60)
    decided = driver.state.pairs[driver.pair]
    assert (decided.hold, decided.epoch) == (None, 1), "an acknowledgement that comes too late changed something"
    return Woken(json.loads(output), read_all(pair[0]), read_all(pair[1]), ends)


@pytest.mark.parametrize(
    "configuration",
    [{"linger.ms": 5}, {"linger.ms": 500}, {"linger.ms": 500, "enable.idempotence": True}],
    ids=["plain", "plain-linger", "idempotent-linger"],
)
def test_what_a_frozen_producer_still_had_lands_on_the_old_side_where_it_is_found_and_nothing_is_lost(
    driver: Driver, process: Start, pair: tuple[str, str], read_all: ReadAll, configuration: dict[str, Any]
) -> None:
    woken = freeze_and_wake(driver, process(**configuration), pair, read_all)
    assert woken.told["fatal"] is None
    assert woken.told["failed"] == {}
    assert len(woken.told["acked"]) == woken.told["sent"]
    assert woken.written == set(woken.told["acked"])
    assert all(woken.told["acked"][value][0] == pair[0] for value in woken.stragglers)
    assert any(topic == pair[1] for topic, *_ in woken.told["acked"].values()), "it goes on on the target once it has heard"
    print(f"{configuration}: {len(woken.stragglers)} stragglers of {woken.told['sent']}")


def test_with_a_delivery_timeout_below_the_pause_the_queue_is_dropped_and_said_to_the_application(
    driver: Driver, process: Start, pair: tuple[str, str], read_all: ReadAll
) -> None:
    woken = freeze_and_wake(driver, process(**{"linger.ms": 500, "message.timeout.ms": 1000}), pair, read_all)
    failed = set(woken.told["failed"])
    assert set(woken.told["failed"].values()) <= {"_MSG_TIMED_OUT"}
    assert len(woken.told["acked"]) + len(failed) == woken.told["sent"]
    assert set(woken.told["acked"]) <= woken.written
    assert not failed & woken.stragglers, "a record was said to be dropped and is there"
    print(f"{len(failed)} dropped and said, {len(woken.stragglers)} stragglers of {woken.told['sent']}")


def test_a_frozen_transactional_producer_that_was_fenced_writes_nothing_more_and_says_so(
    driver: Driver, process: Start, pair: tuple[str, str], read_all: ReadAll
) -> None:
    identity = f"app-{pair[0]}"
    woken = freeze_and_wake(driver, process(**{"transactional.id": identity}), pair, read_all, fence=identity)
    assert woken.told["fatal"] in {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "_STATE", "_FATAL"}
    assert woken.stragglers == set()
    assert woken.target == []
