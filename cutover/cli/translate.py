"""`cutover translate`: where a group must start on the other topic of the pair, proved twice."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cutover import wiring
from cutover.cli.connection_options import connection_options
from cutover.connection import Connection
from cutover.engine.translating import Translated, Wanted
from cutover.engine.translating import translate as translated
from cutover.errors import PositionsUnreadable

NOT_FINAL = 3


@click.command()
@click.option("--from", "origin", required=True, metavar="S", help="The topic that the mirror copies.")
@click.option("--to", "follower", required=True, metavar="T", help="The topic that it keeps equal.")
@click.option("--group", metavar="NAME", help="Translate the committed positions of this group.")
@click.option("--positions", metavar="P=O,...|FILE", help="Translate these: 0=1200,1=980 or a file of topic,partition,offset lines.")
@click.option(
    "--direction",
    type=click.Choice(["origin-to-follower", "follower-to-origin"]),
    default="origin-to-follower",
    show_default=True,
    help="Which side the positions are on, and which the answer is for.",
)
@click.option("--run", metavar="NAME", help="The run of the mirror [default: S--T].")
@click.option("--missing", type=click.Choice(["earliest", "latest"]), help="For partitions where the group has no position.")
@click.option("--acknowledge-lost", is_flag=True, help="Go on from the log start where a position lies below it.")
@click.option("--count-duplicates/--no-count-duplicates", default=True, help="Count what would be read again (may need a scan).")
@click.option("--verify/--no-verify", default=True, help="Derive the answer a second time, in Python over librdkafka.")
@click.option("--output", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@connection_options
@click.pass_context
def translate(
    ctx: click.Context,
    /,
    connection: Callable[[], Connection],
    group: str | None,
    positions: str | None,
    direction: str,
    missing: str | None,
    output: str,
    *,
    verify: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Say where a group must start on T so that it reads every record it has not read on S, and how many again.

    Nothing is written. --output csv is what kafka-consumer-groups --reset-offsets --from-file reads. Exit code 3: the answer
    is not final, because the mirror has not copied yet all that the group has read.
    """
    if (group is None) == (positions is None):
        raise click.UsageError("Give either --group or --positions.")
    wanted = Wanted(direction=direction.replace("-", "_"), missing=missing or "", **options)  # type: ignore[arg-type]
    side = wanted.origin if wanted.direction == "origin_to_follower" else wanted.follower
    given = group if group is not None else _positions(positions or "", side)
    to = connection()
    with wiring.cluster(to) as cluster, wiring.control(to, cluster) as control:
        answer = translated(control, cluster, wiring.reader(to), wanted, given, verify=verify)
    {"text": _text, "json": _json, "csv": _csv}[output](answer)
    for warning in _warnings(answer):
        click.echo(warning, err=True)
    if not answer.translation.final:
        ctx.exit(NOT_FINAL)


def _positions(text: str, topic: str) -> dict[int, int]:
    """Read P=O,... or, if a file of this name is there, its topic,partition,offset lines for the topic."""
    path = Path(text)
    try:
        if "=" in text and not path.is_file():
            return {int(p): int(offset) for p, offset in (pair.split("=") for pair in text.split(","))}
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row]
        return {int(p): int(offset) for name, p, offset in (row[:3] for row in rows) if name.strip('"') == topic}
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PositionsUnreadable(f"{text!r} gives no positions of {topic}", why=str(error), topic=topic) from error


def _text(answer: Translated) -> None:
    told = answer.translation
    for p, offset in sorted(told.positions.items()):
        again = "" if told.duplicates is None else f"  {told.duplicates.get(p, 0):>8,} read again"
        click.echo(f"{answer.topic:<30} {p:>5} {offset:>14,}{again}")
    click.echo(f"final       {'yes' if told.final else 'no'}")
    total = told.duplicates_total
    click.echo(
        f"duplicates  {'not counted' if total is None else 'none: exact' if total == 0 else f'{total:,} records will be read again'}"
    )
    click.echo(f"derived     {'twice, and equal' if answer.verified else 'once'} ({told.milliseconds:,.0f} ms, {told.rounds} rounds)")


def _json(answer: Translated) -> None:
    told = answer.translation
    document = {
        "schema_version": 1,
        "topic": answer.topic,
        "run": answer.run.name,
        "verified": answer.verified,
        "duplicates_total": told.duplicates_total,
        **told.model_dump(mode="json"),
    }
    click.echo(json.dumps(document))


def _csv(answer: Translated) -> None:
    lines = io.StringIO()
    rows = ((answer.topic, p, offset) for p, offset in sorted(answer.translation.positions.items()))
    csv.writer(lines, lineterminator="\n").writerows(rows)
    click.echo(lines.getvalue(), nl=False)


def _warnings(answer: Translated) -> list[str]:
    told = answer.translation
    found = [
        f"not final: partition {p} was read to {each.position:,}, "
        + ("the mirror has copied nothing of it" if each.mirror < 0 else f"the mirror has copied to {each.mirror:,}")
        for p, each in sorted(told.behind.items())
    ]
    found += [f"lost: {offsets:,} offsets of partition {p} lie below the log start" for p, offsets in sorted(told.lost.items())]
    if told.unproved:
        found.append(f"unproved: retention has removed the beginning of follower partitions {', '.join(map(str, told.unproved))}")
    if told.strange:
        found.append(f"keys off their hash partition were met in follower partitions {', '.join(map(str, sorted(told.strange)))}")
    return found
