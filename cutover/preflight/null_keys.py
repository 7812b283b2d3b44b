"""Records without a key: where they will be, and whether the target takes them."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

KEYLESS, REFUSED = "CUT-PRE-035", "CUT-PRE-036"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """A note on where they go; red where the target is compacted and takes none."""
    found = seen.fit.null_keys
    if not found:
        return
    facts = {"null_keys": found, "records": seen.fit.records}
    if "compact" in plan.target.config.get("cleanup.policy", ""):
        yield Finding(
            REFUSED,
            Severity.RED,
            f"{found:,} of {seen.fit.records:,} sampled records have no key, and {plan.target.topic} is to be compacted",
            "A compacted topic refuses records without a key, so the mirror would stop at the first.",
            "Leave cleanup.policy out of target.config.",
            facts,
        )
    before, after = len(seen.source.partitions), plan.target.partitions
    yield Finding(
        KEYLESS,
        Severity.NOTE,
        f"{found:,} of {seen.fit.records:,} sampled records have no key",
        f"With null_keys: keep_partition those of before the flip are in {min(before, after)} of {after} partitions of the target."
        if plan.null_keys == "keep_partition"
        else "With null_keys: spread the order that they have within a partition of the source is not kept.",
        facts=facts,
    )
