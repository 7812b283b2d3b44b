"""Rules about the two topics: names, partitions, configs, durability, retention, times."""

from dataclasses import replace

import pytest

from cutover.model import PartitionDescription
from cutover.preflight import Severity
from cutover.preflight.durability import ALONE, INSYNC, SHRUNK, UNCLEAN
from cutover.preflight.partition_count import MORE, MULTIPLE
from cutover.preflight.retention import LIMITED, STORAGE
from cutover.preflight.target_config import ID as UNKNOWN_CONFIG
from cutover.preflight.target_free import COLLIDES, TAKEN
from cutover.preflight.tiered_storage import ID as TIERED
from cutover.preflight.timestamps import APPENDED, NEVER, TOO_OLD
from cutover.preflight.transaction_protocol import ID as OLD_TRANSACTIONS
from cutover.protocol import Close, ControlState, Pair, Topic
from tests.unit.preflight.scene import SOUND, Scene, configs, judged, plan, target


def told_pair(scene: Scene, run: str, *, closed: bool = False) -> ControlState:
    """A control log that pairs the source with the target, for a run."""
    source, made = (scene.twin.describe_topics([name])[name] for name in ("orders", "orders.v2"))
    pair = Pair(
        pair="p",
        run=run,
        source=Topic(name=source.name, id=source.topic_id, partitions=3),
        target=Topic(name=made.name, id=made.topic_id, partitions=12),
        partitioner="murmur2",
    )
    state = ControlState().then(0, pair)
    return state.then(1, Close(pair="p")) if closed else state


def test_a_target_that_is_there_is_red() -> None:
    scene = Scene()
    made = scene.twin.create_topic("orders.v2", 12, replication_factor=1)
    finding = scene.found()[TAKEN]
    assert (finding.severity, finding.facts) == (Severity.RED, {"topic_id": made.topic_id})


def test_a_target_that_this_run_made_is_in_order_whether_the_journal_or_the_control_log_says_so() -> None:
    scene = Scene()
    made = scene.twin.create_topic("orders.v2", 12, replication_factor=3)
    assert TAKEN not in judged(scene.look(ours=made.topic_id))
    assert TAKEN not in scene.found(log=told_pair(scene, "orders-3-to-12"))


@pytest.mark.parametrize(("run", "closed"), [("another", False), ("orders-3-to-12", True)])
def test_a_target_of_another_run_or_of_a_closed_pair_is_red(run: str, closed: bool) -> None:
    scene = Scene()
    scene.twin.create_topic("orders.v2", 12, replication_factor=3)
    assert TAKEN in scene.found(log=told_pair(scene, run, closed=closed))


def test_a_name_that_differs_from_another_topic_only_in_dots_is_red() -> None:
    scene = Scene()
    scene.twin.create_topic("orders_v2", 1, replication_factor=1)
    finding = scene.found()[COLLIDES]
    assert (finding.severity, finding.facts) == (Severity.RED, {"topic": "orders_v2"})


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_or_fewer_partitions_are_red_unless_the_plan_allows_to_shrink(count: int) -> None:
    scene = Scene()
    finding = scene.found(plan(target=target(partitions=count)))[MORE]
    assert (finding.severity, finding.facts) == (Severity.RED, {"before": 3, "after": count})
    assert MORE not in scene.found(plan(target=target(partitions=count), allow_shrink=True))


@pytest.mark.parametrize(("count", "better"), [(4, 6), (7, 9), (2, 1)])
def test_a_count_that_does_not_nest_is_amber_and_the_next_that_does_is_named(count: int, better: int) -> None:
    finding = Scene().found(plan(target=target(partitions=count), allow_shrink=True))[MULTIPLE]
    assert finding.severity is Severity.AMBER
    assert f"Take {better} partitions" in finding.next


def test_a_config_of_the_target_that_the_cluster_does_not_know_is_red() -> None:
    finding = Scene().found(plan(target=target(config={"retention.mss": "1", "retention.ms": "inherit"})))[UNKNOWN_CONFIG]
    assert (finding.severity, finding.facts) == (Severity.RED, {"configs": ["retention.mss"]})


def test_a_topic_that_allows_unclean_elections_is_red() -> None:
    finding = Scene(configs=SOUND | {"unclean.leader.election.enable": "true"}).found()[UNCLEAN]
    assert (finding.severity, finding.facts) == (Severity.RED, {"topic": "orders"})


