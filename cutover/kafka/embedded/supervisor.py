"""Runs one broker and ends it when its owner is gone, also when the owner was killed with -9.

A process of its own (`python -I -S supervisor.py JSON`), so that no thread or fork of the owner matters. It trusts two signs: the pipe on
its stdin closes, or the owner's pid no longer names the owner. Should the supervisor itself be killed, Linux ends the broker.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # -I leaves the folder of the script out of sys.path
    sys.path.insert(0, str(Path(__file__).parent))
    from identity import Identity, identify, lives  # type: ignore[import-not-found, unused-ignore]
else:
    from cutover.kafka.embedded.identity import Identity, identify, lives

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.25


def _die_with_supervisor() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def supervise(order: dict[str, Any]) -> int:
    """Starts order.command with its output in order.log, writes its identity to order.pid_file, returns its exit code.

    With order.owner = [pid, began] the broker lives no longer than that process, and each of order.remove is deleted after it.
    With order.pipe the owner holds the other end of stdin. Without an owner the broker lives until it is told to end.
    """
    owner = Identity(*order["owner"]) if order["owner"] else None
    with Path(order["log"]).open("ab") as log:
        broker = subprocess.Popen(
            order["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=order["folder"], preexec_fn=_die_with_supervisor
        )
    signal.signal(signal.SIGTERM, lambda *_: broker.terminate())
    _write(Path(order["pid_file"]), identify(broker.pid) or Identity(broker.pid, began=""))
    if owner is None:
        return broker.wait()
    while broker.poll() is None:
        if (_pipe_closed() if order["pipe"] else _pause()) or not lives(owner):
            broker.kill()
            broker.wait()
            for path in map(Path, order["remove"]):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return broker.returncode


def _write(pid_file: Path, identity: Identity) -> None:
    """In one step: a reader sees no file or the whole file."""
    temporary = pid_file.with_suffix(".new")
    temporary.write_text(json.dumps(identity))
    temporary.replace(pid_file)


def _pipe_closed() -> bool:
    """Waits one poll interval at most. A byte on the pipe never comes, so that readable means closed."""
    readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
    return bool(readable)


def _pause() -> bool:
    time.sleep(POLL_SECONDS)
    return False


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.umask(0o077)
    order = json.loads(sys.argv[1])
    if not order["pipe"] and os.fork():
        os._exit(0)  # who started this is not its owner and need not wait for it
    sys.exit(supervise(order))
