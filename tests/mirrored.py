"""A pair of topics with the real mirror between them, behind the proxy, and live traffic: what the fault tests have in common."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import kafka
import kafka.errors
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.configuration import MirrorConfiguration
from cutover.engine.events import LaneChange
from cutover.engine.mirroring import Wanted, prepare
from cutover.engine.process import EngineProcess
from tests.judge import Judged, Verdict, committed_positions, judge, position_reader
from tests.judge.reading import end_offsets
from tests.proxied import ProxiedKafka
from tests.proxy import Request

PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.02
_KEYS = 50


@dataclass(frozen=True)
class MirroredPair:
    """An origin and a follower, and the configuration of a mirror between them whose connections all pass the proxy."""

    proxied: ProxiedKafka
    configuration: MirrorConfiguration

    @classmethod
    def create(
        cls, proxied: ProxiedKafka, proxy_bootstrap: str, *, partitions: int = 2, lanes: int = 1, transaction_timeout_ms: int = 10_000
    ) -> Self:
        """Create both topics, the follower with twice the partitions, and prepare the mirror as `cutover mirror` does."""
        name = uuid.uuid4().hex[:10]
        proxied.create_topics({f"s-{name}": partitions})
        proxied.create_topics({f"t-{name}": 2 * partitions}, {"max.message.bytes": "2000000"})
        direct = Connection.of({"bootstrap.servers": proxied.bootstrap})
        with wiring.cluster(direct) as cluster:
            prepared = prepare(cluster, direct, Wanted(f"s-{name}", f"t-{name}", "murmur2", run=name, lanes=lanes))
        through_proxy = Connection.of({"bootstrap.servers": proxy_bootstrap}).engine()
        return cls(
            proxied,
            prepared.configuration.model_copy(update={"connection": through_proxy, "transaction_timeout_ms": transaction_timeout_ms}),
        )

    @cached_property
    def admin(self) -> AdminClient:
        """A client that asks past the proxy."""
        return AdminClient({"bootstrap.servers": self.proxied.bootstrap})

    @cached_property
    def _position_reader(self) -> Consumer:
        return position_reader(self.proxied.bootstrap, self.configuration.group)

    @property
    def origin(self) -> str:
        """The topic that is copied."""
        return self.configuration.origin.name

    def worker(self) -> EngineProcess:
        """Start a worker; it is the caller's to stop or kill."""
        return EngineProcess.start("mirror", self.configuration)

    def ends(self) -> dict[int, int]:
        """Where the origin ends."""
        return end_offsets(self.admin, self.origin, IsolationLevel.READ_COMMITTED)

    def wait_recovered(self, by: EngineProcess) -> None:
        """Wait until this worker has taken every lane and recovered it; raises what ended the worker."""
        missing = set(range(self.configuration.lanes))
        for event in by.events(PATIENCE_SECONDS):
            if isinstance(event, LaneChange) and event.change == "recovered":
                missing.discard(event.lane)
            if not missing:
                return
        raise TimeoutError(f"lanes {missing} were not taken; {by.stderr_tail()}")

    def wait_caught_up(self, by: EngineProcess) -> None:
        """Wait until everything that is on the origin now is committed; raises what ended the worker."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        wanted = self.ends()
        lanes: list[str] = []
        while (now := self.positions_if_stable()) != wanted:
            lanes += [f"{each.lane} {each.change} {each.reason}" for each in by.events(_PAUSE_SECONDS) if isinstance(each, LaneChange)]
            if time.monotonic() > deadline:
                raise TimeoutError(f"{now or 'pending positions'} instead of {wanted}; lanes: {lanes[-10:]}; {by.stderr_tail()}")

    def positions_if_stable(self) -> dict[int, int] | None:
        """What the mirror has committed; None while a transaction that changes it is pending."""
        try:
            return committed_positions(self._position_reader, self.origin, seconds=1.0)
        except KafkaException as pending:
            if pending.args[0].code() != KafkaError._TIMED_OUT:
                raise
            return None

    def verdict(self) -> Verdict:
        """The judge's word."""
        config = self.configuration
        return judge(Judged(self.proxied.bootstrap, config.origin.name, config.follower.name, config.group, config.partitioner))

    def is_mine(self, request: Request) -> bool:
        """Whether a transactional request comes from a lane of this pair."""
        ids = request.transactional
        return ids is not None and (ids.transactional_id or "").startswith(f"{self.configuration.group}.")


