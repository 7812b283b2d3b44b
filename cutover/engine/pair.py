"""Looks at the two topics before a mirror is started: refuses what cannot work, says what an operator should know. Changes nothing.

The only write here is `create_follower`, which is called when the operator asked for it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cutover.engine.configuration import Start, Topic
from cutover.errors import FollowerRecordLimit, FollowerSmaller, LanesDiffer, PlacementDiffers, SameTopic, UnknownTopic
from cutover.model import Committed, ConfigValue, Isolation, TopicDescription, TopicPartition
from cutover.ports import Cluster
from cutover.run import Run

PROVENANCE_BYTES = 64
"""What the provenance header adds to a record at most: 8 + 25 bytes and varints, with room for a longer batch header."""

DEFAULT_LANES = 4
ASK_SECONDS = 6.0
UNLIMITED = -1

Configs = Mapping[str, ConfigValue]


@dataclass(frozen=True, slots=True)
class Pair:
    """The two topics as they are now, and what an operator should know about them."""

    cluster_id: str
    origin: Topic
    follower: Topic
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the run begins and what it has to reach: offsets per origin partition. `ends` are frozen when it is taken."""

    begins: Mapping[int, int]
    ends: Mapping[int, int]
    resumed: bool


def inspect(cluster: Cluster, origin: str, follower: str, *, null_keys: str, allow_shrink: bool) -> Pair:
    """Describe both topics; raises UnknownTopic, SameTopic, FollowerSmaller, FollowerRecordLimit, or why nobody answers."""
    if origin == follower:
        raise SameTopic(f"origin and follower are both {origin}", why="A topic cannot be copied into itself.", topic=origin)
    cluster_id = cluster.cluster_id(timeout_seconds=ASK_SECONDS)
    described = {**cluster.describe_topics([origin], timeout_seconds=ASK_SECONDS), **_described_follower(cluster, follower)}
    configs = cluster.topic_configs([origin, follower], timeout_seconds=ASK_SECONDS)
    source, target = (_topic(described[name], configs[name]) for name in (origin, follower))
    _refuse_shrinking(origin, source.partitions, follower, target.partitions, allow_shrink=allow_shrink)
    _refuse_narrow(source, target)
    return Pair(cluster_id, source, target, tuple(_notes(source, target, configs[origin], configs[follower], null_keys)))


def _described_follower(cluster: Cluster, follower: str) -> Mapping[str, TopicDescription]:
    try:
        return cluster.describe_topics([follower], timeout_seconds=ASK_SECONDS)
    except UnknownTopic as error:
        advice = "Check the name and the cluster, or let the mirror create it: --create PARTITIONS."
        raise UnknownTopic(error.what, why=error.why, advice=advice, topic=follower) from error


def is_to_be_created(cluster: Cluster, origin: str, follower: str, partitions: int, *, allow_shrink: bool) -> bool:
    """Whether the follower is not there and may be created; raises what speaks against it, so that nothing is made that is then refused."""
    if origin == follower:
        raise SameTopic(f"origin and follower are both {origin}", why="A topic cannot be copied into itself.", topic=origin)
    if follower in cluster.topic_names(timeout_seconds=ASK_SECONDS):
        return False
    described = cluster.describe_topics([origin], timeout_seconds=ASK_SECONDS)[origin]
    _refuse_shrinking(origin, len(described.partitions), follower, partitions, allow_shrink=allow_shrink)
    return True


