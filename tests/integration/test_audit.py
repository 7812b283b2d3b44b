"""The audit against real Kafka: green over everything it read, red at the exact place for every fault that is planted."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from cutover import wiring
from cutover.connection import Connection
from cutover.engine.audit_events import Sample, Verdict, VerifiedCut
from cutover.engine.auditing import AuditConfiguration, Auditing, Happening, Wanted, prepare
from cutover.engine.crosscheck import CrossCheck, choose, cross_check
from cutover.errors import NothingMirrored, TopicRecreated, UnknownTopic
from cutover.kafka.reader import KafkaReader
from cutover.partitioners import partition
from tests.conftest import MakeTopic
from tests.copying import PROVENANCE, Copying, Mirrored, Native

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("audit")]

Records = list[Mirrored]
ORIGINS, FOLLOWERS = 3, 6


@pytest.fixture(autouse=True)
def engine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    built = Path(__file__).parents[2] / "cutover/engine/bin/cutover-engine"
    if not os.environ.get("CUTOVER_ENGINE") and not built.exists():
        pytest.skip("no engine is built: run make cutover/engine/bin/cutover-engine, or set CUTOVER_ENGINE")
    runtime = tmp_path_factory.mktemp("a")
    runtime.chmod(0o700)
    monkeypatch.setenv("CUTOVER_RUNTIME_DIR", str(runtime))


class Stage:
    """A pair of topics, what was written to the origin, and its copy."""

    def __init__(self, bootstrap: str, topic: MakeTopic, **copying: str) -> None:
        self.bootstrap = bootstrap
        self.connection = Connection.load(bootstrap=bootstrap, profile=None, properties_file=None, overrides=())
        self.origin, self.follower = topic(ORIGINS, name="s"), topic(FOLLOWERS, name="t")
        self.copying = Copying(bootstrap, self.origin, self.follower, **copying)
        self.producer = Producer({"bootstrap.servers": bootstrap})
        self.numbers = itertools.count()

    def write(self, count: int = 120, keys: int = 17, **more: Any) -> None:  # noqa: ANN401
        for number in itertools.islice(self.numbers, count):
            key = b"key-%d" % (number % keys)
            self.put(key, b"value-%d" % number, headers=[("n", b"%d" % number), ("m", b"")], **more)
        self.flush()

    def put(self, key: bytes | None, value: bytes | None, where: int | None = None, **more: Any) -> None:  # noqa: ANN401
        at = where if where is not None else partition("murmur2", key or b"", ORIGINS)
        self.producer.produce(self.origin, value, key, partition=at, **more)

    def flush(self) -> None:
        assert self.producer.flush(30) == 0

    def configuration(self, **wanted: Any) -> AuditConfiguration:  # noqa: ANN401
        with wiring.cluster(self.connection) as cluster:
            asked = {"null_keys": self.copying.null_keys, "run": self.copying.run, "samples": 50, **wanted}
            return prepare(cluster, self.connection, Wanted(self.origin, self.follower, "murmur2", **asked))

    def audit(self, **wanted: Any) -> Verdict:  # noqa: ANN401
        auditing = Auditing(self.configuration(**wanted))
        try:
            verdicts = [each for each in auditing.happenings(60) if isinstance(each, Verdict)]
        finally:
            auditing.stop("the test is done")
        assert len(verdicts) == 1
        return verdicts[0]

    def check(self, verdict: Verdict, **wanted: Any) -> CrossCheck:  # noqa: ANN401
        return cross_check(KafkaReader(self.connection), self.configuration(**wanted), verdict, choose(verdict, 1000))


@pytest.fixture
def stage(bootstrap: str, topic: MakeTopic) -> Stage:
    return Stage(bootstrap, topic)


def only(verdict: Verdict, kind: str) -> list[Sample]:
    """The samples, after making sure that nothing else was found."""
    assert dict(verdict.violations) == {kind: sum(each.kind == kind for each in verdict.samples)}, verdict.samples
    assert verdict.result == verdict.standing == "violated"
    assert verdict.violations_exact
    return list(verdict.samples)


def origin_of(sample: Sample) -> tuple[int, int]:
    assert sample.origin is not None
    return sample.origin.partition, sample.origin.offset


def follower_of(sample: Sample) -> tuple[int, int]:
    assert sample.follower is not None
    return sample.follower.partition, sample.follower.offset


def of_one_pair(records: Records) -> list[int]:
    """Indices of the records of the fullest pair of partitions, in order."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for index, each in enumerate(records):
        pairs.setdefault((each.origin[0], each.partition), []).append(index)
    return max(pairs.values(), key=len)


