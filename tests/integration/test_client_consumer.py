"""The client library's consumer on a real Kafka: members of a group are stopped, moved and let go on by a driver of the tests' own."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition
from confluent_kafka import Producer as Plain

from cutover.client import Consumer, ControlUnavailable, PositionMissing
from cutover.client.stopping import BY_HAND
from cutover.protocol import Ack, Role, Side
from tests.conformance.driving import Driver
from tests.conformance.fixtures import ReadAll, control, driver, read_all, settings  # noqa: F401 - fixtures
from tests.conftest import MakeTopic, WaitUntil

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]
GROUP = "balances"
PROTOCOLS = {
    "eager": {},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},
}


class Member:
    """Polls in a thread of its own, and keeps what it was given; `busy` keeps it inside the application's code."""

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        *,
        batch: int = 0,
        together: list[Message] | None = None,
        **callbacks: Any,  # noqa: ANN401
    ) -> None:
        self.consumer = consumer
        self.together = [] if together is None else together
        self.had: list[Message] = []
        self.failed: Exception | None = None
        self.busy = threading.Event()
        self.busy.set()
        self._batch = batch
        self._ended = threading.Event()
        consumer.subscribe([topic], **callbacks)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                if taken := self._take():
                    self.had += taken
                    self.together += taken
                    self.busy.wait(60)
        except (ControlUnavailable, PositionMissing) as error:
            self.failed = error

    def _take(self) -> list[Message]:
        if self._batch:
            return [each for each in self.consumer.consume(self._batch, 0.2) if not each.error()]
        message = self.consumer.poll(0.2)
        return [] if message is None or message.error() else [message]

    def end(self) -> None:
        self._ended.set()
        self.busy.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture(autouse=True)
def group_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test joins what another has left behind, in another protocol perhaps."""
    monkeypatch.setattr(sys.modules[__name__], "GROUP", f"balances-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def pair(topic: MakeTopic) -> tuple[str, str]:
    return topic(2, name="source"), topic(4, name="target")


@pytest.fixture
def make(settings: dict[str, Any]) -> Iterator[Callable[..., Consumer]]:
    """Makes consumers of one group, closed after the test."""
    made: list[Consumer] = []

    def consumer(**more: Any) -> Consumer:  # noqa: ANN401
        brisk = {} if more.get("group.protocol") == "consumer" else {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        made.append(Consumer({**settings, "group.id": GROUP, "auto.offset.reset": "earliest", **brisk, **more}))
        return made[-1]

    yield consumer
    for each in made:
        each.close()


@pytest.fixture
def make_member(make: Callable[..., Consumer]) -> Iterator[Callable[..., Member]]:
    """Makes members of the group, ended after the test."""
    made: list[Member] = []
    together: list[Message] = []

    def one(topic: str, more: dict[str, Any] | None = None, **how: Any) -> Member:  # noqa: ANN401
        made.append(Member(make(**(more or {})), topic, together=together, **how))
        return made[-1]

    yield one
    for each in made:
        each.end()


class Mirrored:
    """Writes numbered records to the source and copies them to the target, with their origin."""

    def __init__(self, bootstrap: str, pair: tuple[str, str]) -> None:
        self._plain = Plain({"bootstrap.servers": bootstrap, "partitioner": "murmur2", "linger.ms": 1})
        self.pair = pair
        self.count = 0
        self.origins: dict[tuple[int, int], tuple[int, int]] = {}

    def write(self, records: int) -> None:
        """To the source, then to the target; `origins` says for each (partition, offset) of the target where it came from."""
        for _ in range(records):
            self._plain.produce(self.pair[0], str(self.count), f"key-{self.count % 11}", on_delivery=self._copy)
            self.count += 1
        assert self._plain.flush(30) == 0

    def _copy(self, error: KafkaError | None, message: Message) -> None:
        assert error is None
        origin = (message.partition() or 0, message.offset() or 0)
        self._plain.produce(self.pair[1], message.value(), message.key(), on_delivery=partial(self._copied, origin))

    def _copied(self, origin: tuple[int, int], _: KafkaError | None, copy: Message) -> None:
        self.origins[(copy.partition() or 0, copy.offset() or 0)] = origin

    def on_target(self, source: dict[int, int]) -> dict[int, int]:
        """The first offset of each target partition whose origin was not read."""
        unread = [place for place, origin in self.origins.items() if origin[1] >= source.get(origin[0], 0)]
        ends = {p: 1 + max((offset for q, offset in self.origins if q == p), default=-1) for p in range(4)}
        return {p: min((offset for q, offset in unread if q == p), default=ends[p]) for p in range(4)}

    def on_source(self, target: dict[int, int]) -> dict[int, int]:
        """The first offset of each source partition whose copy was not read."""
        unread = [origin for place, origin in self.origins.items() if place[1] >= target.get(place[0], 0)]
        ends = {p: 1 + max((offset for q, offset in self.origins.values() if q == p), default=-1) for p in range(2)}
        return {p: min((offset for q, offset in unread if q == p), default=ends[p]) for p in range(2)}


@pytest.fixture
def mirrored(bootstrap: str, pair: tuple[str, str]) -> Mirrored:
    return Mirrored(bootstrap, pair)


def place(driver: Driver, group: str, topic: str, positions: dict[int, int]) -> None:
    """Write a live group's positions, as the driver does: in a transaction."""
    driver.commit_positions(group, [TopicPartition(topic, partition, offset) for partition, offset in positions.items()])


