"""cutover gate: for init containers and readiness checks, whether members of a group may start on a topic."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from cutover import wiring
from cutover.cli.connection_options import connection_options
from cutover.cli.signals import StopSignals
from cutover.connection import Connection
from cutover.errors import ControlTopicMissing, GateNotMet, Unreachable
from cutover.kafka.tail import Tail
from cutover.protocol import CONTROL_TOPIC
from cutover.switches import readiness
from cutover.switches.gate import Answer, Asked, Gate

LOOK_SECONDS = 0.2
SAY_SECONDS = 10.0
READ_SECONDS = 15.0


@click.group()
def gate() -> None:
    """Keep members of a group from starting on a topic before their last positions are there."""


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--run", required=True, metavar="NAME", help="The run that moves the group: `cutover:` in its plan."),
        click.option("--topic", required=True, metavar="T", help="The topic that the members are to start on."),
        click.option("--group", required=True, metavar="NAME", help="The consumer group."),
    ):
        command = option(command)
    return command


@gate.command()
@_asking
@click.option("--timeout", "seconds", type=click.FloatRange(min=0), default=600.0, show_default=True, help="Seconds to wait.")
@connection_options
@click.pass_context
def wait(ctx: click.Context, /, connection: Callable[[], Connection], group: str, topic: str, run: str, seconds: float) -> None:
    """Return as soon as the members may start. Exit code 3: not within the time."""
    with StopSignals() as signals, _opened(connection(), Asked(group, topic, run)) as opened:
        answer = _wait(opened, seconds, signals)
    if answer is None:
        ctx.exit(signals.exit_code)
    if not answer.open:
        raise GateNotMet(f"{group} may not start on {topic} yet", why=answer.why, group=group, topic=topic)
    click.echo(answer.why)


def _wait(opened: Gate, seconds: float, signals: StopSignals) -> Answer | None:
    """The last answer; None when somebody asked this process to stop."""
    deadline, told_at = time.monotonic() + seconds, float("-inf")
    while True:
        answer = _ask(opened)
        now = time.monotonic()
        if answer.open or now >= deadline:
            return answer
        if now - told_at >= SAY_SECONDS:
            click.echo(f"waiting: {answer.why}", err=True)
            told_at = now
        if signals.wait(min(LOOK_SECONDS, deadline - now)):
            return None


def _ask(opened: Gate) -> Answer:
    try:
        return opened.answer()
    except Unreachable as error:
        return Answer(False, error.what)


@gate.command()
@_asking
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="Where to listen; 0 takes a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="On which address.")
@connection_options
@click.pass_context
def serve(ctx: click.Context, /, connection: Callable[[], Connection], group: str, topic: str, run: str, port: int, address: str) -> None:
    """Answer GET /ready until stopped: 200 when the members may start, 503 and the reason when not."""
    with StopSignals() as signals, _opened(connection(), Asked(group, topic, run)) as opened:
        server = readiness.listen(address, port, opened.answer)
        serving = threading.Thread(target=server.serve_forever, name="readiness")
        serving.start()
        click.echo(f"http://{address}:{server.server_port}/ready")
        while not signals.wait(SAY_SECONDS):
            pass
        server.shutdown()
        serving.join()
        server.server_close()
    ctx.exit(signals.exit_code)


@contextmanager
def _opened(connection: Connection, asked: Asked) -> Iterator[Gate]:
    with ExitStack() as ends:
        cluster = ends.enter_context(wiring.cluster(connection))
        if CONTROL_TOPIC not in cluster.topic_names():
            raise ControlTopicMissing(f"there is no topic {CONTROL_TOPIC}", topic=CONTROL_TOPIC)
        tail = ends.enter_context(Tail(connection, CONTROL_TOPIC))
        yield Gate(cluster, lambda: tail.read_to_end(READ_SECONDS), asked)
