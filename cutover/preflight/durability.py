"""Acknowledged records survive the loss of a broker, on both topics."""

from collections.abc import Iterator

from cutover.pinning import INHERIT
from cutover.plan import Plan
from cutover.preflight.finding import Finding, Severity
from cutover.preflight.survey import Survey

UNCLEAN, INSYNC, ALONE, SHRUNK = "CUT-PRE-013", "CUT-PRE-014", "CUT-PRE-015", "CUT-PRE-041"


def judge(plan: Plan, seen: Survey) -> Iterator[Finding]:
    """Red for unclean elections and for one replica in sync; amber where there is one replica only, or one is out of sync now."""
    replicas = min(len(each.replicas) for each in seen.source.partitions)
    source, target = plan.source.topic, plan.target.topic
    ours = [_topic(source, replicas, unclean=seen.config("unclean.leader.election.enable"), insync=seen.config("min.insync.replicas"))]
    wanted = {name: _of_target(plan, seen, name) for name in ("unclean.leader.election.enable", "min.insync.replicas")}
    then = plan.target.replication or replicas
    ours.append(_topic(target, then, unclean=wanted["unclean.leader.election.enable"], insync=wanted["min.insync.replicas"]))
    for findings in ours:
        yield from findings
    yield from _out_of_sync(seen)


def _of_target(plan: Plan, seen: Survey, name: str) -> str | None:
    """It takes the source's explicit configs, and the cluster's defaults where there are none: what is in force there either way."""
    asked = plan.target.config.get(name, INHERIT)
    return seen.config(name) if asked == INHERIT else asked


def _topic(topic: str, replicas: int, *, unclean: str | None, insync: str | None) -> Iterator[Finding]:
    if (unclean or "").lower() == "true":
        yield Finding(
            UNCLEAN,
            Severity.RED,
            f"{topic} allows unclean leader elections",
            "An election may drop acknowledged records and the markers of transactions: nothing can be promised then.",
            f"Set unclean.leader.election.enable=false on {topic}.",
            {"topic": topic},
        )
    if replicas < 2:
        yield Finding(
            ALONE,
            Severity.AMBER,
            f"{topic} has one replica",
            "The loss of a broker's disk loses records, whatever anybody does.",
            f"Give it three replicas, or acknowledge {ALONE} (a rehearsal).",
            {"topic": topic, "replicas": replicas},
        )
    elif int(insync or 1) < 2:
        yield Finding(
            INSYNC,
            Severity.RED,
            f"min.insync.replicas of {topic} is {insync or 'not known'}",
            "A record is acknowledged once a single broker has it; its loss is then no fault of anybody and cannot be seen.",
            f"Set min.insync.replicas=2 on {topic}.",
            {"topic": topic, "min_insync_replicas": insync, "replicas": replicas},
        )


def _out_of_sync(seen: Survey) -> Iterator[Finding]:
    behind = sorted(each.partition for each in seen.source.partitions if len(each.isr) < len(each.replicas))
    if behind:
        yield Finding(
            SHRUNK,
            Severity.AMBER,
            f"{len(behind)} partitions of {seen.source.name} have replicas out of sync",
            "A broker is away or behind; one more that fails may stop the writes, and with them the run.",
            f"Wait until all replicas are in sync, or acknowledge {SHRUNK}.",
            {"partitions": behind},
        )
