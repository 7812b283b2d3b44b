"""approved: the gates of the plan have the approvals they ask for, bound to exactly this plan, cluster and source topic."""

from cutover.governance import approvals
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.world import World

GATE = "run"


def check(world: World) -> None:
    """Nothing stands against asking."""


def done(world: World) -> Seen:
    """The policy is satisfied for what is to be run now."""
    missing = approvals.missing(world, GATE)
    return Seen(done=not missing, waits_for="")


def apply(world: World) -> Body:
    """Raise ApprovalMissing: only people can do more."""
    approvals.require(world, GATE)
    return {}


def undone(world: World) -> Seen:
    """An approval is for this run; going back needs nothing taken back."""
    return Seen(done=True)


def undo(world: World) -> Body:
    """Nothing was touched."""
    return {}


def price(world: World) -> Price:
    """Nothing."""
    return Price()
