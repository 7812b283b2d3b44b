"""At most one driver at any time: the lease, judged by the database's clock."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cutover.errors import LeaseExpired, LeaseHeld, LeaseLost
from cutover.journal import Journal, Lease, Tenure
from tests.conftest import WaitUntil
from tests.contract.journal.conftest import PAIR, Place


def test_a_lease_is_taken_with_a_higher_epoch_each_time(journal: Journal) -> None:
    epochs = []
    for holder in ("driver-1", "driver-2", "driver-1"):
        lease = journal.acquire(PAIR, holder, 30)
        epochs.append(lease.epoch)
        journal.release(lease)
    assert epochs == [1, 2, 3]


def test_a_held_lease_is_refused_and_its_holder_named(journal: Journal) -> None:
    journal.acquire(PAIR, "driver-1", 30)
    with pytest.raises(LeaseHeld) as refused:
        journal.acquire(PAIR, "driver-2", 30)
    assert refused.value.exit_code == 8
    assert "driver-1" in refused.value.what
    found = journal.holder(PAIR)
    assert found is not None
    assert (found.holder, found.epoch) == ("driver-1", 1)
    assert found.until.isoformat(timespec="seconds") == refused.value.fields["until"]


def test_leases_on_different_resources_do_not_meet(journal: Journal) -> None:
    journal.acquire("one", "driver-1", 30)
    assert journal.acquire("two", "driver-2", 30).epoch == 1


def test_a_lease_that_ran_out_is_taken_by_another_and_lost_to_the_first(begun: Journal, wait_until: WaitUntil) -> None:
    first = begun.acquire(PAIR, "driver-1", 0.05)
    wait_until(lambda: begun.holder(PAIR) is None, 10, "the lease runs out")
    assert first.seconds_left() < 0
    second = begun.acquire(PAIR, "driver-2", 30)
    assert second.epoch == 2
    _assert_void(begun, first, "driver-2 holds it now")


def test_a_lease_that_ran_out_is_lost_even_if_nobody_took_it(begun: Journal, wait_until: WaitUntil) -> None:
    lease = begun.acquire(PAIR, "driver-1", 0.05)
    wait_until(lambda: begun.holder(PAIR) is None, 10, "the lease runs out")
    _assert_void(begun, lease, "nobody holds it now")


def test_the_databases_clock_decides_and_not_the_holders(begun: Journal, place: Place) -> None:
    lease = begun.acquire(PAIR, "driver-1", 600)
    place.raw("UPDATE leases SET expires_at_ms = renewed_at_ms + 1, renewed_at_ms = renewed_at_ms - 1")
    assert lease.seconds_left() > 590
    _assert_void(begun, lease, "nobody holds it now")


def test_the_same_holder_takes_it_again_and_its_former_lease_is_void(begun: Journal) -> None:
    former = begun.acquire(PAIR, "driver-1", 30)
    assert begun.acquire(PAIR, "driver-1", 30).epoch == 2
    _assert_void(begun, former, "with epoch 2")


def test_renewing_begins_the_time_anew(begun: Journal, place: Place) -> None:
    lease = begun.acquire(PAIR, "driver-1", 30)
    place.raw("UPDATE leases SET expires_at_ms = expires_at_ms - 25000")
    before = begun.holder(PAIR)
    renewed = begun.renew(lease)
    after = begun.holder(PAIR)
    assert before is not None
    assert after is not None
    assert after.until_ms - before.until_ms >= 25_000
    assert (renewed.epoch, after.epoch) == (1, 1)
    assert begun.append(renewed, "orders", "note", "soaking", "look", {}).lease_epoch == 1


def test_a_released_lease_is_free_at_once_and_its_row_stays(begun: Journal, place: Place) -> None:
    lease = begun.acquire(PAIR, "driver-1", 600)
    begun.release(lease)
    assert begun.holder(PAIR) is None
    assert place.raw("SELECT holder, epoch FROM leases") == [("driver-1", 1)]
    _assert_void(begun, lease, "nobody holds it now")
    assert begun.acquire(PAIR, "driver-2", 30).epoch == 2


def test_releasing_what_another_has_taken_harms_nobody(begun: Journal) -> None:
    former = begun.acquire(PAIR, "driver-1", 600)
    begun.release(former)
    begun.acquire(PAIR, "driver-2", 600)
    begun.release(former)
    found = begun.holder(PAIR)
    assert found is not None
    assert found.holder == "driver-2"


@pytest.mark.parametrize("seconds", [-6, 6], ids=["back", "forward"])
def test_a_clock_that_stepped_ends_the_lease(begun: Journal, seconds: int) -> None:
    lease = begun.acquire(PAIR, "driver-1", 600)
    _assert_void(begun, replace(lease, seen_ms=lease.seen_ms - seconds * 1000), "a clock stepped")


@pytest.mark.parametrize("seconds", [-4, 4])
def test_clocks_that_drift_a_little_end_nothing(begun: Journal, seconds: int) -> None:
    lease = begun.acquire(PAIR, "driver-1", 600)
    drifted = replace(lease, seen_ms=lease.seen_ms - seconds * 1000)
    assert begun.append(drifted, "orders", "note", "soaking", "look", {}).seq == 1
    assert abs(begun.renew(drifted).seen_ms - lease.seen_ms) < 4000, "a renewed lease compares the clocks from now on"


def test_a_lease_from_before_the_databases_clock_stepped_back_is_void_and_free(begun: Journal, place: Place) -> None:
    lease = begun.acquire(PAIR, "driver-1", 600)
    place.raw("UPDATE leases SET renewed_at_ms = renewed_at_ms + 3600000, expires_at_ms = expires_at_ms + 3600000")
    _assert_void(begun, lease, "a clock stepped")
    assert begun.acquire(PAIR, "driver-2", 30).epoch == 2


def test_a_tenure_asks_the_database_only_when_a_third_of_its_time_is_over(begun: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    taken = driver.lease
    now = taken.asked_monotonic
    monkeypatch.setattr("time.monotonic", lambda: now)
    now += 9.9
    driver.renew()
    assert driver.lease is taken
    assert driver.seconds_left() == pytest.approx(20.1)
    monkeypatch.undo()
    driver.lease = replace(taken, asked_monotonic=taken.asked_monotonic - 10.1)
    driver.renew()
    assert driver.lease.asked_monotonic >= taken.asked_monotonic
    assert driver.lease.epoch == 1
    driver.release()
    with pytest.raises(LeaseLost):
        driver.write("note", "soaking", "look", {})


def _assert_void(journal: Journal, lease: Lease, words: str) -> None:
    """Neither kept nor written under, whatever is tried, and nothing is written."""
    request = journal.ask("orders", "pause", {}, "team-orders")
    head = journal.head("orders")
    attempts: tuple[Callable[[], object], ...] = (
        lambda: journal.append(lease, "orders", "note", "soaking", "look", {}),
        lambda: journal.answer(lease, request.id, {"done": ""}),
        lambda: journal.renew(lease),
    )
    for attempt in attempts:
        with pytest.raises(LeaseExpired) as lost:
            attempt()
        assert words in f"{lost.value.what} {lost.value.why}"
    assert journal.head("orders") == head
    assert request in journal.asked("orders")
