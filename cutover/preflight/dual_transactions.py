"""Writing both topics leans on the log of transactions, and every producer that is to do so is known."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import TRANSACTION_LOG, Survey
from cutover.protocol import Role

WEAKER, UNEXPLAINED = "CUT-PRE-048", "CUT-PRE-049"
LATELY_MS = 60_000


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber where the log of transactions survives less than the source; a note on producer ids that no instance explains."""
    if plan.strategy == "dual_write":
        yield from _weaker(seen)
        yield from _unexplained(plan, seen)


def _weaker(seen: Survey) -> Iterator[Finding]:
    if seen.transaction_log is None:
        return
    has, wanted = (min(len(each.replicas) for each in topic.partitions) for topic in (seen.transaction_log, seen.source))
    told = seen.transaction_log_configs.get("min.insync.replicas")
    insync, wanted_insync = (int(each or 1) for each in (told.value if told else None, seen.config("min.insync.replicas")))
    if has < wanted or (told is not None and insync < wanted_insync):
        yield Finding(
            WEAKER,
            Severity.AMBER,
            f"{TRANSACTION_LOG} has {has} replicas and min.insync.replicas {insync}, {seen.source.name} {wanted} and {wanted_insync}",
            "Whether a transaction was committed stands there alone; what it loses leaves transactions open, or their outcome unknown.",
            f"Give it as many as {seen.source.name} has, or acknowledge {WEAKER}.",
            {"replicas": has, "min_insync_replicas": insync, "source_replicas": wanted, "source_min_insync_replicas": wanted_insync},
        )


def _unexplained(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Each instance of the library has one id, unless it began anew within the time that is looked at."""
    last = {state.producer_id: state.last_timestamp_ms for states in seen.producers.values() for state in states}
    lately = sorted(each for each, at in last.items() if at > max(last.values()) - LATELY_MS)
    joined = [each for each in seen.log.instances.values() if each.joined.role is Role.PRODUCER and each.joined.topic == plan.source.topic]
    if len(lately) > len(joined):
        yield Finding(
            UNEXPLAINED,
            Severity.NOTE,
            f"{len(lately)} producer ids wrote {seen.source.name} lately, and {len(joined)} instances have joined",
            "Somebody who is not on the client library would write one topic only: the switch to both is undone while that goes on, and"
            " the audit stops the run when it begins later.",
            facts={"producer_ids": lately, "joined": [each.name for each in joined]},
        )
