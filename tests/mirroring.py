"""One mirror between two topics, as the mirror's own integration tests use it: no proxy, any cluster, any configuration."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import kafka
import pytest
from confluent_kafka import IsolationLevel, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.configuration import MirrorConfiguration
from cutover.engine.events import Event, LaneChange, Ready
from cutover.engine.mirroring import Wanted, prepare
from cutover.engine.process import EngineProcess
from cutover.errors import CutoverError
from cutover.partitioners import family, null_key_partition
from tests.judge import Place, Record, Verdict, committed_positions, compare, position_reader, read_settled
from tests.judge.reading import end_offsets

PATIENCE_SECONDS = 120.0
ROOMY = {"max.message.bytes": "2000000"}
_LOOK_SECONDS = 0.02

Headers = list[tuple[str, str | bytes | None]]


@dataclass(frozen=True)
class Pair:
    """Two topics and the configuration of the mirror between them."""

    bootstrap: str
    told: MirrorConfiguration

    @classmethod
    def of(cls, bootstrap: str, origin: str, follower: str, partitioner: str = "murmur2", **wanted: Any) -> Self:  # noqa: ANN401
        """Prepare a mirror as `cutover mirror` does; topics that exist."""
        direct = Connection.of({"bootstrap.servers": bootstrap})
        asked = Wanted(origin, follower, partitioner, run=wanted.pop("run", origin), **wanted)
        with wiring.cluster(direct) as cluster:
            return cls(bootstrap, prepare(cluster, direct, asked).configuration)

    def but(self, **changes: object) -> "Pair":
        """The same with another configuration."""
        return Pair(self.bootstrap, self.told.model_copy(update=changes))

    @property
    def origin(self) -> str:
        return self.told.origin.name

    @property
    def follower(self) -> str:
        return self.told.follower.name

    @property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap})

    def worker(self, name: str = "w1") -> EngineProcess:
        """Start a worker; it is the caller's to stop or kill."""
        return EngineProcess.start("mirror", self.told.model_copy(update={"worker": f"{name}-{self.told.run[-6:]}"}))

    def positions(self) -> dict[int, int]:
        reader = position_reader(self.bootstrap, self.told.group)
        try:
            return committed_positions(reader, self.origin)
        finally:
            reader.close()

    def ends(self) -> dict[int, int]:
        """Last stable offsets of the origin."""
        return end_offsets(self.admin, self.origin, IsolationLevel.READ_COMMITTED)

    def copy(self) -> None:
        """Run one worker until all that is there now is copied, and stop it."""
        with self.worker() as worker:
            self.wait_caught_up(worker)

    def wait_caught_up(self, *workers: EngineProcess) -> None:
        """Wait until everything that is on the origin now is committed; raises what ended a worker."""
        wanted = self.ends()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (now := self._committed_by(workers)) != wanted:
            hear(*workers)
            assert time.monotonic() < deadline, f"{now} committed, {wanted} wanted; {[status(each) for each in workers]}"
            time.sleep(_LOOK_SECONDS)

    def _committed_by(self, workers: Sequence[EngineProcess]) -> dict[int, int]:
        """What workers say they committed: the group would not answer while a transaction of a dead one is open."""
        return {int(number): offset for each in workers for number, offset in status(each)["committed"].items()}

    def verdict(self) -> Verdict:
        """What reading both topics says."""
        origin, follower = read_settled(self.bootstrap, self.origin), read_settled(self.bootstrap, self.follower)
        return compare(origin, follower, self.positions(), self.place)

    def place(self, key: bytes | None, at: Place) -> int:
        config, formula = self.told, family(self.told.partitioner)
        if key is not None and formula.decides(key):
            return formula.place(key, config.follower.partitions)
        return null_key_partition(config.null_keys, *at, config.origin.partitions, config.follower.partitions)

    def copies(self) -> list[Record]:
        return read_settled(self.bootstrap, self.follower)

    def mark(self, positions: Mapping[int, int], *, start: int = 0, since: int = 0, run_id: str | None = None) -> None:
        """Write positions of the group by hand, with marks as the mirror's; nobody may be in the group."""
        placement = f"{self.told.partitioner}/{self.told.null_keys}"
        mark = {
            "r": run_id or self.told.run_id,
            "e": self.told.epoch,
            "a": start,
            "f": since,
            "l": self.told.lanes,
            "k": placement,
            "p": [],
        }
        words = json.dumps(mark)
        writer = kafka.KafkaAdminClient(bootstrap_servers=self.bootstrap)  # librdkafka would add a zero byte to the words
        marked = {kafka.TopicPartition(self.origin, each): kafka.OffsetAndMetadata(at, words, -1) for each, at in positions.items()}
        writer.alter_group_offsets(self.told.group, marked)
        writer.close()


