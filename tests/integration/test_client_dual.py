"""Mode DUAL on a real Kafka: both topics hold the same records, whatever happens to a transaction; a driver of the tests' own."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

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
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from cutover.client import Producer
from cutover.client.both import Both
from cutover.client.transactor import Transactor
from cutover.partitioners import partition
from cutover.protocol import Mode
from cutover.stamps import STAMP, Stamp, stamp_of
from tests.conformance.driving import Driver
from tests.conformance.fixtures import Make, ReadAll, control, driver, make, pair, read_all, settings  # noqa: F401 - fixtures
from tests.conftest import MakeTopic, WaitUntil

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("client")]
Told = list[tuple[str | None, Message]]


@pytest.fixture
def dual(driver: Driver, make: Make, pair: tuple[str, str]) -> Producer:
    """A producer in DUAL."""
    producer = make()
    enter(driver, pair)
    return producer


def enter(driver: Driver, pair: tuple[str, str], null_keys: str = "keep_partition") -> None:
    driver.open(*pair, null_keys)
    driver.joined(1)
    assert [ack.problem for ack in driver.flip(Mode.DUAL).values()] == [None]


def values(messages: list[Message]) -> list[bytes]:
    return sorted(each.value() or b"" for each in messages)


def heard(told: Told, error: KafkaError | None, message: Message) -> None:
    told.append((error.name() if error else None, message))


def written(producer: Producer, topic: str, *words: bytes) -> Told:
    told: Told = []
    for word in words:
        producer.produce(topic, word, b"key", on_delivery=partial(heard, told))
    assert producer.flush(60) == 0
    return told


def produced(producer: Producer, topic: str, count: int) -> None:
    for number in range(count):
        producer.produce(topic, str(number), "key")


def note(told: dict[bytes, str | None], error: KafkaError | None, message: Message) -> None:
    told[(message.value() or b"")[:1]] = None if error is None else error.name()


def by_key(messages: list[Message]) -> dict[bytes, list[tuple[Stamp, bytes]]]:
    """What was written to both topics, key by key in the order of the topic."""
    found: dict[bytes, list[tuple[Stamp, bytes]]] = defaultdict(list)
    for each in messages:
        stamp = stamp_of(each.headers())
        if stamp is not None:
            found[each.key() or b""].append((stamp, each.value() or b""))
    return found


def test_a_record_stands_on_both_topics_by_its_key_with_the_applications_headers_and_one_stamp(
    dual: Producer, pair: tuple[str, str], read_all: ReadAll
) -> None:
    told: Told = []
    dual.produce(
        pair[0],
        "v",
        "key",
        headers={"own": b"1"},
        on_delivery=partial(heard, told),
    )
    assert dual.flush(60) == 0
    source, target = (read_all(each)[0] for each in pair)
    assert [(each.key(), each.value(), each.timestamp()) for each in (source, target)] == [(b"key", b"v", source.timestamp())] * 2
    assert source.headers() == target.headers()
    headers = source.headers() or []
    assert list(dict(headers)) == ["own", STAMP]
    assert dict(headers)["own"] == b"1"
    assert (source.partition(), target.partition()) == (partition("murmur2", b"key", 3), partition("murmur2", b"key", 6))
    assert [(error, each.topic(), each.partition(), each.offset()) for error, each in told] == [
        (None, pair[0], source.partition(), source.offset())
    ]


def test_nobody_is_told_before_the_commit(dual: Producer, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    may_commit, commit = threading.Event(), Transactor.commit

    def waiting(self: Transactor, seconds: float) -> None:
        may_commit.wait(60)
        commit(self, seconds)

    monkeypatch.setattr(Transactor, "commit", waiting)
    told: Told = []
    dual.produce(pair[0], b"1", b"key", on_delivery=partial(heard, told))
    assert (dual.flush(0.5), told) == (1, [])
    may_commit.set()
    assert dual.flush(60) == 0
    assert [error for error, _ in told] == [None]


def test_poll_alone_tells_what_became_of_records(dual: Producer, pair: tuple[str, str]) -> None:
    told: list[object] = []
    for number in range(10):
        dual.produce(pair[0], str(number), "key", on_delivery=lambda error, _: told.append(error))
    assert len(dual) == 10
    deadline = time.monotonic() + 90
    while len(told) < 10 and time.monotonic() < deadline:
        dual.poll(1)
    assert told == [None] * 10
    assert len(dual) == 0


def test_tombstones_and_records_without_a_key_are_on_both(dual: Producer, pair: tuple[str, str], read_all: ReadAll) -> None:
    told: Told = []
    dual.produce(pair[0], None, b"key", on_delivery=partial(heard, told))
    dual.produce(pair[0], b"keyless", on_delivery=partial(heard, told))
    assert dual.flush(60) == 0
    for each in pair:
        assert sorted((message.key() or b"", message.value() or b"") for message in read_all(each)) == [(b"", b"keyless"), (b"key", b"")]
    assert [(error, message.topic(), (message.offset() or 0) >= 0) for error, message in told] == [(None, pair[0], True)] * 2


def test_an_explicit_partition_counts_on_the_source_and_the_key_on_the_target(
    driver: Driver, dual: Producer, pair: tuple[str, str], read_all: ReadAll
) -> None:
    dual.produce(pair[0], b"1", b"key", partition=2)
    assert dual.flush(60) == 0
    assert [read_all(each)[0].partition() for each in pair] == [2, partition("murmur2", b"key", 6)]
    assert ["explicit" in (ack.problem or "") for ack in driver.flip(Mode.TARGET).values()] == [True]


@pytest.mark.parametrize("own", [False, True], ids=["batches", "transactions"])
@pytest.mark.parametrize("policy", ["keep_partition", "spread"])
def test_without_a_key_the_targets_record_is_in_a_child_of_the_sources_partition(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll, policy: str, own: bool
) -> None:
    producer = make(partitioner="murmur2_random", **({"transactional.id": f"app-{pair[0]}"} if own else {}))
    if own:
        producer.init_transactions(30)
    enter(driver, pair, policy)
    for burst in range(6):
        if own:
            producer.begin_transaction()
        for number in range(10):
            producer.produce(pair[0], f"{burst}-{number}", partition=2 if number == 0 else -1)
        producer.commit_transaction(60) if own else producer.flush(60)
    assert distances(*(read_all(each) for each in pair)) == ({0} if policy == "keep_partition" else {0, 3})
    source = {each.value(): each.partition() for each in read_all(pair[0])}
    assert [source[f"{burst}-0".encode()] for burst in range(6)] == [2] * 6


def distances(source: list[Message], target: list[Message]) -> set[int]:
    """How far the target's partition of a value is from the source's: 0 or 3 for the two children of each."""
    parents = {each.value(): each.partition() or 0 for each in source}
    children = {each.value(): each.partition() or 0 for each in target}
    assert parents.keys() == children.keys()
    return {children[value] - parent for value, parent in parents.items()}


def test_a_client_that_leaves_both_partitions_to_chance_is_seen(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Both, "source", lambda *_: -1)
    monkeypatch.setattr(Both, "target", lambda *_: -1)
    producer = make(partitioner="murmur2_random")
    enter(driver, pair)
    for number in range(20):
        producer.produce(pair[0], str(number))
        assert producer.flush(60) == 0
    assert distances(*(read_all(each) for each in pair)) - {0, 3}


def test_a_batch_goes_to_both(dual: Producer, pair: tuple[str, str], read_all: ReadAll) -> None:
    told: list[bytes | None] = []
    messages: list[dict[str, Any]] = [
        {"key": b"a", "value": b"1", "callback": lambda _, m: told.append(m.value())},
        {"key": b"b", "value": b"2"},
    ]
    assert dual.produce_batch(pair[0], messages) == 2
    assert dual.flush(60) == 0
    assert (told, [values(read_all(each)) for each in pair]) == ([b"1"], [[b"1", b"2"]] * 2)


def test_a_record_that_is_refused_is_on_neither_and_its_neighbours_are_on_both(
    dual: Producer, pair: tuple[str, str], read_all: ReadAll
) -> None:
    told: dict[bytes, str | None] = {}
    for value in (b"1", b"x" * 2_000_000, b"2"):
        dual.produce(pair[0], value, b"key", on_delivery=partial(note, told))
    assert dual.flush(60) == 0
    assert told == {b"1": None, b"x": "MSG_SIZE_TOO_LARGE", b"2": None}
    assert [values(read_all(each)) for each in pair] == [[b"1", b"2"]] * 2


def test_a_full_queue_is_a_buffer_error_as_in_the_plain_client(driver: Driver, make: Make, pair: tuple[str, str]) -> None:
    producer = make(**{"queue.buffering.max.messages": 3})
    enter(driver, pair)
    with pytest.raises(BufferError):
        produced(producer, pair[0], 100)
    assert producer.flush(60) == 0


@pytest.mark.parametrize("out", [Mode.TARGET, Mode.SOURCE])
def test_four_producers_enter_and_leave_dual_under_load_and_both_topics_are_equal_key_by_key(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll, out: Mode
) -> None:
    writers = [Load(make(), pair[0], number) for number in range(4)]
    driver.joined(4)
    driver.open(*pair)
    for each in writers:
        each.thread.start()
    driver.until(partial(all_sent, writers, 300), "they write")
    assert [ack.problem for ack in driver.flip(Mode.DUAL).values()] == [None] * 4
    wanted = [each.sent + 500 for each in writers]
    driver.until(lambda: all(len(each.acked) >= count for each, count in zip(writers, wanted, strict=True)), "they write to both", 60)
    acks = driver.flip(out)
    assert [ack.problem for ack in acks.values()] == [None] * 4
    driver.until(partial(all_sent, writers, max(each.sent for each in writers) + 300), "they go on")
    for each in writers:
        each.end()
    source, target = read_all(pair[0]), read_all(pair[1])
    assert by_key(source) == by_key(target)
    assert len(by_key(source)) == 4 * Load.KEYS
    stamped = sum(len(each) for each in by_key(source).values())
    assert stamped >= 4 * 500
    everything = [*source, *(each for each in target if stamp_of(each.headers()) is None)]
    assert values(everything) == sorted(value for each in writers for value in each.acked)
    for key, records in by_key(source).items():
        numbers = [int(value.split(b"-")[1]) for _, value in records]
        assert numbers == sorted(set(numbers)), key
    assert not [each.failed for each in writers if each.failed]
    last = {p: max(each.offset() or 0 for each in source if each.partition() == p and stamp_of(each.headers())) for p in range(3)}
    assert {p: max(ack.offsets.get(p, -1) for ack in acks.values()) for p in range(3)} == last


class Load:
    """A producer that writes its own keys until it is ended."""

    KEYS = 7

    def __init__(self, producer: Producer, topic: str, number: int) -> None:
        self.producer, self.topic, self.number = producer, topic, number
        self.sent = 0
        self.acked: list[bytes] = []
        self.failed: list[str] = []
        self.ended = False
        self.thread = threading.Thread(target=self.run)

    def told(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acked.append(message.value() or b"")
        else:
            self.failed.append(error.str())

    def run(self) -> None:
        while not self.ended:
            self.producer.produce(self.topic, f"{self.number}-{self.sent}", f"{self.number}-{self.sent % self.KEYS}", on_delivery=self.told)
            self.sent += 1
            self.producer.poll(0.001)

    def end(self) -> None:
        self.ended = True
        self.thread.join()
        assert self.producer.flush(60) == 0


def all_sent(writers: list[Load], wanted: int) -> bool:
    return all(each.sent >= wanted for each in writers)


def test_an_undone_hold_in_dual_leaves_it_in_dual_and_one_that_leads_there_leaves_the_source(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make()
    written(producer, pair[0], b"1")
    driver.open(*pair)
    term = driver.hold(Mode.DUAL)
    driver.all_held()
    driver.undo(term)
    written(producer, pair[0], b"2")
    driver.flip(Mode.DUAL)
    written(producer, pair[0], b"3")
    term = driver.hold(Mode.TARGET)
    driver.all_held()
    driver.undo(term)
    written(producer, pair[0], b"4")
    assert [values(read_all(each)) for each in pair] == [[b"1", b"2", b"3", b"4"], [b"3", b"4"]]


def test_what_is_not_begun_at_a_hold_goes_first_after_the_release_and_only_there(
    driver: Driver, dual: Producer, pair: tuple[str, str], read_all: ReadAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.client.dual.BATCH_SECONDS", 60.0)
    told: Told = []
    for number in range(20):
        dual.produce(pair[0], str(number), "key", headers={"own": b"1"}, on_delivery=partial(heard, told))
    term = driver.hold(Mode.TARGET)
    assert [ack.problem for ack in driver.all_held().values()] == [None]
    assert (len(dual), told) == (20, [])
    driver.release(term)
    written(dual, pair[0], b"20")
    assert [error for error, _ in told] == [None] * 20
    source, target = read_all(pair[0]), read_all(pair[1])
    assert (source, [each.value() for each in target]) == ([], [str(number).encode() for number in range(21)])
    assert target[0].headers() == [("own", b"1")]


def test_dual_may_be_left_and_entered_again_from_the_target(
    driver: Driver, dual: Producer, pair: tuple[str, str], read_all: ReadAll
) -> None:
    for number, to in enumerate((Mode.TARGET, Mode.DUAL, Mode.SOURCE, Mode.DUAL)):
        driver.flip(to)
        written(dual, pair[0], str(number).encode())
    assert [values(read_all(each)) for each in pair] == [[b"1", b"2", b"3"], [b"0", b"1", b"3"]]


def test_out_of_dual_poll_is_the_plain_clients_again(driver: Driver, dual: Producer, pair: tuple[str, str], wait_until: WaitUntil) -> None:
    written(dual, pair[0], b"1")
    assert dual._duals.active
    driver.flip(Mode.TARGET)
    written(dual, pair[0], b"2")
    wait_until(lambda: dual.poll(0) == 0 and not dual._duals.active, 10, "the ordinary path")
    assert [each.name for each in threading.enumerate() if each.name.startswith("cutover-dual")] == []


def test_an_instance_that_starts_in_dual_writes_both(driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll) -> None:
    driver.open(*pair)
    driver.flip(Mode.DUAL)
    assert written(make(), pair[0], b"1")[0][0] is None
    assert [values(read_all(each)) for each in pair] == [[b"1"], [b"1"]]


def test_what_stands_against_writing_both_is_said_in_the_acknowledgement(
    driver: Driver, make: Make, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KafkaException(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))

    producer = make()
    written(producer, pair[0], b"1")
    driver.open(*pair)
    monkeypatch.setattr("cutover.client.transactor.Transactor.open", fails)
    term = driver.hold(Mode.DUAL)
    assert ["cannot write both topics" in (ack.problem or "") for ack in driver.all_held().values()] == [True]
    driver.undo(term)
    assert written(producer, pair[0], b"2")[0][0] is None


def test_an_instance_with_a_new_epoch_writes_only_if_the_log_read_to_its_end_has_dual_and_no_hold(
    driver: Driver, dual: Producer, pair: tuple[str, str]
) -> None:
    may_write = partial(dual._duals._may_write, (driver.pair,), 10)
    assert may_write()
    term = driver.hold(Mode.TARGET, budget_ms=15000)
    assert not may_write()
    driver.undo(term)
    assert may_write()
    dual._duals._writers[driver.pair]._transactor._trusted = False
    assert [error for error, _ in written(dual, pair[0], b"1")] == [None]
    driver.flip(Mode.TARGET)
    assert not may_write()


def test_a_fence_stands_although_an_unclean_connection_gave_the_instance_a_new_epoch_after_it(
    driver: Driver, dual: Producer, pair: tuple[str, str], read_all: ReadAll, bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(dual, pair[0], b"1")
    monkeypatch.setattr(dual._gate, "turn", lambda _: None)  # an instance that has not yet acted on HOLD, as after a freeze
    monkeypatch.setattr(dual, "_begin_drains", lambda _: None)
    dual._duals._writers[driver.pair]._transactor._trusted = False
    term = driver.hold(Mode.TARGET, budget_ms=15000)
    driver_fences(bootstrap, f"cutover.dual.{dual._settings.instance}")
    dual.produce(pair[0], b"2", b"key")
    assert dual.flush(2) == 1
    assert [len(read_all(each)) for each in pair] == [1, 1]
    monkeypatch.undo()
    driver.undo(term)
    assert dual.flush(60) == 0
    assert [len(read_all(each)) for each in pair] == [2, 2]


def driver_fences(bootstrap: str, transactional_id: str) -> None:
    confluent_kafka.Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id}).init_transactions(60)


# An application with transactions of its own


@pytest.fixture
def own(driver: Driver, make: Make, pair: tuple[str, str]) -> Producer:
    """A producer of an application with transactions, in DUAL."""
    producer = make(**{"transactional.id": f"app-{pair[0]}"})
    producer.init_transactions(30)
    enter(driver, pair)
    return producer


def test_both_records_are_in_the_applications_transaction(own: Producer, pair: tuple[str, str], read_all: ReadAll) -> None:
    told: list[tuple[object, str | None]] = []
    for number in range(3):
        own.begin_transaction()
        own.produce(pair[0], str(number), "key", on_delivery=lambda error, message: told.append((error, message.topic())))
        assert [len(read_all(each)) for each in pair] == [number, number]
        own.commit_transaction(60)
    assert told == [(None, pair[0])] * 3
    assert [values(read_all(each)) for each in pair] == [[b"0", b"1", b"2"]] * 2


def test_an_aborted_transaction_of_the_application_leaves_neither(own: Producer, pair: tuple[str, str], read_all: ReadAll) -> None:
    own.begin_transaction()
    own.produce(pair[0], b"1", b"key")
    own.flush(60)
    own.abort_transaction(20)
    own.begin_transaction()
    own.produce(pair[0], b"2", b"key")
    own.commit_transaction(60)
    assert [values(read_all(each)) for each in pair] == [[b"2"], [b"2"]]


def test_a_full_queue_in_the_applications_transaction_leaves_no_record_on_one_topic_only(
    driver: Driver, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    producer = make(**{"transactional.id": f"app-{pair[0]}", "queue.buffering.max.messages": 3})
    producer.init_transactions(30)
    enter(driver, pair)
    full = 0
    producer.begin_transaction()
    for number in range(30):
        try:
            producer.produce(pair[0], str(number), "key")
        except BufferError:
            full += 1
            producer.flush(60)
            producer.produce(pair[0], str(number), "key")
    producer.commit_transaction(60)
    assert full == 9  # as often as with the plain client
    assert [values(read_all(each)) for each in pair] == [sorted(str(number).encode() for number in range(30))] * 2


def test_an_application_that_was_replaced_under_its_transactional_id_does_not_take_it_back(
    own: Producer, make: Make, pair: tuple[str, str], read_all: ReadAll
) -> None:
    transact(own, pair[0], b"1")
    pen = own._duals._pen
    assert pen is not None
    pen._trusted = False  # as after a connection that broke
    new = make(**{"transactional.id": f"app-{pair[0]}"})
    new.init_transactions(30)
    transact(new, pair[0], b"2")
    new.begin_transaction()
    new.produce(pair[0], b"3", b"key")
    for _ in range(2):
        with pytest.raises(KafkaException) as refused:
            own.begin_transaction()
        assert (refused.value.args[0].name(), refused.value.args[0].fatal()) == ("_FENCED", True)
    new.commit_transaction(60)
    transact(new, pair[0], b"4")
    assert [values(read_all(each)) for each in pair] == [[b"1", b"2", b"3", b"4"]] * 2


def transact(producer: Producer, topic: str, value: bytes) -> None:
    producer.begin_transaction()
    producer.produce(topic, value, b"key")
    producer.commit_transaction(60)


def test_positions_go_with_the_transaction(own: Producer, driver: Driver, pair: tuple[str, str], topic: MakeTopic, bootstrap: str) -> None:
    other, group = topic(1), f"group-{pair[0]}"
    reader = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    own.begin_transaction()
    own.produce(other, b"elsewhere")
    own.send_offsets_to_transaction([TopicPartition(other, 0, 7)], reader.consumer_group_metadata(), 20)
    own.commit_transaction(60)
    reader.close()
    # EndTxn is answered before the markers are written.
    driver.until(lambda: driver.committed(group, other) == {0: 7}, "the positions of the transaction, and no others")


def test_a_transaction_ends_in_the_hold_and_the_next_begins_where_it_leads(
    own: Producer, driver: Driver, pair: tuple[str, str], read_all: ReadAll
) -> None:
    own.begin_transaction()
    own.produce(pair[0], b"1", b"key")
    term = driver.hold(Mode.TARGET, budget_ms=15000)
    own.produce(pair[0], b"2", b"key")
    driver.listen(0.3)
    assert driver.state.missing(driver.pair)
    own.commit_transaction(60)
    driver.all_held()
    driver.release(term)
    own.begin_transaction()
    own.produce(pair[0], b"3", b"key")
    own.commit_transaction(60)
    assert [values(read_all(each)) for each in pair] == [[b"1", b"2"], [b"1", b"2", b"3"]]


# kill -9

KILLED = """
import json, os, signal, sys
import cutover.client.dual
from cutover.client import Producer
from cutover.client.transactor import Transactor
settings, topic = json.loads(sys.argv[1])
cutover.client.dual.BATCH_SECONDS = 1.0
commit = Transactor.commit
def killed(self, seconds):
    if sys.argv[2] == "after":
        commit(self, seconds)
    os.kill(os.getpid(), signal.SIGKILL)