def numbers(*members: Member) -> list[int]:
    return sorted(int(each.value() or b"") for member in members for each in member.had)


def out_of_order(messages: list[Message]) -> list[bytes]:
    """The keys that had an older record handed out after a newer one, whoever got them."""
    newest: dict[bytes, int] = {}
    wrong = []
    for each in messages:
        key, number = each.key() or b"", int(each.value() or b"")
        if number < newest.get(key, -1):
            wrong.append(key)
        newest[key] = max(number, newest.get(key, -1))
    return wrong


def handed_out(members: list[Member], wanted: int) -> bool:
    return sum(len(each.had) for each in members) >= wanted


def topics_of(*members: Member) -> list[str]:
    return [each.topic() or "" for member in members for each in member.had]


def committed(acks: dict[str, Ack]) -> dict[int, int]:
    return {partition: offset for ack in acks.values() for partition, offset in ack.offsets.items()}


@pytest.mark.parametrize(
    ("batch", "protocol"),
    [(0, "eager"), (0, "cooperative"), (0, "consumer"), *(pytest.param(7, each, marks=pytest.mark.slow) for each in PROTOCOLS)],
)
def test_two_members_go_to_the_target_and_back_and_every_record_is_handed_out_once(
    driver: Driver,
    make_member: Callable[..., Member],
    pair: tuple[str, str],
    mirrored: Mirrored,
    wait_until: WaitUntil,
    protocol: str,
    batch: int,
) -> None:
    source, target = pair
    members = [make_member(source, PROTOCOLS[protocol], batch=batch) for _ in range(2)]
    driver.open(source, target)
    mirrored.write(200)
    wait_until(lambda: len(numbers(*members)) >= 200, 60, "the first records")
    for to in (Side.TARGET, Side.SOURCE):
        mirrored.write(100)
        term = driver.stop(GROUP)
        driver.all_stopped(GROUP)
        so_far = len(numbers(*members))
        here = driver.committed(GROUP, source if to is Side.TARGET else target)
        mirrored.write(100)
        there = mirrored.on_target(here) if to is Side.TARGET else mirrored.on_source(here)
        place(driver, GROUP, target if to is Side.TARGET else source, there)
        assert len(numbers(*members)) == so_far
        driver.read(GROUP, term, to)
        wait_until(partial(handed_out, members, mirrored.count), 60, f"everything on {to}")
    for each in members:
        each.end()
    assert numbers(*members) == list(range(mirrored.count))
    assert {source, target} == set(topics_of(*members))
    assert out_of_order(members[0].together) == []


def test_the_check_of_order_sees_a_record_that_came_too_late() -> None:
    early, late = (Message(topic="t", partition=0, offset=n, key=b"key", value=str(n).encode()) for n in (1, 2))
    assert out_of_order([late, early]) == [b"key"]
    assert out_of_order([early, late]) == []


def test_without_a_pair_everything_passes_through(
    make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil, driver: Driver
) -> None:
    mirrored.write(20)
    member = make_member(pair[0])
    wait_until(lambda: len(member.had) == 20, 30, "all records")
    driver.joined(1)
    member.end()
    join = next(iter(driver.state.instances.values())).joined
    assert (join.role, join.group, join.topic) == (Role.CONSUMER, GROUP, pair[0])


