"""The command line: parse, call, print, exit code. No decisions."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from cutover import __version__
from cutover.errors import CutoverError

DECIDE = 7
ASKED = ("pause", "resume", "abort", "confirm", "forget", "clear", "forward", "move", "rate", "prime")
MODULES: Mapping[str, str] = {
    "plan": "plan",
    "preflight": "preflight",
    "run": "run",
    "status": "status",
    "watch": "status",
    "rollback": "run",
    **dict.fromkeys(ASKED, "ask"),
    "approve": "approve",
    "approvals": "approve",
    "control": "control",
    "checkpoint": "checkpoint",
    "journal": "journal",
    "mirror": "mirror",
    "audit": "audit",
    "translate": "translate",
    "gate": "gate",
    "kafka": "kafka",
    "demo": "demo",
}
"""Each command, in the order of the help, and the module here that holds it under its name: imported once it is asked for."""


class _Group(click.Group):
    """Finds commands in their modules; turns an error of ours into words on stderr and its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """All names."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own signature
        """The command of this name; None where there is none."""
        if cmd_name not in MODULES:
            return None
        command: click.Command = getattr(import_module(f"cutover.cli.{MODULES[cmd_name]}"), cmd_name)
        return command

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
