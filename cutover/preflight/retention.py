"""Nothing that is still to be copied, or still needed on the way back, is removed by retention."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

LIMITED, STORAGE = "CUT-PRE-016", "CUT-PRE-017"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber where the source goes on removing records; a note on what is to be kept."""
    removed = list(_removed(seen))
    if plan.way_back != "full" and removed:
        yield Finding(
            LIMITED,
            Severity.AMBER,
            f"{plan.source.topic} keeps removing records: {', '.join(removed)} (way_back: {plan.way_back})",
            "A copy that takes longer misses records and stops; after the flip a slower group loses records on the way back.",
            f"Say way_back: full, or acknowledge {LIMITED}.",
            {"removed": removed},
        )
    held = sum(seen.ends[p] - begin for p, begin in seen.begins.items())
    copied = "none of them copied" if plan.history.from_ == "now" else "and copied once"
    kept = "both topics while the pair exists" if plan.way_back == "full" else f"{plan.target.topic} while the pair exists"
    yield Finding(
        STORAGE,
        Severity.NOTE,
        f"{held:,} offsets of {plan.source.topic} are there, {copied}",
        f"Retention is suspended on {kept}: plan for the storage.",
        facts={"offsets": held},
    )


def _removed(seen: Survey) -> Iterator[str]:
    policy = seen.config("cleanup.policy") or "delete"
    if "delete" in policy:
        age, size = (int(seen.config(name) or -1) for name in ("retention.ms", "retention.bytes"))
        if age >= 0:
            yield f"after {age / 3_600_000:g} h"
        if size >= 0:
            yield f"above {size:,} bytes a partition"
    if "compact" in policy:
        yield "by compaction"
