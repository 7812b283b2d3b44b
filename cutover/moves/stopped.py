"""Groups that are stopped as a whole, given their position, and started on the other side: by a hook, or by a person.

What a hook or a person says is information; that the group is empty, and later that its members are on the other side, is seen.
Whoever was stopped is started again: where it goes, once it has its position there; where it was, if it may not go or is wanted there.
"""

from collections.abc import Collection, Iterable

from cutover.errors import CutoverError, LeaseLost, MoveUnclear, PlanWrong, Unreachable
from cutover.history import Body
from cutover.moves import crossing
from cutover.moves.crossing import Halfway, Waits
from cutover.plan import Group
from cutover.protocol import Side
from cutover.world import World


def waits_for(world: World, group: Group, to: Side) -> Waits | None:
    """A person to stop or start it, the group to become empty, or its members to appear."""
    here, begun = world.having(group), halfway(world, group)
    if begun is None:
        return _person(world, group, f"stop every member on {_names(here, to.other)}", "stopped") if _is_manual(group) else None
    if begun.started is not None:
        absent = [each for each in here if not crossing.members(each, group)[begun.started]]
        is_due = not absent or _has_turned(begun, to) or not _is_told(world, group, "start")
        return None if is_due else Waits(f"members of {group.name} on {_names(absent, begun.started)}")
    if not _is_told(world, group, "stop"):
        return None
    if to is not begun.left and _unwritten(world, group):
        still = ((each, crossing.members(each, group)[begun.left]) for each in here)
        holds = next((f"{crossing.others(left)} still holds {each.topic(begun.left).name}" for each, left in still if left), "")
        return Waits(f"{group.name} to be empty: {holds}") if holds else None
    return _person(world, group, f"start it on {_names(here, to)}", "started") if _is_manual(group) else None


def halfway(world: World, group: Group) -> Halfway | None:
    """Where it was stopped, and where it was started then, in this stay; also where nobody knows yet whether that happened."""
    left, started = (_begun(world, group, word) for word in ("stop", "start"))
    return None if left is None else Halfway(left, started)


def step(world: World, group: Group, to: Side) -> Body:
    """Stop, write the position, start, write down where it reads now."""
    begun = halfway(world, group)
    if begun is None:
        crossing.tell_price(world, group, to)
        return _run(world, group, "stop", to.other)
    if begun.started is not None:
        return _arrive(world, group, begun, begun.started, to)
    if not _is_told(world, group, "stop"):
        return _settle_stop(world, group, begun, to)
    if to is begun.left:
        return _start_again(world, group, to)
    if unwritten := _unwritten(world, group):
        return _write(world, group, to, unwritten)
    for each in world.having(group):
        _require_untouched(each, group, to)
    return _run(world, group, "start", to)


def verb(word: str, side: Side) -> str:
    """What a hook is told, and what is written down when a person says that it is done: stop_source, start_target, ..."""
    return f"{word}_{side.value.lower()}"


def started_on(world: World, group: Group, to: Side) -> Side:
    """Where a person means who says that the group is started, while it is wanted on this side. Raises PlanWrong if it was not stopped."""
    begun = halfway(world, group)
    if begun is None:
        raise PlanWrong(f"{group.name} was not stopped for a move", why="Nobody waits for it to be started.", subject=group.name)
    if begun.started is not None:
        return begun.started
    return begun.left if to is begun.left or _unwritten(world, group) else begun.left.other


def _has_turned(begun: Halfway, to: Side) -> bool:
    """Whether it was started on the other side and is wanted back: it goes from there, whoever has come."""
    return begun.started is begun.left.other and to is begun.left


def _arrive(world: World, group: Group, begun: Halfway, started: Side, to: Side) -> Body:
    if _is_told(world, group, "start"):
        return _over(world, group, begun)
    if _has_turned(begun, to):  # before it is moved from there it is known whether it reads there, or was never started
        return world.hooks.settle(world, group, verb("start", started), _step(world, group, "start"))
    return _run(world, group, "start", started)


