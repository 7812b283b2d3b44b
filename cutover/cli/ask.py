"""Commands that ask a running driver, from any terminal that reaches the same journal: pause, resume, abort, confirm and their like.

A driver that runs answers within a second; without one the request waits in the journal until the next one starts.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from cutover.cli.journal_option import journal_option
from cutover.cli.plan_argument import operator, run_argument
from cutover.engine.configuration import Rate
from cutover.errors import CutoverError
from cutover.history import History
from cutover.journal import Journal, Request
from cutover.lifecycle import ROLLED_BACK, Order, Stage

ANSWER_SECONDS = 15.0
DECIDE = 7
SILENT = "the driver that holds the lease does not answer; look at cutover status, and if it hangs end it and go on with cutover run"
LOOK_SECONDS = 0.1


class AnsweredWithError(CutoverError):
    """The driver refused; it says why in the words of its own error."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["what"], why=told["why"], traffic=told["traffic"], advice=told["next"], **told["fields"])
        self.told_id, self.told_code = str(told["id"]), int(told["exit_code"])

    @property
    def id(self) -> str:  # type: ignore[override]
        """The id of the driver's error."""
        return self.told_id

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """Its exit code."""
        return self.told_code


def _ask(ctx: click.Context, journal_url: str | None, run: str, verb: str, body: dict[str, Any]) -> None:
    """Ask, wait for the answer, say it."""
    with Journal.open(journal_url) as journal:
        said = _asked(journal, run, verb, body)
        held = said is None and journal.holder(journal.run(run).pair) is not None
    if said is None:
        who = SILENT if held else "no driver runs, the next one will"
        click.echo(f"asked: {verb} ({run}); nobody has answered within {ANSWER_SECONDS:g} s: {who}", err=held)
        ctx.exit(DECIDE if held else 0)
    click.echo(f"{run}: {said}")


def _asked(journal: Journal, run: str, verb: str, body: dict[str, Any]) -> str | None:
    """The driver's answer in words, None when there is none yet; raises its refusal."""
    answered = _wait(journal, journal.ask(run, verb, body, operator()))
    if answered is not None and "refused" in answered:
        raise AnsweredWithError(answered["refused"])
    return None if answered is None else str(answered["done"])


def roll_back_elsewhere(
    journal_url: str | None, run: str, to: Stage, reason: str, wait: Callable[[float], bool], *, yes: bool, dry_run: bool
) -> int:
    """Have the driver that runs say the price, and then roll back; follow it to its end. The exit code."""
    with Journal.open(journal_url) as journal:
        price = _asked(journal, run, "price", {"to": to.value})
        if price is None:
            click.echo(f"nothing was ordered: no price was said within {ANSWER_SECONDS:g} s: {SILENT}", err=True)
            return DECIDE
        click.echo(price)
        if dry_run or not (yes or click.confirm("Roll back?", err=True)):
            click.echo("nothing was done", err=True)
            return 0
        click.echo(_asked(journal, run, "rollback", {"to": to.value, "reason": reason}) or "asked; the driver has not answered yet")
        order = Order(str(journal.run(run).plan["order"]))
        while History.of(order, journal.entries(run)).standing.stage is not to:
            if wait(LOOK_SECONDS * 5):
                click.echo("it goes on; follow it with cutover watch", err=True)
                return 130
    return ROLLED_BACK


def _wait(journal: Journal, request: Request) -> Mapping[str, Any] | None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        found = journal.answered(request.id)
        if found is not None and found.outcome is not None:
            return found.outcome
        time.sleep(LOOK_SECONDS)
    return None


@click.command()
@run_argument
@click.option("--reason", default="", help="Why; it stands in the journal.")
@journal_option
@click.pass_context
def pause(ctx: click.Context, /, run: str, reason: str, journal_url: str | None) -> None:
    """Let nothing new begin; a hold is undone or finished first. Mirror, audit and primers go on."""
    _ask(ctx, journal_url, run, "pause", {"reason": reason})


@click.command()
@run_argument
@journal_option
@click.pass_context
def resume(ctx: click.Context, /, run: str, journal_url: str | None) -> None:
    """Go on after a pause; the attempts at a flip are counted anew."""
    _ask(ctx, journal_url, run, "resume", {})


