"""checked: everything that could stop the run was looked at, all findings at once."""

from cutover import preflight
from cutover.errors import PreflightRed
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.world import World

STEP = "preflight"


def check(world: World) -> None:
    """Nothing stands against looking."""


def done(world: World) -> Seen:
    """The last look found nothing in the way."""
    found = world.fact(STEP)
    return Seen(done=found is not None and not found["in_the_way"])


def apply(world: World) -> Body:
    """Look at everything; raises PreflightRed with every finding that stands in the way."""
    with world.act(STEP) as evidence:
        found = examine(world)
        blocking = preflight.standing_in_the_way(found, world.plan.acknowledged)
        evidence["findings"] = [each.document() for each in found]
        evidence["in_the_way"] = sorted({each.id for each in blocking})
    for each in found:
        world.tell(f"preflight {each.severity}: {each.id} {each.what}")
    if blocking:
        first = blocking[0]
        raise PreflightRed(
            f"{len(blocking)} findings stand in the way; the first is {first.id}: {first.what}",
            why=first.why,
            advice=first.next,
            findings=[each.document() for each in blocking],
        )
    return evidence


def examine(world: World) -> tuple[preflight.Finding, ...]:
    """Every finding, now, of every pair."""
    return preflight.of_every_pair(_of_pair(each) for each in world.pairs)


def _of_pair(world: World) -> tuple[preflight.Finding, ...]:
    ours = str((world.fact("create_target") or {}).get("topic_id", ""))
    return preflight.findings(world.plan, preflight.survey(world.cluster, world.reader, world.plan, world.log.state, ours=ours))


def undone(world: World) -> Seen:
    """Nothing was touched."""
    return Seen(done=True)


def undo(world: World) -> Body:
    """Nothing to undo."""
    return {}


def price(world: World) -> Price:
    """Nothing."""
    return Price()
