"""Rules about keys and who places them, and the sample they rest on."""

from collections.abc import Iterator, Mapping

import pytest

from cutover.errors import RangeExpired
from cutover.model import Isolation, Record, TopicPartition
from cutover.partitioners import partition
from cutover.preflight import Severity, sample, survey
from cutover.preflight.keys_in_two_partitions import ID as SPLIT
from cutover.preflight.null_keys import KEYLESS, REFUSED
from cutover.preflight.partitioner import ALIKE, LEAST_KEYS, UNPROVED, WRONG
from cutover.preflight.producers_known import NOBODY, NOT_JOINED, PARTITIONER
from cutover.protocol import ControlState, Join, Role
from cutover.twin import Twin
from tests.unit.preflight.scene import Scene, judged, plan, target


def joined(partitioner: str | None, topic: str = "orders", role: Role = Role.PRODUCER) -> ControlState:
    return ControlState().then(0, Join(instance="i-1", session="s", topic=topic, role=role, partitioner=partitioner))


def test_a_partitioner_that_did_not_place_the_keys_is_red_and_the_one_that_did_is_named() -> None:
    finding = Scene().found(plan(partitioner="crc32"))[WRONG]
    assert finding.severity is Severity.RED
    assert finding.facts["families"] == ["murmur2"]
    assert finding.facts["keys"] == 200
    assert "murmur2" in finding.next


def test_an_empty_topic_proves_no_partitioner() -> None:
    scene = Scene()
    for p in range(3):
        where = TopicPartition("orders", p)
        scene.twin.trim(where, scene.twin.end_offsets([where], Isolation.READ_UNCOMMITTED)[where])
    finding = scene.found()[UNPROVED]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"keys": 0, "partitions": 3})


def test_a_topic_of_one_partition_proves_no_partitioner_however_many_keys_it_has() -> None:
    finding = Scene(partitions=1).found()[UNPROVED]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"keys": 200, "partitions": 1})


def test_few_keys_that_contradict_the_plan_are_red_all_the_same() -> None:
    twin = Twin(brokers=3)
    twin.create_topic("orders", 3, replication_factor=3)
    for number in range(LEAST_KEYS - 1):
        key = b"key-%d" % number
        twin.append(TopicPartition("orders", (partition("murmur2", key, 3) + 1) % 3), key, b"v")
    found = judged(survey(twin, twin, plan(), ControlState(), patience_seconds=0))
    assert (WRONG in found, UNPROVED in found) == (True, False)


def test_a_power_of_two_hides_what_tells_two_formulas_apart_and_that_is_a_note() -> None:
    finding = Scene(partitions=4).found(plan(target=target(partitions=8)))[ALIKE]
    assert finding.severity is Severity.NOTE
    assert "murmur2_unmasked" in finding.facts["alike"]
    assert ALIKE not in Scene(partitions=3).found()


def test_an_altered_topic_is_red_and_its_earlier_count_is_told() -> None:
    scene = Scene(partitions=6)
    for number in range(200):
        key = b"key-%d" % number
        scene.twin.append(TopicPartition("orders", partition("murmur2", key, 3)), key, b"v")
    found = scene.found()
    assert found[SPLIT].severity is Severity.RED
    assert found[SPLIT].facts["split"] > 50
    assert WRONG in found


def test_the_oldest_records_are_sampled_too_so_that_an_old_alteration_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = Twin(brokers=3)
    twin.create_topic("orders", 6, replication_factor=3)
    keys = [b"key-%d" % number for number in range(60)]
    for count in (3, *(6 for _ in range(20))):
        for key in keys:
            twin.append(TopicPartition("orders", partition("murmur2", key, count)), key, b"v")
    monkeypatch.setattr(sample, "OFFSETS", 30)
    ends = twin.end_offsets([TopicPartition("orders", p) for p in range(6)], Isolation.READ_COMMITTED)
    assert sample.sample(twin, twin, ends).split_keys


