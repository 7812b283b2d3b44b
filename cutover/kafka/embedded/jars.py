"""The jars of Apache Kafka: downloaded once through jgo, every one checked against kafka.lock.json, then used offline.

A jar enters the cache only after its SHA-256 matched; later starts re-read a jar only when its size or time changed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cutover.errors import EmbeddedMissing, JarTampered, JarUnreachable

Advance = Callable[[int], None]
"""Is called with the number of bytes that have just arrived."""

STAMP = "verified.json"


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar of the lock: Maven coordinates `group:artifact:version`, its SHA-256 and its size."""

    artifact: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """The file name in a Maven repository and in the cache."""
        _, name, version = self.artifact.split(":")
        return f"{name}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Lock:
    """The pinned version of Apache Kafka and every jar on its class path."""

    kafka: str
    jars: tuple[LockedJar, ...]

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change when any jar changes."""
        return hashlib.sha256("".join(jar.sha256 for jar in self.jars).encode()).hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """What a first download transfers."""
        return sum(jar.size_bytes for jar in self.jars)


Fetch = Callable[[LockedJar, Path, Advance], Path]
"""Downloads a jar below a directory and returns where it is."""


def read_lock() -> Lock:
    """The lock that is shipped with this package."""
    document = json.loads(resources.files(__package__).joinpath("kafka.lock.json").read_text())
    return Lock(document["kafka"], tuple(LockedJar(**jar) for jar in document["jars"]))


def cache_home() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/cutover, by default ~/.cache/cutover."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cutover"


def class_path(lock: Lock | None = None, cache: Path | None = None, fetch: Fetch | None = None) -> tuple[Path, ...]:
    """The verified jars, downloaded first where they are missing.

    Raises JarTampered when a jar is not the locked one, JarUnreachable when it cannot be had, EmbeddedMissing without jgo.
    """
    lock = lock or read_lock()
    folder = (cache or cache_home()) / "kafka" / f"{lock.kafka}-{lock.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder / ".lock"):
        missing = [jar for jar in lock.jars if not (folder / jar.file_name).exists()]
        if missing:
            _download(lock, missing, folder, fetch or fetch_with_jgo)
        _verify_all(lock.jars, folder)
    return tuple(folder / jar.file_name for jar in lock.jars)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """One process at a time downloads into a cache."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _download(lock: Lock, missing: Sequence[LockedJar], folder: Path, fetch: Fetch) -> None:
    size_bytes = sum(jar.size_bytes for jar in missing)
    staging = Path(tempfile.mkdtemp(prefix="incoming-", dir=folder))
    try:
        with _progress(f"Apache Kafka {lock.kafka}: {len(missing)} jars, {size_bytes / 1e6:.0f} MB, into {folder}", size_bytes) as advance:
            for jar in missing:
                arrived = fetch(jar, staging, advance)
                check(jar, arrived)
                arrived.replace(folder / jar.file_name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _progress(what: str, total_bytes: int) -> Iterator[Advance]:
    """Says on stderr what is downloaded; draws a bar only on a terminal."""
    console = Console(stderr=True)
    console.print(f"downloading {what}", highlight=False, soft_wrap=True)
    columns = (TextColumn("  "), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=total_bytes)
        yield lambda size_bytes: bar.advance(task, size_bytes)


def fetch_with_jgo(jar: LockedJar, folder: Path, advance: Advance) -> Path:
    """Downloads one jar with jgo, from Maven Central or the repositories of the jgo config file."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise EmbeddedMissing("The embedded Kafka cannot be downloaded: the package jgo is not installed.") from error

    @contextlib.contextmanager
    def progress(_name: str, _size_bytes: int) -> Iterator[Advance]:
        yield advance

    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    maven = MavenContext(PythonResolver(progress_callback=progress), repo_cache=folder, remote_repos=repositories, timeout=30)
    group, name, version = jar.artifact.split(":")
    try:
        return Path(maven.project(group, name).at_version(version).artifact().resolve())
    except (OSError, RuntimeError) as error:
        raise JarUnreachable(f"The jar {jar.artifact} could not be downloaded.", why=str(error), artifact=jar.artifact) from error


def _verify_all(jars: Sequence[LockedJar], folder: Path) -> None:
    stamp = folder / STAMP
    known = json.loads(stamp.read_text()) if stamp.exists() else {}
    seen = {}
    for jar in jars:
        path = folder / jar.file_name
        state = path.stat()
        seen[jar.file_name] = [state.st_size, state.st_mtime_ns, jar.sha256]
        if known.get(jar.file_name) != seen[jar.file_name]:
            check(jar, path)
    if seen != known:
        stamp.write_text(json.dumps(seen, indent=1))


def check(jar: LockedJar, path: Path) -> None:
    """Raises JarTampered unless the file is byte for byte the locked jar."""
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != jar.sha256:
        raise JarTampered(
            f"The jar {jar.file_name} is not the one that was locked.",
            why=f"{path} has SHA-256 {found}, the lock says {jar.sha256}.",
            jar=jar.file_name,
            path=str(path),
            found=found,
            locked=jar.sha256,
        )
