"""Groups on the client library: every member stops, commits and says so in the control log; then all go on on the other side.

Where a position cannot say exactly what was read (a merge, a crossed lineage), the members read on to a cut first: below it both
topics hold the same records. A member that is lost on the way undoes the move: the others go on where they were.
"""

import time

from cutover import flip
from cutover.errors import GroupNotMoved
from cutover.history import Body
from cutover.moves import crossing
from cutover.moves.crossing import Halfway, Steps, Waits
from cutover.plan import Group
from cutover.protocol import Asked, Mode, Read, Role, Side, Stop, Until, problems
from cutover.world import Translated, World

STOP_SECONDS = 30.0
READ_ON_SECONDS = 120.0
SETTLE_SECONDS = 20.0


def waits_for(world: World, group: Group, to: Side) -> Waits | None:  # noqa: ARG001 - every kind is asked alike
    """Its instances to have joined."""
    wanted = group.instances or 1
    joined = min(len(each.log.state.members(each.run_id, Role.CONSUMER, group.name)) for each in world.having(group))
    if joined < wanted:
        return Waits(f"{group.name}: {joined} of {wanted} instances have joined the control log")
    return None


def halfway(world: World, group: Group) -> Halfway | None:  # noqa: ARG001 - every kind is asked alike
    """It is moved in one act, or not at all."""
    return None


def step(world: World, group: Group, to: Side) -> Body:
    """The whole move, or nothing of it."""
    return crossing.last(world, moving(world, group, to))


def moving(world: World, group: Group, to: Side) -> Steps[Body]:
    """The same, yielding while it waits; closed on the way, everybody goes on where they were. In all pairs that it reads, or in none."""
    here = world.having(group)
    at_a_cut = group.hand_off == "exact" and world.pair.mode is Mode.DUAL
    _tell(world, group, to, at_a_cut=at_a_cut)
    term = 1 + max(each.pair.term for each in here)
    with world.act(f"stop:{group.name}:{crossing.stay(world, group)}", group=group.name, term=term) as evidence:
        world.log.say(Stop(pair=world.run_id, group=group.name, term=term, budget_ms=round(STOP_SECONDS * 1000), **crossing.also(here)))
        try:
            yield  # others that are due are asked as well before anybody is looked at
            yield from _all_answered(world, group, term, STOP_SECONDS)
            for each in here:
                _require_nobody_else(each, group)
            found = yield from (_read_on if at_a_cut else _stopped)(world, group, to, term)
            for each, positions in zip(here, found, strict=True):
                crossing.write(each, group, to, positions)
            evidence.update(term=term, duplicates=sum(each.duplicates for each in found))
        except BaseException:
            _go_on(world, group, to.other, term)
            raise
    if len(here) > 1:
        world.log.say(Read(pair=world.run_id, group=group.name, term=term, side=to, **crossing.also(here)))
    return {each.source.name: crossing.arrived(each, group, to, term) for each in reversed(here)}


def _tell(world: World, group: Group, to: Side, *, at_a_cut: bool) -> None:
    if at_a_cut:
        world.tell(f"moving {group.name} to {world.topic(to).name}: it reads on to a cut, and nothing again")
    else:
        crossing.tell_price(world, group, to)


def _stopped(world: World, group: Group, to: Side, term: int) -> Steps[list[Translated]]:
    found = yield from _translated(world, group, to)
    if group.hand_off == "exact" and any(each.duplicates for each in found):
        found = yield from _read_on(world, group, to, term)
    return found


def _translated(world: World, group: Group, to: Side) -> Steps[list[Translated]]:
    """Where it goes on in each pair."""
    found = []
    for each in world.having(group):
        found.append((yield from crossing.final(each, group, to)))  # noqa: PERF401 - a comprehension cannot yield
    return found


def _read_on(world: World, group: Group, to: Side, term: int) -> Steps[list[Translated]]:
    """Have all of it read on to a cut, below which both topics of a pair hold the same records."""
    worlds = world.having(group)
    for each, cut in zip(worlds, flip.cuts(worlds), strict=True):
        world.log.say(
            Until(pair=each.run_id, group=group.name, term=term, offsets=cut.on(to.other), budget_ms=round(READ_ON_SECONDS * 1000))
        )
    yield from _all_answered(world, group, term, READ_ON_SECONDS)
    return (yield from _at_cut(world, group, to))


def _at_cut(world: World, group: Group, to: Side) -> Steps[list[Translated]]:
    """Where the group goes on once all of it stands at the cut: a partition may have changed hands after its holder had answered."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        found = yield from _translated(world, group, to)
        again = sum(each.duplicates for each in found)
        if not again or time.monotonic() > deadline:
            crossing.require_few(group, again, 0)
            return found
        yield


def _all_answered(world: World, group: Group, term: int, seconds: float) -> Steps[None]:
    log, pairs = world.log, [each.run_id for each in world.having(group)]
    deadline = time.monotonic() + seconds

    def silent() -> list[str]:
        return [each.name for pair in pairs for each in log.state.missing(pair, group.name)]

    while _asked(world, group, term) is not None and silent() and time.monotonic() < deadline:
        yield
    if _asked(world, group, term) is None or silent():
        raise GroupNotMoved(
            f"{group.name} did not stop: {', '.join(silent()) or 'an instance gave up waiting'}",
            why="A member that does not answer may still be working on records; the others go on where they were.",
            group=group.name,
            silent=silent(),
        )
    for each in world.having(group):
        _require_willing(each, group, term)


def _require_willing(world: World, group: Group, term: int) -> None:
    asked = _asked(world, group, term)
    against = problems(asked) if asked is not None else {}
    if against:
        words = "; ".join(f"{name}: {why}" for name, why in against.items())
        raise GroupNotMoved(f"{group.name} must not be moved now: {words}", why="An instance says so.", group=group.name, problems=against)


def _asked(world: World, group: Group, term: int) -> Asked | None:
    stop = world.pair.group(group.name).stop
    return stop if stop is not None and stop.term == term else None


def _require_nobody_else(world: World, group: Group) -> None:
    """A member that is not on the library was not told to stop."""
    joined = len(world.log.state.members(world.run_id, Role.CONSUMER, group.name))
    seen = {each.member_id for found in crossing.members(world, group).values() for each in found}
    if len(seen) > joined:
        raise GroupNotMoved(
            f"{group.name} has {len(seen)} members and {joined} of them are on the client library",
            why="The others were not told to stop.",
            group=group.name,
        )


def _go_on(world: World, group: Group, side: Side, term: int) -> None:
    if _asked(world, group, term) is not None:
        world.log.say(Read(pair=world.run_id, group=group.name, term=term, side=side))


def settle(world: World) -> list[str]:
    """After a restart: members that nobody let go on do so, where they were."""
    said = []
    for name, state in world.pair.groups.items():
        if state.stop is not None:
            world.log.say(Read(pair=world.run_id, group=name, term=state.stop.term, side=state.side))
            said.append(f"{name} was stopped for a move and goes on where it was")
    return said
