"""One wish to stop may arrive as two signals; two wishes are two."""

import signal

import pytest

from cutover.cli import signals
from cutover.cli.signals import StopSignals


def test_signals_that_come_together_ask_once() -> None:
    with StopSignals() as told:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert told.wait(0)
    assert (told.count, told.insisted, told.exit_code) == (1, False, 130)


def test_a_later_signal_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SAME_SECONDS", 0)
    with StopSignals() as told:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert (told.insisted, told.exit_code) == (True, 143)