def offset_of(records: Sequence[Mirrored], index: int) -> int:
    """Where a record comes to stand in its follower partition, if all were written in one transaction."""
    return sum(each.partition == records[index].partition for each in records[:index])


# --- nothing is wrong


def test_an_equal_pair_is_proved_over_all_of_it(stage: Stage) -> None:
    stage.write(500)
    stage.copying.copy(batches=4)
    verdict = stage.audit()
    assert verdict.result == verdict.standing == "proved"
    assert (verdict.coverage.expected, verdict.coverage.proved, verdict.coverage.unproved) == (500, 500, 0)
    assert verdict.pairs_total == verdict.pairs_equal == 6
    assert verdict.records_read == 1000
    assert verdict.digest_fields == ("partition", "offset", "key", "value", "headers", "timestamp")
    assert sum(each.origin_records for each in verdict.pairs) == sum(each.follower_records for each in verdict.pairs) == 500
    assert dict(verdict.bounds.until) == stage.copying.positions
    assert not verdict.samples
    assert not stage.check(verdict).findings


@pytest.mark.parametrize("null_keys", ["keep_partition", "spread"])
def test_null_and_empty_keys_tombstones_and_repeated_headers_are_equal(bootstrap: str, topic: MakeTopic, null_keys: str) -> None:
    stage = Stage(bootstrap, topic, null_keys=null_keys)
    for number in range(60):
        stage.put(None, b"no key %d" % number, number % ORIGINS)
        stage.put(b"", b"empty key %d" % number)
        stage.put(b"gone-%d" % number, None)
        stage.put(b"empty-%d" % number, b"")
        stage.put(b"h-%d" % number, b"v", headers=[("a", b"1"), ("b", None), ("a", b""), ("a", b"1"), ("", b"x")])
    stage.flush()
    stage.copying.copy()
    verdict = stage.audit()
    assert (verdict.result, verdict.coverage.proved) == ("proved", 300)
    assert not stage.check(verdict).findings


def test_the_wrong_policy_for_null_keys_is_seen(stage: Stage) -> None:
    for number in range(10):
        stage.put(None, b"%d" % number, 1)
    stage.flush()
    stage.copying.copy()
    verdict = stage.audit(null_keys="spread")
    assert {origin_of(each) for each in only(verdict, "misplaced")} == {(1, offset) for offset in range(10) if offset % 2 != 0}
    assert stage.check(verdict, null_keys="spread").findings


def test_an_aborted_transaction_of_the_source_is_not_expected(stage: Stage, bootstrap: str) -> None:
    stage.write(50)
    writer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"app-{stage.origin}"})
    writer.init_transactions(30)
    for commit in (False, True, False):
        writer.begin_transaction()
        for number in range(20):
            writer.produce(stage.origin, b"tx", b"key-%d" % number, partition=partition("murmur2", b"key-%d" % number, ORIGINS))
        writer.flush(30)
        writer.commit_transaction(30) if commit else writer.abort_transaction(30)
    stage.write(50)
    stage.copying.copy()
    verdict = stage.audit()
    assert (verdict.result, verdict.coverage.expected) == ("proved", 120)
    assert not stage.check(verdict).findings


def test_provenance_of_an_earlier_run_on_the_origin_is_stripped_not_missed(stage: Stage) -> None:
    old = b"\x01" + bytes(24)
    stage.put(b"k", b"1", headers=[("a", b"1"), (PROVENANCE, old), ("b", b"2"), (PROVENANCE, b"not of the form")])
    stage.put(b"k", b"2", headers=[(PROVENANCE, old)])
    stage.flush()

    def strip(records: Records) -> Records:
        return [each.but(headers=tuple(header for header in each.headers if header != (PROVENANCE, old))) for each in records]

    stage.copying.copy(strip)
    verdict = stage.audit()
    assert (verdict.result, verdict.coverage.proved) == ("proved", 2)
    assert not stage.check(verdict).findings


