"""cutover preflight: everything that could stop the run, before anything is touched."""

import json
import textwrap
from pathlib import Path

import click

from cutover import wiring
from cutover.cli.plan_argument import connection_of, plan_argument
from cutover.connection import Connection
from cutover.errors import ControlUnreadable
from cutover.kafka.tail import Tail
from cutover.plan import Plan
from cutover.preflight import Finding, Severity, findings, of_every_pair, standing_in_the_way, survey
from cutover.protocol import CONTROL_TOPIC, ControlState, UnreadableRecordError, parse

RED = 4
READ_SECONDS = 10.0
WIDTH = 132


@click.command()
@plan_argument
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def preflight(ctx: click.Context, /, plan: Plan, plan_file: Path, output: str) -> None:
    """Look at everything that could stop PLAN, and say all of it at once. Nothing is changed.

    Red findings stop a run; amber ones do until their ids are in the plan's `acknowledged`. Exit code 4: something stands in the way.
    """
    connection = connection_of(plan)
    with wiring.cluster(connection) as cluster:
        log = _heard(connection) if CONTROL_TOPIC in cluster.topic_names() else ControlState()
        reader = wiring.reader(connection)
        found = of_every_pair(findings(each, survey(cluster, reader, each, log)) for each in plan.of_each_pair())
    blocking = standing_in_the_way(found, plan.acknowledged)
    if output == "json":
        _say_json(plan, found, blocking)
    else:
        _say(found, blocking)
    if blocking:
        click.echo(f"ready: no, {len(blocking)} findings stand in the way", err=True)
        click.echo("next: remove each red one, put the id of each amber one that you accept under acknowledged, and look again", err=True)
        ctx.exit(RED)
    click.echo(f"ready: yes\nnext: cutover run {plan_file}", err=True)


def _heard(connection: Connection) -> ControlState:
    """What the control log says now."""
    state = ControlState()
    with Tail(connection, CONTROL_TOPIC) as tail:
        for offset, value in tail.read_to_end(READ_SECONDS):
            try:
                state = state.then(offset, parse(value))
            except UnreadableRecordError as error:
                raise ControlUnreadable(f"record {offset} of {CONTROL_TOPIC} is none of the protocol's", why=str(error)) from error
    return state


def _say(found: tuple[Finding, ...], blocking: tuple[Finding, ...]) -> None:
    for each in found:
        known = " (acknowledged)" if each.severity is Severity.AMBER and each not in blocking else ""
        click.echo(f"{each.severity:<5}  {each.id}  {each.what}{known}")
        for word, said in (("why", each.why), ("next", each.next)):
            if said:
                click.echo(textwrap.fill(said, WIDTH, initial_indent=f"       {word:<5}", subsequent_indent=" " * 12))


def _say_json(plan: Plan, found: tuple[Finding, ...], blocking: tuple[Finding, ...]) -> None:
    document = {
        "schema_version": 1,
        "run": plan.cutover,
        "ready": not blocking,
        "in_the_way": sorted({each.id for each in blocking}),
        "findings": [each.document() for each in found],
    }
    click.echo(json.dumps(document))
