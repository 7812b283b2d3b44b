"""cutover approve and approvals: who agrees to what. An approval is bound to plan, cluster and source topic; drift voids it."""

import json

import click

from cutover import wiring
from cutover.cli.journal_option import journal_option
from cutover.cli.plan_argument import connection_of, operator, plan_argument
from cutover.governance import approvals as governance
from cutover.history import History
from cutover.journal import Journal
from cutover.lifecycle import Order
from cutover.plan import Plan, digest

GATES = ["run", "flip", "complete"]


def _bound(plan: Plan) -> str:
    with wiring.cluster(connection_of(plan)) as cluster:
        names = [each.source.topic for each in plan.of_each_pair()]
        found = cluster.describe_topics(names)
        return governance.digest(governance.bound_to(digest(plan), cluster.cluster_id(), {name: found[name].topic_id for name in names}))


@click.command()
@plan_argument
@click.option("--gate", type=click.Choice(GATES), required=True, help="What is approved.")
@click.option("--name", required=True, help="Who approves.")
@click.option("--reason", required=True, help="Why.")
@journal_option
def approve(plan: Plan, gate: str, name: str, reason: str, journal_url: str | None, **_: object) -> None:
    """Record that somebody agrees to let PLAN pass a gate, on the cluster and topic that it names now."""
    bound = _bound(plan)
    with Journal.open(journal_url) as journal:
        journal.ask(plan.cutover, "approve", {"gate": gate, "name": name, "reason": reason, "bound": bound}, operator())
    click.echo(f"{name} approves the gate {gate} of {plan.cutover}, bound to {bound[:12]}")


@click.command()
@plan_argument
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
@journal_option
def approvals(plan: Plan, output: str, journal_url: str | None, **_: object) -> None:
    """Show which gates PLAN has, what they ask for and what they have."""
    bound = _bound(plan)
    with Journal.open(journal_url) as journal:
        asked = [dict(each.body) for each in journal.asked(plan.cutover) if each.verb == "approve"]
        given = [*History.of(Order(plan.order), journal.entries(plan.cutover)).approvals, *asked]
    told = {gate: sorted(governance.approvers(given, gate, bound, but=None)) for gate in GATES}
    needed = {gate: getattr(plan.approvals.gates, gate) for gate in GATES}
    if output == "json":
        click.echo(
            json.dumps({"schema_version": 1, "bound": bound, "gates": {gate: {"needed": needed[gate], "by": told[gate]} for gate in GATES}})
        )
        return
    for gate in GATES:
        click.echo(f"{gate}: {len(told[gate])} of {needed[gate]}{' by ' + ', '.join(told[gate]) if told[gate] else ''}")
