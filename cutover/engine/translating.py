"""One translation from start to end: the pair and its run looked up, the engine asked, its answer derived a second time.

The two derivations share no code, no language and no client library; where they differ neither is to be trusted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cutover import positions as second
from cutover.engine.configuration import Topic
from cutover.engine.control import Across, Control, Direction, Epoch, Part, Translation
from cutover.errors import HangingTransaction, SameTopic, TranslationsDiffer
from cutover.lineage import Lineage
from cutover.model import PENDING, Committed, Isolation, TopicDescription, TopicPartition
from cutover.ports import Cluster, Reader
from cutover.run import Run, default_name

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
        require_equal(cluster, reader, [epoch], wanted.direction, translation)
    return Translated(wanted, run, epoch, translation, verify)


def require_equal(
    cluster: Cluster, reader: Reader, epochs: Sequence[Epoch], direction: Direction | Across, translation: Translation
) -> None:
    """Derive the answer again, within what the engine says that it saw, and check that it can have seen it."""
    parts = _parts(epochs, translation)
    _require_seen(cluster, epochs, parts)
    forward = [is_forward(epochs, epoch, direction) for epoch in epochs]
    answers = []
    for number, (epoch, part) in enumerate(zip(epochs, parts, strict=True)):
        given = _given(epoch, translation, part, forward=forward[number], first=number == 0)
        answers.append(_derived(reader, epoch, part, given, forward=forward[number]))
    derived = second.compose(answers, [_end(epoch, follower=ahead) for epoch, ahead in zip(epochs[:-1], forward[:-1], strict=True)])
    other = epochs[-1].follower if forward[-1] else epochs[-1].origin
    differing = second.differences(translation.positions, _expired(cluster, other, translation.positions, derived))
    if differing:
        raise _differ(
            f"two derivations of {len(differing)} positions differ", differences={str(p): list(pair) for p, pair in differing.items()}
        )
    if translation.final and forward[-1]:
        _require_final(reader, epochs[-1], parts[-1])


def is_forward(epochs: Sequence[Epoch], epoch: Epoch, direction: Direction | Across) -> bool:
    """Whether an epoch is crossed from its origin to its follower."""
    if direction in {"origin_to_follower", "follower_to_origin"}:
        return direction == "origin_to_follower"
    first = epochs[0]
    from_source = first.epoch % 2 == 0 if first.from_source is None else first.from_source
    source = (first.origin if from_source else first.follower).id
    return (epoch.origin.id == source) == (direction == "source_to_target")


def _parts(epochs: Sequence[Epoch], translation: Translation) -> list[Part]:
    """What the engine says of each epoch; of the present one as the answer itself says."""
    told = list(translation.epochs)
    if [each.epoch for each in told] != [each.epoch for each in epochs]:
        raise _differ("the engine answers for other epochs than it was asked about", epochs=[each.epoch for each in told])
    now = {"mirror": translation.mirror, "begins": translation.begins, "ends": translation.ends}
    return [*told[:-1], told[-1].model_copy(update=now)]


def _end(epoch: Epoch, *, follower: bool) -> Mapping[int, int]:
    return (epoch.follower_end if follower else epoch.end) or {}


def _given(epoch: Epoch, translation: Translation, part: Part, *, forward: bool, first: bool) -> dict[int, int]:
    """The vector within the epoch; of a lost position, what the engine put in its place."""
    begin, end = (epoch.start, epoch.end) if forward else (epoch.follower_start, epoch.follower_end)
    given = second.within(translation.given, None if first else begin, end)
    return given | {p: max(offset, part.given.get(p, offset)) for p, offset in given.items() if p in translation.lost}


def _derived(reader: Reader, epoch: Epoch, part: Part, given: Mapping[int, int], *, forward: bool) -> dict[int, int]:
    passed = epoch.end if forward else epoch.follower_end
    if passed is not None and all(offset >= passed[p] for p, offset in given.items()):
        return dict(_end(epoch, follower=forward))
    log = second.FollowerLog(reader, epoch.follower.name, epoch.run_id, epoch.epoch)
    lineage = Lineage(epoch.origin.partitions, epoch.follower.partitions, related=epoch.parents is None)
    if forward:
        return second.to_follower(log, lineage, given, {q: (part.begins[q], end) for q, end in part.ends.items()}, hints=part.positions)
    spans = {q: (max(given[q], part.begins[q]), end) for q, end in part.ends.items()}
    return second.to_origin(log, lineage, spans, part.mirror)


def _expired(cluster: Cluster, topic: Topic, told: Mapping[int, int], derived: Mapping[int, int]) -> dict[int, int]:
    """What expired of the topic cannot be read: there a position at the log's beginning, which was acknowledged, is as good."""
    if all(told.get(p, offset) <= offset for p, offset in derived.items()):
        return dict(derived)
    begins = cluster.begin_offsets([TopicPartition(topic.name, p) for p in derived])
    begun = {where.partition: offset for where, offset in begins.items()}
    return {p: told[p] if offset < told.get(p, offset) <= begun[p] else offset for p, offset in derived.items()}


