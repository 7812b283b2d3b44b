"""What moving a group has in common whatever its switch kind: who its members are, where it goes on, and that this is right.

A position on the other side is translated by the engine, derived a second time by another implementation, written under the
driver's fence with a mark, and read back. No group is let go on a translation that is not final.
"""

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from cutover import flip
from cutover.drained import Draining, look
from cutover.errors import GroupNotMoved, PositionUnusable, TooManyDuplicates
from cutover.history import Body
from cutover.marks import Mark
from cutover.model import PENDING, Committed, Isolation, Member, TopicPartition
from cutover.plan import Group
from cutover.protocol import Cut, Mode, Read, Side, With
from cutover.world import Translated, World

FINAL_SECONDS = 30.0
PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.02
DRAINING_SECONDS = 1.0
CUT_LASTS_OFFSETS = 20_000
CUT_LASTS_SECONDS = {"manual": 300.0}
"""How long a cut is kept at least, by switch kind (else 10 s): each costs a hold, and a person may come late."""
Found = TypeVar("Found")
Steps = Generator[None, None, Found]
"""An act that waits on its way: it yields while it does, so that others can go on beside it."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What an act waits for, and whether that is a person."""

    words: str
    on_person: bool = False


@dataclass(frozen=True, slots=True)
class Halfway:
    """A group that was stopped for a move and has arrived nowhere yet: the side on which it was, and the one where it was started."""

    left: Side
    started: Side | None = None


def stay(world: World, group: Group) -> int:
    """How often the group was moved: a stay ends when it moves on."""
    return world.history.done.get(f"moved:{group.name}", 0)


def members(world: World, group: Group) -> dict[Side, tuple[Member, ...]]:
    """Who holds, or is to get, or asks for partitions of each side."""
    described = world.cluster.describe_groups([group.name])[group.name]
    found = described.members or ()
    return {side: tuple(each for each in found if _reads(each, world.topic(side).name)) for side in Side}


def _reads(member: Member, topic: str) -> bool:
    return member.holds(topic) or topic in (member.subscribed or ())


def others(found: Collection[Member]) -> str:
    """Members by name, for people."""
    names = sorted(f"{each.client_id or each.member_id} at {each.host}" for each in found)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def committed(world: World, group: Group, side: Side) -> dict[int, int]:
    """The group's stable positions on a side; raises PositionUnusable while one is pending."""
    topic = world.topic(side)
    where = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    told = world.cluster.committed([group.name], where, patience_seconds=PATIENCE_SECONDS)[group.name]
    pending = [each.partition for each, position in told.items() if position is PENDING]
    if pending:
        raise PositionUnusable(
            f"positions of {group.name} on {topic.name} are pending",
            why="A transaction that may move them is open.",
            group=group.name,
            partitions=pending,
        )
    return {each.partition: position.offset for each, position in told.items() if isinstance(position, Committed)}


def drains(world: World, group: Group, to: Side) -> Waits | None:
    """What the group must read before it can leave: the positions below the cut have no counterpart. None where nothing is left."""
    cut = _not_related_below(world, group, to)
    if cut is None:
        return None
    if not cut:
        return Waits("the writes to be switched: nothing is on the target before")
    watch = world.watch.draining.setdefault(group.name, Draining())
    now = time.monotonic()
    if now - watch.looked_at >= DRAINING_SECONDS:
        here = world.topic(to.other).name
        begins_late = group.missing == "latest"  # where it has no position it has nothing to read
        read = committed(world, group, to.other) if begins_late else cut
        until = {TopicPartition(here, p): offset for p, offset in cut.items() if p in read}
        seen = look(world.cluster, world.reader, group.name, until)
        pace = watch.after(seen.offsets, now)
        watch.looked_at = now
        watch.words = f"{group.name} to read {here} up to the cut: {seen.offsets:,} offsets left, {pace}" if seen.left else ""
        if not seen.left and _own_cut(world, group) is not None and _leaves_behind(world, group, to):
            world.watch.left_behind.add(group.name)
    return Waits(watch.words) if watch.words else None


def _not_related_below(world: World, group: Group, to: Side) -> Mapping[int, int] | None:
    """Where a group must have come to before it can leave; None: anywhere. Empty: there is no such place yet."""
    state = world.pair
    if world.plan.strategy == "drain":
        return None if to is Side.SOURCE else state.cuts[1].source if 1 in state.cuts else {}
    if not state.related:
        return None
    cut = _own_cut(world, group) or state.cuts[state.related]
    return cut.on(to.other)


