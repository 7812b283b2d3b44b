"""cutover run and rollback: the commands that drive. Everything else asks, or looks."""

from typing import Any

import click

from cutover import goals, opening
from cutover.cli import run_view
from cutover.cli.ask import roll_back_elsewhere
from cutover.cli.journal_option import journal_option
from cutover.cli.plan_argument import connection_of, operator, plan_argument
from cutover.cli.signals import StopSignals
from cutover.errors import CutoverError, LeaseHeld
from cutover.lifecycle import SEQUENCE, TERMINAL, Halt, Order, Stage
from cutover.plan import Plan
from cutover.world import World

FORWARD = [each.value for each in SEQUENCE[Order.BOTH_FIRST][1:]]
BACK = [each.value for each in SEQUENCE[Order.BOTH_FIRST][:-1]]


@click.command()
@plan_argument
@click.option("--until", type=click.Choice(FORWARD), default="completed", help="Stop once this stage is done.")
@click.option("--dry-run", is_flag=True, help="Say where the run stands and what would be done next; change nothing.")
@click.option("--no-wait", is_flag=True, help="End with an exit code instead of pausing, or of waiting for a gate or the window.")
@click.option("--output", type=click.Choice(["text", "ndjson"]), default="text")
@journal_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    plan: Plan,
    until: str,
    dry_run: bool,
    no_wait: bool,
    output: str,
    journal_url: str | None,
    **_: Any,  # noqa: ANN401
) -> None:
    """Drive PLAN forward, from wherever it stands, until everybody is on the target.

    Interrupt it at any time: Ctrl-C once stops at the next safe point, twice leaves at once. The same command goes on. Once the pair
    is open, what stops the run becomes a pause and the mirror goes on, since groups may depend on it: cutover resume goes on,
    cutover rollback goes back. With --no-wait it ends instead, and the mirror with it after the plan's grace time.
    Exit codes: 0 done, 3 an approval is missing, 4 preflight is red, 5 the audit found a violation, 6 undone safely, 7 a person must
    decide, 8 another driver holds the lease.
    """
    goals.require_stage(Order(plan.order), Stage(until))
    with StopSignals() as signals, opening.world(plan, connection_of(plan), journal_url, operator(), tell=_teller(output)) as opened:
        world = opened.world
        if dry_run:
            run_view.say_dry_run(world, until)
            return
        if world.history.standing.stage in TERMINAL:
            ctx.exit(
                _say(Halt(0 if world.history.standing.stage is Stage.COMPLETED else 7, f"the run is {world.history.standing.stage}"), world)
            )
        if not world.history.standing.goal.back or _has_arrived(world):
            goals.go_forward(world, Stage(until))
        ctx.exit(_drive(opened, signals, output, patient=not no_wait))


@click.command()
@plan_argument
@click.option("--to", type=click.Choice(BACK), default="planned", help="The stage to go back to; planned undoes everything.")
@click.option("--reason", required=True, help="Why; it stands in the journal.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print the price and do nothing.")
@click.option("--output", type=click.Choice(["text", "ndjson"]), default="text")
@journal_option
@click.pass_context
def rollback(
    ctx: click.Context,
    /,
    plan: Plan,
    to: str,
    reason: str,
    yes: bool,
    dry_run: bool,
    output: str,
    journal_url: str | None,
    **_: Any,  # noqa: ANN401
) -> None:
    """Go back to an earlier stage: print what it costs, ask, then undo stage after stage. Needs a reason, no approval.

    A running driver of the same plan is asked to do it, and followed; else this command drives. An interrupted rollback goes on with
    cutover run. Exits with 6 when everything is undone.
    """
    target = Stage(to)
    with StopSignals() as signals:
        try:
            with opening.world(plan, connection_of(plan), journal_url, operator(), tell=_teller(output)) as opened:
                code = _roll_back(opened, signals, target, reason, output, yes=yes, dry_run=dry_run)
        except LeaseHeld as error:
            click.echo(f"{error.what}: it is asked to roll back", err=True)
            code = roll_back_elsewhere(journal_url, plan.cutover, target, reason, signals.wait, yes=yes, dry_run=dry_run)
    ctx.exit(code)


def _roll_back(opened: opening.Opened, signals: StopSignals, target: Stage, reason: str, output: str, *, yes: bool, dry_run: bool) -> int:
    """Say the price, ask, and drive back."""
    world = opened.world
    if world.has_control:
        world.log.catch_up()
    goals.require_reversible(world, target)
    told = goals.price(world, target)
    run_view.say_price(world.history.standing.stage, target, told)
    if dry_run or not (yes or click.confirm("Roll back?", err=True)):
        click.echo("nothing was done", err=True)
        return 0
    world.record("note", "price", told.document())
    goals.turn_back(world, target, reason)
    return _drive(opened, signals, output, patient=False)


def _has_arrived(world: World) -> bool:
    standing = world.history.standing
    return standing.stage is standing.goal.to


def _drive(opened: opening.Opened, signals: StopSignals, output: str, *, patient: bool) -> int:
    """Drive; whatever ends it, say what state the topics are in and what to type next."""
    with run_view.choose(output) as shown:
        try:
            halt = opened.driver(signals.wait, shown.show, patient=patient).drive()
        except KeyboardInterrupt:
            halt = None
        except CutoverError as error:
            run_view.say_traffic(opened.world)
            raise error from error.__cause__
    if halt is None:
        click.echo(f"{opened.world.plan.cutover}: stopped in {opened.world.history.standing.stage}, at a safe point", err=True)
        _say_next(opened.world)
        return signals.exit_code
    return _say(halt, opened.world)


def _say(halt: Halt, world: World) -> int:
    click.echo(f"{world.plan.cutover}: {halt.why}", err=True)
    _say_next(world)
    return halt.exit_code


def _say_next(world: World) -> None:
    for words in run_view.closing(world):
        click.echo(words, err=True)


def _teller(output: str) -> Any:  # noqa: ANN401
    return run_view.tell_json if output == "ndjson" else run_view.tell
