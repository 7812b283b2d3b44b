"""No key sits in two partitions of the source already."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-006"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red: two client families write one topic, or it was altered earlier; nobody can say which record of such a key is older."""
    split = seen.fit.split_keys
    if split:
        earlier = seen.fit.earlier_count
        altered = f"It had {earlier} partitions once. " if seen.fit.verdict == "altered" else ""
        yield Finding(
            ID,
            Severity.RED,
            f"{len(split)} of {seen.fit.distinct_keys} keys of the sample sit in more than one partition of {plan.source.topic}",
            f"{altered}Two families of clients write it, or partitions were added earlier. The order of such a key is lost already: nobody"
            " can say which of its records is the older.",
            "Give every producer the same partitioner, and wait until the records of before have expired.",
            {"split": len(split), "keys": seen.fit.distinct_keys, "verdict": seen.fit.verdict, "earlier_count": earlier},
        )
