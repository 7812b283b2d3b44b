"""The target's name is free, or the topic is this run's own."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

TAKEN, COLLIDES = "CUT-PRE-001", "CUT-PRE-042"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for a topic that somebody else made, and for a name that Kafka does not tell from another."""
    if seen.target is not None and not seen.ours:
        yield Finding(
            TAKEN,
            Severity.RED,
            f"{plan.target.topic} is there already and was not made by this run",
            "What it holds is not known, and nothing of it is overwritten.",
            "Name another target, or remove the topic yourself if nobody needs it.",
            {"topic_id": seen.target.topic_id},
        )
    alike = sorted(each for each in seen.topics if each != plan.target.topic and _metric(each) == _metric(plan.target.topic))
    if seen.target is None and alike:
        yield Finding(
            COLLIDES,
            Severity.RED,
            f"{plan.target.topic} differs from {alike[0]} only in dots and underscores",
            "Kafka refuses to create it: their metrics would have one name.",
            "Name another target.",
            {"topic": alike[0]},
        )


def _metric(topic: str) -> str:
    return topic.replace(".", "_")
