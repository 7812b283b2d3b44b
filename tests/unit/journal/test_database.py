"""When the database says no: before the commit nothing was written, in the commit nobody knows; and how SQLite is set up."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cutover.errors import JournalUnclear, JournalUnreachable
from cutover.journal import Journal, Tenure, database
from cutover.journal.database import Database
from cutover.journal.location import located


def test_every_commit_is_on_disk_when_it_returns(url: str) -> None:
    opened = Database(located(url))
    with opened.writing() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "busy_timeout")}
    opened.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": database.BUSY_SECONDS * 1000}


def test_a_write_holds_the_lock_from_its_beginning(url: str, tmp_path: Path) -> None:
    opened = Database(located(url))
    with closing(sqlite3.connect(tmp_path / "journal.db", timeout=0, isolation_level=None)) as other:
        with opened.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
    opened.close()


def test_a_full_disk_is_told_and_nothing_is_written(url: str, driver: Tenure, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    head = journal.head("orders")
    with _settings(url, monkeypatch, "PRAGMA max_page_count = 1") as small, pytest.raises(JournalUnreachable, match="cannot be") as told:
        small.append(driver.lease, "orders", "note", "soaking", "look", {"large": "x" * 200_000})
    assert "full" in told.value.why
    assert journal.verify("orders") == head


def test_a_read_only_database_is_told_and_nothing_is_written(
    url: str, driver: Tenure, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = journal.head("orders")
    with _settings(url, monkeypatch, "PRAGMA query_only = ON") as fixed, pytest.raises(JournalUnreachable) as told:
        fixed.append(driver.lease, "orders", "note", "soaking", "look", {})
    assert "readonly" in told.value.why
    assert journal.verify("orders") == head


def test_a_writer_that_stands_in_the_way_for_too_long_is_told(
    url: str, driver: Tenure, journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = journal.head("orders")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Journal.open(url) as hasty, closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnreachable) as told:
            hasty.append(driver.lease, "orders", "note", "soaking", "look", {})
    assert "locked" in told.value.why
    assert journal.verify("orders") == head


def test_a_commit_that_fails_is_called_unclear(driver: Tenure, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(journal._database._engine.dialect, "do_commit", fail)
    with pytest.raises(JournalUnclear) as told:
        driver.write("note", "soaking", "look", {})
    assert told.value.exit_code == 7
    assert told.value.why == "disk I/O error"
    monkeypatch.undo()
    assert journal.verify("orders")[0] == 0
    assert driver.write("note", "soaking", "look", {}).seq == 1


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("dear diary, " * 500)
    with pytest.raises(JournalUnreachable) as told:
        Journal.open(f"sqlite:///{tmp_path}/journal.db")
    assert "not a database" in told.value.why


def test_a_table_that_is_gone_is_told(journal: Journal, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        other.execute("DROP TABLE requests")
    with pytest.raises(JournalUnreachable) as told:
        journal.asked("orders")
    assert told.value.why == "no such table: requests"


@contextmanager
def _settings(url: str, monkeypatch: pytest.MonkeyPatch, setting: str) -> Iterator[Journal]:
    """The journal over connections that SQLite itself holds back."""
    monkeypatch.setattr(database, "SQLITE_SETTINGS", (*database.SQLITE_SETTINGS, setting))
    with Journal.open(url) as opened:
        yield opened
