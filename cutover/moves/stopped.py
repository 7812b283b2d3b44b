"""Groups that are stopped as a whole, given their position, and started on the other side: by a hook, or by a person.

What a hook or a person says is information; that the group is empty, and later that its members are on the other side, is seen.
"""

from collections.abc import Collection, Iterable

from cutover.errors import MoveUnclear
from cutover.history import Body
from cutover.moves import crossing
from cutover.moves.crossing import Waits
from cutover.plan import Group
from cutover.protocol import Side
from cutover.world import World


def waits_for(world: World, group: Group, to: Side) -> Waits | None:
    """A person to stop or start it, the group to become empty, or its members to appear."""
    number, here = crossing.stay(world, group), world.having(group)
    if _unwritten(world, group):
        if not _told(world, group, "stop", number):
            return _person(world, group, f"stop every member on {_names(here, to.other)}", "stopped") if _is_manual(group) else None
        for each in here:
            if left := crossing.members(each, group)[to.other]:
                return Waits(f"{group.name} to be empty: {crossing.others(left)} still holds {each.topic(to.other).name}")
        return None
    if not _told(world, group, "start", number):
        return _person(world, group, f"start it on {_names(here, to)}", "started") if _is_manual(group) else None
    absent = [each for each in here if not crossing.members(each, group)[to]]
    return Waits(f"members of {group.name} on {_names(absent, to)}") if absent else None


def under_way(world: World, group: Group) -> bool:
    """Whether it was stopped for this move."""
    return _told(world, group, "stop", crossing.stay(world, group))


def step(world: World, group: Group, to: Side) -> Body:
    """Stop, write the position, start, write down that it has moved."""
    number, unwritten = crossing.stay(world, group), _unwritten(world, group)
    if unwritten and not _told(world, group, "stop", number):
        crossing.tell_price(world, group, to)
        return world.hooks.run(world, group, f"stop_{to.other.value.lower()}", f"stop:{group.name}:{number}")
    if unwritten:
        return _write(world, group, to, unwritten)
    if not _told(world, group, "start", number):
        for each in world.having(group):
            _require_untouched(each, group, to)
        return world.hooks.run(world, group, f"start_{to.value.lower()}", f"start:{group.name}:{number}")
    return {
        each.source.name: crossing.arrived(each, group, to) for each in reversed(world.having(group)) if _wrote(each, group) is not None
    }


def _wrote(world: World, group: Group) -> Body | None:
    """Where the group goes on in this pair, in this stay."""
    return world.fact(f"write:{group.name}:{crossing.stay(world, group)}")


def _unwritten(world: World, group: Group) -> tuple[World, ...]:
    """The pairs in which it has no position to go on from yet; none of those that it has arrived in."""
    number = crossing.stay(world, group)  # of the first pair, which it arrives in last
    return tuple(each for each in world.having(group) if crossing.stay(each, group) == number and _wrote(each, group) is None)


def _write(world: World, group: Group, to: Side, unwritten: Collection[World]) -> Body:
    """Where it goes on in every pair, once it is known for all that it reads no more again than its plan allows."""
    found = {each.source.name: crossing.last(each, crossing.final(each, group, to)) for each in world.having(group)}
    again, lost = (sum(getattr(each, name) for each in found.values()) for name in ("duplicates", "lost"))
    crossing.require_few(group, again, _most(world, group))
    world.tell(f"{group.name} has stopped; it will read {again:,} records again, lost: {lost or 'nothing'}")
    return {each.source.name: crossing.write(each, group, to, found[each.source.name]) for each in unwritten}


def _require_untouched(world: World, group: Group, to: Side) -> None:
    """Nobody may have begun on the new side before it was told to."""
    wrote = _wrote(world, group) or {"positions": {}}
    written = {int(partition): offset for partition, offset in wrote["positions"].items()}
    if not crossing.untouched(world, group, to, written):
        raise MoveUnclear(
            f"somebody moved the positions of {group.name} on {world.topic(to).name} before the group was started there",
            why="They are not what was written: a member began early, or somebody set them.",
            group=group.name,
        )


def _names(worlds: Iterable[World], side: Side) -> str:
    return " and ".join(each.topic(side).name for each in worlds)


def _most(world: World, group: Group) -> int | None:
    """Going back is ordered with its price known; forward the plan's own bound holds."""
    if world.history.standing.goal.back:
        return None
    return 0 if group.hand_off == "exact" else group.max_duplicates


def _is_manual(group: Group) -> bool:
    return group.switch_kind == "manual"


def _told(world: World, group: Group, verb: str, number: int) -> bool:
    """Whether the hook ran, or the person said so."""
    return world.fact(f"{verb}:{group.name}:{number}") is not None


def _person(world: World, group: Group, act: str, word: str) -> Waits:
    return Waits(f"{group.owner} to {act} ({group.name}); then: cutover confirm {world.plan.cutover} {group.name} {word}", on_person=True)
