"""Every group that reads the source is in the plan, and every group of the plan is there."""

from collections.abc import Iterator

from cutover.model import GroupType
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import UNTOLD, Survey

UNPLANNED, ABSENT, UNTOLD_TYPE = "CUT-PRE-007", "CUT-PRE-008", "CUT-PRE-009"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for a group that nobody planned for or that cannot be moved, amber for one that is not there."""
    planned = {each.name: each for each in plan.groups}
    found = seen.on_source()
    for name in sorted(found - planned.keys() - set(plan.waived_groups)):
        yield Finding(
            UNPLANNED,
            Severity.RED,
            f"the group {name} reads {plan.source.topic} and is not in the plan",
            "It would be left behind, and get nothing once the run is completed.",
            "Add it to groups with its owner, or to waived_groups.",
            {"group": name},
        )
    for name in sorted(planned.keys() - found):
        known = seen.groups.get(name)
        if known is not None and known.type in UNTOLD:
            yield Finding(
                UNTOLD_TYPE,
                Severity.RED,
                f"{name} is a {known.type} group",
                "It has no position that could be translated." if known.type is GroupType.SHARE else "Its input cannot change partitions.",
                "Leave it out, or put it into waived_groups.",
                {"group": name, "type": known.type.value},
            )
        elif planned[name].missing is None:
            yield Finding(
                ABSENT,
                Severity.AMBER,
                f"the group {name} of the plan has neither members nor positions on {plan.source.topic}",
                "A name that is misspelled looks the same; and where it is to begin is not known.",
                f"Check the name, say missing: earliest or latest for it, or acknowledge {ABSENT}.",
                {"group": name},
            )
