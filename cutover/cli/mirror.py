"""`cutover mirror`: copy a topic to one with another number of partitions, exactly once, and keep it equal."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from cutover import wiring
from cutover.cli import mirror_view as view
from cutover.cli.connection_options import connection_options, connection_words
from cutover.cli.signals import StopSignals
from cutover.connection import Connection
from cutover.engine import binary, present
from cutover.engine import pair as pairs
from cutover.engine.configuration import Rate, Start
from cutover.engine.crew import Crew
from cutover.engine.mirroring import Abandoned, CaughtUp, Mirroring, Prepared, Wanted, naming, prepare, require_known_words
from cutover.engine.status import MirrorStatus
from cutover.ports import Cluster


class _RateType(click.ParamType[Rate]):
    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Rate:
        try:
            return value if isinstance(value, Rate) else Rate.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _StartType(click.ParamType[Start]):
    name = "start"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Start:
        try:
            return value if isinstance(value, Start) else Start.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _copy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a worker must know; the same for `mirror` and `mirror worker`."""
    for option in reversed(
        (
            click.option("--from", "origin", metavar="S", help="The topic to copy."),
            click.option("--to", "follower", metavar="T", help="The topic to keep equal to it."),
            click.option("--partitioner", metavar="FAMILY", help="How keys are placed: murmur2 (Java), crc32 (librdkafka), ..."),
            click.option("--run", metavar="NAME", help="The run; workers of one name share the work [default: S--T]."),
            click.option("--lanes", type=click.IntRange(min=1), help="Units of work, fixed for the life of a run [default: 4, or fewer]."),
            click.option("--rate", type=_RateType(), default="none", help="Limit of this host: 10000/s, 5MB/s or none."),
            click.option("--start", type=_StartType(), default="earliest", help="earliest, latest, ISO 8601 time or milliseconds."),
            click.option("--null-keys", default="keep_partition", help="keep_partition or spread."),
            click.option("--until-caught-up", is_flag=True, help="End when everything that is there now is copied."),
            click.option("--create", type=click.IntRange(min=1), metavar="PARTITIONS", help="Create T like S if it is not there."),
            click.option("--allow-shrink", is_flag=True, help="Copy into fewer partitions."),
            click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, change nothing."),
            click.option("--grace", "grace_seconds", type=float, default=30, help="Seconds a worker goes on after its driver is gone."),
            click.option("--output", type=click.Choice(["text", "ndjson"]), default="text"),
        )
    ):
        command = option(command)
    return connection_options(command)


@click.group(invoke_without_command=True)
@click.option("--workers", type=click.IntRange(min=1, max=64), default=1, help="Processes on this host.")
@_copy_options
@click.pass_context
def mirror(ctx: click.Context, /, workers: int, **options: Any) -> None:  # noqa: ANN401
    """Copy topic S to topic T with another number of partitions, exactly once, by key, until stopped.

    The same command on another host, or again after a stop, joins the run and goes on where it stands.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_mirror(workers=workers, **options))


@mirror.command("worker")
@_copy_options
@click.pass_context
def worker(ctx: click.Context, /, **options: Any) -> None:  # noqa: ANN401
    """Be one worker of a run, on any host: the same as mirror --workers 1."""
    ctx.exit(_mirror(workers=1, **options))


@mirror.command("rate")
@click.option("--run", required=True, metavar="NAME")
@click.argument("rate", type=_RateType())
def set_rate(run: str, rate: Rate) -> None:
    """Change the limit of the run's workers on this host while they run."""
    names = present.limit(run, rate)
    click.echo(f"{run}: {rate} over {len(names)} workers on this host ({', '.join(names)})")


@mirror.command("status")
@click.option("--run", required=True, metavar="NAME")
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
def show_status(run: str, output: str) -> None:
    """Show the run's workers on this host."""
    found = present.progress(run)
    if output == "json":
        workers = [{"worker": name, "pid": pid, **told.model_dump(mode="json")} for name, (pid, told) in found.items()]
        click.echo(json.dumps({"schema_version": view.SCHEMA_VERSION, "run": run, "workers": workers}))
        return
    for name, (pid, told) in found.items():
        lanes = ", ".join(f"{each.lane} {each.state}" for each in told.lanes) or "none yet"
        click.echo(
            f"{name} (pid {pid}): {told.records:,} records copied, {told.records_per_second:,.0f}/s, lag {told.lag_records:,} records,"
            f" {view.duration(told.lag_seconds)}, memory {view.size(told.resident_bytes)}, lanes {lanes}"
            + (f", slowed by {told.slowed_by}" if told.slowed_by else "")
        )


