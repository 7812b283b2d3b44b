"""Groups whose owner redeploys when it suits: their positions on the other side are kept current until then (DESIGN 6.2).

The primer seeds, primes and holds the gate; here is what that means for the move: what it waits for, and when it has arrived.
"""

from cutover.history import Body
from cutover.moves import crossing
from cutover.moves.crossing import Halfway, Waits
from cutover.plan import Group
from cutover.protocol import Side
from cutover.world import World


def waits_for(world: World, group: Group, to: Side) -> Waits | None:
    """The primer to be ready, then the owner's redeploy, then the gate to be opened."""
    told = world.primers.waits_for(world, group, to)
    if told:
        return Waits(told, on_person="redeploy" in told)
    return None


def halfway(world: World, group: Group) -> Halfway | None:  # noqa: ARG001 - every kind is asked alike
    """Its members work on until its owner redeploys them: nobody is kept waiting."""
    return None


def step(world: World, group: Group, to: Side) -> Body:
    """Its members are on the other side, on positions that were ours: write down that it has moved."""
    evidence = world.primers.finish(world, group, to)
    with world.act(f"write:{group.name}:{crossing.stay(world, group)}", group=group.name, side=to.value) as wrote:
        wrote.update(evidence)
    return crossing.arrived(world, group, to)