def test_records_past_the_range_are_later_ones(stage: Stage) -> None:
    stage.write(100)
    stage.copying.copy()
    until = {number: max(0, end - 5) for number, end in stage.copying.positions.items()}
    verdict = stage.audit(until=until)
    assert (verdict.result, verdict.coverage.expected, verdict.coverage.later) == ("proved", 85, 15)
    assert not stage.check(verdict, until=until).findings


def test_a_range_in_the_middle_is_judged_alone(stage: Stage) -> None:
    stage.write(100)
    stage.copying.copy(lambda records: [each for each in records if each.origin != (0, 0)])
    begin, end = dict.fromkeys(range(ORIGINS), 3), dict.fromkeys(range(ORIGINS), 9)
    verdict = stage.audit(start=begin, until=end)
    assert (verdict.result, verdict.coverage.expected) == ("proved", 18)
    assert origin_of(only(stage.audit(), "missing")[0]) == (0, 0)


def test_broker_timestamps_are_left_out_and_said(stage: Stage, topic: MakeTopic, bootstrap: str) -> None:
    stage.follower = topic(FOLLOWERS, {"message.timestamp.type": "LogAppendTime"}, name="t")
    stage.copying = Copying(bootstrap, stage.origin, stage.follower)
    stage.write(60, timestamp=round(time.time() * 1000) - 3_600_000)
    stage.copying.copy()
    verdict = stage.audit()
    assert verdict.result == "proved"
    assert "timestamp" not in verdict.digest_fields
    assert "LogAppendTime" in verdict.digest_note
    assert not stage.check(verdict).findings


# --- planted on the follower: what, how, and which kind must name which places

Plant = Callable[[Records], tuple[Records, list[tuple[tuple[int, int] | None, tuple[int, int] | None]]]]


def a_hole(records: Records) -> Any:  # noqa: ANN401
    index = of_one_pair(records)[3]
    return records[:index] + records[index + 1 :], [(records[index].origin, None)]


def the_last_one_missing(records: Records) -> Any:  # noqa: ANN401
    index = of_one_pair(records)[-1]
    return records[:index] + records[index + 1 :], [(records[index].origin, None)]


def a_duplicate(records: Records) -> Any:  # noqa: ANN401
    pair = of_one_pair(records)
    changed = [*records[: pair[5] + 1], records[pair[2]], *records[pair[5] + 1 :]]
    return changed, [(records[pair[2]].origin, (records[pair[2]].partition, offset_of(changed, pair[5] + 1)))]


def a_duplicate_at_once(records: Records) -> Any:  # noqa: ANN401
    index = of_one_pair(records)[2]
    changed = [*records[: index + 1], *records[index:]]
    return changed, [(records[index].origin, (records[index].partition, offset_of(changed, index + 1)))]


def a_swapped_pair(records: Records) -> Any:  # noqa: ANN401
    one, other = of_one_pair(records)[4:6]
    changed = list(records)
    changed[one], changed[other] = records[other], records[one]
    return changed, [(records[one].origin, (records[one].partition, offset_of(changed, other)))]


def swapped_provenance(records: Records) -> Any:  # noqa: ANN401
    one, other = of_one_pair(records)[4:6]
    changed = list(records)
    changed[one] = records[one].but(origin=records[other].origin)
    changed[other] = records[other].but(origin=records[one].origin)
    at = [(records[one].partition, offset_of(changed, index)) for index in (one, other)]
    return changed, [(records[other].origin, at[0]), (records[one].origin, at[1])]


def swapped_provenance_across_partitions(records: Records) -> Any:  # noqa: ANN401
    one = next(index for index, each in enumerate(records) if each.origin[0] == 0)
    other = next(index for index, each in enumerate(records) if each.origin[0] == 1)
    changed = list(records)
    changed[one] = records[one].but(origin=records[other].origin)
    changed[other] = records[other].but(origin=records[one].origin)
    return changed, [
        (records[other].origin, (records[one].partition, offset_of(changed, one))),
        (records[one].origin, (records[other].partition, offset_of(changed, other))),
    ]


