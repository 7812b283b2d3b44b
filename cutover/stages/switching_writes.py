"""switching_writes: producers go to T alone by one flip; undone, by the same flip back to where they were.

Where they were is S, or, with dual writing, both topics.
"""

from cutover import switching
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.protocol import Mode
from cutover.world import World


def check(world: World) -> None:
    """The window is open and the gate has its approvals."""
    switching.require_allowed(world)


def done(world: World) -> Seen:
    """Producers may write T alone, and the mirror runs from T to S."""
    return switching.seen(world, Mode.TARGET)


def apply(world: World) -> Body:
    """One attempt, or what is left to do after one that succeeded."""
    return switching.toward(world, Mode.TARGET)


def undone(world: World) -> Seen:
    """Producers write what they wrote before."""
    return switching.seen(world, _before(world))


def undo(world: World) -> Body:
    """Flip back."""
    return switching.toward(world, _before(world))


def price(world: World) -> Price:
    """One hold."""
    if not world.paired or world.pair.mode is not Mode.TARGET:
        return Price()
    back = {Mode.SOURCE: "the source", Mode.DUAL: "both topics"}[_before(world)]
    return switching.price(world, f"producers are switched back to {back}")


def _before(world: World) -> Mode:
    return Mode.DUAL if world.plan.strategy == "dual_write" else Mode.SOURCE
