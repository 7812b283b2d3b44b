"""The audit of dual writing on real Kafka: green where both topics hold the same, red at the exact place for every planted fault."""

# ruff: noqa: F811 - fixtures are imported, and named as arguments

import base64
import itertools
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from cutover import wiring
from cutover.cli import main
from cutover.client import Producer as Following
from cutover.connection import Connection
from cutover.engine.audit_events import VerifiedCut
from cutover.engine.dual_auditing import DualAuditConfiguration, DualAuditing, DualWanted, prepare_dual
from cutover.engine.dual_events import DualSample, DualVerdict
from cutover.partitioners import partition
from cutover.protocol import Mode
from scripts import hatch_build
from tests.conformance.driving import Driver, read_committed
from tests.conformance.fixtures import control, driver, settings  # noqa: F401 - fixtures
from tests.conftest import SLOW_MACHINE, MakeTopic, WaitUntil

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("audit")]
SOURCES, TARGETS = 3, 12
SIDES = ("source", "target")
Vectors = dict[str, dict[int, int]]


@pytest.fixture(autouse=True)
def engine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    built = Path(__file__).parents[2] / "cutover/engine/bin/cutover-engine"
    if not os.environ.get("CUTOVER_ENGINE") and not built.exists():
        pytest.skip("no engine is built: run make cutover/engine/bin/cutover-engine, or set CUTOVER_ENGINE")
    runtime = tmp_path_factory.mktemp("d")
    runtime.chmod(0o700)
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(runtime))


class Writer:
    """An application with dual writing of its own: a producer per topic, no transaction, no stamp."""

    def __init__(self, bootstrap: str, source: str, target: str) -> None:
        self.bootstrap = bootstrap
        self.topics = {"source": source, "target": target}
        self.counts = {"source": SOURCES, "target": TARGETS}
        self.producers = {side: Producer({"bootstrap.servers": bootstrap}) for side in SIDES}
        self.numbers = itertools.count()
        self.places: dict[tuple[str, bytes], list[tuple[int, int]]] = {}
        self.connection = Connection.load(bootstrap=bootstrap, profile=None, properties_file=None, overrides=())

    def put(self, side: str, key: bytes | None, value: bytes | None, where: int | None = None, **more: Any) -> None:  # noqa: ANN401
        at = where if where is not None else 0 if key is None else partition("murmur2", key, self.counts[side])
        self.producers[side].produce(self.topics[side], value, key, partition=at, on_delivery=self._note, **more)
        self.producers[side].poll(0)

    def _note(self, error: object, message: Any) -> None:  # noqa: ANN401
        assert error is None
        side = next(each for each in SIDES if self.topics[each] == message.topic())
        self.places.setdefault((side, message.value() or b""), []).append((message.partition(), message.offset()))

    def both(self, key: bytes | None, value: bytes | None, **more: Any) -> None:  # noqa: ANN401
        for side in SIDES:
            self.put(side, key, value, **more)

    def write(self, count: int, keys: int = 50, *, sides: Callable[[int], tuple[str, ...]] = lambda _: SIDES) -> None:
        """Numbered values; `sides` says for each number where it is written, and how often."""
        for number in itertools.islice(self.numbers, count):
            for side in sides(number):
                self.put(side, b"key-%d" % (number % keys), b"value-%d" % number, headers=[("n", b"%d" % number), ("empty", None)])
        self.flush()

    def flush(self) -> None:
        assert [each.flush(30) for each in self.producers.values()] == [0, 0]

    def ends(self, admin: AdminClient) -> Vectors:
        return {side: ends_of(admin, self.topics[side], self.counts[side]) for side in SIDES}

    def configuration(self, **wanted: Any) -> DualAuditConfiguration:  # noqa: ANN401
        more = {name: wanted.pop(name) for name in ("pending_limit",) if name in wanted}
        with wiring.cluster(self.connection) as cluster:
            asked = DualWanted(
                self.topics["source"], self.topics["target"], "murmur2", **{"samples": 50, "patience_seconds": 1.0, **wanted}
            )
            return prepare_dual(cluster, self.connection, asked).model_copy(update=more)

    def audit(self, **wanted: Any) -> DualVerdict:  # noqa: ANN401
        auditing = DualAuditing(self.configuration(**wanted))
        try:
            verdicts = [each for each in auditing.happenings(60) if isinstance(each, DualVerdict)]
        finally:
            auditing.stop("the test is done")
        assert len(verdicts) == 1
        return verdicts[0]

    def at(self, side: str, number: int) -> list[tuple[int, int]]:
        """Where a numbered record was written."""
        return sorted(self.places.get((side, b"value-%d" % number), []), key=lambda each: each[1])