def test_a_sample_never_reads_an_offset_twice_and_stays_within_its_bound() -> None:
    ends = {TopicPartition("t", p): p * 700 for p in range(400)}
    begins = {where: end // 10 for where, end in ends.items()}
    oldest, newest = sample.spans(begins, ends)
    assert sum(end - begin for begin, end in oldest.values()) <= sample.OFFSETS_TOTAL
    assert sum(end - begin for begin, end in newest.values()) <= sample.OFFSETS_TOTAL
    assert all(oldest[where][1] <= begin for where, (begin, _) in newest.items())
    assert TopicPartition("t", 0) not in oldest


def test_a_sample_of_great_records_is_one_of_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = Twin()
    twin.create_topic("t", 1, replication_factor=1)
    where = TopicPartition("t", 0)
    for number in range(40):
        twin.append(where, b"%d" % number, b"v" * 1000)
    monkeypatch.setattr(sample, "BYTES", 4500)
    assert sample.sample(twin, twin, {where: 40}).records == 5


class Hasty:
    """A reader whose topic loses its first records while it is read, once."""

    def __init__(self, twin: Twin) -> None:
        self.twin, self.refused = twin, False

    def read(
        self, ranges: Mapping[TopicPartition, tuple[int, int]], isolation: Isolation = Isolation.READ_COMMITTED, **_: float | None
    ) -> Iterator[Record]:
        if not self.refused:
            self.refused = True
            raise RangeExpired("gone")
        return self.twin.read(ranges, isolation)


def test_retention_that_passes_a_begin_while_it_is_read_stops_no_sample() -> None:
    twin = Twin()
    twin.create_topic("t", 1, replication_factor=1)
    where = TopicPartition("t", 0)
    twin.append(where, b"k", b"v")
    assert sample.sample(twin, Hasty(twin), {where: 1}).records == 1


def test_records_without_a_key_are_a_note_with_the_partitions_they_will_be_in() -> None:
    scene = Scene()
    scene.twin.append(TopicPartition("orders", 1), None, b"v")
    finding = scene.found()[KEYLESS]
    assert (finding.severity, finding.facts) == (Severity.NOTE, {"null_keys": 1, "records": 201})
    assert "3 of 12 partitions" in finding.why
    assert "is not kept" in scene.found(plan(null_keys="spread"))[KEYLESS].why


def test_records_without_a_key_are_red_where_the_target_is_compacted() -> None:
    scene = Scene()
    compacted = plan(target=target(config={"cleanup.policy": "compact"}))
    assert REFUSED not in scene.found(compacted)
    scene.twin.append(TopicPartition("orders", 1), None, b"v")
    assert scene.found(compacted)[REFUSED].severity is Severity.RED


def test_a_plan_without_producers_is_amber() -> None:
    assert Scene().found(plan(producers=[]))[NOBODY].severity is Severity.AMBER


def test_instances_that_have_not_joined_are_a_note() -> None:
    finding = Scene().found()[NOT_JOINED]
    assert (finding.severity, finding.facts) == (Severity.NOTE, {"joined": [], "wanted": 1})
    assert NOT_JOINED not in Scene().found(log=joined("murmur2"))
    assert NOT_JOINED in Scene().found(log=joined("murmur2", role=Role.CONSUMER))
    assert NOT_JOINED in Scene().found(log=joined("murmur2", topic="payments"))


@pytest.mark.parametrize("partitioner", ["consistent_random", "crc32", "murmur3"])
def test_an_instance_with_another_partitioner_is_red(partitioner: str) -> None:
    finding = Scene().found(log=joined(partitioner))[PARTITIONER]
    assert (finding.severity, finding.facts) == (Severity.RED, {"instance": "i-1", "partitioner": partitioner})


@pytest.mark.parametrize("partitioner", ["murmur2_random", "murmur2", None])
def test_an_instance_with_the_same_partitioner_by_any_of_its_names_is_in_order(partitioner: str | None) -> None:
    assert PARTITIONER not in Scene().found(log=joined(partitioner))
