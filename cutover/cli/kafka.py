"""cutover kafka up|down|status: an embedded Apache Kafka from the command line."""

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cutover.kafka.embedded.registry import Cluster


@click.group()
def kafka() -> None:
    """A real Apache Kafka on 127.0.0.1, as child processes: no Docker, no installation."""


@kafka.command()
@click.option(
    "--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True, help="3: replication factor 3, min.insync.replicas 2."
)
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the data here for the next up. [default: removed by down]"
)
@click.option("--port", type=click.IntRange(1024, 65533), help="Port of broker 1; the others follow it. [default: free ones are found]")
@click.option("--heap-mb", type=click.IntRange(256), default=512, show_default=True, help="Heap of each broker.")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C; the brokers end with this process, however it ends.")
def up(brokers: str, data_dir: Path | None, port: int | None, heap_mb: int, foreground: bool) -> None:
    """Start Kafka and print its bootstrap servers once it serves.

    Without --foreground the brokers belong to nobody: they run until `cutover kafka down` ends them, or the machine stops.
    The first start downloads about 45 MB; later ones need no network.
    """
    from cutover.kafka.embedded import EmbeddedKafka, registry

    cluster = EmbeddedKafka(int(brokers), data_dir=data_dir, port=port, heap_mb=heap_mb, detached=not foreground)
    click.echo(f"starting Apache Kafka, {brokers} broker{'' if brokers == '1' else 's'}", err=True)
    cluster.start()
    click.echo(cluster.bootstrap_servers)
    click.echo(f"data in {cluster.data_dir}", err=True)
    if not foreground:
        click.echo(f"end it with: cutover kafka down {registry.name_of(cluster.data_dir)}", err=True)
        return
    click.echo("Ctrl-C ends it", err=True)
    try:
        _wait_for_signal()
    finally:
        cluster.stop()


def _wait_for_signal() -> None:
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    told.wait()


@kafka.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every cluster, also those that belong to a live process.")
def down(names: tuple[str, ...], everything: bool) -> None:
    """End what `up` started, and what was left behind by a process that is gone.

    A cluster that belongs to a live process (a test, a demo, up --foreground) is ended only by NAME or --all. Where several run
    until `down`, NAMES says which: what `up` was not given a --data-dir for is removed.
    """
    from cutover.kafka.embedded import registry

    known = registry.clusters()
    unknown = set(names) - {cluster.name for cluster in known}
    if unknown:
        raise click.UsageError(f"No cluster is named {', '.join(sorted(unknown))}; cutover kafka status names those that run.")
    running = [cluster.name for cluster in known if cluster.state == "running"]
    if len(running) > 1 and not names and not everything:
        raise click.UsageError(f"{len(running)} clusters run: {', '.join(running)}. Say which to end; nothing was ended.")
    chosen = [cluster for cluster in known if everything or cluster.name in names or (not names and cluster.state != "owned")]
    for cluster in chosen:
        registry.end(cluster)
        click.echo(f"ended {cluster.name} ({cluster.bootstrap_servers})", err=True)
    if not chosen:
        click.echo("nothing to end", err=True)


@kafka.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(output: str) -> None:
    """Show the embedded clusters of this machine, with the command that ends each stale one."""
    from cutover.kafka.embedded import registry

    known = registry.clusters()
    if output == "json":
        click.echo(json.dumps({"schema_version": 1, "clusters": [cluster.document() for cluster in known]}, indent=2))
        return
    for cluster in known:
        click.echo(_line(cluster))
    if not known:
        click.echo("no embedded Kafka runs; start one: cutover kafka up", err=True)


def _line(cluster: "Cluster") -> str:
    pids = " ".join(str(identity.pid) for identity in cluster.alive)
    line = f"{cluster.name}  {cluster.state:8}{cluster.bootstrap_servers}  pid {pids}  {cluster.data_dir}"
    if cluster.state == "owned" and cluster.owner:
        return f"{line}  ends with pid {cluster.owner.pid}"
    return f"{line}\n  the process that started it is gone; end it: cutover kafka down {cluster.name}" if cluster.state == "stale" else line
