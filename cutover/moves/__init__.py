"""Moving one consumer group from one topic of the pair to the other, by its switch kind (DESIGN 6).

Every kind ends alike: its members are seen on one topic only, and a READ in the control log says so. Until then the group stands
where it stood, whatever was begun. `step` is one bounded act, called until `moved`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from cutover.errors import CutoverError, LeaseLost
from cutover.history import Body
from cutover.lifecycle import Seen, Stage
from cutover.moves import crossing, primed, sdk, stopped
from cutover.moves.crossing import Halfway, Waits, members, others, read_again
from cutover.plan import Group
from cutover.prices import Price
from cutover.protocol import Side
from cutover.world import World

Journey = tuple[Group, Side]
"""A group, and where it is to be."""


class Kind(Protocol):
    """How groups of one switch kind are moved."""

    def waits_for(self, world: World, group: Group, to: Side) -> Waits | None:
        """What the next act waits for; None when it is due."""

    def halfway(self, world: World, group: Group) -> Halfway | None:
        """Whether the group stands still between two acts, so that it must not be left there."""

    def step(self, world: World, group: Group, to: Side) -> Body:
        """The next act."""


KINDS: Mapping[str, Kind] = {"sdk": sdk, "hook": stopped, "manual": stopped, "primed": primed}


def wanted(world: World, group: Group) -> Side:
    """Where the group is to be: on T, unless somebody asked for it to be moved back."""
    asked = _asked(world, group)
    return Side.TARGET if asked is None else Side(asked["side"])


def _asked(world: World, group: Group) -> Body | None:
    return world.having(group)[0].fact(f"wanted:{group.name}")


def astray(world: World) -> list[Journey]:
    """Groups that somebody asked to have elsewhere, and that are not there yet."""
    asked = [group for group in world.whole.groups if _asked(world, group) is not None]
    return [(group, wanted(world, group)) for group in asked if not moved(world, group, wanted(world, group))]


def standing_still(world: World) -> list[Journey]:
    """Groups that were stopped for a move and not started again, each wanted where it was: nothing is undone around them."""
    found = [(group, _halfway(world, group)) for group in world.whole.groups]
    return [(group, begun.left) for group, begun in found if begun is not None]


def _halfway(world: World, group: Group) -> Halfway | None:
    return KINDS[group.switch_kind].halfway(world.having(group)[0], group)


def confirmed(world: World, group: Group, word: str) -> tuple[str, str]:
    """The step that is settled when a person says that a group is stopped, or started, and the verb that it comes to."""
    here = world.having(group)[0]
    name = "stop" if word == "stopped" else "start"
    at = side(here, group)
    if name == "start":
        at = stopped.started_on(here, group, _destination(world, group)) if KINDS[group.switch_kind] is stopped else at.other
    return f"{name}:{group.name}:{crossing.stay(here, group)}", stopped.verb(name, at)


def _destination(world: World, group: Group) -> Side:
    """Where the group is to be now."""
    standing, begun = world.history.standing, _halfway(world, group)
    if not standing.goal.back:
        return wanted(world, group)
    return Side.SOURCE if standing.stage is Stage.MOVING_GROUPS or begun is None else begun.left


def seen(world: World, left: Sequence[Journey]) -> Seen:
    """Whether these groups are where they are to be, and if not what is waited for."""
    if not left:
        return Seen(done=True)
    now = _turns(world, left)
    if any(waits is None for _, waits in now) or (world.watch.set_aside and not now):
        return Seen(done=False)
    said = [waits for _, waits in now] or [waits_for(world, *journey) for journey in left]
    return Seen(done=False, waits_for="; ".join(each.words for each in said if each), on_person=not now)


def act(world: World, left: Sequence[Journey]) -> Body:
    """The next act for each group whose turn it is; what went wrong with one is raised once no other is under way."""
    due = [journey for journey, waits in _turns(world, left) if waits is None]
    together = [journey for journey in due if _goes_beside_others(world, journey[0])]
    evidence: dict[str, Body] = {}
    for group, to in due:
        if (group, to) not in together:
            with _setting_aside(world, group):
                evidence[group.name] = step(world, group, to)
    evidence |= _side_by_side(world, together)
    if world.watch.set_aside and not _turns(world, left):
        raise world.watch.set_aside.pop(next(iter(world.watch.set_aside)))
    return evidence


def _turns(world: World, left: Sequence[Journey]) -> list[tuple[Journey, Waits | None]]:
    """Whose turn it is, and what each of them waits for: as many as the plan says, but one that waits for its owner holds nobody up.

    Once something went wrong with a group nothing more is begun, and those that are under way go on to their end.
    """
    failed, found = world.watch.set_aside, list[tuple[Journey, Waits | None]]()
    for group, to in left:
        if failed and (group.name in failed or _halfway(world, group) is None):
            continue
        waits = waits_for(world, group, to)
        if waits is None or not waits.on_person:
            found.append(((group, to), waits))
        if len(found) == world.plan.moves.parallel:
            break
    return found


def _goes_beside_others(world: World, group: Group) -> bool:
    """Whether its next act is one that waits for its members, so that others can go on meanwhile."""
    return group.switch_kind == "sdk" and not _needs_cut(world, group)


def _needs_cut(world: World, group: Group) -> bool:
    """Whether a cut is due; once the group stands still it could not come to one any more."""
    return _halfway(world, group) is None and any(crossing.needs_cut(each, group) for each in world.having(group))


def _side_by_side(world: World, journeys: Sequence[Journey]) -> dict[str, Body]:
    """Whole moves of groups on the client library, each going on while others wait for their members."""
    evidence: dict[str, Body] = {}
    with ExitStack() as ends:
        going = {group.name: (group, sdk.moving(world.having(group)[0], group, to)) for group, to in journeys}
        for _, steps in going.values():
            ends.callback(steps.close)
        while going:
            for name, (group, steps) in list(going.items()):
                with _setting_aside(world, group):
                    try:
                        next(steps)
                        continue
                    except StopIteration as over:
                        evidence[name] = over.value
                del going[name]
            if going:
                crossing.pass_time(world)
    return evidence


@contextmanager
def _setting_aside(world: World, group: Group) -> Iterator[None]:
    """What goes wrong with one group must not leave another one stopped half way."""
    try:
        yield
    except LeaseLost:
        raise
    except CutoverError as error:
        world.watch.set_aside[group.name] = error
        if world.plan.moves.parallel > 1:
            world.tell(f"{group.name} is not moved, others that are under way go on: {error.what}")


def side(world: World, group: Group) -> Side:
    """Where the group reads this pair, by the log."""
    return world.pair.group(group.name).side


def stands_on(world: World, group: Group, at: Side) -> bool:
    """Whether the log has the group on this side, in any of the pairs that it reads."""
    return any(side(each, group) is at for each in world.having(group))


def moved(world: World, group: Group, to: Side) -> bool:
    """The log says so of every pair that it reads, it does not stand still, and nobody of it is seen on the side it left."""
    if stands_on(world, group, to.other) or _halfway(world, group) is not None:
        return False
    return not any(members(each, group)[to.other] for each in world.having(group))


def waits_for(world: World, group: Group, to: Side) -> Waits | None:
    """What the group's next act waits for."""
    here = world.having(group)
    if not stands_on(world, group, to.other) and _halfway(world, group) is not None:
        return KINDS[group.switch_kind].waits_for(here[0], group, to)
    if not stands_on(world, group, to.other):
        names = "; ".join(
            f"{others(left)} still reads {each.topic(to.other).name}" for each in here if (left := members(each, group)[to.other])
        )
        return Waits(f"{group.name}: {names}: stop it", on_person=True)
    for each in here:
        crossing.note_latest(each, group, to)
    if _needs_cut(world, group):
        return None
    drains = next((waits for each in here if (waits := crossing.drains(each, group, to))), None)
    return drains or KINDS[group.switch_kind].waits_for(here[0], group, to)


def step(world: World, group: Group, to: Side) -> Body:
    """One act towards having the group on that side."""
    if stands_on(world, group, to.other) and _needs_cut(world, group):
        return crossing.take_cuts(world.having(group), group)
    return KINDS[group.switch_kind].step(world.having(group)[0], group, to)


def tick(world: World) -> None:
    """What goes on beside the moves: the positions of primed groups are kept current."""
    if world.paired:
        world.primers.tick(world)


def settle(world: World) -> list[str]:
    """After a restart: groups that were stopped for a move go on where they were."""
    return sdk.settle(world)


def price(world: World, group: Group, to: Side) -> Price:
    """What the group would read again if it were moved now, in all pairs that it reads."""
    begun = _halfway(world, group)
    left = begun is not None and begun.started is to.other
    found = [read_again(each, group, to) for each in world.having(group) if left or side(each, group) is not to]
    known = [again for again, _ in found if again is not None]
    return Price(
        again={group.name: sum(known) if len(known) == len(found) else None},
        growing=frozenset({group.name} if any(live for _, live in found) else ()),
    )
