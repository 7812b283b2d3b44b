"""What PostgreSQL alone can do to a journal: hang up in the commit or between two calls, let a write wait, be set up carelessly."""

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from cutover.errors import JournalUnclear, LeaseExpired
from cutover.journal import Journal, Tenure
from tests.conftest import WaitUntil
from tests.contract.journal.conftest import PAIR, Place, orders
from tests.postgres import Server

PAGE = Path(__file__).parents[3] / "docs" / "journal.md"


@pytest.fixture
def place(postgresql: Server) -> Iterator[Place]:
    with postgresql.database() as url:
        yield Place(url)


def test_a_connection_lost_in_the_commit_leaves_the_outcome_unclear_and_the_journal_whole(begun: Journal, place: Place) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 60)
    place.raw(
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    place.raw(
        "CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang_up()"
    )
    with pytest.raises(JournalUnclear) as told:
        driver.write("note", "soaking", "look", {})
    assert told.value.exit_code == 7
    place.raw("DROP TRIGGER hang_up ON entries")
    assert begun.verify("orders")[0] == 0
    assert driver.write("note", "soaking", "look", {}).seq == 1


def test_connections_that_were_cut_while_idle_are_made_anew(begun: Journal, place: Place) -> None:
    driver = Tenure.take(begun, "orders", "driver-1", 60)
    place.raw("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    assert driver.write("note", "soaking", "look", {}).seq == 1


def test_whoever_waits_behind_another_write_finds_that_its_time_is_over(begun: Journal, place: Place, wait_until: WaitUntil) -> None:
    lease = begun.acquire(PAIR, "driver-1", 2.0)
    with psycopg.connect(place.url.replace("+psycopg", "")) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT 1 FROM leases FOR UPDATE")
        append = pool.submit(begun.append, lease, "orders", "note", "soaking", "look", {})
        wait_until(lambda: place.raw("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 10, "the append waits for the row")
        assert begun.holder(PAIR) is not None, "it began while the lease was its own"
        wait_until(lambda: begun.holder(PAIR) is None, 10, "the lease runs out")
        other.rollback()
        with pytest.raises(LeaseExpired):
            append.result(60)
    assert begun.head("orders")[0] == 0


def test_a_server_that_does_not_wait_for_its_disk_is_made_to(place: Place) -> None:
    place.raw("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$")
    place.raw(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$"
    )
    with Journal.open(place.url) as journal:
        journal.begin(orders())
        with journal._database.writing() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
        with journal._database.reading() as connection:
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"


def test_a_driver_needs_no_more_than_the_page_grants_and_then_cannot_change_an_entry(begun: Journal, place: Place) -> None:
    (grants,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    role = "mover_" + uuid.uuid4().hex[:12]
    place.raw(f"CREATE ROLE {role} LOGIN")
    try:
        for grant in grants.strip().splitlines():
            place.raw(re.sub(r"\bmover\b", role, grant))
        url = place.url.replace("postgres@", f"{role}@")
        _drive_everything(url)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            Place(url).raw("UPDATE entries SET body = '{}'")
        assert begun.verify("orders")[0] == 2
    finally:
        place.raw(f"DROP OWNED BY {role}")
        place.raw(f"DROP ROLE {role}")


def _drive_everything(url: str) -> None:
    """Every call that a driver or an operator makes."""
    with Journal.open(url) as journal:
        journal.begin(orders())
        journal.begin(orders(run="another"))
        driver = Tenure.take(journal, "orders", "driver-1", 60)
        driver.write("note", "soaking", "look", {})
        driver.answer(journal.ask("orders", "pause", {}, "team-orders"), {"done": "paused"})
        journal.renew(driver.lease)
        for stage in ("soaking", "completed"):
            journal.publish(driver.lease, "orders", {"stage": stage})
        driver.write("ended", "completed", "end", {})
        driver.release()
