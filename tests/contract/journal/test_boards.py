"""The board: what the driver last saw, for whoever watches; it is no part of the chain."""

import pytest

from cutover.errors import LeaseExpired, LiteralSecret, UnknownRun
from cutover.journal import Journal
from tests.contract.journal.conftest import PAIR


def test_the_last_view_replaces_the_one_before(begun: Journal) -> None:
    assert begun.board("orders") is None
    lease = begun.acquire(PAIR, "driver-1", 60)
    for lag in (5, 3):
        begun.publish(lease, "orders", {"lag_records": lag})
    board = begun.board("orders")
    assert board is not None
    assert board.body == {"lag_records": 3}
    assert 0 <= board.age_seconds < 60
    assert begun.verify("orders")[0] == 0


def test_only_who_holds_the_lease_on_the_pair_publishes(begun: Journal) -> None:
    former = begun.acquire(PAIR, "driver-1", 60)
    begun.publish(former, "orders", {"by": "driver-1"})
    begun.release(former)
    begun.acquire(PAIR, "driver-2", 60)
    for lease in (former, begun.acquire("another pair", "driver-1", 60)):
        with pytest.raises(LeaseExpired):
            begun.publish(lease, "orders", {"by": "a ghost"})
    board = begun.board("orders")
    assert board is not None
    assert board.body == {"by": "driver-1"}


def test_nothing_is_published_of_a_run_that_nobody_knows_and_no_secret_is(begun: Journal) -> None:
    lease = begun.acquire(PAIR, "driver-1", 60)
    with pytest.raises(UnknownRun):
        begun.publish(lease, "nobody", {})
    with pytest.raises(LiteralSecret):
        begun.publish(lease, "orders", {"token": "hunter2"})
    assert begun.board("orders") is None
