"""One connection to an engine process: lines in, events and replies out. It knows nothing of processes."""

import contextlib
import itertools
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cutover.engine.events import MAX_LINE_BYTES, Event, Models, NotAnEventError, Ready, Reply, Stopped, parse

SEND_SECONDS = 5
KEPT_EVENTS = 4096
"""Events that a slow caller may leave unread; the oldest go first."""


class Channel:
    """Reads the connection in a thread of its own, so that the process is never slowed by its listener."""

    def __init__(self, connection: socket.socket, models: Models) -> None:
        """Take over a connected socket."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
        self.ready: Ready | None = None
        self.stopped: Stopped | None = None
        self.babble: str | None = None
        self.heard_at = time.monotonic()
        self.closed = False
        self._connection = connection
        self._models = models
        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._replies: dict[int, Reply | None] = {}
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="engine-events", daemon=True)
        self._reader.start()

    @classmethod
    def connect(cls, path: Path, models: Models) -> "Channel":
        """Connect to the socket; OSError when nobody listens there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            raise
        return cls(connection, models)

    def next(self, seconds: float) -> Event | None:
        """The next event; None when none came in time or none can come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self.closed, seconds)
            return self._events.popleft() if self._events else None

    def send(self, command: str, arguments: Mapping[str, Any]) -> int:
        """Send a command and return its id; OSError when the process does not take it."""
        with self._changed:
            number = next(self._ids)
            self._replies[number] = None
        line = json.dumps({**arguments, "id": number, "command": command}, separators=(",", ":"))
        self._connection.sendall(line.encode() + b"\n")
        return number

    def reply(self, number: int, seconds: float) -> Reply | None:
        """The answer to the command; None when none came in time. A later one is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: self._replies[number] is not None or self.closed, seconds)
            return self._replies.pop(number)

    def wait_ready(self, seconds: float) -> None:
        """Wait until the process has said that it is ready, or until the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.ready is not None or self.closed, seconds)

    def wait_closed(self, seconds: float) -> bool:
        """Whether the process has closed the connection by then."""
        with self._changed:
            return self._changed.wait_for(lambda: self.closed, seconds)

    def close(self) -> None:
        """Leave; the process stays."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # a reset means the same as an end
            self._read_lines()
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _read_lines(self) -> None:
        rest = bytearray()
        while self.babble is None and (chunk := self._connection.recv(1 << 16)):
            searched = len(rest)
            rest += chunk
            while self.babble is None and (end := rest.find(b"\n", searched)) >= 0:
                if end > MAX_LINE_BYTES:
                    break
                self._take(bytes(rest[:end]))
                del rest[: end + 1]
                searched = 0
            if len(rest) > MAX_LINE_BYTES:
                self.babble = f"a line of more than {MAX_LINE_BYTES} bytes"

    def _take(self, line: bytes) -> None:
        try:
            event = parse(line, self._models)
        except NotAnEventError as error:
            self.babble = f"{line[:200].decode(errors='replace')!r} ({error})"
            return
        with self._changed:
            self.heard_at = time.monotonic()
            self._remember(event)
            self._changed.notify_all()

    def _remember(self, event: Event) -> None:
        match event:
            case Reply():
                if event.id in self._replies:
                    self._replies[event.id] = event
                return
            case Ready():
                self.ready = event
            case Stopped():
                self.stopped = event
        self._events.append(event)
