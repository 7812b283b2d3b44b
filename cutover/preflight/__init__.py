"""Everything that could stop a run, looked at before anything is touched: one rule a file, one table of rules.

A rule is a function from plan and survey to findings; a new one is a new file and a line in the table.
"""

from collections.abc import Callable, Iterable, Iterator

from cutover.plan import Plan
from cutover.preflight import (
    access,
    connect_sinks,
    control_topic,
    dual_access,
    dual_order,
    dual_transactions,
    durability,
    group_positions,
    groups_known,
    groups_unseen,
    isolation,
    keys_in_two_partitions,
    null_keys,
    open_transactions,
    partition_count,
    partitioner,
    producers_known,
    retention,
    seal,
    shared_transactions,
    static_members,
    streams_applications,
    target_config,
    target_free,
    tiered_storage,
    timestamps,
    transaction_protocol,
)
from cutover.preflight.finding import Finding, Severity, standing_in_the_way
from cutover.preflight.survey import Survey, survey

Rule = Callable[[Plan, Survey], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    access.judge,
    target_free.judge,
    target_config.judge,
    partition_count.judge,
    partitioner.judge,
    keys_in_two_partitions.judge,
    null_keys.judge,
    groups_known.judge,
    groups_unseen.judge,
    group_positions.judge,
    static_members.judge,
    streams_applications.judge,
    connect_sinks.judge,
    producers_known.judge,
    seal.judge,
    durability.judge,
    retention.judge,
    tiered_storage.judge,
    open_transactions.judge,
    shared_transactions.judge,
    control_topic.judge,
    isolation.judge,
    timestamps.judge,
    transaction_protocol.judge,
    dual_access.judge,
    dual_order.judge,
    dual_transactions.judge,
)

_WORST_FIRST = list(Severity)


def findings(plan: Plan, seen: Survey) -> tuple[Finding, ...]:
    """All findings at once, the worst first."""
    found = [each for rule in RULES for each in rule(plan, seen)]
    return tuple(sorted(found, key=lambda each: (_WORST_FIRST.index(each.severity), each.id)))


def of_every_pair(found: Iterable[Iterable[Finding]]) -> tuple[Finding, ...]:
    """What was found of each pair of a run, as one: the worst first, and what is the same of several pairs once."""
    told = {(each.id, each.what): each for of_pair in found for each in of_pair}
    return tuple(sorted(told.values(), key=lambda each: (_WORST_FIRST.index(each.severity), each.id)))


__all__ = ["RULES", "Finding", "Severity", "Survey", "findings", "of_every_pair", "standing_in_the_way", "survey"]
