"""Where the journal is, and that no password is ever in the open."""

import os
import stat
from pathlib import Path

import pytest

from cutover.errors import JournalUnreachable, JournalUrlWrong, LiteralSecret, SecretUnavailable
from cutover.journal import Journal
from cutover.journal.location import default_path, located, named


def test_the_default_is_below_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "cutover" / "journal.db"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/team-orders")
    assert default_path() == Path("/home/team-orders/.local/state/cutover/journal.db")


def test_the_default_journal_is_readable_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "cutover").mkdir(mode=0o755)
    with Journal.open() as journal:
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cutover").iterdir()}
        assert set(modes.values()) == {0o600}
        assert "journal.db-wal" in modes
        assert journal.name == str(tmp_path / "cutover" / "journal.db")
    assert stat.S_IMODE((tmp_path / "cutover").stat().st_mode) == 0o700


def test_a_folder_that_is_named_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Journal.open(f"sqlite:///{tmp_path}/journal.db").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "url",
    [
        "journal.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "mysql://h/d",
        "postgresql+asyncpg://h/d",
        "postgresql://h:x/d",
        "",
    ],
)
def test_a_url_that_names_no_journal_is_refused(url: str) -> None:
    with pytest.raises(JournalUrlWrong) as refused:
        located(url)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "url",
    ["postgresql://mover:hunter2@h/d", "postgresql+psycopg://mover@h/d?password=hunter2", "postgresql://mover@h/d?sslpassword=hunter2"],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(LiteralSecret) as refused:
        located(url)
    assert "hunter2" not in str(refused.value.document())


@pytest.mark.parametrize("url", ["postgresql://mover:{}@h:5433/d", "postgresql://mover@h:5433/d?password={}"])
def test_a_password_by_reference_reaches_the_driver_and_nobody_else(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_PASSWORD", "hunter2")
    (tmp_path / "word").write_text("hunter2\n")
    for reference in ("env:JOURNAL_PASSWORD", f"file:{tmp_path}/word"):
        found = located(url.format(reference))
        assert found.drivername == "postgresql+psycopg"
        assert "hunter2" in (found.password, found.query.get("password"))
        assert named(found) == "postgresql://mover@h:5433/d"


def test_a_reference_that_leads_nowhere_is_refused() -> None:
    assert "JOURNAL_NOWHERE" not in os.environ
    with pytest.raises(SecretUnavailable):
        located("postgresql://mover:env:JOURNAL_NOWHERE@h/d")


def test_a_server_that_does_not_answer_is_unreachable_and_its_error_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_PASSWORD", "hunter2")
    with pytest.raises(JournalUnreachable) as refused:
        Journal.open("postgresql://mover:env:JOURNAL_PASSWORD@127.0.0.1:1/d")
    assert "127.0.0.1" in refused.value.why
    assert "hunter2" not in str(refused.value.document())


def test_a_journal_below_something_that_is_no_folder_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnreachable):
        Journal.open(f"sqlite:///{tmp_path}/file/journal.db")
    with pytest.raises(JournalUnreachable):
        Journal.open(f"sqlite:///{tmp_path}")
