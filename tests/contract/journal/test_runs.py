"""A run is begun once, with one plan and one step list, and its entries hang together."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from cutover.errors import LeaseExpired, LiteralSecret, PlanChanged, RunEnded, StepsChanged, UnknownRun
from cutover.journal import Journal, Tenure
from tests.contract.journal.conftest import PAIR, Place, orders


def test_a_run_begins_with_its_plan_as_entry_0(begun: Journal) -> None:
    (entry,) = begun.entries("orders")
    assert (entry.seq, entry.kind, entry.step, entry.stage) == (0, "begun", "begin", "planned")
    assert entry.body == {"pair": PAIR, "plan": orders().plan, "plan_digest": "digest-1", "steps_version": 1}
    assert begun.runs() == (orders(),)
    assert begun.head("orders") == (0, entry.hash)


def test_the_same_run_begun_again_changes_nothing(begun: Journal) -> None:
    before = begun.entries("orders")
    begun.begin(orders())
    assert begun.entries("orders") == before


def test_another_plan_is_refused_and_its_differences_are_named(begun: Journal) -> None:
    plan = {"cutover": "orders", "target": {"topic": "orders.v2", "partitions": 36}, "soak": "30m", "groups": []}
    with pytest.raises(PlanChanged) as refused:
        begun.begin(orders(plan_digest="digest-2", plan=plan))
    assert refused.value.exit_code == 1
    assert refused.value.fields["differences"] == [
        'groups[0]: {"name":"balances"} → (absent)',
        'soak: (absent) → "30m"',
        "target.partitions: 24 → 36",
    ]
    assert begun.runs() == (orders(),)
    assert begun.verify("orders")[0] == 0


def test_another_step_list_is_refused(begun: Journal) -> None:
    with pytest.raises(StepsChanged) as refused:
        begun.begin(orders(steps_version=2))
    assert "version that began it" in refused.value.next
    assert begun.run("orders").steps_version == 1


def test_a_run_that_has_ended_is_neither_begun_again_nor_written_to(begun: Journal) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    driver.write("ended", "completed", "end", {"exit_code": 0})
    for attempt in (
        lambda: begun.begin(orders()),
        lambda: driver.write("note", "completed", "late", {}),
        lambda: begun.ask("orders", "pause", {}, "team-orders"),
    ):
        with pytest.raises(RunEnded) as refused:
            attempt()
        assert "another name" in refused.value.next
    assert begun.run("orders").ended_at_ms is not None
    assert begun.verify("orders")[0] == 1


def test_every_run_is_listed_in_the_order_they_were_begun(begun: Journal) -> None:
    begun.begin(orders(run="a-later-one"))
    assert [each.run for each in begun.runs()] == ["orders", "a-later-one"]


def test_an_unknown_run_is_called_unknown(journal: Journal) -> None:
    for question in (journal.run, journal.entries, journal.head, journal.verify):
        with pytest.raises(UnknownRun) as error:
            question("nobody")
        assert error.value.exit_code == 2


def test_an_entry_reads_as_it_was_returned(begun: Journal, place: Place) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    awkward: Mapping[str, Any] = MappingProxyType(
        {"positions": {2: 5, 10: 1}, "tuple": (1, 2.5), "text": "naïve \ud800 \x00 →", "large": 2**70, "none": None, "set": {"b", "a"}}
    )
    written = driver.write("outcome", "soaking", "look", awkward)
    assert written.body["positions"] == {"2": 5, "10": 1}
    with Journal.open(place.url) as another:
        assert another.entries("orders", after=0) == (written,)
        assert another.verify("orders") == (1, written.hash)


def test_entries_are_numbered_without_gaps_and_carry_who_wrote_them(begun: Journal) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    for number in range(5):
        driver.write("note", "soaking", "look", {"number": number})
    entries = begun.entries("orders")
    assert [entry.seq for entry in entries] == list(range(6))
    assert {(entry.plan_digest, entry.steps_version, entry.lease_epoch, entry.holder) for entry in entries[1:]} == {
        ("digest-1", 1, 1, "driver-1")
    }
    assert begun.entries("orders", after=3) == entries[4:]
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]


def test_an_entry_of_no_known_kind_is_refused(begun: Journal) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    with pytest.raises(ValueError, match="no kind of entry"):
        driver.write("gossip", "soaking", "look", {})


def test_a_secret_in_the_open_is_never_written(begun: Journal) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    for body in ({"password": "hunter2"}, {"deep": [{"Token": "hunter2"}]}, {"sasl.password": "hunter2"}):
        with pytest.raises(LiteralSecret) as refused:
            driver.write("intent", "planned", "connect", body)
        assert "hunter2" not in str(refused.value.document())
    with pytest.raises(LiteralSecret):
        begun.ask("orders", "approve", {"secret": "hunter2"}, "team-orders")
    with pytest.raises(LiteralSecret):
        begun.begin(orders(run="other", plan={"producers": [{"secret": "hunter2"}]}))
    assert begun.head("orders")[0] == 0
    assert begun.asked("orders") == ()


def test_a_reference_to_a_secret_may_be_written(begun: Journal) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 30)
    driver.write(
        "intent", "planned", "connect", {"password": "env:KAFKA", "token": "file:/run/token", "secret": None, "reset-password": "x"}
    )
    assert begun.head("orders")[0] == 1


def test_a_lease_on_another_pair_does_not_write(begun: Journal) -> None:
    lease = begun.acquire("another pair", "driver-1", 30)
    with pytest.raises(LeaseExpired):
        begun.append(lease, "orders", "note", "soaking", "look", {})
    assert begun.head("orders")[0] == 0
