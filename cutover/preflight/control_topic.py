"""The control log is what it must be, and not everybody may write it."""

from collections.abc import Iterator

from cutover.model import Acl, Permission
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey
from cutover.protocol import CONTROL_TOPIC

SHAPE, OPEN, ALONE = "CUT-PRE-019", "CUT-PRE-020", "CUT-PRE-040"
WANTED = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for one that may forget, amber for one that a single disk holds or that nobody guards."""
    yield from _shape(seen)
    yield from _replicas(seen)
    yield from _guard(seen)


def _shape(seen: Survey) -> Iterator[Finding]:
    if seen.control is None:
        return
    told = {name: found.value for name, found in seen.control_configs.items()}
    wrong = {name: told.get(name) for name, value in WANTED.items() if told.get(name) != value} if told else {}
    partitions = len(seen.control.partitions)
    if wrong or partitions != 1:
        said = [f"{partitions} partitions"] if partitions != 1 else []
        said += [f"{name}={value}" for name, value in wrong.items()]
        yield Finding(
            SHAPE,
            Severity.RED,
            f"{CONTROL_TOPIC} has {', '.join(said)}",
            "A control log of several partitions has no order, and one that removes records forgets on which side everybody is.",
            f"Give it one partition and {', '.join(f'{name}={value}' for name, value in WANTED.items())}.",
            {"configs": wrong, "partitions": partitions},
        )


def _replicas(seen: Survey) -> Iterator[Finding]:
    if seen.control is None:
        return
    has, wanted = (min(len(each.replicas) for each in topic.partitions) for topic in (seen.control, seen.source))
    if has < min(wanted, 2):
        yield Finding(
            ALONE,
            Severity.AMBER,
            f"{CONTROL_TOPIC} has {has} replica, {seen.source.name} has {wanted}",
            "With the broker that holds it away every producer on the client library that starts, or is held, waits.",
            f"Reassign it to {wanted} replicas, or acknowledge {ALONE}.",
            {"replicas": has, "source_replicas": wanted},
        )


def _guard(seen: Survey) -> Iterator[Finding]:
    if "access rules" in seen.refused:
        return
    if seen.acls is None:
        yield Finding(
            OPEN,
            Severity.NOTE,
            f"the cluster has no authorizer, so anybody who reaches it may write {CONTROL_TOPIC}",
            "Whoever writes it can hold producers for the budget of a hold.",
        )
    elif open_to_all := sorted(each for each in seen.acls if _lets_everybody_write(each)):
        yield Finding(
            OPEN,
            Severity.AMBER,
            f"everybody may write {CONTROL_TOPIC}",
            "Whoever writes it can hold producers.",
            f"Grant Write on it to the principals of the plan alone, or acknowledge {OPEN}.",
            {"rules": [f"{each.resource} ({each.pattern}) {each.operation} from {each.host}" for each in open_to_all]},
        )


def _lets_everybody_write(acl: Acl) -> bool:
    about = acl.resource_type == "topic" and (
        acl.resource in {CONTROL_TOPIC, "*"} if acl.pattern == "literal" else CONTROL_TOPIC.startswith(acl.resource)
    )
    return about and acl.principal == "User:*" and acl.operation in {"write", "all"} and acl.permission is Permission.ALLOW
