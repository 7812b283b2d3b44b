"""`cutover audit --dual`: prove that two topics to which producers write every record hold the same, or say where they do not."""

import json
from collections.abc import Callable
from typing import Any

import click

from cutover import wiring
from cutover.cli import dual_audit_view as view
from cutover.cli.audit_following import follow
from cutover.cli.offsets_type import OffsetsType
from cutover.cli.signals import StopSignals
from cutover.connection import Connection
from cutover.engine.auditing import require_proved
from cutover.engine.dual_auditing import DualAuditConfiguration, DualAuditing, DualWanted, prepare_dual
from cutover.engine.dual_events import DualVerdict

MIRROR_ONLY = ("run", "epoch", "null_keys", "windows", "all_pairs")
OPTIONS = (
    click.option("--target-partitioner", metavar="NAME", help="With --dual: of T, if it is another."),
    click.option("--target-start", type=OffsetsType(), default=dict, metavar="P:OFFSET,...", help="With --dual: begin here on T."),
    click.option("--target-until", type=OffsetsType(), default=dict, metavar="P:OFFSET,...", help="With --dual: end here on T."),
    click.option("--align", is_flag=True, help="With --dual: nobody was held where the ranges begin and end."),
    click.option("--stamps", type=click.Choice(["optional", "required"]), default="optional", help="With --dual: of the library."),
    click.option("--patience", "patience_seconds", type=click.FloatRange(min=0.1), default=10.0,
                 help="With --dual: how far apart the two records of one write may be, in seconds."),
    click.option("--spill-dir", type=click.Path(exists=True, file_okay=False), help="With --dual: for what does not fit into memory."),
)  # fmt: skip
DUAL_ONLY = ("target_partitioner", "target_start", "target_until", "align", "stamps", "patience_seconds", "spill_dir")


def dual_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of --dual."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def refuse_given(names: tuple[str, ...], because: str) -> None:
    """Refuse options that have no meaning here."""
    context = click.get_current_context()
    given = [each for each in names if context.get_parameter_source(each) is click.core.ParameterSource.COMMANDLINE]
    if given:
        words = ", ".join(each.opts[0] for each in context.command.params if each.name in given)
        raise click.UsageError(f"{words}: {because}")


def audit_dual(to: Connection, output: str, wanted: DualWanted) -> None:
    """Judge, print, and end with the exit code of the verdict."""
    with StopSignals() as signals, wiring.cluster(to) as cluster:
        configuration = prepare_dual(cluster, to, wanted)
        _refuse_unknown_partitions(wanted, configuration)
        verdict = _judge(configuration, signals, view.Ticker(output, follow=wanted.follow))
    if verdict is None:
        click.echo("stopped before a verdict: nothing is known of this range; audits write nothing, so nothing changed", err=True)
        raise click.exceptions.Exit(signals.exit_code or 1)
    if output == "text":
        for line in view.verdict_lines(verdict):
            click.echo(line)
    else:
        click.echo(json.dumps(view.verdict_document(wanted, verdict), indent=2 if output == "json" else None))
    require_proved(verdict, wanted.source, wanted.target)
    raise click.exceptions.Exit(signals.exit_code)


def _refuse_unknown_partitions(wanted: DualWanted, configuration: DualAuditConfiguration) -> None:
    """A bound for a partition that is not there would be left out, and the verdict would be about another range than was asked for."""
    for topic, bounds in ((configuration.source, {*wanted.start, *wanted.until}),
                          (configuration.target, {*wanted.target_start, *wanted.target_until})):  # fmt: skip
        unknown = sorted(each for each in bounds if each >= topic.partitions)
        if unknown:
            raise click.UsageError(f"partitions {unknown} are named of {topic.name}, which has 0 to {topic.partitions - 1}.")


def _judge(configuration: DualAuditConfiguration, signals: StopSignals, shown: view.Ticker) -> DualVerdict | None:
    """Follow one process to its end, or until somebody asks to stop; gives its last verdict."""
    auditing = DualAuditing(configuration)
    follow(auditing, signals, shown.show)
    return auditing.verdict
