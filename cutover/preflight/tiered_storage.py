"""Old records that lie in remote storage are copied slowly."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-038"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """A note: a rate that was measured on new records says nothing about these."""
    if seen.config("remote.storage.enable") == "true" and plan.history.from_ != "now":
        yield Finding(
            ID,
            Severity.NOTE,
            f"{plan.source.topic} keeps its older records in tiered storage",
            "A fetch from there serves one partition at a time, so that the copy of the history takes far longer than its size suggests.",
            "Allow for it in budgets.stage, or begin later: history: {from: ...}.",
        )