class Traffic:
    """A producer that writes to the origin until it is stopped: keys, no keys, tombstones, headers repeated and in order."""

    def __init__(self, bootstrap: str, topic: str, *, value_bytes: int = 100, per_second: int = 400) -> None:
        self._topic, self._value_bytes, self._every = topic, value_bytes, 1 / per_second
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5, "enable.idempotence": True, "log_level": 0}
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"traffic-{topic}")
        self._failed: list[object] = []
        self.written = 0

    def burst(self, count: int) -> Self:
        """Write so many records at once and wait until they are acknowledged."""
        for _ in range(count):
            self._one()
        self._flush()
        return self

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_SECONDS)
        self._flush()
        if self._failed and error is None:
            raise RuntimeError(f"{len(self._failed)} records of the traffic were not written: {self._failed[0]}")

    def _write(self) -> None:
        while not self._stopped.wait(self._every):
            self._one()

    def _one(self) -> None:
        number = self.written
        self.written += 1
        self._producer.produce(
            self._topic,
            value=None if number % 15 == 14 else (b"%d-" % number).ljust(self._value_bytes, b"x"),
            key=None if number % 10 == 9 else b"" if number % 50 == 8 else b"key-%d" % (number % _KEYS),
            headers=[("n", b"%d" % number), ("twice", b"1"), ("twice", None)] if number % 3 == 0 else None,
            on_delivery=lambda failed, _: self._failed.append(failed) if failed else None,
        )
        self._producer.poll(0)

    def _flush(self) -> None:
        if self._producer.flush(PATIENCE_SECONDS):
            raise TimeoutError("the traffic is still not acknowledged")


@dataclass
class PositionWatch:
    """Looks at the mirror's committed positions again and again, and keeps every step back."""

    pair: MirroredPair
    steps_back: list[tuple[dict[int, int], dict[int, int]]] = field(default_factory=list)
    looks: int = 0
    failed: list[Exception] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[Self]:
        """Look until the block ends; raises when looking failed or the positions went back."""
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=(ended,), name="positions")
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join(PATIENCE_SECONDS)
        if self.failed:
            raise self.failed[0]
        assert self.looks > 0
        assert not self.steps_back, f"positions went back: {self.steps_back}"

    def _look(self, ended: threading.Event) -> None:
        config = self.pair.configuration
        asked = {config.group: [kafka.TopicPartition(self.pair.origin, number) for number in range(config.origin.partitions)]}
        # Last stable values, whatever is pending: while the mirror is busy a transaction is nearly always open.
        admin = kafka.KafkaAdminClient(bootstrap_servers=self.pair.proxied.bootstrap)
        before: dict[int, int] = {}
        try:
            while not ended.wait(_PAUSE_SECONDS):
                now = {each.partition: found.offset for each, found in self._ask(admin, asked).items()}
                if any(now.get(partition, -1) < offset for partition, offset in before.items()):
                    self.steps_back.append((before, now))
                before = now or before
        except Exception as failed:  # noqa: BLE001 - raised where the watch ends
            self.failed.append(failed)
        finally:
            admin.close()

    def _ask(self, admin: Any, asked: dict[str, Any]) -> dict[Any, Any]:  # noqa: ANN401 - kafka-python has no types
        try:
            (answer,) = admin.list_group_offsets(asked).values()
        except kafka.errors.RetriableError:
            return {}
        self.looks += 1
        return {each: found for each, found in answer.items() if found.offset >= 0}
