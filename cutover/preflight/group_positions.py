"""Every group of the plan has a position on every partition, one that can be translated."""

from collections.abc import Iterator, Mapping

from cutover.model import PENDING, Committed, Position
from cutover.plan import Group, Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

EXPIRED, MISSING, UNDECIDED = "CUT-PRE-031", "CUT-PRE-032", "CUT-PRE-033"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber where records are lost to a group already, where it has no position, and where a transaction hides the position."""
    for group in plan.groups:
        positions = {where.partition: each for where, each in seen.positions.get(group.name, {}).items()}
        if any(positions.values()):  # a group that has none at all is another rule's
            yield from _expired(group, positions, seen)
            yield from _missing(group, positions, seen)
            yield from _undecided(group, positions)


def _expired(group: Group, positions: Mapping[int, Position], seen: Survey) -> Iterator[Finding]:
    lost = {
        p: seen.begins[p] - each.offset for p, each in positions.items() if isinstance(each, Committed) and each.offset < seen.begins[p]
    }
    if lost:
        yield Finding(
            EXPIRED,
            Severity.AMBER,
            f"{group.name} stands before the log start on {len(lost)} partitions",
            f"{sum(lost.values()):,} offsets were removed before it read them: they are lost to it whatever is done now.",
            f"Let it catch up, or acknowledge {EXPIRED}.",
            {"group": group.name, "lost": lost},
        )


def _missing(group: Group, positions: Mapping[int, Position], seen: Survey) -> Iterator[Finding]:
    """Only a note where it has members and there is something to read: they commit when they have read it."""
    missing = sorted(p for p, each in positions.items() if each is None)
    if missing and group.missing is None:
        coming = bool(seen.readers(group.name)) and all(seen.begins[p] < seen.ends[p] for p in missing)
        yield Finding(
            MISSING,
            Severity.NOTE if coming else Severity.AMBER,
            f"{group.name} has no position on {len(missing)} of {len(positions)} partitions",
            "Where it would begin there is its own setting, which no cluster tells; its move stops at such a partition.",
            f"Say missing: earliest or latest for it, or acknowledge {MISSING} if it commits there before it is moved.",
            {"group": group.name, "partitions": missing},
        )


def _undecided(group: Group, positions: Mapping[int, Position]) -> Iterator[Finding]:
    pending = sorted(p for p, each in positions.items() if each is PENDING)
    if pending:
        yield Finding(
            UNDECIDED,
            Severity.AMBER,
            f"the position of {group.name} is not decided on {len(pending)} partitions",
            "A transaction that commits it has been open for a while; until it ends nobody knows what the group has read.",
            f"Run the preflight again; if it stays, find the transaction (kafka-transactions.sh); or acknowledge {UNDECIDED}.",
            {"group": group.name, "partitions": pending},
        )
