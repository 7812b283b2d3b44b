"""cutover checkpoint: the positions of a run's groups as a file that Kafka's own tool reads, to restore them without this tool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cutover.cli.journal_option import journal_option
from cutover.cli.plan_argument import run_argument
from cutover.errors import NothingPublished
from cutover.journal import Journal
from cutover.switches.checkpoint import Checkpoint, text, write

SIDES = {"SOURCE": "source", "TARGET": "target"}


@click.command()
@run_argument
@click.option("--group", "only", metavar="NAME", help="One group; else all that were moved.")
@click.option("--side", type=click.Choice(["source", "target"]), required=True, help="Positions on which topic.")
@click.option("-o", "out", type=click.Path(path_type=Path, dir_okay=False), help="Write this file instead of standard output.")
@journal_option
def checkpoint(run: str, only: str | None, side: str, out: Path | None, journal_url: str | None) -> None:
    """Write the positions that groups had when they were moved last, on the side they left and on the side they went to.

    kafka-consumer-groups.sh --reset-offsets --from-file reads it: with --group for one group, with --all-groups for several.
    """
    with Journal.open(journal_url) as journal:
        found = _found(journal, run, side)
    chosen = [each for each in found if only in {None, each.group}]
    if not chosen:
        what = f"{run} has not moved {only} yet" if only else f"{run} has moved no group yet"
        raise NothingPublished(what, why=f"A checkpoint of positions on the {side} is written when a group is moved.", run=run)
    if out is None:
        click.echo(text(chosen), nl=False)
        return
    write(out, chosen)
    click.echo(f"{out}: {len(chosen)} groups on the {side}", err=True)


def _found(journal: Journal, run: str, side: str) -> list[Checkpoint]:
    """The newest positions of each group on the side."""
    topics = _topics(journal.run(run).plan, side)
    newest: dict[tuple[str, str], Checkpoint] = {}
    for entry in journal.entries(run):
        pair, _, step = entry.step.rpartition("/")
        if entry.kind != "outcome" or not step.startswith("write:") or "failed" in entry.body:
            continue
        body, topic = entry.body, topics[pair]
        positions = body.get("positions") if SIDES[str(body["side"])] == side else body.get("left")
        if positions:
            group = str(body["group"])
            newest[(group, topic)] = Checkpoint(group, topic, {int(partition): int(offset) for partition, offset in positions.items()})
    return list(newest.values())


def _topics(plan: Mapping[str, Any], side: str) -> dict[str, str]:
    """The topic of the side by the pair that a step begins with: of the first pair, or the only one, nothing."""
    first, *others = plan.get("pairs") or [plan]
    return {"": str(first[side]["topic"]), **{str(each["source"]["topic"]): str(each[side]["topic"]) for each in others}}
