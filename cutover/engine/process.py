"""The life of one engine process: start, feed, watch, adopt, detach, stop. Each way to fail is an error of ours with a name."""

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeVar

from pydantic import BaseModel

from cutover.engine import binary, runtime
from cutover.engine.channel import Channel
from cutover.engine.events import MIRROR, Event, Fatal, Models, NotAnEventError, Ready, Stopped, parse
from cutover.engine.faults import error_of
from cutover.errors import CutoverError, EngineBabbling, EngineDied, EngineHung

WIRE_VERSION = 1
GRACE_SECONDS = 30.0
LISTEN_SECONDS = 10.0
REPLY_SECONDS = 10.0
QUIET_SECONDS = 10.0
STOP_SECONDS = 30.0
_TERM_SECONDS = 5.0
_EXIT_SECONDS = 2.0
_TICK_SECONDS = 0.25
_TAIL_BYTES = 4096

_Wanted = TypeVar("_Wanted", bound=Event)
Role = Literal["mirror", "audit", "dual-audit", "control"]


class EngineProcess:
    """One engine process and the connection to it. `events` has one reader; `request` may be called from any thread."""

    def __init__(
        self, channel: Channel, socket: Path, *, name: str, quiet_seconds: float | None, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        """Take over a connection; use `start` or `adopt`."""
        self.name = name
        self.socket = socket
        self._channel = channel
        self._child = child
        self._quiet_seconds = quiet_seconds
        self._detached = False
        self._asked = False
        self._suspected_at: float | None = None

    @classmethod
    def start(
        cls,
        role: Role,
        config: Mapping[str, Any] | BaseModel,
        *,
        models: Models = MIRROR,
        engine: Path | None = None,
        listen_seconds: float = LISTEN_SECONDS,
        quiet_seconds: float | None = QUIET_SECONDS,
    ) -> Self:
        """Start a process of the role and connect to it.

        `config` is the role's configuration without version and socket; worker and grace_seconds have defaults. With
        `quiet_seconds` a process that was ready and then says nothing for so long is EngineHung (None: it may be quiet).
        Raises EngineMissing, EngineDied, EngineHung, EngineBabbling, or what the engine's own fault stands for.
        """
        given = config.model_dump(mode="json") if isinstance(config, BaseModel) else dict(config)
        worker = given.get("worker") or f"{role}-{secrets.token_hex(3)}"
        socket = runtime.socket_path(given.get("run") or role, worker)
        whole = {"grace_seconds": GRACE_SECONDS, **given, "version": WIRE_VERSION, "worker": worker, "socket": str(socket)}
        child = _spawn(engine or binary.find(), role, whole, runtime.log_path(socket))
        try:
            _wait_listening(child, worker, socket, listen_seconds)
            channel = _connect(child, worker, socket, models)
        except BaseException:
            _end(child)
            runtime.forget(socket)
            raise
        return cls(channel, socket, name=worker, quiet_seconds=quiet_seconds, child=child)

    @classmethod
    def adopt(
        cls, socket: Path, *, models: Models = MIRROR, ready_seconds: float = LISTEN_SECONDS, quiet_seconds: float | None = QUIET_SECONDS
    ) -> Self:
        """Connect to a process that runs already and wait until it says that it is ready.

        EngineDied when nobody listens at the socket any more (its leftovers are removed), EngineHung when it does not speak.
        """
        try:
            channel = Channel.connect(socket, models)
        except OSError as error:
            runtime.forget(socket)
            raise EngineDied(f"no engine process listens at {socket}", why=str(error), socket=str(socket)) from error
        adopted = cls(channel, socket, name=socket.stem, quiet_seconds=quiet_seconds)
        channel.wait_ready(ready_seconds)
        if channel.ready is None:
            adopted.detach()
            raise EngineHung(f"the engine process at {socket} is not ready after {ready_seconds:g} s", socket=str(socket))
        adopted.name = channel.ready.worker
        return adopted

    @property
    def pid(self) -> int | None:
        """The process id; None while an adopted process has not said it."""
        if self._child is not None:
            return self._child.pid
        return self._channel.ready.pid if self._channel.ready else None

    @property
    def ready(self) -> Ready | None:
        """What the process said when it had reached its cluster."""
        return self._channel.ready

    def events(self, seconds: float | None = None) -> Iterator[Event]:
        """The events as they come, for so long (None: to the end; 0: those that are there).

        Ends after `stopped`. A failure is raised after the events before it.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = _TICK_SECONDS if deadline is None else min(_TICK_SECONDS, max(0.0, deadline - time.monotonic()))
            event = self._channel.next(left)
            if isinstance(event, Fatal):
                raise self._fatal(event)
            if event is not None:
                yield event
            elif self._channel.closed:
                if self._channel.stopped is not None:
                    return
                raise self._failure()
            else:
                self._suspect()
            if event is None and deadline is not None and time.monotonic() >= deadline:
                return

    def wait_for(self, wanted: type[_Wanted], seconds: float) -> _Wanted:
        """The next event of the type (others before it are dropped); EngineHung when it does not come in time."""
        for event in self.events(seconds):
            if isinstance(event, wanted):
                return event
        raise EngineHung(
            f"the engine process {self.name} sent no {wanted.__name__.lower()} event within {seconds:g} s",
            worker=self.name,
            pid=self.pid,
            stderr=self.stderr_tail(),
        )

    def request(self, command: str, *, seconds: float = REPLY_SECONDS, **arguments: object) -> Any:  # noqa: ANN401
        """Send a command and return the result of its reply.

        Raises the error that the reply's fault stands for, EngineHung when no reply comes in time: whether the command was
        carried out is then not known.
        """
        return self.answer(command, self.ask(command, **arguments), seconds)

    def ask(self, command: str, **arguments: object) -> int:
        """Send a command and return its number, for `answer`."""
        try:
            return self._channel.send(command, arguments)
        except OSError as error:
            raise self._failure(error) from error

    def answer(self, command: str, number: int, seconds: float = REPLY_SECONDS) -> Any:  # noqa: ANN401
        """The result of what was asked for; raises what `request` raises."""
        reply = self._channel.reply(number, seconds)
        if reply is None:
            if self._channel.closed:
                raise self._failure()
            raise EngineHung(
                f"the engine process {self.name} did not answer {command} within {seconds:g} s",
                worker=self.name,
                pid=self.pid,
                command=command,
            )
        if reply.error is not None:
            raise error_of(reply.error, worker=self.name, command=command)
        return reply.result

    @property
    def ended(self) -> bool:
        """Whether the process has said `stopped`."""
        return self._channel.stopped is not None

    def ask_to_stop(self, reason: str) -> None:
        """Tell the process to finish its transaction and end; `stop` waits for it."""
        if self._asked:
            return
        self._asked = True
        with contextlib.suppress(OSError):  # it is gone or deaf; the signals of stop settle it
            self._channel.send("stop", {"reason": reason})

    def stop(self, reason: str, seconds: float = STOP_SECONDS) -> Stopped | None:
        """End the process: by command, then SIGTERM, then SIGKILL. What it said last, or None when it could not say it."""
        if self._detached:
            return self._channel.stopped
        self.ask_to_stop(reason)
        self._channel.wait_closed(seconds)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_EXIT_SECONDS if self._channel.closed else 0)
            _end(self._child)
        elif not self._channel.closed:
            self._signal_adopted()
        self._leave()
        runtime.forget(self.socket)
        return self._channel.stopped

    def kill(self) -> None:
        """End the process at once with SIGKILL. A successor fences it first, so that nothing it had sent can do harm."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        elif self.pid is not None and not self._channel.closed:
            os.kill(self.pid, signal.SIGKILL)
        self._leave()
        runtime.forget(self.socket)

    def detach(self) -> None:
        """Leave the process running; with nobody connected it commits and ends itself after its grace time."""
        self._leave()
        if self._child is not None:  # somebody must collect its exit code
            threading.Thread(target=self._child.wait, name="engine-reaper", daemon=True).start()

    def stderr_tail(self) -> str:
        """The last words on the process's stderr."""
        return _tail(runtime.log_path(self.socket))

    def __enter__(self) -> Self:
        """The process itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop the process unless it was detached."""
        self.stop("its driver left" if error is None else f"its driver failed: {type(error).__name__}")

    def _leave(self) -> None:
        if not self._detached:
            self._detached = True
            self._channel.close()

    def _signal_adopted(self) -> None:
        for number, patience in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _EXIT_SECONDS)):
            if self.pid is None or self._channel.closed:  # closed: the pid may be another process's by now
                return
            os.kill(self.pid, number)
            self._channel.wait_closed(patience)

    def _suspect(self) -> None:
        """Raise EngineHung at the second look that finds it quiet: when we were suspended, the first comes before the reader's."""
        now = time.monotonic()
        if not self._is_quiet():
            self._suspected_at = None
        elif self._suspected_at is None:
            self._suspected_at = now
        elif now - self._suspected_at >= _TICK_SECONDS:
            raise self._hung()

    def _is_quiet(self) -> bool:
        watched = self._quiet_seconds is not None and self._channel.ready is not None
        return watched and time.monotonic() - self._channel.heard_at > (self._quiet_seconds or 0)

    def _hung(self) -> EngineHung:
        silent = time.monotonic() - self._channel.heard_at
        return EngineHung(
            f"the engine process {self.name} has said nothing for {silent:.1f} s",
            why="It reports once a second; it is stopped, starved of CPU, or stuck.",
            worker=self.name,
            pid=self.pid,
            silent_seconds=round(silent, 1),
        )

    def _fatal(self, event: Fatal) -> CutoverError:
        return error_of(event.error, worker=self.name, pid=self.pid)

    def _failure(self, cause: OSError | None = None) -> CutoverError:
        """Why the connection is of no use any more."""
        if self._channel.babble is not None:
            if self._child is not None:
                _end(self._child)
            return EngineBabbling(
                f"the engine process {self.name} sent what is not an event: {self._channel.babble}",
                why="Both sides must speak the same contract; nothing that it says can be relied on.",
                worker=self.name,
                pid=self.pid,
            )
        if not self._channel.closed:
            return EngineHung(f"the engine process {self.name} takes no command", why=str(cause), worker=self.name, pid=self.pid)
        if self._child is not None:
            return _post_mortem(self._child, self.name, self.socket)
        return EngineDied(f"the engine process {self.name} closed its connection", why=self.stderr_tail(), worker=self.name, pid=self.pid)


