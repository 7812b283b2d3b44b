"""The brokers speak the transaction protocol that no late frame can harm."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-024"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Amber below transaction.version 2 (KIP-890, part 2)."""
    version = seen.features.get("transaction.version", 0)
    if version < 2:
        yield Finding(
            ID,
            Severity.AMBER,
            f"the cluster's transaction.version is {version}",
            "Below 2 a commit that arrives late could end the next transaction; the engine gets itself a new identity after every broken"
            " connection instead, which costs time.",
            f"Upgrade the feature (kafka-features.sh upgrade --feature transaction.version=2), or acknowledge {ID}.",
            {"transaction_version": version},
        )
