"""synchronizing: the mirror runs until the follower has been within the plan's bound for the plan's time."""

import time

from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.world import World

BEHIND = "behind_since"


def check(world: World) -> None:
    """Nothing stands against it once both topics are there."""


def done(world: World) -> Seen:
    """Within the bound for long enough, by what the mirror reports; a drain has none."""
    if not world.keeper.copies:
        return Seen(done=True)
    world.keeper.keep()
    bound, needed = world.plan.budgets.mirror_lag, world.plan.budgets.mirror_lag_for
    lag = world.keeper.lag_seconds()
    if lag is None or lag > bound:
        world.watch.within_since = None
        return Seen(done=False, waits_for=f"the mirror: {world.keeper.words()}")
    if world.watch.within_since is None:
        world.watch.within_since = time.monotonic()
    held = time.monotonic() - world.watch.within_since
    if held < needed:
        return Seen(done=False, waits_for=f"the mirror: within {bound:g} s for {held:.0f} of {needed:g} s")
    return Seen(done=True)


def apply(world: World) -> Body:
    """The mirror works by itself."""
    world.keeper.keep()
    return {}


def undone(world: World) -> Seen:
    """No mirror of this run is left."""
    return Seen(done=world.keeper.ended)


def undo(world: World) -> Body:
    """Stop the mirror and shut its lanes out."""
    with world.act("end_mirror") as evidence:
        evidence["fenced"] = world.keeper.end("the run is rolled back")
    return evidence


def price(world: World) -> Price:
    """Nothing but the copy, which can be made again."""
    if not world.keeper.copies:
        return Price()
    return Price(words=("the mirror stops; what it copied stays until the target is deleted",))
