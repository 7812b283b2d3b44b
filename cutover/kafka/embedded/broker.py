"""One broker of an embedded cluster: its process, and what a test does to it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cutover.errors import BrokerNotStarted
from cutover.kafka.embedded import ports as port_numbers
from cutover.kafka.embedded.identity import Identity, is_frozen, lives, own_identity
from cutover.kafka.embedded.properties import Ports

SUPERVISOR = Path(__file__).with_name("supervisor.py")
POLL_SECONDS = 0.02
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Upbringing:
    """How broker processes are started: the command, and who must live for them to live (None: they live until they are ended)."""

    command: tuple[str, ...]
    owner: Identity | None
    remove: tuple[Path, ...] = ()


def wait_for(met: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition is met before the time is over."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Broker:
    """A broker process that can be stopped, killed, frozen, continued and started again, on the same ports and files."""

    def __init__(self, number: int, folder: Path, ports: Ports, upbringing: Upbringing) -> None:
        self.id = number
        self.folder = folder
        self.ports = ports
        self.log = folder / "kafka.log"
        self._upbringing = upbringing
        self._supervisor: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the JVM; None while it does not run."""
        identity = self.identity
        return identity.pid if identity else None

    @property
    def identity(self) -> Identity | None:
        """The JVM's identity; None while it does not run."""
        try:
            identity = Identity(*json.loads(self.pid_file.read_text()))
        except FileNotFoundError:
            return None
        return identity if lives(identity) else None

    @property
    def pid_file(self) -> Path:
        """Where the supervisor writes the identity of the JVM."""
        return self.folder / "broker.pid"

    def launch(self) -> None:
        """Starts the process and returns at once."""
        self.pid_file.unlink(missing_ok=True)
        owner = self._upbringing.owner
        pipe = owner == own_identity()
        order = {
            "command": [*self._upbringing.command, str(self.folder / "server.properties")],
            "folder": str(self.folder),
            "log": str(self.log),
            "pid_file": str(self.pid_file),
            "owner": owner,
            "pipe": pipe,
            "remove": [str(path) for path in self._upbringing.remove],
        }
        with self.log.open("ab") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), json.dumps(order)],
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal must reach us, not the broker
            )
        if pipe:
            self._supervisor = supervisor
        else:
            supervisor.wait(STOP_SECONDS)  # it goes on as a process of its own

    def wait_until_listening(self, seconds: float = 60.0) -> None:
        """Returns once clients can connect; raises BrokerNotStarted with the last error of the log."""
        if not wait_for(lambda: self._ended() or port_numbers.answers(self.ports["CLIENT"]), seconds):
            raise self._failure(f"Broker {self.id} did not open its port within {seconds:.0f} s.")
        if self._ended():
            raise self._failure(f"Broker {self.id} ended while it was starting.")

    def start(self) -> None:
        """Starts the broker and waits until clients can connect."""
        if self.pid is None:
            self.launch()
            self.wait_until_listening()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ends the broker in order (SIGTERM: leadership moves, logs are closed); when the time is over by force."""
        self._end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """Ends the broker as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL, STOP_SECONDS)

    def pause(self) -> None:
        """Freezes the process (SIGSTOP): connections stay open, nothing is answered. Returns when the last thread stands still."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: is_frozen(pid), STOP_SECONDS)

    def resume(self) -> None:
        """Lets a frozen process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stops the broker and starts it again."""
        self.stop()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def _end(self, number: signal.Signals, seconds: float) -> None:
        self._signal(number)
        if number is not signal.SIGKILL:
            self.resume()  # a frozen process does not see SIGTERM
        if not wait_for(lambda: self.pid is None, seconds):
            self._signal(signal.SIGKILL)
            wait_for(lambda: self.pid is None, seconds)
        self._release_supervisor()

    def _release_supervisor(self) -> None:
        if self._supervisor:
            self._supervisor.wait(STOP_SECONDS)
            if self._supervisor.stdin:
                self._supervisor.stdin.close()
            self._supervisor = None

    def _ended(self) -> bool:
        """Whether the process has been started and is gone again."""
        return self.pid_file.exists() and self.identity is None

    def _failure(self, what: str) -> BrokerNotStarted:
        return BrokerNotStarted(what, why=last_error(self.log), log=str(self.log), broker=self.id)


def last_error(log: Path) -> str:
    """The exception that ended a broker, or the last line of its log, for a message of one line."""
    lines = log.read_text(errors="replace").splitlines()[-400:] if log.exists() else []
    exceptions = [line for line in lines if re.match(r"\S+(Exception|Error): ", line)]
    return (exceptions[:1] or lines[-1:] or ["The log is empty."])[0].strip()[:300]
