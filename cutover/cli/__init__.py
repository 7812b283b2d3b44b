"""The command line: parse, call, print, exit code. No decisions."""

import sys
from typing import Any

import click

from cutover import __version__
from cutover.errors import CutoverError

DECIDE = 7


class _Group(click.Group):
    """Turns an error of ours into words on stderr and its exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command; exit codes are those of cutover.errors, 2 for usage, 130 for Ctrl-C."""
        try:
            return super().main(*args, **kwargs)
        except CutoverError as error:
            click.echo(render(error), err=True)
            sys.exit(error.exit_code)
        except ExceptionGroup as several:  # undoing something failed while an error was dealt with: all are told
            ours, others = several.split(CutoverError)
            if ours is None or others is not None:
                raise
            for each in ours.exceptions:
                click.echo(render(each) if isinstance(each, CutoverError) else str(each), err=True)
            sys.exit(DECIDE)


def render(error: CutoverError) -> str:
    """The error as an operator reads it: what, why, traffic, next, each on its line."""
    lines = [f"error {error.id}: {error.what}"]
    lines += [f"  why      {error.why}"] if error.why else []
    return "\n".join([*lines, f"  traffic  {error.traffic_now}", f"  next     {error.next}"])


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cutover")
def main() -> None:
    """Move a live Kafka topic to one with more partitions: nothing lost, order kept, always a way back."""


from cutover.cli import ask  # noqa: E402 - commands are added to the group that is defined above
from cutover.cli.approve import approvals, approve  # noqa: E402
from cutover.cli.audit import audit  # noqa: E402
from cutover.cli.checkpoint import checkpoint  # noqa: E402
from cutover.cli.control import control  # noqa: E402
from cutover.cli.demo import demo  # noqa: E402
from cutover.cli.gate import gate  # noqa: E402
from cutover.cli.journal import journal  # noqa: E402
from cutover.cli.kafka import kafka  # noqa: E402
from cutover.cli.mirror import mirror  # noqa: E402
from cutover.cli.plan import plan  # noqa: E402
from cutover.cli.preflight import preflight  # noqa: E402
from cutover.cli.run import rollback, run  # noqa: E402
from cutover.cli.status import status, watch  # noqa: E402
from cutover.cli.translate import translate  # noqa: E402

for command in (
    plan,
    preflight,
    run,
    status,
    watch,
    rollback,
    *ask.COMMANDS,
    approve,
    approvals,
    control,
    checkpoint,
    journal,
    mirror,
    audit,
    translate,
    gate,
    kafka,
    demo,
):
    main.add_command(command)
