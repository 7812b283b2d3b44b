"""Before a mirror starts both topics are looked at: what cannot work is refused, what may surprise is said, nothing is changed."""

import pytest

from cutover import errors
from cutover.connection import Connection
from cutover.engine import pair as pairs
from cutover.engine.configuration import Rate, Start
from cutover.engine.mirroring import Wanted, prepare
from cutover.engine.pair import Pair
from cutover.model import Committed, TopicPartition
from cutover.run import Run
from cutover.twin.cluster import Twin

ROOM = {"max.message.bytes": "1048652", "retention.ms": "-1"}
HERE = Connection.of({"bootstrap.servers": "127.0.0.1:9092"})


@pytest.fixture
def twin() -> Twin:
    """orders with 2 partitions: 5 records at times 0 to 4 in partition 0, none in 1."""
    twin = Twin()
    twin.create_topic("orders", 2, replication_factor=1, configs={"retention.ms": "-1"})
    for number in range(5):
        twin.append(TopicPartition("orders", 0), b"k", b"v", timestamp_ms=number)
    return twin


def look(twin: Twin, follower_configs: dict[str, str] | None = None, partitions: int = 4, *, allow_shrink: bool = False) -> Pair:
    twin.create_topic("orders.v2", partitions, replication_factor=1, configs=ROOM | (follower_configs or {}))
    return pairs.inspect(twin, "orders", "orders.v2", null_keys="keep_partition", allow_shrink=allow_shrink)


def run_of(pair: Pair) -> Run:
    return Run.of("r", pair.origin.id, pair.follower.id)


def commit(twin: Twin, pair: Pair, positions: dict[int, int], metadata: str = "") -> None:
    twin.alter_offsets(run_of(pair).group, {TopicPartition("orders", p): Committed(offset, metadata) for p, offset in positions.items()})


def test_a_pair_that_fits_needs_no_note(twin: Twin) -> None:
    pair = look(twin)
    assert (pair.origin.partitions, pair.follower.partitions, pair.notes) == (2, 4, ())


def test_a_topic_is_not_copied_into_itself(twin: Twin) -> None:
    with pytest.raises(errors.SameTopic):
        pairs.inspect(twin, "orders", "orders", null_keys="spread", allow_shrink=False)


def test_an_unknown_topic_is_refused(twin: Twin) -> None:
    with pytest.raises(errors.UnknownTopic, match=r"orders\.v3"):
        pairs.inspect(twin, "orders", "orders.v3", null_keys="spread", allow_shrink=False)


def test_a_follower_that_is_not_there_is_answered_with_how_to_create_it(twin: Twin) -> None:
    with pytest.raises(errors.UnknownTopic) as caught:
        pairs.inspect(twin, "orders", "orders.v3", null_keys="spread", allow_shrink=False)
    assert "--create" in caught.value.next
    with pytest.raises(errors.UnknownTopic, match="nowhere") as caught:
        pairs.inspect(twin, "nowhere", "orders.v3", null_keys="spread", allow_shrink=False)
    assert "--create" not in caught.value.next


def test_a_follower_that_would_be_refused_is_not_created(twin: Twin) -> None:
    with pytest.raises(errors.FollowerSmaller):
        pairs.is_to_be_created(twin, "orders", "orders.v2", 1, allow_shrink=False)
    assert pairs.is_to_be_created(twin, "orders", "orders.v2", 1, allow_shrink=True)
    assert "orders.v2" not in twin.topic_names()


def test_a_smaller_follower_is_refused_unless_asked_for(twin: Twin) -> None:
    with pytest.raises(errors.FollowerSmaller, match="1 partitions"):
        look(twin, partitions=1)
    assert pairs.inspect(twin, "orders", "orders.v2", null_keys="spread", allow_shrink=True).follower.partitions == 1


def test_one_byte_too_little_for_provenance_is_refused(twin: Twin) -> None:
    with pytest.raises(errors.FollowerRecordLimit, match="at most 1048651 bytes") as caught:
        look(twin, {"max.message.bytes": "1048651"})
    assert "max.message.bytes=1048652" in caught.value.next


