"""How a mirror shows itself: a live table on a terminal, a line per 10 s without one, ndjson for machines."""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import click
from pydantic import BaseModel
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cutover.engine.crew import Restart
from cutover.engine.mirroring import Abandoned, CaughtUp, Happening, Prepared
from cutover.engine.status import MirrorStatus

SCHEMA_VERSION = 1
LINE_SECONDS = 10.0


class View(Protocol):
    """Shows what happens; used in a with block."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End."""

    def show(self, happened: Happening) -> None:
        """Show one thing."""


def choose(output: str) -> View:
    """The view for the output and for where stderr goes; without a terminal, or with CI=true, nothing moves a cursor."""
    if output == "ndjson":
        return Events()
    console = Console(stderr=True)
    return Screen(console) if console.is_terminal and os.environ.get("CI") != "true" else Lines()


def duration(seconds: float) -> str:
    """A time span in the largest two units: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def lag(status: MirrorStatus) -> str:
    """How far behind it is, in records and, where a worker has told it, in time."""
    seconds = "" if status.lag_seconds is None else f", {duration(status.lag_seconds)}"
    return f"lag {status.lag_records:,} records{seconds}"


def size(amount: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1000
    raise AssertionError


def eta(status: MirrorStatus) -> str:
    """When the history is copied, and what that estimate rests on."""
    if status.done_offsets == status.total_offsets:
        return "history copied"
    if status.eta_seconds is None:
        return f"ETA unknown ({status.eta_basis})"
    return f"ETA {duration(status.eta_seconds)} ({status.eta_basis})"


def readiness(status: MirrorStatus) -> str:
    """`ready: yes`, or no and why."""
    return "ready: yes" if status.ready else f"ready: no, because {'; '.join(status.not_ready_because)}"


def percent(status: MirrorStatus) -> str:
    """What is done, rounded down: 100 % means all of it."""
    return f"{int(status.share * 1000) / 10:.1f} %"


def line(status: MirrorStatus) -> str:
    """The whole status in one self-contained line."""
    running = sum(each.state == "running" for each in status.workers)
    parts = [
        f"{status.stage} {percent(status)} ({status.done_offsets:,}/{status.total_offsets:,})",
        f"{status.records_per_second:,.0f} records/s, {size(status.bytes_per_second)}/s",
        lag(status),
        eta(status),
        readiness(status),
        f"workers {running}/{len(status.workers)}",
    ]
    return " | ".join([*parts, *([f"slowed by {', '.join(status.slowed_by)}"] if status.slowed_by else [])])


def restart_line(restart: Restart) -> str:
    """That a worker died, and what is done about it."""
    return (
        f"worker {restart.worker} is started again in {restart.pause_seconds:g} s (restart {restart.restarts}): {restart.because.what}."
        " Nothing is lost or doubled: its successor fences it and recovers from the follower's log."
    )


class Lines:
    """One line per 10 s on stderr, and one for each thing that is worth a line."""

    def __init__(self) -> None:
        """Nothing is printed yet."""
        self._next = 0.0

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to end."""

    def show(self, happened: Happening) -> None:
        """Print what is due."""
        if isinstance(happened, Restart):
            click.echo(restart_line(happened), err=True)
        if isinstance(happened, MirrorStatus) and time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            click.echo(line(happened), err=True)


class Screen:
    """A table that is redrawn each second; restarts stay above it."""

    def __init__(self, console: Console) -> None:
        """Nothing is drawn yet."""
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Take the lines."""
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the last picture there."""
        self._live.__exit__(kind, error, trace)

    def show(self, happened: Happening) -> None:
        """Draw a status; print what happened once."""
        if isinstance(happened, Restart):
            self._live.console.print(Text(restart_line(happened)))
        if isinstance(happened, MirrorStatus):
            self._live.update(picture(happened), refresh=True)


def picture(status: MirrorStatus) -> Group:
    """The status as a table of workers under three lines."""
    table = Table(box=None, pad_edge=False)
    for heading in ("worker", "state", "lanes", "records/s", "memory", "restarts", "slowed by"):
        table.add_column(heading, justify="right" if heading in {"records/s", "memory", "restarts"} else "left")
    for each in status.workers:
        lanes = ",".join(map(str, each.lanes))
        table.add_row(
            each.name, each.state, lanes, f"{each.records_per_second:,.0f}", size(each.resident_bytes), str(each.restarts), each.slowed_by
        )
    head = f"{status.stage} {percent(status)}  {status.done_offsets:,} of {status.total_offsets:,} offsets  {eta(status)}"
    flow = f"{status.records_per_second:,.0f} records/s  {size(status.bytes_per_second)}/s  {lag(status)}"
    return Group(Text(head, style="bold"), Text(flow), Text(readiness(status), style="green" if status.ready else "yellow"), table)


class Events:
    """One JSON object per line on stdout."""

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to end."""

    def show(self, happened: Happening) -> None:
        """Print the object."""
        click.echo(json.dumps(document(happened)))


def document(happened: Happening) -> dict[str, Any]:
    """The happening as a JSON object with schema_version and event."""
    if isinstance(happened, BaseModel):
        return _versioned(str(happened.model_dump()["event"]), happened.model_dump(mode="json"))
    if isinstance(happened, Restart):
        facts = {"worker": happened.worker, "restarts": happened.restarts, "pause_seconds": happened.pause_seconds}
        return _versioned("restart", {**facts, "error": happened.because.document()})
    if isinstance(happened, CaughtUp | Abandoned):
        return _versioned("caught_up" if isinstance(happened, CaughtUp) else "abandoned", status_document(happened.status))
    return _versioned("status", status_document(happened))


def status_document(status: MirrorStatus) -> dict[str, Any]:
    """The status as JSON values."""
    return {**dataclasses.asdict(status), "ready": status.ready, "share": status.share}


def prepared_document(prepared: Prepared) -> dict[str, Any]:
    """What is about to be done, as a JSON object."""
    told = prepared.configuration.model_dump(mode="json", exclude={"connection", "worker", "control_topic", "pair", "walls"})
    facts = {"workers": prepared.workers, "cluster_id": prepared.pair.cluster_id, "notes": list(prepared.pair.notes)}
    frozen = {"begins": dict(prepared.standing.begins), "ends": dict(prepared.standing.ends), "resumed": prepared.standing.resumed}
    return _versioned("prepared", {**told, **facts, **frozen})


def _versioned(event: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, **facts, "event": event}


def prepared_lines(prepared: Prepared) -> list[str]:
    """What is about to be done, for a person."""
    told, due = prepared.configuration, prepared.standing
    total = sum(max(0, end - due.begins[partition]) for partition, end in due.ends.items())
    origin = "goes on at its committed positions" if due.resumed else f"begins at {told.start}"
    return [
        f"{told.origin.name} ({told.origin.partitions} partitions) is copied to {told.follower.name} ({told.follower.partitions})"
        f" by {told.partitioner}",
        f"run {told.run} {origin}: {total:,} offsets to the ends of now, {told.lanes} lanes, {prepared.workers} workers here,"
        f" {_all(prepared)}",
        *(f"note: {words}" for words in prepared.pair.notes),
    ]


def _all(prepared: Prepared) -> str:
    share = prepared.configuration.rate
    return str(
        share.model_copy(
            update={
                "records_per_second": share.records_per_second * prepared.workers,
                "bytes_per_second": share.bytes_per_second * prepared.workers,
            }
        )
    )