def status(worker: EngineProcess) -> dict[str, Any]:
    """What the worker says of itself now."""
    found: dict[str, Any] = worker.request("status")
    return found


def hear(*workers: EngineProcess) -> list[Event]:
    """What was said since; raises what ended a worker."""
    return [event for worker in workers for event in worker.events(0)]


def wait_for(worker: EngineProcess, wanted: Callable[[Event], bool], what: str, seconds: float = PATIENCE_SECONDS) -> Event:
    """The next event that is wanted; raises what ended the worker."""
    for event in worker.events(seconds):
        if wanted(event):
            return event
    pytest.fail(f"not within {seconds:g} s: {what}; {worker.stderr_tail()}")


def wait_lane(worker: EngineProcess, change: str, lane: int | None = None) -> LaneChange:
    """The next such change of a lane."""

    def wanted(event: Event) -> bool:
        return isinstance(event, LaneChange) and event.change == change and lane in (None, event.lane)

    found = wait_for(worker, wanted, f"a lane is {change}")
    assert isinstance(found, LaneChange)
    return found


def wait_ready(worker: EngineProcess) -> Ready:
    return worker.wait_for(Ready, PATIENCE_SECONDS)


def how_it_ends(worker: EngineProcess, seconds: float = PATIENCE_SECONDS) -> CutoverError:
    """The error that ends the worker by itself."""
    try:
        for _ in worker.events(seconds):
            pass
    except CutoverError as error:
        return error
    finally:
        worker.stop("the test is over")
    pytest.fail(f"the worker goes on after {seconds:g} s")


def fault_of(pair: Pair) -> CutoverError:
    """Start a worker that is to fail."""
    try:
        worker = pair.worker()
    except CutoverError as error:
        return error
    return how_it_ends(worker)


def name_of(error: CutoverError) -> str:
    """The engine's name of the fault."""
    return str(error.fields.get("fault", type(error).__name__))


@dataclass(frozen=True)
class Written:
    """A record to write."""

    key: bytes | None = b"key"
    value: bytes | None = b"value"
    headers: Sequence[tuple[str, str | bytes | None]] = ()
    timestamp_ms: int | None = None
    partition: int | None = None


def write(bootstrap: str, topic: str, records: Iterable[Written], **settings: object) -> int:
    """Write records in order and wait until they are acknowledged; gives their number."""
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5, "acks": "all", **settings})
    failed: list[object] = []
    count = 0
    for each in records:
        produce(producer, topic, each, failed)
        count += 1
    assert producer.flush(PATIENCE_SECONDS) == 0
    assert failed == []
    return count


def produce(producer: Producer, topic: str, record: Written, failed: list[object]) -> None:
    """Hand one record to a producer; what was not written goes to `failed`."""
    rest: dict[str, Any] = {"timestamp": record.timestamp_ms} if record.timestamp_ms is not None else {}
    rest |= {"partition": record.partition} if record.partition is not None else {}

    def delivered(error: object, _message: object) -> None:
        if error:
            failed.append(error)

    while True:
        try:
            producer.produce(topic, record.value, record.key, headers=list(record.headers), on_delivery=delivered, **rest)
        except BufferError:
            producer.poll(0.05)
        else:
            producer.poll(0)
            return


def numbered(count: int, keys: int = 50, size: int = 20) -> Iterable[Written]:
    """Plain records with keys."""
    return (Written(b"key-%d" % (number % keys), (b"%d-" % number).ljust(size, b"x")) for number in range(count))


def alter(admin: AdminClient, topic: str, **config: str) -> None:
    """Set configs of a topic (underscores for dots)."""
    entries = [ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(60)
