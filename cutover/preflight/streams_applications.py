"""Applications of Kafka Streams and ksqlDB: their inputs cannot change partitions under a live application id."""

from collections.abc import Iterator

from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

ID = "CUT-PRE-028"
THREAD = "-StreamThread-"
KSQL = "_confluent-ksql-"
INTERNAL = ("-changelog", "-repartition")


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for each that reads the source, unless it is waived: it stays behind and a new application id takes over."""
    for name in sorted(seen.on_source() - set(plan.waived_groups)):
        internal = sorted(each for each in seen.topics if each.startswith(f"{name}-") and each.endswith(INTERNAL))
        if internal or name.startswith(KSQL) or any(THREAD in each.client_id for each in seen.readers(name)):
            yield Finding(
                ID,
                Severity.RED,
                f"{name} is an application of Kafka Streams or ksqlDB",
                "Its state and its internal topics are partitioned like its input: with another partition count it ends with an error,"
                " or looks for the state of a key in the wrong place.",
                f"Start it again with a new application id on {plan.target.topic} once that is in sync, let it build its state anew, end"
                f" this one when the other has caught up, and add {name} to waived_groups.",
                {"group": name, "internal_topics": internal},
            )
