"""Ctrl-C and SIGTERM as an operator means them: once, stop at the next safe point; twice, leave at once."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

SAME_SECONDS = 0.5
"""Signals closer together are one: `timeout` and service managers signal the process and then its whole group."""


class StopSignals:
    """Counts the signals that ask to stop, while it is entered; `wait` is a sleep that they end."""

    def __init__(self) -> None:
        """Listen from `with` on."""
        self.first: signal.Signals | None = None
        self._first_at = 0.0
        self.count = 0
        self._asked = threading.Event()
        self._before: dict[signal.Signals, object] = {}

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 0 when nobody asked."""
        return 128 + self.first if self.first is not None else 0

    @property
    def insisted(self) -> bool:
        """Whether it was asked more than once."""
        return self.count > 1

    def wait(self, seconds: float) -> bool:
        """Sleep; True as soon as somebody has asked to stop."""
        return self._asked.wait(seconds)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.first is None:
            self.first, self._first_at = signal.Signals(number), time.monotonic()
        elif time.monotonic() - self._first_at < SAME_SECONDS:
            return
        self.count += 1
        self._asked.set()
        if self.insisted:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
