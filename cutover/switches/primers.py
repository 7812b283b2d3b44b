"""The primed groups of a run: one primer each, with its own engine processes, called in the driver's loop.

Implements cutover.world.Primers. What a primer does stands in cutover.priming; here is for whom, which way, and what the journal
and the people hear of it.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from cutover.connection import Connection
from cutover.engine.control import Control
from cutover.errors import TargetReadEarly
from cutover.history import Body
from cutover.model import Committed, Member, TopicPartition
from cutover.plan import Group
from cutover.priming import NAMES, Hand, Primer, Route, Standing, Wishes, look
from cutover.protocol import Side, Topic
from cutover.world import Translated, World

GATE_SECONDS = 20.0
"""How long positions stay pending when nobody renews them: past it members start at the last prime."""

MANY = 3
PATIENCE_SECONDS = 5.0


class ControlHand:
    """A control process as a primer uses it."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def prepare_positions(self, group: str, positions: Mapping[TopicPartition, Any], /) -> float:
        """Write positions and leave them pending."""
        return self._control.prepare_positions(group, positions)

    def finish_positions(self, topic: str, /, *, commit: bool, read_back: bool = True) -> object:
        """Commit or abort what is pending."""
        return self._control.finish_positions(topic, commit=commit, read_back=read_back)

    def close(self) -> None:
        """End the process; what is pending expires."""
        self._control.close()


@dataclass(slots=True)
class _Primed:
    """A group that is primed, and where to."""

    group: Group
    to: Side
    primer: Primer


class GroupPrimers:
    """Primes the groups of a run whose switch is `primed`, towards the side that they are to go to."""

    def __init__(self, world: World, connection: Connection, *, gated: bool = False) -> None:
        """Nothing is opened yet. `gated` only where every primed group is known to use the Java client."""
        self.interval_seconds: float = world.plan.prime.interval
        self._connection = connection
        self._gated = gated
        self._primed: dict[str, _Primed] = {}
        self._turn = 0

    # What the driver calls.

    def tick(self, world: World) -> None:
        """One look at one group, in turn; nothing while producers are held."""
        self._drop(world)
        if not self._primed or world.pair.hold is not None:
            return
        self._turn += 1
        each = list(self._primed.values())[self._turn % len(self._primed)]
        each.primer.wishes = replace(each.primer.wishes, interval_seconds=self.interval_seconds)
        each.primer.tick(time.monotonic())
        if each.primer.standing is Standing.READY and world.fact(_seeded(each.group, each.primer.route.stay)) is None:
            world.record("outcome", _seeded(each.group, each.primer.route.stay), {"group": each.group.name, "side": each.to.value})

    def waits_for(self, world: World, group: Group, to: Side) -> str:
        """What the group's arrival waits for, in words; empty when it has arrived. Begins to prime. Raises TargetReadEarly."""
        for each in world.plan.groups:
            if each.switch_kind == "primed" and world.pair.group(each.name).side is not to and _wanted(world, each.name) is to:
                self._begin(world, each, to)
        primer = self._primed[group.name].primer
        seen = look(primer.cluster, primer.route)
        if primer.standing is Standing.EARLY:
            raise _early(group, world.topic(to), seen.there)
        if primer.standing in {Standing.RELEASED, Standing.STARTED} and seen.there and not seen.here:
            return ""
        return _words(world, group, to, primer, seen.here, seen.there)

    def finish(self, world: World, group: Group, to: Side) -> Body:
        """What the group found over there; it is primed no more.

        Raises TargetReadEarly where members did not wait at the gate, until somebody has confirmed that the group is started.
        """
        primer = self._primed[group.name].primer
        if primer.wishes.gated and primer.early and world.fact(f"start:{group.name}:{primer.route.stay}") is None:
            raise _unheld(group, world, primer)
        del self._primed[group.name]
        primer.close()
        told = world.fact(_release(group, primer.route.stay)) or primer.evidence()
        known = {name: value for name, value in told.items() if value is not None}
        if "duplicates" not in known and primer.began:
            known |= {"duplicates": _read_again(world, group, to, primer.began), "counted": "afterwards"}
        return {**known, "group": group.name, "side": to.value}

    def document(self) -> Mapping[str, Any]:
        """Where each group stands, as JSON values."""
        return {name: _document(each) for name, each in self._primed.items()}

    def close(self) -> None:
        """Let go of every group; gates stay shut for as long as their transactions last."""
        for each in self._primed.values():
            each.primer.leave()
        self._primed.clear()

    # For whom.

    def _begin(self, world: World, group: Group, to: Side) -> None:
        if group.name in self._primed:
            return
        stay = world.history.done.get(f"moved:{group.name}", 0)
        here, there = (_partitions(world.topic(side)) for side in (to.other, to))
        route = Route(group.name, world.run_id, stay, here, there)
        back = world.history.standing.goal.back
        primer = Primer(
            route,
            world.cluster,
            translate=_translate(world, group, to),
            verify=world.translator.verify,
            open_hand=lambda name: self._open(world, group, name),
            release_act=_releasing(world, group, stay),
            left_open=lambda: _left_open(world, group),
            pause=time.sleep,
            wishes=Wishes(self._gated, self.interval_seconds, most=None if back else group.max_duplicates),
        )
        released = _release(group, stay)
        if world.fact(released) is not None or released in world.history.unsettled:
            primer.standing = Standing.RELEASED  # final positions were read back before; the gate has opened, or has expired
        elif world.fact(_seeded(group, stay)) is not None:
            primer.standing = Standing.READY  # members may have overwritten every mark since
        self._primed[group.name] = _Primed(group, to, primer)

    def _drop(self, world: World) -> None:
        """Groups that are to go the other way now: their gate opens on what was primed."""
        for name in [name for name, each in self._primed.items() if each.to is not _wanted(world, name)]:
            self._primed.pop(name).primer.close()

    def _open(self, world: World, group: Group, name: str) -> Hand:
        sides = {topic.name: topic.id for topic in (world.topic(Side.SOURCE), world.topic(Side.TARGET))}
        return ControlHand(
            Control(
                self._connection,
                world.cluster,
                transactional_id=_transactional_id(world, group, name),
                transaction_timeout_ms=round(GATE_SECONDS * 1000),
                topic_ids=sides,
            )
        )


