"""Names a process so that a later process with the same number is not taken for it: its pid and when it began.

Runs inside the supervisor too, so it imports the standard library alone.
"""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple


class Identity(NamedTuple):
    """A process for all time: its number and the moment it began, in the words of the system."""

    pid: int
    began: str


def identify(pid: int) -> Identity | None:
    """The process that has this number now; None when there is none (one that has ended and waits to be reaped counts as none)."""
    began = _began_linux(pid) if Path("/proc/self/stat").exists() else _began_ps(pid)
    return Identity(pid, began) if began else None


def lives(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identify(identity.pid) == identity


def is_frozen(pid: int) -> bool:
    """Whether every thread of the process stands still after SIGSTOP, which returns before they do."""
    threads = Path(f"/proc/{pid}/task")
    if threads.exists():
        return all(_state_and_began(file.read_text())[0] == "T" for file in threads.glob("*/stat"))
    answer = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip().startswith("T")


def own_identity() -> Identity:
    """This process."""
    found = identify(os.getpid())
    if found is None:
        raise RuntimeError("the running process is not in the table of processes")
    return found


def _began_linux(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, began = _state_and_began(stat)
    return "" if state in "ZX" else began


def _state_and_began(stat: str) -> tuple[str, str]:
    """Fields 3 and 22 of proc(5); the name in parentheses before them may hold spaces."""
    fields = stat[stat.rindex(")") + 2 :].split()
    return fields[0], fields[19]


def _began_ps(pid: int) -> str:
    answer = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    state, _, began = answer.partition(" ")
    return "" if state.startswith("Z") else began.strip()