def ends_of(admin: AdminClient, topic: str, count: int) -> dict[int, int]:
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(count)}
    return {where.partition: future.result(60).offset for where, future in admin.list_offsets(asked).items()}


@pytest.fixture
def writer(bootstrap: str, topic: MakeTopic) -> Writer:
    return Writer(bootstrap, topic(SOURCES, name="s"), topic(TARGETS, name="t"))


def place(sample: DualSample, side: str) -> tuple[int, int] | None:
    found = sample.source if side == "source" else sample.target
    return None if found is None else (found.partition, found.offset)


def only(verdict: DualVerdict, kind: str) -> DualSample:
    assert dict(verdict.violations) == {kind: 1}, verdict.samples
    assert verdict.standing == verdict.result == "violated"
    assert verdict.violations_exact
    return verdict.samples[0]


def test_own_dual_writing_of_the_same_records_is_proved(writer: Writer) -> None:
    writer.write(5000)
    for value in (b"1", None, b"2", None):
        writer.both(b"tombstoned", value)
        writer.both(None, value)
    writer.both(b"", b"an empty key")
    writer.flush()
    verdict = writer.audit()
    assert (verdict.result, dict(verdict.violations), verdict.coverage.doubtful) == ("proved", {}, 0), verdict.samples
    assert verdict.coverage.matched == verdict.coverage.source_records == verdict.coverage.target_records == 5009


def test_a_record_in_ten_thousand_that_was_dropped_is_named(writer: Writer) -> None:
    writer.write(20_000, sides=lambda number: ("source",) if number == 7_531 else SIDES)
    sample = only(writer.audit(), "one_side_only")
    assert (place(sample, "source"), place(sample, "target")) == (writer.at("source", 7_531)[0], None)
    assert sample.source is not None
    assert sample.source.topic == writer.topics["source"]


def test_a_record_that_was_written_twice_is_named_with_its_first_copy(writer: Writer) -> None:
    writer.write(10_000, sides=lambda number: (*SIDES, "target") if number == 4_000 else SIDES)
    first, second = writer.at("target", 4_000)
    sample = only(writer.audit(), "duplicate")
    assert (place(sample, "source"), place(sample, "target")) == (None, second)
    assert f"partition {first[0]}, offset {first[1]}" in sample.why


def test_two_records_of_a_key_that_were_swapped_are_one_difference(writer: Writer) -> None:
    writer.write(1_000)
    writer.both(b"key-1", b"value-before")
    for side, order in (("source", (8000, 8001)), ("target", (8001, 8000))):
        for number in order:
            writer.put(side, b"key-1", b"value-%d" % number)
    writer.flush()
    next(writer.numbers)
    writer.write(1_000)
    sample = only(writer.audit(), "reordered")
    assert (place(sample, "source"), place(sample, "target")) in [
        (writer.at("source", number)[0], writer.at("target", number)[0]) for number in (8000, 8001)
    ]


@pytest.mark.parametrize("limit", [100, None])
def test_the_disk_changes_nothing_of_what_is_found(writer: Writer, limit: int | None) -> None:
    writer.write(3_000, keys=3_000, sides=lambda number: ("target",) if number == 1_234 else SIDES)
    writer.write(3_000, keys=7, sides=lambda number: (*SIDES, "source") if number == 4_321 else SIDES)
    verdict = writer.audit(**({"pending_limit": limit} if limit else {}))
    assert (verdict.spilled > 0) == (limit is not None)
    assert dict(verdict.violations) == {"one_side_only": 1, "duplicate": 1}
    assert {(each.kind, place(each, "source"), place(each, "target")) for each in verdict.samples} == {
        ("one_side_only", None, writer.at("target", 1_234)[0]),
        ("duplicate", writer.at("source", 4_321)[1], None),
    }


