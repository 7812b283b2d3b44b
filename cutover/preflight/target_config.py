"""The configs of the target are ones that the cluster knows."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-037"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for a name that no topic has: the creation of the target would be refused."""
    unknown = sorted(plan.target.config.keys() - seen.configs.keys()) if seen.configs else []
    if unknown:
        yield Finding(
            ID,
            Severity.RED,
            f"the cluster knows no topic config of the name {', '.join(unknown)}",
            f"It would refuse to create {plan.target.topic}.",
            "Correct target.config.",
            {"configs": unknown},
        )