@click.command()
@run_argument
@click.option("--reason", required=True, help="Why; it stands in the journal.")
@click.option("--handed-over", is_flag=True, help="Somebody else keeps the mirror running for the groups that need it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@journal_option
@click.pass_context
def abort(ctx: click.Context, /, run: str, reason: str, handed_over: bool, yes: bool, journal_url: str | None) -> None:
    """End the run where it is and touch nothing more: both topics stay as they are. Refused while groups need the mirror."""
    if not yes and not click.confirm(f"End {run} for good? Both topics stay as they are; it cannot be continued.", err=True):
        click.echo("nothing was done", err=True)
        return
    _ask(ctx, journal_url, run, "abort", {"reason": reason, "handed_over": handed_over})


@click.command()
@run_argument
@click.argument("subject", metavar="GROUP|PRODUCER")
@click.argument("word", type=click.Choice(["stopped", "started"]))
@journal_option
@click.pass_context
def confirm(ctx: click.Context, /, run: str, subject: str, word: str, journal_url: str | None) -> None:
    """Say that you have stopped or started somebody of the plan whose switch is manual. It is looked at all the same."""
    _ask(ctx, journal_url, run, "confirm", {"subject": subject, "word": word})


@click.command()
@run_argument
@click.argument("instance")
@click.option("--reason", required=True, help="How you know that it is gone.")
@journal_option
@click.pass_context
def forget(ctx: click.Context, /, run: str, instance: str, reason: str, journal_url: str | None) -> None:
    """Say that an instance of the client library is gone for good, one that was killed and could not leave.

    Whatever it had not sent is lost to it; if it is alive after all, its records are found as a straggler's.
    """
    _ask(ctx, journal_url, run, "forget", {"instance": instance, "reason": reason})


@click.command()
@run_argument
@click.argument("limit", metavar="RATE")
@journal_option
@click.pass_context
def rate(ctx: click.Context, /, run: str, limit: str, journal_url: str | None) -> None:
    """Limit the mirror while it runs: 10000/s, 5MB/s or none."""
    try:
        Rate.parse(limit)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="RATE") from error
    _ask(ctx, journal_url, run, "rate", {"rate": limit})


@click.command()
@run_argument
@click.argument("seconds", type=click.FloatRange(0.01, 60))
@journal_option
@click.pass_context
def prime(ctx: click.Context, /, run: str, seconds: float, journal_url: str | None) -> None:
    """Set the shortest time between two primes of a group, in seconds, while it runs."""
    _ask(ctx, journal_url, run, "prime", {"seconds": seconds})


@click.command()
@run_argument
@click.option("--reason", required=True, help="Why what was found does not matter; it stands in the journal.")
@journal_option
@click.pass_context
def clear(ctx: click.Context, /, run: str, reason: str, journal_url: str | None) -> None:
    """Take responsibility for what a red audit found: the audit begins anew from now, and the run may go on or go back."""
    _ask(ctx, journal_url, run, "clear", {"reason": reason})


@click.command()
@run_argument
@journal_option
@click.pass_context
def forward(ctx: click.Context, /, run: str, journal_url: str | None) -> None:
    """Carry the records of stragglers over to the topic that is written now. They keep no order with newer records of their keys."""
    _ask(ctx, journal_url, run, "forward", {})


@click.command()
@run_argument
@click.argument("group")
@click.option("--to", type=click.Choice(["source", "target"]), required=True, help="The topic that it is to read.")
@click.option("--reason", required=True, help="Why; it stands in the journal.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@journal_option
@click.pass_context
def move(ctx: click.Context, /, run: str, group: str, to: str, reason: str, yes: bool, journal_url: str | None) -> None:
    """Move one group to the other topic, or back, at any time before the run is completed: print the price, ask, do it.

    A group that was moved back stays there until it is asked for again: cutover move RUN GROUP --to target.
    """
    with Journal.open(journal_url) as journal:
        price = _asked(journal, run, "price", {"group": group, "to": to.upper()})
    if price is None:
        click.echo(
            f"nothing was ordered: no driver has said the price within {ANSWER_SECONDS:g} s; is one running? cutover status", err=True
        )
        ctx.exit(DECIDE)
    click.echo(price)
    if not yes and not click.confirm(f"Move {group}?", err=True):
        click.echo("nothing was done", err=True)
        return
    _ask(ctx, journal_url, run, "move", {"group": group, "to": to.upper(), "reason": reason})
