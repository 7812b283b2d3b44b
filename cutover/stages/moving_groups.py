"""moving_groups: each group of the plan goes from S to T, one at a time; undone, each goes back.

How a group is moved stands in cutover.moves, by its switch kind.
"""

from cutover import moves
from cutover.governance import windows
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price, together
from cutover.protocol import Side
from cutover.world import World


def check(world: World) -> None:
    """The window is open; every group is looked at when its turn comes."""
    windows.require_open(world, "moving groups")


def done(world: World) -> Seen:
    """Every group of the plan has members on T alone."""
    return _seen(world, Side.TARGET)


def apply(world: World) -> Body:
    """The next act for the first group that is not there yet."""
    return _toward(world, Side.TARGET)


def undone(world: World) -> Seen:
    """Every group reads S."""
    return _seen(world, Side.SOURCE)


def undo(world: World) -> Body:
    """The next act for the first group that is not back yet."""
    return _toward(world, Side.SOURCE)


def price(world: World) -> Price:
    """What each group that stands on T would read again on S."""
    if not world.all_paired:
        return Price()
    return together(moves.price(world, group, Side.SOURCE) for group in world.whole.groups)


def _seen(world: World, to: Side) -> Seen:
    for each in world.pairs:
        each.keeper.keep(audit=to is Side.TARGET)  # going back is not for the audit to stop
    return moves.seen(world, _left(world, to))


def _toward(world: World, to: Side) -> Body:
    return moves.act(world, _left(world, to))


def _left(world: World, to: Side) -> list[moves.Journey]:
    """The groups that are not there yet, in the plan's order; going forward one may be wanted back."""
    there = [(group, moves.wanted(world, group) if to is Side.TARGET else to) for group in world.whole.groups]
    return [(group, side) for group, side in there if not moves.moved(world, group, side)]
