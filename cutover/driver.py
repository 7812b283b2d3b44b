"""The one loop: hear who asks, observe, decide, act, confirm. One driver runs a plan; many may watch.

What is left to do is derived from the live cluster and the control log; the journal says what was meant and what was found.
Reads and repeatable acts are tried again while the cluster does not answer; an unknown outcome ends the loop.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from cutover import board, flip, goals, moves, requests
from cutover.errors import ApprovalMissing, AuditViolation, CutoverError, DeadlinePassed, FlipUndone, LeaseLost, Unreachable, WindowClosed
from cutover.history import Body
from cutover.lifecycle import SEQUENCE, TERMINAL, Decision, Halt, Pause, Reach, Seen, Stage, Step, TurnBack, Wait, decide, due
from cutover.protocol import Mode, Side
from cutover.stages import STAGES, Acts
from cutover.world import World

TICK_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
PUBLISH_SECONDS = 1.0
MOST_UNANSWERED = 6
GATE_SECONDS = 2.0


class Tenure(Protocol):
    """The right to drive, to write into the journal, and to be asked: cutover.journal.Tenure."""

    def renew(self) -> None:
        """Keep it; raises LeaseLost. Called often, does little."""

    def publish(self, body: Body) -> None:
        """Show how the run stands to whoever watches."""

    def asked(self) -> Sequence[requests.Request]:
        """The open requests."""

    def answer(self, request: Any, outcome: Mapping[str, Any]) -> None:  # noqa: ANN401
        """Close a request."""


@dataclass(slots=True)
class Driver:
    """Drives one run. `wait` sleeps, and is True once somebody has asked this process to stop.

    A driver that is `patient` does not leave while the pair is open: what stops it becomes a pause, in which mirror, audit and
    primers go on, since groups may stand on the follower.
    """

    world: World
    tenure: Tenure
    wait: Callable[[float], bool]
    show: Callable[[World, Seen | None], None]
    patient: bool = False
    worked_seconds: float = 0.0
    """Time in this stage, waiting for people left out."""
    _published: float = 0.0
    _looked: float = field(default_factory=time.monotonic)
    _seen: Seen | None = None
    _astray: list[moves.Journey] = field(default_factory=list)
    """Groups that somebody asked to have elsewhere."""
    _red: str = ""
    """What the audit found while both topics were written, until it is set aside."""

    def drive(self) -> Halt | None:
        """Until there is nothing more to do; None when this process was asked to stop at a safe point."""
        for each in self.world.pairs:
            each.beat = self._beat
        self._settle()
        while True:
            try:
                decision = self._next()
                if isinstance(decision, Halt):
                    return self._ended(decision)
                self._carry_out(decision)
            except LeaseLost:
                raise
            except CutoverError as error:
                decision = self._stopped(error)
            self._publish(self._seen)
            if self.wait(TICK_SECONDS if isinstance(decision, Wait) else 0):
                return None

    def _ended(self, halt: Halt) -> Halt:
        """Close the journal of a run that is over for good."""
        if self.world.history.standing.stage in TERMINAL and not self.world.history.ended:
            self.world.record("ended", "ended", {"stage": self.world.history.standing.stage.value, "why": halt.why})
        self.tenure.publish(board.document(self.world, Seen(done=True)))
        return halt

    def _next(self) -> Decision:
        """Hear everybody, observe, decide."""
        self._beat()
        requests.obey(self.world, self.tenure)
        self._set_aside()
        self._seen = self._look()
        return decide(self.world.history.standing, self._seen, roll_back_when_late=self.world.plan.budgets.on_deadline == "roll_back")

    def _publish(self, seen: Seen | None) -> None:
        """Once a second for those who watch elsewhere; here as often as it is looked."""
        self.show(self.world, seen)
        if time.monotonic() - self._published >= PUBLISH_SECONDS:
            self._published = time.monotonic()
            self.tenure.publish(board.document(self.world, seen))

    def _carry_out(self, decision: Reach | Step | TurnBack | Pause | Wait) -> None:
        match decision:
            case Reach():
                self._enter(decision)
            case Step():
                self._act(decision)
            case TurnBack():
                goals.turn_back(self.world, Stage.PLANNED, decision.why)
            case Pause():
                self._pause(DeadlinePassed(decision.why, why="The plan says how long a stage may take."))
            case Wait():
                pass

    def _stopped(self, error: CutoverError) -> Wait:
        """An error on the way: the run pauses where it is, or tries again in a while when it is going back."""
        if isinstance(error, AuditViolation) and self._can_leave_both():
            return self._leave_both(error)
        if not (self.patient and self.world.paired):
            raise error
        if self.world.history.standing.goal.back:
            self.world.watch.stumble(f"{error.id}: {error.what}", self.world.tell)
        else:
            self._pause(error)
        return Wait(error.what, on_person=True)

    def _can_leave_both(self) -> bool:
        """Whether both topics are written and nobody reads the target: no position on it says what a reader has missed there."""
        world = self.world
        if not world.paired or world.pair.mode is not Mode.DUAL or moves.standing_still(world):
            return False
        return not any(moves.stands_on(world, each, Side.TARGET) for each in world.whole.groups)

    def _leave_both(self, error: AuditViolation) -> Wait:
        """Two topics that differ are written no longer: the source is whole by itself, and the target is made anew."""
        self._red = f"{error.id}: {error.what}"
        standing = self.world.history.standing
        sequence = SEQUENCE[standing.order]
        if not standing.goal.back or sequence.index(standing.goal.to) > sequence.index(Stage.APPROVED):
            goals.turn_back(self.world, Stage.APPROVED, self._red)
        return Wait(error.what)

    def _set_aside(self) -> None:
        """What is known to differ must not hold up the way back: the audit goes on from a cut of now."""
        if self._red and not self.world.watch.resting_words():
            try:
                self.world.tell(flip.clear_audits(self.world, f"on the way back, since {self._red}"))
            except FlipUndone as error:
                self.world.watch.rest(GATE_SECONDS, f"another cut; not now: {error.what}")
            else:
                self._red = ""

    def _pause(self, error: CutoverError) -> None:
        """Write down why, once; `cutover resume` goes on, `cutover rollback` goes back."""
        if not (self.patient and self.world.paired):
            raise error
        why = f"{error.id}: {error.what}"
        self.worked_seconds = 0.0
        if self.world.history.standing.paused == why:
            return
        self.world.record("decision", "pause", {"paused": why, "error": error.document()})
        self.world.tell(f"paused: {why}")
        for words in (error.why, error.traffic_now, f"next: {error.next}"):
            if words:
                self.world.tell(f"  {words}")

    def _beat(self) -> None:
        """What must go on whatever is being done: the lease, the processes, the log, the primers."""
        self.tenure.renew()
        for each in self.world.pairs:
            each.keeper.tick()
        self.world.log.refresh()
        for each in self.world.pairs:
            moves.tick(each)

    def _settle(self) -> None:
        """Point-in-time facts of a former driver are void: what it left open is undone or finished by looking."""
        world = self.world
        if world.has_control:
            world.log.catch_up()
        for each in world.pairs:
            if each.paired:
                self._settle_pair(each)

    def _settle_pair(self, world: World) -> None:
        for words in (flip.settle(world), *moves.settle(world)):
            if words:
                world.tell(words)
                world.record("note", "settled", {"words": words})

    def _look(self) -> Seen | None:
        """Observe the stage that is due; its deadline runs while it does not wait for a person."""
        step = due(self.world.history.standing)
        if step is None:
            return None
        resting = self.world.watch.resting_words()
        seen = Seen(done=False, waits_for=resting) if resting else _patiently()(self._observed, step)
        now = time.monotonic()
        self.worked_seconds += 0.0 if seen.on_person or self.world.history.standing.paused else now - self._looked
        self._looked = now
        late = self.worked_seconds > self.world.plan.budgets.stage and not seen.done
        return Seen(seen.done, seen.waits_for, seen.on_person, late) if late else seen

    def _observed(self, step: Step) -> Seen:
        """A group that is wanted elsewhere goes before the stage."""
        self._astray = self._first(step) if self.world.all_paired else []
        if self._astray:
            for each in self.world.pairs:
                each.keeper.keep(audit=not step.undo)
            return moves.seen(self.world, self._astray)
        stage = STAGES[step.stage]
        return stage.undone(self.world) if step.undo else stage.done(self.world)

    def _first(self, step: Step) -> list[moves.Journey]:
        """Forward, the groups that are wanted elsewhere; on the way back those that stand still, but where groups go back themselves."""
        if not step.undo:
            return moves.astray(self.world)
        return [] if step.stage is Stage.MOVING_GROUPS else moves.standing_still(self.world)

    def _enter(self, reach: Reach) -> None:
        """The next stage is entered when its own check allows it."""
        if reach.trigger == "advance" and not self._allowed(reach.stage):
            return
        self.world.record("state", reach.trigger, {"stage": reach.stage.value, "trigger": reach.trigger})
        self.world.tell(f"{'back to' if reach.trigger == 'go_back' else 'now'} {reach.stage}")
        self.worked_seconds = 0.0

    def _allowed(self, stage: Stage) -> bool:
        """Whether its own check lets the run in; a gate that people open is waited for once the pair is open."""
        try:
            _patiently()(STAGES[stage].check, self.world)
        except (ApprovalMissing, WindowClosed) as error:
            if not (self.patient and self.world.paired):
                raise
            if self.world.watch.resting != error.what:
                self.world.tell(f"waiting before {stage}: {error.what}; {error.next}")
            self.world.watch.rest(GATE_SECONDS, error.what)
            return False
        return True

    def _act(self, step: Step) -> None:
        stage: Acts = STAGES[step.stage]
        try:
            if self._astray:
                moves.act(self.world, self._astray)
            else:
                (stage.undo if step.undo else stage.apply)(self.world)
        except FlipUndone as error:  # nobody was held, or everybody was let go: the stage decides about another attempt
            tries = self.world.history.tries.get(flip.HELD_CUT, 0)
            self.world.watch.rest(2.0**tries, f"the next attempt; not now: {error.what}")
        except Unreachable as error:
            if self.world.watch.unanswered >= MOST_UNANSWERED:
                raise
            self.world.watch.stumble(f"the cluster did not answer: {error.what}", self.world.tell)
        else:
            self.world.watch.unanswered = 0


def _patiently() -> Retrying:
    """For reads alone."""
    return Retrying(
        retry=retry_if_exception_type(Unreachable), stop=stop_after_delay(PATIENCE_SECONDS), wait=wait_exponential(0.2, max=5), reraise=True
    )