def test_one_replica_in_sync_is_red() -> None:
    finding = Scene(configs={}).found()[INSYNC]
    assert finding.severity is Severity.RED
    assert finding.facts == {"topic": "orders", "min_insync_replicas": "1", "replicas": 3}


def test_one_replica_is_amber_and_in_sync_counts_for_nothing_then() -> None:
    found = Scene(replicas=1, configs={}).found()
    assert (found[ALONE].severity, found[ALONE].facts) == (Severity.AMBER, {"topic": "orders", "replicas": 1})
    assert INSYNC not in found


@pytest.mark.parametrize(
    ("changed", "id_"),
    [
        ({"replication": 1}, ALONE),
        ({"config": {"min.insync.replicas": "1"}}, INSYNC),
        ({"config": {"unclean.leader.election.enable": "true"}}, UNCLEAN),
    ],
)
def test_a_target_that_is_less_durable_than_the_source_is_found(changed: dict[str, object], id_: str) -> None:
    assert Scene().found(plan(target=target(**changed)))[id_].facts["topic"] == "orders.v2"


def test_replicas_out_of_sync_are_amber() -> None:
    seen = Scene().look()
    first, *others = seen.source.partitions
    shrunk = PartitionDescription(first.partition, first.leader, first.replicas, first.replicas[:2])
    finding = judged(replace(seen, source=replace(seen.source, partitions=(shrunk, *others))))[SHRUNK]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"partitions": [0]})


def test_what_is_to_be_kept_is_a_note() -> None:
    finding = Scene().found()[STORAGE]
    assert (finding.severity, finding.facts) == (Severity.NOTE, {"offsets": 200})


@pytest.mark.parametrize("way_back", ["limited", "none"])
@pytest.mark.parametrize(
    ("changed", "removed"),
    [
        ({}, ["after 168 h"]),
        ({"retention.ms": "-1", "retention.bytes": "1000"}, ["above 1,000 bytes a partition"]),
        ({"cleanup.policy": "compact"}, ["by compaction"]),
        ({"cleanup.policy": "compact,delete"}, ["after 168 h", "by compaction"]),
    ],
)
def test_a_source_that_goes_on_removing_records_is_amber(way_back: str, changed: dict[str, str], removed: list[str]) -> None:
    finding = Scene(configs=SOUND | changed).found(plan(way_back=way_back))[LIMITED]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"removed": removed})


def test_a_source_that_is_pinned_or_keeps_everything_is_in_order() -> None:
    assert LIMITED not in Scene().found(plan(way_back="full"))
    assert LIMITED not in Scene(configs=SOUND | {"retention.ms": "-1"}).found(plan(way_back="limited"))


def test_a_source_that_stamps_records_itself_is_amber() -> None:
    finding = Scene(configs=SOUND | {"message.timestamp.type": "LogAppendTime"}).found()[APPENDED]
    assert finding.severity is Severity.AMBER


def test_a_limit_on_the_age_of_records_is_red_while_the_history_is_copied() -> None:
    seen = Scene().look()
    limited = replace(seen, configs=configs(seen.configs, message__timestamp__before__max__ms="3600000"))
    finding = judged(limited)[TOO_OLD]
    assert (finding.severity, finding.facts) == (Severity.RED, {"before_max_ms": 3_600_000})
    assert TOO_OLD not in judged(limited, plan(history={"from": "now"}))
    assert TOO_OLD not in judged(limited, plan(target=target(config={"message.timestamp.before.max.ms": str(NEVER)})))


def test_tiered_storage_is_a_note_where_the_history_is_copied() -> None:
    seen = Scene().look()
    tiered = replace(seen, configs=configs(seen.configs, remote__storage__enable="true"))
    assert judged(tiered)[TIERED].severity is Severity.NOTE
    assert TIERED not in judged(tiered, plan(history={"from": "now"}))


def test_brokers_below_the_newer_transaction_protocol_are_amber() -> None:
    finding = judged(replace(Scene().look(), features={"transaction.version": 1}))[OLD_TRANSACTIONS]
    assert (finding.severity, finding.facts) == (Severity.AMBER, {"transaction_version": 1})