def test_a_key_outside_its_partition_is_named_or_accepted(writer: Writer) -> None:
    writer.write(300)
    home = partition("murmur2", b"stray", TARGETS)
    writer.put("source", b"stray", b"value-900")
    writer.put("target", b"stray", b"value-900", where=(home + 1) % TARGETS)
    writer.flush()
    sample = only(writer.audit(), "off_hash")
    assert (place(sample, "target"), sample.expected_partition) == (writer.at("target", 900)[0], home)
    verdict = writer.audit(off_hash="accepted")
    assert (verdict.result, dict(verdict.accepted)) == ("proved", {"off_hash": 1})


def test_a_value_that_differs_is_named_with_both_places(writer: Writer) -> None:
    writer.write(100)
    writer.put("source", b"key-1", b"value-700")
    writer.put("target", b"key-1", b"value-701")
    writer.flush()
    writer.write(100)
    sample = only(writer.audit(), "changed")
    assert (place(sample, "source"), place(sample, "target")) == (writer.at("source", 700)[0], writer.at("target", 701)[0])
    assert sample.fields == ("value",)


def test_what_was_aborted_is_not_there(writer: Writer) -> None:
    writer.write(200)
    writer.producers["source"] = Producer({"bootstrap.servers": writer.bootstrap, "transactional.id": writer.topics["source"]})
    transactions = writer.producers["source"]
    transactions.init_transactions(30)
    for number, end in ((1, transactions.abort_transaction), (2, transactions.commit_transaction), (3, transactions.abort_transaction)):
        transactions.begin_transaction()
        for again in range(100):
            writer.put("source", b"key-%d" % again, b"transaction-%d" % number)
            if number == 2:
                writer.put("target", b"key-%d" % again, b"transaction-%d" % number)
        if end == transactions.commit_transaction:
            end(30)
        else:
            transactions.flush(30)
            end(30)
    writer.flush()
    verdict = writer.audit()
    assert (verdict.result, verdict.coverage.matched) == ("proved", 300), verdict.samples


