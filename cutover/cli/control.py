"""cutover control: the control topic, made before anybody is configured with the client library; and what it says."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from cutover import wiring
from cutover.cli.connection_options import connection_options
from cutover.connection import Connection
from cutover.errors import ControlTopicMissing
from cutover.kafka.tail import Tail
from cutover.protocol import CONTROL_TOPIC, ControlState, UnreadableRecordError, document, parse
from cutover.stages.provisioned import CONTROL

READ_SECONDS = 15.0


@click.group()
def control() -> None:
    """The control log that producers and consumers on the client library follow."""


@control.command()
@click.option("--replication", type=click.IntRange(min=1), default=3, show_default=True, help="Replicas; a rehearsal may do with 1.")
@connection_options
def create(connection: Callable[[], Connection], replication: int) -> None:
    """Make the control topic: one partition, nothing ever removed. Instances wait for it when they start."""
    with wiring.cluster(connection()) as cluster:
        made = cluster.create_topic(CONTROL_TOPIC, 1, replication_factor=replication, configs=CONTROL)
    click.echo(f"created {CONTROL_TOPIC} ({made.topic_id}), {replication} replicas")
    click.echo("  next     grant Write on it to the principals of your producers and consumers, and to nobody else")


@control.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
@connection_options
def show(connection: Callable[[], Connection], output: str) -> None:
    """Say what the log says now: pairs, modes, and which instances have joined."""
    to = connection()
    with wiring.cluster(to) as cluster:
        if CONTROL_TOPIC not in cluster.topic_names():
            raise ControlTopicMissing(f"there is no topic {CONTROL_TOPIC}", topic=CONTROL_TOPIC)
    state = ControlState()
    unreadable = 0
    with Tail(to, CONTROL_TOPIC) as tail:
        for offset, value in tail.read_to_end(READ_SECONDS):
            try:
                state = state.then(offset, parse(value))
            except UnreadableRecordError:
                unreadable += 1
    told = {"schema_version": 1, **document(state), "unreadable": unreadable}
    click.echo(json.dumps(told) if output == "json" else _text(told))


def _text(told: Mapping[str, Any]) -> str:
    lines = [f"{told['after']} records, {told['unreadable']} of them unreadable"]
    for name, pair in told["pairs"].items():
        state = "closed" if pair["closed"] else f"held (term {pair['held']})" if pair["held"] else "open"
        lines.append(f"pair {name}: {state}, producers write the {str(pair['mode']).lower()}, epoch {pair['epoch']}")
    lines += [
        f"{each['role']} {name}: {each['topic']}{' in ' + str(each['group']) if each['group'] else ''}"
        for name, each in told["instances"].items()
    ]
    return "\n".join(lines)
