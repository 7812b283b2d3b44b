"""The client under test: a process that speaks the suite's contract, and what it has said so far."""

import json
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECONDS = 20.0


class Nonconforming(AssertionError):
    """The client did what it must not, or did not do what it must."""


@dataclass
class Subject:
    """One instance of the client under test."""

    command: str
    start: dict[str, Any]
    said: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._process = subprocess.Popen(shlex.split(self.command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tell(self.start)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def name(self) -> str:
        """The instance's name in the control log."""
        return str(self.start["instance"])

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def _tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(json.loads(line))

    def produce(self, value: str, key: str = "key") -> None:
        """Have it write a record; it may wait, and must go on reading its input."""
        self._tell({"do": "produce", "value": value, "key": key})

    def heard(self, event: str, value: str | None = None) -> list[dict[str, Any]]:
        """What it has said of a kind."""
        return [each for each in self.said if each["event"] == event and value in (None, each.get("value"))]

    def must(self, seen: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        """Wait until something is seen; Nonconforming naming it otherwise."""
        deadline = time.monotonic() + seconds
        while not seen():
            if time.monotonic() > deadline:
                raise Nonconforming(f"not within {seconds:g} s: {what}; it said {self.said}")
            time.sleep(0.01)

    def must_not(self, seen: Callable[[], object], what: str, seconds: float = 1.0) -> None:
        """Watch for a while that something is not seen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if seen():
                raise Nonconforming(f"{what}; it said {self.said}")
            time.sleep(0.01)

    def acked(self, value: str, topic: str) -> None:
        """It must have written the value into this topic."""
        self.must(lambda: self.heard("acked", value), f"{value} is acknowledged")
        where = self.heard("acked", value)[0]["topic"]
        if where != topic:
            raise Nonconforming(f"{value} was written to {where}, not to {topic}")

    def close(self) -> None:
        """Have it close; it must say so and end."""
        self._tell({"do": "close"})
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.must(lambda: self.heard("closed"), "it says that it has closed")
        self._process.wait(SECONDS)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait(SECONDS)
        self._listener.join(SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()