@pytest.mark.parametrize(
    ("configs", "partitions", "words"),
    [
        ({"cleanup.policy": "compact"}, 4, "refuse records without a key"),
        ({"message.timestamp.type": "LogAppendTime"}, 4, "own times are lost"),
        ({"retention.ms": "3600000"}, 4, "removes records after 1 h"),
        ({"retention.bytes": "5000"}, 4, "removes records after 5,000 bytes per partition"),
        ({}, 3, "crossed lineage"),
    ],
)
def test_what_may_surprise_is_said(twin: Twin, configs: dict[str, str], partitions: int, words: str) -> None:
    notes = look(twin, configs, partitions).notes
    assert len(notes) == 1
    assert words in notes[0]


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        (Start(kind="earliest"), {0: 0, 1: 0}),
        (Start(kind="latest"), {0: 5, 1: 0}),
        (Start(kind="time", time_ms=3), {0: 3, 1: 0}),
        (Start(kind="time", time_ms=99), {0: 5, 1: 0}),
        (Start(kind="offsets", offsets={0: 3, 1: 0}), {0: 3, 1: 0}),
    ],
)
def test_a_run_without_positions_begins_where_it_is_told(twin: Twin, start: Start, begins: dict[int, int]) -> None:
    pair = look(twin)
    standing = pairs.standing(twin, pair, run_of(pair), start)
    assert (standing.begins, standing.ends, standing.resumed) == (begins, {0: 5, 1: 0}, False)


def test_a_run_with_positions_goes_on_there_whatever_it_is_told(twin: Twin) -> None:
    pair = look(twin)
    commit(twin, pair, {0: 2})
    standing = pairs.standing(twin, pair, run_of(pair), Start(kind="latest"))
    assert (standing.begins, standing.resumed) == ({0: 2, 1: 0}, True)


def test_lanes_are_four_or_as_many_as_there_are_partitions(twin: Twin) -> None:
    pair = look(twin)
    assert pairs.choose_lanes(twin, pair, run_of(pair), None) == 2
    assert pairs.choose_lanes(twin, pair, run_of(pair), 1) == 1


def test_a_run_keeps_the_lanes_that_it_was_begun_with(twin: Twin) -> None:
    pair = look(twin)
    commit(twin, pair, {0: 2, 1: 0}, metadata='{"l": 1}')
    assert pairs.choose_lanes(twin, pair, run_of(pair), None) == 1
    with pytest.raises(errors.LanesDiffer, match="begun with 1 lanes, not 2"):
        pairs.choose_lanes(twin, pair, run_of(pair), 2)


def test_a_run_keeps_the_partitioner_and_the_null_keys_that_it_was_begun_with(twin: Twin) -> None:
    pair = look(twin)
    pairs.require_placement(twin, pair, run_of(pair), "murmur2", "spread")
    commit(twin, pair, {0: 2}, metadata='{"l": 1, "k": "murmur2/spread"}')
    pairs.require_placement(twin, pair, run_of(pair), "murmur2", "spread")
    for other in (("crc32", "spread"), ("murmur2", "keep_partition")):
        with pytest.raises(errors.PlacementDiffers, match="begun with the partitioner and null keys murmur2/spread"):
            pairs.require_placement(twin, pair, run_of(pair), *other)


def test_a_follower_is_created_like_its_origin_with_room_and_without_limits(twin: Twin) -> None:
    twin.create_topic(
        "ledger", 1, replication_factor=1, configs={"max.message.bytes": "5000", "retention.ms": "9", "cleanup.policy": "delete"}
    )
    assert pairs.is_to_be_created(twin, "ledger", "ledger.v2", 8, allow_shrink=False)
    pairs.create_follower(twin, "ledger", "ledger.v2", 8)
    configs = twin.topic_configs(["ledger.v2"])["ledger.v2"]
    assert {name: configs[name].value for name in ("max.message.bytes", "retention.ms", "retention.bytes")} == {
        "max.message.bytes": "5064",
        "retention.ms": "-1",
        "retention.bytes": "-1",
    }
    assert not pairs.is_to_be_created(twin, "ledger", "ledger.v2", 8, allow_shrink=False)


def test_input_is_checked_before_the_cluster_is_asked() -> None:
    empty = Twin()
    with pytest.raises(errors.UnknownPartitioner):
        prepare(empty, HERE, Wanted("nowhere", "neither", "murmur3"))
    with pytest.raises(errors.UnknownNullKeyPolicy):
        prepare(empty, HERE, Wanted("nowhere", "neither", "murmur2", null_keys="guess"))


def test_what_is_prepared_is_what_a_worker_is_told(twin: Twin) -> None:
    pair = look(twin)
    told = prepare(twin, HERE, Wanted("orders", "orders.v2", "java", workers=2, rate=Rate(records_per_second=10))).configuration
    assert (told.partitioner, told.group, told.rate.records_per_second) == ("murmur2", "cutover.orders--orders.v2.0", 5)
    assert (told.origin, told.follower) == (pair.origin, pair.follower)
    assert told.connection["bootstrap_servers"] == ["127.0.0.1:9092"]
