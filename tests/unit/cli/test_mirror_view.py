"""The mirror's views: one self-contained line, JSON with a version, and no cursor moves where no terminal is."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from cutover.cli import mirror_view as view
from cutover.engine.crew import Restart
from cutover.engine.mirroring import CaughtUp
from cutover.engine.status import MirrorStatus, WorkerStatus
from cutover.errors import EngineDied

WORKER = WorkerStatus("w1", "running", 7, (0, 2), 1, 1234.5, 38_000_000, "the rate limit")
STATUS = MirrorStatus(
    stage="copying history",
    at_seconds=1,
    done_offsets=999,
    total_offsets=1000,
    records=999,
    records_per_second=1234.5,
    bytes_per_second=2_500_000,
    lag_records=1500,
    lag_seconds=125,
    eta_seconds=3725,
    eta_basis="mean of the last 30 s",
    not_ready_because=("1 of 1,000 offsets of the history are left", "worker w2 is down"),
    workers=(WORKER, replace(WORKER, name="w2", state="down")),
    slowed_by=("the rate limit",),
    committed={0: 999},
)
DONE = replace(STATUS, done_offsets=1000, not_ready_because=(), eta_seconds=0.0)


def test_a_line_says_everything_by_itself() -> None:
    assert view.line(STATUS) == (
        "copying history 99.9 % (999/1,000) | 1,234 records/s, 2.5 MB/s | lag 1,500 records, 2 min 5 s"
        " | ETA 1 h 2 min (mean of the last 30 s)"
        " | ready: no, because 1 of 1,000 offsets of the history are left; worker w2 is down | workers 1/2 | slowed by the rate limit"
    )


def test_an_unknown_lag_is_told_in_records_alone() -> None:
    assert "| lag 1,500 records | ETA" in view.line(replace(STATUS, lag_seconds=None))


def test_nearly_all_is_never_shown_as_all() -> None:
    assert view.percent(replace(STATUS, done_offsets=999_999, total_offsets=1_000_000)) == "99.9 %"
    assert view.percent(DONE) == "100.0 %"


def test_an_unknown_eta_says_so() -> None:
    assert view.eta(replace(STATUS, eta_seconds=None, eta_basis="no progress measured yet")) == "ETA unknown (no progress measured yet)"
    assert view.eta(DONE) == "history copied"


@pytest.mark.parametrize(
    ("happened", "event"), [(STATUS, "status"), (CaughtUp(DONE), "caught_up"), (Restart("w1", EngineDied("it died"), 1, 2.0), "restart")]
)
def test_each_happening_is_a_versioned_json_object(happened: MirrorStatus | CaughtUp | Restart, event: str) -> None:
    document = json.loads(json.dumps(view.document(happened)))
    assert (document["schema_version"], document["event"]) == (1, event)


def test_ready_is_a_field_of_its_own() -> None:
    assert view.document(STATUS)["ready"] is False
    assert view.document(DONE)["ready"] is True


def test_lines_come_every_ten_seconds_and_restarts_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with view.Lines() as lines:
        lines.show(STATUS)
        lines.show(STATUS)
        lines.show(Restart("w1", EngineDied("it died"), 1, 2.0))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("copying history") == 1
    assert "worker w1 is started again in 2 s (restart 1): it died." in said.err


def test_without_a_terminal_or_in_ci_nothing_moves_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert isinstance(view.choose("text"), view.Lines)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(view.choose("text"), view.Screen)
    monkeypatch.setenv("CI", "true")
    assert isinstance(view.choose("text"), view.Lines)


def test_the_table_is_readable_without_colour() -> None:
    out = io.StringIO()
    Console(file=out, width=160, no_color=True).print(view.picture(STATUS))
    text = out.getvalue()
    assert "ready: no, because 1 of 1,000" in text
    assert "w1" in text
    assert "0,2" in text
    assert "\x1b[" not in text
