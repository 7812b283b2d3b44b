"""The target has more partitions than the source, and best a multiple of them."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

MORE, MULTIPLE = "CUT-PRE-002", "CUT-PRE-003"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for fewer (unless the plan allows to shrink), amber for no multiple, or for another formula that places keys."""
    before, after = len(seen.source.partitions), plan.target.partitions
    as_many = after == before and plan.changes_partitioner
    if after <= before and not plan.allow_shrink and not as_many:
        yield Finding(
            MORE,
            Severity.RED,
            f"{plan.target.topic} is to have {after} partitions, {plan.source.topic} has {before}",
            "A cutover into as many or fewer partitions is rarely meant.",
            f"Ask for more than {before}, best {4 * before}, or say allow_shrink: true.",
            {"before": before, "after": after},
        )
    elif plan.changes_partitioner or (after % before and before % after):
        yield Finding(
            MULTIPLE,
            Severity.AMBER,
            f"a partition of {plan.target.topic} gets keys of several partitions of {plan.source.topic}",
            "The counts do not nest, or keys are placed by another formula: a group that is moved by itself stands at no cut, so unless"
            " it is on the client library it reads records again (counted before), or cannot move at all if its hand_off is exact.",
            f"Take {_nested(before, after)} partitions and the partitioner of before, or acknowledge {MULTIPLE}.",
            {"before": before, "after": after},
        )


def _nested(before: int, after: int) -> int:
    """The next count that nests: a multiple, or for fewer a divisor."""
    if after >= before:
        return -(-after // before) * before
    return max(each for each in range(1, after) if before % each == 0)
