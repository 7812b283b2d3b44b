"""Producers that are not on the client library: stopped before a flip, started after it, by a hook or by a person.

A person also does it for an application that writes both topics by its own code.

Whether they run, and on which side, is what was done last; that the old side is quiet is for the flip to see.
"""

from cutover.history import Body
from cutover.plan import Producer
from cutover.protocol import Mode
from cutover.world import World


def stop(world: World, mode: Mode) -> None:
    """Run the stop hooks of everybody who runs; a flip that is undone starts them again."""
    for each in _of_kind(world, "hook"):
        if _runs(world, each):
            world.hooks.run(_home(world, each), each, f"stop_{mode.value.lower()}", f"producer:{each.name}", running=False, side=mode.value)


def start(world: World, mode: Mode) -> Body:
    """Run the start hooks of everybody who does not run on this side."""
    started = []
    for each in _of_kind(world, "hook"):
        if not _runs_on(world, each, mode):
            world.hooks.run(_home(world, each), each, f"start_{mode.value.lower()}", f"producer:{each.name}", running=True, side=mode.value)
            started.append(each.name)
    return {"started": started}


def finished(world: World, mode: Mode) -> bool:
    """Whether everybody who was stopped runs on this side again."""
    return all(_runs_on(world, each, mode) for each in (*_of_kind(world, "hook"), *_by_person(world)))


def waits_for_person(world: World, to: Mode) -> str:
    """Which producers a person has to stop before a flip."""
    left = [each for each in _by_person(world) if _runs(world, each)]
    return _ask(world, left, "stop writing", "stopped") if left and world.pair.mode is not to else ""


def waits_for_start(world: World, to: Mode) -> str:
    """Which producers a person has to start after it."""
    left = [each for each in _by_person(world) if not _runs_on(world, each, to)]
    return _ask(world, left, "start writing", "started") if left else ""


def _written(world: World) -> str:
    """What producers write now, in words."""
    told = world.pair.told
    return f"both {told.source.name} and {told.target.name}" if world.pair.mode is Mode.DUAL else world.pair.primary.name


def _by_person(world: World) -> list[Producer]:
    return [*_of_kind(world, "manual"), *_of_kind(world, "own_dual_write")]


def _ask(world: World, left: list[Producer], act: str, word: str) -> str:
    first = left[0]
    topics = " and ".join(_written(each) for each in world.having(first))
    return f"{first.owner} to have {first.name} {act} {topics}; then: cutover confirm {world.plan.cutover} {first.name} {word}"


def _of_kind(world: World, kind: str) -> list[Producer]:
    return [each for each in world.whole.producers if each.switch_kind == kind]


def _home(world: World, producer: Producer) -> World:
    """The first pair that it writes: it is stopped and started once, whatever it writes."""
    return world.having(producer)[0]


def _runs(world: World, producer: Producer) -> bool:
    fact = _home(world, producer).fact(f"producer:{producer.name}")
    return fact is None or bool(fact["running"])


def _runs_on(world: World, producer: Producer, mode: Mode) -> bool:
    fact = _home(world, producer).fact(f"producer:{producer.name}")
    if fact is None:
        return world.pair.epoch == 0 or mode is Mode.SOURCE
    return bool(fact["running"]) and fact["side"] == mode.value
