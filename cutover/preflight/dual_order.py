"""Whether each key has one writer at a time, which writing both topics needs and nobody can see."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-047"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber with dual_write, whatever is seen."""
    if plan.strategy != "dual_write":
        return
    yield Finding(
        ID,
        Severity.AMBER,
        "it cannot be seen from the cluster whether each key has one writer at a time",
        f"Two producers that write one key at the same time may do so in one order on {seen.source.name} and in another on"
        f" {plan.target.topic}. The audit then stops the run.",
        f"See that no key is written by two instances at once, then acknowledge {ID}.",
        {"instances": sum(each.instances for each in plan.producers)},
    )
