"""Where the sockets of engine processes are: one short, private directory per run, found again by the run's name.

A Unix socket's path may have about 104 bytes, so the directory is named by a digest and not by the run.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cutover.engine.configuration import Rate
from cutover.errors import RuntimeDirectoryUnusable

MAX_SOCKET_PATH_BYTES = 100
RATE_FILE = "rate.json"


def root() -> Path:
    """CUTOVER_RUNTIME_DIR, else a directory of this user under XDG_RUNTIME_DIR or the temporary directory."""
    chosen = os.environ.get("CUTOVER_RUNTIME_DIR")
    if chosen:
        return Path(chosen)
    session = os.environ.get("XDG_RUNTIME_DIR")
    return Path(session) / "cutover" if session else Path(tempfile.gettempdir()) / f"cutover-{os.getuid()}"


def directory(run: str) -> Path:
    """The private directory of the run, made when it is not there; RuntimeDirectoryUnusable when it cannot be private."""
    for path in (root(), _of(run)):
        _make_private(path)
    return _of(run)


def _of(run: str) -> Path:
    return root() / hashlib.sha256(run.encode()).hexdigest()[:8]


def _make_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise RuntimeDirectoryUnusable(f"{path} cannot be made", why=str(error), path=str(path)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RuntimeDirectoryUnusable(
            f"{path} is not a private directory of this user",
            why="Whoever can write there could give commands to a worker.",
            path=str(path),
            mode=stat.filemode(found.st_mode),
        )


def socket_path(run: str, worker: str) -> Path:
    """A socket path for the worker; RuntimeDirectoryUnusable when it would be too long for the system."""
    path = directory(run) / f"{worker}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise RuntimeDirectoryUnusable(f"the socket path {path} is too long", why="Unix sockets allow about 104 bytes.", path=str(path))
    return path


def sockets(run: str) -> Iterator[Path]:
    """The sockets of the run's processes on this host, also of those that are gone."""
    if _of(run).is_dir():
        yield from sorted(directory(run).glob("*.sock"))


def log_path(socket: Path) -> Path:
    """Where the process behind the socket writes its stderr."""
    return socket.with_suffix(".log")


def forget(socket: Path) -> None:
    """Remove what a process that is gone has left."""
    for path in (socket, log_path(socket)):
        path.unlink(missing_ok=True)


def remember_rate(run: str, share: Rate) -> None:
    """Keep what each worker of the run on this host may do, for those that are started again."""
    (directory(run) / RATE_FILE).write_text(share.model_dump_json())


def remembered_rate(run: str) -> Rate | None:
    """What `remember_rate` kept last, if anything."""
    path = directory(run) / RATE_FILE
    return Rate.model_validate_json(path.read_text()) if path.exists() else None


def forget_rate(run: str) -> None:
    """The run begins anew on this host."""
    (directory(run) / RATE_FILE).unlink(missing_ok=True)
