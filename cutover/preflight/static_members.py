"""Members with a fixed identity: they count as live for as long as they may be away."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-034"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """A note for each group of the plan that has such members."""
    for group in plan.groups:
        static = sorted(each.instance_id for each in seen.readers(group.name) if each.instance_id)
        if static:
            yield Finding(
                ID,
                Severity.NOTE,
                f"{group.name} has {len(static)} static members",
                "One that was stopped stays in the group until its session times out, and the move waits for that.",
                "Expect its session.timeout.ms on top of each stop, or remove them with kafka-consumer-groups.sh once they are stopped.",
                {"group": group.name, "instance_ids": static},
            )