def _require_seen(cluster: Cluster, epochs: Sequence[Epoch], parts: Sequence[Part]) -> None:
    """Ends and the mirror's positions only grow: what the engine saw is at or below what is there now. Ended epochs are as given."""
    present, now = epochs[-1], parts[-1]
    followers = [TopicPartition(present.follower.name, q) for q in range(present.follower.partitions)]
    ends = cluster.end_offsets(followers, Isolation.READ_COMMITTED)
    beyond = [where.partition for where, end in ends.items() if now.ends[where.partition] > end]
    decided = cluster.decided(present.group, [TopicPartition(present.origin.name, p) for p in now.mirror])  # what is pending is more
    mirror = {where.partition: each.offset for where, each in decided.items() if each is not None}
    ahead = [p for p, offset in now.mirror.items() if offset > mirror.get(p, (present.start or {}).get(p, -1))]
    if beyond or ahead:
        raise _differ("the engine saw ends or positions that are not there", ends=beyond, mirror=ahead)
    for epoch, part in zip(epochs, parts, strict=True):
        _require_searched(cluster, epoch, part)
    for epoch, part in zip(epochs[:-1], parts[:-1], strict=True):
        if (part.ends, part.mirror) != (epoch.follower_end, epoch.end):
            raise _differ("the engine saw another end of an epoch than the one it was given", epoch=epoch.epoch)


def _require_searched(cluster: Cluster, epoch: Epoch, part: Part) -> None:
    """Nothing of the follower's log was left out: it was searched from where the epoch began, or where the log begins."""
    begins = cluster.begin_offsets([TopicPartition(epoch.follower.name, q) for q in part.begins])
    started = epoch.follower_start or {}
    skipped = [
        where.partition for where, begin in begins.items() if part.begins[where.partition] > max(begin, started.get(where.partition, 0))
    ]
    if skipped:
        raise _differ("the engine left out what is there to be searched", epoch=epoch.epoch, partitions=skipped)


def _require_final(reader: Reader, epoch: Epoch, part: Part) -> None:
    """No data record of the origin lies between the mirror's position and the group's."""
    between = {
        TopicPartition(epoch.origin.name, p): (part.mirror[p], position) for p, position in part.given.items() if part.mirror[p] < position
    }
    unseen = next(iter(reader.read(between)), None) if between else None
    if unseen is not None:
        raise _differ("the engine calls an answer final that the mirror has not reached", partition=unseen.partition, offset=unseen.offset)


def _differ(what: str, **fields: Any) -> TranslationsDiffer:  # noqa: ANN401
    return TranslationsDiffer(what, why="The engine's search and the one over librdkafka do not find the same records.", **fields)


def _topic(description: TopicDescription) -> Topic:
    return Topic(name=description.name, id=description.topic_id, partitions=len(description.partitions), max_message_bytes=0)
