"""Brings the schema of an opened database to the one this code knows, once, whoever opens it first.

A schema that this code does not know is newer than it and is refused, having changed nothing.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from cutover.errors import JournalTooNew
from cutover.journal.database import Database
from cutover.journal.schema import VERSION

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK: Final = 0x6375746F766572
"""The number of PostgreSQL's advisory lock under which schemas are changed."""


def upgrade(database: Database, to: str = VERSION) -> None:
    """Upgrade the schema, in one transaction; raises JournalTooNew."""
    with database.reading() as connection:
        if version(connection) == to:
            return
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        found = version(connection)
        if found is not None and found > to:
            raise JournalTooNew(f"the journal {database.name} has schema {found}, this cutover knows {VERSION}", found=found, known=VERSION)
        if found != to:
            _migrate(connection, to)


def version(connection: Connection) -> str | None:
    """The schema's version; None in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _migrate(connection: Connection, to: str) -> None:
    from alembic import command  # late: most openings need none of it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, to)