producer = Producer(settings)
own = "transactional.id" in settings
if own:
    producer.init_transactions(30)
    producer.begin_transaction()
Transactor.commit = killed
for number in range(20):
    producer.produce(topic, str(number), f"key-{number}", on_delivery=lambda *_: own or os.write(1, b"told"))
producer.commit_transaction(60) if own else producer.flush(60)
"""


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("moment", "left"), [("before", 0), ("after", 20)])
def test_killed_inside_a_transaction_it_leaves_neither_and_killed_after_it_both(
    driver: Driver,
    settings: dict[str, Any],
    pair: tuple[str, str],
    read_all: ReadAll,
    make: Make,
    own: bool,
    moment: str,
    left: int,
) -> None:
    driver.open(*pair)
    driver.flip(Mode.DUAL)
    more = {"transactional.id": f"app-{pair[0]}", "transaction.timeout.ms": 5000} if own else {}
    told = json.dumps([{**settings, "cutover.topic": pair[0], "partitioner": "murmur2", **more}, pair[0]])
    ended = subprocess.run([sys.executable, "-c", KILLED, told, moment], check=False, timeout=60, capture_output=True)
    assert (ended.returncode, ended.stdout) == (-9, b"")
    written(make(), pair[0], b"after")
    deadline = time.monotonic() + 90
    while any(b"after" not in values(read_all(each)) for each in pair) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [len(read_all(each)) for each in pair] == [left + 1] * 2
    assert by_key(read_all(pair[0])) == by_key(read_all(pair[1]))
