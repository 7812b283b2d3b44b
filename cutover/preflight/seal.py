"""Whether a producer that is forgotten can be shut out by name."""

from collections import Counter
from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-039"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """A note where there is a producer whom no seal would meet, or more than the one that is meant."""
    if not plan.producers or "access rules" in seen.refused:
        return
    principals = Counter(each.principal for each in plan.producers if each.principal is not None)
    nameless = [each.name for each in plan.producers if each.principal is None]
    shared = sorted(name for name, times in principals.items() if times > 1)
    if seen.acls is None or nameless or shared:
        yield Finding(
            ID,
            Severity.NOTE,
            "seal: unavailable" if seen.acls is None else f"seal: not for {', '.join([*nameless, *shared])}",
            _why(authorizer=seen.acls is not None, shared=shared),
            "" if seen.acls is None else "Give each producer of the plan a principal of its own.",
            {"without_principal": nameless, "shared_principals": shared, "authorizer": seen.acls is not None},
        )


def _why(*, authorizer: bool, shared: list[str]) -> str:
    if not authorizer:
        return "The cluster has no authorizer: a straggler can be found and named, and not be shut out."
    if shared:
        return "A seal denies a principal, and one that several share is denied to all of them."
    return "A seal denies a principal, and these have none in the plan."