def _spawn(engine: Path, role: Role, config: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
    """Start the process. Its stdin is a file, so that feeding cannot block; its stderr too, so that it outlives us."""
    with tempfile.TemporaryFile() as stdin, log.open("wb") as stderr:
        stdin.write(json.dumps(config).encode())
        stdin.seek(0)
        try:
            return subprocess.Popen([str(engine), role], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)
        except OSError as error:
            raise EngineDied(f"{engine} cannot be started", why=str(error), path=str(engine)) from error


def _wait_listening(child: subprocess.Popen[bytes], worker: str, socket: Path, seconds: float) -> None:
    """Wait for the line that says that the socket is there, and close the pipe it came through."""
    if child.stdout is None:
        raise TypeError("the process has no stdout pipe")
    with child.stdout as pipe:
        line = _first_line(pipe, time.monotonic() + seconds)
    if line is None:
        raise EngineHung(
            f"the engine process {worker} does not listen after {seconds:g} s",
            worker=worker,
            pid=child.pid,
            stderr=_tail(runtime.log_path(socket)),
        )
    if not line:
        raise _post_mortem(child, worker, socket)
    if line.strip() != b'{"event":"listening"}':
        raise EngineBabbling(
            f"the engine process {worker} began with {line[:200]!r} instead of its listening event", worker=worker, pid=child.pid
        )


def _connect(child: subprocess.Popen[bytes], worker: str, socket: Path, models: Models) -> Channel:
    try:
        return Channel.connect(socket, models)
    except OSError as error:
        raise _post_mortem(child, worker, socket) from error


def _first_line(pipe: IO[bytes], deadline: float) -> bytes | None:
    """The first line, empty when the pipe ended without one, None when the time was over."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while b"\n" not in line and len(line) < _TAIL_BYTES:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            chunk = os.read(pipe.fileno(), _TAIL_BYTES)
            if not chunk:
                return line
            line += chunk
    return line


def _post_mortem(child: subprocess.Popen[bytes], worker: str, socket: Path) -> CutoverError:
    """What the end of the process means: the fault it left on stderr, else its exit code and its last words."""
    try:
        code = child.wait(_EXIT_SECONDS)
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    except subprocess.TimeoutExpired:
        _end(child)
        code, how = child.returncode, "its connection closed while it went on, so it was ended"
    tail = _tail(runtime.log_path(socket))
    runtime.forget(socket)
    fatal = _last_fatal(tail)
    if fatal is not None:
        return error_of(fatal.error, worker=worker, pid=child.pid)
    return EngineDied(
        f"the engine process {worker} (pid {child.pid}) ended by itself: {how}",
        why=f"Its last words: {tail}" if tail else "It left no words.",
        worker=worker,
        pid=child.pid,
        exit=code,
        stderr=tail,
    )


def _last_fatal(tail: str) -> Fatal | None:
    for line in reversed(tail.splitlines()):
        try:
            event = parse(line, (Fatal, Stopped))
        except NotAnEventError:
            continue
        return event if isinstance(event, Fatal) else None
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL, to our own child only; returns when it is gone."""
    for act in (child.terminate, child.kill):
        if child.poll() is not None:
            return
        act()
        try:
            child.wait(_TERM_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
