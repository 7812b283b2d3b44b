"""soaking: everybody is on T and the way back is still open; the plan's criteria must hold for the plan's time.

Stragglers, group lag, the mirror back and the audit are watched; any of them out of bounds starts the time anew.
"""

import time

from cutover import moves, stragglers
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.model import Isolation, TopicPartition
from cutover.moves import crossing
from cutover.plan import Group
from cutover.prices import Price
from cutover.protocol import Side
from cutover.world import World

LOOK_SECONDS = 1.0


def check(world: World) -> None:
    """Nothing stands against waiting."""


def done(world: World) -> Seen:
    """The criteria have held without a break for as long as the plan says."""
    world.keeper.keep(audit=True)
    if stragglers.undealt(world):
        return Seen(done=False)
    now = time.monotonic()
    if now - world.watch.soak_looked_at >= LOOK_SECONDS:
        world.watch.soak_looked_at = now
        world.watch.soak_trouble = trouble(world)
        if world.watch.soak_trouble:
            world.watch.soak_since = None
    if world.watch.soak_trouble:
        return Seen(done=False, waits_for=f"the soak begins when this has passed: {world.watch.soak_trouble}")
    if world.watch.soak_since is None:
        world.watch.soak_since = now
    held, needed = now - world.watch.soak_since, world.plan.soak.for_
    return Seen(done=True) if held >= needed else Seen(done=False, waits_for=f"the soak: {held:.0f} of {needed:g} s held")


def apply(world: World) -> Body:
    """Time passes by itself; stragglers are dealt with as the plan says."""
    world.watch.soak_since = None
    return stragglers.deal(world)


def trouble(world: World) -> str:
    """The first criterion that is not met; empty when all are."""
    lag, bound = world.keeper.lag_seconds(), world.plan.budgets.mirror_lag
    if lag is None or lag > bound:
        return f"the mirror back is behind: {world.keeper.words()}"
    age = world.keeper.audit_age_seconds()
    if age is None or age > world.plan.budgets.audit_age:
        return f"the audit is behind: {world.keeper.audit_words()}"
    for group in world.plan.groups:
        words = _group_trouble(world, group)
        if words:
            return words
    return ""


def _group_trouble(world: World, group: Group) -> str:
    reads = moves.side(world, group)
    left = crossing.members(world, group)[reads.other]
    if left:
        return f"{group.name} has members on {world.topic(reads.other).name}: {crossing.others(left)}"
    behind, most = lag_records(world, group, reads), world.plan.soak.max_group_lag
    if behind is not None and behind > most:
        return f"{group.name} is {behind:,} records behind, above {most:,}"
    return ""


def lag_records(world: World, group: Group, side: Side) -> int | None:
    """How far the group is behind on a side, control records counted; None where it has no position."""
    topic = world.topic(side)
    given = crossing.committed(world, group, side)
    ends = world.cluster.end_offsets([TopicPartition(topic.name, p) for p in range(topic.partitions)], Isolation.READ_COMMITTED)
    if not given:
        return None
    return sum(max(0, end - given[where.partition]) for where, end in ends.items() if where.partition in given)


def undone(world: World) -> Seen:
    """A soak leaves nothing behind."""
    return Seen(done=True)


def undo(world: World) -> Body:
    """Nothing to undo."""
    return {}


def price(world: World) -> Price:
    """Nothing."""
    return Price()