def _altered(**change: Any) -> Plant:  # noqa: ANN401
    def plant(records: Records) -> Any:  # noqa: ANN401
        index = of_one_pair(records)[6]
        changed = list(records)
        made = {name: value(records[index]) if callable(value) else value for name, value in change.items()}
        changed[index] = records[index].but(**made)
        return changed, [(records[index].origin, (records[index].partition, offset_of(changed, index)))]

    return plant


def a_key_in_the_wrong_partition(records: Records) -> Any:  # noqa: ANN401
    index = of_one_pair(records)[1]
    changed = list(records)
    changed[index] = records[index].but(partition=(records[index].partition + 1) % FOLLOWERS)
    return changed, [(records[index].origin, (changed[index].partition, offset_of(changed, index)))]


PLANTS: dict[str, tuple[Plant, str]] = {
    "a hole": (a_hole, "missing"),
    "the last record missing": (the_last_one_missing, "missing"),
    "a duplicate": (a_duplicate, "duplicate"),
    "a duplicate at once": (a_duplicate_at_once, "duplicate"),
    "a swapped pair": (a_swapped_pair, "reordered"),
    "swapped provenance": (swapped_provenance, "swapped"),
    "swapped provenance across partitions": (swapped_provenance_across_partitions, "swapped"),
    "a changed byte": (_altered(value=lambda each: each.value[:-1] + bytes([each.value[-1] ^ 1])), "changed"),
    "a value that became a tombstone": (_altered(value=None), "changed"),
    "the order of headers": (_altered(headers=lambda each: each.headers[::-1]), "changed"),
    "a header without value": (_altered(headers=lambda each: (each.headers[0], ("m", None))), "changed"),
    "a header twice": (_altered(headers=lambda each: (*each.headers, each.headers[0])), "changed"),
    "a timestamp": (_altered(timestamp_ms=lambda each: each.timestamp_ms + 1), "changed"),
    "a key in the wrong partition": (a_key_in_the_wrong_partition, "misplaced"),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_red_at_its_place_for_both_implementations(stage: Stage, name: str) -> None:
    plant, kind = PLANTS[name]
    stage.write(120)
    expected: list[Any] = []

    def fault(records: Records) -> Records:
        changed, places = plant(records)
        expected.extend(places)
        return changed

    stage.copying.copy(fault, batches=1)
    verdict = stage.audit()
    samples = only(verdict, kind)
    places = [(origin_of(each), follower_of(each) if each.follower else None) for each in samples]
    assert sorted(places, key=str) == sorted(expected, key=str)
    found = stage.check(verdict).findings
    assert {each.origin for each in found} >= {origin for origin, _ in expected}


def test_the_fields_that_differ_are_named(stage: Stage) -> None:
    stage.write(40)
    stage.copying.copy(lambda records: [records[0].but(value=b"x", headers=(), timestamp_ms=1), *records[1:]])
    assert only(stage.audit(), "changed")[0].fields == ("value", "headers", "timestamp")


def test_a_copy_of_an_origin_that_is_not_there_is_a_phantom(stage: Stage, bootstrap: str) -> None:
    stage.write(30)
    aborted = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"app-{stage.origin}"})
    aborted.init_transactions(30)
    aborted.begin_transaction()
    aborted.produce(stage.origin, b"never", b"key-1", partition=partition("murmur2", b"key-1", ORIGINS))
    aborted.flush(30)
    aborted.abort_transaction(30)
    stage.write(30)
    places: list[Any] = []

    def fault(records: Records) -> Records:
        home = partition("murmur2", b"key-1", ORIGINS)
        offsets = {each.origin[1] for each in records if each.origin[0] == home}
        absent = min(set(range(max(offsets))) - offsets)  # the aborted record's, which no committed one has
        after = next(index for index, each in enumerate(records) if each.origin > (home, absent))
        forged = stage.copying.mirrored(Native(home, absent, b"key-1", b"never", (), 1))
        changed = [*records[:after], forged, *records[after:]]
        places.append(((home, absent), (forged.partition, offset_of(changed, after))))
        return changed

    stage.copying.copy(fault, batches=1)
    verdict = stage.audit()
    assert [(origin_of(each), follower_of(each)) for each in only(verdict, "phantom")] == places
    assert [each.kind for each in stage.check(verdict).findings] == ["phantom"]


