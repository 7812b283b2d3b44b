"""Mode DUAL when a frame is late or its answer never comes: both topics equal, and nothing told that is not so.

The proxy keeps one frame of the client back, the client gets over it by itself, and the broker receives the very bytes while a later
transaction is open. docs/late-frames.md has what that does to librdkafka without the rule of cutover.client.transactor.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message
from confluent_kafka.admin import AdminClient

from cutover.client import Producer
from cutover.protocol import Mode
from cutover.stamps import stamp_of
from tests.conformance.driving import Driver, make_control_topic, read_committed
from tests.proxied import ProxiedKafka, on_versions
from tests.proxy import Held, Proxy, Request
from tests.proxy.rules import Mode as Cut

pytestmark = pytest.mark.kafka
OBEYED, INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 0, 47, 90
REFUSED = {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED}
ENDING: list[Cut] = ["close", "reset"]
CUTS = pytest.mark.parametrize("cut", ["stall", *(pytest.param(each, marks=pytest.mark.slow) for each in ENDING)])
PARTITIONS = (2, 4)


@dataclass
class Here:
    """A producer in DUAL whose frames go through the proxy, and what it was told."""

    bootstrap: str
    topics: tuple[str, str]
    producer: Producer
    told: dict[str, str | None] = field(default_factory=dict)
    number: int = 0

    def hear(self, error: KafkaError | None, message: Message) -> None:
        self.told[(message.value() or b"").decode()] = None if error is None else error.str()

    def write(self, count: int = 1) -> None:
        """Records of several keys."""
        for _ in range(count):
            self.producer.produce(self.topics[0], str(self.number), f"key-{self.number % 5}", on_delivery=self.hear)
            self.number += 1

    def flush(self) -> None:
        assert self.producer.flush(60) == 0

    def found(self) -> list[dict[bytes, list[tuple[bytes, bytes]]]]:
        """Stamp and value, key by key in the order of each topic."""
        return [by_key(read_committed(self.bootstrap, topic, count)) for topic, count in zip(self.topics, PARTITIONS, strict=True)]

    def values(self) -> list[str]:
        """What stands on both topics, which must be the same, each once."""
        source, target = self.found()
        assert source == target
        found = [int(value) for each in source.values() for _, value in each]
        assert len(found) == len(set(found))
        for each in source.values():
            numbers = [int(value) for _, value in each]
            assert numbers == sorted(numbers)
        return [str(each) for each in sorted(found)]

    def succeeded(self) -> list[str]:
        return sorted((value for value, error in self.told.items() if error is None), key=int)


def by_key(messages: list[Message]) -> dict[bytes, list[tuple[bytes, bytes]]]:
    found: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for each in messages:
        stamp = stamp_of(each.headers())
        assert stamp is not None
        found.setdefault(each.key() or b"", []).append((stamp.encoded(), each.value() or b""))
    return found


Enter = Callable[..., Here]


@pytest.fixture
def enter(proxied: ProxiedKafka, proxy: Proxy) -> Iterator[Enter]:
    """Puts a producer into DUAL; closed after the test."""
    name = uuid.uuid4().hex[:8]
    topics = (f"source-{name}", f"target-{name}")
    proxied.create_topics(dict(zip(topics, PARTITIONS, strict=True)), {"max.message.bytes": "100000"})
    control = make_control_topic(AdminClient({"bootstrap.servers": proxied.bootstrap}))
    made: list[Producer] = []

    def producer(**more: Any) -> Here:  # noqa: ANN401
        settings = {"bootstrap.servers": proxy.bootstrap, "cutover.control.topic": control, "cutover.topic": topics[0]}
        made.append(Producer({**settings, "partitioner": "murmur2", "socket.timeout.ms": 1000, **more}))
        if "transactional.id" in more:
            made[0].init_transactions(30)
        with Driver(proxied.bootstrap, control) as driver:
            driver.open(*topics)
            driver.joined(1)
            assert [ack.problem for ack in driver.flip(Mode.DUAL).values()] == [None]
        return Here(proxied.bootstrap, topics, made[0])

    yield producer
    for each in made:
        each.close()


def is_dual(request: Request) -> bool:
    return request.transactional is not None and (request.transactional.transactional_id or "").startswith("cutover.dual.")


def commits(request: Request) -> bool:
    return is_dual(request) and request.transactional is not None and request.transactional.committed is True


def aborts(request: Request) -> bool:
    return is_dual(request) and request.transactional is not None and request.transactional.committed is False


def released_in_the_next(proxy: Proxy, held: Held) -> threading.Event:
    """The late frame is delivered while the broker has records of a later transaction whose answer the client does not have yet."""
    done = threading.Event()

    def release(_: Request) -> None:
        held.release()
        done.set()

    proxy.on("Produce", release, when=lambda request: is_dual(request) and held.fired.done(), moment="before_answer")
    return done


@CUTS
@on_versions(2, 1, slow=(1,))
def test_a_late_commit_finds_another_epoch(enter: Enter, proxy: Proxy, cut: Cut) -> None:
    here = enter()
    here.write(5)
    here.flush()
    held = proxy.hold("EndTxn", when=commits, mode=cut)
    here.write(5)
    here.flush()
    done = released_in_the_next(proxy, held)
    here.write(20)
    here.flush()
    assert done.wait(60)
    here.write(5)
    here.flush()
    assert held.answered.result().error_code in REFUSED
    assert here.values() == here.succeeded()
    assert len(here.told) == here.number
    if cut != "stall":
        assert len(here.succeeded()) == here.number


@on_versions(2, 1, slow=(1,))
def test_without_the_rule_the_late_commit_is_obeyed(enter: Enter, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.client.transactor.SLOW_SECONDS", 60.0)
    monkeypatch.setattr("cutover.client.transactor.Alarm.log", lambda *_, **__: None)
    here = enter()
    held = proxy.hold("EndTxn", when=commits)
    here.write(5)
    here.flush()
    done = released_in_the_next(proxy, held)
    here.write(20)
    here.producer.flush(15)
    assert done.wait(60)
    assert held.answered.result().error_code == OBEYED


@CUTS
@on_versions(2, 1, slow=(1,))
def test_a_late_abort_finds_another_epoch(enter: Enter, proxy: Proxy, cut: Cut) -> None:
    here = enter()
    held = proxy.hold("EndTxn", when=aborts, mode=cut)
    here.write(2)
    here.producer.produce(here.topics[0], b"x" * 200_000, b"too large for the broker")
    here.write(2)
    done = released_in_the_next(proxy, held)
    here.flush()
    here.write(20)
    here.flush()
    assert done.wait(60)
    assert held.answered.result().error_code in REFUSED
    assert here.values() == here.succeeded()
    assert here.succeeded()[-20:] == [str(number) for number in range(4, 24)], "only neighbours in the batch that the broker refused fail"
    assert len(here.told) == here.number


@pytest.mark.parametrize("api", ["Produce", "AddPartitionsToTxn"])
@CUTS
@on_versions(2, 1, slow=(1,))
def test_a_late_frame_of_the_writing_itself_changes_nothing(enter: Enter, proxy: Proxy, api: str, cut: Cut) -> None:
    here = enter()
    held = proxy.hold(api, when=is_dual, mode=cut)
    here.write(5)
    here.flush()
    done = released_in_the_next(proxy, held)
    for _ in range(4):
        here.write(5)
        here.flush()
    assert done.wait(60)
    assert here.values() == here.succeeded()
    assert len(here.succeeded()) == here.number == 25


@on_versions(2, 1, slow=(1,))
def test_a_commit_whose_answer_never_comes_is_looked_up(enter: Enter, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.client.dual_writer.COMMIT_SECONDS", 0.5)
    here = enter()
    here.write(5)
    here.flush()
    lost = proxy.on("EndTxn", lambda _: None, when=commits, moment="before_answer", forward=False)
    here.write(5)
    here.flush()
    lost.wait()
    here.write(5)
    here.flush()
    assert here.values() == here.succeeded()
    assert len(here.succeeded()) == here.number == 15


@on_versions(2, 1, slow=(1,))
def test_a_commit_that_never_arrived_is_told_as_written_nowhere(enter: Enter, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.client.dual_writer.COMMIT_SECONDS", 0.5)
    here = enter()
    here.write(5)
    here.flush()
    held = proxy.hold("EndTxn", when=commits, mode="stall")
    here.write(5)
    here.flush()
    here.write(5)
    here.flush()
    assert held.release().error_code in REFUSED
    assert here.values() == here.succeeded() == ["0", "1", "2", "3", "4", "10", "11", "12", "13", "14"]
    assert ["neither topic" in (here.told[str(number)] or "") for number in range(5, 10)] == [True] * 5


@CUTS
@pytest.mark.parametrize("ends", ["commit", "abort"])
@on_versions(2, 1, slow=(1,))
def test_a_late_end_of_an_applications_transaction_finds_another_epoch(enter: Enter, proxy: Proxy, cut: Cut, ends: str) -> None:
    here = enter(**{"transactional.id": f"app-{uuid.uuid4().hex[:8]}"})
    held = proxy.hold("EndTxn", when=commits if ends == "commit" else aborts, mode=cut)
    end = partial(Producer.commit_transaction if ends == "commit" else Producer.abort_transaction, here.producer)
    here.producer.begin_transaction()
    here.write(5)
    here.flush()
    end(30)
    done = released_in_the_next(proxy, held)
    here.producer.begin_transaction()
    here.write(10)
    here.producer.commit_transaction(30)
    assert done.wait(60)
    assert held.answered.result().error_code in REFUSED
    assert here.values() == [str(number) for number in range(0 if ends == "commit" else 5, 15)]


@on_versions(2, 1, slow=(1,))
def test_who_takes_the_id_shuts_the_instance_out_until_it_has_looked_into_the_log(enter: Enter, proxied: ProxiedKafka) -> None:
    import confluent_kafka

    here = enter(**{"cutover.instance": f"orders-{uuid.uuid4().hex[:8]}"})
    here.write(5)
    here.flush()
    name = f"cutover.dual.{here.producer._settings.instance}"
    other = confluent_kafka.Producer({"bootstrap.servers": proxied.bootstrap, "transactional.id": name})
    other.init_transactions(60)
    here.write(5)
    here.flush()
    assert here.values() == here.succeeded() == [str(number) for number in range(10)]
