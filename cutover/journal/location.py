"""Which database the journal is in: the URL, the default file, and the password by reference only.

Files are made for their owner alone. Nothing is connected to here.
"""

import os
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from cutover.connection import SecretReference
from cutover.errors import JournalUnreachable, JournalUrlWrong

POSTGRESQL: Final = "postgresql+psycopg"
SECRET_PARAMETERS: Final = ("password", "sslpassword")


def located(url: str | None) -> URL:
    """The database that a URL means, or the default one; raises JournalUrlWrong, LiteralSecret, SecretUnavailable."""
    if url is None:
        return URL.create("sqlite", database=str(default_path()))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise JournalUrlWrong("the journal's URL cannot be read", why="It has no SCHEME://... of the kinds named below.") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _file(parsed)
    if backend == "postgresql":
        return _server(parsed)
    raise JournalUrlWrong(f"the journal cannot be in {backend}", backend=backend)


def default_path() -> Path:
    """$XDG_STATE_HOME/cutover/journal.db, else below ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "cutover" / "journal.db"


def named(url: URL) -> str:
    """The database as it may be shown: no password, no parameters."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return URL.create("postgresql", url.username, host=url.host, port=url.port, database=url.database).render_as_string()


def _file(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.query:
        raise JournalUrlWrong("the journal's URL names no file", why="A journal must outlive the process that writes it.")
    return URL.create("sqlite", database=str(Path(url.database).expanduser().absolute()))


def _server(url: URL) -> URL:
    if url.drivername not in {"postgresql", POSTGRESQL}:
        raise JournalUrlWrong(f"the driver {url.drivername} is not supported", why=f"Only {POSTGRESQL} is.")
    query = dict(url.query)
    for name in SECRET_PARAMETERS:
        if name in query:
            query[name] = str(SecretReference.parse(str(query[name]), f"{name} in the journal's URL").resolve())
    password = None if url.password is None else str(SecretReference.parse(str(url.password), "the journal's URL").resolve())
    return URL.create(POSTGRESQL, url.username, password, url.host, url.port, url.database, query)


def prepare_file(path: Path) -> None:
    """Make the file and its folder, for their owner alone; what is there is left as it is, but for the default folder's mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path == default_path():
            path.parent.chmod(0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalUnreachable(f"the journal {path} cannot be opened for writing", why=str(error), journal=str(path)) from error
