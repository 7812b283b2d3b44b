"""The producers of the plan are there: those on the client library have joined the control log."""

from collections.abc import Iterator

from cutover.errors import UnknownPartitioner
from cutover.partitioners import family
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey
from cutover.protocol import Role

NOBODY, NOT_JOINED, PARTITIONER = "CUT-PRE-010", "CUT-PRE-011", "CUT-PRE-012"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber where nobody is named, a note while instances are missing, red for one with another partitioner."""
    if not plan.producers:
        yield Finding(
            NOBODY,
            Severity.AMBER,
            "the plan names no producer",
            "Whoever writes the topic is then a straggler at the flip, which undoes itself when it sees one.",
            f"Name every producer with its owner, or acknowledge {NOBODY} if nobody writes it any more.",
        )
    joined = [
        each
        for each in seen.log.instances.values()
        if each.joined.role is Role.PRODUCER and each.joined.topic in {plan.source.topic, plan.target.topic}
    ]
    wanted = sum(each.instances for each in plan.producers if each.switch_kind == "sdk")
    if len(joined) < wanted:
        yield Finding(
            NOT_JOINED,
            Severity.NOTE,
            f"{len(joined)} of {wanted} producer instances on the client library have joined",
            "The writes are not switched before all have; everything before that goes on.",
            facts={"joined": [each.name for each in joined], "wanted": wanted},
        )
    for each in joined:
        if each.joined.partitioner is not None and _formula(each.joined.partitioner) != _formula(plan.partitioner):
            yield Finding(
                PARTITIONER,
                Severity.RED,
                f"the producer {each.name} places keys by {each.joined.partitioner}, the plan says {plan.partitioner}",
                "It would put its keys elsewhere than the mirror does.",
                f"Set its partitioner to {plan.partitioner} and deploy it again.",
                {"instance": each.name, "partitioner": each.joined.partitioner},
            )


def _formula(name: str) -> object:
    """What decides where a key goes; `consistent` and `consistent_random` differ in the empty key alone."""
    try:
        found = family(name)
    except UnknownPartitioner:
        return name
    return found.hash, found.reduce
