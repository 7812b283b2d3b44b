"""Positions of a run's groups, from either side to the other, across the epochs of its pair: the engine asked, then derived again.

Implements cutover.world.Translator. The epochs and their bounds are the control log's; what a translation is stands in DESIGN 6.1's
words in docs/positions.md.
"""

from collections.abc import Mapping

from cutover import flip
from cutover.engine import dual_positions, translating
from cutover.engine.configuration import Topic
from cutover.engine.control import Across, Control, Epoch
from cutover.engine.keeper import direction
from cutover.errors import NotMovable
from cutover.model import TopicPartition
from cutover.protocol import Cut, Mode, Side
from cutover.protocol import Topic as ToldTopic
from cutover.run import Run
from cutover.world import Missing, Translated, World

Vectors = tuple[dict[int, int], dict[int, int]]
"""A cut, here and there."""


class PairTranslator:
    """Translates for one run."""

    def __init__(self, world: World, hand: Control) -> None:
        self._world = world
        self._hand = hand

    def translate(self, side: Side, positions: Mapping[int, int], *, missing: Missing = "") -> Translated:
        """The equivalent of positions on this side; ended epochs bound what they know, the present one is open."""
        if self._world.pair.mode is Mode.DUAL:
            return self._by_stamps(side, positions)
        if not self._world.keeper.copies:
            return self._at_the_cut(side, positions)
        found = self._hand.translate(self._epochs(), _direction(side), positions, missing=missing)
        return Translated(
            side=side,
            given=found.given,
            positions=found.positions,
            duplicates=found.duplicates_total or 0,
            lost=sum(found.lost.values()),
            final=found.final,
            evidence=found,
        )

    def verify(self, found: Translated) -> None:
        """Derive it again over librdkafka; raises TranslationsDiffer."""
        world = self._world
        if isinstance(found.evidence, dual_positions.Twinned):
            dual_positions.verify(world.cluster, world.reader, found.evidence, world.beat)
            return
        if found.evidence is None:
            self._at_the_cut(found.side, found.given)
            return
        translating.require_equal(world.cluster, world.reader, self._epochs(), _direction(found.side), found.evidence)

    def _at_the_cut(self, side: Side, positions: Mapping[int, int]) -> Translated:
        """Where nothing is copied, who has read S to the cut goes on at the cut on T, and nobody else goes anywhere."""
        cut = self._world.pair.cuts.get(1)
        if cut is None or side is not Side.SOURCE:
            raise NotMovable(
                "nothing is copied in this run, so positions have no counterpart",
                advice="A group reads the source up to the cut and goes on at the cut on the target, and not back.",
                side=side.value,
            )
        self._require_read(self._world.pair.told.source.name, positions, cut.source)
        return Translated(side, dict(cut.source), dict(cut.target), 0, 0, final=True)

    def _by_stamps(self, side: Side, positions: Mapping[int, int]) -> Translated:
        """While producers write both topics: who has read to the cut where they began goes on at the first unread record's twin."""
        world = self._world
        here, there = world.topic(side).name, world.topic(side.other).name
        began = _vectors(world.pair.cuts[world.pair.epoch], side)
        self._require_read(here, positions, began[0])
        given = {p: max(positions.get(p, 0), offset) for p, offset in began[0].items()}
        cut = max((each for each in (began, *self._later_cuts(side)) if _is_below(each[0], given)), key=lambda each: sum(each[0].values()))
        found = dual_positions.translate(
            world.cluster, world.reader, dual_positions.Side(here, cut[0]), dual_positions.Side(there, cut[1]), given, world.beat
        )
        return Translated(side, given, found.positions, found.duplicates, 0, final=True, evidence=found)

    def _later_cuts(self, side: Side) -> list[Vectors]:
        """The cuts that were taken for moves while producers went on writing both."""
        world = self._world
        taken = [(each, each["cut"]) for step, each in world.history.facts.items() if step.startswith("cut:")]
        held = world.pairs[0].fact(flip.HELD_CUT)  # of all pairs
        if held is not None:
            taken.append((held, held["cuts"][world.source.name] if "cuts" in held else held["cut"]))
        return [_vectors(Cut.model_validate(cut), side) for each, cut in taken if each["epoch"] == world.pair.epoch]

    def _require_read(self, topic: str, positions: Mapping[int, int], until: Mapping[int, int]) -> None:
        """Refuse while there is a record below these offsets that the group has not read."""
        begins = {
            at.partition: offset for at, offset in self._world.cluster.begin_offsets([TopicPartition(topic, p) for p in until]).items()
        }
        read = {p: max(positions.get(p, 0), begins[p]) for p in until}
        spans = {TopicPartition(topic, p): (read[p], end) for p, end in until.items() if read[p] < end}
        first = next(iter(self._world.reader.read(spans)), None) if spans else None
        if first is not None:
            raise NotMovable(
                f"the record at {first.offset} of {topic}-{first.partition} is not read yet",
                advice=f"Start the group on {topic} again and let it read up to the cut; then go on: cutover resume RUN.",
                partitions=[first.partition],
            )

    def _epochs(self) -> list[Epoch]:
        state, name = self._world.pair, self._world.mirror_name
        told = {"source": _topic(state.told.source), "target": _topic(state.told.target)}
        cuts = {number: {"source": dict(cut.source), "target": dict(cut.target)} for number, cut in state.cuts.items()}
        epochs = []
        first = 1 if self._world.plan.strategy == "drain" else state.related  # nothing was copied before it
        for number in range(first, state.epoch + 1):
            run = Run(name, self._world.run_id, number)
            origin, follower = direction(state, number)
            began, ended = cuts.get(number, {}), cuts.get(number + 1, {})
            epochs.append(
                Epoch(
                    run_id=run.run_id,
                    epoch=number,
                    group=run.group,
                    origin=told[origin],
                    follower=told[follower],
                    start=began.get(origin),
                    follower_start=began.get(follower),
                    end=ended.get(origin),
                    follower_end=ended.get(follower),
                    parents=self._parents(told[origin], told[follower]),
                    from_source=origin == "source",
                )
            )
        return epochs

    def _parents(self, origin: Topic, follower: Topic) -> Mapping[int, tuple[int, ...]] | None:
        """Where the records of each follower partition may come from; None: as the counts say."""
        if not self._world.plan.changes_partitioner:
            return None
        return {q: tuple(range(origin.partitions)) for q in range(follower.partitions)}


def _direction(side: Side) -> Across:
    return "source_to_target" if side is Side.SOURCE else "target_to_source"


def _vectors(cut: Cut, here: Side) -> Vectors:
    return dict(cut.on(here)), dict(cut.on(here.other))


def _is_below(cut: Mapping[int, int], given: Mapping[int, int]) -> bool:
    return all(offset <= given[p] for p, offset in cut.items())


def _topic(told: ToldTopic) -> Topic:
    return Topic(name=told.name, id=told.id, partitions=told.partitions, max_message_bytes=0)
