"""A pair of topics with the real mirror between them, traffic, a group of any client library, and its primer in a loop."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self

import pytest
from confluent_kafka import Producer

from cutover.connection import Connection
from cutover.engine import mirroring, translating
from cutover.engine.control import Control
from cutover.engine.process import EngineProcess
from cutover.errors import NothingMirrored, PositionUnusable
from cutover.kafka.admin import KafkaCluster
from cutover.kafka.embedded.jars import class_path
from cutover.kafka.reader import KafkaReader
from cutover.model import Committed, Isolation, TopicPartition
from cutover.ports import Cluster
from cutover.priming import Primer, Route, Standing, Wishes
from cutover.protocol import Side
from cutover.switches.primers import ControlHand
from cutover.world import Translated

FOLDER = Path(__file__).parent / "members"
KEYS = 60
TICK_SECONDS = 0.03
END_SECONDS = 40.0


@dataclass(frozen=True)
class Library:
    """How a member of one client library is started, and the group protocol it speaks."""

    name: str
    command: tuple[str, ...]
    protocol: str = "classic"
    environment: Mapping[str, str] | None = None


def python(protocol: str) -> Library:
    return Library(f"python-{protocol}", (sys.executable, str(FOLDER / "member.py")), protocol)


@cache
def compiler() -> str:
    """Why a Java source cannot be run here; empty if it can."""
    if shutil.which("java") is None:
        return "there is no java on the PATH"
    told = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=False).stdout
    return "" if "jdk.compiler" in told else "the java on the PATH is no JDK: it cannot compile a member"


def java(protocol: str) -> Library:
    if why := compiler():
        pytest.skip(why)
    jars = ":".join(map(str, class_path()))
    return Library(f"java-{protocol}", ("java", "-Xmx96m", "-XX:TieredStopAtLevel=1", "-cp", jars, str(FOLDER / "Member.java")), protocol)


def kafkajs(modules: Path) -> Library:
    environment = {"NODE_PATH": str(modules), "PATH": os.environ.get("PATH", "")}
    return Library("kafkajs", ("node", str(FOLDER / "member.js")), environment=environment)


@dataclass
class Member:
    """A process that reads one topic in the group."""

    name: str
    topic: str
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, library: Library, bootstrap: str, group: str, topic: str, name: str, folder: Path) -> Self:
        log = folder / f"{name}.log"
        log.touch()
        words = (*library.command, bootstrap, group, topic, name, library.protocol, str(log))
        quiet = subprocess.DEVNULL
        return cls(name, topic, log, subprocess.Popen(words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=library.environment))

    def ask_to_stop(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()

    def stop(self) -> None:
        self.ask_to_stop()
        self.process.wait(END_SECONDS)

    def kill(self) -> None:
        self.ask_to_stop()
        self.process.kill()
        self.process.wait()

    def read(self) -> list[tuple[str, int]]:
        """Key and number of each record, in the order they came."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [(words[3], int(words[4])) for words in lines if len(words) == 6]


@dataclass(frozen=True)
class Judged:
    """What the group was given in all, against what was written while it was live."""

    written: int
    lost: int
    again: int
    """Deliveries of a record that the group had been given before."""
    disordered: int
    """First deliveries of a record after a newer one of its key, within one member."""


