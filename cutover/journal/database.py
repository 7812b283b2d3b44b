"""The connection to SQLite or PostgreSQL: transactions that read, transactions that write, and their errors in our words.

A write that fails before its commit has changed nothing (JournalUnreachable); one that fails in its commit is JournalUnclear.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import retry, retry_if_exception_message, stop_after_delay, wait_random

from cutover.errors import JournalUnclear, JournalUnreachable
from cutover.journal.location import named, prepare_file

BUSY_SECONDS: Final = 20
"""How long a write waits for another process's write."""

CONNECT_SECONDS: Final = 10
SILENCE_MS: Final = 20_000
SQLITE_SETTINGS: Final = ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON")
POSTGRESQL_SETTINGS: Final = (
    f"SET statement_timeout = '{BUSY_SECONDS}s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)


class Database:
    """Hands out transactions. Safe to share between threads; a forked process opens its own."""

    def __init__(self, url: URL) -> None:
        self.name = named(url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite(url) if self.is_sqlite else _postgresql(url, self.name)
        modes = ("", "IMMEDIATE") if self.is_sqlite else ("REPEATABLE READ", "READ COMMITTED")
        option = "cutover_begin" if self.is_sqlite else "isolation_level"
        self._snapshots, self._writes = (self._engine.execution_options(**{option: mode}) for mode in modes)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database, however many statements it has."""
        try:
            with self._snapshots.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise _unreachable(self.name, error) from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: committed, or nothing of it is there. On SQLite the write lock is held from its beginning."""
        committing = False
        try:
            with self._writes.connect() as connection:
                transaction = connection.begin()
                yield connection
                committing = True
                _commit(connection, transaction)
        except SQLAlchemyError as error:
            raise _unclear(self.name, error) if committing else _unreachable(self.name, error) from error


def _commit(connection: Connection, transaction: RootTransaction) -> None:
    try:
        transaction.commit()
    except BaseException:
        connection.invalidate()  # its transaction may still be open, and a later commit would keep what is called unclear now
        raise


def _unreachable(name: str, error: SQLAlchemyError) -> JournalUnreachable:
    return JournalUnreachable(f"the journal {name} cannot be read or written", why=_reason(error), journal=name)


def _unclear(name: str, error: SQLAlchemyError) -> JournalUnclear:
    return JournalUnclear(f"the journal {name} did not say whether it kept what was written", why=_reason(error), journal=name)


def _reason(error: SQLAlchemyError) -> str:
    """The driver's own words, without the statement and its values."""
    return " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())


def _sqlite(url: URL) -> Engine:
    prepare_file(Path(str(url.database)))
    _use_wal(str(url.database))
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own
    connection.isolation_level = None  # the driver must not begin transactions: it would begin them without the write lock
    for setting in SQLITE_SETTINGS:
        connection.execute(setting)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('cutover_begin', '')}")


def _use_wal(path: str) -> None:
    try:
        mode = _wal_mode(path)
    except sqlite3.Error as error:
        raise JournalUnreachable(f"the journal {path} cannot be read or written", why=str(error), journal=path) from error
    if mode != "wal":
        raise JournalUnreachable(f"the file system of {path} allows no write-ahead log", why=f"journal_mode is {mode}", journal=path)


@retry(retry=retry_if_exception_message(match=".*locked"), stop=stop_after_delay(BUSY_SECONDS), wait=wait_random(0.01, 0.1), reraise=True)
def _wal_mode(path: str) -> str:
    """SQLite waits for nobody when it changes the journal mode, so that two who open a new file at once need another attempt."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])


def _postgresql(url: URL, name: str) -> Engine:
    arguments = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENCE_MS, "application_name": "cutover"}
    try:
        engine = create_engine(url, connect_args=arguments, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise JournalUnreachable(
            f"the journal {name} needs the PostgreSQL driver", advice="Run: pip install 'cutover[postgresql]'", journal=name
        ) from error
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_postgresql(connection: Any, _: object) -> None:  # noqa: ANN401
    with connection.cursor() as cursor:
        for setting in POSTGRESQL_SETTINGS:
            cursor.execute(setting)
    connection.commit()