def test_a_stopped_group_gets_nothing_until_it_is_let_go_on_where_it_was(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    driver.open(*pair)
    member = make_member(pair[0])
    mirrored.write(30)
    wait_until(lambda: len(member.had) == 30, 30, "the first records")
    term = driver.stop(GROUP)
    acks = driver.all_stopped(GROUP)
    assert sum(committed(dict(acks)).values()) == 30
    mirrored.write(30)
    driver.listen(1)
    assert len(member.had) == 30
    driver.read(GROUP, term, Side.SOURCE)
    wait_until(lambda: len(member.had) == 60, 30, "the rest")
    member.end()
    assert numbers(member) == list(range(60))


def test_a_member_inside_the_applications_code_is_waited_for(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    driver.open(*pair)
    member = make_member(pair[0])
    member.busy.clear()
    mirrored.write(1)
    wait_until(lambda: len(member.had) == 1, 30, "a record")
    driver.stop(GROUP)
    driver.listen(0.5)
    assert driver.state.missing(driver.pair, GROUP)
    member.busy.set()
    driver.all_stopped(GROUP)
    member.end()


def test_members_read_on_to_a_cut_and_not_past_it(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    held: dict[int, list[TopicPartition]] = {}

    def keep(consumer: Any, partitions: list[TopicPartition]) -> None:  # noqa: ANN401
        held[id(consumer)] = partitions

    driver.open(*pair)
    members = [make_member(pair[0], on_assign=keep) for _ in range(2)]
    mirrored.write(20)
    wait_until(lambda: len(numbers(*members)) == 20, 40, "the first records")
    wait_until(lambda: len(held) == 2 and all(len(each) == 1 for each in held.values()), 40, "both hold a partition")
    term = driver.stop(GROUP)
    driver.all_stopped(GROUP)
    mirrored.write(40)
    ends = {p: 1 + max(offset for q, offset in mirrored.origins.values() if q == p) for p in range(2)}
    limit = {p: end - 5 for p, end in ends.items()}
    driver.until_offsets(GROUP, term, limit)
    acks = driver.all_stopped(GROUP)
    assert {ack.until for ack in acks.values()} == {True}
    assert committed(dict(acks)) == limit
    assert len(numbers(*members)) == sum(limit.values())
    driver.read(GROUP, term, Side.SOURCE)
    wait_until(lambda: len(numbers(*members)) >= 60, 30, "the rest")
    for each in members:
        each.end()
    assert numbers(*members) == list(range(60))


def test_a_cut_at_the_end_of_a_log_that_ends_in_control_records_is_reached(
    driver: Driver, bootstrap: str, make_member: Callable[..., Member], pair: tuple[str, str], wait_until: WaitUntil
) -> None:
    driver.open(*pair)
    assigned: list[TopicPartition] = []
    member = make_member(pair[0], on_assign=lambda _, partitions: assigned.extend(partitions))
    driver.joined(1)
    wait_until(lambda: len(assigned) == 2, 30, "both partitions")
    term = driver.stop(GROUP)
    driver.all_stopped(GROUP)
    writer = Plain({"bootstrap.servers": bootstrap, "transactional.id": f"ends-{pair[0]}"})
    writer.init_transactions(30)
    for value in (b"1", b"2"):
        writer.begin_transaction()
        writer.produce(pair[0], value, partition=0)
        writer.commit_transaction(30)
    driver.until_offsets(GROUP, term, {0: 4, 1: 0})
    acks = driver.all_stopped(GROUP)
    assert [ack.until for ack in acks.values()] == [True]
    assert numbers(member) == [1, 2]
    driver.read(GROUP, term, Side.SOURCE)
    member.end()


def test_a_member_that_joins_a_stopped_group_starts_stopped_and_acknowledges(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    driver.open(*pair)
    mirrored.write(10)
    term = driver.stop(GROUP)
    member = make_member(pair[0])
    driver.until(lambda: (stop := driver.here.group(GROUP).stop) is not None and stop.acks, "the newcomer acknowledges")
    driver.listen(0.5)
    assert member.had == []
    driver.read(GROUP, term, Side.SOURCE)
    wait_until(lambda: len(member.had) == 10, 30, "all records")
    member.end()


def test_a_partition_of_the_target_without_a_position_stops_the_member_loudly(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    driver.open(*pair)
    member = make_member(pair[0])
    mirrored.write(40)
    wait_until(lambda: len(member.had) == 40, 30, "the first records")
    term = driver.stop(GROUP)
    there = mirrored.on_target(committed(dict(driver.all_stopped(GROUP))))
    mirrored.write(20)
    place(driver, GROUP, pair[1], {p: offset for p, offset in there.items() if p != 3})
    driver.read(GROUP, term, Side.TARGET)
    wait_until(lambda: member.failed, 30, "the member fails")
    assert isinstance(member.failed, PositionMissing)
    assert f"{pair[1]}[3] has none" in str(member.failed)
    place(driver, GROUP, pair[1], {3: there[3]})
    again = Member(member.consumer, pair[0])
    try:
        wait_until(lambda: len(member.had) + len(again.had) >= 60, 30, "the rest")
    finally:
        again.end()
    assert numbers(member, again) == list(range(60))


def test_a_driver_that_dies_leaves_members_where_they_were_after_the_budget(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    driver.open(*pair)
    member = make_member(pair[0])
    mirrored.write(5)
    wait_until(lambda: len(member.had) == 5, 30, "the first records")
    term = driver.stop(GROUP, budget_ms=1000)
    driver.all_stopped(GROUP)
    mirrored.write(5)
    driver.until(lambda: driver.expired(), "EXPIRED stands in the log")
    driver.read(GROUP, term, Side.TARGET)
    wait_until(lambda: len(member.had) == 10, 30, "the rest")
    member.end()
    assert set(topics_of(member)) == {pair[0]}


def test_what_the_application_commits_itself_stands(
    driver: Driver, make: Callable[..., Consumer], pair: tuple[str, str], mirrored: Mirrored
) -> None:
    driver.open(*pair)
    consumer = make(**{"enable.auto.commit": False})
    consumer.subscribe([pair[0]])
    mirrored.write(12)
    had: list[Message] = []
    while len(had) < 12:
        had += consumer.consume(4, 0.1)
    first = next(each for each in had if each.partition() == 0)
    consumer.commit(message=first, asynchronous=False)
    driver.stop(GROUP)
    while driver.state.missing(driver.pair, GROUP):
        assert consumer.poll(0.05) is None
        driver.listen()
    assert committed(dict(driver.all_stopped(GROUP))) == {0: 1}


def test_partitions_assigned_by_hand_are_read_on_and_said_in_the_acknowledgement(
    driver: Driver, make: Callable[..., Consumer], pair: tuple[str, str], mirrored: Mirrored
) -> None:
    driver.open(*pair)
    mirrored.write(10)
    consumer = make()
    consumer.assign([TopicPartition(pair[0], p, 0) for p in range(2)])
    had: list[Message] = []
    driver.joined(1)
    driver.stop(GROUP)
    while driver.state.missing(driver.pair, GROUP) or len(had) < 10:
        had += consumer.consume(10, 0.05)
        driver.listen(0.01)
    assert [ack.problem for ack in driver.all_stopped(GROUP).values()] == [BY_HAND]


def test_the_applications_rebalance_callbacks_are_called_for_both_sides(
    driver: Driver, make_member: Callable[..., Member], pair: tuple[str, str], mirrored: Mirrored, wait_until: WaitUntil
) -> None:
    heard: list[tuple[str, str]] = []

    def hear(word: str) -> Callable[[Any, list[TopicPartition]], None]:
        return lambda _, partitions: heard.extend((word, each.topic) for each in partitions)

    driver.open(*pair)
    member = make_member(pair[0], on_assign=hear("assign"), on_revoke=hear("revoke"), on_lost=hear("lost"))
    mirrored.write(10)
    wait_until(lambda: len(member.had) == 10, 30, "the first records")
    term = driver.stop(GROUP)
    place(driver, GROUP, pair[1], mirrored.on_target(committed(dict(driver.all_stopped(GROUP)))))
    driver.read(GROUP, term, Side.TARGET)
    mirrored.write(10)
    wait_until(lambda: len(member.had) == 20, 30, "the rest")
    member.end()
    told = [("assign", pair[0])] * 2 + [("revoke", pair[0])] * 2 + [("assign", pair[1])] * 4
    assert heard[:8] == told, "the side it left is told as revoked before the other one is assigned"


def test_a_consumer_without_a_control_topic_hands_nothing_out_and_then_fails(
    make: Callable[..., Consumer], pair: tuple[str, str], mirrored: Mirrored
) -> None:
    mirrored.write(5)
    consumer = make(**{"cutover.control.topic": f"missing-{pair[0]}", "cutover.hold.timeout": 0.5})
    consumer.subscribe([pair[0]])
    had: list[Message | None] = []
    with pytest.raises(ControlUnavailable):
        had.extend(consumer.poll(0.1) for _ in range(200))
    assert [each for each in had if each is not None] == []


def test_ends_of_partitions_are_told_only_to_who_asked_for_them(
    make: Callable[..., Consumer], pair: tuple[str, str], mirrored: Mirrored, driver: Driver
) -> None:
    mirrored.write(5)
    plain, asking = make(), make(**{"enable.partition.eof": True, "group.id": "asks"})
    found: dict[str, list[Message]] = {"plain": [], "asking": []}
    for each in (plain, asking):
        each.subscribe([pair[0]])
    deadline = time.monotonic() + 90
    while (len(found["plain"]) < 5 or len(found["asking"]) < 7) and time.monotonic() < deadline:
        found["plain"] += plain.consume(10, 0.1)
        found["asking"] += asking.consume(10, 0.1)
    driver.joined(2)
    ends = {name: [each.error() for each in messages if each.error()] for name, messages in found.items()}
    assert (len(ends["plain"]), len(ends["asking"])) == (0, 2)


def test_close_leaves_the_log(
    make: Callable[..., Consumer], pair: tuple[str, str], mirrored: Mirrored, driver: Driver, read_all: ReadAll
) -> None:
    consumer = make()
    consumer.subscribe([pair[0]])
    mirrored.write(1)
    while consumer.poll(0.1) is None:
        pass
    driver.joined(1)
    consumer.close()
    driver.until(lambda: not driver.state.instances, "it has left")
    assert len(read_all(pair[0])) == 1
