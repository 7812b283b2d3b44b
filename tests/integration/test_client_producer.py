"""The client library's producer on a real Kafka, driven by a driver of the tests' own."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

import gc
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from functools import partial
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import AdminClient

from cutover.client import ControlUnavailable, Held, InstanceReplaced, NotSupported, Producer, SettingsWrong
from cutover.client.producer import EXPLICIT, KEPT
from cutover.protocol import Ack, Join, Leave, Mode, Role
from tests.conformance.driving import Driver
from tests.conformance.fixtures import Make, ReadAll, control, driver, make, pair, read_all, settings  # noqa: F401 - fixtures
from tests.conftest import SLOW_MACHINE, MakeTopic, WaitUntil

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]


def values(messages: list[Message]) -> list[bytes]:
    return sorted(each.value() or b"" for each in messages)


def written(producer: Producer, topic: str, *words: bytes) -> None:
    for word in words:
        producer.produce(topic, word, b"key")
    assert producer.flush(60) == 0


def test_four_threads_write_on_through_three_switches_and_every_key_stays_in_order(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    source, target = pair
    producer = make()
    driver.joined(1)
    driver.open(source, target)
    ended, sent, slowest = threading.Event(), [0] * 4, [0.0] * 4

    def write(number: int) -> None:
        while not ended.is_set():
            began = time.monotonic()
            producer.produce(source, str(sent[number]), f"{number}-{sent[number] % 7}")
            slowest[number] = max(slowest[number], time.monotonic() - began)
            sent[number] += 1
            producer.poll(0.0005)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    ends: list[dict[int, int]] = []
    for to in (Mode.TARGET, Mode.SOURCE, Mode.TARGET):
        wanted = sum(sent) + 400
        driver.until(partial(more_than, sent, wanted), "the producer writes")
        acks = driver.flip(to)
        assert [ack.problem for ack in acks.values()] == [None]
        ends.append(dict(next(iter(acks.values())).offsets))
    ended.set()
    for each in threads:
        each.join()
    assert producer.flush(60) == 0

    found = {topic: read_all(topic) for topic in pair}
    assert sum(len(each) for each in found.values()) == sum(sent)
    runs = spans(found[source], ends[0]) + spans(found[target], ends[1]) + spans(found[source], ends[0], past=True)
    order = runs + spans(found[target], ends[1], past=True)
    for key, numbers in by_key(order).items():
        assert numbers == sorted(numbers), key
    assert max(slowest) < 5


def more_than(sent: list[int], wanted: int) -> bool:
    return sum(sent) > wanted


def spans(messages: list[Message], ends: dict[int, int], *, past: bool = False) -> list[Message]:
    """The records up to what was acknowledged when the topic was left for the first time, or those after it."""
    return [each for each in messages if ((each.offset() or 0) > ends.get(each.partition() or 0, -1)) is past]


def by_key(messages: list[Message]) -> dict[bytes, list[int]]:
    found: dict[bytes, list[int]] = defaultdict(list)
    for each in messages:
        found[each.key() or b""].append(int(each.value() or b""))
    return found


def test_without_a_pair_produce_is_the_plain_clients_own_method(make: Make, pair: tuple[str, str], driver: Driver) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    assert producer.produce == confluent_kafka.Producer.produce.__get__(producer)
    driver.open(*pair)
    driver.until(lambda: producer.produce == Producer.produce.__get__(producer), "the gate is back")


def test_nobody_writes_while_held_and_what_was_called_meanwhile_goes_to_the_target(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    source, target = pair
    producer = make()
    written(producer, source, b"before")
    driver.open(source, target)
    term = driver.hold(budget_ms=15000)
    acks = driver.all_held()
    caller = threading.Thread(target=written, args=(producer, source, b"during"))
    caller.start()
    assert len(read_all(source)) == 1
    assert caller.is_alive()
    driver.release(term)
    caller.join(60)
    written(producer, source, b"after")
    assert values(read_all(source)) == [b"before"]
    assert values(read_all(target)) == [b"after", b"during"]
    first = read_all(source)[0]
    assert [ack.offsets for ack in acks.values()] == [{first.partition(): first.offset()}]


def test_an_undone_hold_lets_producers_go_on_where_they_were(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    driver.open(*pair)
    term = driver.hold()
    driver.all_held()
    driver.undo(term)
    written(producer, pair[0], b"2")
    assert (len(read_all(pair[0])), len(read_all(pair[1]))) == (2, 0)


def test_a_driver_that_dies_in_a_hold_delays_producers_by_the_budget_and_its_late_release_is_void(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    driver.open(*pair)
    term = driver.hold(budget_ms=700)
    driver.until(lambda: producer._gate.look(pair[0]).shut, "the hold is heard")
    began = time.monotonic()
    written(producer, pair[0], b"2")
    assert 0.2 < time.monotonic() - began < 5 * SLOW_MACHINE
    driver.until(lambda: driver.expired(), "EXPIRED stands in the log")
    driver.release(term)
    assert driver.here.mode is Mode.SOURCE
    written(producer, pair[0], b"3")
    assert (len(read_all(pair[0])), len(read_all(pair[1]))) == (3, 0)


def test_a_second_hold_supersedes_the_first(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    driver.open(*pair)
    driver.hold()
    driver.all_held()
    term = driver.hold()
    driver.all_held()
    driver.release(term)
    written(producer, pair[0], b"2")
    assert len(read_all(pair[1])) == 1


def test_a_caller_that_waits_longer_than_the_hold_timeout_gets_held_and_may_call_again(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make(**{"cutover.hold.timeout": 0.2})
    written(producer, pair[0], b"1")
    driver.open(*pair)
    term = driver.hold(budget_ms=15000)
    driver.all_held()
    with pytest.raises(Held) as raised:
        producer.produce(pair[0], b"2", b"key")
    assert isinstance(raised.value, KafkaException)
    assert raised.value.args[0].retriable()
    driver.release(term)
    written(producer, pair[0], b"2")
    assert values(read_all(pair[1])) == [b"2"]


def test_a_delivery_callback_that_produces_during_the_hold_does_not_deadlock_and_its_record_goes_to_the_target(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    source, target = pair
    producer = make(**{"linger.ms": 60000})
    written(producer, source, b"first")
    driver.open(source, target)
    driver.until(lambda: "produce" not in vars(producer), "the pair is heard")
    producer.produce(source, b"cause", b"key", on_delivery=lambda *_: producer.produce(source, b"effect", b"key"))
    term = driver.hold(budget_ms=15000)
    assert [ack.problem for ack in driver.all_held().values()] == [None]
    assert len(producer) == 1
    driver.release(term)
    assert producer.flush(60) == 0
    assert values(read_all(source)) == [b"cause", b"first"]
    assert values(read_all(target)) == [b"effect"]


def test_a_callback_that_needs_a_lock_of_a_waiting_caller_costs_the_switch_and_nothing_else(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    source, target = pair
    producer = make(**{"linger.ms": 60000})
    written(producer, source, b"1")
    driver.open(source, target)
    driver.until(lambda: "produce" not in vars(producer), "the pair is heard")
    lock = threading.Lock()

    def locked(*_: object) -> None:
        with lock:
            pass

    with lock:
        producer.produce(source, b"2", b"key", on_delivery=locked)
        driver.hold(budget_ms=800)
        driver.until(lambda: producer._gate.look(source).shut, "the hold is heard")
        producer.produce(source, b"3", b"key")  # waits with the lock, until the budget is over
    assert producer.flush(60) == 0
    driver.until(lambda: driver.expired(), "the budget passed")
    assert not [record for _, record in driver.records if isinstance(record, Ack)]
    assert (len(read_all(source)), len(read_all(target))) == (3, 0)


def test_no_acknowledgement_while_records_are_on_their_way(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    producer = make(acks="all", **{"queue.buffering.max.messages": 100000})
    driver.open(*pair)
    for number in range(2000):
        producer.produce(pair[0], b"x" * 500, str(number))
    driver.hold(budget_ms=15000)
    offsets = next(iter(driver.all_held().values())).offsets
    found = read_all(pair[0])
    assert len(found) == 2000
    assert offsets == {p: max(each.offset() or 0 for each in found if each.partition() == p) for p in range(3)}


def test_explicit_partitions_are_said_in_the_acknowledgement_and_refused_on_the_target(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make()
    driver.open(*pair)
    driver.joined(1)
    driver.until(lambda: producer._watch.view.pair(pair[0]), "the pair is heard")
    producer.produce(pair[0], b"1", b"key", 2)
    assert [ack.problem for ack in driver.flip().values()] == [EXPLICIT]
    with pytest.raises(NotSupported):
        producer.produce(pair[0], b"2", b"key", partition=2)
    assert [each.partition() for each in read_all(pair[0])] == [2]
    assert read_all(pair[1]) == []


def test_an_application_that_kept_the_plain_method_is_not_switched(driver: Driver, make: Make, pair: tuple[str, str]) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    kept = producer.produce
    driver.open(*pair)
    term = driver.hold()
    assert [ack.problem for ack in driver.all_held().values()] == [KEPT]
    driver.undo(term)
    del kept
    driver.hold()
    assert [ack.problem for ack in driver.all_held().values()] == [None]


def test_a_transaction_may_end_within_the_budget_and_the_next_begins_on_the_target(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    source, target = pair
    producer = make(**{"transactional.id": f"app-{source}"})
    producer.init_transactions(30)
    driver.open(source, target)
    producer.begin_transaction()
    producer.produce(source, b"1", b"key")
    term = driver.hold(budget_ms=15000)
    producer.produce(source, b"2", b"key")
    driver.listen(0.3)
    assert driver.state.missing(driver.pair)
    producer.commit_transaction(60)
    driver.all_held()
    begun = threading.Thread(target=producer.begin_transaction)
    begun.start()
    driver.release(term)
    begun.join(60)
    producer.produce(source, b"3", b"key")
    producer.commit_transaction(60)
    assert (values(read_all(source)), values(read_all(target))) == ([b"1", b"2"], [b"3"])


def test_a_transaction_aborted_in_the_hold_leaves_nothing_behind(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make(**{"transactional.id": f"app-{pair[0]}"})
    producer.init_transactions(30)
    driver.open(*pair)
    producer.begin_transaction()
    producer.produce(pair[0], b"1", b"key")
    term = driver.hold(budget_ms=15000)
    producer.abort_transaction(20)
    driver.all_held()
    driver.release(term)
    assert (read_all(pair[0]), read_all(pair[1])) == ([], [])


def test_an_instance_that_finds_a_hold_waits_and_begins_on_the_other_side(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    driver.open(*pair)
    term = driver.hold(budget_ms=15000)
    producer = make()
    caller = threading.Thread(target=written, args=(producer, pair[0], b"1"))
    caller.start()
    driver.joined(1)
    assert caller.is_alive()
    driver.release(term)
    caller.join(60)
    assert (len(read_all(pair[0])), len(read_all(pair[1]))) == (0, 1)


def test_nothing_is_taken_while_there_is_no_control_topic_and_it_is_never_created(
    make: Make, pair: tuple[str, str], admin: AdminClient
) -> None:
    missing = f"missing-{pair[0]}"
    producer = make(**{"cutover.control.topic": missing, "cutover.hold.timeout": 0.3, "cutover.start.timeout": 0.3})
    with pytest.raises(ControlUnavailable):
        producer.produce(pair[0], b"1", b"key")
    assert missing not in admin.list_topics(timeout=10).topics
    assert len(producer) == 0


def test_a_control_topic_that_was_made_again_is_not_followed(
    control: str, make: Make, pair: tuple[str, str], admin: AdminClient, wait_until: WaitUntil
) -> None:
    producer = make(**{"cutover.identity.seconds": 0.2, "cutover.hold.timeout": 0.3})
    written(producer, pair[0], b"1")
    admin.delete_topics([control])[control].result(60)
    wait_until(lambda: control not in admin.list_topics(timeout=10).topics, 20, "it is gone")
    wait_until(lambda: "produce" not in vars(producer), 20, "the loss is seen")
    with pytest.raises(ControlUnavailable, match="described"):
        producer.produce(pair[0], b"2", b"key")
    admin.create_topics([confluent_kafka.admin.NewTopic(control, 1, 1)])[control].result(60)
    wait_until(lambda: producer._watch.view.trouble and "made again" in producer._watch.view.trouble.why, 20, "another id is seen")
    with pytest.raises(ControlUnavailable, match="made again"):
        producer.produce(pair[0], b"2", b"key")


def test_a_record_that_cannot_be_read_stops_the_instance(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    producer = make(**{"cutover.hold.timeout": 0.3})
    written(producer, pair[0], b"1")
    driver.whisper(b'{"v":1,"type":"JUMP"}')
    driver_sees = producer._watch
    deadline = time.monotonic() + 90
    while driver_sees.view.trouble is None and time.monotonic() < deadline:
        producer.poll(0.05)
    with pytest.raises(ControlUnavailable, match="JUMP"):
        producer.produce(pair[0], b"2", b"key")
    assert len(read_all(pair[0])) == 1


def test_close_leaves_the_log_with_the_last_offsets(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    producer = make()
    driver.open(*pair)
    driver.joined(1)
    driver.until(lambda: producer._watch.view.pair(pair[0]), "the pair is heard")
    written(producer, pair[0], b"1", b"2")
    assert producer.close()
    driver.until(lambda: not driver.state.instances, "it has left")
    leave = driver.records[-1][1]
    assert isinstance(leave, Leave)
    last = max(read_all(pair[0]), key=lambda each: each.offset() or 0)
    assert leave.offsets == {last.partition(): last.offset()}


def test_an_instance_that_leaves_in_a_hold_is_not_waited_for(driver: Driver, make: Make, pair: tuple[str, str]) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    driver.open(*pair)
    driver.joined(1)
    producer.close()
    term = driver.hold()
    driver.all_held()
    driver.release(term)
    assert driver.here.mode is Mode.TARGET


def test_an_instance_that_a_person_called_gone_joins_again_before_it_writes_on(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    driver.joined(1)
    name = next(iter(driver.state.instances))
    first = driver.state.instances[name].joined.session
    driver.forget(name)
    driver.until(lambda: (known := driver.state.instances.get(name)) and known.joined.session != first, "it joins again")
    written(producer, pair[0], b"2")
    assert len(read_all(pair[0])) == 2


def test_an_instance_whose_name_another_took_writes_nothing_more(make: Make, pair: tuple[str, str]) -> None:
    first = make(**{"cutover.instance": f"same-{pair[0]}"})
    written(first, pair[0], b"1")
    second = make(**{"cutover.instance": f"same-{pair[0]}"})
    written(second, pair[0], b"2")
    deadline = time.monotonic() + 90
    while first._watch.view.trouble is None and time.monotonic() < deadline:
        first.poll(0.05)
    with pytest.raises(InstanceReplaced):
        first.produce(pair[0], b"3", b"key")


def test_a_join_says_who_it_is_and_how_it_partitions(driver: Driver, make: Make, pair: tuple[str, str]) -> None:
    make(**{"client.id": "orders", "partitioner": "murmur2_random"})
    driver.joined(1)
    join = next(record for _, record in driver.records if isinstance(record, Join))
    assert (join.topic, join.role, join.client_id, join.partitioner, join.transactional_id) == (
        pair[0],
        Role.PRODUCER,
        "orders",
        "murmur2_random",
        None,
    )


def test_a_batch_goes_where_the_log_says_and_leaves_the_messages_as_they_were(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    told: list[bytes | None] = []
    producer = make()
    driver.open(*pair)
    driver.flip()
    messages: list[dict[str, Any]] = [
        {"key": b"a", "value": b"1", "callback": lambda _, m: told.append(m.value())},
        {"key": b"b", "value": b"2"},
    ]
    before = [dict(each) for each in messages]
    assert producer.produce_batch(pair[0], messages) == 2
    assert producer.flush(60) == 0
    assert messages == before
    assert (told, values(read_all(pair[1]))) == ([b"1"], [b"1", b"2"])
    term = driver.hold(Mode.SOURCE)
    driver.all_held()
    driver.undo(term)


def test_the_applications_callbacks_hear_what_they_heard_before(driver: Driver, make: Make, pair: tuple[str, str]) -> None:
    heard: list[str] = []
    producer = make(on_delivery=lambda *_: heard.append("config"))
    written(producer, pair[0], b"plain")
    driver.open(*pair)
    driver.until(lambda: "produce" not in vars(producer), "the pair is heard")
    written(producer, pair[0], b"gated")
    producer.produce(pair[0], b"own", on_delivery=lambda *_: heard.append("own"))
    assert producer.flush(60) == 0
    assert heard == ["config", "config", "own"]


def test_two_topics_of_two_pairs_are_switched_each_on_its_own(
    driver: Driver, make: Make, pair: tuple[str, str], topic: MakeTopic, read_all: ReadAll
) -> None:
    other = topic(1, name="other")
    producer = make(**{"cutover.topic": f"{pair[0]}, {other}"})
    written(producer, pair[0], b"1")
    driver.open(*pair)
    driver.joined(2)
    term = driver.hold(budget_ms=15000)
    driver.all_held()
    written(producer, other, b"goes on")
    driver.release(term)
    written(producer, pair[0], b"2")
    assert [len(read_all(each)) for each in (*pair, other)] == [1, 1, 1]


def test_a_producer_without_topics_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsWrong, match=r"cutover\.topic"):
        Producer(settings)


def test_after_close_the_pair_stays_where_the_log_put_it(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    producer = make()
    driver.open(*pair)
    driver.flip()
    driver.close_pair()
    written(producer, pair[0], b"1")
    assert (len(read_all(pair[0])), len(read_all(pair[1]))) == (0, 1)


def test_a_producer_that_the_application_lets_go_of_leaves_the_log(driver: Driver, settings: dict[str, Any], pair: tuple[str, str]) -> None:
    producer = Producer({**settings, "cutover.topic": pair[0]})
    written(producer, pair[0], b"1")
    driver.joined(1)
    del producer
    gc.collect()
    driver.until(lambda: not driver.state.instances, "it has left")


PROGRAM = """
import json, sys
from cutover.client import Producer
settings, topic, end = json.loads(sys.argv[1])
producer = Producer(settings)
producer.produce(topic, b"1", b"key")
exec(end)
"""


@pytest.mark.parametrize(
    ("end", "leaves"), [("", True), ("raise SystemExit(3)", True), ("import os; producer.flush(); os._exit(0)", False)]
)
def test_an_interpreter_that_ends_flushes_and_leaves_the_log_and_one_that_is_cut_off_does_not(
    driver: Driver, settings: dict[str, Any], pair: tuple[str, str], read_all: ReadAll, end: str, leaves: bool
) -> None:
    told = json.dumps([{**settings, "cutover.topic": pair[0]}, pair[0], end])
    subprocess.run([sys.executable, "-c", PROGRAM, told], check=False, timeout=60)
    driver.until(lambda: any(isinstance(record, Join) for _, record in driver.records), "it joined")
    driver.listen(0.5)
    assert any(isinstance(record, Leave) for _, record in driver.records) is leaves
    assert len(read_all(pair[0])) == 1
