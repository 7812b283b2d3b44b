"""An audit from this host: what the engine is told, what its verdicts come to. Nothing here reads a record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cutover import partitioners
from cutover.connection import Connection
from cutover.engine.audit_events import AUDIT, UNDERSCORED, AuditProgress, Stragglers, Verdict, VerifiedCut
from cutover.engine.configuration import Told, Topic
from cutover.engine.dual_events import DualVerdict
from cutover.engine.events import Stopped
from cutover.engine.process import EngineProcess
from cutover.errors import AuditViolation, NotProved, SameTopic, UnknownNullKeyPolicy
from cutover.model import ConfigValue, TopicDescription
from cutover.ports import Cluster
from cutover.run import Run, default_name

ASK_SECONDS = 6.0
Happening = AuditProgress | Stragglers | Verdict | VerifiedCut


class AuditConfiguration(Told):
    """A judge of origin against follower. Version and socket are added when the process is started."""

    worker: str = ""
    grace_seconds: float = 30
    connection: Mapping[str, Any]
    run_id: str
    epoch: int = 0
    group: str
    origin: Topic
    follower: Topic
    partitioner: str
    origin_partitioner: str | None = None
    """Of native records; None: the same."""
    null_keys: str
    producer_ids: tuple[int, ...] | None = None
    from_: Mapping[int, int] | None = None
    until: Mapping[int, int] | None = None
    samples: int = 10
    show_data: bool = False
    off_hash: Literal["violation", "accepted"] = "violation"
    stragglers: Literal["violation", "report"] = "violation"
    follow: bool = False
    interval_ms: int = 1000
    follower_from: Mapping[int, int] | None = None
    ended_groups: tuple[str, ...] | None = None
    ended_producer_ids: tuple[int, ...] | None = None

    model_config = UNDERSCORED


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asked for. Offsets are of the origin: `start` inclusive, `until` exclusive."""

    origin: str
    follower: str
    partitioner: str
    run: str | None = None
    epoch: int = 0
    null_keys: str = "keep_partition"
    start: Mapping[int, int] = field(default_factory=dict)
    until: Mapping[int, int] = field(default_factory=dict)
    follow: bool = False
    interval_seconds: float = 1.0
    samples: int = 10
    show_data: bool = False
    off_hash: Literal["violation", "accepted"] = "violation"


def prepare(cluster: Cluster, connection: Connection, wanted: Wanted) -> AuditConfiguration:
    """Look at both topics and name the run; raises UnknownPartitioner, UnknownNullKeyPolicy, SameTopic, UnknownTopic."""
    family = partitioners.family(wanted.partitioner).name
    if wanted.null_keys not in partitioners.NULL_KEY_POLICIES:
        raise UnknownNullKeyPolicy(f"policy for null keys {wanted.null_keys!r} is not known", known=list(partitioners.NULL_KEY_POLICIES))
    if wanted.origin == wanted.follower:
        raise SameTopic(f"origin and follower are both {wanted.origin}", why="A topic equals itself.", topic=wanted.origin)
    names = [wanted.origin, wanted.follower]
    described = cluster.describe_topics(names, timeout_seconds=ASK_SECONDS)
    configs = cluster.topic_configs(names, timeout_seconds=ASK_SECONDS)
    origin, follower = (topic_of(described[name], configs[name]) for name in names)
    # A run is named after S and T, whichever is written: in odd epochs T is the origin.
    source, target = (origin, follower) if wanted.epoch % 2 == 0 else (follower, origin)
    name = wanted.run or default_name(source.name, target.name)
    run = Run.of(name, source.id, target.id, wanted.epoch)
    return AuditConfiguration(
        connection=connection.engine(),
        run_id=run.run_id,
        epoch=wanted.epoch,
        group=run.group,
        origin=origin,
        follower=follower,
        partitioner=family,
        null_keys=wanted.null_keys,
        from_=wanted.start or None,
        until=wanted.until or None,
        samples=wanted.samples,
        show_data=wanted.show_data,
        off_hash=wanted.off_hash,
        follow=wanted.follow,
        interval_ms=max(1, round(wanted.interval_seconds * 1000)),
        ended_groups=tuple(Run.of(name, source.id, target.id, epoch).group for epoch in range(wanted.epoch)) or None,
    )


