from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import IllegalMove
from cutover.lifecycle import (
    SEQUENCE,
    TERMINAL,
    Goal,
    Halt,
    Order,
    Pause,
    Reach,
    Seen,
    Stage,
    Standing,
    Step,
    TurnBack,
    Wait,
    decide,
    due,
    earlier,
    mermaid,
    moved,
)

DOCS = Path(__file__).parents[2] / "docs"
TRIGGERS = ("advance", "go_back", "abort")


def legal() -> set[tuple[Order, Stage, str, Stage]]:
    moves = set()
    for order, sequence in SEQUENCE.items():
        moves |= {(order, here, "advance", there) for here, there in pairwise(sequence)}
        moves |= {(order, there, "go_back", here) for here, there in pairwise(sequence) if there is not Stage.COMPLETED}
        moves |= {(order, stage, "abort", Stage.ABORTED) for stage in sequence[:-1]}
    return moves


@pytest.mark.parametrize(("order", "stage", "trigger"), list(product(Order, Stage, TRIGGERS)))
def test_a_move_leads_where_the_table_says_and_any_other_is_refused(order: Order, stage: Stage, trigger: str) -> None:
    wanted = {there for o, here, t, there in legal() if (o, here, t) == (order, stage, trigger)}
    if wanted:
        assert moved(order, stage, trigger) in wanted
    else:
        with pytest.raises(IllegalMove):
            moved(order, stage, trigger)


def test_there_is_no_way_back_from_the_end() -> None:
    assert earlier(Order.GROUPS_FIRST, Stage.COMPLETED) == ()
    assert earlier(Order.GROUPS_FIRST, Stage.ABORTED) == ()


def test_a_run_can_go_back_to_every_stage_before_it_nearest_first() -> None:
    assert earlier(Order.WRITES_FIRST, Stage.MOVING_GROUPS)[:2] == (Stage.SWITCHING_WRITES, Stage.SYNCHRONIZED)
    assert earlier(Order.WRITES_FIRST, Stage.SOAKING)[-1] is Stage.PLANNED
    assert earlier(Order.WRITES_FIRST, Stage.SOAKING, one_way=True) == ()


def test_what_is_not_done_is_worked_on() -> None:
    standing = Standing(Order.GROUPS_FIRST, Stage.PROVISIONED)
    assert due(standing) == Step(Stage.PROVISIONED)
    assert decide(standing, Seen(done=False)) == Step(Stage.PROVISIONED)


def test_what_is_done_leads_on_and_the_goal_ends_the_run() -> None:
    assert decide(Standing(Order.GROUPS_FIRST, Stage.SYNCHRONIZED), Seen(done=True)) == Reach(Stage.MOVING_GROUPS, "advance")
    assert decide(Standing(Order.WRITES_FIRST, Stage.SYNCHRONIZED), Seen(done=True)) == Reach(Stage.SWITCHING_WRITES, "advance")
    reached = decide(Standing(Order.GROUPS_FIRST, Stage.SYNCHRONIZED, Goal(Stage.SYNCHRONIZED)), Seen(done=True))
    assert reached == Halt(0, "synchronized is done")


def test_what_waits_is_waited_for() -> None:
    assert decide(Standing(Order.GROUPS_FIRST, Stage.SOAKING), Seen(done=False, waits_for="time")) == Wait("time")


def test_a_pause_stops_acts_and_keeps_a_run_from_the_next_stage() -> None:
    standing = Standing(Order.GROUPS_FIRST, Stage.MOVING_GROUPS, paused="lunch")
    assert decide(standing, Seen(done=False)) == Wait("paused: lunch", on_person=True)
    assert decide(standing, Seen(done=True)) == Wait("paused: lunch", on_person=True)
    soaked = Standing(Order.GROUPS_FIRST, Stage.SOAKING, paused="lunch")
    assert decide(soaked, Seen(done=True)) == Wait("paused: lunch", on_person=True)
    assert decide(Standing(Order.GROUPS_FIRST, Stage.SOAKING, Goal(Stage.SOAKING), "lunch"), Seen(done=True)) == Halt(0, "soaking is done")


def test_a_pause_does_not_stop_going_back() -> None:
    standing = Standing(Order.GROUPS_FIRST, Stage.MOVING_GROUPS, Goal(Stage.PLANNED, back=True), paused="lunch")
    assert decide(standing, Seen(done=False)) == Step(Stage.MOVING_GROUPS, undo=True)
    assert decide(standing, Seen(done=True)) == Reach(Stage.SYNCHRONIZED, "go_back")


def test_a_deadline_that_passed_turns_back_or_asks_a_person_as_the_plan_says() -> None:
    standing, late = Standing(Order.GROUPS_FIRST, Stage.SYNCHRONIZING), Seen(done=False, waits_for="the mirror", late=True)
    why = "the deadline of synchronizing has passed: the mirror"
    assert decide(standing, late, roll_back_when_late=True) == TurnBack(why)
    assert decide(standing, late) == Pause(why)


def test_going_back_knows_no_deadline() -> None:
    standing = Standing(Order.GROUPS_FIRST, Stage.SYNCHRONIZING, Goal(Stage.PLANNED, back=True))
    assert decide(standing, Seen(done=False, late=True), roll_back_when_late=True) == Step(Stage.SYNCHRONIZING, undo=True)


def test_a_run_that_is_back_says_so_with_its_own_exit_code() -> None:
    standing = Standing(Order.GROUPS_FIRST, Stage.CHECKED, Goal(Stage.CHECKED, back=True))
    assert due(standing) is None
    assert decide(standing, None) == Halt(6, "rolled back to checked")


def test_an_aborted_run_does_nothing_more() -> None:
    standing = Standing(Order.GROUPS_FIRST, Stage.ABORTED)
    assert due(standing) is None
    halted = decide(standing, None)
    assert isinstance(halted, Halt)
    assert halted.exit_code == 7


@given(st.sampled_from(Order), st.data())
def test_whatever_is_seen_forward_and_back_meet_every_stage_in_order(order: Order, data: st.DataObject) -> None:
    """A walk that always sees done ends at its goal, and passes each stage between once."""
    sequence = SEQUENCE[order]
    start, goal = data.draw(st.sampled_from(sequence[:-1])), data.draw(st.sampled_from(sequence[:-1]))
    back = sequence.index(goal) < sequence.index(start)
    standing, passed = Standing(order, start, Goal(goal, back=back)), [start]
    while isinstance(decision := decide(standing, Seen(done=True) if due(standing) else None), Reach):
        standing = Standing(order, decision.stage, standing.goal)
        passed.append(decision.stage)
    here, there = sequence.index(start), sequence.index(goal)
    assert passed == list(sequence[here : there + 1] if not back else reversed(sequence[there : here + 1]))
    assert isinstance(decision, Halt)


def test_completed_and_aborted_are_the_only_ends() -> None:
    assert {Stage.COMPLETED, Stage.ABORTED} == TERMINAL


def test_the_diagram_on_the_page_is_drawn_from_the_machine() -> None:
    assert mermaid() in (DOCS / "lifecycle.md").read_text()
