"""Mode DUAL while a broker of three dies as by a power cut: the coordinator of the instance's transactions, or a leader of either topic.

The producer goes on by itself, with two brokers and again with three; what was acknowledged is on both topics, in one order for each key.
"""

import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import AdminClient, NewTopic

from cutover.client import Producer
from cutover.kafka.embedded import EmbeddedKafka
from cutover.protocol import Mode
from cutover.stamps import Stamp, stamp_of
from tests.conformance.driving import Driver, read_committed
from tests.conftest import WaitUntil

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client-brokers"), pytest.mark.timeout(900), pytest.mark.slow]
PARTITIONS = (3, 6)
ByKey = dict[bytes, list[tuple[Stamp | None, str]]]
KEYS = 7
BATCH = 20
CALL_SECONDS = 15.0
QUICK = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}


@dataclass
class Three:
    """A cluster of three, and a pair on it with a copy of everything on each."""

    kafka: EmbeddedKafka
    topics: tuple[str, str] = ("", "")
    control: str = ""

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers, "log_level": 0})
        name = uuid.uuid4().hex[:8]
        self.topics, self.control = (f"source-{name}", f"target-{name}"), f"control-{name}"
        wanted = {self.control: 1, **dict(zip(self.topics, PARTITIONS, strict=True))}
        for made in self.admin.create_topics([NewTopic(each, partitions) for each, partitions in wanted.items()]).values():
            made.result(30)

    def leader(self, topic: str, partition: int) -> int:
        return int(self.admin.list_topics(topic, timeout=20).topics[topic].partitions[partition].leader)

    def coordinator(self, transactional_id: str) -> int:
        """The broker that leads the partition of the transaction log which holds this id (by Java's String.hashCode)."""
        partitions = self.admin.list_topics("__transaction_state", timeout=20).topics["__transaction_state"].partitions
        code = 0
        for letter in transactional_id:
            code = (31 * code + ord(letter)) & 0xFFFFFFFF
        return int(partitions[(code & 0x7FFFFFFF) % len(partitions)].leader)

    def whole(self) -> bool:
        """Every copy is in sync."""
        topics = self.admin.list_topics(timeout=20).topics
        return all(len(each.isrs) == 3 for topic in topics.values() for each in topic.partitions.values())

    def values(self) -> set[str]:
        """What stands on the source, once it was compared with the target."""
        source, target = (
            by_key(read_committed(self.kafka.bootstrap_servers, topic, partitions))
            for topic, partitions in zip(self.topics, PARTITIONS, strict=True)
        )
        require_equal(source, target)
        return {value for records in source.values() for _, value in records}


def require_equal(source: ByKey, target: ByKey) -> None:
    """Each record stands on the source once and in the order of its key; the target has those that were written to both."""
    assert target == {key: [each for each in records if each[0] is not None] for key, records in source.items()}
    for records in source.values():
        numbers = [int(value) for _, value in records]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    "planted", [(1, 2, 4), (1, 2, 3, 3, 4), (1, 3, 2, 4), (1, 2, 3, 4, 5)], ids=["missing", "twice", "swapped", "more"]
)
def test_what_is_not_equal_is_seen(planted: tuple[int, ...]) -> None:
    right: ByKey = {b"key": [(Stamp("a", "7f", 1, each), str(each)) for each in (1, 2, 3, 4)]}
    wrong: ByKey = {b"key": [(Stamp("a", "7f", 1, each), str(each)) for each in planted]}
    require_equal(right, right)
    for source, target in ((right, wrong), (wrong, right)):
        with pytest.raises(AssertionError):
            require_equal(source, target)
    if list(planted) != sorted(set(planted)):
        with pytest.raises(AssertionError):
            require_equal(wrong, wrong)


def by_key(messages: list[Message]) -> ByKey:
    found: ByKey = defaultdict(list)
    for each in messages:
        found[each.key() or b""].append((stamp_of(each.headers()), (each.value() or b"").decode()))
    return found


@pytest.fixture(scope="module")
def kafka() -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(3, heap_mb=256, config=QUICK) as made:
        yield made


