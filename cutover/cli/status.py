"""cutover status and watch: how a run stands, from any terminal that reaches its journal; changes nothing.

A driver publishes its view once a second. Where none runs, what the journal and the control log say is shown, with its age.
"""

import json
import sys
import time
from typing import Any

import click

from cutover.cli import run_view
from cutover.cli.journal_option import journal_option
from cutover.cli.plan_argument import run_argument
from cutover.errors import NothingPublished
from cutover.history import History
from cutover.journal import Journal
from cutover.lifecycle import Order

STALE_SECONDS = 5.0
LOOK_SECONDS = 1.0


@click.command()
@run_argument
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
@journal_option
def status(run: str, output: str, journal_url: str | None) -> None:
    """Show how RUN stands: stage, what it waits for, lag, groups, producers, who drives, and where it can go back to."""
    with Journal.open(journal_url) as journal:
        told = _told(journal, run)
    if output == "json":
        click.echo(json.dumps(told))
        return
    for words in (*run_view.document_words(told), *_driver_words(told)):
        click.echo(words)


@click.command()
@run_argument
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Stop after so many seconds; else at Ctrl-C or when the run ends.")
@click.option("--output", type=click.Choice(["text", "ndjson"]), default="text")
@journal_option
def watch(run: str, seconds: float | None, output: str, journal_url: str | None) -> None:
    """Follow RUN from another terminal: what is new in the journal, and its state each second. Asks nothing of the driver."""
    end = None if seconds is None else time.monotonic() + seconds
    seen = -1
    with Journal.open(journal_url) as journal:
        while True:
            for entry in journal.entries(run, seen):
                seen = entry.seq
                if output == "text":
                    click.echo(f"{entry.at:%H:%M:%S} {entry.stage}: {entry.kind} {entry.step}")
            told = _told(journal, run)
            _show(told, output)
            if told["stage"] in {"completed", "aborted"} or (end is not None and time.monotonic() >= end):
                return
            time.sleep(LOOK_SECONDS)


def _show(told: dict[str, Any], output: str) -> None:
    if output == "ndjson":
        click.echo(json.dumps({"event": "status", **told}))
    elif sys.stdout.isatty():
        click.echo(f"\r\x1b[K{run_view.document_line(told)}", nl=False)


def _told(journal: Journal, run: str) -> dict[str, Any]:
    """The driver's last view, or at least where the journal says that the run stands."""
    row = journal.run(run)
    published = journal.board(run)
    standing = History.of(Order(str(row.plan["order"])), journal.entries(run)).standing
    holding = journal.holder(row.pair)
    if published is None:
        raise NothingPublished(f"no driver of {run} has published anything yet", why=f"It stands in {standing.stage}.", run=run)
    age = max(0.0, published.age_seconds)
    driver = {"holder": holding.holder, "until": holding.until.isoformat()} if holding is not None else None
    return {**published.body, "stage": standing.stage.value, "age_seconds": round(age, 1), "stale": age > STALE_SECONDS, "driver": driver}


def _driver_words(told: dict[str, Any]) -> list[str]:
    driver = told["driver"]
    who = f"{driver['holder']} drives" if driver else "nobody drives"
    stale = f"; what is above is {told['age_seconds']:.0f} s old" if told["stale"] else ""
    on = f"cutover resume {told['run']} after a pause, cutover run PLAN where nobody drives"
    return [f"  driver   {who}{stale}", f"  next     {on}; cutover watch {told['run']} follows"]
