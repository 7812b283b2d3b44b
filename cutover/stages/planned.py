"""planned: the plan is read and stands in the journal; nothing was touched."""

from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.world import World


def check(world: World) -> None:
    """Nothing stands against it."""


def done(world: World) -> Seen:
    """As soon as it is written down."""
    return Seen(done=True)


def apply(world: World) -> Body:
    """Nothing to do."""
    return {}


def undone(world: World) -> Seen:
    """There is nothing before it."""
    return Seen(done=True)


def undo(world: World) -> Body:
    """Nothing was touched."""
    return {}


def price(world: World) -> Price:
    """Nothing."""
    return Price()
