"""Runs the command of a hook: an exec array without a shell, in a process group of its own, for a bounded time and output.

What it leaves running must not hold its output: the output is let go of when the command itself has ended.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cutover.switches.calls import Done, Errand, Failed, HookSpec, Result, Unknown
from cutover.switches.checkpoint import Checkpoint, write
from cutover.switches.output import MOST_BYTES, tail

PASSED_ON = ("PATH", "HOME", "LANG")
LOOK_SECONDS = 0.02
GRACE_SECONDS = 2.0
LAST_WORDS_SECONDS = 0.5
CHUNK_BYTES = 4096
Beat = Callable[[], None]


def run(spec: HookSpec, errand: Errand, beat: Beat) -> Result:
    """Run it once. `beat` is called while it runs; when that raises, the command is ended first."""
    words = spec.command(errand.verb)
    with _told(errand) as (stdin, environment):
        try:
            process = subprocess.Popen(
                words,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment | dict(spec.env),
                cwd=spec.folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Failed(None, why=f"{words[0]} cannot be run: {error}")
        return _watched(process, spec, beat)


def _watched(process: "subprocess.Popen[bytes]", spec: HookSpec, beat: Beat) -> Result:
    said = _Listener(process.stdout)
    try:
        in_time = _wait(process, spec.timeout_seconds, beat)
    finally:
        if process.poll() is None:
            _end(process)
        heard = said.heard()
    return _result(process.returncode, tail(heard), spec.timeout_seconds, in_time=in_time)


def _result(code: int, words: str, seconds: float, *, in_time: bool) -> Result:
    if not in_time:
        return Unknown(f"it had not ended after {seconds:g} s and was killed", words)
    if code < 0:
        return Unknown(f"it was killed by {signal.Signals(-code).name}", words)
    return Done(code, words) if code == 0 else Failed(code, words)


def _wait(process: "subprocess.Popen[bytes]", seconds: float, beat: Beat) -> bool:
    """Whether it ended by itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
            return True
        beat()
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End its whole group: politely, then at once."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


class _Listener:
    """Keeps the end of what a stream says."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._kept: deque[int] = deque(maxlen=MOST_BYTES)
        self._thread = threading.Thread(target=self._listen, name="hook output", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        if self._stream is None:
            return
        with self._stream as stream:
            while chunk := os.read(stream.fileno(), CHUNK_BYTES):
                self._kept.extend(chunk)

    def heard(self) -> bytes:
        """What was said until now; a child that holds the stream is not waited for."""
        self._thread.join(LAST_WORDS_SECONDS)
        return bytes(self._kept.copy())


@contextmanager
def _told(errand: Errand) -> Iterator[tuple[IO[bytes], dict[str, str]]]:
    """Its standard input and its environment: nothing of ours but what it needs."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | errand.environment()
    with tempfile.TemporaryDirectory(prefix="cutover-hook-") as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(errand.document()).encode())
        stdin.seek(0)
        yield stdin, environment | _positions_file(errand, Path(folder))


def _positions_file(errand: Errand, folder: Path) -> dict[str, str]:
    if errand.positions is None or errand.subject != "group":
        return {}
    path = folder / "positions.csv"
    others = [Checkpoint(errand.name, each.topic(errand.side).name, each.positions or {}) for each in errand.others]
    write(path, [Checkpoint(errand.name, errand.topic.name, errand.positions), *others])
    return {"CUTOVER_POSITIONS_FILE": str(path)}
