"""dual_writing: producers go from S to both topics by one flip, and the mirror ends; undone, they write S alone and it runs again."""

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
    """Producers write both topics, no mirror is left, and the audit by stamps is running."""
    return switching.seen(world, Mode.DUAL)


def apply(world: World) -> Body:
    """One attempt."""
    return switching.toward(world, Mode.DUAL)


def undone(world: World) -> Seen:
    """Producers write S, and the mirror runs from S to T."""
    return switching.seen(world, Mode.SOURCE)


def undo(world: World) -> Body:
    """Flip back."""
    return switching.toward(world, Mode.SOURCE)


def price(world: World) -> Price:
    """One hold."""
    if not world.paired or world.pair.mode is Mode.SOURCE:
        return Price()
    return switching.price(world, "producers are switched back to the source alone")
