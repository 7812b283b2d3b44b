"""Producers into another mode: the flip begun, counted, finished after its commit point. Which mode when is for the stages to say.

What the flip is stands in cutover.flip.
"""

from cutover import flip, producers
from cutover.errors import AttemptsSpent, FlipUndone
from cutover.governance import approvals, windows
from cutover.history import Body
from cutover.lifecycle import Seen
from cutover.prices import Price
from cutover.protocol import Mode
from cutover.world import World

GATE = "flip"
BACKOFF_SECONDS = 1.0


def require_allowed(world: World) -> None:
    """The window is open and the gate has its approvals; the flip looks at everything else itself."""
    windows.require_open(world, "switching the writes")
    approvals.require(world, GATE)


def price(world: World, words: str) -> Price:
    """One hold."""
    taken = (world.fact("flip") or {}).get("ms", {}).get("released", 0.0)
    return Price(words=(words,), hold_seconds=max(0.1, taken / 1000))


def seen(world: World, to: Mode) -> Seen:
    """Whether producers are in this mode, mirror and audit are those of it, and hooks have started what they had stopped."""
    _keep(world)
    if world.pair.mode is not to:
        person = producers.waits_for_person(world, to)
        return Seen(done=False, waits_for=person or flip.waits_for(world), on_person=bool(person))
    if not producers.finished(world, to):
        person = producers.waits_for_start(world, to)
        return Seen(done=False, waits_for=person, on_person=bool(person))
    return Seen(done=all(each.keeper.running for each in world.pairs))


def _keep(world: World) -> None:
    for each in world.pairs:
        each.keeper.keep(audit=True)


def toward(world: World, to: Mode) -> Body:
    """One attempt, or what is left to do after one that succeeded."""
    if world.pair.mode is to:
        _keep(world)
        return producers.start(world, to)
    attempts = world.history.tries.get("flip", 0)
    if attempts >= world.plan.budgets.flip_attempts:
        raise AttemptsSpent(
            f"{attempts} attempts to switch the writes to {to} were undone",
            why="The plan allows no more of them without a person.",
            attempts=attempts,
        )
    producers.stop(world, world.pair.mode)
    try:
        evidence = flip.Attempt(world, to, fence_silent=attempts > 0).run()
    except FlipUndone as error:
        producers.start(world, world.pair.mode)
        world.tell(f"the switch was undone: {error.what}")
        world.watch.rest(BACKOFF_SECONDS * 2**attempts, f"the next attempt follows; the last was undone: {error.what}")
        return {"undone": error.document()}
    _keep(world)
    return evidence
