"""Pairs that share a transactional producer are switched together: its transactions would be torn, and held on one side only."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-045"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for a transactional id that writes the source, and a topic that another run is switching."""
    for name, topics in sorted(seen.shared.items()):
        runs = sorted({run for topic in topics for run in seen.elsewhere(topic, plan.cutover)})
        others = ", ".join(sorted(topics))
        yield Finding(
            ID,
            Severity.RED,
            f"the transactional producer {name} writes {plan.source.topic} and {others}, which {', '.join(runs)} switches by itself",
            "A flip of one holds it in the midst of its work on the other, and between two flips its transactions join an old topic"
            " and a new one. Pairs that share a transactional producer are switched together.",
            "Roll back that run, and name all of these topics in one plan, under pairs.",
            {"transactional_id": name, "topics": sorted(topics), "runs": runs},
        )
