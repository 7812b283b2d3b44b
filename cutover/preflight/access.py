"""What this principal may look at: a run asks these questions all the time."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

NEEDED, UNSEEN = "CUT-PRE-025", "CUT-PRE-026"
ESSENTIAL = {"records", "configs", "groups"}


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for what no run can go without, amber for what only leaves something unjudged."""
    for question, said in seen.refused.items():
        facts = {"question": question, "said": said}
        if question in ESSENTIAL:
            yield Finding(
                NEEDED,
                Severity.RED,
                f"this principal may not ask for {question}",
                f"The cluster said: {said}. A run reads them from its first step on, and what they would show was not judged.",
                "Grant Read, Describe and DescribeConfigs on the source, and Read on the groups of the plan.",
                facts,
            )
        else:
            yield Finding(
                UNSEEN,
                Severity.AMBER,
                f"this principal may not ask for {question}",
                f"The cluster said: {said}. What they would show was not judged.",
                f"Grant it, or acknowledge {UNSEEN}.",
                facts,
            )
