"""What others ask of a running driver: pause, resume, roll back, abort, confirm, approve, set a rate. One table of verbs.

A request is written into the journal by whoever asks, is carried out by the driver between two acts, and is answered there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cutover import board, flip, goals, moves, stragglers
from cutover.errors import Ambiguous, CutoverError, GroupsOnFollower, LeaseLost, NotReversible, PlanWrong, Violation
from cutover.history import Body
from cutover.lifecycle import Stage
from cutover.model import Isolation
from cutover.plan import Group
from cutover.protocol import Leave, Side
from cutover.world import World


class Request(Protocol):
    """One request as the journal has it."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def verb(self) -> str:
        """One of the verbs here."""

    @property
    def body(self) -> Body:
        """Its arguments."""

    @property
    def by(self) -> str:
        """Who asks."""


class Inbox(Protocol):
    """The open requests of the run."""

    def asked(self) -> Sequence[Request]:
        """In the order they were made."""

    def answer(self, request: Any, outcome: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Close a request."""


def obey(world: World, inbox: Inbox) -> None:
    """Carry out what was asked for; whatever goes wrong is the answer, so that no request is met twice, and the run goes on.

    A violation, and a write that may or may not have happened, are the run's own matter too and are raised once they are answered.
    """
    for request in inbox.asked():
        try:
            words = VERBS[request.verb](world, request.body, request.by) if request.verb in VERBS else _unknown(request.verb)
        except LeaseLost:
            raise
        except CutoverError as error:
            inbox.answer(request, {"refused": error.document()})
            if isinstance(error, (Violation, Ambiguous)):
                raise
            continue
        inbox.answer(request, {"done": words})
        world.tell(f"{request.by}: {words}")


def _unknown(verb: str) -> str:
    raise PlanWrong(f"there is no request {verb}", known=sorted(VERBS))


def _pause(world: World, body: Body, by: str) -> str:
    why = str(body.get("reason") or f"by {by}")
    world.record("decision", "pause", {"paused": why, "by": by})
    return f"paused: {why}; mirror, audit and primers go on"


def _resume(world: World, _: Body, by: str) -> str:
    world.record("decision", "resume", {"paused": "", "by": by})
    return "resumed"


def _roll_back(world: World, body: Body, by: str) -> str:
    to = Stage(body["to"])
    goals.turn_back(world, to, f"{body['reason']} (by {by})")
    return f"rolling back to {to}: {body['reason']}"


def _abort(world: World, body: Body, by: str) -> str:
    there = sorted({name for each in world.pairs if each.paired for name in each.on_follower})
    if there and not body.get("handed_over"):
        raise GroupsOnFollower(
            f"{', '.join(there)} read the topic that only the mirror keeps equal",
            why="Ending here would leave them without new records.",
            groups=there,
        )
    left = [words for each in world.pairs for words in _left(each)]
    left += [f"{group.name} was stopped for its move and stands still" for group, _ in moves.standing_still(world)]
    world.record(
        "state", "abort", {"stage": Stage.ABORTED.value, "trigger": "abort", "reason": body.get("reason", ""), "by": by, "left": left}
    )
    return f"aborted, and touched nothing more. {'; '.join(left)}"


def _left(world: World) -> list[str]:
    """The state of both topics, for whoever has to deal with them now."""
    said = [board.traffic(world)]
    for topic in world.cluster.topic_names() & {world.plan.source.topic, world.plan.target.topic}:
        found = world.cluster.describe_topics([topic])[topic]
        ends = world.cluster.end_offsets(found.topic_partitions(), Isolation.READ_COMMITTED)
        said.append(f"{topic} ({found.topic_id}) has {len(ends)} partitions that end at {sum(ends.values()):,} offsets in all")
    pinned = (world.fact("pin_source") or {}).get("before")
    if pinned:
        said.append(
            f"configs of {world.plan.source.topic} before the run: {', '.join(f'{name}={value}' for name, value in pinned.items())}"
        )
    return said


def _confirm(world: World, body: Body, by: str) -> str:
    subject, word = str(body["subject"]), str(body["word"])
    if word not in {"stopped", "started"}:
        raise PlanWrong(f"{word!r} is neither stopped nor started")
    for group in world.whole.groups:
        if group.name == subject:
            step, verb = moves.confirmed(world, group, word)
            world.having(group)[0].record("outcome", step, {"by": by, "confirmed": word, "verb": verb})
            return f"{subject} is {word}, says {by}"
    for producer in world.whole.producers:
        if producer.name == subject:
            _require_pair(world)
            running, here = word == "started", world.having(producer)[0]
            here.record("outcome", f"producer:{subject}", {"by": by, "running": running, "side": here.pair.mode.value})
            return f"{subject} is {word}, says {by}"
    raise PlanWrong(f"the plan names no group and no producer {subject!r}", subject=subject)


def _require_pair(world: World, *, copying: bool = False) -> None:
    if not world.all_paired or (copying and not all(each.keeper.copies and each.keeper.running for each in world.pairs)):
        what = "nothing is copied now" if world.all_paired else "the pair is not open"
        raise PlanWrong(f"{what}: the run is in {world.history.standing.stage}", stage=world.history.standing.stage.value)


def _approve(world: World, body: Body, by: str) -> str:
    world.record("decision", "approval", {"approval": {**body, "by": by}})
    return f"{body['name']} approves the gate {body['gate']}"


def _forget(world: World, body: Body, by: str) -> str:
    name = str(body["instance"])
    if name not in world.log.state.instances:
        raise PlanWrong(f"the control log knows no instance {name!r}", known=sorted(world.log.state.instances))
    world.log.say(Leave(instance=name, by=by, reason=str(body["reason"])))
    return f"{name} is gone, says {by}: {body['reason']}"


def _rate(world: World, body: Body, _: str) -> str:
    _require_pair(world, copying=True)
    said = [each.keeper.limit(str(body["rate"])) for each in world.pairs]
    return said[0]


def _clear(world: World, body: Body, by: str) -> str:
    _require_pair(world, copying=True)
    said = flip.clear_audits(world, f"{body['reason']} (by {by})")
    _resume(world, body, by)
    return said


def _forward(world: World, _: Body, by: str) -> str:
    _require_pair(world)
    found = {each.scope: stragglers.undealt(each) for each in world.pairs}
    for each in world.pairs:
        if found[each.scope]:
            stragglers.forward(each, found[each.scope])
    return f"{sum(map(len, found.values()))} records of stragglers were carried over, asked by {by}"


def _price(world: World, body: Body, _: str) -> str:
    """What a rollback, or moving one group, would cost now, as lines: asked before it is ordered."""
    if "group" in body:
        _require_movable(world, Side(body["to"]))
        return "\n".join(moves.price(world, _group(world, str(body["group"])), Side(body["to"])).lines())
    goals.require_reversible(world, Stage(body["to"]))
    return "\n".join(goals.price(world, Stage(body["to"])).lines())


def _move(world: World, body: Body, by: str) -> str:
    group, to = _group(world, str(body["group"])), Side(body["to"])
    _require_movable(world, to)
    here = world.having(group)
    here[0].record("outcome", f"wanted:{group.name}", {"side": to.value, "by": by, "reason": body.get("reason", "")})
    return f"{group.name} is to read {' and '.join(each.topic(to).name for each in here)}"


def _require_movable(world: World, to: Side) -> None:
    """Refuse what cannot be: before there is a pair, on the way back, against a drain's order, and where nothing is copied back."""
    stage = world.history.standing.stage
    why = ""
    if world.history.standing.goal.back:
        why = "The run is on its way back, and takes every group with it."
    elif world.paired and world.plan.strategy == "drain" and to is Side.TARGET and 1 not in world.pair.cuts:
        why = "Nothing is on the target before the writes are switched."
    elif world.one_way and to is Side.SOURCE:
        why = "The plan says way_back: none, and the writes are switched: nothing is copied back."
    if why or not world.all_paired:
        raise NotReversible(f"no group can be moved to the {to.value.lower()} now", why=why or "The pair is not open.", stage=stage.value)


def _group(world: World, name: str) -> Group:
    for group in world.whole.groups:
        if group.name == name:
            return group
    raise PlanWrong(f"the plan names no group {name!r}", known=[each.name for each in world.whole.groups])


def _prime(world: World, body: Body, _: str) -> str:
    for each in world.pairs:
        each.primers.interval_seconds = float(body["seconds"])
    return f"positions are primed at most every {world.primers.interval_seconds:g} s"


VERBS: Mapping[str, Callable[[World, Body, str], str]] = {
    "pause": _pause,
    "resume": _resume,
    "rollback": _roll_back,
    "abort": _abort,
    "confirm": _confirm,
    "approve": _approve,
    "forget": _forget,
    "forward": _forward,
    "price": _price,
    "move": _move,
    "clear": _clear,
    "rate": _rate,
    "prime": _prime,
}