@dataclass
class PrimedGroup:
    """Everything around one group on its way from S to T."""

    bootstrap: str
    library: Library
    folder: Path
    cluster: KafkaCluster
    control: Control
    source: str
    target: str
    group: str
    hand_seconds: float = 20.0
    members: list[Member] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    """Per key, the first record that is judged."""
    partitions: int = 3
    primer: Primer = field(init=False)
    _stop_writing: threading.Event = field(default_factory=threading.Event)
    _stop_priming: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        return Connection.load(bootstrap=self.bootstrap)

    # Traffic.

    def write(self, per_second: float) -> None:
        self._threads.append(threading.Thread(target=self._write, args=(per_second,)))
        self._threads[-1].start()

    def _write(self, per_second: float) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 5})
        number = 0
        while not self._stop_writing.wait(0.01):
            for _ in range(max(1, round(per_second / 100))):
                key = f"key-{number % KEYS}"
                producer.produce(self.source, str(self.written[key]), key)
                self.written[key] += 1
                number += 1
            producer.poll(0)
        producer.flush(END_SECONDS)

    def stop_writing(self) -> None:
        self._stop_writing.set()

    # The group.

    def join(self, side: Side) -> Member:
        topic = self.source if side is Side.SOURCE else self.target
        made = Member.start(self.library, self.bootstrap, self.group, topic, f"{side.value.lower()}-{len(self.members)}", self.folder)
        self.members.append(made)
        return made

    def holders(self, topic: str) -> int:
        found = self.cluster.describe_groups([self.group])[self.group].members or ()
        return sum(any(held.topic == topic for held in each.assigned) for each in found)

    def has_begun(self) -> bool:
        """Whether it has committed on every partition of S: until then each rebalance has it begin at the end again."""
        where = [TopicPartition(self.source, p) for p in range(self.partitions)]
        told = self.cluster.committed([self.group], where)[self.group]
        return all(isinstance(each, Committed) for each in told.values())

    def judge_from_now(self) -> None:
        """What was given to nobody until now is not judged: the group began at the end."""
        self.first = dict(self.written)

    def drained(self) -> bool:
        """Whether every record that was written has been given to somebody."""
        return not self.judge().lost

    def judge(self) -> Judged:
        given: Counter[tuple[str, int]] = Counter()
        disordered = 0
        for member in self.members:
            newest: dict[str, int] = {}
            for key, number in member.read():
                disordered += not given[key, number] and number < newest.get(key, -1)
                newest[key] = max(newest.get(key, -1), number)
                given[key, number] += 1
        lost = sum((key, number) not in given for key, count in self.written.items() for number in range(self.first.get(key, count), count))
        return Judged(sum(self.written.values()), lost, sum(given.values()) - len(given), disordered)

    # The primer.

    def prime(self, wishes: Wishes) -> Primer:
        run, _ = translating.prepare(self.cluster, translating.Wanted(self.source, self.target, run=self.group))
        describe = self.cluster.describe_topics([self.source, self.target])
        self.primer = Primer(
            Route(self.group, run.run_id, 0, describe[self.source].topic_partitions(), describe[self.target].topic_partitions()),
            self.cluster,
            translate=self._translate,
            verify=self._verify,
            open_hand=lambda name: ControlHand(self.hand(name, self.hand_seconds)),
            release_act=lambda intent: nullcontext(dict(intent)),
            left_open=self.left_open,
            pause=time.sleep,
            wishes=wishes,
        )
        return self.primer

    def hand(self, name: str, seconds: float) -> Control:
        return Control(self.connection, self.cluster, transactional_id=f"{self.group}.{name}", transaction_timeout_ms=round(seconds * 1000))

    def left_open(self) -> list[str]:
        found = self.cluster.describe_transactions([f"{self.group}.{name}" for name in "ab"])
        return [name[-1] for name, each in found.items() if each.started_at_ms is not None]

    def _translate(self, given: Mapping[int, int]) -> Translated:
        return self.translated(given, verify=False)

    def _verify(self, found: Translated) -> None:
        """Ask once more, and have that answer derived again."""
        again = self.translated(found.given, verify=True)
        assert (again.positions, again.final) == (found.positions, True)

    def translated(self, given: Mapping[int, int], *, verify: bool) -> Translated:
        wanted = translating.Wanted(self.source, self.target, run=self.group, missing="latest")
        found = translating.translate(self.control, self.cluster, KafkaReader(self.connection), wanted, given, verify=verify).translation
        return Translated(Side.SOURCE, found.given, found.positions, found.duplicates_total or 0, 0, found.final)

    def tick_in_a_loop(self) -> None:
        self._threads.append(threading.Thread(target=self._tick))
        self._threads[-1].start()

    def _tick(self) -> None:
        try:
            while not self._stop_priming.wait(TICK_SECONDS):
                self.primer.tick(time.monotonic())
        except BaseException as error:  # noqa: BLE001 - told by the test that waits for it
            self.failures.append(error)

    def is_at(self, *standings: Standing) -> bool:
        if self.failures:
            raise self.failures[0]
        return self.primer.standing in standings

    # Redeploys.

    def rolling(self, count: int) -> None:
        """One member after the other is stopped, and started again on T at once."""
        for member in self.members[:count]:
            member.stop()
            self.join(Side.TARGET)

    def restart(self, count: int) -> None:
        """All are stopped, and all started on T at once."""
        for member in self.members[:count]:
            member.ask_to_stop()
        for member in self.members[:count]:
            member.stop()
        for _ in range(count):
            self.join(Side.TARGET)

    def close(self) -> None:
        self._stop_writing.set()
        self._stop_priming.set()
        for thread in self._threads:
            thread.join()
        for member in self.members:
            member.kill()
        if hasattr(self, "primer"):
            self.primer.close()


@contextmanager
def primed_group(
    bootstrap: str, library: Library, make_topic: Callable[..., str], *, partitions: Sequence[int] = (3, 12), per_second: float = 300.0
) -> Iterator[PrimedGroup]:
    """A pair that is copied and written; nobody reads yet and nothing is primed."""
    connection = Connection.load(bootstrap=bootstrap)
    source, target = make_topic(partitions[0], name="s"), make_topic(partitions[1], {"max.message.bytes": "2000000"}, name="t")
    group = f"group-{uuid.uuid4().hex[:8]}"
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="cutover-primed-")))
        cluster = ends.enter_context(KafkaCluster(connection, timeout_seconds=30))
        control = ends.enter_context(Control(connection, cluster))
        made = PrimedGroup(bootstrap, library, folder, cluster, control, source, target, group, partitions=partitions[0])
        ends.enter_context(_mirror(cluster, connection, source, target, group))
        ends.callback(made.close)
        made.write(per_second)
        _await_first(made, cluster)
        yield made


@contextmanager
def _mirror(cluster: Cluster, connection: Connection, source: str, target: str, run: str) -> Iterator[None]:
    prepared = mirroring.prepare(cluster, connection, mirroring.Wanted(source, target, "murmur2", run=run, lanes=2))
    with EngineProcess.start("mirror", prepared.configuration) as worker:
        yield
        worker.stop("the test is over")


def _await_first(made: PrimedGroup, cluster: Cluster) -> None:
    """The mirror has copied something to every partition of S that is written."""
    where = [TopicPartition(made.source, 0)]
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(NothingMirrored, PositionUnusable):
            made.translated({}, verify=False)
            if cluster.end_offsets(where, Isolation.READ_COMMITTED)[where[0]]:
                return
        time.sleep(0.05)
    raise TimeoutError("nothing was mirrored")