def test_on_a_compacted_topic_a_missing_counterpart_proves_nothing(bootstrap: str, topic: MakeTopic) -> None:
    compacted = {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"}
    writer = Writer(bootstrap, topic(SOURCES, compacted, name="s"), topic(TARGETS, compacted, name="t"))
    writer.write(100)
    assert writer.audit().result == "proved"
    writer.put("target", b"key-1", b"value-500")
    writer.flush()
    verdict = writer.audit()
    assert (verdict.result, dict(verdict.violations)) == ("unproved", {})
    assert [(each.partition, each.records) for each in verdict.coverage.gaps] == [(-1, 1)]


def test_what_expired_before_it_was_read_is_unproved(writer: Writer, admin: AdminClient) -> None:
    writer.write(100)
    removed = {side: {p: end // 2 for p, end in vector.items()} for side, vector in writer.ends(admin).items()}
    for side in SIDES:
        asked = [TopicPartition(writer.topics[side], p, offset) for p, offset in removed[side].items()]
        for future in admin.delete_records(asked).values():
            future.result(60)
    verdict = writer.audit(start=dict.fromkeys(range(SOURCES), 0), target_start=dict.fromkeys(range(TARGETS), 0), align=True)
    assert verdict.result == "unproved"
    assert {each.side for each in verdict.coverage.gaps} == set(SIDES)


def test_where_nobody_was_held_the_first_records_of_a_key_are_doubtful(writer: Writer, admin: AdminClient) -> None:
    writer.write(20, keys=5)
    begun = writer.ends(admin)["target"]
    writer.write(200, keys=5)
    started = {"start": dict.fromkeys(range(SOURCES), 0), "target_start": begun}
    verdict = writer.audit(**started)
    assert dict(verdict.violations) == {"one_side_only": 20}
    aligned = writer.audit(**started, align=True)
    assert (aligned.result, dict(aligned.violations), aligned.coverage.doubtful_start) == ("proved", {}, 20)
    writer.write(50, keys=5, sides=lambda number: ("source",) if number == 230 else SIDES)
    sample = only(writer.audit(**started, align=True), "one_side_only")
    assert place(sample, "source") == writer.at("source", 230)[0]


def test_a_range_between_two_cuts_is_judged_at_once_and_one_that_is_no_cut_is_red(writer: Writer, admin: AdminClient) -> None:
    writer.write(100)
    cut = writer.ends(admin)
    writer.write(100)
    between = {"until": cut["source"], "target_until": cut["target"], "patience_seconds": 600.0}
    verdict = writer.audit(**between)
    assert (verdict.result, verdict.coverage.matched, dict(verdict.bounds.source_until)) == ("proved", 100, cut["source"])
    cut["target"][partition("murmur2", b"key-3", TARGETS)] -= 1
    assert only(writer.audit(**between), "one_side_only").source is not None


@pytest.fixture
def following(ends: Any, writer: Writer) -> Callable[..., DualAuditing]:  # noqa: ANN401
    """Starts audits that follow, stopped after the test."""

    def start(**wanted: Any) -> DualAuditing:  # noqa: ANN401
        auditing = DualAuditing(writer.configuration(follow=True, interval_seconds=0.1, **wanted))
        ends.callback(auditing.stop, "the test is done")
        return auditing

    return start


def cut_of(auditing: DualAuditing, reach: Callable[[VerifiedCut], bool], seconds: float = 90.0) -> VerifiedCut:
    """The first verified cut that will do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for each in auditing.happenings(0.1):
            if isinstance(each, VerifiedCut) and reach(each):
                return each
    pytest.fail(f"no such cut within {seconds:g} s; the last verdict is {auditing.verdict}")


def exact(cut: VerifiedCut) -> bool:
    return cut.exact


def violated(auditing: DualAuditing, seconds: float = 90.0) -> DualVerdict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for each in auditing.happenings(0.1):
            if isinstance(each, DualVerdict) and each.standing == "violated":
                return each
    pytest.fail(f"nothing was found within {seconds:g} s; the last verdict is {auditing.verdict}")


def test_following_names_a_record_of_one_side_once_the_patience_is_over(writer: Writer, following: Callable[..., DualAuditing]) -> None:
    auditing = following(patience_seconds=1.0)
    writer.write(100)
    cut_of(auditing, lambda each: sum(each.origin.values()) == 100 and sum(each.follower.values()) == 100 and not each.exact)
    writer.put("source", b"key-1", b"value-600", headers=[("cutover.stamp", b"billing-7:s1:2:600")])
    writer.flush()
    written = time.monotonic()
    sample = only(violated(auditing), "one_side_only")
    assert time.monotonic() - written < 4 * SLOW_MACHINE
    assert (place(sample, "source"), sample.stamp) == (writer.at("source", 600)[0], "billing-7:s1:2:600")


def test_an_unstamped_record_is_named_where_stamps_are_required(writer: Writer, following: Callable[..., DualAuditing]) -> None:
    auditing = following(stamps="required")
    writer.both(b"key", b"value-1", headers=[("cutover.stamp", b"billing-7:s1:2:1")], timestamp=int(time.time() * 1000))
    writer.flush()
    cut_of(auditing, lambda each: sum(each.origin.values()) == 1)
    writer.both(b"key", b"value-2", headers=[("cutover.stamp", b"not a stamp")])
    writer.flush()
    verdict = violated(auditing)
    assert set(verdict.violations) == {"unstamped"}
    assert (
        place(verdict.samples[0], "source") == writer.at("source", 2)[0] or place(verdict.samples[0], "target") == writer.at("target", 2)[0]
    )


def test_a_cut_is_judged_at_once_when_asked(writer: Writer, admin: AdminClient, following: Callable[..., DualAuditing]) -> None:
    auditing = following(patience_seconds=60.0)
    writer.write(1000)
    cut = writer.ends(admin)
    cut_of(auditing, lambda each: dict(each.origin) == cut["source"] and dict(each.follower) == cut["target"])
    took = []
    for _ in range(10):
        writer.write(100)
        cut = writer.ends(admin)
        began = time.monotonic()
        answer = auditing.judge(cut["source"], cut["target"])
        took.append(time.monotonic() - began)
        assert (answer["result"], answer["standing"], answer["doubtful"]) == ("proved", "proved", 0)
        told = cut_of(auditing, exact)
        assert (dict(told.origin), dict(told.follower)) == (cut["source"], cut["target"])
    assert sorted(took)[5] < 0.25, took
    no_cut = {**cut, "target": {**cut["target"], partition("murmur2", b"key-1", TARGETS): 0}}
    assert auditing.judge(no_cut["source"], no_cut["target"])["result"] == "unproved"
    writer.put("source", b"key-1", b"value-9999")
    writer.flush()
    cut = writer.ends(admin)
    assert auditing.judge(cut["source"], cut["target"])["result"] == "violated"


class Load:
    """An instance of the SDK that writes its own keys until it is ended."""

    def __init__(self, producer: Following, topic: str, number: int) -> None:
        self.producer, self.topic, self.number = producer, topic, number
        self.sent, self.ended = 0, False
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.ended:
            self.producer.produce(self.topic, f"{self.number}-{self.sent}", f"{self.number}-{self.sent % 7}" if self.sent % 5 else None)
            self.sent += 1
            self.producer.poll(0.001)

    def end(self) -> None:
        self.ended = True
        self.thread.join()
        assert self.producer.flush(60) == 0


def all_sent(loads: list[Load], wanted: int) -> bool:
    return all(each.sent >= wanted for each in loads)


@pytest.fixture
def loads(settings: dict[str, Any], writer: Writer, ends: Any) -> list[Load]:  # noqa: ANN401
    made = []
    for number in range(2):
        producer = Following({**settings, "cutover.topic": writer.topics["source"], "partitioner": "murmur2"})
        ends.callback(producer.close)
        made.append(Load(producer, writer.topics["source"], number))
    return made


def test_under_live_traffic_of_the_library_every_hold_proves_a_cut(
    writer: Writer, admin: AdminClient, driver: Driver, loads: list[Load], following: Callable[..., DualAuditing], wait_until: WaitUntil
) -> None:
    driver.joined(len(loads))
    driver.open(writer.topics["source"], writer.topics["target"])
    driver.flip(Mode.DUAL)
    auditing = following(stamps="required", patience_seconds=20.0)
    for each in loads:
        each.thread.start()
    try:
        for wanted in (300, 900, 1500):
            wait_until(partial(all_sent, loads, wanted), 30, "they write to both")
            cut_of(auditing, lambda each: not each.exact and time.time() - each.at_ms / 1000 < 2)
            term = driver.hold(Mode.TARGET)
            driver.all_held()
            cut = writer.ends(admin)
            answer = auditing.judge(cut["source"], cut["target"])
            driver.undo(term)
            assert (answer["result"], answer["standing"]) == ("proved", "proved"), auditing.verdict
            told = cut_of(auditing, exact)
            assert (dict(told.origin), dict(told.follower)) == (cut["source"], cut["target"])
    finally:
        for each in loads:
            each.end()
    cut = writer.ends(admin)
    assert auditing.judge(cut["source"], cut["target"])["result"] == "proved"
    list(auditing.happenings(0.1))
    assert auditing.verdict is not None
    assert auditing.verdict.coverage.matched == sum(each.sent for each in loads)


def cli(writer: Writer, *arguments: str) -> tuple[int, str]:
    topics = ["--from", writer.topics["source"], "--to", writer.topics["target"], "--partitioner", "murmur2"]
    done = CliRunner().invoke(main, ["audit", "--dual", "--bootstrap", writer.bootstrap, *topics, *arguments])
    return done.exit_code, done.stdout


def test_the_command_line_says_it_and_ends_with_the_exit_code(writer: Writer, admin: AdminClient) -> None:
    writer.write(200)
    code, said = cli(writer)
    assert (code, "200 pairs" in said, "ready: yes" in said) == (0, True, True), said
    cut = writer.ends(admin)
    writer.put("target", b"key-1", b"value-800")
    writer.flush()
    code, said = cli(writer, "--output", "json", "--patience", "0.5")
    document: Mapping[str, Any] = json.loads(said)
    assert (code, document["violations"], document["ready"]) == (5, {"one_side_only": 1}, False)
    until = [",".join(f"{p}:{offset}" for p, offset in cut[side].items()) for side in SIDES]
    assert cli(writer, "--until", until[0], "--target-until", until[1])[0] == 0
    assert cli(writer, "--epoch", "1")[0] == 2


def test_under_way_with_nobody_held_what_is_in_doubt_is_counted_and_the_rest_is_proved(
    writer: Writer, admin: AdminClient, wait_until: WaitUntil
) -> None:
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            writer.write(20, keys=200)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        begun = writer.ends(admin)
        wait_until(lambda: all(ends != begun[side] for side, ends in writer.ends(admin).items()), 10, "both go on: the vectors are no cut")
        verdict = writer.audit(start=begun["source"], target_start=writer.ends(admin)["target"], align=True)
    finally:
        ended.set()
        thread.join()
    assert (verdict.result, dict(verdict.violations), verdict.coverage.doubtful) == ("proved", {}, 0), verdict.samples
    assert verdict.coverage.doubtful_start > 0
    assert verdict.coverage.source_records - verdict.coverage.doubtful_start <= verdict.coverage.matched


def damaged(writer: Writer, dice: random.Random, number: int) -> None:
    """Write a record to both sides, or one time in fifty wrongly."""
    key, value = b"key-%d" % dice.randrange(300), b"value-%d" % number
    fault = dice.choice(["dropped", "twice", "changed", "swapped"]) if dice.random() < 0.02 else ""
    first, second = dice.sample(SIDES, 2)
    writer.put(first, key, value)
    if fault == "swapped":
        writer.put(first, key, b"other-%d" % number)
        writer.put(second, key, b"other-%d" % number)
    if fault != "dropped":
        writer.put(second, key, value if fault != "changed" else b"changed-%d" % number)
    if fault == "twice":
        writer.put(second, key, value)


def by_key(writer: Writer, side: str) -> dict[bytes, list[bytes]]:
    """What stands on a side, read by another library."""
    found: dict[bytes, list[bytes]] = {}
    for each in read_committed(writer.bootstrap, writer.topics[side], writer.counts[side]):
        found.setdefault(each.key() or b"", []).append(each.value() or b"")
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_it_names_the_keys_that_a_plain_comparison_by_another_library_finds(writer: Writer, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(4000):
        damaged(writer, dice, number)
    writer.flush()
    verdict = writer.audit(samples=1000, show_data=True, pending_limit=dice.choice([50, None]))
    named = {
        base64.b64decode(place.key.data)
        for each in verdict.samples
        for place in (each.source, each.target)
        if place is not None and place.key is not None and place.key.data is not None
    }
    source, target = (by_key(writer, side) for side in SIDES)
    assert named == {key for key in source | target if source.get(key) != target.get(key)}
    assert len(named) > 30
    assert sum(verdict.violations.values()) == len(verdict.samples)


@pytest.mark.slow
def test_ten_million_keys_of_one_side_before_the_other_need_little_memory() -> None:
    done = subprocess.run(
        [hatch_build.go_command(), "test", "-count=1", "-v", "-run", "TestTenMillionKeys", "./dualaudit/match"],
        cwd=hatch_build.ENGINE,
        env=hatch_build.environment(CUTOVER_SLOW="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "--- PASS: TestTenMillionKeys" in done.stdout
