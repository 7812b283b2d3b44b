"""`cutover audit`: prove that a topic equals another one, or say where it does not. It writes nothing."""

import json
from collections.abc import Callable
from typing import Any

import click

from cutover import wiring
from cutover.cli import audit_view as view
from cutover.cli.audit_following import follow
from cutover.cli.connection_options import connection_options
from cutover.cli.dual_audit import DUAL_ONLY, MIRROR_ONLY, audit_dual, dual_options, refuse_given
from cutover.cli.offsets_type import OffsetsType
from cutover.cli.signals import StopSignals
from cutover.connection import Connection
from cutover.engine.audit_events import Verdict
from cutover.engine.auditing import AuditConfiguration, Auditing, Wanted, prepare, require_proved
from cutover.engine.crosscheck import CrossCheck, choose, cross_check
from cutover.engine.dual_auditing import DualWanted
from cutover.errors import CrossCheckDisagrees
from cutover.kafka.reader import KafkaReader

DEFAULT_WINDOWS = 20


@click.command()
@click.option("--from", "origin", metavar="S", required=True, help="The topic that was copied.")
@click.option("--to", "follower", metavar="T", required=True, help="The topic that must equal it.")
@click.option("--partitioner", metavar="FAMILY", required=True, help="How keys are placed on both: murmur2 (Java), crc32 (librdkafka), ...")
@click.option("--run", metavar="NAME", help="The run of the mirror [default: S--T].")
@click.option("--epoch", type=click.IntRange(min=0), default=0, help="The epoch of the run; in odd ones T was copied to S.")
@click.option("--null-keys", default="keep_partition", help="keep_partition or spread.")
@click.option("--start", type=OffsetsType(), default=dict, metavar="P:OFFSET,...", help="Begin here [default: where the epoch began].")
@click.option("--until", type=OffsetsType(), default=dict, metavar="P:OFFSET,...", help="End here [default: the mirror's positions].")
@click.option("--follow", is_flag=True, help="Go on judging what is copied until stopped; a violation stays red.")
@click.option("--interval", "interval_seconds", type=click.FloatRange(min=0.01), default=1.0, help="Seconds between windows of --follow.")
@click.option("--samples", type=click.IntRange(min=1, max=1000), default=10, help="Places named per kind of violation.")
@click.option("--show-data", is_flag=True, help="Show keys and values in samples.")
@click.option("--off-hash", type=click.Choice(["violation", "accepted"]), default="violation", help="Records of S outside their partition.")
@click.option("--cross-check", "windows", type=click.IntRange(min=1), is_flag=False, flag_value=DEFAULT_WINDOWS, metavar="[WINDOWS]",
              help=f"Judge so many random windows again, by the second implementation [{DEFAULT_WINDOWS}].")  # fmt: skip
@click.option("--pairs", "all_pairs", is_flag=True, help="Show every pair of partitions, also when there are many.")
@click.option("--dual", is_flag=True, help="T was written by the producers themselves, beside S: nothing was copied.")
@dual_options
@click.option("--output", type=click.Choice(["text", "json", "ndjson"]), default="text")
@connection_options
def audit(
    connection: Callable[[], Connection],
    dual: bool,
    windows: int | None,
    all_pairs: bool,
    output: str,
    **options: Any,  # noqa: ANN401
) -> None:
    """Prove that topic T equals topic S over what the mirror has copied: every record, its place and its order.

    Exit code 0: proved. 3: nothing differs, and a part could not be judged. 5: a violation.
    """
    if dual:
        refuse_given(MIRROR_ONLY, "of the audit of a mirror, not of --dual.")
        del options["run"], options["epoch"], options["null_keys"]
        audit_dual(connection(), output, DualWanted(source=options.pop("origin"), target=options.pop("follower"), **options))
        return
    refuse_given(DUAL_ONLY, "only with --dual.")
    wanted, to = Wanted(**{name: value for name, value in options.items() if name not in DUAL_ONLY}), connection()
    if windows and wanted.follow:
        raise click.UsageError("--cross-check judges one range: leave --follow out.")
    with StopSignals() as signals, wiring.cluster(to) as cluster:
        configuration = prepare(cluster, to, wanted)
        _refuse_unknown_partitions(wanted, configuration)
        shown = view.Ticker(output, follow=wanted.follow)
        verdict = _judge(configuration, signals, shown)
        if verdict is None:
            click.echo("stopped before a verdict: nothing is known of this range; audits write nothing, so nothing changed", err=True)
            raise click.exceptions.Exit(signals.exit_code or 1)
        checked = _check(KafkaReader(to), configuration, verdict, windows) if windows else None
    if wanted.follow and output == "text":
        click.echo(shown.summary())
        click.echo(view.ready_line(verdict))
    else:
        _say(wanted, verdict, checked, output, all_pairs=all_pairs)
    require_proved(verdict, wanted.origin, wanted.follower)
    raise click.exceptions.Exit(signals.exit_code)


def _refuse_unknown_partitions(wanted: Wanted, configuration: AuditConfiguration) -> None:
    """A bound for a partition that is not there would be left out, and the verdict would be about another range than was asked for."""
    origin = configuration.origin
    unknown = sorted(each for each in {*wanted.start, *wanted.until} if each >= origin.partitions)
    if unknown:
        raise click.UsageError(f"--start and --until name partitions {unknown}, {origin.name} has 0 to {origin.partitions - 1}.")


def _judge(configuration: AuditConfiguration, signals: StopSignals, shown: view.Ticker) -> Verdict | None:
    """Follow one process to its end, or until somebody asks to stop; gives its last verdict."""
    auditing = Auditing(configuration)
    follow(auditing, signals, shown.show)
    return auditing.verdict


def _check(reader: KafkaReader, configuration: AuditConfiguration, verdict: Verdict, windows: int) -> CrossCheck:
    try:
        return cross_check(reader, configuration, verdict, choose(verdict, windows))
    except CrossCheckDisagrees:
        for line in view.verdict_lines(verdict, all_pairs=False):
            click.echo(line, err=True)
        raise


def _say(wanted: Wanted, verdict: Verdict, checked: CrossCheck | None, output: str, *, all_pairs: bool) -> None:
    if output == "text":
        for line in [*view.verdict_lines(verdict, all_pairs=all_pairs), *view.cross_check_lines(checked), view.ready_line(verdict)]:
            click.echo(line)
        return
    document = view.verdict_document(wanted, verdict, checked)
    click.echo(json.dumps(document, indent=2 if output == "json" else None))
