"""What processes use: CPU from the kernel's account of them, resident memory at its highest. Linux only: both come from /proc."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLE_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """User and system time together; the highest resident memory, summed over the processes."""

    cpu_seconds: float
    peak_bytes: int


def cpu_seconds(pid: int) -> float:
    """What the process has used in its life; it may have ended, as long as nobody has waited for it."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def peak_bytes(pid: int) -> int:
    """VmHWM; 0 once the process has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def busy_seconds() -> float:
    """CPU time that the whole machine has used, or that was taken from it: everything but idle."""
    user, nice, system, _idle, _waiting, *rest = (int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS


class Watched:
    """Looks at processes until it is asked; they may end meanwhile. What they used before the first look counts too."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._cpu = dict.fromkeys(pids, 0.0)
        self._peaks = dict.fromkeys(pids, 0)
        self._looks: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def usage(self) -> Usage:
        """What they have used since they were started."""
        self._look()
        return Usage(sum(self._cpu.values()), sum(self._peaks.values()))

    def cpu_since(self, moment: float) -> float:
        """What they have used since a moment (seconds since 1970), to the nearest look."""
        before = [used for at, used in self._looks if at <= moment]
        return sum(self._cpu.values()) - (before[-1] if before else 0.0)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        for pid in self._pids:
            try:
                self._cpu[pid] = cpu_seconds(pid)
                self._peaks[pid] = max(self._peaks[pid], peak_bytes(pid))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended: the last look counts
        self._looks.append((time.time(), sum(self._cpu.values())))
