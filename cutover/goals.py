"""Where a run is to go: its goal, and what going back to an earlier stage would cost."""

from cutover.errors import IllegalMove, NotReversible
from cutover.lifecycle import SEQUENCE, Goal, Order, Stage, earlier
from cutover.prices import Price, together
from cutover.stages import STAGES
from cutover.world import World


def turn_back(world: World, to: Stage, why: str) -> None:
    """From now on the goal is to undo everything after this stage; raises NotReversible."""
    require_reversible(world, to)
    world.record("decision", "goal", {"goal": {"to": to.value, "back": True}, "reason": why, "paused": ""})
    world.tell(f"rolling back to {to}: {why}")


def require_stage(order: Order, to: Stage) -> None:
    """Refuse a stage that runs of this order do not have: forward, it would never be reached."""
    if to not in SEQUENCE[order]:
        raise IllegalMove(
            f"a run with order {order} has no stage {to}",
            why=f"Its stages are {', '.join(SEQUENCE[order])}.",
            advice="Name one of them, and run the command again.",
            stage=to.value,
        )


def require_reversible(world: World, to: Stage) -> None:
    """Refuse a stage that the run has not passed, or that a plan without a way back cannot reach any more."""
    standing = world.history.standing
    possible = earlier(standing.order, standing.stage, one_way=world.one_way)
    if to not in possible:
        one_way = " The plan says way_back: none, and the writes are switched." if world.one_way else ""
        raise NotReversible(
            f"a run in {standing.stage} cannot be rolled back to {to}",
            why=f"It can go back to: {', '.join(possible) or 'nowhere'}.{one_way}",
            stage=standing.stage.value,
            to=to.value,
        )


def go_forward(world: World, to: Stage) -> None:
    """From now on the goal is to reach this stage; a pause is over."""
    standing = world.history.standing
    if standing.goal != Goal(to) or standing.paused:
        world.record("decision", "goal", {"goal": {"to": to.value, "back": False}, "paused": ""})


def price(world: World, to: Stage) -> Price:
    """What undoing everything after this stage costs now, the nearest first."""
    sequence = SEQUENCE[world.history.standing.order]
    undone = sequence[sequence.index(to) + 1 : sequence.index(world.history.standing.stage) + 1]
    return together(STAGES[each].price(world) for each in reversed(undone))