def create_follower(cluster: Cluster, origin: str, follower: str, partitions: int) -> None:
    """Create the follower like the origin, with room for provenance and without limits of age or size."""
    description = cluster.describe_topics([origin], timeout_seconds=ASK_SECONDS)[origin]
    configs = cluster.topic_configs([origin], timeout_seconds=ASK_SECONDS)[origin]
    wanted = {name: each.value for name, each in configs.items() if each.explicit and each.value is not None}
    wanted |= {"max.message.bytes": str(_number(configs, "max.message.bytes") + PROVENANCE_BYTES)}
    wanted |= {"retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "CreateTime"}
    replicas = len(description.partitions[0].replicas)
    cluster.create_topic(follower, partitions, replication_factor=replicas, configs=wanted)


def standing(cluster: Cluster, pair: Pair, run: Run, start: Start) -> Standing:
    """Where the run stands and the ends that progress is measured against, frozen now."""
    partitions = [TopicPartition(pair.origin.name, number) for number in range(pair.origin.partitions)]
    ends = cluster.end_offsets(partitions, Isolation.READ_COMMITTED, timeout_seconds=ASK_SECONDS)
    committed = committed_positions(cluster, pair, run)
    missing = [each for each in partitions if each.partition not in committed]
    fresh = _starting_offsets(cluster, missing, start, ends) if missing else {}
    begins = {**committed, **{where.partition: offset for where, offset in fresh.items()}}
    return Standing(begins, {where.partition: offset for where, offset in ends.items()}, resumed=bool(committed))


def committed_positions(cluster: Cluster, pair: Pair, run: Run) -> dict[int, int]:
    """The run's positions on the origin, of the partitions where one is known now."""
    return {partition: each.offset for partition, each in _positions(cluster, pair, run).items()}


def _positions(cluster: Cluster, pair: Pair, run: Run) -> dict[int, Committed]:
    partitions = [TopicPartition(pair.origin.name, number) for number in range(pair.origin.partitions)]
    told = cluster.committed([run.group], partitions, timeout_seconds=ASK_SECONDS)[run.group]
    return {where.partition: each for where, each in told.items() if isinstance(each, Committed)}


def choose_lanes(cluster: Cluster, pair: Pair, run: Run, wanted: int | None) -> int:
    """The number of lanes: the run's own if it has begun, else what is wanted, else a default; raises LanesDiffer.

    Lanes are fixed for the life of a group: a former holder is fenced by its transactional id, and another count has others.
    """
    known = int(_begun_with(cluster, pair, run).get("l", 0))
    if known and wanted not in {None, known}:
        raise LanesDiffer(
            f"the run {run.name} was begun with {known} lanes, not {wanted}",
            why="A dead worker is fenced by the transactional id of its lane; with another number of lanes it would not be.",
            advice=f"Say --lanes {known}, or start another run into another follower.",
            lanes=known,
            wanted=wanted,
        )
    return known or wanted or min(pair.origin.partitions, DEFAULT_LANES)


def require_placement(cluster: Cluster, pair: Pair, run: Run, partitioner: str, null_keys: str) -> None:
    """Raise PlacementDiffers when the run was begun with another partitioner or policy for null keys."""
    begun, wanted = _begun_with(cluster, pair, run).get("k"), f"{partitioner}/{null_keys}"
    if begun and begun != wanted:
        raise PlacementDiffers(
            f"the run {run.name} was begun with the partitioner and null keys {begun}, not {wanted}",
            why="Keys would go to other partitions than before, and the order per key would be broken.",
            placement=begun,
            wanted=wanted,
        )


def _begun_with(cluster: Cluster, pair: Pair, run: Run) -> Mapping[str, Any]:
    """One of the run's marks, which are the metadata of its positions; empty when there are none."""
    for each in _positions(cluster, pair, run).values():
        try:
            mark = json.loads(each.metadata)
        except ValueError:
            continue  # not ours: the engine names whose position it is
        if isinstance(mark, dict):
            return mark
    return {}


def _starting_offsets(
    cluster: Cluster, partitions: list[TopicPartition], start: Start, ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    if start.kind == "latest":
        return {where: ends[where] for where in partitions}
    if start.kind == "offsets":
        return {where: start.offsets[where.partition] for where in partitions}
    if start.kind == "time":
        found = cluster.offsets_at(partitions, start.time_ms, timeout_seconds=ASK_SECONDS)
        return {where: ends[where] if found[where] is None else found[where] or 0 for where in partitions}
    return cluster.begin_offsets(partitions, timeout_seconds=ASK_SECONDS)


def _topic(description: TopicDescription, configs: Configs) -> Topic:
    return Topic(
        name=description.name,
        id=description.topic_id,
        partitions=len(description.partitions),
        max_message_bytes=_number(configs, "max.message.bytes"),
        compacted="compact" in _text(configs, "cleanup.policy"),
    )


def _refuse_shrinking(origin: str, origin_partitions: int, follower: str, follower_partitions: int, *, allow_shrink: bool) -> None:
    if follower_partitions < origin_partitions and not allow_shrink:
        raise FollowerSmaller(
            f"{follower} has {follower_partitions} partitions, {origin} has {origin_partitions}",
            why="Copying into fewer partitions is rarely meant: at most as many consumers as partitions can share the work.",
            origin=origin,
            follower=follower,
            origin_partitions=origin_partitions,
            follower_partitions=follower_partitions,
        )


def _refuse_narrow(origin: Topic, follower: Topic) -> None:
    needed = origin.max_message_bytes + PROVENANCE_BYTES
    if follower.max_message_bytes < needed:
        raise FollowerRecordLimit(
            f"{follower.name} takes batches of at most {follower.max_message_bytes} bytes (max.message.bytes), {needed} are needed",
            why=f"{origin.name} may hold {origin.max_message_bytes} bytes, and provenance adds up to {PROVENANCE_BYTES} to a record.",
            advice="Run: kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics"
            f" --entity-name {follower.name} --add-config max.message.bytes={needed}",
            topic=follower.name,
            max_message_bytes=follower.max_message_bytes,
            needed_bytes=needed,
        )


def _notes(origin: Topic, follower: Topic, source: Configs, target: Configs, null_keys: str) -> list[str]:
    said = [
        (
            follower.compacted,
            f"{follower.name} is compacted: brokers refuse records without a key there, so a null key on {origin.name} stops the copy"
            f" (null keys: {null_keys}), and a compaction before the audit removes what it would have read.",
        ),
        (
            _text(target, "message.timestamp.type") == "LogAppendTime",
            f"{follower.name} has message.timestamp.type=LogAppendTime: the records' own times are lost; set CreateTime to keep them.",
        ),
        (
            _retires(target),
            f"{follower.name} removes records after {_retention(target)}: older ones vanish on arrival;"
            " set retention.ms=-1 and retention.bytes=-1 until the audit is green.",
        ),
        (
            _retires(source),
            f"{origin.name} removes records after {_retention(source)}: the copy stops if that overtakes it.",
        ),
        (
            follower.partitions % origin.partitions != 0,
            f"{follower.partitions} is no multiple of {origin.partitions}: a partition of {follower.name} has several parents"
            " (crossed lineage); order per key holds, a group's position translates only with repeats.",
        ),
    ]
    return [words for holds, words in said if holds]


def _retires(configs: Configs) -> bool:
    if "delete" not in _text(configs, "cleanup.policy"):
        return False
    return _number(configs, "retention.ms") != UNLIMITED or _number(configs, "retention.bytes") != UNLIMITED


def _retention(configs: Configs) -> str:
    hours, size = _number(configs, "retention.ms") / 3_600_000, _number(configs, "retention.bytes")
    parts = [f"{hours:g} h"] if hours >= 0 else []
    parts += [f"{size:,} bytes per partition"] if size != UNLIMITED else []
    return " or ".join(parts)


def _text(configs: Configs, name: str) -> str:
    value = configs.get(name)
    return (value.value or "") if value is not None else ""


def _number(configs: Configs, name: str) -> int:
    return int(_text(configs, name) or UNLIMITED)