@pytest.mark.parametrize("forged", [False, True])
def test_a_foreign_writer_on_the_follower_is_red_with_or_without_provenance(stage: Stage, forged: bool) -> None:
    stage.write(60)
    stage.copying.copy(batches=1)
    headers: Any = [(PROVENANCE, stage.copying.provenance((0, 0)))] if forged else None
    at: list[int | None] = []
    stage.producer.produce(stage.follower, b"x", b"k", partition=2, headers=headers, on_delivery=lambda _, said: at.append(said.offset()))
    stage.flush()
    verdict = stage.audit()
    sample = only(verdict, "foreign")[0]
    assert follower_of(sample) == (2, at[0])
    assert "producer id" in sample.why
    assert stage.check(verdict).findings


def test_provenance_of_another_epoch_written_by_a_lane_is_foreign(stage: Stage) -> None:
    stage.write(30)
    right = stage.copying.provenance
    stage.copying.provenance = lambda origin: right(origin)[:12] + b"\x07" + right(origin)[13:] if origin == (1, 2) else right(origin)  # type: ignore[method-assign]
    stage.copying.copy(batches=1)
    verdict = stage.audit()
    assert verdict.violations == {"foreign": 1, "missing": 1}
    assert {each.kind for each in stage.check(verdict).findings} == {"foreign", "missing"}


# --- planted on the origin


def test_a_native_record_outside_its_hash_partition_is_red_unless_accepted(stage: Stage) -> None:
    stage.write(60)
    home = partition("murmur2", b"stray", ORIGINS)
    at: list[tuple[int, int]] = []
    stage.put(b"stray", b"x", (home + 1) % ORIGINS, on_delivery=lambda _, said: at.append((said.partition(), said.offset())))
    stage.flush()
    stage.copying.copy()
    verdict = stage.audit()
    sample = only(verdict, "off_hash")[0]
    assert origin_of(sample) == at[0]
    assert sample.expected_partition == home
    assert [each.origin for each in stage.check(verdict).findings] == at
    accepted = stage.audit(off_hash="accepted")
    assert (accepted.result, dict(accepted.accepted)) == ("proved", {"off_hash": 1})
    assert not stage.check(accepted, off_hash="accepted").findings


def test_a_lane_that_writes_to_the_origin_is_a_loop(stage: Stage) -> None:
    stage.write(20)
    stage.copying.copy(batches=1)
    lane = stage.copying.producer()
    at: list[tuple[int | None, int | None]] = []
    home = partition("murmur2", b"looped", ORIGINS)
    lane.begin_transaction()
    lane.produce(stage.origin, b"x", b"looped", partition=home, on_delivery=lambda _, said: at.append((said.partition(), said.offset())))
    lane.commit_transaction(30)
    stage.copying.copy(batches=1)
    assert [origin_of(each) for each in only(stage.audit(), "loop")] == at


# --- what cannot be read any more


def expire(admin: AdminClient, topic: str, before: dict[int, int]) -> None:
    where = [TopicPartition(topic, number, offset) for number, offset in before.items()]
    for future in admin.delete_records(where).values():
        future.result(30)


def test_an_expired_origin_is_unproved_and_the_rest_is_judged(stage: Stage, admin: AdminClient) -> None:
    stage.write(150)
    stage.copying.copy()
    expire(admin, stage.origin, {0: 7, 2: 4})
    verdict = stage.audit()
    assert (verdict.result, verdict.coverage.unproved, verdict.coverage.proved) == ("unproved", 11, 139)
    assert [(each.side, each.partition, each.from_, each.until, each.records) for each in verdict.coverage.gaps] == [
        ("origin", 0, 0, 7, 7),
        ("origin", 2, 0, 4, 4),
    ]
    assert not stage.check(verdict).findings


