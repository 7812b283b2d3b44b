"""synchronized: everything that was mirrored is proved equal, and the audit stays close behind the mirror from now on."""

from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.world import World


def check(world: World) -> None:
    """Nothing stands against it."""


def done(world: World) -> Seen:
    """A verified cut exists and is not older than the bound."""
    world.keeper.keep(audit=True)
    age, bound = world.keeper.audit_age_seconds(), world.plan.budgets.audit_age
    if age is None:
        return Seen(done=False, waits_for=f"the audit: {world.keeper.audit_words()}")
    if age > bound:
        return Seen(done=False, waits_for=f"the audit: the last verified cut is {age:.1f} s old, above {bound:g} s")
    return Seen(done=True)


def apply(world: World) -> Body:
    """The audit works by itself."""
    world.keeper.keep(audit=True)
    return {}


def undone(world: World) -> Seen:
    """The audit has ended."""
    return Seen(done=not world.keeper.auditing)


def undo(world: World) -> Body:
    """End the audit; it changed nothing."""
    world.keeper.end_audit()
    return {}


def price(world: World) -> Price:
    """Nothing."""
    return Price()
