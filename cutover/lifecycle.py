"""The life of a run: its states, the legal moves between them, and what is to be done next. Pure.

A run stands in a stage, which is done or being worked on, and has a goal: forward to `completed`, or back to an earlier stage.
`transitions` holds the legal moves and draws the diagram; `decide` is the one function that live runs and the simulator call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from transitions import Machine, MachineError

from cutover.errors import IllegalMove


class Stage(StrEnum):
    """Where a run can stand, in the words of the plan, the journal and the screens."""

    PLANNED = "planned"
    CHECKED = "checked"
    APPROVED = "approved"
    PROVISIONED = "provisioned"
    SYNCHRONIZING = "synchronizing"
    SYNCHRONIZED = "synchronized"
    DUAL_WRITING = "dual_writing"
    MOVING_GROUPS = "moving_groups"
    SWITCHING_WRITES = "switching_writes"
    SOAKING = "soaking"
    COMPLETED = "completed"
    ABORTED = "aborted"


class Order(StrEnum):
    """What comes first: moving the groups, switching the writes, or writing both topics."""

    GROUPS_FIRST = "groups_first"
    WRITES_FIRST = "writes_first"
    BOTH_FIRST = "both_first"


_BEGIN = (
    Stage.PLANNED,
    Stage.CHECKED,
    Stage.APPROVED,
    Stage.PROVISIONED,
    Stage.SYNCHRONIZING,
    Stage.SYNCHRONIZED,
)
_END = (Stage.SOAKING, Stage.COMPLETED)
SEQUENCE: Final = {
    Order.GROUPS_FIRST: (*_BEGIN, Stage.MOVING_GROUPS, Stage.SWITCHING_WRITES, *_END),
    Order.WRITES_FIRST: (*_BEGIN, Stage.SWITCHING_WRITES, Stage.MOVING_GROUPS, *_END),
    Order.BOTH_FIRST: (*_BEGIN, Stage.DUAL_WRITING, Stage.MOVING_GROUPS, Stage.SWITCHING_WRITES, *_END),
}
"""The stages of a run in their order; going back is the same sequence the other way."""

TERMINAL: Final = frozenset({Stage.COMPLETED, Stage.ABORTED})


def machine(order: Order, at: Stage = Stage.PLANNED) -> Any:  # noqa: ANN401
    """The machine of `transitions` for this order: triggers `advance`, `go_back`, `abort`."""
    sequence = SEQUENCE[order]
    built = Machine(states=[each.value for each in Stage], initial=at.value, auto_transitions=False, send_event=False)
    for here, there in pairwise(sequence):
        built.add_transition("advance", here.value, there.value)
        if there is not Stage.COMPLETED:
            built.add_transition("go_back", there.value, here.value)
    for stage in sequence[:-1]:
        built.add_transition("abort", stage.value, Stage.ABORTED.value)
    return built


def moved(order: Order, at: Stage, trigger: str) -> Stage:
    """The stage after a move; raises IllegalMove, and then nothing has happened."""
    built = machine(order, at)
    try:
        built.trigger(trigger)
    except MachineError as error:
        raise IllegalMove(f"from {at} there is no move {trigger}", stage=at.value, move=trigger) from error
    return Stage(built.state)


def mermaid() -> str:
    """The diagram of docs/lifecycle.md, drawn from the machine: all orders in one picture."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for order in Order:
        for trigger in ("advance", "go_back"):
            for move in machine(order).get_transitions(trigger):
                found.setdefault((move.source, move.dest, trigger), []).append(order.value)
    lines = ["stateDiagram-v2", f"    [*] --> {Stage.PLANNED}"]
    lines += [f"    {here} --> {there}{_label(trigger, orders)}" for (here, there, trigger), orders in found.items()]
    return "\n".join([*lines, f"    {Stage.COMPLETED} --> [*]"])


def _label(trigger: str, orders: Sequence[str]) -> str:
    words = (["undo"] if trigger == "go_back" else []) + (list(orders) if len(orders) < len(Order) else [])
    return f": {', '.join(words)}" if words else ""


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the driver is to end: a stage that is done, or, going back, an earlier one that all later ones were undone to."""

    to: Stage = Stage.COMPLETED
    back: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What the journal says of a run, as far as the decision needs it."""

    order: Order
    stage: Stage = Stage.PLANNED
    goal: Goal = Goal()
    paused: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed of the stage it stands in: done (or undone), or what it waits for and whether that is a person."""

    done: bool
    waits_for: str = ""
    on_person: bool = False
    late: bool = False
    """Whether its deadline has passed (it does not run while it waits for a person)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One bounded act of a stage: apply it, or undo it."""

    stage: Stage
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """What it stands in is done (or undone): enter this stage."""

    stage: Stage
    trigger: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now but to look again."""

    why: str
    on_person: bool = False


@dataclass(frozen=True, slots=True)
class TurnBack:
    """The deadline has passed and the plan says to roll back."""

    why: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing new may begin before a person has looked; what runs goes on."""

    why: str


@dataclass(frozen=True, slots=True)
class Halt:
    """The driver's work is over for now; the exit code says how."""

    exit_code: int
    why: str


Decision = Step | Reach | Wait | TurnBack | Pause | Halt

DONE, ROLLED_BACK, DECIDE = 0, 6, 7


def due(standing: Standing) -> Step | None:
    """What is worked on: the stage it stands in, or its undoing; None where there is nothing to do."""
    if standing.stage is Stage.ABORTED or (standing.goal.back and standing.stage is standing.goal.to):
        return None
    return Step(standing.stage, undo=standing.goal.back)


def decide(standing: Standing, seen: Seen | None, *, roll_back_when_late: bool = False) -> Decision:
    """What to do now. `seen` is what was observed of what is `due`; None when nothing is."""
    step = due(standing)
    if step is None or seen is None:
        return (
            Halt(DECIDE, "the run was aborted")
            if standing.stage is Stage.ABORTED
            else Halt(ROLLED_BACK, f"rolled back to {standing.stage}")
        )
    if seen.done:
        return _left(standing, undo=step.undo)
    if step.undo:
        return Wait(seen.waits_for, seen.on_person) if seen.waits_for else step
    if standing.paused:
        return _paused(standing)
    if seen.late:
        why = f"the deadline of {step.stage} has passed: {seen.waits_for or 'there is more to do'}"
        return TurnBack(why) if roll_back_when_late else Pause(why)
    return Wait(seen.waits_for, seen.on_person) if seen.waits_for else step


def _left(standing: Standing, *, undo: bool) -> Halt | Reach | Wait:
    """What follows on a stage that is done, or undone: a pause keeps the run from entering the next one, and not from going back."""
    if not undo and standing.stage is standing.goal.to:
        return Halt(DONE, f"{standing.stage} is done")
    return _paused(standing) if standing.paused and not undo else Reach(*_onward(standing, undo=undo))


def _paused(standing: Standing) -> Wait:
    return Wait(f"paused: {standing.paused}", on_person=True)


def _onward(standing: Standing, *, undo: bool) -> tuple[Stage, str]:
    trigger = "go_back" if undo else "advance"
    return moved(standing.order, standing.stage, trigger), trigger


def earlier(order: Order, stage: Stage, *, one_way: bool = False) -> Sequence[Stage]:
    """The stages that a run at this one can be rolled back to, nearest first; none from `completed`.

    `one_way`: the writes were switched under a plan without a way back.
    """
    if stage in TERMINAL or one_way:
        return ()
    sequence = SEQUENCE[order]
    return tuple(reversed(sequence[: sequence.index(stage)]))
