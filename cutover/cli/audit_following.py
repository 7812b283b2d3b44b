"""Following one audit process from the command line, to its end or until somebody asks to stop."""

from collections.abc import Callable
from typing import Any

from cutover.cli.signals import StopSignals
from cutover.engine.auditing import Auditing
from cutover.engine.dual_auditing import DualAuditing

TICK_SECONDS = 0.25


def follow(auditing: Auditing | DualAuditing, signals: StopSignals, show: Callable[[Any], None]) -> None:
    """Show what it tells as it comes; the process is gone afterwards, its last verdict stays with it."""
    try:
        while not signals.wait(0):
            for happened in auditing.happenings(TICK_SECONDS):
                show(happened)
            if auditing.ended:
                break
    finally:
        auditing.stop("asked to stop" if signals.count else "done")