@dataclass
class Writing:
    """An application that writes all the time, whatever happens, and keeps what it was told."""

    producer: Producer
    topic: str
    own: bool
    told: dict[str, str | None] = field(default_factory=dict)
    aborted: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)
    wrong: list[BaseException] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.run, daemon=True)

    @property
    def acknowledged(self) -> set[str]:
        return {value for value, error in dict(self.told).items() if error is None} - self.aborted

    def hear(self, error: KafkaError | None, message: Message) -> None:
        value = (message.value() or b"").decode()
        assert value not in self.told, "told twice"
        self.told[value] = None if error is None else error.str()

    def produce(self) -> str:
        number = next(self.numbers)
        self.producer.produce(self.topic, str(number), f"key-{number % KEYS}", on_delivery=self.hear)
        return str(number)

    def run(self) -> None:
        try:
            while not self.ended.wait(0.002):
                self.transact() if self.own else self.produce()
                self.producer.poll(0)
            assert self.producer.flush(60) == 0
        except BaseException as error:  # noqa: BLE001 - the thread's outermost frame: the test looks at it
            self.wrong.append(error)

    def transact(self) -> None:
        """One transaction; the application knows nothing of what is in one that it had to abort, and writes on."""
        self.producer.begin_transaction()
        values: set[str] = set()
        try:
            values |= {self.produce() for _ in range(BATCH)}
            self.insist(self.producer.commit_transaction)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.aborted |= values
            self.insist(self.producer.abort_transaction)

    def insist(self, call: Callable[[float], None]) -> None:
        """Make a call again as long as the client says that it may be made again."""
        while True:
            try:
                return call(CALL_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise

    def end(self) -> None:
        self.ended.set()
        self.thread.join(90)
        assert not self.thread.is_alive()
        assert self.wrong == []


Victim = Callable[[Three, str], int]
VICTIMS: dict[str, Victim] = {
    "coordinator": lambda three, name: three.coordinator(f"cutover.dual.{name}"),
    "source": lambda three, _: three.leader(three.topics[0], 0),
    "target": lambda three, _: three.leader(three.topics[1], 0),
}


@pytest.mark.parametrize("own", [False, True], ids=["batches", "transactions"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_broker_that_dies_costs_a_producer_in_dual_nothing_but_time(
    kafka: EmbeddedKafka, wait_until: WaitUntil, victim: str, own: bool
) -> None:
    three, name = Three(kafka), f"teller-{uuid.uuid4().hex[:8]}"
    wait_until(three.whole, 90, "every copy is in sync")
    told: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "cutover.control.topic": three.control,
        "cutover.topic": three.topics[0],
        "cutover.instance": name,
        "partitioner": "murmur2",
        "log_level": 0,
    }
    with (
        Driver(kafka.bootstrap_servers, three.control) as driver,
        Producer({**told, **({"transactional.id": name} if own else {})}) as made,
    ):
        if own:
            made.init_transactions(30)
        driver.joined(1)
        driver.open(*three.topics)
        assert [ack.problem for ack in driver.flip(Mode.DUAL).values()] == [None]
        writing = Writing(made, three.topics[0], own)
        writing.thread.start()
        goes_on = partial(more, writing, wait_until)
        goes_on("before")
        broker = kafka.broker(VICTIMS[victim](three, name))
        broker.kill()
        goes_on("with two brokers")
        broker.start()
        goes_on("with the third again")
        wait_until(three.whole, 90, "every copy is in sync again")
        goes_on("in the end")
        assert [ack.problem for ack in driver.flip(Mode.SOURCE, budget_ms=15_000).values()] == [None]
        driver.flip(Mode.DUAL, budget_ms=15_000)
        writing.end()
    found = three.values()
    assert not writing.acknowledged - found, "acknowledged and lost"
    assert not {value for value, error in writing.told.items() if error is not None and "not known" not in error} & found


def more(writing: Writing, wait_until: WaitUntil, when: str) -> None:
    """Until it has got some hundred more acknowledged than it has now."""
    wanted = len(writing.acknowledged) + 300
    wait_until(lambda: writing.wrong or len(writing.acknowledged) >= wanted, 90, f"it writes {when}")
    assert writing.wrong == []
