"""Readers that no question shows: share groups, groups of the streams protocol, pattern subscriptions, readers without a group."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import UNTOLD, Survey

UNTOLD_GROUPS, PATTERNS = "CUT-PRE-029", "CUT-PRE-030"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber for groups that may read the source and do not say so; a note on what cannot be seen at all."""
    named = {each.name for each in plan.groups} | set(plan.waived_groups)
    untold = sorted(name for name, each in seen.groups.items() if each.type in UNTOLD and name not in named)
    if untold:
        yield Finding(
            UNTOLD_GROUPS,
            Severity.AMBER,
            f"{len(untold)} groups do not tell what they read: {', '.join(untold[:5])}{', ...' if len(untold) > 5 else ''}",
            f"Share groups and groups of the streams protocol show no members. One that reads {plan.source.topic} would get nothing once"
            " the run is completed.",
            f"Ask their owners; add each to waived_groups, or acknowledge {UNTOLD_GROUPS}.",
            {"groups": untold},
        )
    yield Finding(
        PATTERNS,
        Severity.NOTE,
        "pattern subscriptions and readers without a group cannot be seen from here",
        f"A pattern that matches {plan.target.topic} takes it as soon as it is there: so it stays empty at first while every group is"
        " watched. A reader without a group (assigned partitions, positions kept elsewhere, as Flink and Spark do) leaves no trace.",
        "Ask who reads the topic in that way.",
        {"watched_seconds": plan.budgets.quarantine},
    )
