"""One translation from start to end: the pair and its run looked up, the engine asked, its answer derived a second time.

The two derivations share no code, no language and no client library; where they differ neither is to be trusted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cutover import positions as second
from cutover.engine.configuration import Topic
from cutover.engine.control import Control, Direction, Epoch, Translation
from cutover.engine.run import Run, default_name
from cutover.errors import HangingTransaction, SameTopic, TranslationsDiffer
from cutover.lineage import Lineage
from cutover.model import PENDING, Committed, Isolation, TopicDescription, TopicPartition
from cutover.ports import Cluster, Reader

PATIENCE_SECONDS = 5.0
"""For positions that are pending when they are asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asked for: the two topics of the pair as the mirror names them, and which way."""

    origin: str
    follower: str
    direction: Direction = "origin_to_follower"
    run: str | None = None
    missing: Literal["", "earliest", "latest"] = ""
    acknowledge_lost: bool = False
    count_duplicates: bool = True


@dataclass(frozen=True, slots=True)
class Translated:
    """A translation of a group's or a given vector; `verified` is False where nobody derived it again."""

    wanted: Wanted
    run: Run
    epoch: Epoch
    translation: Translation
    verified: bool

    @property
    def topic(self) -> str:
        """The topic that the answer is for."""
        return self.wanted.follower if self.wanted.direction == "origin_to_follower" else self.wanted.origin


def prepare(cluster: Cluster, wanted: Wanted) -> tuple[Run, Epoch]:
    """The run and its epoch; raises SameTopic, UnknownTopic, RunNameWrong."""
    if wanted.origin == wanted.follower:
        raise SameTopic(f"origin and follower are both {wanted.origin}", why="A position equals itself.", topic=wanted.origin)
    described = cluster.describe_topics([wanted.origin, wanted.follower])
    origin, follower = (_topic(described[name]) for name in (wanted.origin, wanted.follower))
    run = Run.of(wanted.run or default_name(origin.name, follower.name), origin.id, follower.id)
    return run, Epoch(run_id=run.run_id, epoch=run.epoch, group=run.group, origin=origin, follower=follower)


def positions_of(cluster: Cluster, group: str, topic: Topic) -> dict[int, int]:
    """The group's committed positions; raises HangingTransaction where one stays pending, for a pending one is not known."""
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    told = cluster.committed([group], partitions, patience_seconds=PATIENCE_SECONDS)[group]
    pending = [where.partition for where, each in told.items() if each is PENDING]
    if pending:
        raise HangingTransaction(
            f"positions of {group} on {len(pending)} partitions of {topic.name} are pending",
            why="A transaction that may move them is open; an older position would be a guess.",
            group=group,
            partitions=pending,
        )
    return {where.partition: each.offset for where, each in told.items() if isinstance(each, Committed)}


def translate(
    control: Control, cluster: Cluster, reader: Reader, wanted: Wanted, positions: Mapping[int, int] | str, *, verify: bool = True
) -> Translated:
    """Translate a vector, or the positions of a group that is named; raises TranslationsDiffer where the second derivation differs."""
    run, epoch = prepare(cluster, wanted)
    side = epoch.origin if wanted.direction == "origin_to_follower" else epoch.follower
    vector = positions_of(cluster, positions, side) if isinstance(positions, str) else positions
    translation = control.translate(
        [epoch],
        wanted.direction,
        vector,
        missing=wanted.missing,
        acknowledge_lost=wanted.acknowledge_lost,
        count_duplicates=wanted.count_duplicates,
    )
    if verify:
        require_equal(cluster, reader, epoch, wanted.direction, translation)
    return Translated(wanted, run, epoch, translation, verify)


def require_equal(cluster: Cluster, reader: Reader, epoch: Epoch, direction: Direction, translation: Translation) -> None:
    """Derive the answer again, within what the engine says that it saw, and check that it can have seen it."""
    _require_seen(cluster, epoch, translation)
    log = second.FollowerLog(reader, epoch.follower.name, epoch.run_id, epoch.epoch)
    lineage = Lineage(epoch.origin.partitions, epoch.follower.partitions)
    if direction == "origin_to_follower":
        spans = {q: (translation.begins[q], end) for q, end in translation.ends.items()}
        derived = second.to_follower(log, lineage, translation.given, spans, hints=translation.positions)
        if translation.final:
            _require_final(reader, epoch, translation)
    else:
        spans = {q: (translation.given[q], end) for q, end in translation.ends.items()}
        derived = second.to_origin(log, lineage, spans, translation.mirror)
    differing = second.differences(translation.positions, derived)
    if differing:
        raise _differ(
            f"two derivations of {len(differing)} positions differ", differences={str(p): list(pair) for p, pair in differing.items()}
        )


def _require_seen(cluster: Cluster, epoch: Epoch, translation: Translation) -> None:
    """Ends and the mirror's positions only grow: what the engine saw is at or below what is there now."""
    followers = [TopicPartition(epoch.follower.name, q) for q in range(epoch.follower.partitions)]
    ends = cluster.end_offsets(followers, Isolation.READ_COMMITTED)
    beyond = [where.partition for where, end in ends.items() if translation.ends[where.partition] > end]
    mirror = positions_of(cluster, epoch.group, epoch.origin)
    ahead = [p for p, offset in translation.mirror.items() if offset > mirror.get(p, -1)]
    if beyond or ahead:
        raise _differ("the engine saw ends or positions that are not there", ends=beyond, mirror=ahead)


def _require_final(reader: Reader, epoch: Epoch, translation: Translation) -> None:
    """No data record of the origin lies between the mirror's position and the group's."""
    between = {
        TopicPartition(epoch.origin.name, p): (translation.mirror[p], position)
        for p, position in translation.given.items()
        if translation.mirror[p] < position
    }
    unseen = next(iter(reader.read(between)), None) if between else None
    if unseen is not None:
        raise _differ("the engine calls an answer final that the mirror has not reached", partition=unseen.partition, offset=unseen.offset)


def _differ(what: str, **fields: Any) -> TranslationsDiffer:  # noqa: ANN401
    return TranslationsDiffer(what, why="The engine's search and the one over librdkafka do not find the same records.", **fields)


def _topic(description: TopicDescription) -> Topic:
    return Topic(name=description.name, id=description.topic_id, partitions=len(description.partitions), max_message_bytes=0)
