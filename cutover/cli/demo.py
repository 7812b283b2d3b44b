"""cutover demo: the main job on a real Kafka of its own, on one screen."""

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.live import Live

    from cutover.rehearsal.story import Told


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
def demo(as_json: bool) -> None:
    """Copy a live topic from 6 to 24 partitions, harm the copy on the way, and prove that both are equal.

    Starts a real Apache Kafka on 127.0.0.1, three producer processes and a mirror of two workers; kills one worker with -9 and freezes
    the other for longer than its transaction timeout; then audits every record. Takes about 40 seconds and leaves nothing behind.
    """
    from cutover.rehearsal.story import Story
    from cutover.wiring import cluster

    if as_json:
        Story(_tell_json).play(cluster)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live("", console=console, refresh_per_second=4, transient=True) as live:
        Story(lambda told: _tell(live, told)).play(cluster)


def _tell(live: "Live", told: "Told") -> None:
    if told.status is None:
        live.console.print(f"[dim]{told.at_seconds:5.1f} s[/dim]  {told.words}")
        return
    live.update(f"         [dim]{line_of(told)}[/dim]")


def line_of(told: "Told") -> str:
    """The status in one line."""
    status = told.status
    if status is None:
        return told.words
    workers = ", ".join(f"{each.name.split('-')[0]} {each.state}" for each in status.workers)
    return f"copied {status.records:,} records, {status.records_per_second:,.0f}/s, lag {status.lag_records:,} records · {workers}"


def _tell_json(told: "Told") -> None:
    line = {"schema_version": 1, "at_seconds": round(told.at_seconds, 2)}
    click.echo(json.dumps({**line, "status": line_of(told)} if told.status else {**line, "said": told.words}))
