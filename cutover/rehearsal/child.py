"""A process of the rehearsal that is told what to do in the first line of its standard input, and ends when that closes."""

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

END_SECONDS = 60.0


class Child:
    """The owner's side of it. It ends when it is asked to, or when its owner is gone."""

    def __init__(self, module: str, told: dict[str, Any], *, answers: bool = False) -> None:
        """Start it; with `answers` what it says on standard output is kept."""
        said = subprocess.PIPE if answers else subprocess.DEVNULL
        self._child = subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=said, text=True)
        if self._child.stdin is None:
            raise RuntimeError("a process started with a pipe has none")
        self._child.stdin.write(json.dumps(told) + "\n")
        self._child.stdin.flush()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.poll() is None

    def ask_to_stop(self) -> None:
        """Let it finish and end; `wait` or `answer` waits for it."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._child.stdin.close()

    def wait(self) -> None:
        """Let it finish, and wait until it has ended."""
        self.ask_to_stop()
        self._child.wait(END_SECONDS)

    def answer(self) -> Any:  # noqa: ANN401
        """Let it finish; what it said."""
        said, _ = self._child.communicate(timeout=END_SECONDS)
        return json.loads(said)

    def kill(self) -> None:
        """End it without asking; nothing to do when it has ended."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()


def told() -> tuple[dict[str, Any], threading.Event]:
    """The child's side: what it is to do, and what is set when it is to end."""
    wanted, closed = json.loads(sys.stdin.readline()), threading.Event()

    def await_end() -> None:
        sys.stdin.read()
        closed.set()
        time.sleep(END_SECONDS)  # by then its owner has given it up, or is gone; and a client may wait for a broker for ever
        os._exit(1)

    threading.Thread(target=await_end, daemon=True).start()
    return wanted, closed
