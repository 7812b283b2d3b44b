"""No transaction stays open on the source: nothing behind it could be copied, drained or proved."""

from collections.abc import Iterator

from cutover.model import open_transactions
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-018"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber for one that did not end while it was looked at; those that no coordinator knows hang, and end by no one's doing."""
    behind = sorted(p for p, stable in seen.stable.items() if stable < seen.ends[p])
    if behind:
        holders = {
            each.producer_id for where, states in open_transactions(seen.producers).items() if where.partition in behind for each in states
        }
        known = sorted({seen.coordinated[each] for each in holders if each in seen.coordinated})
        hanging = sorted(holders - seen.coordinated.keys()) if "transactions" not in seen.refused else []
        yield Finding(
            ID,
            Severity.AMBER,
            f"a transaction stays open on {len(behind)} partitions of {plan.source.topic}" + (f" (of {', '.join(known)})" if known else ""),
            "Records behind an open transaction cannot be read, so the mirror waits for it, and no flip finds the source quiet."
            + (" No coordinator shows the ones that hang: they never end by themselves." if hanging else ""),
            f"Run the preflight again; if it is still open, find it with kafka-transactions.sh find-hanging and abort it; or"
            f" acknowledge {ID}.",
            {"partitions": behind, "producer_ids": sorted(holders), "transactional_ids": known, "hanging": hanging},
        )
