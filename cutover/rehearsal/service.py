"""A service that hooks can stop and start: what `systemctl` is on a real host. Wishes and facts are files in one folder.

`python -m cutover.rehearsal.service FOLDER NAME stop|start TOPIC|check` is the command of a hook; a `Services` in the rehearsal's
own process starts and stops the members, so that none outlives it.
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cutover.rehearsal.consuming import ReadingProcess

LOOK_SECONDS = 0.02
DONE_SECONDS = 30.0
NOBODY = "-"


@dataclass(slots=True)
class Services:
    """Runs the members of named services. `start` makes the members of a service on a topic."""

    folder: Path
    start: Callable[[str, str], list[ReadingProcess]]
    running: dict[str, list[ReadingProcess]] = field(default_factory=dict)
    _closed: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to obey."""
        self._thread = threading.Thread(target=self._obey, name="services", daemon=True)
        self._thread.start()

    def set(self, name: str, topic: str) -> None:
        """Start a service on a topic by hand."""
        self._become(name, topic)

    def _obey(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            for wish in self.folder.glob("*.wanted"):
                wanted = wish.read_text().strip()
                if wanted and wanted != _read(self.folder / f"{wish.stem}.is"):
                    self._become(wish.stem, wanted)

    def _become(self, name: str, topic: str) -> None:
        for each in self.running.pop(name, []):
            each.stop()
        if topic != NOBODY:
            self.running[name] = self.start(name, topic)
        _write(self.folder / f"{name}.is", topic)

    def close(self) -> None:
        """Stop every service."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        members = [each for service in self.running.values() for each in service]
        for each in members:
            each.ask_to_stop()
        for each in members:
            each.stop()
        self.running.clear()

    def kill(self) -> None:
        """End every member without asking."""
        self._closed.set()
        for service in self.running.values():
            for each in service:
                each.kill()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, words: str) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(words)
    fresh.replace(path)


def main(arguments: list[str]) -> int:
    """Wish, and wait until it is so; `check` is 0 while the service runs and 1 while it does not."""
    folder, name, verb, *rest = arguments
    fact = Path(folder) / f"{name}.is"
    if verb == "check":
        return 0 if _read(fact) not in {"", NOBODY} else 1
    wanted = rest[0] if verb == "start" else NOBODY
    _write(Path(folder) / f"{name}.wanted", wanted)
    deadline = time.monotonic() + DONE_SECONDS
    while _read(fact) != wanted:
        if time.monotonic() > deadline:
            return 1
        time.sleep(LOOK_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