def _wanted(world: World, group: str) -> Side:
    """Where the group is to be: back with a rollback, else where somebody asked for it, else on T."""
    if world.history.standing.goal.back:
        return Side.SOURCE
    asked = world.fact(f"wanted:{group}")
    return Side.TARGET if asked is None else Side(asked["side"])


def _transactional_id(world: World, group: Group, name: str) -> str:
    return f"cutover.driver.{world.source.id}.gate.{group.name}.{name}"


def _left_open(world: World, group: Group) -> list[str]:
    """Which of the group's two hands has a transaction open, whoever holds it."""
    ids = {_transactional_id(world, group, name): name for name in NAMES}
    return [ids[told] for told, found in world.cluster.describe_transactions(list(ids)).items() if found.started_at_ms is not None]


def _partitions(topic: Topic) -> tuple[TopicPartition, ...]:
    return tuple(TopicPartition(topic.name, number) for number in range(topic.partitions))


def _translate(world: World, group: Group, to: Side) -> Callable[[Mapping[int, int]], Translated]:
    return lambda given: world.translator.translate(to.other, {**world.latest(group), **given}, missing=group.missing or "")


def _read_again(world: World, group: Group, to: Side, began: Mapping[int, int]) -> int:
    """What members that began at these positions read again, counted afterwards: others went on over here meanwhile."""
    here = _partitions(world.topic(to.other))
    told = world.cluster.committed([group.name], here, patience_seconds=PATIENCE_SECONDS)[group.name]
    last = {where.partition: each.offset for where, each in told.items() if isinstance(each, Committed)}
    found = world.translator.translate(to.other, {**world.latest(group), **last}, missing=group.missing or "latest")
    topic = world.topic(to).name
    spans = {TopicPartition(topic, q): (at, found.positions[q]) for q, at in began.items() if at < found.positions[q]}
    return sum(1 for _ in world.reader.read(spans)) + found.duplicates


def _seeded(group: Group, stay: int) -> str:
    return f"seeded:{group.name}:{stay}"


def _release(group: Group, stay: int) -> str:
    return f"release:{group.name}:{stay}"


def _releasing(world: World, group: Group, stay: int) -> Callable[[Mapping[str, Any]], AbstractContextManager[dict[str, Any]]]:
    return lambda intent: world.act(_release(group, stay), **intent)


# Words.


def _words(world: World, group: Group, to: Side, primer: Primer, here: tuple[Member, ...], there: tuple[Member, ...]) -> str:
    target = world.topic(to).name
    why = f" ({primer.trouble})" if primer.trouble else ""
    match primer.standing:
        case Standing.UNSEEDED:
            return f"{group.name}: a position on every partition of {target}{why}"
        case Standing.READY if not here:
            return f"{group.name}: the positions of its last commits on {target}{why}"
        case Standing.READY if there:
            return f"{group.owner} to redeploy what is left of {group.name}: {_names(here)}"
    if here:
        return f"{group.owner} to redeploy {group.name}: {_names(here)} still reads {world.topic(to.other).name}"
    return f"{group.owner} to redeploy {group.name}: no member reads {target} yet"


def _names(members: tuple[Member, ...]) -> str:
    names = sorted({f"{each.client_id or each.member_id} at {each.host}" for each in members})
    return ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")


def _early(group: Group, topic: Topic, there: tuple[Member, ...]) -> TargetReadEarly:
    return TargetReadEarly(
        f"{group.name} read {topic.name} before its positions there were written: {_names(there) or 'its members have left again'}",
        why="A member that finds no position starts where its auto.offset.reset says, and may skip records.",
        group=group.name,
        topic=topic.name,
        members=[each.client_id for each in there],
    )


def _unheld(group: Group, world: World, primer: Primer) -> TargetReadEarly:
    names = sorted({name for each in primer.early.values() for name in each.members})
    return TargetReadEarly(
        f"members of {group.name} did not wait at the gate of {primer.route.topic}: {', '.join(names)}",
        why="Where they began is not known: at what was committed, or at the end.",
        advice=f"Compare what they processed, or accept it: cutover confirm {world.plan.cutover} {group.name} started",
        group=group.name,
        partitions=sorted(primer.early),
        members=names,
    )


def _document(primed: _Primed) -> dict[str, Any]:
    primer = primed.primer
    return {
        "to": primed.to.value,
        "standing": primer.standing.value,
        "commits": primer.commits,
        "trouble": primer.trouble,
        "duplicates": primer.duplicates,
        "read_early": [f"partition {each.partition}: {', '.join(each.members)}" for each in primer.early.values()],
    }
