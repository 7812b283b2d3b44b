from dataclasses import dataclass, field
from typing import Any

from cutover.history import History
from cutover.lifecycle import Goal, Order, Stage


@dataclass(frozen=True)
class Entry:
    kind: str
    step: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    stage: str = "planned"


def history(*entries: Entry) -> History:
    return History.of(Order.GROUPS_FIRST, entries)


def test_a_run_stands_where_it_was_last_said_to_be() -> None:
    told = history(Entry("state", body={"stage": "checked", "trigger": "advance"}))
    assert told.standing.stage is Stage.CHECKED


def test_an_intent_without_an_outcome_is_unsettled() -> None:
    assert history(Entry("intent", "create", {"topic": "t"})).unsettled == {"create": {"topic": "t"}}


def test_an_outcome_settles_its_intent_and_is_a_fact() -> None:
    told = history(Entry("intent", "create"), Entry("outcome", "create", {"id": 1}))
    assert told.unsettled == {}
    assert told.facts == {"create": {"id": 1}}


def test_a_failure_settles_its_intent_and_is_no_fact() -> None:
    told = history(Entry("intent", "create"), Entry("outcome", "create", {"failed": {"id": "CUT"}}))
    assert told.unsettled == {}
    assert told.facts == {}


def test_going_back_takes_the_facts_of_the_undone_stage_and_leaves_the_others() -> None:
    told = history(
        Entry("outcome", "pin", {"a": 1}, stage="approved"),
        Entry("state", body={"stage": "provisioned", "trigger": "advance"}, stage="approved"),
        Entry("outcome", "create", {"b": 1}, stage="provisioned"),
        Entry("intent", "tell", {}, stage="provisioned"),
        Entry("state", body={"stage": "approved", "trigger": "go_back"}, stage="provisioned"),
    )
    assert told.facts == {"pin": {"a": 1}}
    assert told.unsettled == {}


def test_how_often_a_step_succeeded_is_kept_for_ever() -> None:
    told = history(
        Entry("state", body={"stage": "moving_groups", "trigger": "advance"}),
        Entry("outcome", "moved:g", stage="moving_groups"),
        Entry("state", body={"stage": "synchronized", "trigger": "go_back"}, stage="moving_groups"),
        Entry("outcome", "moved:g", stage="synchronized"),
    )
    assert told.done["moved:g"] == 2


def test_goal_and_pause_are_decisions() -> None:
    told = history(Entry("decision", body={"goal": {"to": "checked", "back": True}}), Entry("decision", body={"paused": "lunch"}))
    assert told.standing.goal == Goal(Stage.CHECKED, back=True)
    assert told.standing.paused == "lunch"


def test_approvals_are_kept_in_order() -> None:
    told = history(Entry("decision", body={"approval": {"name": "a"}}), Entry("decision", body={"approval": {"name": "b"}}))
    assert [each["name"] for each in told.approvals] == ["a", "b"]


def test_what_a_stage_did_is_forgotten_once_it_was_undone() -> None:
    told = history(
        Entry("outcome", "begin", {"id": 1}),
        Entry("state", body={"stage": "checked", "trigger": "advance"}),
        Entry("outcome", "look", {"found": 2}, stage="checked"),
        Entry("intent", "look", stage="checked"),
        Entry("state", body={"stage": "planned", "trigger": "go_back"}),
    )
    assert told.standing.stage is Stage.PLANNED
    assert told.facts == {"begin": {"id": 1}}
    assert told.unsettled == {}


def test_a_run_that_has_ended_says_so_and_a_note_changes_nothing() -> None:
    told = history(Entry("ended", "ended"))
    assert told.ended
    assert history(Entry("note", "mirror", {"epoch": 0})) == history()