def needs_cut(world: World, group: Group) -> bool:
    """Whether a cut is to be taken before the group is touched, so that its position is looked up behind it and not in everything.

    Only while both topics are written; an exact hand-off takes its own once the members have stopped, and nobody holds an application
    that writes both by its own code.
    """
    if world.pair.mode is not Mode.DUAL or (group.switch_kind == "sdk" and group.hand_off == "exact"):
        return False
    if any(each.switch_kind != "sdk" for each in world.plan.producers):
        return False
    return _own_cut(world, group) is None or group.name in world.watch.left_behind


def take_cuts(worlds: Sequence[World], group: Group) -> Body:
    """Have producers wait for as long as verified cuts take: one of every pair that the group reads."""
    with ExitStack() as acts:
        evidence = [acts.enter_context(each.act(f"cut:{group.name}:{stay(each, group)}", group=group.name)) for each in worlds]
        for each, cut, told in zip(worlds, flip.cuts(worlds), evidence, strict=True):
            told.update(epoch=each.pair.epoch, cut=cut.model_dump(mode="json"), at=round(time.time()))
    for each in worlds:
        each.watch.left_behind.discard(group.name)
    return evidence[0]


def _leaves_behind(world: World, group: Group, to: Side) -> bool:
    """Whether a group has read so much since its cut was taken that a new one costs less than looking it all up once it has stopped.

    One that has more to read than it has read since is left to it: it would have to come to the new one first.
    """
    taken = world.fact(f"cut:{group.name}:{stay(world, group)}")
    if taken is None or time.time() - taken["at"] < CUT_LASTS_SECONDS.get(group.switch_kind, 10.0):
        return False
    cut, side = Cut.model_validate(taken["cut"]), to.other
    topic, given = world.topic(side).name, committed(world, group, side)
    ends = world.cluster.end_offsets([TopicPartition(topic, p) for p in given], Isolation.READ_COMMITTED)
    read = sum(offset - cut.on(side).get(p, 0) for p, offset in given.items())
    return read > CUT_LASTS_OFFSETS and sum(ends.values()) - sum(given.values()) < read


def _own_cut(world: World, group: Group) -> Cut | None:
    taken = world.fact(f"cut:{group.name}:{stay(world, group)}")
    return Cut.model_validate(taken["cut"]) if taken is not None and taken["epoch"] == world.pair.epoch else None


def note_latest(world: World, group: Group, to: Side) -> None:
    """Write down, before anybody is stopped, where a group without a position begins that begins at the latest record.

    What comes later on such a partition is the group's: it must not be taken for read when the position is translated. In a drain
    it is the cut, from which the target has everything.
    """
    step = f"latest:{group.name}:{stay(world, group)}"
    if group.missing != "latest" or world.fact(step) is not None:
        return
    topic, cut = world.topic(to.other), world.pair.cuts.get(1)
    ends: Mapping[int, int]
    if world.plan.strategy == "drain" and to is Side.TARGET and cut is not None:
        ends = cut.source
    else:
        where = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        ends = {each.partition: end for each, end in world.cluster.end_offsets(where, Isolation.READ_COMMITTED).items()}
    world.record("outcome", step, {"side": to.other.value, "ends": _text(ends)})


def last(world: World, steps: Steps[Found]) -> Found:
    """Go through an act to its end, and keep up what must go on beside it."""
    while True:
        try:
            next(steps)
        except StopIteration as over:
            return over.value  # type: ignore[no-any-return]
        pass_time(world)


def pass_time(world: World) -> None:
    """Hear the log for a moment, and keep up what must go on."""
    world.log.refresh(LOOK_SECONDS)
    world.beat()


def final(world: World, group: Group, to: Side) -> Steps[Translated]:
    """Where the stopped group goes on, once the mirror has passed it; raises GroupNotMoved."""
    given = {**world.latest(group), **committed(world, group, to.other)}
    deadline = time.monotonic() + FINAL_SECONDS
    while True:
        found = world.translator.translate(to.other, given, missing=group.missing or "")
        if found.final:
            return found
        if time.monotonic() > deadline:
            raise GroupNotMoved(
                f"the mirror has not passed {group.name} within {FINAL_SECONDS:g} s",
                why="Whatever it read and the mirror has not copied yet would be read again.",
                group=group.name,
            )
        yield


