"""The schema grows: an older journal is upgraded with everything in it, a newer one is refused, untouched."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from cutover.errors import JournalTooNew
from cutover.journal import Journal, Tenure
from cutover.journal.database import Database
from cutover.journal.location import located
from cutover.journal.schema import METADATA, VERSION
from cutover.journal.upgrading import MIGRATIONS, upgrade
from tests.contract.journal.conftest import Place, orders


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    opened = Database(located(place.url))
    yield opened
    opened.close()


def test_the_newest_migration_is_the_schema_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [VERSION]


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    upgrade(database)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA) == []


def test_a_column_that_no_migration_makes_would_be_seen(database: Database, place: Place) -> None:
    upgrade(database)
    place.raw("ALTER TABLE runs DROP COLUMN pair")
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) != []


def test_an_older_journal_is_upgraded_with_everything_in_it(database: Database, place: Place) -> None:
    upgrade(database, to="0001")
    old = Journal(database)
    old.begin(orders())
    driver = Tenure.take(old, "orders", "driver-1", 60)
    driver.write("note", "soaking", "look", {"words": "before the upgrade"})
    before = old.entries("orders")
    with Journal.open(place.url) as new:
        assert new.entries("orders") == before
        assert new.verify("orders", old.head("orders"))[0] == 1
        asked = new.ask("orders", "pause", {}, "team-orders")
        assert new.asked("orders") == (asked,)
        driver.answer(asked, {"done": "paused"})
        assert driver.write("note", "soaking", "look", {"words": "after it"}).seq == 2
    assert place.raw("SELECT version_num FROM alembic_version") == [(VERSION,)]


def test_a_newer_journal_is_refused_and_left_as_it_is(begun: Journal, place: Place) -> None:
    assert begun.name
    place.raw("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(JournalTooNew) as refused:
        Journal.open(place.url)
    assert refused.value.fields == {"found": "0999", "known": VERSION}
    assert "Upgrade" in refused.value.next
    assert place.raw("SELECT version_num FROM alembic_version") == [("0999",)]


def test_opening_an_up_to_date_journal_writes_nothing(begun: Journal, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "writing", None)
    with Journal.open(place.url) as again:
        assert again.runs() == begun.runs()


def test_a_migration_that_fails_leaves_nothing_behind(
    database: Database, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "migrations"
    (broken / "versions").mkdir(parents=True)
    (broken / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    (broken / "versions" / "r0001.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision = '0001'\ndown_revision = None\n"
        "def upgrade():\n    op.create_table('half', sa.Column('a', sa.Integer))\n    raise ZeroDivisionError\n"
    )
    monkeypatch.setattr("cutover.journal.upgrading.MIGRATIONS", broken)
    with pytest.raises(ZeroDivisionError):
        upgrade(database, to="0001")
    monkeypatch.undo()
    with pytest.raises(Exception, match="half"):
        place.raw("SELECT * FROM half")
    upgrade(database)
    assert Journal(database).runs() == ()