def _mirror(
    *,
    connection: Callable[[], Connection],
    output: str,
    until_caught_up: bool,
    dry_run: bool,
    create: int | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """Run the mirror; returns the exit code."""
    for name, flag in (("origin", "--from"), ("follower", "--to"), ("partitioner", "--partitioner")):
        if not options[name]:
            raise click.UsageError(f"Missing option '{flag}'.")
    wanted, to = Wanted(**options), connection()
    with StopSignals() as signals, wiring.cluster(to) as cluster:
        if create is not None and _creates(cluster, to, wanted, create, output, dry_run=dry_run):
            return 0
        prepared = prepare(cluster, to, wanted)
        _say_prepared(prepared, output, dry_run=dry_run)
        if dry_run:
            return 0
        crew = Crew(prepared.configuration, wanted.workers)
        mirroring = Mirroring(cluster, prepared, crew)
        crew.start()
        last = _drive(crew, mirroring, signals, view.choose(output), until_caught_up=until_caught_up)
        _say_end(prepared, wanted, mirroring.status(), signals, output, last=last)
    return signals.exit_code


def _creates(cluster: Cluster, to: Connection, wanted: Wanted, partitions: int, output: str, *, dry_run: bool) -> bool:
    """Create the follower if it is not there; True when it is not there and a dry run can say no more than that."""
    require_known_words(wanted)
    with naming(to):
        if not pairs.is_to_be_created(cluster, wanted.origin, wanted.follower, partitions, allow_shrink=wanted.allow_shrink):
            return False
    words = f"{wanted.follower} with {partitions} partitions, like {wanted.origin}, without limits of age or size"
    if dry_run and output == "ndjson":
        facts = {"event": "would_create", "follower": wanted.follower, "partitions": partitions, "like": wanted.origin}
        click.echo(json.dumps({"schema_version": view.SCHEMA_VERSION, **facts, "dry_run": True}))
        return True
    if dry_run:
        click.echo(f"would create {words}, and copy {wanted.origin} to it by {wanted.partitioner}, from {wanted.start} on")
        click.echo("dry run: nothing was changed and nothing is started")
        return True
    binary.check_version(binary.find())  # a missing engine is known before anything is made
    pairs.create_follower(cluster, wanted.origin, wanted.follower, partitions)
    click.echo(f"created {words}", err=True)
    return False


def _drive(
    crew: Crew, mirroring: Mirroring, signals: StopSignals, shown: view.View, *, until_caught_up: bool
) -> CaughtUp | Abandoned | None:
    """Until there is nothing more to do or somebody asks to stop; the workers have ended when this returns, or were left to."""
    last = None
    try:
        with shown:
            for happened in mirroring.happenings(signals.wait, until_caught_up=until_caught_up):
                shown.show(happened)
                last = happened if isinstance(happened, CaughtUp | Abandoned) else None
        crew.stop("caught up" if last else "asked to stop")
    except KeyboardInterrupt:
        crew.detach()
    except BaseException:
        crew.stop("the mirror failed")
        raise
    return last


def _say_prepared(prepared: Prepared, output: str, *, dry_run: bool) -> None:
    if output == "ndjson":
        click.echo(json.dumps({**view.prepared_document(prepared), "dry_run": dry_run}))
        return
    for words in view.prepared_lines(prepared):
        click.echo(words, err=not dry_run)
    if dry_run:
        click.echo("dry run: nothing was changed and nothing is started")


def _say_end(
    prepared: Prepared, wanted: Wanted, status: MirrorStatus, signals: StopSignals, output: str, *, last: CaughtUp | Abandoned | None
) -> None:
    outcome = "caught up" if isinstance(last, CaughtUp) else "left by its workers" if last else "stopped"
    if signals.insisted:
        outcome = "left running: the workers end by themselves after their grace time"
    names = [
        "--from",
        wanted.origin,
        "--to",
        wanted.follower,
        "--partitioner",
        wanted.partitioner,
        "--run",
        prepared.run.name,
        *connection_words(),
    ]
    again = shlex.join(["cutover", "mirror", *names, "--lanes", str(prepared.configuration.lanes)])
    audit = shlex.join(["cutover", "audit", *names])
    following = audit if isinstance(last, CaughtUp) else again
    if output == "ndjson":
        facts = {"event": "ended", "outcome": outcome, "exit_code": signals.exit_code, "next": following, "run": asdict(prepared.run)}
        click.echo(json.dumps({"schema_version": view.SCHEMA_VERSION, **facts, "status": view.status_document(status)}))
        return
    click.echo(
        f"{prepared.run.name}: {outcome}; {status.done_offsets:,} of {status.total_offsets:,} offsets copied and committed"
        f" ({status.records:,} records by this command)"
    )
    click.echo(f"  traffic  {wanted.origin} is untouched; {wanted.follower} holds whole transactions only, in order per key")
    click.echo(f"  next     {following}")