def require_few(group: Group, duplicates: int, most: int | None) -> None:
    """Refuse a move after which the group would read more again than it may (TooManyDuplicates); None: as much as it takes."""
    if most is not None and duplicates > most:
        raise TooManyDuplicates(
            f"{group.name} would read {duplicates:,} records again, its plan allows {most:,}",
            why="One position per partition cannot say everything that it has read on the other side.",
            group=group.name,
            duplicates=duplicates,
            most=most,
        )


def write(world: World, group: Group, to: Side, found: Translated) -> Body:
    """Derive the answer again, write it, read it back: the checkpoint of this stay."""
    world.translator.verify(found)
    topic = world.topic(to)
    mark = str(Mark(world.run_id, stay(world, group), 0, final=True))
    wanted = {TopicPartition(topic.name, p): Committed(offset, mark) for p, offset in found.positions.items()}
    with world.act(
        f"write:{group.name}:{stay(world, group)}",
        group=group.name,
        side=to.value,
        positions=_text(found.positions),
        left=_text(found.given),
    ) as evidence:
        world.hand.commit_positions(group.name, wanted)
        evidence.update(
            group=group.name,
            side=to.value,
            positions=_text(found.positions),
            left=_text(found.given),
            duplicates=found.duplicates,
            lost=found.lost,
        )
    return evidence


def untouched(world: World, group: Group, to: Side, found: Mapping[int, int]) -> bool:
    """Whether the positions on the new side are still those that were written."""
    return committed(world, group, to) == dict(found)


def also(worlds: Sequence[World]) -> dict[str, Any]:
    """What a record about a group has more where it reads several pairs."""
    others = tuple(With(pair=each.run_id) for each in worlds[1:])
    return {"v": 2, "also": others} if others else {}


def let_go(worlds: Sequence[World], group: Group, to: Side) -> None:
    """Write into the log that a group which reads several pairs reads them on this side: of all of them, or of none."""
    left = [each.pair for each in worlds if each.pair.group(group.name).side is not to]
    if len(left) > 1:
        worlds[0].log.say(*(Read(pair=each.pair, group=group.name, term=each.term + 1, side=to) for each in left))


def arrived(world: World, group: Group, to: Side, term: int | None = None) -> Body:
    """Write into the log that the group reads there, and into the journal that it was moved."""
    with world.act(f"moved:{group.name}", group=group.name, side=to.value) as evidence:
        state = world.pair
        if state.group(group.name).side is not to:
            number = term if term is not None else state.term + 1
            world.log.say(Read(pair=state.pair, group=group.name, term=number, side=to))
        wrote = world.fact(f"write:{group.name}:{stay(world, group)}") or {}
        evidence.update(group=group.name, side=to.value, duplicates=wrote.get("duplicates"), positions=wrote.get("positions"))
    again = wrote.get("duplicates")
    world.tell(f"{group.name} reads {world.topic(to).name}; read again: {'a number not known' if again is None else f'{again:,} records'}")
    return evidence


def stayed(world: World, group: Group, side: Side) -> Body:
    """Write into the journal that the group was stopped and reads on where it was: its next move is another one."""
    evidence = {"group": group.name, "side": side.value, "duplicates": 0, "positions": None}
    world.record("outcome", f"moved:{group.name}", evidence)
    world.tell(f"{group.name} reads {world.topic(side).name} on, as before")
    return evidence


def read_again(world: World, group: Group, to: Side) -> tuple[int | None, bool]:
    """How many records it would read again if it were moved now, and whether it is live so that this can change."""
    live = bool(members(world, group)[to.other])
    given = {**world.latest(group), **committed(world, group, to.other)}
    if not given and not group.missing:
        return None, live
    found = world.translator.translate(to.other, given, missing=group.missing or "latest")
    return (found.duplicates if found.final or not live else None), live


def tell_price(world: World, group: Group, to: Side) -> None:
    """Before the group is touched: what moving it would cost now, and whether that can still change."""
    found = [read_again(each, group, to) for each in world.having(group)]
    counts, live = [again for again, _ in found if again is not None], any(live for _, live in found)
    again = sum(counts) if len(counts) == len(found) else None
    told = "a number not known before it has stopped" if again is None else f"{again:,} records"
    names = " and ".join(each.topic(to).name for each in world.having(group))
    world.tell(f"moving {group.name} to {names}: it would read {told} again{' (it is live: as of now)' if live else ''}")


def _text(vector: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(vector.items())}
