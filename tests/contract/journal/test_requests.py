"""Requests: asked from any terminal without a lease, answered once, under it."""

import pytest

from cutover.errors import UnknownRun
from cutover.journal import Journal, Tenure
from tests.contract.journal.conftest import Place, orders


def test_a_request_waits_until_it_is_answered(begun: Journal) -> None:
    asked = begun.ask("orders", "rollback", {"to": "planned", "reason": "a bad day"}, "team-orders")
    assert begun.answered(asked.id) is None
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    assert driver.asked() == (asked,)
    driver.answer(asked, {"done": "rolling back"})
    answered = begun.answered(asked.id)
    assert answered is not None
    assert (answered.verb, answered.body, answered.by) == ("rollback", {"to": "planned", "reason": "a bad day"}, "team-orders")
    assert answered.outcome == {"done": "rolling back"}
    assert driver.asked() == ()


def test_requests_are_handed_out_in_the_order_they_were_made(begun: Journal) -> None:
    begun.begin(orders(run="another"))
    made = [begun.ask(run, verb, {}, "team-orders") for run, verb in (("orders", "pause"), ("another", "abort"), ("orders", "resume"))]
    assert begun.asked("orders") == (made[0], made[2])
    assert begun.asked("another") == (made[1],)


def test_the_first_answer_stays(begun: Journal) -> None:
    asked = begun.ask("orders", "pause", {}, "team-orders")
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    driver.answer(asked, {"done": "first"})
    assert begun.answer(driver.lease, asked.id, {"done": "second"}).outcome == {"done": "first"}


def test_a_request_outlives_the_process_that_made_it(begun: Journal, place: Place) -> None:
    asked = begun.ask("orders", "pause", {}, "team-orders")
    with Journal.open(place.url) as another:
        assert another.asked("orders") == (asked,)


def test_what_nobody_knows_is_asked_of_nobody(begun: Journal) -> None:
    with pytest.raises(UnknownRun):
        begun.ask("nobody", "pause", {}, "team-orders")
    with pytest.raises(UnknownRun):
        begun.answered(4711)
