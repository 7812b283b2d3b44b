"""The times of records survive on both topics, and both take them."""

from collections.abc import Iterator

from cutover.pinning import INHERIT
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

APPENDED, TOO_OLD = "CUT-PRE-023", "CUT-PRE-043"
NEVER = 2**63 - 1


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber where the source stamps records itself; red where the target would refuse what is old."""
    if seen.config("message.timestamp.type") == "LogAppendTime":
        yield Finding(
            APPENDED,
            Severity.AMBER,
            f"{plan.source.topic} has message.timestamp.type=LogAppendTime",
            "Records that come back after the flip get the time of their arrival; times are left out of that side's proof.",
            f"Set it to CreateTime if consumers read times, or acknowledge {APPENDED}.",
        )
    asked = plan.target.config.get("message.timestamp.before.max.ms", INHERIT)
    limit = seen.config("message.timestamp.before.max.ms") if asked == INHERIT else asked
    if limit is not None and int(limit) < NEVER and plan.history.from_ != "now":
        yield Finding(
            TOO_OLD,
            Severity.RED,
            f"{plan.target.topic} would refuse records older than {int(limit) / 3_600_000:g} h",
            "The mirror keeps the times of records, so the first one of the history that is older would stop it.",
            f'Say message.timestamp.before.max.ms: "{NEVER}" in target.config.',
            {"before_max_ms": int(limit)},
        )
