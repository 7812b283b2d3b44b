"""What all subjects stand on: one embedded broker, topics with names of their own, and the Go peer that loads and observes."""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from cutover.engine.configuration import Topic
from cutover.kafka.embedded import EmbeddedKafka
from scripts import hatch_build
from tests.bench.measured import Usage

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_MESSAGE_BYTES = 1_048_588
READY_SECONDS = 60
PEER_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Said:
    """What the peer answered, and what it used."""

    answer: Any
    usage: Usage


class Peer:
    """One run of the Go peer."""

    def __init__(self, binary: Path, task: str, options: Mapping[str, object]) -> None:
        arguments = [word for name, value in options.items() for word in (f"-{name.replace('_', '-')}", str(value))]
        self._process = subprocess.Popen([binary, task, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.task = task

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def result(self) -> Said:
        """Wait for its answer."""
        if self._process.stdout is None or self._process.stderr is None:
            raise TypeError("the peer has no pipes")
        said = self._process.stdout.read()
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        complaint = self._process.stderr.read()
        self._process.stdout.close()
        self._process.stderr.close()
        if self._process.returncode != 0:
            raise RuntimeError(f"the peer's {self.task} ended with {self._process.returncode}: {complaint.strip()}")
        return Said(json.loads(said), Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))


class Ground:
    """A broker and a peer, both gone when the block ends."""

    def __init__(self, heap_mb: int) -> None:
        self._kafka = EmbeddedKafka(heap_mb=heap_mb)
        self.folder = Path(tempfile.mkdtemp(prefix="cutover-bench-"))
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self._peer = build_peer(self.folder)
            self._kafka.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self.bootstrap = self._kafka.bootstrap_servers
        quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _error: None}  # it outlives the broker by a moment
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, **quiet})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._kafka.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def broker_pid(self) -> int:
        """The broker's process."""
        pid = self._kafka.broker(1).pid
        if pid is None:
            raise RuntimeError("the broker is gone")
        return pid

    def peer(self, task: str, **options: object) -> Peer:
        """Start the Go peer on a task."""
        return Peer(self._peer, task, {"bootstrap": self.bootstrap, **options})

    def topic(self, stem: str, partitions: int) -> Topic:
        """A new topic that can be used when it is returned."""
        name = f"{stem}-{next(self._numbers)}"
        config = {"retention.ms": "-1", "file.delete.delay.ms": "1000", "segment.bytes": str(128 << 20)}
        self._admin.create_topics([NewTopic(name, partitions, config=config)])[name].result(READY_SECONDS)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers(name, partitions):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} has no leaders after {READY_SECONDS} s")
            time.sleep(0.02)
        described = self._admin.describe_topics(TopicCollection([name]))[name].result(READY_SECONDS)
        return Topic(
            name=name,
            id=str(described.topic_id).replace("/", "_").replace("+", "-"),
            partitions=partitions,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )

    def filled(self, stem: str, partitions: int, records: int, codec: str, **more: object) -> Topic:
        """A new topic with records; `more` are options of the peer's task produce."""
        made = self.topic(stem, partitions)
        with self.peer("produce", topic=made.name, records=records, codec=codec, **more) as writing:
            writing.result()
        return made

    def ends(self, topic: Topic) -> dict[int, int]:
        """The last stable offset of each partition."""
        asked = {TopicPartition(topic.name, number): OffsetSpec.latest() for number in range(topic.partitions)}
        found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
        return {each.partition: future.result(READY_SECONDS).offset for each, future in found.items()}

    def remove(self, *topics: Topic) -> None:
        """Delete topics, so that the disk holds few of them at a time."""
        for future in self._admin.delete_topics([each.name for each in topics]).values():
            future.result(READY_SECONDS)

    def _answers(self, name: str, partitions: int) -> bool:
        asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)}
        try:
            return all(future.result(5).offset >= 0 for future in self._admin.list_offsets(asked).values())
        except KafkaException:
            self._admin.list_topics(name, timeout=5)  # else librdkafka may keep "no leaders found" for as long as anybody asks
            return False


def build_peer(folder: Path) -> Path:
    """Compile the peer, from the engine's module and with its version of franz-go."""
    target = folder / "bench-peer"
    subprocess.run(
        [hatch_build.go_command(), "build", "-o", target, "./cmd/bench-peer"],
        cwd=hatch_build.ENGINE,
        env=hatch_build.environment(),
        check=True,
    )
    return target