def test_an_expired_follower_is_unproved_and_a_hole_behind_it_is_still_red(stage: Stage, admin: AdminClient) -> None:
    stage.write(300)
    stage.copying.copy(batches=1)
    expire(admin, stage.follower, {0: 5, 3: 2})
    verdict = stage.audit()
    assert (verdict.result, verdict.coverage.unproved, verdict.coverage.proved) == ("unproved", 7, 293)
    assert {(each.side, each.partition, each.from_, each.until) for each in verdict.coverage.gaps} == {
        ("follower", 0, 0, 5),
        ("follower", 3, 0, 2),
    }
    assert not stage.check(verdict).findings


def test_a_hole_behind_what_expired_is_red(stage: Stage, admin: AdminClient) -> None:
    stage.write(300)
    holes: list[tuple[int, int]] = []

    def fault(records: Records) -> Records:
        pair = [index for index, each in enumerate(records) if each.partition == 0]
        holes.append(records[pair[-2]].origin)
        return [each for index, each in enumerate(records) if index != pair[-2]]

    stage.copying.copy(fault, batches=1)
    expire(admin, stage.follower, {0: 5})
    assert [origin_of(each) for each in only(stage.audit(), "missing")] == holes


# --- following


@pytest.fixture
def follow(stage: Stage) -> Iterator[Callable[[], Auditing]]:
    started: list[Auditing] = []

    def start() -> Auditing:
        started.append(Auditing(stage.configuration(follow=True, interval_seconds=0.05)))
        return started[-1]

    yield start
    for each in started:
        each.stop("the test is done")


def until(auditing: Auditing, wanted: Callable[[Happening], bool], seconds: float = 90.0) -> Happening:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for happened in auditing.happenings(0.5):
            if wanted(happened):
                return happened
    pytest.fail("the audit did not say it in time")


def proved(count: int) -> Callable[[Happening], bool]:
    total = 0

    def enough(happened: Happening) -> bool:
        nonlocal total
        total += happened.coverage.proved if isinstance(happened, Verdict) else 0
        return total >= count

    return enough


def test_following_proves_window_after_window_and_tells_cuts(stage: Stage, follow: Callable[[], Auditing]) -> None:
    stage.write(50)
    stage.copying.copy()
    auditing = follow()
    until(auditing, proved(50))
    for _ in range(3):
        stage.write(40)
        stage.copying.copy()
        until(auditing, proved(40))
    until(auditing, lambda each: isinstance(each, VerifiedCut) and each.exact and dict(each.origin) == stage.copying.positions)
    assert auditing.verdict is not None
    assert auditing.verdict.standing == "proved"


def test_a_violation_planted_later_turns_red_and_stays_red(stage: Stage, follow: Callable[[], Auditing]) -> None:
    stage.write(50)
    stage.copying.copy()
    auditing = follow()
    until(auditing, proved(50))
    lost: list[tuple[int, int]] = []

    def hole(records: Records) -> Records:
        lost.append(records[7].origin)
        return records[:7] + records[8:]

    stage.write(40)
    stage.copying.copy(hole)
    red = until(auditing, lambda each: isinstance(each, Verdict) and each.result == "violated")
    assert isinstance(red, Verdict)
    assert [origin_of(each) for each in only(red, "missing")] == lost
    stage.write(40)
    stage.copying.copy()
    later = until(auditing, lambda each: isinstance(each, Verdict) and each.coverage.proved == 40)
    assert isinstance(later, Verdict)
    assert (later.result, later.standing) == ("proved", "violated")
    assert auditing.judge_now()["standing"] == "violated"


def test_a_duplicate_of_something_judged_long_ago_is_red(stage: Stage, follow: Callable[[], Auditing]) -> None:
    stage.write(50)
    copied: Records = []
    stage.copying.copy(lambda records: copied.extend(records) or records)  # type: ignore[func-returns-value]
    auditing = follow()
    until(auditing, proved(50))
    stage.write(10)
    stage.copying.copy(lambda records: [*records, copied[0]])
    red = until(auditing, lambda each: isinstance(each, Verdict) and each.result == "violated")
    assert isinstance(red, Verdict)
    assert [origin_of(each) for each in only(red, "duplicate")] == [copied[0].origin]