class Auditing:
    """One audit process. `happenings` has one reader; the process is gone when the block is left."""

    def __init__(self, configuration: AuditConfiguration) -> None:
        """Start the process; raises what EngineProcess.start raises."""
        document = {"connection": dict(configuration.connection), **configuration.model_dump(mode="json", by_alias=True, exclude_none=True)}
        self._process = EngineProcess.start("audit", document, models=AUDIT)
        self.verdict: Verdict | None = None
        self.ended = False

    def happenings(self, seconds: float | None = None) -> Iterator[Happening]:
        """What the process tells, to its end or for so long; raises what its faults stand for."""
        for event in self._process.events(seconds):
            if isinstance(event, Verdict):
                self.verdict = event
            self.ended = isinstance(event, Stopped)
            if isinstance(event, AuditProgress | Stragglers | Verdict | VerifiedCut):
                yield event

    def judge_now(self, seconds: float = 60.0) -> Mapping[str, Any]:
        """Following: judge a window at once; gives its number, result and the standing."""
        answer: Mapping[str, Any] = self._process.request("judge_now", seconds=seconds)
        return answer

    def stop(self, reason: str) -> None:
        """End the process."""
        self._process.stop(reason)


def require_proved(verdict: Verdict | DualVerdict, origin: str, follower: str) -> None:
    """Raise AuditViolation or NotProved unless everything judged so far was proved."""
    facts: dict[str, Any] = {"violations": dict(verdict.violations), "window": verdict.window, "standing": verdict.standing}
    if verdict.standing == "violated":
        raise AuditViolation(
            f"{follower} is not equal to {origin}: {counted(verdict)}",
            why="Reading both topics showed it; the samples above name the places.",
            samples=[each.model_dump(mode="json", exclude_none=True) for each in verdict.samples],
            **facts,
        )
    if verdict.standing == "unproved":
        gaps = [each.model_dump(mode="json", by_alias=True) for each in verdict.coverage.gaps]
        raise NotProved(f"nothing differs in what could be read, and {open_part(verdict)}", why=_why_open(verdict), gaps=gaps, **facts)


def open_part(verdict: Verdict | DualVerdict) -> str:
    """What of the range is not proved, in words."""
    if isinstance(verdict, Verdict):
        return "a part of the range could not be read any more"
    if verdict.coverage.gaps:
        return "a part of the range cannot be judged"
    return f"{verdict.coverage.doubtful:,} records have no counterpart yet"


def _why_open(verdict: Verdict | DualVerdict) -> str:
    gaps = [f"{each.topic}{'' if each.partition < 0 else f' partition {each.partition}'}: {each.why}" for each in verdict.coverage.gaps[:3]]
    return "; ".join(gaps) or "The range does not end at a cut: their counterparts may stand past it."


def counted(verdict: Verdict | DualVerdict) -> str:
    """The violations in words, most frequent first; those of earlier windows when this one has none."""
    if not verdict.violations:
        return "a violation was found in an earlier window"
    least = "" if verdict.violations_exact else "at least "
    ranked = sorted(verdict.violations.items(), key=lambda each: (-each[1], each[0]))
    return least + ", ".join(f"{count:,} {kind}" for kind, count in ranked)


def topic_of(description: TopicDescription, configs: Mapping[str, ConfigValue]) -> Topic:
    """A described topic as the engine is told of it."""
    limit, policy = configs.get("max.message.bytes"), configs.get("cleanup.policy")
    return Topic(
        name=description.name,
        id=description.topic_id,
        partitions=len(description.partitions),
        max_message_bytes=int(limit.value or 0) if limit else 0,
        compacted="compact" in (policy.value or "") if policy else False,
    )
