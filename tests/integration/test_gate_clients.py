"""Which client libraries wait at pending positions, and what each does when the group's assignment changes meanwhile.

What is shown for librdkafka is a defect of it (2.16.0): if this turns red, it is mended, and docs/moving-groups.md is out of date.
"""

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from cutover.connection import Connection
from cutover.engine.control import Control
from cutover.kafka.admin import KafkaCluster
from cutover.model import Committed, TopicPartition
from tests.conftest import MakeTopic, WaitUntil
from tests.primed import Library, Member, java, kafkajs, python

pytestmark = pytest.mark.kafka

PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", pytest.param("consumer", marks=pytest.mark.slow)])
PARTITIONS = 6
MEMBERS = 3
SEED, FINAL = 3, 5
PATIENCE_SECONDS = 120.0
ATTEMPTS = 3


@pytest.fixture(scope="session")
def node_modules() -> Iterator[Path]:
    """A folder with KafkaJS."""
    with tempfile.TemporaryDirectory(prefix="cutover-kafkajs-") as folder:
        try:
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "kafkajs@2.2.4"], cwd=folder, check=True, capture_output=True, timeout=90
            )
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"KafkaJS cannot be installed here: {error}")
        yield Path(folder) / "node_modules"


class Waiting:
    """A group whose positions are committed at SEED and pending at FINAL, on a topic that is written all the time."""

    def __init__(self, bootstrap: str, topic: str, library: Library, folder: Path, cluster: KafkaCluster, control: Control) -> None:
        self.bootstrap, self.topic, self.library, self.folder = bootstrap, topic, library, folder
        self.cluster, self.control = cluster, control
        self.group = f"group-of-{topic}"
        self.members: list[Member] = []

    def at(self, offset: int) -> dict[TopicPartition, Committed]:
        return {TopicPartition(self.topic, partition): Committed(offset) for partition in range(PARTITIONS)}

    def join(self) -> None:
        name = f"member-{len(self.members)}"
        self.members.append(Member.start(self.library, self.bootstrap, self.group, self.topic, name, self.folder))

    def holders(self) -> int:
        found = self.cluster.describe_groups([self.group])[self.group].members or ()
        return sum(each.holds(self.topic) for each in found)

    def firsts(self) -> dict[int, int]:
        """Per partition, the least offset that any member was given."""
        found: dict[int, int] = {}
        for member in self.members:
            for words in map(str.split, member.log.read_text().splitlines()):
                found[int(words[1])] = min(int(words[2]), found.get(int(words[1]), 2**31))
        return found


@contextmanager
def waiting(bootstrap: str, topic: str, library: Library) -> Iterator[Waiting]:
    stop = threading.Event()
    writing = threading.Thread(target=write, args=(bootstrap, topic, stop))
    writing.start()
    connection = Connection.load(bootstrap=bootstrap)
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaCluster(connection) as cluster,
        Control(connection, cluster, transactional_id=f"gate-of-{topic}", transaction_timeout_ms=60_000) as control,
    ):
        made = Waiting(bootstrap, topic, library, Path(folder), cluster, control)
        try:
            control.write_positions(made.group, made.at(SEED))
            control.prepare_positions(made.group, made.at(FINAL))
            yield made
        finally:
            for member in made.members:
                member.kill()
            stop.set()
            writing.join()


def write(bootstrap: str, topic: str, stop: threading.Event) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    while not stop.wait(0.01):
        for partition in range(PARTITIONS):
            producer.produce(topic, b"0", b"k", partition=partition)
        producer.poll(0)
    producer.flush(PATIENCE_SECONDS)


def change_the_assignment(made: Waiting, wait_until: WaitUntil) -> None:
    """One member waits; then others join it, one after the other."""
    for count in range(1, MEMBERS + 1):
        made.join()
        wait_until(lambda count=count: made.holders() == count, PATIENCE_SECONDS, f"{count} members have partitions")  # type: ignore[misc]


def release(made: Waiting, wait_until: WaitUntil) -> dict[int, int]:
    made.control.finish_positions(made.topic, commit=True)
    wait_until(lambda: len(made.firsts()) == PARTITIONS, PATIENCE_SECONDS, "every partition is read")
    return made.firsts()


@PROTOCOLS
def test_java_waits_for_the_final_positions_whatever_happens_to_its_assignment(
    bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, protocol: str
) -> None:
    with waiting(bootstrap, topic(PARTITIONS), java(protocol)) as made:
        change_the_assignment(made, wait_until)
        assert made.firsts() == {}
        assert release(made, wait_until) == dict.fromkeys(range(PARTITIONS), FINAL)


@PROTOCOLS
def test_librdkafka_waits_while_its_assignment_stays(bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, protocol: str) -> None:
    with waiting(bootstrap, topic(PARTITIONS), python(protocol)) as made:
        made.join()
        wait_until(lambda: made.holders() == 1, PATIENCE_SECONDS, "it has partitions")
        assert release(made, wait_until) == dict.fromkeys(range(PARTITIONS), FINAL)


@PROTOCOLS
def test_librdkafka_skips_to_the_end_when_its_assignment_changes_while_it_waits_and_a_seed_does_not_help(
    bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, protocol: str
) -> None:
    skipped: dict[int, int] = {}
    for _ in range(ATTEMPTS):
        with waiting(bootstrap, topic(PARTITIONS), python(protocol)) as made:
            change_the_assignment(made, wait_until)
            skipped = {partition: first for partition, first in release(made, wait_until).items() if first > FINAL}
        if skipped:
            break
    assert skipped


def test_kafkajs_does_not_wait_and_begins_at_what_was_committed(
    bootstrap: str, topic: MakeTopic, wait_until: WaitUntil, node_modules: Path
) -> None:
    with waiting(bootstrap, topic(PARTITIONS), kafkajs(node_modules)) as made:
        made.join()
        wait_until(lambda: len(made.firsts()) == PARTITIONS, PATIENCE_SECONDS, "every partition is read, before anything is final")
        assert made.firsts() == dict.fromkeys(range(PARTITIONS), SEED)