# --- the command

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(stage: Stage) -> Run:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words(stage, *arguments), capture_output=True, text=True, timeout=90, check=False)

    return run


def words(stage: Stage, *arguments: str) -> list[str]:
    pair = ["--from", stage.origin, "--to", stage.follower, "--partitioner", "murmur2", "--run", stage.copying.run]
    return [sys.executable, "-c", "from cutover.cli import main; main()", "audit", *pair, "--bootstrap", stage.bootstrap, *arguments]


def test_the_command_proves_an_equal_pair_and_exits_0(stage: Stage, command: Run) -> None:
    stage.write(200)
    stage.copying.copy()
    done = command("--cross-check")
    assert done.returncode == 0, done.stderr
    assert "all 200 records" in done.stdout
    assert "cross-check   agrees" in done.stdout
    assert done.stdout.endswith("ready: yes\n")
    told = json.loads(command("--output", "json", "--cross-check", "3").stdout)
    assert (told["ready"], told["schema_version"], told["cross_check"]["agrees"]) == (True, 1, True)


def test_the_command_exits_5_on_a_violation_and_hides_data_unless_asked(stage: Stage, command: Run) -> None:
    stage.write(50)
    stage.copying.copy(lambda records: records[1:])
    done = command("--cross-check", "100")
    assert done.returncode == 5
    assert "error CUT-AUD-002" in done.stderr
    assert "missing" in done.stdout
    assert "ready: no, because 1 missing" in done.stdout
    assert "value-" not in done.stdout + done.stderr
    assert "value-" in command("--show-data").stdout


def test_the_command_exits_3_when_a_part_expired(stage: Stage, command: Run, admin: AdminClient) -> None:
    stage.write(50)
    stage.copying.copy()
    expire(admin, stage.origin, {0: 3})
    done = command()
    assert done.returncode == 3
    assert "not checked" in done.stdout
    assert "error CUT-AUD-004" in done.stderr


def test_following_stays_red_to_its_end(stage: Stage) -> None:
    stage.write(50)
    stage.copying.copy(lambda records: records[1:])
    process = subprocess.Popen(
        words(stage, "--follow", "--interval", "0.05", "--output", "ndjson"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    verdicts = 0
    for line in process.stdout:
        told = json.loads(line)
        verdicts += told["event"] == "verdict"
        assert told["event"] != "verdict" or told["standing"] == "violated"
        if verdicts == 3:
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5, err


def test_following_ends_with_what_was_judged_in_all(stage: Stage) -> None:
    stage.write(50)
    stage.copying.copy()
    process = subprocess.Popen(words(stage, "--follow"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "window 1: proved" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out.splitlines()[-2].endswith("50 of 50 records proved")
    assert out.splitlines()[-1] == "ready: yes"


def test_a_bound_of_a_partition_that_is_not_there_is_refused(stage: Stage, command: Run) -> None:
    stage.write(10)
    stage.copying.copy()
    done = command("--start", "77:1")
    assert (done.returncode, "[77]" in done.stderr) == (2, True)


def test_an_audit_of_nothing_says_so(stage: Stage, command: Run) -> None:
    with pytest.raises(NothingMirrored):
        stage.audit()
    done = command()
    assert done.returncode == 1
    assert "no mirror of this run and epoch has committed anything" in done.stderr


def test_a_topic_made_again_is_another_topic(stage: Stage) -> None:
    stage.write(10)
    stage.copying.copy()
    told = stage.configuration()
    other = told.model_copy(update={"follower": told.follower.model_copy(update={"id": told.origin.id})})
    auditing = Auditing(other)
    try:
        with pytest.raises(TopicRecreated):
            list(auditing.happenings(30))
    finally:
        auditing.stop("the test is done")


def test_an_unknown_topic_is_refused(stage: Stage) -> None:
    stage.follower = "no-such-topic"
    with pytest.raises(UnknownTopic):
        stage.configuration()
