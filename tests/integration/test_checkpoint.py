"""A checkpoint written by us is read by Kafka's own kafka-consumer-groups, for one group and for several."""

import hashlib
import subprocess
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer

from cutover import wiring
from cutover.connection import Connection
from cutover.errors import JarUnreachable
from cutover.kafka.embedded.jars import LockedJar, cache_home, class_path, fetch_with_jgo, read_lock
from cutover.kafka.embedded.java import find_java
from cutover.model import Committed, TopicPartition
from cutover.switches.checkpoint import Checkpoint, write
from tests.conftest import MakeTopic

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("tools")]

SHA256 = "62f3c5dd7aa3442d4c5bc6a95f86e2502178ea09de8e27f74d9563bf955e253c"
TOOLS = LockedJar("org.apache.kafka:kafka-tools:4.3.1", SHA256, 1_000_000)
TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


@pytest.fixture(scope="module")
def tools() -> Path:
    """The jar that the embedded Kafka does without."""
    folder = cache_home() / "kafka" / f"tools-{read_lock().kafka}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = fetch_with_jgo(TOOLS, folder, lambda _: None)
    except JarUnreachable as error:
        pytest.skip(f"Kafka's tools cannot be had: {error.why}")
    assert hashlib.sha256(found.read_bytes()).hexdigest() == TOOLS.sha256
    return found


def reset(bootstrap: str, tools: Path, groups: list[str], file: Path) -> str:
    jars = ":".join(map(str, (*class_path(), tools)))
    named = [word for group in groups for word in ("--group", group)]
    words = ["--bootstrap-server", bootstrap, "--reset-offsets", *named, "--from-file", str(file), "--execute"]
    done = subprocess.run([str(find_java().path), "-cp", jars, TOOL, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def produce(bootstrap: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(2 * count):
        producer.produce(topic, b"v", partition=number % 2)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_the_tool_sets_the_positions_that_the_file_says(bootstrap: str, topic: MakeTopic, tools: Path, tmp_path: Path, count: int) -> None:
    name = topic(2)
    produce(bootstrap, name, 12)
    groups = [f"group-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    write(tmp_path / "positions.csv", [Checkpoint(group, name, {0: 3 + number, 1: 7 + number}) for number, group in enumerate(groups)])
    said = reset(bootstrap, tools, groups, tmp_path / "positions.csv")
    where = [TopicPartition(name, partition) for partition in range(2)]
    with wiring.cluster(Connection.load(bootstrap=bootstrap)) as cluster:
        told = cluster.committed(groups, where)
    for number, group in enumerate(groups):
        assert told[group] == {where[0]: Committed(3 + number), where[1]: Committed(7 + number)}, said