def _settle_stop(world: World, group: Group, begun: Halfway, to: Side) -> Body:
    """A stop of which nobody knows what came: it may be wanted no more."""
    if to is begun.left:
        return world.hooks.settle(world, group, verb("stop", begun.left), _step(world, group, "stop"))
    return _run(world, group, "stop", begun.left)


def _start_again(world: World, group: Group, side: Side) -> Body:
    world.tell(f"{group.name} is started where it was, on {_names(world.having(group), side)}")
    return _run(world, group, "start", side)


def _run(world: World, group: Group, word: str, side: Side) -> Body:
    return world.hooks.run(world, group, verb(word, side), _step(world, group, word))


def _over(world: World, group: Group, begun: Halfway) -> Body:
    """It reads on one side again: this stay is over, in every pair that it has not arrived in."""
    number, moved = crossing.stay(world, group), begun.started is not begun.left
    left = [each for each in reversed(world.having(group)) if crossing.stay(each, group) == number]
    return {
        each.source.name: crossing.arrived(each, group, begun.left.other) if moved else crossing.stayed(each, group, begun.left)
        for each in left
    }


def _step(world: World, group: Group, word: str) -> str:
    return f"{word}:{group.name}:{crossing.stay(world, group)}"


def _is_told(world: World, group: Group, word: str) -> bool:
    """Whether it is known what came of it: the hook ran, or a person said so."""
    step = _step(world, group, word)
    return world.fact(step) is not None and step not in world.history.unsettled


def _begun(world: World, group: Group, word: str) -> Side | None:
    """The side that a verb of this stay was about; None where it was not begun, or is known to have done nothing."""
    step = _step(world, group, word)
    body = world.history.unsettled.get(step) or world.fact(step)
    return None if body is None else Side(str(body["verb"]).rpartition("_")[2].upper())


def _wrote(world: World, group: Group) -> Body | None:
    """Where the group goes on in this pair, in this stay."""
    return world.fact(f"write:{group.name}:{crossing.stay(world, group)}")


def _unwritten(world: World, group: Group) -> tuple[World, ...]:
    """The pairs in which it has no position to go on from yet; none of those that it has arrived in."""
    number = crossing.stay(world, group)  # of the first pair, which it arrives in last
    return tuple(each for each in world.having(group) if crossing.stay(each, group) == number and _wrote(each, group) is None)


def _write(world: World, group: Group, to: Side, unwritten: Collection[World]) -> Body:
    """Where it goes on in every pair, once it is known for all that it reads no more again than its plan allows."""
    try:
        found = {each.source.name: crossing.last(each, crossing.final(each, group, to)) for each in world.having(group)}
        again, lost = (sum(getattr(each, name) for each in found.values()) for name in ("duplicates", "lost"))
        crossing.require_few(group, again, _most(world, group))
    except (Unreachable, LeaseLost):  # asked again, or somebody else's now
        raise
    except CutoverError as error:  # nothing was written yet
        _go_on(world, group, to.other, error)
        raise
    world.tell(f"{group.name} has stopped; it will read {again:,} records again, lost: {lost or 'nothing'}")
    return {each.source.name: crossing.write(each, group, to, found[each.source.name]) for each in unwritten}


def _go_on(world: World, group: Group, side: Side, error: CutoverError) -> None:
    """Whoever may not be moved must not stand still either."""
    names = _names(world.having(group), side)
    if _is_manual(group):
        told = _confirm(world, group, "started")
        error.traffic_now = f"{group.name} stands still. {group.owner} can start it where it was, on {names}; then: {told}"
        return
    _start_again(world, group, side)
    error.traffic_now = f"{group.name} was started again where it was, on {names}."


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


def _person(world: World, group: Group, act: str, word: str) -> Waits:
    return Waits(f"{group.owner} to {act} ({group.name}); then: {_confirm(world, group, word)}", on_person=True)


def _confirm(world: World, group: Group, word: str) -> str:
    return f"cutover confirm {world.plan.cutover} {group.name} {word}"
